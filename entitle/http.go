package entitle

import (
	"context"
	"net/http"
	"time"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/api"
)

// Entitlement is an Answer as it is shown.
type Entitlement struct {
	Customer string     `json:"customer" doc:"Whom it is about" example:"acme"`
	Plan     string     `json:"plan" doc:"Id of the plan in force" example:"free"`
	Feature  string     `json:"feature" doc:"Id of the feature" example:"tokens"`
	Allowed  bool       `json:"allowed" doc:"Whether the amount asked for may be used now"`
	Used     int64      `json:"used" doc:"What has been used in the period, or exists"`
	Limit    api.Limit  `json:"limit" doc:"What the plan allows"`
	Left     api.Limit  `json:"left" doc:"What may be used beyond that now"`
	Over     string     `json:"over,omitempty" enum:"refuse,bill" doc:"What happens past the limit"`
	Excess   int64      `json:"excess" doc:"How much of used is past the limit"`
	ResetsAt *time.Time `json:"resets_at,omitempty" doc:"When used begins at 0 again; absent for what exists rather than is used"`
	Reason   string     `json:"reason" enum:"within_limit,unlimited,overage_billed,limit_reached,not_in_plan" doc:"Why"`
	Text     string     `json:"text" doc:"Why, in a sentence for people"`
	Stale    bool       `json:"stale" doc:"Whether the meter or the stream could not be asked for a while, so that used may be too low"`
	Upgrade  []Upgrade  `json:"upgrade" doc:"Plans that would allow it, smallest first; empty where it is allowed" nullable:"false"`
}

// Upgrade is an Option as it is shown.
type Upgrade struct {
	Plan     string         `json:"plan" doc:"Id of the plan" example:"pro"`
	Name     string         `json:"name" example:"Pro"`
	Limit    api.Limit      `json:"limit" doc:"What it allows"`
	Over     string         `json:"over,omitempty" enum:"refuse,bill" doc:"What happens past that"`
	Prices   []UpgradePrice `json:"prices" doc:"What it costs" nullable:"false"`
	Checkout string         `json:"checkout,omitempty" doc:"Where it can be bought; else POST /v1/billing/checkout gives a page"`
}

// UpgradePrice is a Price as it is shown.
type UpgradePrice Price

// ViewOf shows a.
func ViewOf(a Answer) Entitlement {
	v := Entitlement{
		Customer: a.Customer, Plan: a.Plan, Feature: a.Feature, Allowed: a.Allowed, Used: a.Used, Limit: api.Limit{Limit: a.Limit}, Left: api.Limit{Limit: a.Left},
		Over: string(a.Over), Reason: string(a.Reason), Text: a.Explain(), Stale: a.Stale, Upgrade: []Upgrade{},
	}
	if !a.Limit.Unlimited() {
		v.Excess = max(0, a.Used-a.Limit.N())
	}
	if !a.ResetsAt.IsZero() {
		v.ResetsAt = &a.ResetsAt
	}
	for _, o := range a.Upgrade {
		u := Upgrade{
			Plan: o.Plan, Name: o.Name, Limit: api.Limit{Limit: o.Limit}, Over: string(o.Over), Prices: []UpgradePrice{}, Checkout: o.Checkout,
		}
		for _, p := range o.Prices {
			u.Prices = append(u.Prices, UpgradePrice(p))
		}
		v.Upgrade = append(v.Upgrade, u)
	}
	return v
}

// EntitlementsIn are the parameters of GET /v1/entitlements.
type EntitlementsIn struct {
	Customer string `query:"customer" maxLength:"63" doc:"Whom it is about; an operator's key has to name one"`
	Feature  string `query:"feature" maxLength:"64" doc:"Id of a feature; absent: all of them"`
	Amount   int64  `query:"amount" minimum:"0" default:"1" doc:"How much more is asked for"`
	Existing int64  `query:"existing" minimum:"0" doc:"How many there are, of a feature without a meter; absent: none"`
}

// EntitlementsOut is its answer.
type EntitlementsOut struct {
	CacheControl string `header:"Cache-Control"`
	Body         struct {
		Entitlements []Entitlement `json:"entitlements" nullable:"false"`
	}
}

// Register adds the routes.
func (e *Engine) Register(a *api.API) {
	api.Handle(a, api.Route{
		Method: http.MethodGet, Path: "/v1/entitlements", Scope: kgents.ScopeRead, Tag: "Plans", ID: "list-entitlements",
		Summary: "What a customer may use",
		Detail: "For each feature, or one, whether `amount` more may be used now, what has been used, and when that begins anew. " +
			"Answered from memory; what is used shows within a second. It asks and reserves nothing.",
	}, e.list)
	api.Handle(a, api.Route{
		Method: http.MethodGet, Path: "/v1/entitlements/near", Scope: kgents.ScopeRead, Tag: "Plans", ID: "list-near-limits", OperatorOnly: true,
		Summary: "Who is over a limit, or near one",
		Detail: "Of all customers, those who have used `percent` of a limit of their plan, or more, of a feature with a meter; the nearest first. " +
			"`allowed` says whether one more may be used now. Answered from memory in one pass over the customers; it asks and reserves nothing.",
	}, e.near)
}

// NearIn are the parameters of GET /v1/entitlements/near.
type NearIn struct {
	Percent int `query:"percent" minimum:"1" maximum:"1000" default:"80" doc:"From how much of a limit on, in percent"`
	Limit   int `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"How many at most"`
}

// NearOut is its answer.
type NearOut struct {
	CacheControl string `header:"Cache-Control"`
	Body         NearPage
}

// NearPage is a Near as it is shown.
type NearPage struct {
	Near   []Entitlement `json:"near" doc:"The nearest first" nullable:"false"`
	Total  int           `json:"total" doc:"How many there are, of which these are the first"`
	Looked int           `json:"looked" doc:"Customers that were looked at"`
	Stale  bool          `json:"stale" doc:"Whether for some the meter or the stream could not be asked, so that used may be too low"`
}

func (e *Engine) near(_ context.Context, _ kgents.Principal, in *NearIn) (*NearOut, error) {
	n := e.Near(in.Percent, in.Limit)
	out := &NearOut{CacheControl: "no-store", Body: NearPage{Near: []Entitlement{}, Total: n.Total, Looked: n.Looked, Stale: n.Stale}}
	for _, a := range n.Answers {
		out.Body.Near = append(out.Body.Near, ViewOf(a))
	}
	return out, nil
}

func (e *Engine) list(_ context.Context, caller kgents.Principal, in *EntitlementsIn) (*EntitlementsOut, error) {
	customer, err := caller.For(in.Customer)
	if err != nil {
		return nil, err
	}
	out := &EntitlementsOut{CacheControl: "no-store"}
	out.Body.Entitlements = []Entitlement{}
	features := []kgents.Feature{{ID: in.Feature}}
	if in.Feature == "" {
		features = e.c.Catalog().Features
	}
	for _, f := range features {
		a, err := e.Check(customer, f.ID, in.Amount, &in.Existing)
		if err != nil {
			return nil, err
		}
		out.Body.Entitlements = append(out.Body.Entitlements, ViewOf(a))
	}
	return out, nil
}
