package match

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/tree"
)

// costLost is what it costs that a clause can't be kept.
const costLost = 2.4

// clauseHit is one way to read a clause.
type clauseHit struct {
	clause agentese.Clause
	cost   float32
	why    string
	unsure bool
	lost   bool // it can't be read
}

// asClause are the ways to read a clause among an aspect's parameters, best first.
func (w *work) asClause(c given, a *aspect, used map[string]bool) []clauseHit {
	var out []clauseHit
	key := newTyped(c.key)
	own := len(a.Params)
	for i := range a.params {
		p := &a.params[i]
		if used[p.Key] {
			continue
		}
		pw := newWord(p.Key)
		k := key.is(&pw)
		if k.cost < none && k.how != asIs && i >= own {
			k.cost += 0.25
		}
		switch {
		case k.cost < none && c.has:
			out = append(out, w.keyed(p, k, c)...)
		case k.cost < none && p.Kind == tree.Flag:
			out = append(out, clauseHit{clause: agentese.Clause{Key: p.Key, Bare: true}, cost: k.cost, why: told(c.key, k), unsure: k.weak})
		case !c.has:
			out = append(out, w.unkeyed(p, k, c.key)...)
		case i < own && p.Kind != tree.Text && p.Kind != "" && p.Kind != tree.Word || i < own && len(p.Values) > 0 || i < own && p.Of != "":
			// Another word for the key, but a value that fits.
			for _, v := range w.values(p, c.value) {
				out = append(out, clauseHit{clause: agentese.Clause{Key: p.Key, Value: v.name}, cost: 1.9 + v.cost, why: c.key + " → " + p.Key, unsure: true})
			}
		}
	}
	out = append(out, clauseHit{cost: costLost, why: "left out [" + c.key + "]", unsure: true, lost: true})
	slices.SortStableFunc(out, func(x, y clauseHit) int { return cmp.Compare(x.cost, y.cost) })
	return out[:min(len(out), 4)]
}

// keyed reads [key=value].
func (w *work) keyed(p *tree.Param, k hit, c given) (out []clauseHit) {
	for _, v := range w.values(p, c.value) {
		why := told(c.key, k)
		if t := told(c.value, v); t != "" {
			why = strings.TrimPrefix(why+", "+t, ", ")
		}
		out = append(out, clauseHit{
			clause: agentese.Clause{Key: p.Key, Value: v.name}, cost: k.cost + v.cost, why: why,
			unsure: k.weak || v.weak || v.literal,
		})
	}
	return out
}

// unkeyed reads what stands alone in brackets: a key that means true, a value of which
// the key is missing, or both without the =.
func (w *work) unkeyed(p *tree.Param, k hit, text string) (out []clauseHit) {
	if text == "" {
		return nil
	}
	if k.how == asIs && k.cost < none {
		if _, err := p.Check("true", time.Time{}); err == nil {
			out = append(out, clauseHit{clause: agentese.Clause{Key: p.Key, Bare: true}, cost: k.cost})
		}
	}
	since := p.Key == "since" || p.Key == "from" || p.Key == "near"
	if len(p.Values) > 0 || since && digit(text[0]) {
		for _, v := range w.values(p, text) {
			out = append(out, clauseHit{clause: agentese.Clause{Key: p.Key, Value: v.name}, cost: 0.3 + v.cost, why: text + " → " + p.Key + "=" + v.name, unsure: v.weak})
		}
	}
	if len(text) > len(p.Key) && strings.EqualFold(text[:len(p.Key)], p.Key) && (len(p.Values) > 0 || p.Of != "" || p.Kind == tree.Number || p.Kind == tree.Duration) {
		for _, v := range w.values(p, text[len(p.Key):]) {
			out = append(out, clauseHit{clause: agentese.Clause{Key: p.Key, Value: v.name}, cost: 0.25 + v.cost, why: text + " → " + p.Key + "=" + v.name, unsure: v.weak || v.literal})
		}
	}
	return out
}

