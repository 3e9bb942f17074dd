package search

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/tree"
)

// step is the expression of a candidate, with the clauses that the words ask for.
func (b *built) step(c *candidate, l *look, now time.Time) agentese.Step {
	o := &b.options[c.option]
	names := strings.Split(o.pattern(), ".")
	for i, n := range names {
		if kind, ok := strings.CutPrefix(n, "{"); ok {
			kind = strings.TrimSuffix(kind, "}")
			names[i] = "<" + kind + ">"
			if e, ok := c.names[kind]; ok {
				names[i] = e.name
			}
		}
	}
	step := agentese.NewStep(agentese.Aspects()[o.aspect], names...)
	if o.afford == nil {
		return step
	}
	taken := map[int]bool{} // tokens that have become a value
	for _, e := range c.names {
		for i := e.from; i < e.to; i++ {
			taken[i] = true
		}
	}
	params := slices.Clone(o.afford.Params)
	if i := slices.IndexFunc(params, func(p tree.Param) bool { return p.Key == "do" }); i > 0 {
		do := params[i] // what is done stands first
		params = slices.Insert(slices.Delete(params, i, i+1), 0, do)
	}
	for _, p := range params {
		v, ok := b.value(p, o, c, l, taken)
		if !ok {
			continue
		}
		if v, err := p.Check(v, now); err == nil && len(v) <= 100 {
			step = step.With(p.Key, v)
		}
	}
	return step
}

// value is what the question says for a parameter.
func (b *built) value(p tree.Param, o *option, c *candidate, l *look, taken map[int]bool) (string, bool) {
	q := l.q
	if p.Paths {
		return b.path(o, l)
	}
	if kind := kindOf(b.tree, p); kind != "" || p.Key == "id" && o.changes {
		if kind == "" {
			kind = "customer"
		}
		for _, e := range q.names {
			if e.kind == kind && !(taken[e.from] && e.to > e.from) && (!e.weak || p.Key == kind) {
				if len(p.Values) == 0 || slices.Contains(p.Values, e.name) {
					for i := e.from; i < e.to; i++ {
						taken[i] = true
					}
					return e.name, true
				}
			}
		}
		if p.Key == "id" {
			return q.newName(b.reader)
		}
	}
	if v, ok := b.word(p, o, l); ok {
		return v, true
	}
	if len(p.Values) > 0 {
		return "", false
	}
	switch p.Kind {
	case tree.Time, tree.Duration:
		return q.span(p)
	case tree.Percent:
		return q.percent(taken)
	case tree.Number:
		return q.figure(p, taken)
	}
	if p.Key == "like" {
		return q.about(b.reader)
	}
	if p.Kind == tree.Text && (p.Key == "note" || p.Key == "text") {
		return q.afterColon()
	}
	return "", false
}

// word picks a value by its own word or by the lexicon's; of what a change can't be without,
// if none is asked for, the one of the most alike wording.
func (b *built) word(p tree.Param, o *option, l *look) (string, bool) {
	values := p.Values
	if p.Kind == tree.Flag {
		values = []string{"true"}
	} else if len(values) == 0 {
		for label := range b.reader.lexicon.values {
			if key, v, _ := strings.Cut(label, "="); key == p.Key {
				values = append(values, v)
			}
		}
		slices.Sort(values)
	}
	best, most := "", 0.0
	for _, v := range values {
		x := b.reader.lexicon.asked(p.Key+"="+v, l.q.stems)
		if p.Kind != tree.Flag && slices.Contains(l.q.stems, stem(strings.ToLower(v))) {
			x += 1.2
		}
		if x > 0 {
			x += b.voted(p.Key, v, o, l)
		}
		if x > most {
			best, most = v, x
		}
	}
	if best == "" && len(p.Values) > 0 && o.changes && (p.Key == "do" || p.Required) {
		for _, v := range p.Values {
			if x := b.voted(p.Key, v, o, l); x > most {
				best, most = v, x
			}
		}
	}
	return best, best != ""
}

// voted is how alike the most alike wording with this value is, at the same node.
func (b *built) voted(key, value string, o *option, l *look) float64 {
	for _, e := range l.best {
		s := &b.wordings[e.i]
		for j, other := range s.options {
			if j < len(s.exprs) && b.options[other].node == o.node {
				if c, ok := s.exprs[j].Clause(key); ok && c.Value == value {
					return e.x
				}
			}
		}
	}
	return 0
}

