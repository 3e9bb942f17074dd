package search

import (
	"cmp"
	"slices"
	"strings"
	"unicode"

	"github.com/kgents/kgents/agentese"
)

// line says what an option shows.
func (o *option) line() string {
	switch {
	case o.afford != nil:
		return o.afford.Line
	case agentese.Aspects()[o.aspect] == agentese.Define:
		return "what it is: " + o.place.Node.Line
	default:
		return "what can be done here, and by whom"
	}
}

// why tells in a few words what of a question matched: "webhooks, slow → latency; acme".
func (b *built) why(c *candidate, l *look) string {
	o := &b.options[c.option]
	type part struct {
		text   string
		weight float64
	}
	var parts []part
	for _, t := range l.v {
		name := b.named(t.term)
		x := t.weight * (b.texts[c.option][t.term] + b.nodeText[o.node][t.term])
		if x <= 0 || strings.Contains(name, " ") || strings.HasPrefix(name, "@") {
			continue
		}
		if label, ok := strings.CutPrefix(name, "~"); ok {
			word := b.wordOf(label, l.q)
			if word == "" {
				continue
			}
			if stem(word) != stem(label) {
				word += " → " + label
			}
			parts = append(parts, part{word, x * 0.8})
			continue
		}
		for _, tok := range l.q.tokens {
			if tok.stem == name {
				parts = append(parts, part{tok.text, x})
				break
			}
		}
	}
	slices.SortStableFunc(parts, func(x, y part) int { return cmp.Compare(y.weight, x.weight) })
	var words []string
	has := func(w string) bool {
		return slices.ContainsFunc(words, func(have string) bool {
			first, _, _ := strings.Cut(have, " → ")
			mine, _, _ := strings.Cut(w, " → ")
			return first == mine
		})
	}
	for _, p := range parts {
		if len(words) < 3 && !has(p.text) {
			words = append(words, p.text)
		}
	}
	out := strings.Join(words, ", ")
	for _, kind := range o.slots {
		if e, ok := c.names[kind]; ok {
			out = join(out, e.name)
		}
	}
	if len(l.q.mended) > 0 {
		out = join(out, strings.Join(l.q.mended[:min(2, len(l.q.mended))], ", "))
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?' // a name may have anything in it
	}, out)
}

// wordOf is the question's word that is in a set of the lexicon.
func (b *built) wordOf(label string, q *question) string {
	for i, t := range q.tokens {
		for _, k := range b.reader.lexicon.first[t.stem] {
			p := b.reader.lexicon.concepts[k]
			if p.label == label && i < len(q.stems) && stands(p.stems, q.stems[i:]) {
				words := make([]string, 0, len(p.stems))
				for _, u := range q.tokens[i : i+len(p.stems)] {
					words = append(words, u.text)
				}
				return strings.Join(words, " ")
			}
		}
	}
	return ""
}

func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}

// named is the text of a term.
func (b *built) named(term int) string { return b.termText[term] }
