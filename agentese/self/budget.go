package self

import (
	"context"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/tree"
)

func budgetNode() *tree.Node {
	return &tree.Node{
		Name: "budget",
		Line: "the session's entropy budget: spent and left",
		Doc: "A session may spend 0.10 of entropy, and one call 0.01 of it: what draws by chance, such as void.entropy.sip, and whatever asks a model takes from it. " +
			"The figures are this session's own and begin anew with the next. With nothing left, drawing is refused and everything else works as before, by local methods; " +
			"void.gratitude.tithe gives what is unused back.",
		Synonyms: []string{"entropy budget", "allowance", "credits", "quota of chance", "how much is left", "remaining draws", "entropy left", "spending", "model budget"},
		Affords: []tree.Affordance{{
			Aspect: agentese.Manifest, Line: "what is spent, left and given back, and how many draws that makes",
			Asks: []string{
				"how much entropy is left", "what is my budget", "how many draws do i have left", "did i use up my entropy", "how much have i spent this session",
				"can i still sip", "remaining budget", "why is drawing refused", "is my entropy budget empty", "show the entropy account", "how many random samples can i still take", "what does a sip cost",
			},
			Examples: []tree.Example{{Expr: "self.budget.manifest", Line: "what is left to draw"}},
			See: func(_ context.Context, c *tree.Call) (tree.Value, error) {
				v := tree.Value{Title: "Entropy budget of this session"}
				AddBudget(&v, c.Session.Budget)
				v.Then("void.entropy.manifest", "what can be drawn")
				v.Then("void.gratitude.tithe", "give the rest back")
				return v, nil
			},
		}},
	}
}

// AddBudget appends what a budget is at: spent, left, given back, and the draws that
// are left. A nil one is a session without.
func AddBudget(v *tree.Value, b *tree.Budget) {
	if b == nil {
		v.State = tree.Unknown
		v.Note("This session has no entropy budget, so nothing can be drawn in it.")
		return
	}
	spent, left, given := b.State()
	v.State = tree.Well
	if left < tree.CallEntropy/2 {
		v.State = tree.Warn
		v.Note("Nothing is left to draw: a new session begins with a full budget.")
	}
	v.Add("given to a session", tree.SessionEntropy, "").Add("at most in one call", tree.CallEntropy, "").
		Add("spent", round(spent), "").Add("left", round(left), "").Add("given back", round(given), "").
		Add("draws left", int64(left/tree.CallEntropy+1e-6), "")
}

// round keeps sums of hundredths from showing how binary fractions add up.
func round(f float64) float64 { return float64(int64(f*1e6+0.5)) / 1e6 }
