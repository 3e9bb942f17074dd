package tree

import (
	"regexp"
	"strings"

	"github.com/kgents/kgents/term"
)

// readable is how wide a paragraph becomes at most, in columns.
const readable = 96

// measure is how wide a paragraph is here.
func (r *renderer) measure() int {
	if r.width <= 0 {
		return readable
	}
	return min(r.width, readable)
}

var (
	strong  = regexp.MustCompile(`\*\*([^*]+)\*\*`)
	heading = regexp.MustCompile(`^#{1,6} +(.+?)(?: +#+)?$`)
	bullet  = regexp.MustCompile(`^( *)([-*+]|[0-9]+[.)]) +`)
)

// text writes Markdown so that it can be read: headings are bold, code is moved to the
// right and neither broken nor cut, since it is there to be copied, paragraphs are as wide
// as the terminal, a table's rows go on below where they are wider, and the rest stays as
// it is written. No word of it is left out.
func (r *renderer) text(text string) {
	text = strings.Trim(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	if strings.TrimSpace(text) == "" {
		return
	}
	r.gap()
	var paragraph []string
	flush := func() {
		if len(paragraph) > 0 {
			r.paragraph(strings.Join(paragraph, " "))
			paragraph = nil
		}
	}
	fence, empty := "", false
	for line := range strings.SplitSeq(text, "\n") {
		line = term.Printable(strings.TrimRight(strings.ReplaceAll(line, "\t", "    "), " "))
		trimmed := strings.TrimSpace(line)
		switch {
		case fence != "":
			if strings.HasPrefix(trimmed, fence) && strings.Trim(trimmed, fence[:1]) == "" {
				fence = ""
				continue
			}
			r.whole("    " + line)
			empty = false
			continue
		case strings.HasPrefix(trimmed, "```"), strings.HasPrefix(trimmed, "~~~"):
			flush()
			fence = trimmed[:3]
			continue
		case trimmed == "":
			flush()
			if !empty {
				r.line("")
			}
			empty = true
			continue
		case heading.MatchString(trimmed):
			flush()
			r.line(r.s.Strong(heading.FindStringSubmatch(trimmed)[1]))
		case bullet.MatchString(line):
			flush()
			paragraph = []string{line}
		case strings.HasPrefix(trimmed, "|"), strings.HasPrefix(trimmed, ">"):
			flush()
			r.hanging(line)
		case strings.HasPrefix(line, "    ") && len(paragraph) == 0:
			flush()
			r.whole(line)
		case len(paragraph) > 0:
			paragraph = append(paragraph, trimmed)
		default:
			paragraph = []string{line}
		}
		empty = false
	}
	flush()
}

// paragraph writes one, what belongs to a list's item below its text.
func (r *renderer) paragraph(text string) {
	indent := strings.Repeat(" ", len(bullet.FindString(text)))
	if indent == "" {
		indent = text[:len(text)-len(strings.TrimLeft(text, " "))]
	}
	first := text[:len(indent)]
	for _, line := range term.Wrap(text[len(indent):], r.measure()-len(indent)) {
		r.line(first + strong.ReplaceAllStringFunc(line, func(m string) string { return r.s.Strong(strings.Trim(m, "*")) }))
		first = indent
	}
}

// hanging writes a line, what doesn't fit into it below, a little to the right.
func (r *renderer) hanging(text string) {
	if r.width <= 0 || term.Width(text) <= r.width {
		r.whole(text)
		return
	}
	for i, line := range term.Wrap(text, max(r.width-2, 1)) {
		if i > 0 {
			line = "  " + line
		}
		r.whole(line)
	}
}
