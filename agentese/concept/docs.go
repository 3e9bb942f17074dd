package concept

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/docs"
	"github.com/kgents/kgents/docs/saas"
)

func docsNode() *tree.Node {
	return &tree.Node{
		Name: "docs",
		Line: "the documentation: all pages, their sections, and where words stand in them",
		Doc: "Every page of the documentation as this program was built with it: how to send events, add meters, set it up, connect Stripe, sell plans, deploy, operate, and what each setting is. " +
			"Without a clause it lists the pages; [word=…] lists the sections in which the words stand, those with them in the title first. A page is named by its file, and shows its sections; [section=…] reads one.",
		Synonyms: []string{"documentation", "docs", "pages", "user guide", "how to", "howto", "tutorial", "guide", "readme", "manual pages", "help pages", "reference manual", "search the docs", "developer docs"},
		Affords: []tree.Affordance{{
			Aspect: agentese.Manifest, Line: "the pages, or the sections with some words",
			Asks: []string{
				"list all documentation pages", "search the documentation", "which page of the docs explains this", "find a section in the docs", "which docs are there", "grep the docs for a word", "is there a tutorial",
				"where is it documented", "documentation pages", "developer documentation", "what do the docs say about webhooks", "table of contents of the docs", "look it up in the docs", "is there a page about entitlements",
				"list the guides", "read the docs",
			},
			Params: []tree.Param{{Key: "word", Line: "only sections with these words, for example add a meter", Kind: tree.Text}},
			Examples: []tree.Example{
				{Expr: "concept.docs.manifest", Line: "all pages"},
				{Expr: "concept.docs.manifest[word=rotate a key]", Line: "sections about that"},
			},
			See: func(_ context.Context, c *tree.Call) (tree.Value, error) {
				if words := c.Args.Get("word"); words != "" {
					return searchDocs(words), nil
				}
				return listDocs(), nil
			},
		}},
		Live: &tree.Live{
			List: func(context.Context, *tree.Call) ([]tree.Entry, error) {
				var out []tree.Entry
				for _, p := range docPages() {
					if p.runbook() {
						continue // words that ask for it mean concept.runbook
					}
					out = append(out, tree.Entry{Name: p.name, Line: p.title()})
				}
				return out, nil
			},
			Text: func(name string) string {
				var titles []string
				for _, p := range docPages() {
					if p.name != name {
						continue
					}
					for _, s := range p.sections {
						titles = append(titles, saas.Plain(s.Title))
					}
				}
				return strings.Join(titles, ". ")
			},
			Fold: true,
			Node: &tree.Node{
				Name: "page",
				Line: "one page of the documentation: its sections, and their text",
				Doc: "The sections of one page, each with its first words. [section=…] is the text of one, by its anchor, its title, or a part of it, with its commands and tables as they stand in the page, and where its links lead. " +
					"[section=all] is the whole page.",
				Synonyms: []string{"document", "chapter", "article", "section", "how do i", "instructions", "explanation", "example request", "getting started"},
				Affords: []tree.Affordance{{
					Aspect: agentese.Manifest, Line: "its sections, or the text of one",
					Asks: []string{
						"how do i send a usage event", "what fields must an event have", "curl example to send an event", "how do i add a meter", "how do i define a new meter", "how do i test the stripe webhook locally",
						"how do i connect stripe on my machine", "documentation of a setting", "which environment variables are there", "how do i write plans.yaml", "how do i sell a feature of my own", "how do api keys work for customers",
						"explain the architecture", "page about deployment", "how is the load tested", "docs about secrets", "what does the security page say", "how does the shell work, the page",
					},
					Params: []tree.Param{{Key: "section", Line: "the section to read, by its anchor, its title or a part of it; all is the whole page", Kind: tree.Text}},
					Examples: []tree.Example{
						{Expr: "concept.docs.events.manifest", Line: "the sections of the page about events"},
						{Expr: "concept.docs.events.manifest[section=the-fields-of-an-event]", Line: "what an event is made of"},
						{Expr: "concept.docs.meters.manifest[section=add]", Line: "how a meter is added"},
					},
					See: func(_ context.Context, c *tree.Call) (tree.Value, error) {
						p, err := docPage(c.Name("page"))
						if err != nil {
							return tree.Value{}, err
						}
						if section := c.Args.Get("section"); section != "" {
							return p.read(section)
						}
						return p.show(), nil
					},
				}},
			},
		},
	}
}

// page is one of the documentation.
type page struct {
	name, file string // events, docs/saas/events.md
	sections   []saas.Section
}

