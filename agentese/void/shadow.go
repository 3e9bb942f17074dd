package void

import (
	"context"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/tree"
)

func shadowNode() *tree.Node {
	return &tree.Node{
		Name: "shadow",
		Line: "what is neither tested nor covered by an alert",
		Doc: "What would go wrong unseen, worked out from what this program was built with: metrics that no alert, no recording and no panel of the dashboard looks at; alerts that no fire drill has made fire, each with the reason; " +
			"items of the checklist that no program looks at; faults that the chaos table lacks; error codes that no document explains. A short shadow is good. What stands here by choice has its reason beside it.",
		Synonyms: []string{"blind spots", "gaps", "coverage", "untested", "unmonitored", "what we miss", "unknown unknowns", "holes", "weak spots", "risk", "uncovered", "missing tests", "missing alerts"},
		Affords: []tree.Affordance{{
			Aspect: agentese.Manifest, Line: "metrics, alerts, checks, faults and codes that nothing covers",
			Asks: []string{
				"what are our blind spots", "what is not tested", "what is not monitored", "which metrics have no alert", "which alerts were never tried", "where are the gaps in our monitoring",
				"what would we not notice", "what is not covered", "which checks are manual only", "test coverage of alerts", "what could go wrong unseen", "where are we flying blind", "what did we forget", "risks before launch",
			},
			Examples: []tree.Example{
				{Expr: "void.shadow.manifest", Line: "all of it"},
				{Expr: "void.shadow.manifest[of=metrics]", Line: "metrics that nothing looks at"},
			},
			Params: []tree.Param{{Key: "of", Line: "only what no test, no alert, or nothing at all looks at", Values: []string{"tests", "alerts", "metrics"}}},
			See: func(_ context.Context, c *tree.Call) (tree.Value, error) {
				return tree.Value{}, nil
			},
		}},
	}
}

// dark is something in the shadow.
type dark struct{ of, what, lacks, why string }

func shadows() ([]dark, error) { return nil, nil }
