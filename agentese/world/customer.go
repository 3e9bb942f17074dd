package world

import (
	"context"
	"net/url"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/api/client"
	"github.com/kgents/kgents/customer"
	"github.com/kgents/kgents/subscription"
)

// oneCustomer is the template of one customer with what is below it.
func oneCustomer(from *living.Sources) *tree.Node {
	return &tree.Node{
		Name: "customer", Line: "one customer: its plan, its status, and why",
		Doc: `One customer, with the plan that it has now, the status of its subscription, its billing period and why it is so, event by event of Stripe's. ` +
			`It comes from GET /v1/customers/{id} and its explanation. past_due means a failed payment whose grace runs, unpaid that the grace is over and the plan has fallen to the default. ` +
			`A plan with an override was set by the operator, whatever is paid. If the plan looks wrong, witness shows each of Stripe's events that counted and what it did.`,
		Synonyms: []string{
			"client", "account", "tenant", "subscriber", "one customer", "customer profile", "account details", "customer record", "company", "payer", "buyer", "organization",
		},
		Affords: []tree.Affordance{
			{
				Aspect: agentese.Manifest, Line: "plan, status, period, and why",
				Asks: []string{
					"tell me about acme", "what plan is acme on", "does this customer pay", "is acme active", "what is the status of customer acme", "show the account of acme",
					"why is acme on the free plan", "when does their period end", "is this customer in a trial", "look up a customer", "customer says they paid but are on free",
					"did acme cancel", "how is acme doing",
				},
				Examples: []tree.Example{{Expr: "world.customers.acme.manifest", Line: "the customer acme"}},
				See:      func(ctx context.Context, c *tree.Call) (tree.Value, error) { return seeCustomer(ctx, from, c) },
			},
			{
				Aspect: agentese.Witness, Line: "what Stripe has told of it, event by event, and what each did",
				Asks: []string{
					"history of acme", "what happened to acme's subscription", "why did their plan change", "when did acme upgrade", "when did the payment fail",
					"billing history of a customer", "explain the plan event by event", "which stripe event downgraded them", "subscription events of acme", "when did they sign up",
				},
				Examples: []tree.Example{{Expr: "world.customers.acme.witness", Line: "why acme has its plan, event by event"}},
				See:      func(ctx context.Context, c *tree.Call) (tree.Value, error) { return seeWhy(ctx, from, c) },
			},
		},
		Children: []*tree.Node{
			customerUsage(from), customerLimits(from), customerKeys(from), customerInvoice(from), customerSubscription(from), customerAlerts(from),
		},
	}
}

// showCustomer is one as it is listed.
func showCustomer(one customer.CustomerView) tree.Value {
	title := one.ID
	if one.Name != "" {
		title += ": " + one.Name
	}
	v := tree.Value{Title: title, State: standingState(one.Standing.Status)}
	addStanding(&v, one.Standing)
	if one.Override != "" {
		v.Fields = append(v.Fields, tree.Field{Name: "override", Value: one.Override, Note: "set by the operator, whatever is paid"})
	}
	v.Add("stripe", one.Stripe, "").Add("created", one.Created, "")
	if one.Found {
		v.Note("Nobody has claimed this Stripe customer yet: its id is Stripe's.")
	}
	return v
}

func seeCustomer(ctx context.Context, from *living.Sources, c *tree.Call) (tree.Value, error) {
	api := from.For(c)
	one, err := getCustomer(ctx, api, c.Name("customer"))
	if err != nil {
		return tree.Value{}, err
	}
	v := showCustomer(one)
	why, err := explain(ctx, api, one.ID)
	if err != nil {
		v.Note("Why it is so can't be told now: " + err.Error())
	}
	for _, s := range why.Why {
		if s.Event == "" || s.Event == "override" {
			v.Text += s.Text + "\n"
		}
	}
	below := "world.customers." + agentese.QuoteName(one.ID)
	v.Then(below+".witness", "why, event by event")
	v.Then(below+".limits.manifest", "what it may use, and has used")
	v.Then(below+".invoice.manifest", "what it will pay")
	return v, nil
}

func explain(ctx context.Context, api *client.Client, id string) (s subscription.Standing, err error) {
	at, err := segment("customer", id)
	if err != nil {
		return s, err
	}
	err = api.Get(ctx, "/v1/customers/"+at+"/explain", url.Values{}, &s)
	return s, living.Away("customer "+agentese.QuoteName(id), err)
}

func seeWhy(ctx context.Context, from *living.Sources, c *tree.Call) (tree.Value, error) {
	s, err := explain(ctx, from.For(c), c.Name("customer"))
	if err != nil {
		return tree.Value{}, err
	}
	v := tree.Value{Title: "Why " + c.Name("customer") + " has the plan " + s.Plan, State: standingState(s.Status), Table: &tree.Table{Columns: []tree.Column{
		{Name: "at"}, {Name: "event", Link: "world.stripe.events.{}"}, {Name: "type"}, {Name: "subscription"}, {Name: "text"},
	}}}
	addStanding(&v, s)
	for _, step := range s.Why {
		var at any
		if !step.At.IsZero() {
			at = step.At
		}
		v.Table.Rows = append(v.Table.Rows, []any{at, step.Event, step.Type, step.Subscription, step.Text})
	}
	return v, nil
}
