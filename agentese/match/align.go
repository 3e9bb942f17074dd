package match

import (
	"cmp"
	"math/bits"
	"slices"
	"strings"

	"github.com/kgents/kgents/agentese"
)

// What it costs that a path was not only mistyped.
const (
	costNoContext = 0.3  // the context is missing
	costNoHolon   = 0.4  // a holon in the middle is missing
	costFromHere  = 0.02 // missing, but it is where the shell is
	costOtherRoot = 0.9  // another context was written
	costMoved     = 0.4  // a word stands too far behind
	costVerbFirst = 0.1  // the aspect stands before the path, as in "show nats"
	costJoined    = 0.25 // a word was cut in two, or two were written as one
	costExtra     = 2.6  // a word that means nothing here
	costFiller    = 0.35 // the same, of a word such as "the"
	costSaying    = 0.8  // the same, of a word for an aspect, where no aspect is taken
	costUsual     = 0.1  // no aspect: manifest is meant
	costUnusual   = 0.9  // no aspect, and another than the usual is taken
	costDescribed = 0.3  // a beginning of define or affordances, which are seldom asked for
	costNoAspect  = 1.2  // an aspect that the node doesn't have
)

// aligner matches one tokenization of one step against the tree.
type aligner struct {
	g      *graph
	live   *names
	place  []string
	tokens []token
	pairs  []typed // pairs[i] is tokens[i] and the next, written as one
	paired []bool
	known  []bool // the token is a word of the tree, or a live name, as it stands

	words  [][]hit // memo: words[i] by graph word, for tokens, then pairs
	looked map[*set][][]hit
	states []state
	found  []found
}

// found is one way to read the step's path.
type found struct {
	node   *node
	names  []string
	aspect int // of node.aspects
	cost   float32
	why    []string
	moved  []string
	rest   []string   // tokens that were left out
	clause *[2]string // that came with the aspect's word
	unsure bool       // may be offered, not decided

	dropped, extra, slips, slipped, initials int // tokens, but slips: edits
}

// state is the cheapest way to have read some tokens into some segments.
type state struct {
	cost  float32
	from  int32 // state before
	op    op
	at    int8 // token
	seg   int8
	pick  int8 // which hit
	dirty bool
}

type op uint8

const (
	opNone   op = iota
	opTake      // token is segment
	opPair      // token and the next are segment
	opRun       // token is several segments
	opAspect    // token is the aspect
	opDrop      // token is nothing
)

func newAligner(g *graph, live *names, place []string, tokens []token) *aligner {
	a := &aligner{g: g, live: live, place: place, tokens: tokens, looked: map[*set][][]hit{}}
	n := len(tokens)
	a.words = make([][]hit, 2*n)
	a.known = make([]bool, n)
	a.pairs = make([]typed, n)
	a.paired = make([]bool, n)
	for i, t := range tokens {
		a.known[i] = a.isKnown(t.folded)
	}
	for i := 0; i+1 < n; i++ {
		if a.known[i] && a.known[i+1] || isUnclear(tokens[i].folded) || isUnclear(tokens[i+1].folded) || min(len(tokens[i].folded), len(tokens[i+1].folded)) < 2 || len(tokens[i].folded)+len(tokens[i+1].folded) > maxWord {
			continue
		}
		a.paired[i] = true
		a.pairs[i] = newTyped(tokens[i].text + tokens[i+1].text)
	}
	return a
}

// isKnown says whether a folded word is one of the tree's, or a live name.
func (a *aligner) isKnown(folded string) bool {
	if _, ok := a.g.index[folded]; ok {
		return true
	}
	return a.live.known(folded)
}

// known says whether a folded word is a live name.
func (l *names) known(folded string) bool {
	for _, s := range l.sets {
		if len(s.at[folded]) > 0 {
			return true
		}
	}
	return false
}

// input is token i, or with i beyond them the pair.
func (a *aligner) input(i int) *typed {
	if n := len(a.tokens); i >= n {
		return &a.pairs[i-n]
	}
	return &a.tokens[i].typed
}

// fixed is how input i may be a fixed name.
func (a *aligner) fixed(i, word int) *hit {
	if a.words[i] == nil {
		a.words[i] = make([]hit, len(a.g.words))
		t := a.input(i)
		for k := range a.g.words {
			a.words[i][k] = t.is(&a.g.words[k])
		}
		// What is a fixed name as it stands is hardly another one mistyped.
		if own, ok := a.g.index[t.folded]; ok {
			for k := range a.words[i] {
				if h := &a.words[i][k]; k != own && h.cost < none {
					h.cost += 0.4
					h.weak = true
				}
			}
		}
	}
	return &a.words[i][word]
}

