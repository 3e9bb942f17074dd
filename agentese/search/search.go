// Package search finds paths by words: `why are webhooks slow` gives the expressions
// of the tree that would show it, best first, with their clauses filled in, and why.
//
// It promises to do so on this machine alone: no network, no model, nothing kept on
// disk. It never runs anything, and a suggestion that would change something is never
// Confident. What the observer may not do is found all the same, and says so. Find
// takes any bytes; it reads the first MaxQuestion of them.
//
// A model that helps is a Reranker, asked only by Ask: it may pick one of at most
// MaxOptions suggestions, sees no customer's name, id or figure, and costs entropy.
// When it is away, too slow or answers anything else, the local order stays.
package search

import (
	"context"
	"time"

	"github.com/kgents/kgents/agentese/tree"
)

// Bounds of a search.
const (
	MaxQuestion = 400 // bytes that are read of a question
	MaxFound    = 20  // suggestions that Find gives
	MaxLearnt   = 500 // questions that are remembered, the oldest are forgotten first
)

// Query is a question and where it is asked.
type Query struct {
	Text     string
	Place    []string // where one is in the tree: what is near gains a little
	Observer tree.Observer
	Limit    int       // 1 to MaxFound; 0 is 5
	Now      time.Time // what "last night" is measured from; zero is the clock
}

// Suggestion is an expression that may be what was meant. Live names in it come from
// the question; a name between < and > is one that the question doesn't give and the
// tree asks for: such an expression is never Confident.
type Suggestion struct {
	Expr      string
	Line, Why string
	Score     float64 // 0 to 1: how sure it is
	Confident bool    // it may be run without asking: it only looks, and nothing else is near
	Changes   bool    // it would change something
}

// Index answers questions about one tree. It is safe for concurrent use.
type Index struct {
	tree *tree.Tree
}

// New takes the tree. The index itself is built by the first that needs it, or in the
// background: New returns at once.
func New(t *tree.Tree) (*Index, error) { return &Index{tree: t}, nil }

// Update takes the live names that are known now.
func (x *Index) Update(s *tree.Snapshot) {}

// Learn remembers that a question meant an expression: it is first next time.
func (x *Index) Learn(question, expr string) {}

// Find gives q.Limit suggestions at most, the best first; none if nothing fits.
func (x *Index) Find(ctx context.Context, q Query) []Suggestion { return nil }