// docPages are all that this program was built with, by their names.
var docPages = sync.OnceValue(func() []page {
	out := []page{
		{"agentese", "docs/agentese.md", saas.Divide(docs.Agentese)},
		{"shell", "docs/shell.md", saas.Divide(docs.Shell)},
	}
	for _, file := range saas.Documents() {
		out = append(out, page{strings.TrimSuffix(file, ".md"), "docs/saas/" + file, saas.Sections(file)})
	}
	slices.SortFunc(out, func(a, b page) int { return cmp.Compare(a.name, b.name) })
	return out
})

func docPage(name string) (page, error) {
	name = strings.TrimSuffix(strings.ToLower(name), ".md")
	var near []string
	for _, p := range docPages() {
		if p.name == name {
			return p, nil
		}
		if strings.Contains(p.name, name) || strings.Contains(name, p.name) {
			near = append(near, "concept.docs."+p.name)
		}
	}
	return page{}, &agentese.Error{
		Kind: agentese.KindNotFound, What: "there is no page " + agentese.QuoteName(name) + " in the documentation",
		Try: []string{"concept.docs.manifest", "concept.docs.manifest[word=…]"}, Related: near,
	}
}

func (p page) title() string { return saas.Plain(p.sections[0].Title) }

// runbook says whether it is the page that has a holon of its own.
func (p page) runbook() bool { return strings.HasSuffix(p.file, "/"+saas.Runbook) }

// step is the expression that reads a section.
func (p page) step(s saas.Section) string {
	if p.runbook() && s.Level > 1 {
		return agentese.NewStep(agentese.Manifest, "concept", "runbook", s.Anchor()).String()
	}
	return agentese.NewStep(agentese.Manifest, "concept", "docs", p.name).With("section", s.Anchor()).String()
}

func listDocs() tree.Value {
	out := tree.Value{Title: "Documentation", Table: &tree.Table{Columns: []tree.Column{{Name: "page", Link: "concept.docs.{}"}, {Name: "title"}, {Name: "sections"}, {Name: "begins"}}}}
	for _, p := range docPages() {
		out.Table.Rows = append(out.Table.Rows, []any{p.name, p.title(), int64(len(p.sections)), begins(p.sections[0].Body)})
	}
	out.Add("pages", int64(len(out.Table.Rows)), "")
	out.Then("concept.docs.manifest[word=send an event]", "sections with some words")
	out.Then("concept.docs.events.manifest", "one page: how usage is sent")
	return out
}

func (p page) show() tree.Value {
	out := tree.Value{Title: p.title(), Table: &tree.Table{Columns: []tree.Column{{Name: "section"}, {Name: "title"}, {Name: "begins"}}}}
	out.Add("page", p.file, "").Add("sections", int64(len(p.sections)), "")
	for _, s := range p.sections {
		out.Table.Rows = append(out.Table.Rows, []any{s.Anchor(), saas.Plain(s.Title), begins(s.Body)})
		if s.Level == 2 && len(out.Next) < 6 {
			out.Then(p.step(s), saas.Plain(s.Title))
		}
	}
	return out
}

// find is a section by an anchor, its title, or a part of either that only one has.
func (p page) find(name string) (saas.Section, error) {
	want := saas.Slug(strings.TrimPrefix(strings.TrimSpace(name), "#"))
	var part []saas.Section
	for _, s := range p.sections {
		if slices.Contains(s.Anchors, want) {
			return s, nil
		}
		if want != "" && slices.ContainsFunc(s.Anchors, func(a string) bool { return strings.Contains(a, want) }) {
			part = append(part, s)
		}
	}
	if len(part) == 1 {
		return part[0], nil
	}
	e := &agentese.Error{Kind: agentese.KindNotFound, What: "the page " + p.name + " has no section " + agentese.QuoteName(name), Try: []string{"concept.docs." + p.name + ".manifest"}}
	if len(part) > 1 {
		e.What = "several sections of the page " + p.name + " have " + agentese.QuoteName(name) + " in their titles"
	}
	for _, s := range part[:min(len(part), 5)] {
		e.Related = append(e.Related, p.step(s))
	}
	return saas.Section{}, e
}

// read is the text of a section with what is below it, or of the whole page.
func (p page) read(name string) (tree.Value, error) {
	if strings.EqualFold(strings.TrimSpace(name), "all") {
		v := tree.Value{Title: p.title(), Text: p.text(p.sections[0])}
		v.Add("page", p.file, "")
		return v, nil
	}
	s, err := p.find(name)
	if err != nil {
		return tree.Value{}, err
	}
	v := tree.Value{Title: saas.Plain(s.Title), Text: s.Body}
	if s.Level > 1 {
		v.Text = p.text(s)
	}
	v.Add("page", p.file+"#"+s.Anchor(), "")
	seen := map[string]bool{}
	for _, l := range saas.Links(v.Text) {
		if to := p.leads(l.To); to != "" && !seen[to] && to != p.step(s) && len(v.Next) < 6 {
			seen[to] = true
			v.Then(to, saas.Plain(l.Text))
		}
	}
	return v, nil
}

