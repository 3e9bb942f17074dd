package match

import (
	"cmp"
	"math/bits"
	"slices"
	"sort"
	"strings"

	"github.com/kgents/kgents/agentese/tree"
)

// names are all live names of a snapshot, prepared. They don't change.
type names struct {
	sets   map[string]*set            // by the path above them
	nested map[string]map[string]*set // by pattern, then by path: those below other live names
}

// set is the live names below one path. Word by word it is laid out so that a scan of
// 20,000 of them touches 160 kB: their masks alone decide on most.
type set struct {
	entries []tree.Entry
	folded  []string
	masks   []uint64
	at      map[string][]int32 // by folded name
	sorted  []int32            // by folded name
}

// nearest bounds how many live names are given for a word, examined how many of those
// within tolerance are weighed.
const (
	nearest  = 6
	examined = 48
)

// leastEnding is the shortest end of a live name by which it is found, in bytes.
const leastEnding = 5

func newNames(g *graph, s *tree.Snapshot) *names {
	l := &names{sets: map[string]*set{}, nested: map[string]map[string]*set{}}
	if s == nil {
		return l
	}
	for path, entries := range s.Names {
		if len(entries) > tree.MaxNames {
			entries = entries[:tree.MaxNames]
		}
		x := newSet(entries)
		l.sets[path] = x
		if g.by[path] != nil {
			continue
		}
		if p, _, _, depth := g.tree.Find(strings.Split(path, ".")); depth > 0 && p.Node != nil && p.Node.Live != nil {
			if l.nested[p.Pattern] == nil {
				l.nested[p.Pattern] = map[string]*set{}
			}
			l.nested[p.Pattern][path] = x
		}
	}
	return l
}

func newSet(entries []tree.Entry) *set {
	x := &set{entries: entries, at: make(map[string][]int32, len(entries))}
	for i, e := range entries {
		f := fold(e.Name)
		x.folded = append(x.folded, f)
		x.masks = append(x.masks, letters(f))
		x.at[f] = append(x.at[f], int32(i))
		x.sorted = append(x.sorted, int32(i))
	}
	slices.SortStableFunc(x.sorted, func(a, b int32) int { return cmp.Compare(x.folded[a], x.folded[b]) })
	return x
}

// has says whether the name is there; the case of letters counts unless foldCase.
func (x *set) has(name string, foldCase bool) (string, bool) {
	for _, i := range x.at[fold(name)] {
		if n := x.entries[i].Name; n == name || foldCase && strings.EqualFold(n, name) {
			return n, true
		}
	}
	return "", false
}

// like are the names that the typed word may be, best first, nearest at most. With
// exactly only those that differ in case and separators.
func (x *set) like(t *typed, exactly bool) (out []hit) {
	for _, i := range x.at[t.folded] {
		n := x.entries[i].Name
		h := hit{name: n}
		if n != t.name {
			h.cost = 0.05
			h.literal = changesNumber(t.name, n)
		}
		out = append(out, h)
	}
	slices.SortStableFunc(out, func(a, b hit) int { return cmp.Compare(a.cost, b.cost) })
	if len(out) > nearest {
		out = out[:nearest]
	}
	if len(out) > 0 || exactly || t.folded == "" {
		return out
	}
	var seen []int32
	add := func(i int32) {
		if slices.Contains(seen, i) {
			return
		}
		seen = append(seen, i)
		w := word{x.entries[i].Name, x.folded[i], x.masks[i]}
		if h := t.is(&w); h.cost < none {
			out = append(out, h)
		}
	}
	from, to := x.begin(t.folded)
	for _, i := range x.sorted[from:min(to, from+nearest)] {
		add(i)
	}
	crowd := to - from // of these, a short beginning decides nothing
	if len(t.folded) >= leastEnding {
		for i, f := range x.folded {
			if len(f) >= len(t.folded)+3 && len(seen) < examined && strings.HasSuffix(f, t.folded) {
				add(int32(i)) // nats_circuit_state for kgents_nats_circuit_state
			}
		}
	}
	if t.tolerant() {
		p := t.prepared()
		k := tolerance(len(t.folded) + 1)
		var within [4][]int32
		for i, m := range x.masks {
			if bits.OnesCount64(m^t.mask) > 2*k {
				continue
			}
			n := len(x.folded[i]) - len(t.folded)
			if n > k || -n > k || n+len(t.folded) > maxWord || n+len(t.folded) == 0 {
				continue
			}
			if e := p.edits(x.folded[i]); e <= k && len(within[e]) < examined {
				within[e] = append(within[e], int32(i))
			}
		}
		left := examined
		for _, group := range within {
			for _, i := range group[:min(left, len(group))] {
				add(i)
			}
			left -= min(left, len(group))
		}
	}
	slices.SortStableFunc(out, func(a, b hit) int { return cmp.Compare(a.cost, b.cost) })
	if len(out) > nearest {
		out = out[:nearest]
	}
	for i := range out {
		h := &out[i]
		if h.how == shortFor && crowd > 1 {
			h.weak = true
		}
		// As many edits from another as from this: nobody can tell.
		if (h.how == slip || h.how == plural) && len(out) > 1 {
			for j := range out {
				if j != i && out[j].edits <= h.edits && (out[j].how == slip || out[j].how == plural) {
					h.weak = true
				}
			}
		}
	}
	return out
}

// begin is the range of sorted whose names begin with the folded text.
func (x *set) begin(text string) (from, to int) {
	from = sort.Search(len(x.sorted), func(i int) bool { return x.folded[x.sorted[i]] >= text })
	to = from + sort.Search(len(x.sorted)-from, func(i int) bool { return !strings.HasPrefix(x.folded[x.sorted[from+i]], text) })
	return from, to
}
