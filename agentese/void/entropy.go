package void

import (
	"context"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/self"
	"github.com/kgents/kgents/agentese/tree"
)

// maxSample bounds how many events are drawn at once.
const maxSample = 50

func (v *view) entropyNode() *tree.Node {
	return &tree.Node{
		Name: "entropy",
		Line: "drawing by chance: a random sample of events, or a random fault on staging",
		Doc: "A sample of events is drawn fairly over time: random moments of the meter's list, and the event that was stored next before each, so a quiet hour counts as much as a busy one. What the events carry needs developer. " +
			"A fault is a random pod of a staging deployment that is deleted, to see whether everything goes on: for an admin alone, with a preview, and only in a namespace that says of itself that it is staging. Each draw costs 0.01 of the session's budget of 0.10.",
		Synonyms: []string{"randomness", "random sample", "chance", "dice", "chaos monkey", "spot check", "lottery", "fault injection", "sampling", "roll the dice", "random fault", "chaos engineering"},
		Affords: []tree.Affordance{
			{
				Aspect: agentese.Manifest, Line: "what can be drawn, what a draw costs, and what is left",
				Asks: []string{
					"what can be drawn", "what does a draw cost", "how does sampling work here", "can i inject a fault", "is there a chaos monkey", "how much chance is left",
					"which random things are there", "explain entropy", "can i take a random sample", "where can faults be made", "what is sipping", "how random is the sample",
				},
				Examples: []tree.Example{{Expr: "void.entropy.manifest", Line: "what can be drawn, and what is left"}},
				See: func(_ context.Context, c *tree.Call) (tree.Value, error) {
					out := tree.Value{Title: "What can be drawn", Table: &tree.Table{Columns: []tree.Column{{Name: "of"}, {Name: "what"}, {Name: "costs"}, {Name: "observer"}, {Name: "open"}}}}
					out.Table.Rows = [][]any{
						{"events", "a random sample of the events that the meter has, fair over time", tree.CallEntropy, tree.Explorer.String(), c.Observer >= tree.Explorer},
						{"fault", "a random pod of a staging deployment is deleted", tree.CallEntropy, tree.Admin.String(), c.Observer >= tree.Admin},
					}
					self.AddBudget(&out, c.Session.Budget)
					out.Then("void.entropy.sip[of=events][n=5]", "five random events")
					out.Then("void.gratitude.tithe", "give the rest back")
					return out, nil
				},
			},
			{
				Aspect: agentese.Sip, Line: "a random sample of events, or a random fault on staging",
				Asks: []string{
					"give me a few random events", "random sample of events", "spot check some events", "pick five events at random", "show me any event", "draw a random event of acme",
					"kill a random pod on staging", "make a random fault", "chaos monkey", "inject a failure", "break something on staging", "surprise me with an event", "roll the dice", "test our resilience by chance",
				},
				Examples: []tree.Example{
					{Expr: "void.entropy.sip[of=events][n=5]", Line: "five random events"},
					{Expr: "void.entropy.sip[of=events][customer=acme]", Line: "random events of one customer"},
					{Expr: "void.entropy.sip[of=fault][dry_run]", Line: "which fault it would be, on staging"},
				},
				Params: []tree.Param{
					{Key: "of", Line: "events: a sample; fault: a random pod of staging is deleted, for an admin", Values: []string{"events", "fault"}, Default: "events"},
					{Key: "n", Line: "how many events", Kind: tree.Number, Min: 1, Max: maxSample, Default: "5"},
					{Key: "customer", Line: "only events of this customer", Of: "world.customers"},
					{Key: "since", Line: "only events since then", Kind: tree.Time, Default: "30d"},
					{Key: "seed", Line: "draw the same again: the seed that an earlier draw has shown", Kind: tree.Word},
				},
				See:     v.sip,
				Change:  v.fault,
				Changes: func(a tree.Args) bool { return a.Get("of") == "fault" },
			},
		},
	}
}
