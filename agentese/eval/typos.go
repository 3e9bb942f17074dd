// Package eval measures how well the shell finds what people mean, by corpora that are
// in its testdata: mistyped paths here, questions elsewhere.
package eval

import (
	"time"

	"github.com/kgents/kgents/agentese/tree"
)

// Typo is one mistake of the corpus: what was typed, what was meant, and what sort of
// mistake it is.
type Typo struct{ Typed, Expected, Class string }

// TypoScore is how well a class of mistakes is corrected. Shares are 0 to 1.
type TypoScore struct {
	Class       string
	Cases       int
	First       float64 // the first candidate is what was meant
	Third       float64 // one of the first three is
	WrongSure   float64 // something else was decided: Sure, or Exact
	P50, P99    time.Duration
	FirstMissed []string // at most 10, as typed, for a look at them
}

// TyposReport is all classes, and all together.
type TyposReport struct {
	All     TypoScore
	Classes []TypoScore // by name
}

// Typos corrects every case over a tree and its live names.
func Typos(t *tree.Tree, live *tree.Snapshot, cases []Typo) TyposReport { return TyposReport{} }
