package match

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kgents/kgents/agentese"
)

// read makes what solve found into ways to read the path: with each aspect that is
// possible, and with other live names that are near.
func (a *aligner) read(n *node, segs []seg, st []state, end, mask int, cost float32, options *[2 * maxTokens][9][]hit, asAspects [][]hit, runs []aRun, share int) {
	m, k := len(segs), len(a.tokens)
	f := found{node: n, names: make([]string, m), aspect: -1, cost: cost}
	var trail []state
	for at := end; at > 0; at = int(st[at].from) {
		trail = append(trail, st[at])
	}
	slices.Reverse(trail)
	type choice struct {
		seg  int
		text string
		hits []hit
	}
	var choices []choice
	aspectToken := -1
	invented := false // a name that nobody has told of and that doesn't look like an id
	guessed := false  // a name is taken as it is, or of two words: with nothing around it that may be anything
	for _, s := range trail {
		i := int(s.at)
		text := a.tokens[i].text
		switch s.op {
		case opDrop:
			f.rest = append(f.rest, text)
			f.left(text, isUnclear(a.tokens[i].folded) || len(sayings[a.tokens[i].folded]) > 0)
		case opTake, opPair:
			o := options[i][s.seg]
			if s.op == opPair {
				o, text = options[k+i][s.seg], text+" "+a.tokens[i+1].text
			}
			f.names[s.seg] = o[0].name
			f.take(text, o[0], s.dirty)
			guessed = guessed || o[0].how == assumed || s.op == opPair && segs[s.seg].word < 0
			invented = invented || o[0].how == assumed && !plausible(o[0].name)
			if len(o) > 1 {
				choices = append(choices, choice{int(s.seg), text, o})
			}
		case opRun:
			r := runs[s.seg]
			for j := r.from; j < min(r.to, m); j++ {
				f.names[j] = segs[j].name
			}
			f.take(text, r.hit, s.dirty)
		case opAspect:
			aspectToken = i
			if s.dirty {
				f.moved = append(f.moved, text)
			}
		}
	}
	var added []string
	between := false // a holon was not written
	for j := range segs {
		if f.names[j] != "" {
			continue
		}
		if f.names[j] = segs[j].name; j < share && j < len(a.place) && segs[j].word < 0 {
			f.names[j] = a.place[j]
		}
		if j >= share || share < len(a.place) {
			added = append(added, f.names[j])
			between = between || j > 0
		}
	}
	if invented && between && len(a.live.sets) > 0 {
		return // names were told: a path made up around this one leads nowhere
	}
	if len(added) > 0 {
		guessed = guessed || added[len(added)-1] == f.names[m-1] // an aspect alone
		f.unsure = f.unsure || guessed
		f.why = append(f.why, "added "+strings.Join(added, "."))
	}
	first := len(a.found)
	a.withAspects(f, mask, aspectToken, asAspects)
	if first == len(a.found) {
		return
	}
	base := a.found[first]
	for _, g := range a.found[first:] {
		if g.cost < base.cost {
			base = g
		}
	}
	for _, c := range choices {
		for _, h := range c.hits[1:] {
			g := base
			g.names = slices.Clone(base.names)
			g.why = nil
			for _, w := range base.why {
				if w != told(c.text, c.hits[0]) {
					g.why = append(g.why, w)
				}
			}
			g.cost += h.cost - c.hits[0].cost
			g.names[c.seg] = h.name
			g.take(c.text, h, false)
			a.found = append(a.found, g)
		}
	}
}

// withAspects appends f with each aspect that it may have.
func (a *aligner) withAspects(f found, mask, token int, asAspects [][]hit) {
	n := f.node
	ran := mask>>len(f.names) != 0 && token < 0 // a run had manifest in it
	usual := n.usual()
	lowest := none
	if token >= 0 {
		for _, h := range asAspects[token] {
			lowest = min(lowest, h.cost)
		}
	}
	for i := range n.aspects {
		g := f
		g.aspect = i
		g.why = slices.Clone(f.why)
		switch {
		case token >= 0:
			h := asAspects[token][i]
			if h.cost >= none {
				continue
			}
			g.cost += h.cost - lowest
			g.take(a.tokens[token].text, h, false)
			g.clause = h.clause
		case ran:
			if i != usual || n.aspects[i].folded != "manifest" {
				continue
			}
		case i == usual:
			g.cost += costUsual
			// What spends something of the session is not assumed.
			g.unsure = g.unsure || n.aspects[i].Aspect == agentese.Sip || n.aspects[i].Aspect == agentese.Tithe
		default:
			g.cost += costUnusual
			if !n.aspects[i].own {
				g.cost += 0.2
			}
		}
		if len(f.moved) > 0 {
			g.why = append(g.why, strings.Join(f.moved, ", ")+" moved")
		}
		g.moved = nil
		a.found = append(a.found, g)
	}
}

// told is a hit in words; empty if nothing was changed.
func told(text string, h hit) string {
	if text == h.name {
		return ""
	}
	if h.clause != nil {
		return fmt.Sprintf("%s → %s[%s=%s]", text, h.name, h.clause[0], h.clause[1])
	}
	return text + " → " + h.name
}

func (f *found) take(text string, h hit, moved bool) {
	if w := told(text, h); w != "" {
		f.why = append(f.why, w)
	}
	if moved {
		f.moved = append(f.moved, h.name)
	}
	f.unsure = f.unsure || h.weak || h.literal
	f.slips += int(h.edits)
	if h.how == slip {
		f.slipped++
	}
	if h.how == shortFor && len(fold(text)) < 2 {
		f.initials++
	}
}

func (f *found) left(text string, filler bool) {
	f.why = append(f.why, "left out "+text)
	f.unsure = true
	f.dropped++
	if !filler {
		f.extra++
	}
}
