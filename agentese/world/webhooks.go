package world

import (
	"context"
	"time"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
)

func (w *world) webhooks() *tree.Node {
	return &tree.Node{
		Name: "webhooks",
		Line: "Stripe's webhooks: received, processed, skipped, refused and why, and how fast",
		Doc: "What became of Stripe's webhooks since the process's start, from /metrics: received with a good signature by type, processed (durable), skipped (no event that counts), and refused by reason: " +
			"bad_signature, timestamp and no_secret speak of our secret or clock, no_signature and bad_header are strangers' noise, malformed can't be read, unavailable means that nothing durable could take it. " +
			"Stripe gives up on a webhook after about ten seconds and sends it again: past five (99 %) the alert HighWebhookLatency fires; StripeSignatureFailures and StripeWebhooksUnreadable tell of the others.",
		Synonyms: []string{"webhook", "stripe webhooks", "hooks", "callbacks", "signature", "signing", "webhook latency", "webhook errors", "deliveries", "stripe callbacks", "rejected webhooks"},
		Affords: []tree.Affordance{
			{
				Aspect: agentese.Manifest, Line: "received, refused by reason, skipped, latency p50 and p99",
				Asks: []string{
					"why are webhooks failing", "webhook errors", "signature verification failed", "how many webhooks did we get", "how slow are webhooks", "stripe says our endpoint fails", "invalid signature",
					"webhook latency", "are webhooks rejected", "is stripe retrying", "which webhook types come in", "webhook secret wrong", "400 on stripe webhook",
				},
				Examples: []tree.Example{
					{Expr: "world.stripe.webhooks.manifest", Line: "what became of them, and how fast"},
					{Expr: "world.stripe.webhooks.manifest[where=outcome=refused]", Line: "only why they were refused"},
				},
				See: w.seeWebhooks,
			},
			{
				Aspect: agentese.Witness, Line: "their history: received, processed, refused, time to answer",
				Asks: []string{
					"webhooks over time", "when did webhooks start failing", "webhook rate", "how many webhooks per minute", "did webhooks stop coming", "webhook latency history",
					"when did stripe last send something", "webhook failures last night", "did webhook traffic drop", "stripe traffic trend",
				},
				Params:   pastParams(),
				Examples: []tree.Example{{Expr: "world.stripe.webhooks.witness[since=6h]", Line: "six hours of them"}},
				See: w.witness(past{title: "Stripe's webhooks", figures: []figure{
					{name: "kgents_stripe_webhooks_received_total", title: "received", unit: "1/s", rate: true},
					{name: "kgents_stripe_webhooks_processed_total", title: "processed", unit: "1/s", rate: true},
					{name: "kgents_stripe_webhooks_errors_total", title: "refused", unit: "1/s", rate: true},
					{name: "kgents_stripe_webhook_latency_seconds_sum", over: "kgents_stripe_webhook_latency_seconds_count", title: "mean latency", unit: "seconds"},
				}}),
			},
		},
	}
}

func (w *world) seeWebhooks(ctx context.Context, c *tree.Call) (tree.Value, error) {
	m, err := w.Metrics(ctx)
	if err != nil {
		return tree.Value{}, err
	}
	p99 := m.Quantile("kgents_stripe_webhook_latency_seconds", 0.99)
	v := tree.Value{Title: "Stripe's webhooks", State: w.limits.verdict("HighWebhookLatency", p99)}
	for _, one := range []struct{ name, metric string }{
		{"received", "kgents_stripe_webhooks_received_total"}, {"processed", "kgents_stripe_webhooks_processed_total"},
		{"skipped", "kgents_stripe_webhooks_skipped_total"}, {"refused", "kgents_stripe_webhooks_errors_total"},
	} {
		n := m.Count(one.metric)
		if n == nil && m["kgents_stripe_webhook_latency_seconds"] != nil {
			n = int64(0) // the process receives webhooks, and there was none of these yet
		}
		v.Add(one.name, n, "")
	}
	w.signatures(&v, m, c.Now())
	v.Add("half answered within", seconds(m.Quantile("kgents_stripe_webhook_latency_seconds", 0.5)), "")
	add(&v, "99 % answered within", seconds(p99), "", v.State, "alert HighWebhookLatency past 5 s")
	add(&v, "duplicates", m.Count("kgents_events_duplicate_total"), "", "", "of all events, webhooks among them")
	v.Table = &tree.Table{Columns: []tree.Column{{Name: "outcome"}, {Name: "what"}, {Name: "count"}}}
	for _, one := range []struct{ outcome, metric, label string }{
		{"received", "kgents_stripe_webhooks_received_total", "type"},
		{"processed", "kgents_stripe_webhooks_processed_total", "type"},
		{"skipped", "kgents_stripe_webhooks_skipped_total", "reason"},
		{"refused", "kgents_stripe_webhooks_errors_total", "reason"},
	} {
		for _, by := range sorted(m.By(one.metric, one.label)) {
			v.Table.Rows = append(v.Table.Rows, []any{one.outcome, by.key, int64(by.value)})
		}
	}
	v.Note("Counted since the program's start, of this process.")
	v.Then("world.stripe.webhooks.witness", "their last hour")
	v.Then("concept.alerts.StripeSignatureFailures.define", "what to do about bad signatures")
	return v, nil
}

// signatureWindow and signatureFailures are the alert StripeSignatureFailures': so many
// within that time speak of our secret or clock.
const (
	signatureWindow   = 10 * time.Minute
	signatureFailures = 5
)

// signatures says of a process that is younger than the alert's window whether its
// refused signatures are as many as fire it: what was counted since the start is the
// increase then. Of an older one the counter says nothing about now.
func (w *world) signatures(v *tree.Value, m living.Metrics, now time.Time) {
	started, ok := number(m.Sum("process_start_time_seconds"))
	if !ok || now.Sub(time.Unix(int64(started), 0)) > signatureWindow {
		return
	}
	bad := 0.0
	for _, by := range sorted(m.By("kgents_stripe_webhooks_errors_total", "reason")) {
		if by.key == "bad_signature" || by.key == "timestamp" || by.key == "no_secret" {
			bad += by.value
		}
	}
	if bad > signatureFailures {
		v.State = living.Worse(v.State, tree.Warn)
		add(v, "bad signatures", int64(bad), "", tree.Warn, "since the start; alert StripeSignatureFailures past 5 in 10 minutes")
	}
}
