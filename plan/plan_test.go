package plan

import "testing"

func TestDefaultLoads(t *testing.T) {
	if c := Default(); len(c.Plans) != 3 {
		t.Errorf("%d plans", len(c.Plans))
	}
}
