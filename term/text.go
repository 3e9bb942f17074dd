package term

import (
	"strings"
	"unicode"
)

// Width is the columns that text takes, without its colours.
func Width(text string) int { return visible(text) }

// Pad is text with spaces behind it to a width; longer text is cut.
func Pad(text string, width int) string {
	text = Cut(text, width)
	return text + strings.Repeat(" ", max(0, width-visible(text)))
}

// Cut is the part of text that fits into width columns, with … for what is left out.
// No colour goes on behind it.
func Cut(text string, width int) string {
	if visible(text) <= width {
		return text
	}
	if width <= 0 {
		return ""
	}
	var b strings.Builder
	n, escape, coloured := 0, false, false
	for _, r := range text { // to the end, for the colours that it closes
		if r == '\x1b' || escape {
			escape, coloured = r != 'm', true
			b.WriteRune(r)
			continue
		}
		w := 1
		switch {
		case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
			w = 0
		case unicode.Is(wide, r):
			w = 2
		}
		if n += w; n <= width-1 {
			b.WriteRune(r)
		}
	}
	b.WriteString("…")
	if coloured {
		b.WriteString("\x1b[0m")
	}
	return b.String()
}

// Wrap breaks text at its blanks into lines of at most width columns. A word that is
// wider stands alone.
func Wrap(text string, width int) []string {
	var lines []string
	line, have := "", 0
	for word := range strings.FieldsSeq(text) {
		w := Width(word)
		if line != "" && have+1+w > width {
			lines = append(lines, line)
			line, have = "", 0
		}
		if line != "" {
			line, have = line+" ", have+1
		}
		line, have = line+word, have+w
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

// Bar draws a share of a whole over width columns, to an eighth of one. More than the
// whole is full, and less than nothing empty.
func Bar(share float64, width int) (full, empty string) {
	if !(share > 0) { // also no number
		return "", strings.Repeat("░", width)
	}
	eighths := int(min(share, 1)*float64(width)*8 + .5)
	full = strings.Repeat("█", eighths/8)
	used := eighths / 8
	if rest := eighths % 8; rest > 0 {
		full += string([]rune("▏▎▍▌▋▊▉")[rest-1])
		used++
	}
	return full, strings.Repeat("░", width-used)
}

// Warn marks what will need attention.
func (s Style) Warn(text string) string { return s.paint("33", text) }

// hues are colours that are told apart, on dark and on light, and mean nothing.
var hues = []string{"36", "35", "34", "33", "32", "96", "95", "94"}

// Hue is text in the nth of some colours that mean nothing.
func (s Style) Hue(n int, text string) string { return s.paint(hues[n%len(hues)], text) }

// Plain is the style without colour.
func Plain() Style { return Style{} }

// Printable keeps what others have written from moving the cursor of who looks at it,
// and from turning the direction of a line around: control characters, line and
// paragraph separators, and bytes that are no UTF-8 become U+FFFD.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}
