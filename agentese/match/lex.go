package match

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kgents/kgents/agentese"
)

// maxTokens bounds the words of one step that are aligned; more are a text, not a path.
const maxTokens = 12

// token is one word of the path part of a step.
type token struct {
	typed
	text   string // as it was typed, without quotes
	quoted bool
	spaced bool // a blank stands before it, not a dot
}

// given is a clause as it was typed: its key, its value, or both may be wrong.
type given struct {
	key, value string
	has        bool // = was there
	loose      bool // without its brackets
}

// rough is a step, read with tolerance.
type rough struct {
	tokens      []token
	clauses     []given
	annotations []given
}

// rough reads a step that need not be one: anything separates names, brackets may be
// missing, = may have blanks around it.
type lexer struct {
	in    string
	pos   int
	out   rough
	blank bool
	vocab *graph
}

// steps cuts the input at >>, | and a > with blanks around it, but not within quotes or
// brackets.
func steps(in string) []string {
	var out []string
	quoted, within, from := false, 0, 0
	for i := 0; i < len(in); i++ {
		switch c := in[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[':
			within++
		case c == ']':
			within = max(0, within-1)
		case c == '>' && within == 0 && strings.HasPrefix(in[i:], "> ") && i > 0 && in[i-1] == ' ' && i+2 < len(in):
			out = append(out, in[from:i])
			from = i + 1
		case c == '|' || c == '>' && i+1 < len(in) && in[i+1] == '>':
			out = append(out, in[from:i])
			if c == '>' {
				i++
			}
			from = i + 1
		}
	}
	return append(out, in[from:])
}

func readRough(g *graph, in string) rough {
	l := &lexer{in: in, vocab: g}
	for l.pos < len(l.in) && len(l.out.tokens) <= maxTokens && len(l.out.clauses) <= agentese.MaxClauses {
		l.next()
	}
	return l.out
}

func (l *lexer) rune() (rune, int) { return utf8.DecodeRuneInString(l.in[l.pos:]) }

func (l *lexer) next() {
	r, n := l.rune()
	switch {
	case r == '[' || r == '(' || r == '{':
		l.pos += n
		l.bracket()
	case r == '@':
		l.pos += n
		key := l.until(func(r rune) bool { return r == '=' || r == '@' || r == '[' || unicode.IsSpace(r) })
		a := given{key: key}
		if strings.HasPrefix(l.in[l.pos:], "=") {
			l.pos++
			a.has, a.value = true, l.value()
		}
		l.out.annotations = append(l.out.annotations, a)
	case r == '=':
		l.pos++
		l.loose()
	case r == '"':
		l.name(l.quotes(), true)
	case apart(r):
		l.blank = l.blank || unicode.IsSpace(r)
		l.pos += n
	default:
		from := l.pos
		for l.pos < len(l.in) {
			if r, n = l.rune(); apart(r) || r == '[' || r == '(' || r == '{' || r == '@' || r == '=' || r == '"' {
				break
			}
			l.pos += n
		}
		l.name(l.in[from:l.pos], false)
	}
}

// apart says whether a rune separates names.
func apart(r rune) bool {
	switch r {
	case '.', '/', '\\', ',', ';', '>', ']', ')', '}', '!', '?', '\'', '`', '<', '…', '→':
		return true
	}
	return unicode.IsSpace(r) || unicode.IsControl(r)
}

func (l *lexer) name(text string, quoted bool) {
	trimmed := text
	if !quoted {
		trimmed = strings.Trim(text, "-:_")
	}
	if trimmed == "" {
		return
	}
	l.out.tokens = append(l.out.tokens, token{typed: newTyped(trimmed), text: trimmed, quoted: quoted, spaced: l.blank})
	l.blank = false
}

func (l *lexer) until(stop func(rune) bool) string {
	from := l.pos
	for l.pos < len(l.in) {
		r, n := l.rune()
		if stop(r) {
			break
		}
		l.pos += n
	}
	return l.in[from:l.pos]
}

// quotes reads what stands in quotes; the closing one may be missing.
func (l *lexer) quotes() string {
	l.pos++
	var b strings.Builder
	for l.pos < len(l.in) {
		r, n := l.rune()
		l.pos += n
		switch {
		case r == '"':
			return b.String()
		case r == '\\' && l.pos < len(l.in):
			r, n = l.rune()
			l.pos += n
		}
		b.WriteRune(r)
	}
	return b.String()
}

// value reads the value of a loose clause or an annotation.
func (l *lexer) value() string {
	l.until(func(r rune) bool { return !unicode.IsSpace(r) })
	if strings.HasPrefix(l.in[l.pos:], `"`) {
		return l.quotes()
	}
	return strings.TrimRight(l.until(func(r rune) bool {
		return unicode.IsSpace(r) || r == '[' || r == ']' || r == ')' || r == '@' || r == ';' || r == ','
	}), "=")
}

// loose makes a clause of the last word and what stands behind its =.
func (l *lexer) loose() {
	c := given{has: true, loose: true}
	if k := len(l.out.tokens); k > 0 {
		last := l.out.tokens[k-1]
		l.out.tokens = l.out.tokens[:k-1]
		c.key = last.text
		// manifestreason=invalid: only the bracket is missing.
		for _, a := range l.vocab.words[:8] {
			if rest, ok := strings.CutPrefix(strings.ToLower(last.text), a.name); ok && rest != "" {
				c.key = last.text[len(a.name):]
				l.out.tokens = append(l.out.tokens, token{typed: newTyped(a.name), text: a.name})
			}
		}
	}
	c.value = l.value()
	l.out.clauses = append(l.out.clauses, c)
	l.blank = true
}

// bracket reads a clause, or several in one pair of brackets. It ends with any closing
// bracket, or where the next one or an annotation begins.
func (l *lexer) bracket() {
	var parts []string
	from := l.pos
	end := func() {
		if p := strings.TrimSpace(l.in[from:l.pos]); p != "" {
			parts = append(parts, p)
		}
	}
	quoted := false
scan:
	for l.pos < len(l.in) {
		r, n := l.rune()
		switch {
		case quoted && r == '\\' && l.pos+n < len(l.in):
			l.pos += n
			_, n = l.rune()
		case r == '"':
			quoted = !quoted
		case quoted:
		case r == ']' || r == ')' || r == '}':
			end()
			l.pos += n
			from = l.pos
			break scan
		case r == '[' || r == '@' && !strings.Contains(l.in[from:l.pos], "="):
			break scan
		case (r == ',' || r == ';' || r == '&' || unicode.IsSpace(r)) && assigns(l.in[l.pos+n:]):
			end()
			l.pos += n
			from = l.pos
			continue
		}
		l.pos += n
	}
	end()
	for _, p := range parts {
		l.out.clauses = append(l.out.clauses, readGiven(p))
	}
	l.blank = true
}

// assigns says whether the text begins with a word and an =.
func assigns(text string) bool {
	text = strings.TrimLeft(text, " ")
	for i, r := range text {
		switch {
		case r == '=':
			return i > 0
		case !unicode.IsLetter(r) && r != '_' && r != '-':
			return false
		}
	}
	return false
}

func readGiven(p string) given {
	key, value, has := strings.Cut(p, "=")
	if !has {
		if i := strings.IndexAny(p, ": "); i > 0 && i < len(p)-1 {
			key, value, has = p[:i], p[i+1:], true
		}
	}
	value = strings.TrimSpace(strings.TrimLeft(value, "="))
	if strings.HasPrefix(value, `"`) {
		v := lexer{in: value}
		value = v.quotes()
	}
	return given{key: strings.Trim(strings.TrimSpace(key), `"`), value: value, has: has}
}

// exploded are the tokens with each that is nothing by itself cut into words which are
// something: worldnats, customers-acme. cuts is how many; 0 if there was nothing to cut.
func exploded(tokens []token, known func(string) bool) (out []token, cuts int) {
	for _, t := range tokens {
		parts := cut(t, known)
		if parts == nil {
			out = append(out, t)
			continue
		}
		for i, p := range parts {
			out = append(out, token{typed: newTyped(p), text: p, spaced: i == 0 && t.spaced})
		}
		cuts += len(parts) - 1
	}
	return out, cuts
}

// cut finds the fewest known words that make up a token; nil if there are none.
func cut(t token, known func(string) bool) []string {
	const shortest, longest = 3, 24
	s := strings.ToLower(t.text)
	if t.quoted || len(s) < 2*shortest || len(s) > maxWord || known(t.folded) {
		return nil
	}
	best := make([]int, len(s)+1) // how many words lead here, plus 1; 0 if none do
	from := make([]int, len(s)+1)
	best[0] = 1
	for i := range len(s) {
		if best[i] == 0 {
			continue
		}
		start := i
		if i > 0 && (s[i] == '-' || s[i] == '_' || s[i] == ':') {
			start++
		}
		for j := start + shortest; j <= min(len(s), start+longest); j++ {
			if (best[j] == 0 || best[i]+1 < best[j]) && known(fold(s[start:j])) {
				best[j], from[j] = best[i]+1, i
			}
		}
	}
	if best[len(s)] < 3 {
		return nil
	}
	var parts []string
	for j := len(s); j > 0; j = from[j] {
		parts = append([]string{strings.Trim(s[from[j]:j], "-_:")}, parts...)
	}
	return parts
}
