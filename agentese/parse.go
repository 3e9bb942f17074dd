package agentese

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Parse reads an expression. Its error is an *Error of KindSyntax with the position
// of what is wrong: 0 <= Pos <= End <= len(input), both at the begin of a character,
// and the same where something is missing. What it gives to try parses, but for
// sentences that say what to do.
func Parse(input string) (Expression, error) {
	e, err := parse(input, false)
	if err != nil {
		return Expression{}, err
	}
	return e, nil
}

// parse is Parse. Without suggestions its errors have nothing to try that would have
// to be parsed itself.
func parse(input string, bare bool) (Expression, *Error) {
	p := parser{in: input, bare: bare}
	if characters := utf8.RuneCountInString(input); characters > MaxInput {
		at := 0
		for range MaxInput {
			_, n := utf8.DecodeRuneInString(input[at:])
			at += n
		}
		return Expression{}, p.mistake(at, len(input), fmt.Sprintf("the input has %d characters", characters), fmt.Sprintf("at most %d are read", MaxInput))
	}
	for i, r := range input {
		if r == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(input[i:]); n == 1 {
				return Expression{}, p.mistake(i, i+1, "this byte is no UTF-8", "")
			}
		}
	}
	return p.expression()
}

// parser reads the input from left to right, a rune ahead, and never goes back.
type parser struct {
	in   string
	pos  int
	bare bool // no suggestions
}

const eof = -1

func (p *parser) peek() rune {
	if p.pos >= len(p.in) {
		return eof
	}
	r, _ := utf8.DecodeRuneInString(p.in[p.pos:])
	return r
}

func (p *parser) next() {
	_, n := utf8.DecodeRuneInString(p.in[p.pos:])
	p.pos += n
}

// skipBlanks says whether there were any.
func (p *parser) skipBlanks() bool {
	from := p.pos
	for p.pos < len(p.in) && unicode.IsSpace(p.peek()) {
		p.next()
	}
	return p.pos > from
}

func (p *parser) mistake(pos, end int, what, why string, try ...string) *Error {
	return &Error{Kind: KindSyntax, Pos: pos, End: end, What: what, Why: why, Try: try}
}

// here is a mistake at the next rune, or at the end.
func (p *parser) here(what, why string, try ...string) *Error {
	end := p.pos
	if r := p.peek(); r != eof {
		end += utf8.RuneLen(r)
	}
	return p.mistake(p.pos, end, what, why, try...)
}

// instead is the input with what is from pos to end replaced, if that is an
// expression, and nothing otherwise: what is offered must be right.
func (p *parser) instead(pos, end int, by string) []string {
	if p.bare {
		return nil
	}
	e, err := parse(p.in[:pos]+by+p.in[end:], true)
	if err != nil {
		return nil
	}
	return []string{e.String()}
}

func (p *parser) seen() string {
	if r := p.peek(); r != eof {
		return strconv.QuoteRune(r)
	}
	return "the end"
}

func (p *parser) expression() (Expression, *Error) {
	var e Expression
	for {
		p.skipBlanks()
		if p.peek() == eof && len(e.Steps) == 0 {
			return e, p.here("nothing is written here", "an expression is a path with an aspect", "world.manifest")
		}
		s, err := p.step()
		if err != nil {
			return Expression{}, err
		}
		e.Steps = append(e.Steps, s)
		from := p.pos
		blank := p.skipBlanks()
		switch {
		case p.peek() == eof:
			return e, nil
		case strings.HasPrefix(p.in[p.pos:], ">>"):
			if len(e.Steps) == MaxSteps {
				return Expression{}, p.mistake(p.pos, p.pos+2, "the pipeline is too long", fmt.Sprintf("it has at most %d steps", MaxSteps))
			}
			p.pos += 2
		default:
			return Expression{}, p.behind(s, from, blank)
		}
	}
}

