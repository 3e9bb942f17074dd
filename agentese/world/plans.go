package world

import (
	"context"
	"strings"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/api/client"
	"github.com/kgents/kgents/plan"
	"github.com/kgents/kgents/term"
)

// plans is what is sold.
func plans(from *living.Sources) *tree.Node {
	return &tree.Node{
		Name: "plans", Line: "the plans that are sold: prices and limits",
		Doc: `The plans in force, from the smallest to the largest, with their prices, what each includes of every feature, what happens past a limit (refused, or billed as overage), and the rate of requests. ` +
			`They come from the plans' file that the program has read last (GET /v1/plans); a change of that file shows within seconds, and one with a mistake is refused as a whole. ` +
			`If what stands here isn't what you wrote, look for the refused file in world.alerts and with 'kgents plans --validate'.`,
		Synonyms: []string{
			"pricing", "prices", "tiers", "packages", "price list", "subscriptions we sell", "products", "offers", "free pro teams", "catalog", "catalogue", "what we charge", "plan limits", "pricing page",
		},
		Affords: []tree.Affordance{{
			Aspect: agentese.Manifest, Line: "all plans with price and limits",
			Asks: []string{
				"what plans do we sell", "what does pro cost", "show the price list", "pricing", "what is in the free plan", "which plan has the most tokens", "compare plans",
				"what are the limits of each plan", "how much is a subscription", "which tiers are there", "what does overage cost", "how long is the trial", "how many days of grace after a failed payment",
			},
			Examples: []tree.Example{{Expr: "world.plans.manifest", Line: "what is sold"}},
			See:      func(ctx context.Context, c *tree.Call) (tree.Value, error) { return seePlans(ctx, from, c) },
		}},
		Live: &tree.Live{
			Node: onePlan(from), Fold: true,
			List: func(ctx context.Context, c *tree.Call) ([]tree.Entry, error) {
				v, err := getPlans(ctx, from.For(c))
				if err != nil {
					return nil, err
				}
				var out []tree.Entry
				for _, p := range v.Plans {
					out = append(out, tree.Entry{Name: p.ID, Line: p.Name})
				}
				return out, nil
			},
		},
	}
}

func onePlan(from *living.Sources) *tree.Node {
	return &tree.Node{
		Name: "plan", Line: "one plan: its prices, its limits, and what else it has",
		Doc: `One of the plans that are sold: each price with its interval and Stripe's lookup key, for each feature the limit, in which time it is counted, and what happens past it, the rate of requests a minute past which the answer is 429, and the perks. ` +
			`It comes from the plans' file in force, by GET /v1/plans. The first price of an interval is the one that is sold; others are of earlier customers who keep theirs.`,
		Synonyms: []string{"tier", "package", "one plan", "price", "subscription plan", "product", "offer", "plan details", "plan limits"},
		Affords: []tree.Affordance{{
			Aspect: agentese.Manifest, Line: "its prices, limits and perks",
			Asks: []string{
				"what does the pro plan include", "how much is teams", "limits of the free plan", "what do you get with pro", "how many tokens has pro", "rate limit of the free plan",
				"yearly price of pro", "overage price", "which perks has teams", "how many towns does pro allow",
			},
			Examples: []tree.Example{{Expr: "world.plans.pro.manifest", Line: "the plan pro"}},
			See:      func(ctx context.Context, c *tree.Call) (tree.Value, error) { return seePlan(ctx, from, c) },
		}},
	}
}

func getPlans(ctx context.Context, api *client.Client) (v plan.View, err error) {
	err = api.Get(ctx, "/v1/plans", nil, &v)
	return v, living.Away("the list of plans", err)
}

func findPlan(ctx context.Context, api *client.Client, id string) (plan.PlanView, error) {
	v, err := getPlans(ctx, api)
	if err != nil {
		return plan.PlanView{}, err
	}
	var names []string
	for _, p := range v.Plans {
		if strings.EqualFold(p.ID, id) {
			return p, nil
		}
		names = append(names, p.ID)
	}
	return plan.PlanView{}, &agentese.Error{Kind: agentese.KindNotFound, What: "there is no plan " + agentese.QuoteName(id), Why: "there are " + strings.Join(names, ", ")}
}

