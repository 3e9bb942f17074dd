package concept

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/checklist"
)

// All that sprints name is there: folders and files, items and categories.
func TestSprints(t *testing.T) {
	l, err := checklist.Default()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sprints {
		weight := 0
		for _, tr := range s.tracks {
			weight += tr.weight
			for _, path := range tr.made {
				if _, err := os.Stat(filepath.Join("../..", path)); err != nil {
					t.Errorf("%s, %s: %v", s.id, tr.title, err)
				}
			}
			for _, id := range tr.items {
				if _, ok := l.Item(id); !ok {
					t.Errorf("%s: there is no item %s", s.id, id)
				}
			}
			for _, c := range tr.categories {
				if !slices.Contains(categories(), c) {
					t.Errorf("%s: there is no category %s", s.id, c)
				}
			}
			for _, expr := range tr.see {
				if _, err := agentese.Parse(expr); err != nil {
					t.Errorf("%s: %s: %v", s.id, expr, err)
				}
			}
		}
		if weight != 0 && weight != 100 {
			t.Errorf("the tracks of %s weigh %d %%", s.id, weight)
		}
	}
}