// behind is the mistake of what stands behind a step that ends at from, and should not.
func (p *parser) behind(s Step, from int, blank bool) *Error {
	switch r := p.peek(); {
	case r == '>':
		return p.here("one > means nothing", "steps are joined by >>", p.instead(p.pos, p.pos+1, ">>")...)
	case r == '|':
		return p.here("| means nothing", "steps are joined by >>", p.instead(p.pos, p.pos+1, ">>")...)
	case r == '[' && len(s.Annotations) > 0:
		return p.here("a clause can't stand behind an annotation", "clauses come first, then annotations")
	case r == '[':
		return p.here("a clause stands directly behind the path", "there are blanks before it", p.instead(from, p.pos, "")...)
	case r == '@':
		return p.here("an annotation stands directly behind the step", "there are blanks before it", p.instead(from, p.pos, "")...)
	case r == '.':
		return p.here("a dot stands directly between two names", "", p.instead(from, p.pos, "")...)
	case r == '(':
		return p.here("arguments don't stand in parentheses", "they are clauses: [key=value]")
	case r == ']':
		return p.here("this ] closes nothing", "a clause is written [key=value]")
	case blank && (isName(r) || r == '"'):
		return p.here("a second path begins here", "names are joined by a dot, steps by >>", p.instead(from, p.pos, " >> ")...)
	default:
		return p.here(p.seen()+" can't stand here", "behind a path come [clauses], then @annotations, then >>", `put quotes around a name with special characters: "a b"`)
	}
}

func (p *parser) step() (s Step, err *Error) {
	for {
		n, err := p.name("a name")
		if err != nil {
			return s, err
		}
		s.Names = append(s.Names, n)
		if p.peek() != '.' {
			break
		}
		p.next()
		if from := p.pos; p.skipBlanks() {
			return s, p.mistake(from, p.pos, "a name stands directly behind its dot", "", p.instead(from, p.pos, "")...)
		}
	}
	if len(s.Names) > MaxDepth+1 { // the last one is the aspect
		return s, p.mistake(s.Names[MaxDepth].Pos, p.pos, "the path is too deep", fmt.Sprintf("it has at most %d names", MaxDepth))
	}
	if len(s.Names) == 1 {
		n, from := s.Names[0], p.pos
		blank := p.skipBlanks()
		if r := p.peek(); r != eof && r != '[' && r != '@' && r != '>' && r != '"' && !isName(r) {
			return s, p.behind(s, from, blank)
		}
		return s, p.mistake(n.Pos, n.End, "the path has no aspect", "a path ends with what is to be done, as in world.manifest", p.instead(n.End, n.End, ".manifest")...)
	}
	s.Aspect = s.Names[len(s.Names)-1]
	s.Names = s.Names[:len(s.Names)-1]
	for p.peek() == '[' {
		c, err := p.clause()
		if err != nil {
			return s, err
		}
		if s.Clauses = append(s.Clauses, c); len(s.Clauses) > MaxClauses {
			return s, p.mistake(c.Pos, c.End, "too many clauses", fmt.Sprintf("a step has at most %d", MaxClauses))
		}
	}
	for p.peek() == '@' {
		a, err := p.annotation()
		if err != nil {
			return s, err
		}
		if s.Annotations = append(s.Annotations, a); len(s.Annotations) > MaxClauses {
			return s, p.mistake(a.Pos, a.End, "too many annotations", fmt.Sprintf("a step has at most %d", MaxClauses))
		}
	}
	return s, nil
}

// name reads one, quoted or not.
func (p *parser) name(what string) (Name, *Error) {
	from := p.pos
	if p.peek() == '"' {
		text, err := p.quoted()
		if err != nil {
			return Name{}, err
		}
		if text == "" {
			return Name{}, p.mistake(from, p.pos, "a name can't be empty", "")
		}
		return Name{Text: text, Pos: from, End: p.pos}, nil
	}
	for p.pos < len(p.in) && isName(p.peek()) {
		p.next()
	}
	if p.pos == from {
		switch r := p.peek(); {
		case r == '.':
			return Name{}, p.here("a name is missing before this dot", "two names are joined by one dot")
		case r == eof && from > 0:
			return Name{}, p.here(what+" is missing at the end", "")
		default:
			return Name{}, p.here(what+" must begin here, not "+p.seen(), "a name has letters, digits, _, - and :, or stands in quotes")
		}
	}
	return Name{Text: p.in[from:p.pos], Pos: from, End: p.pos}, nil
}

func (p *parser) clause() (Clause, *Error) {
	c := Clause{Pos: p.pos}
	p.next()
	p.skipBlanks()
	if p.peek() == ']' {
		return c, p.mistake(c.Pos, p.pos+1, "this clause is empty", "a clause is written [key=value] or [key]")
	}
	key, err := p.name("a clause's key")
	if err != nil {
		return c, err
	}
	c.Key, c.ValuePos = key.Text, key.End
	p.skipBlanks()
	switch p.peek() {
	case ']':
		p.next()
		c.Bare, c.End = true, p.pos
		return c, nil
	case '=':
		p.next()
	case eof:
		return c, p.unclosed(c.Pos)
	default:
		return c, p.here("behind the key comes = or ], not "+p.seen(), "")
	}
	p.skipBlanks()
	c.ValuePos = p.pos
	if p.peek() == '"' {
		if c.Value, err = p.quoted(); err != nil {
			return c, err
		}
		p.skipBlanks()
	} else if c.Value, err = p.bareValue(c); err != nil {
		return c, err
	}
	switch p.peek() {
	case ']':
		p.next()
		c.End = p.pos
		return c, nil
	case eof:
		return c, p.unclosed(c.Pos)
	default:
		return c, p.here("behind the quoted value comes ], not "+p.seen(), "")
	}
}

