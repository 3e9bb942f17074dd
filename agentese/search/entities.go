package search

import (
	"slices"
	"strings"
	"unicode"

	"github.com/kgents/kgents/agentese/tree"
)

// entity is a live name in a question.
type entity struct {
	kind     string            // what it is: customer
	name     string            // as the tree writes it
	above    map[string]string // live names above it: town -> springfield
	said     string            // what was written
	from, to int               // tokens; equal if it was told by its words and not named
	share    float64           // how much of it was written: 1 is all
	weak     bool              // it may be an ordinary word, or only described
}

// names are the live names that are known, ready to be found in a text. It doesn't
// change after it is made.
type names struct {
	live    bool                // it has the live ones
	exact   map[string][]entity // by the name in lower case
	starts  map[string][]string // lower-case names of four letters or more by their first two letters
	ends    map[string][]string // and by their last two, for a mistake in one half
	told    []told
	numeric map[string]bool // kinds whose names are numbers
	open    []string        // kinds whose names may be any id
}

// told is a name that says what it is, so that its words are enough: a section of the
// runbook, an alert, a metric.
type told struct {
	entity
	stems map[string]bool
}

// maxTold is the longest list whose names are read as words, tellable what may be so:
// people's and things' own names are none.
const maxTold = 400

// newNames reads a snapshot. samples are those of the tree's own examples.
func newNames(t *tree.Tree, s *tree.Snapshot, samples []entity) *names {
	n := &names{exact: map[string][]entity{}, starts: map[string][]string{}, ends: map[string][]string{}, numeric: map[string]bool{}}
	for _, p := range t.Places() {
		if p.Node.Live != nil && p.Node.Live.Open && !slices.Contains(n.open, p.Node.Live.Node.Name) {
			n.open = append(n.open, p.Node.Live.Node.Name)
		}
	}
	for _, e := range samples {
		if number(e.name) {
			n.numeric[e.kind] = true
		} else {
			n.add(e)
		}
	}
	if s == nil {
		return n
	}
	n.live = true
	keys := make([]string, 0, len(s.Names))
	for at := range s.Names {
		keys = append(keys, at)
	}
	slices.Sort(keys)
	for _, at := range keys {
		path := strings.Split(at, ".")
		place, above, _, depth := t.Find(path)
		if depth < len(path) || place.Node == nil || place.Node.Live == nil {
			continue
		}
		kind, list := place.Node.Live.Node.Name, s.Names[at]
		numeric := len(list) > 0
		for _, e := range list {
			n.add(entity{kind: kind, name: e.Name, above: above})
			numeric = numeric && number(e.Name)
		}
		if numeric {
			n.numeric[kind] = true
		}
		if len(list) <= maxTold && !numeric && (path[0] == "concept" || kind == "alert" || strings.HasPrefix(at, "world.kubernetes")) {
			for _, e := range list {
				n.tell(entity{kind: kind, name: e.Name, above: above}, e.Line)
			}
		}
	}
	return n
}

func (n *names) add(e entity) {
	low := strings.ToLower(e.name)
	for _, f := range n.exact[low] {
		if f.kind == e.kind && f.name == e.name && f.above["town"] == e.above["town"] {
			return
		}
	}
	if len(n.exact[low]) == 0 && len(low) >= 4 && ascii(low) {
		n.starts[low[:2]] = append(n.starts[low[:2]], low)
		n.ends[low[len(low)-2:]] = append(n.ends[low[len(low)-2:]], low)
	}
	n.exact[low] = append(n.exact[low], e)
}

func (n *names) tell(e entity, line string) {
	for _, t := range n.told {
		if t.kind == e.kind && t.name == e.name {
			return
		}
	}
	words := map[string]bool{}
	for _, w := range nameWords(e.name) {
		if s := stem(w); len(s) > 1 && !stopWords[w] && w != "kgents" && w != "total" {
			words[s] = true
		}
	}
	n.told = append(n.told, told{e, words})
}

// tells says whether a name is known and one that may be told by words.
func (n *names) tells(kind, name string) bool {
	return slices.ContainsFunc(n.told, func(t told) bool { return t.kind == kind && t.name == name })
}

// nameWords takes a name apart: roll-back, HighWebhookLatency, kgents_backlog_messages.
func nameWords(name string) []string {
	var b strings.Builder
	var last rune
	rs := []rune(name)
	for i, r := range rs {
		if unicode.IsUpper(r) && (unicode.IsLower(last) || i+1 < len(rs) && unicode.IsUpper(last) && unicode.IsLower(rs[i+1])) {
			b.WriteByte(' ')
		}
		if !isWord(r) {
			r = ' '
		}
		b.WriteRune(unicode.ToLower(r))
		last = r
	}
	return strings.Fields(b.String())
}

func number(s string) bool {
	return s != "" && len(s) <= 18 && strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' }) < 0
}

// find gives the names in a text. common says whether a word is one of everyday use,
// so that it need not be a name: free, nats.
func (n *names) find(text string, ts []token, common func(string) bool) []entity {
	var out []entity
	for i := 0; i < len(ts); i++ {
		found, to := n.at(text, ts, i, common)
		for k := range found {
			found[k].from, found[k].to = i, to
			found[k].said = text[ts[i].from:ts[to-1].to]
			found[k].share = max(found[k].share, 0.01)
		}
		out = append(out, found...)
		if len(found) > 0 {
			i = to - 1
		}
	}
	return out
}

