package world

import (
	"context"
	"time"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/invoice"
)

func customerInvoice(from *living.Sources) *tree.Node {
	return &tree.Node{
		Name: "invoice", Line: "the preview of one customer's next invoice, with overage",
		Doc: `What one customer will pay for its billing period: the plan's price, what of its limits was used, and the price of what is past them. ` +
			`It is computed from the plan and from what the meter says (GET /v1/invoice): every amount is a whole number of the currency's minor unit, a line is rounded once, and the total is the sum of the lines. ` +
			`It is no invoice: tax, discounts and the share of a plan that was changed are Stripe's. When the meter is away there is no preview rather than one that is too low.`,
		Synonyms: []string{
			"bill", "next bill", "amount due", "charges", "overage", "cost", "what they owe", "billing preview", "receipt", "revenue of a customer", "extra charges", "money owed",
		},
		Affords: []tree.Affordance{{
			Aspect: agentese.Manifest, Line: "its lines and total",
			Asks: []string{
				"what will acme pay", "next invoice of acme", "how much does the customer owe", "why is the bill so high", "how much overage has acme", "preview the invoice",
				"what did acme pay last month", "customer disputes the invoice", "what are we going to charge them", "cost so far this month", "explain the bill", "how is the invoice made up",
			},
			Params: []tree.Param{{Key: "at", Line: "a time in the period; without it now", Kind: tree.Time}},
			Examples: []tree.Example{
				{Expr: "world.customers.acme.invoice.manifest", Line: "what acme pays for this period"},
				{Expr: "world.customers.acme.invoice.manifest[at=30d]", Line: "and for the one of 30 days ago"},
			},
			See: func(ctx context.Context, c *tree.Call) (tree.Value, error) { return seeInvoice(ctx, from, c) },
		}},
	}
}

func seeInvoice(ctx context.Context, from *living.Sources, c *tree.Call) (tree.Value, error) {
	query := customerOf(c)
	if c.Args.Has("at") {
		query.Set("at", c.Args.Time("at").UTC().Format(time.RFC3339))
	}
	var inv invoice.Invoice
	if err := from.For(c).Get(ctx, "/v1/invoice", query, &inv); err != nil {
		return tree.Value{}, living.Away("the invoice of "+agentese.QuoteName(c.Name("customer")), err)
	}
	money := "money:" + inv.Currency
	v := tree.Value{Title: "What " + inv.Customer + " pays", State: tree.Well}
	v.Add("total", inv.Total, money)
	overage := int64(0)
	t := &tree.Table{Columns: []tree.Column{{Name: "kind"}, {Name: "text"}, {Name: "quantity"}, {Name: "unit"}, {Name: "limit"}, {Name: "limit_per"}, {Name: "price", Unit: money}, {Name: "per"}, {Name: "amount", Unit: money}, {Name: "from"}, {Name: "to"}}}
	for _, l := range inv.Lines {
		limit := any("")
		if l.Limit != nil {
			limit = limitOf(l.Limit.Limit)
		}
		if l.Kind == invoice.KindOverage {
			overage += l.Amount
		}
		t.Rows = append(t.Rows, []any{l.Kind, l.Text, l.Quantity, l.Unit, limit, l.LimitPer, l.Price, l.Per, l.Amount, l.From, l.To})
	}
	v.Add("of it overage", overage, money).Add("plan", inv.Plan, "").Add("from", inv.From, "").Add("to", inv.To, "").
		Add("counted_to", inv.CountedTo, "").Add("complete", inv.Complete, "").Add("trial", inv.Trial, "")
	v.Table, v.Notes = t, inv.Notes
	v.Then("world.customers."+agentese.QuoteName(inv.Customer)+".usage.manifest[by=day]", "what was used, by day")
	return v, nil
}
