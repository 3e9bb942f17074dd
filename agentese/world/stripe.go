package world

import (
	"context"
	"time"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
)

// bridge is what /webhooks/stripe/health says.
type bridge struct {
	Status    string     `json:"status"`
	Secrets   int64      `json:"secrets"`
	Processed int64      `json:"processed"`
	Skipped   int64      `json:"skipped"`
	Failed    int64      `json:"failed"`
	Last      *time.Time `json:"last_processed"`
}

func (w *world) stripe() *tree.Node {
	return &tree.Node{
		Name: "stripe",
		Line: "the bridge to Stripe: webhooks in, subscriptions applied, overage out",
		Doc: "Stripe tells of payments and subscriptions by signed webhooks to POST /webhooks/stripe; each is verified, made durable and answered, and then metered and applied to the customer it is about. " +
			"Shown is whether a signing secret is set, when the last webhook came and what became of those since the start, from /webhooks/stripe/health. " +
			"Without a secret every webhook is refused, and Stripe tries again for three days. A long time without any may mean that the endpoint at Stripe is off: look there under Developers, Webhooks.",
		Synonyms: []string{"payments", "billing provider", "payment provider", "stripe bridge", "webhook endpoint", "stripe integration", "checkout", "subscriptions", "invoices", "psp", "card payments"},
		Affords: []tree.Affordance{{
			Aspect: agentese.Manifest, Line: "is a secret set, when did the last webhook come, and what became of them",
			Asks: []string{
				"is stripe connected", "is the stripe integration working", "when did the last webhook arrive", "is the webhook secret set", "do payments come through", "stripe status",
				"why do payments not show up", "is billing working", "do we hear from stripe", "how many webhooks failed", "is stripe configured", "stripe is quiet",
			},
			Examples: []tree.Example{{Expr: "world.stripe.manifest", Line: "whether Stripe reaches us"}},
			See:      w.seeStripe,
		}},
		Children: []*tree.Node{w.webhooks(), w.stripeEvents(), w.subscriptions()},
	}
}

func (w *world) seeStripe(ctx context.Context, c *tree.Call) (tree.Value, error) {
	var b bridge
	if err := w.For(c).Get(ctx, "/webhooks/stripe/health", nil, &b); err != nil {
		return tree.Value{}, living.Away("the Stripe bridge", err)
	}
	v := tree.Value{Title: "The bridge to Stripe", State: stateOf(b.Status, "")}
	add(&v, "status", b.Status, "", v.State, "")
	add(&v, "signing secrets", b.Secrets, "", v.State, "set STRIPE_WEBHOOK_SECRET")
	if b.Secrets > 0 {
		v.Fields[1].Note = ""
	}
	if b.Last != nil {
		v.Add("last webhook", *b.Last, "").Add("ago", c.Now().Sub(*b.Last), "")
	} else {
		add(&v, "last webhook", nil, "", "", "none since the start")
	}
	v.Add("processed", b.Processed, "").Add("skipped", b.Skipped, "").Add("failed", b.Failed, "")
	v.Note("Counted since the program's start, of this process.")
	v.Then("world.stripe.webhooks.manifest", "webhooks by type and by why they were refused")
	v.Then("world.stripe.subscriptions.manifest", "whether subscriptions are applied")
	return v, nil
}
