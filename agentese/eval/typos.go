// Package eval measures how well the shell finds what people mean, by corpora that are
// in its testdata: mistyped paths here, questions elsewhere.
package eval

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	correct "github.com/kgents/kgents/agentese/match"
	"github.com/kgents/kgents/agentese/tree"
)

// Typo is one mistake of the corpus: what was typed, what was meant, and what sort of
// mistake it is.
type Typo struct{ Typed, Expected, Class string }

// ReadTypos reads a file of lines of what was typed, what was meant and its class,
// separated by tabs.
func ReadTypos(file string) ([]Typo, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []Typo
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		parts := strings.Split(lines.Text(), "\t")
		if len(parts) != 3 {
			return nil, fmt.Errorf("%s:%d: three columns are wanted", file, len(out)+1)
		}
		out = append(out, Typo{parts[0], parts[1], parts[2]})
	}
	return out, lines.Err()
}

// TypoScore is how well a class of mistakes is corrected. Shares are 0 to 1.
type TypoScore struct {
	Class       string
	Cases       int
	First       float64 // the first candidate is what was meant
	Third       float64 // one of the first three is
	Sure        float64 // it was decided, and that was what was meant
	WrongSure   float64 // something else was decided: Sure, or Exact
	P50, P99    time.Duration
	FirstMissed []string // at most 10, as typed, for a look at them
	WrongSures  []string // all, with what was decided
}

// TyposReport is all classes, and all together.
type TyposReport struct {
	All     TypoScore
	Edits   TypoScore   // the six single edits together
	Classes []TypoScore // by name
}

// singles are the classes of single edits.
var singles = []string{"insertion", "deletion", "substitution", "transposition", "doubling", "neighbour"}

// Typos corrects every case over a tree and its live names, as the observer who may do
// everything, at the root.
func Typos(t *tree.Tree, live *tree.Snapshot, cases []Typo) TyposReport {
	m := correct.New(t)
	m.Update(live)
	classes := map[string]*tally{}
	all, edits := &tally{class: "all"}, &tally{class: "single edits"}
	for _, c := range cases {
		begin := time.Now()
		got := m.Correct(c.Typed, nil, tree.Admin)
		took := time.Since(begin)
		if classes[c.Class] == nil {
			classes[c.Class] = &tally{class: c.Class}
		}
		to := []*tally{all, classes[c.Class]}
		if slices.Contains(singles, c.Class) {
			to = append(to, edits)
		}
		for _, x := range to {
			x.add(c, got, took)
		}
	}
	r := TyposReport{All: all.score(), Edits: edits.score()}
	for _, x := range classes {
		r.Classes = append(r.Classes, x.score())
	}
	slices.SortFunc(r.Classes, func(a, b TypoScore) int { return cmp.Compare(a.Class, b.Class) })
	return r
}

// Class is the score of one class; empty if there were no cases of it.
func (r TyposReport) Class(name string) TypoScore {
	for _, c := range r.Classes {
		if c.Class == name {
			return c
		}
	}
	return TypoScore{Class: name}
}

// Print writes the report as a table.
func (r TyposReport) Print(w io.Writer) {
	fmt.Fprintf(w, "%-16s %6s %8s %8s %8s %8s %9s %9s\n", "typos", "cases", "first", "in 3", "decided", "wrongly", "p50", "p99")
	for _, c := range append(slices.Clone(r.Classes), r.Edits, r.All) {
		fmt.Fprintf(w, "%-16s %6d %7.2f%% %7.2f%% %7.2f%% %7.2f%% %9s %9s\n", c.Class, c.Cases, 100*c.First, 100*c.Third, 100*c.Sure, 100*c.WrongSure,
			c.P50.Round(10*time.Microsecond), c.P99.Round(10*time.Microsecond))
	}
}

type tally struct {
	class                     string
	n, first, third, ok, sure int
	took                      []time.Duration
	missed, wrong             []string
}

func (t *tally) add(c Typo, got correct.Correction, took time.Duration) {
	t.n++
	t.took = append(t.took, took)
	at := slices.IndexFunc(got.Candidates, func(x correct.Candidate) bool { return x.Expr == c.Expected })
	decided := got.Verdict == correct.Sure || got.Verdict == correct.Exact
	if at == 0 {
		t.first++
	} else if len(t.missed) < 10 {
		t.missed = append(t.missed, c.Typed)
	}
	if at >= 0 && at < 3 {
		t.third++
	}
	switch {
	case decided && at == 0:
		t.ok++
	case decided:
		t.sure++
		t.wrong = append(t.wrong, c.Typed+" → "+got.Candidates[0].Expr)
	}
}

func (t *tally) score() TypoScore {
	s := TypoScore{Class: t.class, Cases: t.n, FirstMissed: t.missed, WrongSures: t.wrong}
	if t.n == 0 {
		return s
	}
	share := func(n int) float64 { return float64(n) / float64(t.n) }
	s.First, s.Third, s.Sure, s.WrongSure = share(t.first), share(t.third), share(t.ok), share(t.sure)
	slices.Sort(t.took)
	s.P50, s.P99 = t.took[t.n/2], t.took[t.n*99/100]
	return s
}