// at looks for a name that begins with the i-th word. Names with - _ . : in them are
// several words to tokens.
func (n *names) at(text string, ts []token, i int, common func(string) bool) ([]entity, int) {
	if i > 0 && ts[i].from == ts[i-1].from {
		return nil, 0 // the second half of a short form
	}
	end := i + 1
	for end < len(ts) && (ts[end].from == ts[i].from || joined(text[ts[end-1].to:ts[end].from])) {
		end++
	}
	for to := end; to > i; to-- {
		said := strings.ToLower(text[ts[i].from:ts[to-1].to])
		for _, form := range []string{said, strings.TrimSuffix(strings.TrimSuffix(said, "s"), "'"), strings.TrimSuffix(strings.TrimSuffix(said, "s"), "’")} {
			if known := n.exact[form]; len(known) > 0 && (form == said || len(form) > 3) && !(form != said && common(form)) {
				return marked(known, 1, to == i+1 && common(form)), to
			}
		}
		if to-i == 1 && end == to && len(n.numeric) > 0 && number(said) { // 12 of 12.400 is none
			counted := i > 0 && countedWords[ts[i-1].stem] || ts[i].from > 0 && text[ts[i].from-1] == '#'
			var out []entity
			for kind := range n.numeric {
				e := entity{kind: kind, name: said, share: 0.5, weak: true}
				if counted {
					e.share, e.weak = 1, false
				}
				out = append(out, e)
			}
			slices.SortFunc(out, func(a, b entity) int { return strings.Compare(a.kind, b.kind) })
			return out, to
		}
		if id(said) && len(n.open) > 0 {
			var out []entity
			for _, kind := range n.open {
				if !n.numeric[kind] {
					out = append(out, entity{kind: kind, name: text[ts[i].from:ts[to-1].to], share: 0.9})
				}
			}
			return out, to
		}
	}
	// A mistake in a name: only in words that are none.
	said := strings.ToLower(strings.TrimSuffix(strings.TrimSuffix(text[ts[i].from:ts[end-1].to], "'s"), "’s"))
	if len(said) < 4 || len(said) > 60 || !ascii(said) || end == i+1 && (common(ts[i].text) || digits(said)) {
		return nil, 0
	}
	limit := 1
	if len(said) >= 7 {
		limit = 2
	}
	best, bestAt := limit+1, ""
	for _, list := range [][]string{n.starts[said[:2]], n.ends[said[len(said)-2:]]} {
		for _, k := range list {
			if len(k) > len(said)+limit || len(k) < len(said)-limit || digits(k) != digits(said) {
				continue
			}
			if d := edits(said, k, limit); d < best || d == best && k < bestAt {
				best, bestAt = d, k
			}
		}
	}
	if bestAt == "" || best > limit || digits(bestAt) {
		return nil, 0
	}
	return marked(n.exact[bestAt], 1-float64(best)/float64(len(said)), false), end
}

// countedWords are those that say that the number behind them is a name: letter 41.
var countedWords = set("letter deadletter number no nr seq sequenc num id dlq reject poison corps")

// joined says whether what stands between two words joins them to one name.
func joined(between string) bool {
	return between == "-" || between == "_" || between == ":" || between == "."
}

func marked(known []entity, share float64, weak bool) []entity {
	out := slices.Clone(known)
	for i := range out {
		out[i].share, out[i].weak = share, weak
	}
	return out
}

// id says whether a word looks like the id of an event: evt_1QxYz9AbC, req-7f3a, a UUID,
// a ULID.
func id(w string) bool {
	if strings.HasPrefix(w, "evt_") && len(w) > 5 {
		return true
	}
	letters := strings.IndexFunc(w, unicode.IsLetter) >= 0
	if len(w) >= 16 && letters && strings.IndexFunc(w, func(r rune) bool { return r >= '0' && r <= '9' }) >= 0 && strings.IndexFunc(w, func(r rune) bool { return !isWord(r) }) < 0 {
		return true
	}
	return len(w) >= 6 && letters && digits(w) && strings.ContainsAny(w, "-_") && !strings.ContainsAny(w, ".")
}

// described gives the told names whose words are in the question, the best first, at
// most limit of each kind. weight is how much a word says.
func (n *names) described(stems map[string]float64, weight func(string) float64, limit int) []entity {
	var out []entity
	for _, t := range n.told {
		var have, all float64
		for s := range t.stems {
			w := weight(s)
			all += w
			have += w * stems[s]
		}
		if all > 0 && have/all >= 0.45 {
			e := t.entity
			e.share, e.weak = have/all*min(1, 0.55+0.15*float64(len(t.stems))), true
			out = append(out, e)
		}
	}
	slices.SortStableFunc(out, func(a, b entity) int {
		switch {
		case a.share > b.share:
			return -1
		case a.share < b.share:
			return 1
		}
		return strings.Compare(a.name, b.name)
	})
	seen := map[string]int{}
	return slices.DeleteFunc(out, func(e entity) bool {
		seen[e.kind]++
		return seen[e.kind] > limit
	})
}
