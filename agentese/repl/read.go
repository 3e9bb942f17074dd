package repl

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kgents/kgents/agentese"
)

// The kinds of a token.
type kind int

const (
	blank      kind = iota
	dot             // . or /
	up              // ..
	name            // a segment, quoted or not
	clause          // [key=value], or what has begun as one
	annotation      // @key=value
	pipe            // >>
	stray           // what can stand nowhere
)

// token is a part of a line. The tokens of a line are all of it, in order.
type token struct {
	kind     kind
	from, to int // bytes
}

// lex cuts a line into tokens, whatever it holds.
func lex(line string) []token {
	var out []token
	for i := 0; i < len(line); {
		from := i
		r, n := utf8.DecodeRuneInString(line[i:])
		k := stray
		switch {
		case strings.HasPrefix(line[i:], ">>"):
			k, i = pipe, i+2
		case unicode.IsSpace(r):
			for i < len(line) {
				r, n := utf8.DecodeRuneInString(line[i:])
				if !unicode.IsSpace(r) {
					break
				}
				i += n
			}
			k = blank
		case strings.HasPrefix(line[i:], ".."):
			k, i = up, i+2
		case r == '.' || r == '/':
			k, i = dot, i+1
		case r == '[':
			k, i = clause, closing(line, i+1, ']')
		case r == '@':
			k, i = annotation, i+1
			for i < len(line) && !strings.HasPrefix(line[i:], ">>") {
				r, n := utf8.DecodeRuneInString(line[i:])
				if r == '"' {
					i = closing(line, i, 0)
					continue
				}
				if unicode.IsSpace(r) || r == '[' || r == ']' || r == '@' {
					break
				}
				i += n
			}
		case r == '"':
			k, i = name, closing(line, i, 0)
		case isName(r):
			for i < len(line) {
				r, n := utf8.DecodeRuneInString(line[i:])
				if !isName(r) {
					break
				}
				i += n
			}
			k = name
		default:
			i += n
		}
		out = append(out, token{k, from, i})
	}
	return out
}

func isName(r rune) bool {
	return r == '_' || r == '-' || r == ':' || r == '{' || r == '}' || unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.Is(unicode.Mn, r)
}

// closing is behind the next end that stands in no quotes, or, without an end, behind
// the quoted text that begins at i; the line's end if there is none.
func closing(line string, i int, end byte) int {
	quoted := false
	for ; i < len(line); i++ {
		switch {
		case quoted && line[i] == '\\':
			i++
		case line[i] == '"':
			if quoted && end == 0 {
				return i + 1
			}
			quoted = !quoted
		case !quoted && end != 0 && line[i] == end:
			return i + 1
		}
	}
	return len(line)
}

// reading is a line as the language has it: dotted, and absolute.
type reading struct {
	text string
	at   []int // where in the line each byte of text is from; one more for the end

	bare  bool     // one path, and nothing behind it
	names []string // of a bare one, without quotes; with the aspect, if it has one
	moves bool     // it has .., . or / before the names
}

// read makes what was typed at a place a text for agentese.Parse: names may be joined
// by dots, blanks or slashes, a path that doesn't begin with a context begins at the
// place, .. is the place above, and / before a path the root. It checks nothing.
func read(line string, place []string) reading {
	r := reading{bare: true}
	var b strings.Builder
	put := func(text string, from int, moving bool) {
		b.WriteString(text)
		for i := range len(text) {
			if moving {
				r.at = append(r.at, from+i)
			} else {
				r.at = append(r.at, from)
			}
		}
	}
	names, base := 0, append([]string(nil), place...)
	dangling := -1 // a dot with no name behind it yet
	// start writes what a step's path begins with.
	start := func(first string, at int) {
		if isContext(first) && !(r.moves && len(base) > 0) {
			base = nil
		}
		if len(base) > 0 {
			put(agentese.JoinPath(base...), at, false)
			if first != "" {
				put(".", at, false)
			}
		}
		r.names = append([]string(nil), base...)
	}
	for _, t := range lex(line) {
		text := line[t.from:t.to]
		switch t.kind {
		case blank:
		case dot:
			if names == 0 && text == "/" && !r.moves {
				base, r.moves = nil, true
				continue
			}
			if names == 0 && dangling < 0 {
				r.moves = true
				continue
			}
			if dangling >= 0 {
				put(".", dangling, true)
			}
			dangling = t.from
		case up:
			if names > 0 {
				put(".", t.from, true)
				dangling = t.from + 1
				continue
			}
			base, r.moves = base[:max(0, len(base)-1)], true
		case name:
			if names == 0 {
				start(unquoted(text), t.from)
			} else {
				put(".", max(dangling, 0), false)
			}
			dangling = -1
			put(text, t.from, true)
			r.names = append(r.names, unquoted(text))
			names++
		case pipe:
			if dangling >= 0 {
				put(".", dangling, true)
				dangling = -1
			}
			put(" >> ", t.from, false)
			names, base, r.bare, r.moves = 0, append([]string(nil), place...), false, false
		default:
			if names == 0 {
				start("", t.from)
			}
			if dangling >= 0 && names > 0 {
				put(".", dangling, true)
			}
			dangling = -1
			put(text, t.from, true)
			r.bare = false
		}
	}
	if r.bare && names == 0 {
		r.names = base
		put(agentese.JoinPath(base...), 0, false)
	}
	if dangling >= 0 {
		// A dot at the end waits for a name; a place without it is the same place.
		if last := agentese.Aspect(strings.ToLower(r.names[len(r.names)-1])); !r.bare || last.Known() {
			put(".", dangling, true)
		}
	}
	r.text, r.at = b.String(), append(r.at, len(line))
	return r
}

// back makes a mistake's place in the text one in the line.
func (r reading) back(e *agentese.Error) *agentese.Error {
	out := *e
	if out.End <= 0 || out.Pos < 0 || out.Pos > len(r.text) {
		out.Pos, out.End = 0, 0
		return &out
	}
	end := min(out.End, len(r.text))
	out.Pos = r.at[out.Pos]
	if end > 0 {
		out.End = max(r.at[end-1]+1, out.Pos+1)
	}
	return &out
}

func isContext(text string) bool {
	for _, c := range agentese.Contexts() {
		if strings.EqualFold(c, text) {
			return true
		}
	}
	return false
}

// unquoted is a name as the language reads it.
func unquoted(text string) string {
	if !strings.HasPrefix(text, `"`) {
		return text
	}
	e, err := agentese.Parse("x." + text)
	if err != nil || len(e.Steps) != 1 {
		return text
	}
	return e.Steps[0].Aspect.Text
}