// path is the node that the words speak of, besides the option's own.
func (b *built) path(o *option, l *look) (string, bool) {
	best, most := -1, 0.0
	for i, p := range b.nodes {
		if strings.Contains(p.Pattern, "{") || i == o.node || !strings.HasPrefix(p.Pattern, "world.") {
			continue
		}
		called := 0.0
		for _, name := range append([]string{p.Node.Name}, p.Node.Synonyms...) {
			var words []string
			for _, t := range tokens(name) {
				words = append(words, t.stem)
			}
			for k := range l.q.stems {
				if len(words) > 0 && stands(words, l.q.stems[k:]) {
					called = max(called, 0.5+0.5*float64(len(words)))
				}
			}
		}
		if called == 0 {
			continue
		}
		if x := called + l.nodeText[i]; x > most {
			best, most = i, x
		}
	}
	if best < 0 {
		return "", false
	}
	return b.nodes[best].Pattern, true
}

// span is a time for since=, from=, at=, or a length for silence=.
func (q *question) span(p tree.Param) (string, bool) {
	if p.Key == "until" || p.Key == "to" {
		return "", false
	}
	past := p.Kind == tree.Time || p.Key == "since" || p.Key == "at" || p.Key == "from"
	for _, s := range q.spans {
		if !past && s.exact || past && !(s.ahead && s.to == len(q.tokens) && p.Key == "at") {
			return s.value(), true
		}
	}
	return "", false
}

// percent is a number with % or the word behind it, or half.
func (q *question) percent(taken map[int]bool) (string, bool) {
	for i, t := range q.tokens {
		if t.text == "half" {
			return "50", true
		}
		if !number(t.text) || len(t.text) > 3 {
			continue
		}
		if taken[i] {
			continue
		}
		if t.to < len(q.text) && q.text[t.to] == '%' || i+1 < len(q.tokens) && strings.HasPrefix(q.tokens[i+1].text, "percent") {
			taken[i] = true
			return t.text, true
		}
	}
	return "", false
}

// figure is a number that nothing else has taken: that of a time only for a parameter
// named by the time's unit.
func (q *question) figure(p tree.Param, taken map[int]bool) (string, bool) {
	for _, s := range q.spans {
		if p.Key == "seconds" && s.exact {
			return strconv.Itoa(int(s.ago / time.Second)), true
		}
		for i := s.from; i < s.to; i++ {
			taken[i] = true
		}
	}
	if p.Key == "seconds" {
		return "", false
	}
	last := ""
	for i, t := range q.tokens {
		if taken[i] || p.Key == "limit" && (i == 0 || !beforeLimit[q.tokens[i-1].text]) {
			continue
		}
		n, ok := counts[t.text]
		if len(t.text) <= 2 || t.text == "half" {
			ok = false
		}
		if number(t.text) && len(t.text) <= 6 {
			n, _ = strconv.Atoi(t.text)
			ok = true
		}
		if ok && n > 0 && (t.text != "one" || p.Key == "steps") {
			last = strconv.Itoa(n)
		}
	}
	return last, last != ""
}

// beforeLimit are the words before a number that says how many are wanted.
var beforeLimit = set("last newest latest first top only oldest")

// about is the word behind "about", "like" or "of", if it is a topic.
func (q *question) about(r *reader) (string, bool) {
	for i, t := range q.tokens[:max(0, len(q.tokens)-1)] {
		next := q.tokens[i+1].text
		if (t.text == "about" || t.text == "like" || t.text == "named" || t.text == "for" || t.text == "of") && !stopWords[next] {
			return next, true
		}
	}
	return "", false
}

// newName is the name of what is to be made: the word behind "called" or "named", however
// it is known; else one that nobody knows.
func (q *question) newName(r *reader) (string, bool) {
	for i, t := range q.tokens[:max(0, len(q.tokens)-1)] {
		next := q.tokens[i+1]
		if (t.text == "called" || t.text == "named" || t.text == "name") && !stopWords[next.text] {
			return strings.ToLower(q.text[next.from:next.to]), true
		}
	}
	for i, t := range q.tokens {
		if i > 0 && r.words.known[t.text] == 0 && !r.common(t.text) && !number(t.text) && len(t.text) > 2 {
			return t.text, true
		}
	}
	return "", false
}

// afterColon is what stands behind "note:" or "remember that".
func (q *question) afterColon() (string, bool) {
	low := strings.ToLower(q.text)
	for _, mark := range []string{": ", " that ", "note to self, ", "note to self ", "remember ", "jot down ", "write down "} {
		if i := strings.Index(low, mark); i >= 0 && len(low) == len(q.text) {
			if text := strings.TrimSpace(q.text[i+len(mark):]); text != "" {
				return text, true
			}
		}
	}
	return "", false
}
