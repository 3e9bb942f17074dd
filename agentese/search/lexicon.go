package search

import (
	_ "embed"
	"strings"
)

//go:embed lexicon.txt
var lexiconText string

// lexicon is the everyday words of the field: which mean nearly the same, and which
// ask for a clause's value.
type lexicon struct {
	concepts []phrase            // label: the set's name
	values   map[string][]phrase // by key=value
	words    map[string]bool     // all that are in it
	first    map[string][]int    // concepts by the stem with which they begin
}

// phrase is words that stand together, as stems, and what they mean.
type phrase struct {
	label string
	stems []string
}

// newLexicon reads the embedded file, whose form a test checks.
func newLexicon(text string) *lexicon {
	l := &lexicon{values: map[string][]phrase{}, words: map[string]bool{}, first: map[string][]int{}}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		label, rest, ok := strings.Cut(line, ":")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		for words := range strings.SplitSeq(rest, ",") {
			p := phrase{label: label}
			for _, t := range tokens(words) {
				p.stems = append(p.stems, t.stem)
				l.words[t.text] = true
			}
			if len(p.stems) == 0 {
				continue
			}
			if strings.Contains(label, "=") {
				l.values[label] = append(l.values[label], p)
			} else {
				l.first[p.stems[0]] = append(l.first[p.stems[0]], len(l.concepts))
				l.concepts = append(l.concepts, p)
			}
		}
	}
	return l
}

// meant gives the sets that words of a question are in, with how many words say so.
func (l *lexicon) meant(stems []string) map[string]float64 {
	out := map[string]float64{}
	for i, s := range stems {
		for _, k := range l.first[s] {
			if p := l.concepts[k]; stands(p.stems, stems[i:]) {
				out[p.label] = max(out[p.label], 1+0.3*float64(len(p.stems)-1))
			}
		}
	}
	return out
}

// asked says how strongly words ask for a clause's value: the more words of it stand
// together, the more.
func (l *lexicon) asked(value string, stems []string) float64 {
	best := 0.0
	for _, p := range l.values[value] {
		for i := range stems {
			if stands(p.stems, stems[i:]) {
				best = max(best, 1+0.5*float64(len(p.stems)-1))
			}
		}
	}
	return best
}

func stands(phrase, at []string) bool {
	if len(phrase) > len(at) {
		return false
	}
	for i, s := range phrase {
		if at[i] != s {
			return false
		}
	}
	return true
}
