package match

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// read finds the step at the cursor, and the word in it.
func (c *completer) read() {
	for i := 0; i <= c.cursor; {
		if i == c.cursor {
			return
		}
		r, n := utf8.DecodeRuneInString(c.line[i:])
		switch {
		case c.at == inName && r == '"' && c.word == "" && !c.quoted:
			c.from, c.quoted = i, true
			i = c.quotes(i)
			continue
		case c.at != inValue && strings.HasPrefix(c.line[i:], ">>") && i+2 <= c.cursor || r == '|':
			i += 2
			if r == '|' {
				i--
			}
			c.names, c.clauses, c.at = nil, nil, inName
			c.begin(i)
			continue
		case c.at == inKey || c.at == inValue:
			i = c.inClause(i, r, n)
			continue
		case r == '[':
			c.endName()
			c.at = inKey
			c.begin(i + n)
		case r == '@':
			c.endName()
			c.at = inAnnotation
			c.begin(i + n)
		case c.at == inAnnotation:
			if unicode.IsSpace(r) {
				c.at = nowhere
			}
			c.word += string(r)
		case c.at == nowhere:
		case r == '.' || r == '/' || unicode.IsSpace(r):
			c.endName()
			c.begin(i + n)
		default:
			c.word += string(r)
		}
		i += n
	}
}

func (c *completer) begin(at int) { c.from, c.word, c.quoted = at, "", false }

func (c *completer) endName() {
	if c.word != "" {
		c.names = append(c.names, spot{c.word, c.from})
	}
}

// quotes reads a quoted text from i to the closing quote or the cursor.
func (c *completer) quotes(i int) int {
	for i++; i < c.cursor; {
		r, n := utf8.DecodeRuneInString(c.line[i:])
		i += n
		if r == '"' {
			return i
		}
		if r == '\\' && i < c.cursor {
			r, n = utf8.DecodeRuneInString(c.line[i:])
			i += n
		}
		c.word += string(r)
	}
	return i
}

func (c *completer) inClause(i int, r rune, n int) int {
	switch {
	case r == '"' && c.word == "" && !c.quoted:
		c.from, c.quoted = i, true
		return c.quotes(i)
	case r == ']':
		key := c.key
		if c.at == inKey {
			key = strings.TrimSpace(c.word)
		}
		c.clauses = append(c.clauses, spot{key, i})
		c.at, c.key = nowhere, ""
		c.begin(i + n)
	case c.at == inKey && r == '=':
		c.key, c.at = strings.TrimSpace(c.word), inValue
		c.begin(i + n)
	case unicode.IsSpace(r) && c.word == "":
		c.from = i + n
	default:
		c.word += string(r)
	}
	return i + n
}
