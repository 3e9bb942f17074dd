// Package saas holds the documents of this folder as data, so that the program can
// show what is promised, defined and to be done in the words of the page itself, and
// never in those of a copy.
//
// It promises that a section's text is what stands in the page, blocks of commands
// included, and that its anchors are those by which GitHub and the alerts' annotations
// lead to it. It reads nothing while the program runs.
package saas

import (
	"embed"
	"regexp"
	"strings"
	"sync"
	"unicode"
)

//go:embed *.md
var pages embed.FS

// The documents that are shown in parts.
const (
	Runbook       = "runbook.md"
	Metrics       = "metrics.md"
	Guarantees    = "guarantees.md"
	Plans         = "plans.md"
	Entitlements  = "entitlements.md"
	Subscriptions = "subscriptions.md"
	Alerts        = "alerts.md"
)

// Documents are the names of all, sorted.
func Documents() []string {
	entries, err := pages.ReadDir(".")
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// Text is a document as it stands in the folder; empty for one that isn't here.
func Text(document string) string {
	b, err := pages.ReadFile(document)
	if err != nil {
		return ""
	}
	return string(b)
}

// Section is a heading with what stands below it, up to the next heading of any level.
type Section struct {
	Level   int      // 1 for the page's title
	Title   string   // as it is written, without the #
	Anchors []string // the heading's own last, behind those that are written above it
	Body    string   // Markdown, without the heading and without the next one's anchors
}

// Anchor is the one by which links lead to it: the written one, if there is one.
func (s Section) Anchor() string { return s.Anchors[0] }

var (
	heading = regexp.MustCompile(`^(#+) (.+)$`)
	anchor  = regexp.MustCompile(`^<a (?:id|name)="([^"]+)"></a>$`)
)

// Sections are a document's, in its order. They are shared: don't change them.
func Sections(document string) []Section { return sections()[document] }

// sections are those of all documents, read when they are first asked for.
var sections = sync.OnceValue(func() map[string][]Section {
	out := map[string][]Section{}
	for _, d := range Documents() {
		out[d] = Divide(Text(d))
	}
	return out
})

// Divide is a document's text by its headings.
func Divide(document string) []Section {
	var out []Section
	var body, above []string
	fenced := false
	end := func() {
		if len(out) > 0 {
			out[len(out)-1].Body = strings.TrimSpace(strings.Join(body, "\n"))
		}
		body = nil
	}
	for line := range strings.Lines(document) {
		line = strings.TrimRight(line, "\r\n")
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		}
		if m := anchor.FindStringSubmatch(line); m != nil && !fenced {
			above = append(above, m[1])
			continue
		}
		m := heading.FindStringSubmatch(line)
		if m == nil || fenced {
			body = append(body, line)
			continue
		}
		end()
		out = append(out, Section{Level: len(m[1]), Title: m[2], Anchors: append(above, Slug(m[2]))})
		above = nil
	}
	end()
	return out
}

// Find is the section of a document to which an anchor leads.
func Find(document, anchor string) (Section, bool) {
	for _, s := range Sections(document) {
		for _, a := range s.Anchors {
			if a == anchor {
				return s, true
			}
		}
	}
	return Section{}, false
}

// Slug is the anchor that GitHub gives to a heading.
func Slug(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
			return unicode.ToLower(r)
		}
		return -1
	}, heading)
}

// Table has the rows of the first table of a Markdown text, its titles first. Cells
// are as they are written; a | within `code` that is escaped as \| belongs to its cell.
func Table(markdown string) [][]string {
	var out [][]string
	for line := range strings.Lines(markdown) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			if len(out) > 0 {
				return out
			}
			continue
		}
		line = strings.ReplaceAll(strings.Trim(line, "|"), `\|`, "\x00")
		cells := strings.Split(line, "|")
		ruler := true
		for i, c := range cells {
			cells[i] = strings.TrimSpace(strings.ReplaceAll(c, "\x00", "|"))
			ruler = ruler && strings.Trim(cells[i], "-:") == ""
		}
		if !ruler {
			out = append(out, cells)
		}
	}
	return out
}

// Within is what stands between <!-- name --> and <!-- /name -->: the parts of a page
// that a program writes.
func Within(document, name string) string {
	_, rest, _ := strings.Cut(Text(document), "<!-- "+name+" -->")
	inner, _, ok := strings.Cut(rest, "<!-- /"+name+" -->")
	if !ok {
		return ""
	}
	return strings.TrimSpace(inner)
}

var link = regexp.MustCompile(`\[([^\]]+)\]\(([^)\s]+)\)`)

// Link is one of a text's links, with what it is called.
type Link struct{ Text, To string }

// Links are those of a Markdown text, in its order.
func Links(markdown string) []Link {
	var out []Link
	for _, m := range link.FindAllStringSubmatch(markdown, -1) {
		out = append(out, Link{Text: m[1], To: m[2]})
	}
	return out
}

// Plain is a Markdown text of one paragraph as a line of words: links are their words,
// and there are no signs of emphasis or code.
func Plain(markdown string) string {
	text := link.ReplaceAllString(markdown, "$1")
	text = strings.NewReplacer("`", "", "**", "").Replace(text)
	return strings.Join(strings.Fields(text), " ")
}
