package entitle

import (
	"fmt"
	"time"

	"github.com/kgents/kgents"
)

// Reason says why an Answer is what it is, for programs.
type Reason string

// The reasons. The first three allow, the others don't.
const (
	ReasonWithin    Reason = "within_limit"   // it fits into the plan
	ReasonUnlimited Reason = "unlimited"      // the plan has no limit of it
	ReasonBilled    Reason = "overage_billed" // past a soft limit: what is past it is billed
	ReasonLimit     Reason = "limit_reached"  // past a hard limit
	ReasonPlan      Reason = "not_in_plan"    // the plan doesn't have the feature
)

// Answer says whether a customer may use more of a feature, and what has been used.
type Answer struct {
	Customer string       `json:"customer" doc:"Whom it is about"`
	Plan     string       `json:"plan" doc:"Id of the plan in force"`
	Feature  string       `json:"feature" doc:"Id of the feature"`
	Allowed  bool         `json:"allowed" doc:"Whether the amount asked for may be used now"`
	Used     int64        `json:"used" doc:"What has been used in the period, or exists"`
	Limit    kgents.Limit `json:"limit" doc:"What the plan allows: a number, or the word unlimited"`
	Left     kgents.Limit `json:"left" doc:"What is allowed beyond used"`
	Over     kgents.Over  `json:"over,omitempty" doc:"What happens past the limit: refuse or bill"`
	ResetsAt time.Time    `json:"resets_at,omitzero" doc:"When used begins at 0 again; absent for what exists rather than is used"`
	Reason   Reason       `json:"reason" doc:"Why"`
	Stale    bool         `json:"stale" doc:"Whether the meter or the stream couldn't be asked for a while, so that used may be too low"`
	Upgrade  []Option     `json:"upgrade,omitempty" doc:"Plans that would allow it, smallest first; only where it is refused"`

	Subscribed bool `json:"-"` // has a subscription, so that another plan is a change of it
}

// Option is a plan that would allow what was refused.
type Option struct {
	Plan     string       `json:"plan" doc:"Id of the plan"`
	Name     string       `json:"name" doc:"Its name"`
	Limit    kgents.Limit `json:"limit" doc:"What it allows"`
	Over     kgents.Over  `json:"over,omitempty" doc:"What happens past that"`
	Prices   []Price      `json:"prices" doc:"What it costs, one an interval"`
	Checkout string       `json:"checkout,omitempty" doc:"Where the customer can buy it, if there is such a page: a link for a browser, that needs no key and ends after a day. Below PUBLIC_URL where that is set; else a path, of the address that answered"`
}

// Price is what an Option costs.
type Price struct {
	Interval string `json:"interval" doc:"month or year"`
	Amount   int64  `json:"amount" doc:"In the currency's minor unit"`
	Currency string `json:"currency" doc:"ISO 4217, small letters"`
}

// Explain says in a sentence why, for people.
func (a Answer) Explain() string {
	switch a.Reason {
	case ReasonPlan:
		return fmt.Sprintf("%s: the plan %s has none", a.Feature, a.Plan)
	case ReasonLimit:
		text := fmt.Sprintf("%s: the plan %s allows %s, %d used", a.Feature, a.Plan, a.Limit, a.Used)
		if !a.ResetsAt.IsZero() {
			text += "; it begins anew at " + a.ResetsAt.UTC().Format(time.RFC3339)
		}
		return text
	case ReasonBilled:
		return fmt.Sprintf("%s: the plan %s includes %s, %d used; what is past it is billed", a.Feature, a.Plan, a.Limit, a.Used)
	case ReasonUnlimited:
		return fmt.Sprintf("%s: the plan %s has no limit", a.Feature, a.Plan)
	}
	return fmt.Sprintf("%s: %s of the plan %s's %s are left", a.Feature, a.Left, a.Plan, a.Limit)
}

// judge fills in what follows from Used, what is reserved besides, and the quota.
func (a *Answer) judge(q kgents.Quota, has bool, held, more int64) {
	if !has {
		a.Reason, a.Limit, a.Left = ReasonPlan, kgents.AtMost(0), kgents.AtMost(0)
		return
	}
	taken := add(a.Used, held)
	a.Limit, a.Left, a.Over = q.Limit, q.Limit.Left(taken), q.Over
	switch {
	case q.Limit.Unlimited():
		a.Allowed, a.Reason = true, ReasonUnlimited
	case q.Limit.Allows(taken, more):
		a.Allowed, a.Reason = true, ReasonWithin
	case q.Over == kgents.OverBill:
		a.Allowed, a.Reason = true, ReasonBilled
	default:
		a.Reason = ReasonLimit
	}
}

// options are the plans after plan that would allow used and more.
func options(cat *kgents.Catalog, plan, feature string, used, more int64) []Option {
	var out []Option
	larger := false
	for _, p := range cat.Plans {
		if !larger {
			larger = p.ID == plan
			continue
		}
		q, has := p.Quotas[feature]
		if !has || q.Over != kgents.OverBill && !q.Limit.Allows(used, more) {
			continue
		}
		o := Option{Plan: p.ID, Name: p.Name, Limit: q.Limit, Over: q.Over, Prices: []Price{}}
		for _, price := range p.Prices {
			o.Prices = append(o.Prices, Price{price.Interval, price.Amount, cat.Currency})
		}
		out = append(out, o)
	}
	return out
}

// Refusal is the error of an answer that doesn't allow: what a program needs to offer
// more stands in its Extra.
func (a Answer) Refusal() *kgents.Error {
	err := kgents.Errorf(kgents.CodePayment, "%s", a.Explain())
	upgrade := a.Upgrade
	if upgrade == nil {
		upgrade = []Option{} // there is none
	}
	err.Extra = map[string]any{"feature": a.Feature, "plan": a.Plan, "used": a.Used, "limit": a.Limit, "upgrade": upgrade}
	if !a.ResetsAt.IsZero() {
		err.Extra["resets_at"] = a.ResetsAt
	}
	if len(upgrade) > 0 {
		err.Extra["checkout"] = checkout(a, upgrade[0])
	}
	return err
}

// checkout is how the smallest plan that would allow it is bought, or changed to.
func checkout(a Answer, o Option) map[string]any {
	out := map[string]any{
		"method": "POST", "path": "/v1/billing/checkout",
		"body": map[string]any{"customer": a.Customer, "plan": o.Plan},
	}
	if a.Subscribed {
		out["path"] = "/v1/billing/change"
	}
	if o.Checkout != "" {
		out["url"] = o.Checkout
	}
	return out
}
