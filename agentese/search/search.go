// Package search finds paths by words: `why are webhooks slow` gives the expressions
// of the tree that would show it, best first, with their clauses filled in, and why.
//
// It promises to do so on this machine alone: no network, no model, nothing kept on
// disk; what earlier sessions have learnt is handed to Recall. It never runs anything, and a suggestion that would change something is never
// Confident. What the observer may not do is found all the same, and says so. Find
// takes any bytes; it reads the first MaxQuestion of them.
//
// A model that helps is a Reranker, asked only by Ask: it may pick one of at most
// MaxOptions suggestions, sees no customer's name, id or figure, and costs entropy.
// When it is away, too slow or answers anything else, the local order stays.
package search

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
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
	tree  *tree.Tree
	built func() *built
	live  atomic.Pointer[tree.Snapshot]
	names atomic.Pointer[names]
	past  past
}

// New takes the tree. The index itself is built by Warm or by the first that needs it:
// New returns at once.
func New(t *tree.Tree) (*Index, error) {
	known, err := ReadWordings(wordingsText)
	if err != nil {
		return nil, err
	}
	return NewWith(t, append(Asks(), known...)), nil
}

// NewWith is New with other known wordings than those that are part of the program,
// beside the nodes' own, for an evaluation that must not know its questions.
func NewWith(t *tree.Tree, known []Wording) *Index {
	return &Index{tree: t, built: sync.OnceValue(func() *built { return build(t, known) })}
}

// Warm builds the index if it isn't yet, in less than a second. A shell in which a person
// types calls it in the background, so that the first question doesn't wait.
func (x *Index) Warm() { x.ready() }

// ready is the index with the live names that are known.
func (x *Index) ready() (*built, *names) {
	b := x.built()
	n := x.names.Load()
	if n == nil {
		n = newNames(b.tree, x.live.Load(), nil)
		x.names.Store(n)
	}
	return b, n
}

// Update takes the live names that are known now. It doesn't build the index.
func (x *Index) Update(s *tree.Snapshot) {
	if x.live.Swap(s) == s && x.names.Load() != nil {
		return
	}
	x.names.Store(newNames(x.tree, s, nil))
}

// Find gives q.Limit suggestions at most, the best first; none if nothing fits.
func (x *Index) Find(ctx context.Context, q Query) []Suggestion {
	if ctx.Err() != nil {
		return nil
	}
	b, n := x.ready()
	now := q.Now
	if now.IsZero() {
		now = time.Now()
	}
	asked := b.reader.read(q.Text, n, now.UTC())
	if len(asked.tokens) == 0 {
		return nil
	}
	l := b.look(asked, n)
	cs := b.candidates(l, n)
	x.settle(b, n)
	used := x.past.like(asked.terms, now)
	for i := range cs {
		c := &cs[i]
		c.extra = placeWeight * near(q.Place, &b.options[c.option], c.names)
		for _, u := range used {
			if u.option == c.option {
				c.extra += pastWeight * u.likeness
			}
		}
	}
	b.rank(cs)
	sure := chances(cs)
	limit := q.Limit
	if limit <= 0 {
		limit = 5
	}
	limit = min(limit, MaxFound)
	var out []Suggestion
	seen := map[string]bool{}
	for i := 0; i < len(cs) && len(out) < limit; i++ {
		c := &cs[i]
		step := b.step(c, l, now)
		expr := step.String()
		if seen[expr] || sure[i] < leastChance && len(out) >= 3 {
			continue
		}
		seen[expr] = true
		out = append(out, b.suggest(c, l, expr, sure, i, q.Observer))
	}
	return out
}

// Below leastChance a suggestion is only made when there are hardly others; from
// confidentChance on one may be run without asking.
const (
	leastChance     = 0.002
	confidentChance = 0.8
)

// suggest makes a suggestion of the i-th candidate.
func (b *built) suggest(c *candidate, l *look, expr string, sure []float64, i int, o tree.Observer) Suggestion {
	opt := &b.options[c.option]
	s := Suggestion{Expr: expr, Line: opt.line(), Score: sure[i], Why: b.why(c, l), Changes: opt.changes || strings.Contains(expr, "sip[of=fault]")}
	may := true
	if opt.afford != nil && !o.May(*opt.afford) {
		may = false
		s.Why = join(s.Why, "needs the observer "+opt.afford.Least().String())
	}
	s.Confident = i == 0 && sure[i] >= confidentChance && !s.Changes && may && c.features[lacking] == 0
	return s
}
