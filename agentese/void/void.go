// Package void is the context void of the tree: chance, thanks, and what is not seen.
//
// It promises that what is drawn is drawn by chance, that how it was drawn is said, and
// that each draw costs of the session's entropy budget. A fault is made in a namespace
// that says of itself that it is staging, and nowhere else. What is not seen is worked
// out from the rules, the documents and the dashboard that this program was built with.
//
// While the meter or the cluster is away, drawing from it says so and costs nothing.
package void

import (
	"context"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/self"
	"github.com/kgents/kgents/agentese/tree"
)

// Context is the tree's part.
func Context(from *living.Sources) *tree.Node {
	v := &view{from: from}
	return &tree.Node{
		Name: "void",
		Line: "chance, thanks, and what is not seen",
		Doc: "What is outside of what was thought of: random samples and random faults, which show what nobody looked for; the shadow, which is what no test and no alert covers; and the unused budget, which can be given back. " +
			"Draw a sample when the averages look fine and something is still wrong; look at the shadow before a launch.",
		Synonyms: []string{"chaos", "random", "chance", "luck", "unknown unknowns", "blind spots", "nothingness", "surprise", "accursed share", "serendipity"},
		Affords: []tree.Affordance{{
			Aspect: agentese.Manifest, Line: "what can be drawn, what is left of the budget, and how large the shadow is",
			Asks: []string{
				"what is in the void", "surprise me", "what are we not seeing", "what is random here", "show me the unknown", "anything i have not thought of",
				"where is the chaos", "what can i draw", "overview of chance and blind spots", "how dark is the shadow", "what could bite us", "unknown unknowns",
			},
			Examples: []tree.Example{{Expr: "void.manifest", Line: "chance, budget and shadow at a glance"}},
			See: func(_ context.Context, c *tree.Call) (tree.Value, error) {
				out := tree.Value{Title: "Chance, thanks, and what is not seen"}
				self.AddBudget(&out, c.Session.Budget)
				out.State = ""
				dark, err := shadows()
				if err != nil {
					return tree.Value{}, err
				}
				out.Add("in the shadow", int64(len(dark)), "")
				out.Then("void.entropy.sip[of=events]", "a random sample of events")
				out.Then("void.shadow.manifest", "what is neither tested nor covered by an alert")
				return out, nil
			},
		}},
		Children: []*tree.Node{v.entropyNode(), gratitudeNode(), shadowNode()},
	}
}

// view is what the nodes look at.
type view struct{ from *living.Sources }

func gratitudeNode() *tree.Node {
	return &tree.Node{
		Name: "gratitude",
		Line: "giving back what was not used",
		Doc: "The end of a session: what is left of the entropy budget is given back, with thanks. Nothing can be drawn after that in this session, and everything else works as before. " +
			"Giving twice gives nothing the second time. It changes nothing outside of the session.",
		Synonyms: []string{"thanks", "thank you", "tithe", "give back", "appreciation", "goodbye", "kindness", "return the rest", "gratefulness", "farewell"},
		Affords: []tree.Affordance{{
			Aspect: agentese.Tithe, Line: "give the unused budget back",
			Asks: []string{
				"thank you", "thanks", "give the rest back", "return what i did not use", "i am done", "say thanks", "pay the tithe", "donate the leftover budget",
				"close the session gratefully", "release the remaining entropy", "thank the system", "good night and thanks", "offer gratitude",
			},
			Examples: []tree.Example{{Expr: "void.gratitude.tithe", Line: "give back what is left"}},
			See: func(_ context.Context, c *tree.Call) (tree.Value, error) {
				out := tree.Value{Title: "Thank you. The infrastructure goes on with its work"}
				if c.Session.Budget == nil {
					self.AddBudget(&out, nil)
					return out, nil
				}
				back := c.Session.Budget.Tithe()
				spent, _, given := c.Session.Budget.State()
				out.Add("given back now", rounded(back), "").Add("given back in all", rounded(given), "").Add("spent", rounded(spent), "")
				out.Text = "What was drawn has shown something; what was not is free again for others."
				if back == 0 {
					out.Text = "There was nothing left to give. The thanks are as warm."
				}
				return out, nil
			},
		}},
	}
}

func rounded(f float64) float64 { return float64(int64(f*1e6+0.5)) / 1e6 }
