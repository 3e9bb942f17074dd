package eval_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/kgents/kgents/agentese/eval"
	"github.com/kgents/kgents/agentese/match/matchtest"
)

// The line that correction holds, on the part that it was tuned on and on the other.
func TestTypos(t *testing.T) {
	total := 0
	for _, part := range []string{"tuning", "heldout"} {
		t.Run(part, func(t *testing.T) {
			cases, err := eval.ReadTypos(filepath.Join("testdata", "typos-"+part+".tsv"))
			if err != nil {
				t.Fatal(err)
			}
			total += len(cases)
			r := eval.Typos(matchtest.Tree(), matchtest.Snapshot(10_000), cases)
			var b strings.Builder
			r.Print(&b)
			t.Log("\n" + b.String())
			if part == "tuning" {
				for _, c := range r.Classes {
					t.Logf("%s: first missed: %s\nwrong: %s", c.Class, strings.Join(c.FirstMissed, "\n\t"), strings.Join(c.WrongSures, "\n\t"))
				}
			}
			for _, line := range []struct {
				what         string
				got, atLeast float64
			}{
				{"single edits first", r.Edits.First, 0.99},
				{"two edits first", r.Class("two-edits").First, 0.95},
				{"all first", r.All.First, 0.95},
				{"not decided wrongly", 1 - r.All.WrongSure, 0.995},
			} {
				if line.got < line.atLeast {
					t.Errorf("%s: %.4f, want at least %.4f", line.what, line.got, line.atLeast)
				}
			}
		})
	}
	if total < 1500 {
		t.Errorf("the corpus has %d cases, want 1500", total)
	}
}
