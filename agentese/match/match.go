// Package match finds what a mistyped, shortened or disordered path was meant to be,
// and completes one that is being typed.
//
// It promises that an expression which is one already comes back as it is (Exact),
// that every Candidate parses and resolves in its tree, that nothing which changes the
// system is ever decided (Sure) unless it was written exactly, and that numbers and
// ids, which people mean literally, are offered but never decided. It never waits:
// live names are those of the last Update. It asks nobody, so nothing can be away;
// without live names only the fixed ones are matched.
package match

import (
	"sync/atomic"

	"github.com/kgents/kgents/agentese/tree"
)

// MaxCandidates bounds what Correct gives, MaxCompletions what Complete gives.
const (
	MaxCandidates  = 5
	MaxCompletions = 50
)

// Verdict says how sure a correction is.
type Verdict int

// The verdicts.
const (
	None  Verdict = iota // nothing is near
	Ask                  // some are near: the person decides
	Sure                 // one is, and nothing else comes close
	Exact                // it is an expression as it stands, but for case
)

var verdicts = [...]string{"none", "ask", "sure", "exact"}

// String is the verdict in a word.
func (v Verdict) String() string { return verdicts[v] }

// Correction is what an input was meant to be.
type Correction struct {
	Verdict    Verdict
	Candidates []Candidate // best first, at most MaxCandidates

	// Changes says that the best one changes something (refine, or a sip of a
	// fault). Its Verdict is Exact, when it was written so, or Ask.
	Changes bool
}

// Candidate is one expression that may have been meant.
type Candidate struct {
	Expr  string  // in its canonical form
	Score float64 // 1 is as it was written; it falls with what had to be changed
	Why   string  // what was changed: "ciruit → circuit"; empty if nothing
}

// Completion is one way to go on.
type Completion struct {
	Text     string // replaces line[From:To]
	From, To int    // bytes
	Line     string // what it is
	Kind     string // one of the kinds below
}

// The kinds of a Completion.
const (
	KindContext = "context" // one of the five
	KindHolon   = "holon"   // a fixed name
	KindLive    = "live"    // a live name
	KindAspect  = "aspect"
	KindClause  = "clause" // a clause's key
	KindValue   = "value"  // a clause's value
)

// Matcher corrects and completes over one tree. It is safe for concurrent use.
type Matcher struct {
	graph *graph
	live  atomic.Pointer[names]
}

// New makes a matcher of the tree's fixed names.
func New(t *tree.Tree) *Matcher {
	m := &Matcher{graph: newGraph(t)}
	m.live.Store(newNames(m.graph, nil))
	return m
}

// Update takes the live names that there are now, in place of those before; nil is
// none. A correction that is under way ends with the names with which it began.
func (m *Matcher) Update(s *tree.Snapshot) { m.live.Store(newNames(m.graph, s)) }
