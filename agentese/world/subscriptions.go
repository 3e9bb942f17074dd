package world

import (
	"context"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/tree"
)

func (w *world) subscriptions() *tree.Node {
	return &tree.Node{
		Name: "subscriptions",
		Line: "how far what Stripe tells of subscriptions is applied to the customers",
		Doc: "The sink brings each Stripe event about a subscription to the customer it is of: plan, status, period. Shown is how old the oldest is that isn't applied, and what became of the others, from /health/saas and /metrics. " +
			"Unattributed events are of no customer of ours, refused ones of nobody who could be one, unreadable ones can't be understood. " +
			"Older than five minutes is the alert SubscriptionsNotApplied: customers who have paid may still be on their old plan. One customer's own story is world.customers.{customer}.witness.",
		Synonyms: []string{"subscription sync", "plan changes", "upgrades", "applied subscriptions", "subscription events", "billing sync", "plan sync", "unapplied", "unattributed", "renewals", "cancellations"},
		Affords: []tree.Affordance{{
			Aspect: agentese.Manifest, Line: "how far subscriptions are applied, and what could not be",
			Asks: []string{
				"are subscriptions applied", "customer paid but is still on free", "why is the plan not updated", "are plan changes delayed", "upgrade does not work", "unattributed stripe events",
				"how far behind are subscriptions", "did the cancellation go through", "subscription sync status", "what could not be applied", "stripe customer without account", "paid and not upgraded",
			},
			Examples: []tree.Example{{Expr: "world.stripe.subscriptions.manifest", Line: "how far they are applied"}},
			See:      w.seeSubscriptions,
		}},
	}
}

func (w *world) seeSubscriptions(ctx context.Context, c *tree.Call) (tree.Value, error) {
	s, err := w.health(ctx, c)
	if err != nil {
		return tree.Value{}, err
	}
	v := tree.Value{Title: "Subscriptions"}
	if s.Subscriptions != nil {
		v.State = stateOf(s.Subscriptions.Status, "")
		add(&v, "status", s.Subscriptions.Status, "", v.State, s.Subscriptions.Detail)
	} else {
		v.Note("This role applies no subscriptions: 'kgents up' and the sink do.")
	}
	m, err := w.Metrics(ctx)
	unknown(&v, "What became of events", err)
	oldest := m.Sum("kgents_billing_oldest_unapplied_seconds")
	late := w.limits.verdict("SubscriptionsNotApplied", oldest)
	v.State = worse(v.State, late)
	add(&v, "oldest not applied", seconds(oldest), "", late, "alert SubscriptionsNotApplied past 5 minutes; 0 is none")
	v.Add("errors", m.Count("kgents_billing_apply_errors_total"), "")
	v.Add("half applied within", seconds(m.Quantile("kgents_billing_applied_seconds", 0.5)), "").Add("99 % applied within", seconds(m.Quantile("kgents_billing_applied_seconds", 0.99)), "")
	v.Table = &tree.Table{Columns: []tree.Column{{Name: "outcome"}, {Name: "events"}}}
	for _, by := range sorted(m.By("kgents_billing_events_total", "outcome")) {
		v.Table.Rows = append(v.Table.Rows, []any{by.key, int64(by.value)})
	}
	v.Note("Events are counted since the program's start, of this process.")
	v.Then("world.customers.manifest", "the customers and their plans")
	v.Then("world.stripe.webhooks.manifest", "whether webhooks arrive")
	return v, nil
}
