package match

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/term"
)

// Complete says how the line can go on at the cursor (a byte of the line), best first,
// at most MaxCompletions: what begins as the word at the cursor does, then what is like
// it. Where that is too much, live names are left out. A completion replaces the whole word at the cursor, and words before it that were
// mistyped. Aspects that the observer may do come before those for which another is
// needed, of which Line says so.
func (m *Matcher) Complete(line string, cursor int, place []string, o tree.Observer) []Completion {
	cursor = max(0, min(cursor, len(line)))
	for cursor > 0 && cursor < len(line) && !utf8.RuneStart(line[cursor]) {
		cursor--
	}
	if len(line) > agentese.MaxInput {
		return nil
	}
	c := &completer{work: m.work(place, o), line: line, cursor: cursor}
	c.read()
	c.typed = newTyped(c.word)
	c.offer()
	return c.ranked()
}

// completer finds what stands before the cursor and gathers what may follow.
type completer struct {
	*work
	line   string
	cursor int

	names   []spot // complete names of the step before the cursor
	clauses []spot // complete clauses, their text without brackets
	at      where
	key     string // of the clause whose value is being typed
	from    int    // where the word at the cursor begins
	word    string // it, up to the cursor, without its quote
	quoted  bool   // it begins with one
	typed   typed  // it, prepared

	out []option
}

type where uint8

const (
	inName where = iota
	inKey
	inValue
	inAnnotation
	nowhere // behind a ], where only a bracket, @ or >> can stand
)

// spot is a text and where it begins in the line.
type spot struct {
	text string
	from int
}

// option is a completion that may be offered.
type option struct {
	Completion
	name string // what is compared with the word
	rank int    // of equally good ones, the lower first
	last bool   // the observer may not

	placed bool // From is set
}

// offer gathers what can stand at the cursor.
func (c *completer) offer() {
	switch c.at {
	case inName:
		c.offerNames()
	case inKey:
		c.offerKeys()
	case inValue:
		c.offerValues()
	case inAnnotation:
		for i, a := range annotations {
			c.add(option{Completion: Completion{Text: a + "=", Line: "a note of this step", Kind: KindClause}, name: a, rank: i})
		}
	case nowhere:
		if a := c.aspect(); a != nil && c.word == "" {
			c.offerClauses(a, c.cursor)
		}
	}
}

// lead is the node that names lead to from a base, exactly.
func (c *completer) lead(base, names []string) ([]string, *node) {
	all := append(slices.Clone(base), names...)
	if len(all) == 0 {
		return nil, nil
	}
	p, ok := c.exist(all)
	if !ok {
		return nil, nil
	}
	found, _, _, _ := c.g.tree.Find(p)
	return p, c.g.by[found.Pattern]
}

// above finds the node that the names before the cursor lead to: from here, then from
// the root. If one of them leads nowhere, the nearest that does is taken; then fixed is
// what stands for it and for those behind it, and from is where it begins.
func (c *completer) above(names []spot) (path []string, n *node, from int, fixed []string) {
	if len(names) > maxTokens {
		return nil, nil, 0, nil
	}
	texts := make([]string, len(names))
	for i, s := range names {
		texts[i] = s.text
	}
	bases := [][]string{nil}
	if len(c.place) > 0 {
		bases = [][]string{c.place, nil}
	}
	for _, base := range bases {
		if p, n := c.lead(base, texts); n != nil {
			return p, n, 0, nil
		}
	}
	for _, base := range bases {
		for i := len(names) - 1; i >= 0; i-- {
			up, at := c.lead(base, texts[:i])
			if at == nil && i+len(base) > 0 {
				continue
			}
			// All names up to i lead somewhere; the one at i is the nearest child.
			t := newTyped(texts[i])
			best := hit{cost: 1.4}
			for _, o := range c.below(up, at, &t) {
				w := newWord(o.name)
				if h := t.is(&w); h.cost < best.cost && !h.literal {
					best = h
				}
			}
			if best.name == "" {
				break
			}
			rest := append([]string{best.name}, texts[i+1:]...)
			if p, n := c.lead(up, rest); n != nil {
				return p, n, names[i].from, rest
			}
			break
		}
	}
	return nil, nil, 0, nil
}

// below are the names that stand below a path: fixed ones, then live ones; below the
// root the contexts.
func (c *completer) below(path []string, n *node, t *typed) (out []option) {
	if n == nil {
		for i, x := range c.g.tree.Contexts {
			out = append(out, option{Completion: Completion{Line: x.Line, Kind: KindContext}, name: x.Name, rank: i})
		}
		return out
	}
	for i, x := range n.Node.Children {
		out = append(out, option{Completion: Completion{Line: x.Line, Kind: KindHolon}, name: x.Name, rank: i})
	}
	if n.Node.Live == nil {
		return out
	}
	return append(out, c.liveOptions(strings.Join(path, "."), KindLive, t)...)
}

