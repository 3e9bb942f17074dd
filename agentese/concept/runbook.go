package concept

import (
	"context"
	"slices"
	"strings"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/docs/saas"
)

func runbookNode() *tree.Node {
	return &tree.Node{
		Name: "runbook",
		Line: "the runbook: what to do to a running deployment, and when something is wrong",
		Doc: "The sections of docs/saas/runbook.md as this program was built with them: how to deploy, roll back, scale, back up, restore, replay and reconcile, and for every alert what it means, what it costs, how to confirm it, how to mend it and when it is over. " +
			"A section is named by its anchor, as in the links of alerts; of an alert its name in small letters does as well. The blocks of commands are run by the project's tests, so they can be copied.",
		Synonyms: []string{"playbook", "procedures", "instructions", "how to", "what to do", "steps", "operations manual", "emergency guide", "sop", "guide", "recovery steps", "troubleshooting"},
		Affords: []tree.Affordance{{
			Aspect: agentese.Manifest, Line: "the sections, each with its first words",
			Asks: []string{
				"what do i do now", "i was paged, what now", "where is the runbook", "how do i fix this", "show me the playbook", "step by step instructions", "something is broken, what are the steps",
				"how do i deploy", "how do i roll back", "how do i restore a backup", "what is the procedure for draining a node", "how do i rotate a secret", "list of operating procedures", "how to recover",
			},
			Examples: []tree.Example{
				{Expr: "concept.runbook.manifest", Line: "all sections"},
				{Expr: "concept.runbook.manifest[like=restore]", Line: "sections with this word"},
			},
			Params: []tree.Param{{Key: "like", Line: "only sections with this word in title or text", Kind: tree.Text}},
			See:    runbook,
		}},
		Live: &tree.Live{
			List: func(context.Context, *tree.Call) ([]tree.Entry, error) {
				var out []tree.Entry
				for _, s := range runbookSections() {
					out = append(out, tree.Entry{Name: s.Anchor(), Line: s.Title})
				}
				return out, nil
			},
			Text: func(name string) string {
				s, err := runbookSection(name)
				if err != nil {
					return ""
				}
				return saas.Plain(s.Body)
			},
			Open: true, // the other anchors of a section
			Fold: true,
			Node: &tree.Node{
				Name: "section",
				Line: "one section of the runbook",
				Doc: "The text of one section, with its commands as they stand in the page. For an alert that is: what it means, what it costs, how to confirm it, how to mend it, when it is over, and what prevents it. " +
					"The commands take the namespace from NS and the URLs from Look inside.",
				Synonyms: []string{"chapter", "procedure", "page", "entry", "instructions for", "steps for", "article", "topic"},
				Affords: []tree.Affordance{{
					Aspect: agentese.Manifest, Line: "the section's text with its commands",
					Asks: []string{
						"what do i do about this alert", "how do i mend nats circuit open", "steps to restore", "instructions for rolling back", "read the runbook section", "how to replay dead letters by hand",
						"how to scale the sink", "what does the runbook say about backups", "show the commands for draining a node", "how do i resize the volumes", "what do i tell customers", "how do i stop everything safely", "how do i rotate the stripe secret",
					},
					Examples: []tree.Example{
						{Expr: "concept.runbook.nats-circuit-open.manifest", Line: "what to do when the circuit to NATS is open"},
						{Expr: "concept.runbook.restore.manifest", Line: "how to restore a backup"},
					},
					See: func(_ context.Context, c *tree.Call) (tree.Value, error) {
						s, err := runbookSection(c.Name("section"))
						if err != nil {
							return tree.Value{}, err
						}
						return sectionValue(s), nil
					},
				}},
			},
		},
	}
}

// runbookSections are those with something in them, but for the page's own title.
func runbookSections() []saas.Section {
	return slices.DeleteFunc(slices.Clone(saas.Sections(saas.Runbook)), func(s saas.Section) bool { return s.Level == 1 })
}

func runbook(_ context.Context, c *tree.Call) (tree.Value, error) {
	out := tree.Value{Title: "Runbook", Table: &tree.Table{Columns: []tree.Column{{Name: "section", Link: "concept.runbook.{}"}, {Name: "title"}, {Name: "begins"}}}}
	like := strings.ToLower(c.Args.Get("like"))
	for _, s := range runbookSections() {
		if strings.Contains(strings.ToLower(s.Title+"\n"+s.Body), like) {
			out.Table.Rows = append(out.Table.Rows, []any{s.Anchor(), s.Title, begins(s.Body)})
		}
	}
	out.Add("sections", int64(len(out.Table.Rows)), "")
	out.Then("concept.runbook.alerts.manifest", "the table of alerts: what first")
	out.Then("world.alerts.manifest", "which alerts fire now")
	return out, nil
}

// begins is the first sentence of a text that is not a block of commands or a table.
func begins(markdown string) string {
	for paragraph := range strings.SplitSeq(markdown, "\n\n") {
		if strings.HasPrefix(paragraph, "```") || strings.HasPrefix(paragraph, "|") || strings.HasPrefix(paragraph, "<") {
			continue
		}
		text := strings.TrimPrefix(saas.Plain(paragraph), "Means. ")
		if i := strings.Index(text, ". "); i > 0 {
			text = text[:i+1]
		}
		return text
	}
	return ""
}

// runbookSection finds a section by one of its anchors or its title.
func runbookSection(name string) (saas.Section, error) {
	want := saas.Slug(name)
	var near []string
	for _, s := range runbookSections() {
		if slices.Contains(s.Anchors, want) {
			return s, nil
		}
		for word := range strings.FieldsFuncSeq(want, func(r rune) bool { return r == '-' || r == '_' }) {
			if len(word) > 2 && len(near) < 5 && slices.ContainsFunc(s.Anchors, func(a string) bool { return strings.Contains(a, word) }) {
				near = append(near, "concept.runbook."+agentese.QuoteName(s.Anchor()))
				break
			}
		}
	}
	return saas.Section{}, &agentese.Error{
		Kind: agentese.KindNotFound, What: "the runbook has no section " + agentese.QuoteName(name),
		Try: []string{"concept.runbook.manifest"}, Related: near,
	}
}

// sectionValue is a section with the sections and pages that it leads to.
func sectionValue(s saas.Section) tree.Value {
	v := tree.Value{Title: s.Title, Text: s.Body}
	if s.Body == "" {
		for _, below := range belowOf(s) {
			v.Text += "- " + below.Title + "\n"
			v.Then("concept.runbook."+agentese.QuoteName(below.Anchor())+".manifest", below.Title)
		}
	}
	v.Add("page", "docs/saas/"+saas.Runbook+"#"+s.Anchor(), "")
	seen := map[string]bool{}
	for _, l := range saas.Links(s.Body) {
		to, ok := strings.CutPrefix(l.To, "#")
		target, found := saas.Find(saas.Runbook, to)
		if !ok || !found || seen[target.Anchor()] || len(v.Next) == 6 {
			continue
		}
		seen[target.Anchor()] = true
		v.Then("concept.runbook."+agentese.QuoteName(target.Anchor())+".manifest", target.Title)
	}
	return v
}

// belowOf are the sections that a heading without words of its own has below it.
func belowOf(s saas.Section) []saas.Section {
	var out []saas.Section
	inside := false
	for _, t := range runbookSections() {
		switch {
		case t.Anchor() == s.Anchor():
			inside = true
		case inside && t.Level <= s.Level:
			return out
		case inside:
			out = append(out, t)
		}
	}
	return out
}