func seePlans(ctx context.Context, from *living.Sources, c *tree.Call) (tree.Value, error) {
	all, err := getPlans(ctx, from.For(c))
	if err != nil {
		return tree.Value{}, err
	}
	v := tree.Value{Title: "Plans", State: tree.Well}
	v.Add("currency", all.Currency, "").Add("default plan", all.Default, "").Add("trial", all.TrialDays, "days").Add("grace after a failed payment", all.GraceDays, "days")
	t := &tree.Table{Columns: []tree.Column{{Name: "plan", Link: "world.plans.{}"}, {Name: "name"}, {Name: "month", Unit: "money:" + all.Currency}, {Name: "year", Unit: "money:" + all.Currency}}}
	for _, f := range all.Features {
		t.Columns = append(t.Columns, tree.Column{Name: f.ID})
	}
	t.Columns = append(t.Columns, tree.Column{Name: "requests a minute"})
	for _, p := range all.Plans {
		row := []any{p.ID, p.Name, priceOf(p, "month"), priceOf(p, "year")}
		for _, f := range all.Features {
			text := any("")
			for _, l := range p.Limits {
				if l.Feature == f.ID {
					text = limitText(l, all.Currency)
				}
			}
			row = append(row, text)
		}
		t.Rows = append(t.Rows, append(row, limitOf(p.Rate.PerMinute.Limit)))
	}
	v.Table = t
	v.Then("world.customers.manifest", "who is on which plan")
	return v, nil
}

// priceOf is the price that is sold for an interval; a plan without prices is free, one
// without such a price has none.
func priceOf(p plan.PlanView, interval string) any {
	for _, price := range p.Prices {
		if price.Interval == interval {
			return price.Amount
		}
	}
	if len(p.Prices) == 0 {
		return int64(0)
	}
	return ""
}

func limitText(l plan.LimitView, currency string) string {
	text := l.Limit.String()
	if !l.Limit.Unlimited() {
		text = term.Number(float64(l.Limit.N()))
	}
	if l.Per == "day" {
		text += " a day"
	}
	if l.Overage != nil {
		text += ", then " + term.Money(float64(l.Overage.Amount), currency) + " for " + term.Number(float64(l.Overage.Per))
	}
	return text
}

func seePlan(ctx context.Context, from *living.Sources, c *tree.Call) (tree.Value, error) {
	api := from.For(c)
	all, err := getPlans(ctx, api)
	if err != nil {
		return tree.Value{}, err
	}
	p, err := findPlan(ctx, api, c.Name("plan"))
	if err != nil {
		return tree.Value{}, err
	}
	v := tree.Value{Title: "The plan " + p.Name, State: tree.Well}
	v.Add("id", p.ID, "").Add("default", p.ID == all.Default, "")
	if len(p.Prices) == 0 {
		v.Add("price", "free", "")
	}
	for _, price := range p.Prices {
		v.Fields = append(v.Fields, tree.Field{Name: "a " + price.Interval, Value: price.Amount, Unit: "money:" + all.Currency, Note: price.LookupKey})
	}
	v.Add("requests a minute", limitOf(p.Rate.PerMinute.Limit), "").Add("requests at once", p.Rate.Burst, "")
	v.Table = &tree.Table{Columns: []tree.Column{{Name: "feature"}, {Name: "limit"}, {Name: "per"}, {Name: "past it"}, {Name: "overage", Unit: "money:" + all.Currency}, {Name: "for units"}}}
	for _, l := range p.Limits {
		per := l.Per
		if per == "" {
			per = "at any time"
		}
		row := []any{l.Feature, limitOf(l.Limit.Limit), per, l.Over, "", ""}
		if l.Overage != nil {
			row[4], row[5] = l.Overage.Amount, l.Overage.Per
		}
		v.Table.Rows = append(v.Table.Rows, row)
	}
	for _, perk := range p.Perks {
		v.Text += "- " + perk + "\n"
	}
	v.Then("world.customers.manifest[plan="+agentese.QuoteName(p.ID)+"]", "who has it")
	return v, nil
}
