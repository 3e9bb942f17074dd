package concept

import (
	"context"
	"strings"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/docs/saas"
)

func plansNode() *tree.Node {
	return &tree.Node{
		Name: "plans",
		Line: "what the words of plans mean: plan, feature, limit, overage, grace, period, entitlement",
		Doc: "The definitions by which customers are billed and limited, in the words of docs/saas/plans.md, subscriptions.md and entitlements.md: what a feature, a limit, an overage and a rate are, when a period begins anew, how long the grace after a failed payment lasts, and what may be asked of entitlements. " +
			"The plans that are sold now, with their figures, are world.plans; this is what the words mean.",
		Synonyms: []string{"definitions", "pricing terms", "glossary", "billing terms", "overage", "grace period", "entitlement", "limit", "quota rules", "what counts", "billing period", "hard limit", "soft limit"},
		Affords: []tree.Affordance{{
			Aspect: agentese.Manifest, Line: "each word with what it means",
			Asks: []string{
				"what is overage", "what does grace mean", "how long is the grace period", "what is a hard limit", "what is the difference between hard and soft limits", "when does the period start over",
				"what is an entitlement", "what is a feature in a plan", "how is overage charged", "what happens when a payment fails", "what does past due mean", "how do limits work", "what is rounding on the invoice", "does unlimited mean unlimited",
			},
			Examples: []tree.Example{
				{Expr: "concept.plans.manifest", Line: "all words"},
				{Expr: "concept.plans.manifest[word=overage]", Line: "one in full"},
			},
			Params: []tree.Param{{Key: "word", Line: "only this one, in full", Values: words()}},
			See:    definitions,
		}},
	}
}

// definition says where a word is defined. The first sentence there that is no table
// is what a list shows, unless short says it better.
type definition struct {
	word, document, anchor string
	short                  string
}

var defined = []definition{
	{"plan", saas.Plans, "a-plan", "What a customer is sold: prices, a rate, limits by feature, and perks"},
	{"feature", saas.Plans, "a-feature", "What plans limit: something that a meter counts, or that exists, such as seats"},
	{"price", saas.Plans, "a-price", "An amount by the month or the year, which Stripe knows by its lookup key"},
	{"rate", saas.Plans, "a-rate", "How many requests a customer may make in a minute; past it the answer is 429"},
	{"limit", saas.Plans, "a-limit", "How much of a feature is in a plan: hard (past it is refused) or soft (past it is billed)"},
	{"overage", saas.Plans, "an-overage", "What is past a soft limit, and its price by the share"},
	{"period", saas.Subscriptions, "periods", "The month over which limits are counted, by the subscription or the calendar"},
	{"grace", saas.Subscriptions, "the-grace", "The time after a failed payment in which the plan stays"},
	{"status", saas.Subscriptions, "what-a-status-means", "How a subscription stands, mostly in Stripe's words, and which plan that gives"},
	{"cancellation", saas.Subscriptions, "cancellations", "The end of a subscription: the plan stays until its time"},
	{"entitlement", saas.Entitlements, "may-it", "Whether a customer may use more of a feature now, and why"},
	{"alert", saas.Entitlements, "usage-alerts", "The message that a customer has reached a percent of a limit"},
	{"invoice", saas.Plans, "what-it-comes-to", "The preview of what a customer pays for the period under way"},
}

func words() []string {
	var out []string
	for _, d := range defined {
		out = append(out, d.word)
	}
	return out
}

func definitions(_ context.Context, c *tree.Call) (tree.Value, error) {
	v := tree.Value{Title: "What the words of plans mean", Table: &tree.Table{Columns: []tree.Column{{Name: "word"}, {Name: "means"}, {Name: "page"}}}}
	for _, d := range defined {
		s, ok := saas.Find(d.document, d.anchor)
		if !ok {
			continue // a test has every word found
		}
		page := "docs/saas/" + d.document + "#" + d.anchor
		if d.word == c.Args.Get("word") {
			one := tree.Value{Title: strings.ToUpper(d.word[:1]) + d.word[1:] + ": " + d.short, Text: s.Body}
			one.Add("page", page, "")
			one.Then("world.plans.manifest", "the plans that are sold")
			return one, nil
		}
		v.Table.Rows = append(v.Table.Rows, []any{d.word, d.short, page})
	}
	v.Then("world.plans.manifest", "the plans that are sold")
	v.Then("world.customers.manifest", "who has which")
	return v, nil
}
