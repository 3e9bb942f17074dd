package eval_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/kgents/kgents/agentese/eval"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/match"
	"github.com/kgents/kgents/agentese/match/matchtest"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/agentese/whole"
)

// parts are the corpus: the costs are tuned on the first alone.
func parts(t *testing.T) map[string][]eval.Typo {
	out := map[string][]eval.Typo{}
	for _, part := range []string{"tuning", "heldout"} {
		cases, err := eval.ReadTypos(filepath.Join("testdata", "typos-"+part+".tsv"))
		if err != nil {
			t.Fatal(err)
		}
		out[part] = cases
	}
	return out
}

// The line that correction holds, on the part that it was tuned on and on the other, over
// the tree of every path and over the real one as far as it has the same names.
func TestTypos(t *testing.T) {
	total := 0
	real, err := whole.Tree(&living.Sources{})
	if err != nil {
		t.Fatal(err)
	}
	for part, cases := range parts(t) {
		total += len(cases)
		t.Run(part, func(t *testing.T) { corrects(t, matchtest.Tree(), cases, part == "tuning") })
		t.Run(part+" of the real tree", func(t *testing.T) {
			if cases = within(real, cases); len(cases) < 300 {
				t.Fatalf("of %s only %d are in the real tree", part, len(cases))
			}
			corrects(t, real, cases, part == "tuning")
		})
	}
	if total < 1500 {
		t.Errorf("the corpus has %d cases, want 1500", total)
	}
}

// within are the cases whose expectation a tree has.
func within(tr *tree.Tree, cases []eval.Typo) (out []eval.Typo) {
	m := match.New(tr)
	m.Update(matchtest.Snapshot(0))
	for _, c := range cases {
		if x := m.Correct(c.Expected, nil, tree.Admin); x.Verdict == match.Exact && x.Candidates[0].Expr == c.Expected {
			out = append(out, c)
		}
	}
	return out
}

func corrects(t *testing.T, tr *tree.Tree, cases []eval.Typo, look bool) {
	r := eval.Typos(tr, matchtest.Snapshot(10_000), cases)
	var b strings.Builder
	r.Print(&b)
	t.Log("\n" + b.String())
	for _, line := range []struct {
		what         string
		got, atLeast float64
	}{
		{"single edits first", r.Edits.First, 0.99},
		{"two edits first", r.Class("two-edits").First, 0.95},
		{"written by hand first", r.Class("hand").First, 0.95},
		{"all first", r.All.First, 0.98},
		{"not decided wrongly", 1 - r.All.WrongSure, 0.995},
	} {
		if line.got < line.atLeast {
			t.Errorf("%s: %.4f, want at least %.4f", line.what, line.got, line.atLeast)
		}
	}
	if !t.Failed() || !look { // of the other part nobody looks at single cases
		return
	}
	for _, c := range r.Classes {
		t.Logf("%s, missed: %s\ndecided wrongly: %s", c.Class, strings.Join(c.FirstMissed, "\n\t"), strings.Join(c.WrongSures, "\n\t"))
	}
}

// Every case's expectation is an expression of the tree, in its canonical form, and no
// case is in both parts.
func TestCorpus(t *testing.T) {
	seen := map[string]bool{}
	hand := 0
	for _, cases := range parts(t) {
		for _, c := range cases {
			if seen[c.Typed] {
				t.Errorf("%q is there twice", c.Typed)
			}
			seen[c.Typed] = true
			if c.Class == "hand" {
				hand++
			}
		}
		same := make([]eval.Typo, len(cases))
		for i, c := range cases {
			same[i] = eval.Typo{Typed: c.Expected, Expected: c.Expected, Class: "same"}
		}
		if r := eval.Typos(matchtest.Tree(), matchtest.Snapshot(10_000), same); r.All.First < 1 {
			t.Errorf("expected but not in the tree: %v", r.All.FirstMissed)
		}
	}
	if hand < 200 {
		t.Errorf("%d cases are written by hand, want 200", hand)
	}
}