// text is a section's body, and those of the sections below it with their titles.
func (p page) text(s saas.Section) string {
	i := slices.IndexFunc(p.sections, func(t saas.Section) bool { return t.Anchor() == s.Anchor() })
	out := s.Body
	for _, t := range p.sections[i+1:] {
		if t.Level <= s.Level {
			break
		}
		out += "\n\n" + strings.Repeat("#", t.Level) + " " + t.Title + "\n\n" + t.Body
	}
	return strings.TrimSpace(out)
}

// leads is the expression for a link of a page's; empty for what is no page.
func (p page) leads(to string) string {
	file, anchor, _ := strings.Cut(to, "#")
	if strings.Contains(file, "://") || file != "" && !strings.HasSuffix(file, ".md") {
		return ""
	}
	target := p
	if file != "" {
		name := strings.TrimSuffix(file[strings.LastIndexByte(file, '/')+1:], ".md")
		i := slices.IndexFunc(docPages(), func(q page) bool { return q.name == name })
		if i < 0 {
			return ""
		}
		target = docPages()[i]
	}
	for _, s := range target.sections {
		if anchor != "" && slices.Contains(s.Anchors, anchor) {
			return target.step(s)
		}
	}
	if file == "" {
		return ""
	}
	return "concept.docs." + target.name + ".manifest"
}

// common are words that stand everywhere, and so choose nothing.
var common = func() map[string]bool {
	out := map[string]bool{}
	for w := range strings.FieldsSeq("a an and are as at be by can do does for from get has have how i if in is it its may me must my not of on or our shall should that the their there they this to we what when where which who why will with you your") {
		out[w] = true
	}
	return out
}()

// stems are the words of a text in small letters, without the s of more than one.
func stems(text string) []string {
	var out []string
	for w := range strings.FieldsFuncSeq(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		if len(w) > 3 && !strings.HasSuffix(w, "ss") {
			w = strings.TrimSuffix(w, "s")
		}
		out = append(out, w)
	}
	return out
}

// stemmed is a section as it is searched: a blank before each stem.
type stemmed struct {
	page        page
	section     saas.Section
	title, text string
}

var stemmedSections = sync.OnceValue(func() []stemmed {
	var out []stemmed
	for _, p := range docPages() {
		for _, s := range p.sections {
			out = append(out, stemmed{
				page: p, section: s,
				title: " " + strings.Join(stems(p.title()+" "+s.Title), " "),
				text:  " " + strings.Join(stems(s.Body), " "),
			})
		}
	}
	return out
})

// searchDocs are the sections that have the most of the words, those with them in their
// titles first.
func searchDocs(words string) tree.Value {
	all := stems(words)
	asked := slices.DeleteFunc(slices.Clone(all), func(w string) bool { return common[w] })
	if len(asked) == 0 {
		asked = all
	}
	type hit struct {
		stemmed
		have, score int
	}
	var hits []hit
	most := 1
	for _, s := range stemmedSections() {
		h := hit{stemmed: s}
		for _, w := range asked {
			title, text := strings.Contains(s.title, " "+w), strings.Contains(s.text, " "+w)
			if title || text {
				h.have++
			}
			if title {
				h.score++
			}
		}
		if h.have >= most {
			most = h.have
			hits = append(hits, h)
		}
	}
	hits = slices.DeleteFunc(hits, func(h hit) bool { return h.have < most })
	slices.SortStableFunc(hits, func(a, b hit) int { return cmp.Compare(b.score, a.score) })
	out := tree.Value{Title: "Sections with the words " + strings.Join(asked, ", "), Table: &tree.Table{Columns: []tree.Column{{Name: "page", Link: "concept.docs.{}"}, {Name: "section"}, {Name: "title"}, {Name: "begins"}}}}
	for i, h := range hits {
		out.Table.Rows = append(out.Table.Rows, []any{h.page.name, h.section.Anchor(), saas.Plain(h.section.Title), begins(h.section.Body)})
		if i < 5 {
			out.Then(h.page.step(h.section), saas.Plain(h.section.Title))
		}
	}
	out.Add("sections", int64(len(hits)), "")
	switch {
	case len(hits) == 0:
		out.Title = "No section has these words"
		out.Then("concept.docs.manifest", "all pages")
	case most < len(asked):
		out.Note("None has all of the words: these have the most of them.")
	}
	return out
}
