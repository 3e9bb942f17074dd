package repl

import (
	"strings"
	"unicode"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/tree"
)

// paint colours a line as it is typed. It works on tokens and never changes the text,
// but that a control character is shown as one that moves nothing.
func (s *Shell) paint(text string) string {
	lines := strings.Split(text, "\n") // of a paste: each is one by itself
	for i, line := range lines {
		lines[i] = s.paintLine(line)
	}
	return strings.Join(lines, "\n")
}

func (s *Shell) paintLine(line string) string {
	tokens := lex(line)
	var b strings.Builder
	word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
	for _, c := range commandTable() {
		if own, _, takes := strings.Cut(c.use, " "); own == strings.ToLower(word) && (takes || own == strings.TrimSpace(line)) || word == "quit" && own == "exit" {
			i := strings.Index(line, word)
			return shownLine(line[:i]) + s.style.Strong(shownLine(word)) + shownLine(line[i+len(word):])
		}
	}
	words := inWords(line)
	place := s.Place()
	known := s.names.Snapshot()
	var names []string
	begun, done := false, false // a path has begun; its aspect was there
	for i, t := range tokens {
		text := shownLine(line[t.from:t.to])
		switch t.kind {
		case pipe:
			names, begun, done = nil, false, false
			text = s.style.Strong(text)
		case up:
			place = place[:max(0, len(place)-1)]
			text = s.style.Faint(text)
		case dot:
			text = s.style.Faint(text)
		case clause:
			text = s.paintClause(text, strings.HasSuffix(line[t.from:t.to], "]"))
		case annotation:
			text = s.style.Faint(text)
		case stray:
			if !words {
				text = s.style.Bad(text)
			}
		case name:
			plain := unquoted(line[t.from:t.to])
			if !begun && !isContext(plain) {
				names = append(names, place...)
			}
			begun = true
			last := i == len(tokens)-1
			text = s.paintName(text, plain, names, known, &done, last || words)
			names = append(names, plain)
		}
		b.WriteString(text)
	}
	return b.String()
}

// paintName colours a name by what it is below the names before it. One that is still
// being typed, or is a word of a question, is not marked as unknown.
func (s *Shell) paintName(text, plain string, above []string, known *tree.Snapshot, done *bool, lenient bool) string {
	if *done {
		if lenient {
			return text
		}
		return s.style.Bad(text)
	}
	if len(above) > 0 && agentese.Aspect(strings.ToLower(plain)).Known() {
		*done = true
		return s.style.Hue(1, text)
	}
	p, _, canonical, depth := s.tree.Find(append(append([]string(nil), above...), plain))
	if depth <= len(above) {
		if lenient {
			return text
		}
		return s.style.Bad(text)
	}
	switch {
	case len(above) == 0:
		return s.style.Hue(0, text)
	case !strings.HasSuffix(p.Pattern, "}"):
		return s.style.Hue(2, text)
	}
	// A live name: green if it is known to be there.
	for _, e := range known.Names[strings.Join(canonical[:len(canonical)-1], ".")] {
		if e.Name == plain {
			return s.style.Good(text)
		}
	}
	return text
}

func (s *Shell) paintClause(text string, closed bool) string {
	key, value, ok := strings.Cut(text, "=")
	if !ok {
		if closed {
			return s.style.Faint("[") + s.style.Warn(strings.Trim(text, "[]")) + s.style.Faint("]")
		}
		return text
	}
	end := ""
	if closed {
		value, end = strings.TrimSuffix(value, "]"), "]"
	}
	return s.style.Faint("[") + s.style.Warn(strings.TrimPrefix(key, "[")) + s.style.Faint("=") + value + s.style.Faint(end)
}

// shownLine is what was typed, with a character that moves nothing for each one that
// would move the cursor.
func shownLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}
