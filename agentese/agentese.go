// Package agentese is the path language by which an operator sees and changes the
// living system: `<context>.<holon>[.<holon>…].<aspect>[clause]*[@annotation]*`, and
// `a >> b`, which gives the output of a to b.
//
// It promises that what Parse takes, String gives back in one canonical form that
// parses to the same, and that every mistake is told with its exact position and with
// what would be right. It knows nothing of what a path leads to: that is package tree.
//
// It does no input or output, so there is nothing that could be away. An input has at
// most MaxInput characters, a path MaxDepth names, a step MaxClauses clauses and as many
// annotations, a pipeline MaxSteps steps: beyond that it is a mistake of Kind Syntax.
package agentese

import "strings"

// Bounds of an input. MaxInput and MaxDepth are those of the language's original
// (facts/agentese.md: 10,000 characters, depth 100).
const (
	MaxInput   = 10_000
	MaxDepth   = 100
	MaxClauses = 64
	MaxSteps   = 32
)

// Contexts are the five places where everything is, in the order in which they are shown.
var contexts = [...]string{"world", "self", "concept", "void", "time"}

// Contexts are the names of the five contexts: things out there, this session, what
// is promised and defined, chance and what is not seen, and what was and will be.
func Contexts() []string { return append([]string(nil), contexts[:]...) }

// Aspect is a verb: what is done with a holon.
type Aspect string

// The aspects of the language.
const (
	Manifest    Aspect = "manifest"    // see it now
	Witness     Aspect = "witness"     // its history
	Lens        Aspect = "lens"        // a narrowed view
	Define      Aspect = "define"      // what it is
	Affordances Aspect = "affordances" // what can be done here
	Refine      Aspect = "refine"      // change it
	Sip         Aspect = "sip"         // draw entropy
	Tithe       Aspect = "tithe"       // give it back
)

// Aspects are all of them, in the order in which they are shown.
func Aspects() []Aspect {
	return []Aspect{Manifest, Witness, Lens, Define, Affordances, Refine, Sip, Tithe}
}

// Known says whether it is one of the language's.
func (a Aspect) Known() bool {
	for _, b := range Aspects() {
		if a == b {
			return true
		}
	}
	return false
}

// Expression is one step, or several of which each gets the output of the one before.
type Expression struct {
	Steps []Step
}

// Step is a path with an aspect, and how it is to be done.
type Step struct {
	Names       []Name // the context first; without the aspect
	Aspect      Name
	Clauses     []Clause
	Annotations []Annotation
}

// Name is one segment of a path. Text is without quotes. Pos and End are where it
// stands in the input, in bytes, quotes included; of a Step that was not parsed both are 0.
type Name struct {
	Text     string
	Pos, End int
}

// Clause narrows or parametrizes a step: [key=value], or [key], which is the same as
// [key=true] to whoever reads it.
type Clause struct {
	Key, Value string
	Bare       bool // [key], without a value
	Pos, End   int  // from [ to behind ]
	ValuePos   int  // where the value begins, its quote included; End of the key if Bare
}

// Annotation tells of a step and doesn't change what it does: @key=value or @key.
type Annotation struct {
	Key, Value string
	Bare       bool
	Pos, End   int
}

// Path is the names, dotted, each quoted if it must be.
func (s Step) Path() string { return JoinPath(s.Texts()...) }

// Texts are the names without their positions.
func (s Step) Texts() []string {
	out := make([]string, len(s.Names))
	for i, n := range s.Names {
		out[i] = n.Text
	}
	return out
}

// Clause is the first with this key.
func (s Step) Clause(key string) (Clause, bool) {
	for _, c := range s.Clauses {
		if c.Key == key {
			return c, true
		}
	}
	return Clause{}, false
}

// Annotation is the first with this key.
func (s Step) Annotation(key string) (Annotation, bool) {
	for _, a := range s.Annotations {
		if a.Key == key {
			return a, true
		}
	}
	return Annotation{}, false
}

// Then is the expression that does e, then f with what e gave.
func (e Expression) Then(f Expression) Expression {
	steps := make([]Step, 0, len(e.Steps)+len(f.Steps))
	return Expression{Steps: append(append(steps, e.Steps...), f.Steps...)}
}

// NewStep makes one without positions, as programs do.
func NewStep(aspect Aspect, names ...string) Step {
	s := Step{Aspect: Name{Text: string(aspect)}}
	for _, n := range names {
		s.Names = append(s.Names, Name{Text: n})
	}
	return s
}

// With is the step with one more clause.
func (s Step) With(key, value string) Step {
	s.Clauses = append(append([]Clause(nil), s.Clauses...), Clause{Key: key, Value: value})
	return s
}

// JoinPath dots names, each quoted if it must be.
func JoinPath(names ...string) string {
	var b strings.Builder
	for i, n := range names {
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(QuoteName(n))
	}
	return b.String()
}