// liveOptions are live names that begin as the word does, and that are like it.
func (c *completer) liveOptions(path, kind string, t *typed) (out []option) {
	s := c.live.sets[path]
	if s == nil {
		return nil
	}
	from, to := s.begin(t.folded)
	for rank, i := range s.sorted[from:min(to, from+MaxCompletions)] {
		e := s.entries[i]
		out = append(out, option{Completion: Completion{Line: e.Line, Kind: kind}, name: e.Name, rank: 1000 + rank})
	}
	if len(out) < MaxCompletions && t.folded != "" {
		for rank, h := range s.like(t, false) {
			if slices.ContainsFunc(out, func(o option) bool { return o.name == h.name }) {
				continue
			}
			for _, i := range s.at[fold(h.name)] {
				if e := s.entries[i]; e.Name == h.name {
					out = append(out, option{Completion: Completion{Line: e.Line, Kind: kind}, name: e.Name, rank: 2000 + rank})
				}
			}
		}
	}
	return out
}

func (c *completer) offerNames() {
	path, n, from, fixed := c.above(c.names)
	if len(c.names) > 0 && n == nil {
		return
	}
	name := func(o option) option {
		o.Text = agentese.QuoteName(o.name)
		if fixed != nil {
			o.placed, o.From, o.Text = true, from, agentese.JoinPath(append(slices.Clone(fixed), o.name)...)
		}
		return o
	}
	if n != nil {
		for _, o := range c.below(path, n, &c.typed) {
			c.add(name(o))
		}
		for i := range n.aspects {
			a := &n.aspects[i]
			o := option{Completion: Completion{Line: a.Line, Kind: KindAspect}, name: a.name, rank: 5000 + i}
			if !c.observer.May(a.Affordance) {
				o.last, o.Line = true, "needs "+a.Least().String()+": "+o.Line
			}
			c.add(name(o))
			// Behind an aspect that is complete its clauses may follow.
			if a.name == strings.ToLower(c.word) && c.end() == c.cursor {
				c.offerClauses(a, c.cursor)
			}
		}
	}
	if len(c.names) > 0 {
		return
	}
	for _, o := range c.below(nil, nil, &c.typed) {
		o.rank += 8000
		c.add(name(o))
	}
	c.offerAnywhere()
}

// offerAnywhere gives whole paths to holons that begin as the first word does.
func (c *completer) offerAnywhere() {
	if len(c.word) < 2 {
		return
	}
	for i, n := range c.g.nodes {
		if len(n.segs) < 2 || n.slots > 0 {
			continue
		}
		c.add(option{Completion: Completion{Text: n.Pattern, Line: n.Node.Line, Kind: KindHolon}, name: n.Node.Name, rank: 10_000 + i})
	}
	for _, n := range c.g.nodes {
		if n.Node.Live == nil || n.slots > 0 || len(c.word) < 3 {
			continue
		}
		for _, o := range c.liveOptions(n.Pattern, KindLive, &c.typed) {
			o.Text = n.Pattern + "." + agentese.QuoteName(o.name)
			o.rank += 20_000
			c.add(o)
		}
	}
}

// aspect is the one whose clauses are being typed: written, or the usual.
func (c *completer) aspect() *aspect {
	if k := len(c.names); k > 0 {
		if _, n, _, _ := c.above(c.names[:k-1]); n != nil {
			for i := range n.aspects {
				if strings.EqualFold(n.aspects[i].name, c.names[k-1].text) {
					return &n.aspects[i]
				}
			}
		}
	}
	if _, n, _, _ := c.above(c.names); n != nil {
		if u := n.usual(); u >= 0 {
			return &n.aspects[u]
		}
	}
	return nil
}

func (c *completer) offerClauses(a *aspect, at int) {
	for i, p := range c.left(a) {
		text := "[" + p.Key + "="
		if p.Kind == tree.Flag {
			text = "[" + p.Key + "]"
		}
		c.out = append(c.out, option{Completion: Completion{Text: text, From: at, To: at, Line: p.Line, Kind: KindClause}, rank: 6000 + i})
	}
}

// left are the parameters that are not given yet.
func (c *completer) left(a *aspect) (out []tree.Param) {
	for _, p := range a.params {
		given := slices.ContainsFunc(c.clauses, func(s spot) bool { return strings.EqualFold(s.text, p.Key) })
		given = given || strings.Contains(c.after(), "["+p.Key+"=")
		if !given {
			out = append(out, p)
		}
	}
	return out
}

// after is the rest of the step behind the cursor.
func (c *completer) after() string {
	rest, _, _ := strings.Cut(c.line[c.cursor:], ">>")
	return rest
}

func (c *completer) offerKeys() {
	a := c.aspect()
	if a == nil {
		return
	}
	end := c.end()
	for i, p := range c.left(a) {
		text := p.Key + "="
		switch {
		case strings.HasPrefix(c.line[end:], "="), strings.HasPrefix(c.line[end:], "]") && p.Kind == tree.Flag:
			text = p.Key
		case p.Kind == tree.Flag:
			text = p.Key + "]"
		}
		c.add(option{Completion: Completion{Text: text, Line: p.Line, Kind: KindClause}, name: p.Key, rank: i})
	}
}

