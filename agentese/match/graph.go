package match

import (
	"slices"
	"strings"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/tree"
)

// graph is the fixed part of a tree, prepared. It doesn't change.
type graph struct {
	tree     *tree.Tree
	nodes    []*node
	by       map[string]*node // by pattern
	words    []word           // all fixed names and aspects, each once
	index    map[string]int   // words by their folded form
	contexts map[string]bool
	sole     map[agentese.Aspect]*node // the only node that has an aspect of its own
}

// node is a place in the tree with its names from the context down.
type node struct {
	tree.Place
	segs    []seg
	slots   int // how many of segs are live
	aspects []aspect
	runs    []run
}

// seg is one name of a path: a fixed one, or a slot for a live one.
type seg struct {
	word  int    // index in graph.words; -1 for a slot
	name  string // fixed, or a live one that is decided already
	above string // of a slot: the pattern whose live names stand there
	live  *tree.Live
}

// run is several fixed names that follow each other, written as one: worldnats.
type run struct {
	word
	from, to int // segs; to one past the last, the aspect manifest counting as one
}

// aspect is what can be done with a node.
type aspect struct {
	word
	tree.Affordance
	params  []tree.Param
	own     bool
	changes bool
}

func newGraph(t *tree.Tree) *graph {
	g := &graph{tree: t, by: map[string]*node{}, index: map[string]int{}, contexts: map[string]bool{}, sole: map[agentese.Aspect]*node{}}
	for _, a := range agentese.Aspects() {
		g.word(string(a))
	}
	for _, c := range agentese.Contexts() { // also those that a tree doesn't have
		g.contexts[c] = true
		g.word(c)
	}
	for _, p := range t.Places() {
		n := &node{Place: p}
		above := ""
		for _, s := range strings.Split(p.Pattern, ".") {
			if strings.HasPrefix(s, "{") {
				n.slots++
				n.segs = append(n.segs, seg{word: -1, above: above, live: g.by[above].Node.Live})
			} else {
				n.segs = append(n.segs, seg{word: g.word(s), name: s})
			}
			above = strings.TrimPrefix(above+"."+s, ".")
		}
		for _, a := range p.Node.Aspects() {
			own, ok := p.Node.Affordance(a)
			if !ok {
				own = &tree.Affordance{Aspect: a, Line: builtinLines[a]}
			}
			n.aspects = append(n.aspects, aspect{
				word: newWord(string(a)), Affordance: *own, params: tree.ParamsOf(own), own: ok,
				changes: own.Change != nil || a == agentese.Refine,
			})
		}
		for i := range n.aspects {
			if a := &n.aspects[i]; a.own {
				_, more := g.sole[a.Aspect]
				g.sole[a.Aspect] = n
				if more {
					g.sole[a.Aspect] = nil
				}
			}
		}
		n.runs = g.runs(n)
		g.nodes = append(g.nodes, n)
		g.by[p.Pattern] = n
	}
	return g
}

var builtinLines = map[agentese.Aspect]string{agentese.Define: "what it is", agentese.Affordances: "what can be done here, and by whom"}

func (g *graph) word(name string) int {
	w := newWord(name)
	i, ok := g.index[w.folded]
	if !ok {
		i = len(g.words)
		g.words = append(g.words, w)
		g.index[w.folded] = i
	}
	return i
}

func (g *graph) runs(n *node) (out []run) {
	for i := range n.segs {
		text := ""
		for j := i; j < len(n.segs) && n.segs[j].word >= 0; j++ {
			text += n.segs[j].name
			if j > i {
				out = append(out, run{newWord(text), i, j + 1})
			}
			if j == len(n.segs)-1 {
				out = append(out, run{newWord(text + string(agentese.Manifest)), i, j + 2})
			}
		}
	}
	return out
}

// usual is the aspect that is meant when none is written: manifest, or the first that
// only reads; -1 if there is none of the node's own.
func (n *node) usual() int {
	first := -1
	for i, a := range n.aspects {
		if a.Aspect == agentese.Manifest {
			return i
		}
		if first < 0 && a.own && !a.changes {
			first = i
		}
	}
	return first
}

// sayings are everyday words for the aspects, folded.
var sayings = func() map[string][]agentese.Aspect {
	out := map[string][]agentese.Aspect{}
	for a, words := range map[agentese.Aspect]string{
		agentese.Manifest:    "show get view see display print cat status state info list ls now current check read look inspect health overview stat dump",
		agentese.Witness:     "history log logs past timeline watch trend journal changelog before earlier track audit",
		agentese.Lens:        "filter view focus narrow zoom group slice count by breakdown drill",
		agentese.Define:      "definition def explain what meaning doc docs help about describe description documentation",
		agentese.Affordances: "actions options verbs methods capabilities abilities can help menu commands possibilities afford",
		agentese.Refine:      "change set edit update modify do fix apply patch adjust alter make write mutate",
		agentese.Sip:         "draw sample random pick roll drink chance take",
		agentese.Tithe:       "give giveback return thank thanks donate pay gratitude",
	} {
		for _, w := range strings.Fields(words) {
			out[w] = append(out[w], a)
		}
	}
	return out
}()

// saidAs are the aspects for which a word is an everyday one, at most one slip away if
// it is long.
func saidAs(t *typed) ([]agentese.Aspect, int) {
	if said := sayings[t.folded]; said != nil || len(t.folded) < 5 || !t.tolerant() {
		return said, 0
	}
	for _, w := range longSayings {
		if d := len(w) - len(t.folded); -1 <= d && d <= 1 && t.prepared().edits(w) == 1 {
			return sayings[w], 1
		}
	}
	return nil, 0
}

// longSayings are the sayings in which a slip can be seen, in their order.
var longSayings = func() (out []string) {
	for w := range sayings {
		if len(w) > 4 {
			out = append(out, w)
		}
	}
	slices.Sort(out)
	return out
}()

// asAspect says how a typed word may be the node's i-th aspect.
func (n *node) asAspect(t *typed, i int, h hit) hit {
	a := &n.aspects[i]
	take := func(c hit) {
		if c.cost < h.cost {
			h = c
		}
	}
	said, slips := saidAs(t)
	for _, said := range said {
		if said == a.Aspect {
			take(hit{name: a.name, cost: 0.2 + costReplace*float32(slips), how: saying, edits: int16(slips)})
		}
	}
	if a.changes {
		// The word for what is to be done: replay is refine[do=replay].
		for _, p := range a.Params {
			for _, v := range p.Values {
				if w := newWord(v); p.Key == "do" {
					if c := t.is(&w); c.cost < none && c.edits <= 1 && (c.how == asIs || len(t.folded) > 2) {
						c.name, c.cost, c.clause = a.name, c.cost+0.15, &[2]string{p.Key, v}
						if c.how == asIs {
							c.how = saying
						}
						take(c)
					}
				}
			}
			if fold(p.Key) == t.folded && p.Key != "do" && p.Kind == tree.Duration {
				v := p.Default
				if v == "" {
					v = "1h"
				}
				take(hit{name: a.name, cost: 0.3, how: saying, clause: &[2]string{p.Key, v}})
			}
		}
	}
	return h
}
