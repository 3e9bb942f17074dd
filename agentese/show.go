package agentese

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kgents/kgents/term"
)

// Show is the mistake as it is shown to who wrote input: Render without colours, 80
// columns wide.
func (e *Error) Show(input string) string { return e.Render(input, term.Plain(), 80) }

// Render is the mistake with the line of the input that it is in, underlined at its
// place, then what is wrong, why, what to try and what is near, each ended. Nothing of it
// moves the cursor, whatever the input holds. An input wider than width columns is shown
// around the place, with … for what is left out; the rest goes on below where it is wider.
// 0 or less is no bound.
func (e *Error) Render(input string, s term.Style, width int) string {
	var b strings.Builder
	if line, from, to, ok := e.place(input, width-2); ok {
		b.WriteString("  " + line + "\n  " + strings.Repeat(" ", from) + s.Bad(strings.Repeat("^", max(1, to-from))) + "\n")
	}
	// told writes a text behind a word of n columns, what doesn't fit below it.
	told := func(word string, n int, text string) {
		lines := []string{shown(text)}
		if width > 0 && term.Width(lines[0]) > width-n-1 {
			lines = term.Wrap(lines[0], max(width-n-1, 1))
		}
		for _, line := range lines {
			b.WriteString(word + " " + line + "\n")
			word = strings.Repeat(" ", n)
		}
	}
	told(s.Bad(string(e.Kind)+":"), len(e.Kind)+1, e.What)
	if e.Why != "" {
		told("  "+s.Faint("why: "), 7, e.Why)
	}
	list := func(word string, entries []string) {
		for _, entry := range entries {
			told("  "+s.Faint(word), 2+len(word), entry)
			word = strings.Repeat(" ", len(word))
		}
	}
	list("try: ", e.Try)
	list("near:", e.Related)
	return b.String()
}

// shown is a text as it may stand in one line.
func shown(text string) string {
	return term.Printable(strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		return r
	}, text))
}

// place is the line of the input that the mistake is in, width columns of it, and
// which of these columns to underline.
func (e *Error) place(input string, width int) (line string, from, to int, ok bool) {
	if e.End <= 0 || e.Pos < 0 || e.Pos > e.End || e.End > len(input) {
		return "", 0, 0, false
	}
	begin := strings.LastIndexByte(input[:e.Pos], '\n') + 1
	end := len(input)
	if i := strings.IndexByte(input[e.Pos:], '\n'); i >= 0 {
		end = e.Pos + i
	}
	before := shown(input[begin:e.Pos])
	at := shown(input[e.Pos:max(e.Pos, min(e.End, end))])
	behind := shown(input[max(e.Pos, min(e.End, end)):end])
	from = term.Width(before)
	to = from + term.Width(at)
	if total := to + term.Width(behind); width <= 0 || total <= width {
		return before + at + behind, from, to, true
	}
	// A third of the width for what is before, so that one sees what it follows.
	width = max(width, 12)
	if keep := width / 3; from > keep {
		before = "…" + tail(before, keep-1)
		from = term.Width(before)
	}
	line = term.Cut(before+at+behind, width)
	to = min(from+term.Width(at), term.Width(line))
	return line, from, max(from, to), true
}

// tail is the end of a text that takes at most width columns.
func tail(text string, width int) string {
	from := len(text)
	for from > 0 {
		_, n := utf8.DecodeLastRuneInString(text[:from])
		if term.Width(text[from-n:]) > width {
			break
		}
		from -= n
	}
	return text[from:]
}