// alive are the live names that input i may be.
func (a *aligner) alive(i int, s *set) []hit {
	memo := a.looked[s]
	if memo == nil {
		memo = make([][]hit, 2*len(a.tokens))
		a.looked[s] = memo
	}
	if memo[i] == nil {
		t := a.input(i)
		_, fixed := a.g.index[t.folded]
		memo[i] = append([]hit{}, s.like(t, fixed || isUnclear(t.folded))...)
	}
	return memo[i]
}

// options are what input i may be at a segment; at most nearest.
func (a *aligner) options(i int, s *seg, path string) []hit {
	switch {
	case s.word >= 0:
		if h := a.fixed(i, s.word); h.cost < none {
			return []hit{*h}
		}
		return nil
	case s.name != "":
		w := newWord(s.name)
		if h := a.input(i).is(&w); h.cost < none {
			return []hit{h}
		}
		return nil
	}
	x := a.live.sets[path]
	var out []hit
	if x != nil {
		out = a.alive(i, x)
	}
	t := a.input(i)
	unknown := x == nil || s.live.Open
	if unknown && i < len(a.tokens) && (len(out) == 0 || out[0].cost > 0) && !isUnclear(t.folded) {
		_, fixed := a.g.index[t.folded]
		_, saying := sayings[t.folded]
		h := hit{name: a.tokens[i].text, how: assumed, cost: 0.5, weak: true}
		switch {
		case s.live.Open && plausible(h.name):
			h.cost, h.weak = 0.1, false
		case s.live.Open && x != nil:
			return out // what is there was told, and this doesn't look like an id
		}
		if !fixed && !saying || h.cost < 0.2 {
			out = append([]hit{h}, out...)
		}
	}
	return out
}

// plausible says whether a word looks like an id: a number, or four letters and more
// with a digit among them.
func plausible(name string) bool {
	if strings.Trim(name, "0123456789") == "" {
		return true
	}
	return len(name) >= 4 && strings.ContainsAny(name, "0123456789")
}

// run aligns against every node.
func (a *aligner) run() []found {
	if len(a.tokens) > maxTokens {
		return nil
	}
	for _, n := range a.g.nodes {
		if n.slots < 2 {
			a.node(n, n.segs)
			continue
		}
		for _, segs := range a.instances(n) {
			a.node(n, segs)
		}
	}
	return a.found
}

// instances are the node's names with every slot but the last filled, for those fills
// that the tokens or the place can mean.
func (a *aligner) instances(n *node) [][]seg {
	const most = 12
	first, last := -1, -1
	for i, s := range n.segs {
		if s.word < 0 {
			if first < 0 {
				first = i
			}
			last = i
		}
	}
	outer := a.live.sets[n.segs[first].above]
	var fills []string
	add := func(name string) {
		if !slices.Contains(fills, name) && len(fills) < most {
			fills = append(fills, name)
		}
	}
	if len(a.place) > first {
		add(a.place[first])
	}
	if outer != nil {
		for i := range a.tokens {
			for _, h := range a.alive(i, outer) {
				add(h.name)
			}
		}
	}
	paths := a.live.nested[n.segs[last].above]
	order := make([]string, 0, len(paths))
	for path := range paths {
		order = append(order, path)
	}
	slices.Sort(order)
	for _, path := range order {
		for i := range a.tokens {
			if !a.known[i] && len(order) > most || len(fills) >= most {
				continue
			}
			if len(a.alive(i, paths[path])) > 0 {
				add(strings.Split(path, ".")[first])
			}
		}
	}
	var out [][]seg
	for _, f := range fills {
		segs := slices.Clone(n.segs)
		segs[first].name = f
		out = append(out, segs)
	}
	return out
}

