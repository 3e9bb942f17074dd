// Package tree is the living system as a tree of documented nodes, and the one place
// where an expression of package agentese is run: where an observer's affordances, a
// clause's values, a change's preview and question, its undoing and its audit line are
// seen to. A node only says what it shows and what it would change.
//
// It promises that nothing changes without Session's consent: a change is planned by
// a function that only reads, shown, confirmed, written to the audit, done, checked,
// and, if that was asked for and the check fails, undone. It promises that every node
// and aspect that it holds is documented (New refuses one that isn't).
//
// A node whose dependency is away answers with an *agentese.Error of KindAway that
// says what to do; the others are not touched by that. It is bounded: a live holon
// lists MaxNames names at most, an answer has MaxRows rows.
package tree

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/kgents/kgents/agentese"
)

// MaxNames bounds the live names of one holon, MaxRows the rows of a table.
const (
	MaxNames = 20_000
	MaxRows  = 10_000
)

// Identity is the path whose manifest gives what is piped into it back, unchanged, and
// the empty Value when nothing is. It must take anything.
const Identity = "concept.identity"

// Node is a holon: something that can be seen or changed.
type Node struct {
	Name     string   // one segment; of a live template what the name is: "customer"
	Line     string   // what it is, in a line, without a full stop
	Doc      string   // a paragraph
	Synonyms []string // other words for it, as people say them, lower case
	Affords  []Affordance
	Children []*Node
	Live     *Live // names that come and go

	// Operator says that only the operator's key opens it; of a customer's key the
	// server refuses what is behind it anyhow.
	Operator bool
}

// Live are children that come and go: customers, towns, dead letters.
type Live struct {
	// List gives the names with a line each, MaxNames at most. c has the live names
	// above. It only reads, and ends with its context.
	List func(ctx context.Context, c *Call) ([]Entry, error)

	// Node is what each of them is. Its Name, in braces, stands for them in
	// Call.Names, in documents and in examples: {customer}.
	Node *Node

	// Open says that names which List doesn't give may exist, too (event ids).
	Open bool

	// Fold says that names are compared without regard to case (citizens).
	Fold bool

	// Text is what is written of a name, to be found by its words. Where there is one,
	// the names are part of the program's documentation: List asks nobody.
	Text func(name string) string
}

// Entry is one live name. Line says what a list shows beside it.
type Entry struct {
	Name, Line string
}

// Affordance is an aspect of a node: what can be done with it.
type Affordance struct {
	Aspect   agentese.Aspect
	Line     string   // what it shows or does, in a line, without a full stop
	Asks     []string // wordings by which people ask for it, lower case; for search
	Examples []Example
	Params   []Param

	// Needs is the least observer, where it is more than the aspect's own (see May).
	Needs Observer

	// Takes says what it makes of what is piped into it. Empty: it takes nothing.
	Takes string

	// See is an aspect that only reads. Change plans one that changes something, also
	// by reading alone. Exactly one of them is there, unless Changes says by a step's
	// clauses which of both it is. Neither changes Call.Input, which may be shown and
	// piped elsewhere, too.
	See     func(ctx context.Context, c *Call) (Value, error)
	Change  func(ctx context.Context, c *Call) (*Change, error)
	Changes func(a Args) bool
}

// changes says whether a step with these clauses changes something.
func (a *Affordance) changes(args Args) bool {
	return a.Change != nil && (a.See == nil || a.Changes(args))
}

// Example is an expression that runs, with what it is good for.
type Example struct {
	Expr string `json:"expr"`
	Line string `json:"line"`
}

// The kinds of a parameter's value.
const (
	Word     = "word"     // anything without blanks around it
	Text     = "text"     // anything
	Number   = "number"   // an integer, 0 or more
	Duration = "duration" // 90s, 15m, 6h, 2d, 1w
	Time     = "time"     // a duration ago, a date, an RFC 3339 time, now, today, yesterday
	Flag     = "flag"     // true or false; [key] is true
	Percent  = "percent"  // 0 to 1000, with or without %
)

// Param is a clause that an aspect understands.
type Param struct {
	Key      string
	Line     string
	Kind     string   // Word if empty
	Values   []string // the only ones, if there are some
	Of       string   // a dotted path whose live names are the values: world.customers
	Paths    bool     // the value is a path of the tree itself
	Required bool
	Default  string // shown in help, and what Args gives when the clause is absent

	// Min and Max bound a Number or Percent, Longest a Duration; 0 is no bound.
	Min, Max int
	Longest  time.Duration
}

