package whole_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/agentesetest"
	"github.com/kgents/kgents/customer"
	"github.com/kgents/kgents/town/host"
)

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
	named := live(t, r)
	for _, p := range r.Tree.Places() {
		for _, a := range p.Node.Affords {
			for _, e := range a.Examples {
				x, err := agentese.Parse(named.Replace(e.Expr))
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

// live makes what the examples name: the customer acme with a key, and a town. It gives
// the names that these have in truth.
func live(t *testing.T, r *agentesetest.Rig) *strings.Replacer {
	t.Helper()
	do := func(path string, query url.Values, body, out any) error {
		return r.Client.Do(t.Context(), http.MethodPost, path, query, body, out)
	}
	r.Eventually("acme is a customer", func() bool { return do("/v1/customers", nil, customer.NewCustomer{ID: "acme"}, nil) == nil })
	var (
		key  customer.KeyView
		town host.Town
	)
	r.Eventually("acme has a key and a town", func() bool {
		if key.Prefix == "" {
			_ = do("/v1/keys", nil, map[string]any{"customer": "acme", "scopes": []string{"read"}}, &key)
		}
		if key.Prefix != "" {
			_ = do("/v1/town", url.Values{"customer": {"acme"}}, map[string]any{"citizens": 3}, &town)
		}
		return town.ID != ""
	})
	for _, p := range town.Places {
		for _, citizen := range p.Citizens {
			return strings.NewReplacer("springfield", town.ID, ".alice.", "."+citizen+".", "k7d2m9xq4w", key.Prefix)
		}
	}
	t.Fatalf("nobody lives in %+v", town)
	return nil
}