// node aligns the tokens with one node's names.
func (a *aligner) node(n *node, segs []seg) {
	m, k := len(segs), len(a.tokens)
	if m > 8 {
		return
	}
	// options[i][j], for tokens and then pairs.
	var options [2 * maxTokens][9][]hit
	lastSeen := a.at(segs) || a.alone(n)
	runs := a.runs(n, segs)
	for _, r := range runs {
		lastSeen = lastSeen || r.to >= m
	}
	for j := m - 1; j >= 0; j-- {
		path := ""
		if segs[j].word < 0 && segs[j].name == "" {
			path = pathAbove(segs, j)
		}
		for i := range 2 * k {
			if i >= k && !a.paired[i-k] {
				continue
			}
			o := a.options(i, &segs[j], path)
			if i >= k { // two words are not a beginning of one
				o = slices.DeleteFunc(slices.Clone(o), func(h hit) bool { return h.how == shortFor })
			}
			if j == 0 && i < k && len(o) == 0 && a.g.contexts[a.tokens[i].folded] {
				o = []hit{{name: segs[0].name, cost: costOtherRoot, how: replaced}}
			}
			options[i][j] = o
			lastSeen = lastSeen || len(o) > 0
		}
		if !lastSeen {
			return
		}
	}
	a.solve(n, segs, &options, runs)
}

// at says whether the shell stands at this node.
func (a *aligner) at(segs []seg) bool {
	return len(a.place) == len(segs) && a.shared(segs) == len(segs)
}

// alone says whether all that was typed is an aspect which only this node has: tithe.
func (a *aligner) alone(n *node) bool {
	if len(a.tokens) != 1 || n.slots > 0 {
		return false
	}
	t := &a.tokens[0].typed
	said, _ := saidAs(t)
	for _, s := range append(said[:len(said):len(said)], agentese.Aspect(t.folded)) {
		if s.Known() && a.g.sole[s] == n {
			return true
		}
	}
	return false
}

// shared is how many names the place and the segments have in common.
func (a *aligner) shared(segs []seg) int {
	for i := range min(len(segs), len(a.place)) {
		s := &segs[i]
		if s.name != "" && !strings.EqualFold(s.name, a.place[i]) {
			return i
		}
	}
	return min(len(segs), len(a.place))
}

func pathAbove(segs []seg, j int) string {
	names := make([]string, j)
	for i := range j {
		names[i] = segs[i].name
	}
	return strings.Join(names, ".")
}

// aRun is a token that is several segments.
type aRun struct {
	token, from, to int
	hit             hit
}

func (a *aligner) runs(n *node, segs []seg) (out []aRun) {
	for i := range a.tokens {
		t := &a.tokens[i].typed
		if a.known[i] || len(t.folded) < 6 || !t.tolerant() {
			continue
		}
		for _, r := range n.runs {
			d := len(r.folded) - len(t.folded)
			if d > 2 || d < -2 || len(r.folded) > maxWord || bits.OnesCount64(r.mask^t.mask) > 4 {
				continue
			}
			if e := t.prepared().edits(r.folded); e <= 2 {
				cost, _, _ := weighted(t.folded, r.folded)
				out = append(out, aRun{i, r.from, r.to, hit{name: r.name, cost: cost + costJoined, edits: int16(e), how: slip, weak: e > 1}})
			}
		}
	}
	return out
}

// aspects is how token i may be each of the node's aspects.
func (a *aligner) aspects(n *node, i int) []hit {
	out := make([]hit, len(n.aspects))
	t := &a.tokens[i].typed
	any := false
	for x := range n.aspects {
		h := hit{cost: none}
		if w, ok := a.g.index[n.aspects[x].folded]; ok {
			h = *a.fixed(i, w)
		}
		if h.how == shortFor && !n.aspects[x].own {
			h.cost += costDescribed
		}
		out[x] = n.asAspect(t, x, h)
		if !n.aspects[x].own {
			out[x].cost += 0.1
		}
		any = any || out[x].cost < none
	}
	if u := n.usual(); u >= 0 && agentese.Aspect(t.folded).Known() && !n.has(agentese.Aspect(t.folded)) {
		out[u] = hit{name: n.aspects[u].name, cost: costNoAspect, how: replaced, weak: true}
		any = true
	}
	if !any {
		return nil
	}
	return out
}

func (n *node) has(a agentese.Aspect) bool {
	return slices.ContainsFunc(n.aspects, func(b aspect) bool { return b.Aspect == a })
}

// best sorts by cost and keeps as many as are worth going on with.
func best(all []found, most int) []found {
	slices.SortStableFunc(all, func(x, y found) int { return cmp.Compare(x.cost, y.cost) })
	return all[:min(most, len(all))]
}
