package whole_test

import (
	"strings"
	"testing"

	"github.com/kgents/kgents/agentese/agentesetest"
	"github.com/kgents/kgents/agentese/tree"
)

// The expressions with which this language was first written down run, for whoever
// looks, and show what they ask for.
func TestFirstExpressions(t *testing.T) {
	r := agentesetest.Start(t, agentesetest.Options{Least: true})
	for expr, shows := range map[string]func(v tree.Value) bool{
		"concept.forest.manifest[phase=PLAN][sprint=saas_phase5_operate]@span=saas_operate": func(v tree.Value) bool {
			return len(v.Table.Rows) > 0 && strings.Contains(v.Text, "alerts/rules.yaml")
		},
		"concept.forest.manifest[phase=PLAN][sprint=agent_town_saas]@span=agent_town_monetization": func(v tree.Value) bool {
			return len(v.Table.Rows) > 0 && strings.Contains(v.Text, "Usage metering of citizens' interactions")
		},
		"concept.forest.manifest[phase=IMPLEMENT][sprint=agentese_repl_wave3]@span=repl_wave3": func(v tree.Value) bool {
			return strings.Contains(v.Text, "agentese/match") && strings.Contains(v.Text, "agentese/search")
		},
		"void.gratitude.tithe": func(v tree.Value) bool {
			_, left, given := r.Session.Budget.State()
			return strings.HasPrefix(v.Title, "Thank you") && left == 0 && given == tree.SessionEntropy
		},
	} {
		if v, err := r.Run(expr); err != nil || v.Path != expr || !shows(v) {
			t.Errorf("%s gives %+v, %v", expr, v, err)
		}
	}
}