// values are what a parameter's value may have been meant to be, best first; every one
// of them is a value of it.
func (w *work) values(p *tree.Param, v string) []hit {
	t := newTyped(v)
	var out []hit
	switch {
	case len(p.Values) > 0:
		for _, known := range p.Values {
			kw := newWord(known)
			if h := t.is(&kw); h.cost < none {
				out = append(out, h)
			}
		}
	case p.Of != "":
		out = w.liveValues(p, &t, v)
	case p.Paths:
		out = w.paths(v)
	default:
		if _, err := p.Check(v, w.now); err == nil && v != "" {
			return []hit{{name: v}}
		}
		if r, ok := repaired(p, v); ok {
			if _, err := p.Check(r, w.now); err == nil {
				out = []hit{{name: r, cost: 0.3, how: slip, literal: literals(r) != literals(v)}}
			}
		}
	}
	slices.SortStableFunc(out, func(x, y hit) int { return cmp.Compare(x.cost, y.cost) })
	if len(out) > 0 && out[0].cost == 0 {
		out = out[:1]
	}
	return out[:min(len(out), 3)]
}

func (w *work) liveValues(p *tree.Param, t *typed, v string) []hit {
	s, ok := w.live.sets[p.Of]
	at := w.g.by[p.Of]
	if v == "" {
		return nil
	}
	if !ok {
		return []hit{{name: v}}
	}
	out := s.like(t, false)
	if len(out) > 0 && out[0].cost == 0 {
		return out[:1]
	}
	if at != nil && at.Node.Live != nil && at.Node.Live.Open && plausible(v) {
		return []hit{{name: v}}
	}
	return append(out, hit{name: v, cost: 1.7, how: assumed, weak: true})
}

// paths are the paths of the tree that a text may mean.
func (w *work) paths(v string) (out []hit) {
	r := readRough(w.g, v)
	for _, f := range w.align(r.tokens, nil) {
		name := agentese.JoinPath(f.names...)
		if f.wild(len(r.tokens)) || slices.ContainsFunc(out, func(h hit) bool { return h.name == name }) {
			continue
		}
		h := hit{name: name, cost: max(0, f.cost-costUsual), how: slip, edits: int16(f.slips), weak: f.unsure}
		if name == v {
			h = hit{name: name}
		}
		out = append(out, h)
		if len(out) == 3 {
			break
		}
	}
	return out
}

// units are the words by which people write a duration's unit.
var units = map[string]string{
	"sec": "s", "secs": "s", "second": "s", "seconds": "s", "mins": "m", "minute": "m", "minutes": "m",
	"hr": "h", "hrs": "h", "hour": "h", "hours": "h", "day": "d", "days": "d", "wk": "w", "week": "w", "weeks": "w",
}

// repaired is a value of a kind that is written in another way than the language has it.
func repaired(p *tree.Param, v string) (string, bool) {
	s := strings.ToLower(strings.Join(strings.Fields(v), ""))
	switch p.Kind {
	case tree.Duration, tree.Time:
		if p.Kind == tree.Time {
			t := newTyped(s)
			for _, known := range []string{"yesterday", "today", "now"} {
				kw := newWord(known)
				if h := t.is(&kw); h.cost < none && h.edits < 3 && (h.how == slip || h.how == asIs) {
					return known, true
				}
			}
			s = strings.TrimSuffix(s, "ago")
		}
		if i := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' }); i > 0 {
			if u, ok := units[s[i:]]; ok {
				return s[:i] + u, true
			}
		}
		return s, s != v
	case tree.Flag:
		t := newTyped(s)
		for _, known := range []string{"true", "false", "yes", "off"} {
			kw := newWord(known)
			if h := t.is(&kw); h.cost < none && h.edits < 2 {
				return known, true
			}
		}
	case tree.Number, tree.Percent:
		return strings.Trim(s, " .,"), true
	}
	return "", false
}
