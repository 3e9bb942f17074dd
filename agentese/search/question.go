package search

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// question is a text as it is compared: its words, what they mean, and which names,
// values and times are in it.
type question struct {
	text     string
	tokens   []token
	stems    []string // of all words, mended; those of names and times too
	names    []entity
	spans    []span
	terms    []term // for comparison: names and times stand as their kinds
	concepts map[string]float64
	mended   []string // "tiems → times"
}

// term is a feature of a text with how much it counts.
type term struct {
	text   string
	weight float64
}

// How much the features of a text count beside a word.
const (
	conceptWeight = 1.3
	pairWeight    = 0.6
	kindWeight    = 1.0
	beginWeight   = 0.4
)

// reader makes questions of texts.
type reader struct {
	lexicon *lexicon
	words   *vocabulary
	common  func(string) bool // a word of everyday use, which need not be a name
}

// read looks at text, of which it takes MaxQuestion bytes.
func (r *reader) read(text string, n *names, now time.Time) *question {
	if len(text) > MaxQuestion {
		text = text[:MaxQuestion]
	}
	if !utf8.ValidString(text) {
		text = strings.ToValidUTF8(text, " ")
	}
	q := &question{text: text, tokens: tokens(text)}
	q.names = n.find(text, q.tokens, r.common)
	q.spans = spans(q.tokens, now)
	kinds := make([]string, len(q.tokens)) // what stands for a token instead of its word
	for _, e := range q.names {
		for i := e.from; i < e.to && !e.weak; i++ {
			kinds[i] = "@" + e.kind
		}
	}
	for _, s := range q.spans {
		for i := s.from; i < s.to; i++ {
			if kinds[i] == "" && s.exact {
				kinds[i] = "@time"
			}
		}
	}
	for i := range q.tokens {
		t := &q.tokens[i]
		if kinds[i] == "" && r.words != nil && !stopWords[t.text] {
			if w, ok := r.words.mend(t.text); ok {
				q.mended = append(q.mended, t.text+" → "+w)
				t.text, t.stem = w, stem(w)
			}
		}
		q.stems = append(q.stems, t.stem)
	}
	q.build(r.lexicon, kinds)
	return q
}

func (q *question) build(l *lexicon, kinds []string) {
	sum := map[string]float64{}
	add := func(t string, w float64) { sum[t] = max(sum[t], w) }
	masked := make([]string, 0, len(q.tokens))
	for i, t := range q.tokens {
		w := t.stem
		if kinds[i] != "" {
			if i > 0 && kinds[i-1] == kinds[i] {
				continue
			}
			w = kinds[i]
			add(w, kindWeight)
		} else if !stopWords[t.text] && len(w) > 0 {
			add(w, 1)
			if len(w) > 5 && ascii(w) {
				add("="+w[:5], beginWeight) // notify and notification
			}
		}
		masked = append(masked, w)
	}
	for _, e := range q.names {
		add("@"+e.kind, kindWeight)
	}
	q.concepts = l.meant(masked)
	for c, w := range q.concepts {
		add("~"+c, conceptWeight*w)
	}
	last := "^"
	for _, w := range masked {
		add(last+" "+w, pairWeight)
		last = w
	}
	add(last+" $", pairWeight)
	q.terms = make([]term, 0, len(sum))
	for t, w := range sum {
		q.terms = append(q.terms, term{t, w})
	}
	slices.SortFunc(q.terms, func(a, b term) int { return strings.Compare(a.text, b.text) })
}
