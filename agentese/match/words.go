package match

import (
	"math/bits"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// how says in what way a typed word is another.
type how uint8

const (
	asIs     how = iota // but for case and the separators within
	plural              // singular for plural or the other way round
	shortFor            // a beginning, k8s, or some of its letters
	slip                // mistyped
	saying              // an everyday word for it
	replaced            // something else that is known: another context
	assumed             // taken as it is, for nobody knows
)

// hit is a typed word that may be a name.
type hit struct {
	name    string // as it is in the tree
	cost    float32
	edits   int16
	how     how
	weak    bool       // too far away, or too short, to decide
	literal bool       // numbers or an id would be changed
	clause  *[2]string // that the word stands for, with the aspect
}

// none is a cost above all others.
const none = float32(1e6)

// fold is the form in which words are compared: lower case, without what joins words.
func fold(s string) string {
	plain := true
	for i := range len(s) {
		if c := s[i]; c >= utf8.RuneSelf || 'A' <= c && c <= 'Z' || c == '-' || c == '_' || c == ' ' || c == '.' || c == ':' {
			plain = false
			break
		}
	}
	if plain {
		return s
	}
	return strings.Map(func(r rune) rune {
		switch r {
		case '-', '_', ' ', '.', ':':
			return -1
		}
		return unicode.ToLower(r)
	}, s)
}

// word is a folded word of which much is asked.
type word struct {
	name, folded string
	mask         uint64
}

func newWord(name string) word {
	f := fold(name)
	return word{name, f, letters(f)}
}

// typed is a word of the input, prepared.
type typed struct {
	word
	pattern *pattern // see prepared
}

func newTyped(text string) typed {
	return typed{word: newWord(text)}
}

// tolerant says whether it is neither too short nor too long for tolerance.
func (t *typed) tolerant() bool { return len(t.folded) > 1 && len(t.folded) <= maxWord }

// prepared is its pattern, made when it is first wanted; t is tolerant.
func (t *typed) prepared() *pattern {
	if t.pattern == nil {
		t.pattern = prepare(t.folded)
	}
	return t.pattern
}

// is says how the typed word may be w; its cost is none if it may not.
func (t *typed) is(w *word) hit {
	h := hit{name: w.name, cost: none}
	a, b := t.folded, w.folded
	switch {
	case a == b:
		return hit{name: w.name}
	case a == "" || b == "" || len(a) > maxWord || len(b) > maxWord:
		return h
	case isPlural(a, b) || isPlural(b, a):
		return hit{name: w.name, cost: 0.15, how: plural, edits: 1, literal: changesNumber(t.name, w.name)}
	}
	take := func(cost float32, how how, edits int, weak bool) {
		if cost < h.cost {
			h = hit{name: w.name, cost: cost, how: how, edits: int16(edits), weak: weak}
		}
	}
	share := float32(len(a)) / float32(len(b))
	begins := strings.HasPrefix(b, a)
	if begins {
		c := 0.2 + 0.4*(1-share)
		if len(a) == 1 {
			c += 0.15
		}
		take(c, shortFor, 0, len(a) < 2)
	} else if numeronym(a, b) {
		take(0.2, shortFor, 0, false)
	} else if len(a) >= 3 && len(b)-len(a) > 1 && a[0] == b[0] && share >= 0.34 && subsequence(a, b) {
		take(0.5+0.5*(1-share), shortFor, len(b)-len(a), true)
	} else if len(a) == 2 && len(b) > 5 && a[0] == b[0] && subsequence(a, b) && !isUnclear(a) {
		take(1.2, shortFor, 0, true) // dl for deadletter
	} else if len(a) >= 5 && len(b)-len(a) >= 3 && strings.HasSuffix(b, a) {
		take(0.6, shortFor, 0, true) // hooks for webhooks
	}
	k := tolerance(max(len(a), min(len(b), len(a)+2)))
	if !begins || len(b)-len(a) <= 2 {
		far := bits.OnesCount64(t.mask ^ w.mask)
		long := len(b)-len(a) > k
		if long {
			far = bits.OnesCount64(t.mask&^w.mask) * 2
		}
		if far <= 2*k && len(a)-len(b) <= k && t.tolerant() {
			edits := 0
			if !long {
				edits = t.prepared().edits(b)
			}
			if !long && edits <= k || long && len(a) >= 4 {
				full, open, upTo := weighted(a, b)
				if !long && edits <= k {
					weak := edits > 1 && min(len(a), len(b)) < 5 || edits > 2 || edits == 1 && min(len(a), len(b)) < 3 || edits == 2 && min(len(a), len(b)) < 7 && a[0] != b[0]
					if edits*2 >= len(b) && edits > 1 {
						full += 0.3
					}
					take(full, slip, edits, weak)
				}
				// A beginning with a slip in it: mainf for manifest.
				if upTo < len(b) && len(a) >= 4 && open <= 1 && a[0] == b[0] {
					take(open+costCompound+0.2+0.4*(1-float32(upTo)/float32(len(b))), slip, 1, len(a) < 5)
				}
			}
		}
	}
	if h.cost < none {
		h.literal = changesNumber(t.name, w.name) && !numeronym(a, b)
		if h.literal {
			h.cost += 0.3
		}
	}
	return h
}

// isPlural says whether b is the plural of a.
func isPlural(a, b string) bool {
	if len(a) < 3 || len(b) <= len(a)-1 || digit(a[len(a)-1]) {
		return false
	}
	switch {
	case b == a+"s" || b == a+"es":
		return true
	case strings.HasSuffix(a, "y"):
		return b == a[:len(a)-1]+"ies"
	}
	return false
}

// numeronym says whether a is b with its middle counted: k8s.
func numeronym(a, b string) bool {
	if len(a) < 3 || len(b) < 4 || a[0] != b[0] || a[len(a)-1] != b[len(b)-1] {
		return false
	}
	n, err := strconv.Atoi(a[1 : len(a)-1])
	return err == nil && n == len(b)-2
}

func subsequence(a, b string) bool {
	i := 0
	for j := 0; j < len(b) && i < len(a); j++ {
		if a[i] == b[j] {
			i++
		}
	}
	return i == len(a)
}

// changesNumber says whether taking typed for name would change a number or an id,
// which people mean literally: any digit, and any letter in a part with digits.
func changesNumber(typed, name string) bool { return literals(typed) != literals(name) }

// literals are the parts of a name that have digits, folded.
func literals(s string) string {
	if strings.IndexFunc(s, unicode.IsDigit) < 0 {
		return ""
	}
	var b strings.Builder
	for part := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == '-' || r == '_' || r == ' ' || r == '.' || r == ':' }) {
		if strings.IndexFunc(part, unicode.IsDigit) >= 0 {
			b.WriteString(strings.ToLower(part))
			b.WriteByte(' ')
		}
	}
	return b.String()
}

// unclear are words that stand in sentences and not in paths. With one of them in it,
// nothing is decided.
var unclear = func() map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.Fields(`a about all am an and any are as at be been being but by can could did do does doing
		for from get give had has have help hey hi how i if in into is it its just know let like look make many me
		much my need no not of off on or our out over please pls plz problem see should since some tell than that the their them
		then there these they this those to too u up us was we were what whats when where which who why will with
		would wrong you your`) {
		set[w] = true
	}
	return set
}()

// isUnclear says whether a folded word is one of a sentence.
func isUnclear(w string) bool { return unclear[strings.Trim(w, "?!'’")] }
