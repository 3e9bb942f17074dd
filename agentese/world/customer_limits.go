package world

import (
	"context"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/entitle"
)

func customerLimits(from *living.Sources) *tree.Node {
	return &tree.Node{
		Name: "limits", Line: "what one customer may use: used of allowed, and what is refused",
		Doc: `The entitlements of one customer: for each feature of its plan what was used in the period, what the plan allows, what is left, and what happens past the limit: refused with 402, or billed as overage. ` +
			`Answered from memory by GET /v1/entitlements; what is used shows within a second. The plan's rate of requests a minute, past which the answer is 429, stands with it. ` +
			`A feature that is refused is an error here: the customer waits for the period to end, or takes one of the plans that would allow it. stale means that the meter could not be asked, so used may be too low. ` +
			`No customer has a limit of its own: for more it takes another plan, or the operator sets one whatever is paid (PATCH /v1/customers/{id} with override), which stays until it is taken away.`,
		Synonyms: []string{
			"quota", "quotas", "entitlements", "allowance", "caps", "rate limit", "remaining", "what is left", "402", "429", "payment required", "too many requests", "limit reached", "over quota", "credits left", "throttled",
		},
		Affords: []tree.Affordance{{
			Aspect: agentese.Manifest, Line: "used of allowed, by feature, and the rate of requests",
			Asks: []string{
				"is acme over its limit", "how much has acme left", "why does acme get 402", "why is the customer refused", "customer gets 429 too many requests", "quota of a customer",
				"what may acme still use", "when does the limit reset", "payment required error for a customer", "how many tokens are left", "why is acme blocked",
				"rate limit of acme", "are they near the limit", "when can they use it again",
			},
			Params: []tree.Param{{Key: "feature", Line: "only this feature, for example tokens"}},
			Examples: []tree.Example{
				{Expr: "world.customers.acme.limits.manifest", Line: "all limits of acme"},
				{Expr: "world.customers.acme.limits.manifest[feature=tokens]", Line: "its tokens"},
			},
			See: func(ctx context.Context, c *tree.Call) (tree.Value, error) { return seeLimits(ctx, from, c) },
		}},
	}
}

// percentOf is used in percent of a limit; nil without one.
func percentOf(used int64, limit kgents.Limit) any {
	switch {
	case limit.Unlimited():
		return nil
	case limit.N() == 0:
		if used == 0 {
			return nil
		}
		return 100.0
	}
	return float64(used) * 100 / float64(limit.N())
}

func seeLimits(ctx context.Context, from *living.Sources, c *tree.Call) (tree.Value, error) {
	api, id := from.For(c), c.Name("customer")
	query := customerOf(c)
	if f := c.Args.Get("feature"); f != "" {
		query.Set("feature", f)
	}
	var out struct{ Entitlements []entitle.Entitlement }
	if err := api.Get(ctx, "/v1/entitlements", query, &out); err != nil {
		return tree.Value{}, living.Away("the limits of "+agentese.QuoteName(id), err)
	}
	v := tree.Value{Title: "What " + id + " may use", State: tree.Well, Table: &tree.Table{Columns: []tree.Column{
		{Name: "feature"}, {Name: "used"}, {Name: "limit"}, {Name: "percent", Unit: "percent"}, {Name: "left"}, {Name: "past it"}, {Name: "resets_at"}, {Name: "state"}, {Name: "why"},
	}}}
	plan := ""
	for _, e := range out.Entitlements {
		plan = e.Plan
		state := tree.Well
		percent := percentOf(e.Used, e.Limit.Limit)
		switch f, _ := percent.(float64); {
		case e.Reason == string(entitle.ReasonLimit):
			state = tree.Bad
		case f >= 80 && e.Over != string(kgents.OverBill):
			state = tree.Warn
		}
		// What exists is counted by who asks: none is named here.
		used, left, why := any(e.Used), limitOf(e.Left.Limit), e.Text
		if e.ResetsAt == nil {
			used, percent, left, why = nil, nil, nil, "counted where one is made"
		}
		v.State = worse(v.State, state)
		var resets any
		if e.ResetsAt != nil {
			resets = *e.ResetsAt
		}
		v.Table.Rows = append(v.Table.Rows, []any{e.Feature, used, limitOf(e.Limit.Limit), percent, left, e.Over, resets, state, why})
		if e.Stale {
			v.State = worse(v.State, tree.Warn)
			v.Notes = []string{"The meter or the stream could not be asked for a while: what was used may be more."}
		}
		for _, u := range e.Upgrade {
			if !e.Allowed && e.Reason == string(entitle.ReasonLimit) {
				v.Then("world.customers."+agentese.QuoteName(id)+".subscription.refine[do=change][plan="+agentese.QuoteName(u.Plan)+"]", "the plan "+u.Name+" would allow "+e.Feature)
				break
			}
		}
	}
	v.Add("plan", plan, "")
	if p, err := findPlan(ctx, api, plan); err == nil {
		v.Add("requests a minute", limitOf(p.Rate.PerMinute.Limit), "").Add("requests at once", p.Rate.Burst, "")
	}
	v.Then("world.customers."+agentese.QuoteName(id)+".usage.manifest", "what was counted")
	return v, nil
}

// limitOf is a limit as a figure, or the word unlimited.
func limitOf(l kgents.Limit) any {
	if l.Unlimited() {
		return kgents.Unlimited
	}
	return l.N()
}