// Call is one step that is being run, as a node sees it.
type Call struct {
	Path     string            // with the live names
	Names    map[string]string // live names by what they are: customer -> acme
	Args     Args
	Aspect   agentese.Aspect
	Observer Observer
	Input    *Value // what was piped in; nil without
	Session  *Session
	Tree     *Tree
	Text     string // the step as it is written, for audit and requests
	Span     string // @span=… or [span=…]

	// Entropy is how much of the session's budget the step may use: [entropy=…], and
	// CallEntropy without it. Draw keeps to it.
	Entropy float64
	drawn   float64
}

// Draw takes amount of the session's budget, all or nothing. All that a step draws is
// at most its Entropy. A Call is not safe for concurrent use.
func (c *Call) Draw(amount float64) bool {
	if c.Session.Budget == nil || !(c.drawn+amount <= c.Entropy+tiny) || !c.Session.Budget.Draw(amount) {
		return false
	}
	c.drawn += amount
	return true
}

// identity says whether the step is the language's identity.
func (c *Call) identity() bool { return c.Path == Identity && c.Aspect == agentese.Manifest }

// Now is the session's clock.
func (c *Call) Now() time.Time { return c.Session.now() }

// Name is a live name of the path.
func (c *Call) Name(what string) string { return c.Names[what] }

// Tree is the whole of it. It doesn't change after New and is safe for concurrent use.
type Tree struct {
	Contexts []*Node
	lookup   map[string]Place // by pattern
	order    []Place
}

// Place is a node in the tree.
type Place struct {
	Pattern string // world.customers.{customer}.usage
	Node    *Node
	Above   []*Node // from the context down, without Node
}

// New makes a tree of its contexts. Its error names every node that is not documented
// or contradicts itself.
func New(contexts ...*Node) (*Tree, error) {
	t := &Tree{Contexts: contexts, lookup: map[string]Place{}}
	var wrong []string
	for _, c := range contexts {
		t.add(c, nil, nil, &wrong)
	}
	for _, p := range t.order {
		wrong = append(wrong, t.check(p)...)
	}
	if len(wrong) > 0 {
		return nil, fmt.Errorf("tree: %s", strings.Join(wrong, "; "))
	}
	return t, nil
}

func (t *Tree) add(n *Node, names []string, above []*Node, wrong *[]string) {
	pattern := strings.Join(append(append([]string(nil), names...), n.Name), ".")
	if _, twice := t.lookup[pattern]; twice {
		*wrong = append(*wrong, pattern+" is there twice")
	}
	p := Place{Pattern: pattern, Node: n, Above: above}
	t.lookup[pattern] = p
	t.order = append(t.order, p)
	below := append(append([]*Node(nil), above...), n)
	down := strings.Split(pattern, ".")
	for _, c := range n.Children {
		t.add(c, down, below, wrong)
	}
	if n.Live != nil {
		l := *n.Live.Node
		l.Name = "{" + l.Name + "}"
		t.add(&l, down, below, wrong)
	}
}

// Places are all nodes, from the contexts down, each before what is below it.
func (t *Tree) Places() []Place { return t.order }

// At is the node of a pattern: world.customers.{customer}.
func (t *Tree) At(pattern string) (Place, bool) {
	p, ok := t.lookup[pattern]
	return p, ok
}

// Find goes down the names, exactly as they are written but for case. A name that is
// no fixed one is taken as a live one where there are such, whether or not it exists
// now. depth is how many names led somewhere; found is what they lead to.
func (t *Tree) Find(names []string) (found Place, live map[string]string, canonical []string, depth int) {
	live = map[string]string{}
	var pattern string
	for i, name := range names {
		next := strings.ToLower(name)
		if i > 0 {
			next = pattern + "." + next
		}
		if _, fixed := t.lookup[next]; fixed && !strings.ContainsAny(name, "{}.") {
			pattern = next
			canonical = append(canonical, strings.ToLower(name))
			continue
		}
		n := t.lookup[pattern].Node
		if n == nil || n.Live == nil {
			break
		}
		what := n.Live.Node.Name
		live[what] = name
		pattern += ".{" + what + "}"
		canonical = append(canonical, name)
	}
	if len(canonical) == 0 {
		return Place{}, live, nil, 0
	}
	return t.lookup[pattern], live, canonical, len(canonical)
}

// Affordance is the node's own one for an aspect. Define and affordances are there
// for every node, by its documentation.
func (n *Node) Affordance(a agentese.Aspect) (*Affordance, bool) {
	for i := range n.Affords {
		if n.Affords[i].Aspect == a {
			return &n.Affords[i], true
		}
	}
	return nil, false
}

// Aspects are those that the node has, in the order of agentese.Aspects.
func (n *Node) Aspects() []agentese.Aspect {
	var out []agentese.Aspect
	for _, a := range agentese.Aspects() {
		_, own := n.Affordance(a)
		if own || a == agentese.Define || a == agentese.Affordances {
			out = append(out, a)
		}
	}
	return out
}
