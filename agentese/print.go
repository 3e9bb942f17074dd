package agentese

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// String is the canonical form: no blanks but around >>, quotes only where they are needed.
func (e Expression) String() string {
	var b strings.Builder
	for i, s := range e.Steps {
		if i > 0 {
			b.WriteString(" >> ")
		}
		b.WriteString(s.String())
	}
	return b.String()
}

// String is the canonical form of one step.
func (s Step) String() string {
	var b strings.Builder
	b.WriteString(s.Path())
	if s.Aspect.Text != "" {
		if len(s.Names) > 0 {
			b.WriteByte('.')
		}
		b.WriteString(QuoteName(s.Aspect.Text))
	}
	for _, c := range s.Clauses {
		b.WriteString(c.String())
	}
	for _, a := range s.Annotations {
		b.WriteByte('@')
		b.WriteString(QuoteName(a.Key))
		if !a.Bare {
			b.WriteByte('=')
			b.WriteString(quoteUnless(a.Value, bareAnnotation))
		}
	}
	return b.String()
}

// String is the clause with its brackets.
func (c Clause) String() string {
	if c.Bare {
		return "[" + QuoteName(c.Key) + "]"
	}
	return "[" + QuoteName(c.Key) + "=" + quoteUnless(c.Value, bareValue) + "]"
}

// QuoteName is the name as it stands in a path: quoted if it has characters that mean
// something there.
func QuoteName(name string) string {
	return quoteUnless(name, func(s string) bool {
		return s != "" && strings.IndexFunc(s, func(r rune) bool { return !isName(r) }) < 0
	})
}

func quoteUnless(s string, bare func(string) bool) string {
	if utf8.ValidString(s) && bare(s) {
		return s
	}
	return quote(s)
}

// isName says whether r needs no quotes in a name.
func isName(r rune) bool {
	return r == '_' || r == '-' || r == ':' || unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r)
}

// bareValue says whether a clause's value needs no quotes.
func bareValue(s string) bool {
	return s != "" && strings.TrimSpace(s) == s && strings.IndexFunc(s, func(r rune) bool {
		return r == '[' || r == ']' || r == '"' || r == '\\' || !unicode.IsPrint(r)
	}) < 0
}

// bareAnnotation says whether an annotation's value needs no quotes.
func bareAnnotation(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return !isAnnotation(r) }) < 0
}

// isAnnotation says whether r needs no quotes in an annotation's value.
func isAnnotation(r rune) bool {
	return r != '[' && r != ']' && r != '"' && r != '\\' && r != '@' && r != '>' && r != '#' && unicode.IsPrint(r) && !unicode.IsSpace(r)
}

// quote writes the escapes that parser.quoted reads. Bytes that are no UTF-8 become U+FFFD.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