// bareValue reads up to the closing bracket.
func (p *parser) bareValue(c Clause) (string, *Error) {
	from := p.pos
	for {
		switch r := p.peek(); {
		case r == eof:
			return "", p.unclosed(c.Pos)
		case r == ']':
			v := strings.TrimSpace(p.in[from:p.pos])
			if v == "" {
				return "", p.mistake(c.Pos, p.pos+1, "the value of "+QuoteName(c.Key)+" is missing", "", "["+QuoteName(c.Key)+"=\"\"] for an empty one")
			}
			return v, nil
		case r == '[' || r == '"' || r == '\\' || r != ' ' && !unicode.IsPrint(r):
			return "", p.here(p.seen()+" can't stand in a value without quotes", "", "put the value in quotes: ["+QuoteName(c.Key)+"=\"…\"]")
		}
		p.next()
	}
}

func (p *parser) unclosed(from int) *Error {
	return p.mistake(from, p.pos, "the clause that begins here is not closed", "a ] is missing", p.instead(p.pos, p.pos, "]")...)
}

func (p *parser) annotation() (Annotation, *Error) {
	a := Annotation{Pos: p.pos}
	p.next()
	key, err := p.name("an annotation's name")
	if err != nil {
		return a, err
	}
	a.Key, a.End = key.Text, p.pos
	if p.peek() != '=' {
		a.Bare = true
		return a, nil
	}
	p.next()
	if p.peek() == '"' {
		if a.Value, err = p.quoted(); err != nil {
			return a, err
		}
	} else {
		from := p.pos
		for p.pos < len(p.in) && isAnnotation(p.peek()) {
			p.next()
		}
		if a.Value = p.in[from:p.pos]; a.Value == "" {
			return a, p.here("the value of @"+QuoteName(a.Key)+" is missing", "it can't hold blanks, brackets, @, > or # without quotes", "@"+QuoteName(a.Key)+"=\"…\"")
		}
	}
	a.End = p.pos
	return a, nil
}

// quoted reads a text in double quotes with the escapes \" \\ \n \t \uXXXX and \UXXXXXXXX.
func (p *parser) quoted() (string, *Error) {
	from := p.pos
	p.next()
	var b strings.Builder
	for {
		r := p.peek()
		switch {
		case r == eof:
			return "", p.mistake(from, p.pos, "the quote that begins here is not closed", "")
		case r == '"':
			p.next()
			return b.String(), nil
		case r == '\\':
			e, err := p.escape()
			if err != nil {
				return "", err
			}
			b.WriteRune(e)
			continue
		case r != ' ' && !unicode.IsPrint(r):
			return "", p.here(p.seen()+" can't stand in quotes as it is", "write it as an escape such as \\u000a")
		}
		b.WriteRune(r)
		p.next()
	}
}

func (p *parser) escape() (rune, *Error) {
	from := p.pos
	p.next()
	r := p.peek()
	switch r {
	case '"', '\\':
		p.next()
		return r, nil
	case 'n':
		p.next()
		return '\n', nil
	case 't':
		p.next()
		return '\t', nil
	case eof:
		return 0, p.mistake(from, p.pos, "the quote is not closed", "it ends with a \\")
	case 'u', 'U':
		p.next()
		digits := 4
		if r == 'U' {
			digits = 8
		}
		first := p.pos
		for p.pos < min(first+digits, len(p.in)) && strings.IndexByte("0123456789abcdefABCDEF", p.in[p.pos]) >= 0 {
			p.pos++
		}
		v, err := strconv.ParseUint(p.in[first:p.pos], 16, 32)
		if p.pos-first != digits || err != nil || v > unicode.MaxRune || !utf8.ValidRune(rune(v)) {
			return 0, p.mistake(from, p.pos, "this escape names no character", fmt.Sprintf("behind \\%c come %d hexadecimal digits", r, digits))
		}
		return rune(v), nil
	default:
		return 0, p.mistake(from, p.pos+utf8.RuneLen(r), "this escape is unknown", `there are \" \\ \n \t \uXXXX and \UXXXXXXXX`)
	}
}