func (c *completer) offerValues() {
	a := c.aspect()
	if a == nil {
		return
	}
	i := slices.IndexFunc(a.params, func(p tree.Param) bool { return strings.EqualFold(p.Key, c.key) })
	if i < 0 {
		return
	}
	p := &a.params[i]
	for _, o := range c.valueOptions(p) {
		o.Kind = KindValue
		text := (agentese.Clause{Key: "k", Value: o.name}).String()
		o.Text = strings.TrimSuffix(strings.TrimPrefix(text, "[k="), "]")
		if !strings.HasPrefix(c.line[c.end():], "]") {
			o.Text += "]"
		}
		c.add(o)
	}
}

func (c *completer) valueOptions(p *tree.Param) (out []option) {
	listed := func(line string, values ...string) {
		for i, v := range values {
			out = append(out, option{Completion: Completion{Line: line}, name: v, rank: i})
		}
	}
	switch {
	case len(p.Values) > 0:
		listed(p.Line, p.Values...)
	case p.Of != "":
		out = c.liveOptions(p.Of, KindValue, &c.typed)
	case p.Paths:
		for i, n := range c.g.nodes {
			if n.slots == 0 && len(n.segs) > 1 {
				out = append(out, option{Completion: Completion{Line: n.Node.Line}, name: n.Pattern, rank: i})
			}
		}
	case p.Kind == tree.Flag:
		listed(p.Line, "true", "false")
	case p.Kind == tree.Duration:
		listed("so long", "15m", "1h", "6h", "24h", "7d")
	case p.Kind == tree.Time:
		listed("so long ago, or since then", "1h", "6h", "24h", "7d", "today", "yesterday")
	}
	if p.Default != "" && !slices.ContainsFunc(out, func(o option) bool { return o.name == p.Default }) {
		out = append(out, option{Completion: Completion{Line: p.Line + " (the default)"}, name: p.Default, rank: -1})
	}
	return out
}

// end is where the word at the cursor ends.
func (c *completer) end() int {
	stop := func(r rune) bool {
		switch c.at {
		case inValue:
			return r == ']' || r == '[' || r == '@' || r == '>'
		case inKey, inAnnotation:
			return r == ']' || r == '[' || r == '=' || r == '>' || unicode.IsSpace(r)
		}
		return r == '.' || r == '/' || r == '[' || r == '@' || r == '>' || unicode.IsSpace(r)
	}
	rest := c.line[c.cursor:]
	if c.quoted {
		if i := strings.IndexByte(rest, '"'); i >= 0 {
			return c.cursor + i + 1
		}
		return c.cursor
	}
	if i := strings.IndexFunc(rest, stop); i >= 0 {
		rest = rest[:i]
	}
	return c.cursor + len(strings.TrimRight(rest, " \t"))
}

// add takes an option, its From and To those of the word unless From is set already.
func (c *completer) add(o option) {
	if !o.placed {
		o.From = c.from
	}
	o.To = c.end()
	c.out = append(c.out, o)
}

// ranked sorts what was gathered: what begins as the word does, what the observer may,
// then what is like the word.
func (c *completer) ranked() []Completion {
	type scored struct {
		option
		cost float32
	}
	word := &c.typed
	var all []scored
	for _, o := range c.out {
		s := scored{option: o}
		switch {
		case o.name == "" || word.folded == "":
		case strings.HasPrefix(strings.ToLower(o.name), strings.ToLower(c.word)):
		case strings.HasPrefix(fold(o.name), word.folded):
			s.cost = 0.1
		default:
			w := newWord(o.name)
			h := word.is(&w)
			if c.at == inValue && h.cost >= none {
				// A part of a path: circuit for world.nats.circuit.
				if !strings.Contains(strings.ToLower(o.name), "."+strings.ToLower(c.word)) {
					continue
				}
				h.cost = 0.5
			}
			if h.cost >= none || len(word.folded) < 3 || o.rank >= 10_000 && (h.edits > 1 || len(word.folded) < 5) {
				continue
			}
			s.cost = 1 + h.cost
		}
		all = append(all, s)
	}
	slices.SortStableFunc(all, func(a, b scored) int {
		return cmp.Or(cmp.Compare(a.cost, b.cost), cmp.Compare(btoi(a.last), btoi(b.last)), cmp.Compare(a.rank, b.rank))
	})
	// However many live names there are, what else can stand here is not left out for them.
	names := MaxCompletions
	for _, s := range all {
		if s.Kind != KindLive {
			names--
		}
	}
	var out []Completion
	seen := map[string]bool{}
	for _, s := range all {
		if seen[s.Text] || len(out) == MaxCompletions || s.Kind == KindLive && names <= 0 {
			continue
		}
		if s.Kind == KindLive {
			names--
		}
		seen[s.Text] = true
		s.Line = term.Printable(s.Line)
		out = append(out, s.Completion)
	}
	return out
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
