package whole_test

import (
	"errors"
	"regexp"
	"testing"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/agentesetest"
)

var aLiveOne = regexp.MustCompile(`^world\.(customers|town)\b`)

// Every example of every node is an expression that runs: it shows something, or says
// that what it needs isn't there on a machine with nothing but the program. A change is
// planned and not made.
func TestExamplesRun(t *testing.T) {
	r := agentesetest.Start(t, agentesetest.Options{Refusing: true})
	r.Send("1", "acme", "smallville")
	r.SendWebhook("evt_1", "invoice.paid")
	r.Send("2", "acme", agentesetest.Poison)
	r.Eventually("one is counted, one refused, and Stripe's is there", func() bool {
		_, err := r.Run("world.stripe.events.evt_1.manifest")
		return r.Counted() == 1 && r.Waiting() == 1 && err == nil
	})
	for _, p := range r.Tree.Places() {
		for _, a := range p.Node.Affords {
			for _, e := range a.Examples {
				x, err := agentese.Parse(e.Expr)
				if err != nil {
					t.Errorf("%s: %v", e.Expr, err)
					continue
				}
				last := &x.Steps[len(x.Steps)-1]
				if _, dry := last.Clause("dry_run"); last.Aspect.Text == string(agentese.Refine) && !dry {
					*last = last.With("dry_run", "true")
				}
				v, err := r.Tree.Run(t.Context(), x, r.Session)
				if e, ok := errors.AsType[*agentese.Error](err); ok && e.Kind == agentese.KindAway && len(e.Try) > 0 {
					continue // Prometheus, Alertmanager or Kubernetes, and how to have it
				}
				if e, ok := errors.AsType[*agentese.Error](err); ok && e.Kind == agentese.KindNotFound && aLiveOne.MatchString(p.Pattern) {
					continue // a customer, a town, which this machine doesn't have
				}
				if err != nil {
					t.Errorf("%s, an example of %s: %v", x, p.Pattern, err)
					continue
				}
				if v.Title == "" && v.Text == "" && v.Table == nil && len(v.Fields) == 0 {
					t.Errorf("%s, an example of %s, shows nothing", x, p.Pattern)
				}
			}
		}
	}
	if got := r.Audit(); len(got) > 0 {
		t.Errorf("looking has changed something: %+v", got)
	}
}
