// Package concept is the context concept of the tree: what is promised, defined and
// written down, and the laws of the language.
//
// It promises to show the documents, rules and checklist themselves, as this program was
// built with them, and no copy that could differ. All of it but a metric's value now is
// there while everything else is away.
package concept

import (
	"context"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
)

// Context is the tree's part.
func Context(from *living.Sources) *tree.Node {
	v := &view{from: from}
	return &tree.Node{
		Name: "concept",
		Line: "what is promised and defined: guarantees, alerts, runbook, checklist, metrics, plans, laws",
		Doc: "What doesn't change while you look: the promises and the tests that show them, the alert rules and why they exist, the runbook with what to do, all other pages of the documentation, the production checklist and its rollout by phase, " +
			"what each metric and each word of the plans means, and the laws of this language. All of it is what this very program was built with.",
		Synonyms: []string{"documentation", "docs", "definitions", "reference", "manual", "knowledge", "theory", "what things mean", "glossary", "handbook", "policies", "how it should be"},
		Affords: []tree.Affordance{{
			Aspect: agentese.Manifest, Line: "what there is to read, and how much of it",
			Asks: []string{
				"show me the documentation", "where are the docs", "what is written down", "what can i read up on", "i need the manual", "is there a reference", "where are things explained",
				"what knowledge is there", "overview of the concepts", "where do i find definitions", "help me understand this system", "what should a new colleague read",
			},
			Examples: []tree.Example{{Expr: "concept.manifest", Line: "what there is to read"}},
			See:      v.overview,
		}},
		Children: []*tree.Node{
			guaranteesNode(), v.alertsNode(), runbookNode(), docsNode(), v.checklistNode(), v.forestNode(), v.metricsNode(), plansNode(), lawsNode(), identityNode(),
		},
	}
}

// view is what the nodes look at.
type view struct{ from *living.Sources }

func (v *view) overview(_ context.Context, c *tree.Call) (tree.Value, error) {
	out := tree.Value{Title: "What is promised and defined", Table: &tree.Table{Columns: []tree.Column{{Name: "holon"}, {Name: "what"}, {Name: "entries"}}}}
	for _, p := range c.Tree.Contexts {
		if p.Name != "concept" {
			continue
		}
		for _, n := range p.Children {
			var entries any
			if count := v.count(n.Name); count > 0 {
				entries = int64(count)
			}
			out.Table.Rows = append(out.Table.Rows, []any{"concept." + n.Name, n.Line, entries})
		}
	}
	out.Then("concept.runbook.manifest", "what to do when something is wrong")
	out.Then("concept.guarantees.manifest", "what is promised")
	return out, nil
}

func identityNode() *tree.Node {
	return &tree.Node{
		Name: "identity",
		Line: "gives back what is piped into it",
		Doc: "The step that changes nothing: what is piped in comes out. It is there for the laws, by which identity >> f and f >> identity are the same as f alone, and for whoever wants to narrow what another step gave, with [where=…], [sort=…] or [columns=…]. " +
			"Without an input it gives an empty value.",
		Synonyms: []string{"id", "pass through", "no-op", "nothing", "same", "unit", "echo", "neutral element", "noop"},
		Affords: []tree.Affordance{{
			Aspect: agentese.Manifest, Line: "what was piped in, unchanged",
			Asks: []string{
				"pass it through", "do nothing with it", "give it back unchanged", "the same again", "no-op step", "what does identity do", "id function",
				"leave the output as it is", "filter the output of the last command", "narrow what i just saw", "sort that table differently", "neutral step in a pipeline",
			},
			Examples: []tree.Example{
				{Expr: "concept.alerts.manifest >> concept.identity.manifest[where=severity=critical]", Line: "narrow what a step gave"},
			},
			Takes: "anything: it is given back",
			See: func(_ context.Context, c *tree.Call) (tree.Value, error) {
				if c.Input == nil {
					return tree.Value{}, nil
				}
				return *c.Input, nil
			},
		}},
	}
}
