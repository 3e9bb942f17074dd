package town_test

import (
	"encoding/json"
	"testing"

	"github.com/kgents/kgents/town"
)

// BenchmarkYear lives through 365 days of a town of 25, 1,460 steps.
func BenchmarkYear(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		tw := found(b, 25, 1)
		for range 4 * 365 {
			tw.Step(b.Context(), founded, nil, nil)
		}
	}
}

// BenchmarkStep is what a host does at each step beside waiting: read the town, live
// through a phase, write it down, and make the usage events.
func BenchmarkStep(b *testing.B) {
	snapshot := snapshotOf(b, 25)
	b.ReportAllocs()
	for b.Loop() {
		var tw town.Town
		if err := tw.UnmarshalJSON(snapshot); err != nil {
			b.Fatal(err)
		}
		for _, e := range tw.Step(b.Context(), founded, nil, nil) {
			e.Usage("customer-1")
		}
		if _, err := json.Marshal(&tw); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(snapshot)), "snapshot-bytes")
}
