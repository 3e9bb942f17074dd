package world

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/invoice"
)

func customerUsage(from *living.Sources) *tree.Node {
	return &tree.Node{
		Name: "usage", Line: "what one customer has used in its billing period",
		Doc: `What the meters that plans limit have counted of one customer: tokens, interactions, API calls. ` +
			`Without from it begins with the customer's billing period, without to it ends now; times are cut to the minute. The figures come from the meter (OpenMeter) by GET /v1/usage, so an event that was just sent shows after the next flush. ` +
			`When the meter is away nothing is shown rather than a number that is too low. If less is counted than was sent, compare with world.openmeter.reconciliation.`,
		Synonyms: []string{
			"consumption", "metered usage", "tokens used", "usage report", "spend", "counted events", "activity", "how much they used", "meter readings", "api calls made", "volume",
		},
		Affords: []tree.Affordance{{
			Aspect: agentese.Manifest, Line: "what was counted, by meter and, if asked for, by hour, day or month",
			Asks: []string{
				"what has acme used", "how many tokens did acme use this month", "usage of a customer", "how much did they consume", "show usage by day for acme",
				"how many api calls did they make yesterday", "is acme using us at all", "usage between two dates", "token consumption this period", "why is their usage so high",
				"customer disputes the usage", "did their events get counted", "interactions of acme last week",
			},
			Params: []tree.Param{
				{Key: "from", Line: "the begin; without it the billing period's", Kind: tree.Time},
				{Key: "to", Line: "the end, not included; without it now", Kind: tree.Time},
				{Key: "meter", Line: "only this meter"},
				{Key: "by", Line: "split by this time", Values: []string{"hour", "day", "month"}},
			},
			Examples: []tree.Example{
				{Expr: "world.customers.acme.usage.manifest", Line: "what acme has used in this period"},
				{Expr: "world.customers.acme.usage.manifest[from=7d][by=day]", Line: "day by day for a week"},
			},
			See: func(ctx context.Context, c *tree.Call) (tree.Value, error) { return seeUsage(ctx, from, c) },
		}},
	}
}

func seeUsage(ctx context.Context, from *living.Sources, c *tree.Call) (tree.Value, error) {
	query := customerOf(c)
	for _, key := range []string{"from", "to"} {
		if c.Args.Has(key) {
			query.Set(key, c.Args.Time(key).UTC().Format(time.RFC3339))
		}
	}
	for _, key := range []string{"meter", "by"} {
		if value := c.Args.Get(key); value != "" {
			query.Set(key, value)
		}
	}
	var u invoice.Usage
	if err := from.For(c).Get(ctx, "/v1/usage", query, &u); err != nil {
		return tree.Value{}, living.Away("the usage of "+agentese.QuoteName(c.Name("customer")), err)
	}
	v := tree.Value{Title: "What " + u.Customer + " has used", State: tree.Well}
	v.Add("from", u.From, "").Add("to", u.To, "")
	sums, units := map[string]float64{}, map[string]string{}
	t := &tree.Table{Columns: []tree.Column{{Name: "meter"}, {Name: "from"}, {Name: "to"}, {Name: "value"}, {Name: "unit"}}}
	for _, r := range u.Rows {
		sums[r.Meter] += r.Value
		units[r.Meter] = r.Unit
		t.Rows = append(t.Rows, []any{r.Meter, r.From, r.To, r.Value, r.Unit})
	}
	for _, m := range slices.Sorted(maps.Keys(sums)) {
		v.Add(m, sums[m], units[m]+"s")
	}
	v.Table = t
	if len(u.Rows) == 0 {
		v.Note("Nothing was counted in this time.")
	}
	v.Then("world.customers."+agentese.QuoteName(u.Customer)+".limits.manifest", "used of what is allowed")
	v.Then("world.openmeter.events.manifest[customer="+agentese.QuoteName(u.Customer)+"]", "the newest events that were counted")
	return v, nil
}
