package plan

import (
	"context"
	"net/http"
	"time"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/api"
)

// View is a catalogue as it is shown, over HTTP and by the command line.
type View struct {
	Currency  string        `json:"currency" doc:"ISO 4217 in small letters; every amount is in its minor unit" example:"usd"`
	Default   string        `json:"default" doc:"The plan of who has paid for none" example:"free"`
	TrialDays int           `json:"trial_days" doc:"Length of a trial; 0 = none"`
	GraceDays int           `json:"grace_days" doc:"Days that a failed payment has before the plan falls to the default"`
	Alerts    []int         `json:"alerts" doc:"Percents of a limit at which the operator is told" nullable:"false"`
	Features  []FeatureView `json:"features" doc:"What plans limit" nullable:"false"`
	Plans     []PlanView    `json:"plans" doc:"From the smallest to the largest" nullable:"false"`
}

// FeatureView is a kgents.Feature as it is shown.
type FeatureView struct {
	ID    string `json:"id" example:"tokens"`
	Name  string `json:"name" example:"Tokens"`
	Unit  string `json:"unit" doc:"What one of it is called" example:"token"`
	Meter string `json:"meter,omitempty" doc:"The meter that counts it; absent for what exists rather than is used" example:"agent_tokens"`
}

// PlanView is a kgents.Plan as it is shown.
type PlanView struct {
	ID     string      `json:"id" example:"pro"`
	Name   string      `json:"name" example:"Pro"`
	Prices []PriceView `json:"prices" doc:"None: it is free. The first of an interval is the one that is sold" nullable:"false"`
	Rate   RateView    `json:"rate"`
	Limits []LimitView `json:"limits" doc:"In the order of the features; a feature that is absent is not in the plan" nullable:"false"`
	Perks  []string    `json:"perks" nullable:"false"`
}

// PriceView is a kgents.Price as it is shown.
type PriceView struct {
	Interval  string `json:"interval" enum:"month,year"`
	Amount    int64  `json:"amount" doc:"In the currency's minor unit" example:"1900"`
	LookupKey string `json:"lookup_key" example:"pro_monthly"`
}

// RateView is a kgents.Rate as it is shown.
type RateView struct {
	PerMinute api.Limit `json:"per_minute" doc:"Requests a minute"`
	Burst     int64     `json:"burst" doc:"Requests at once after a pause"`
}

// LimitView is a kgents.Quota as it is shown.
type LimitView struct {
	Feature string       `json:"feature" example:"tokens"`
	Limit   api.Limit    `json:"limit"`
	Per     string       `json:"per,omitempty" enum:"period,day" doc:"Absent for what exists: there the limit holds at any one time"`
	Over    string       `json:"over" enum:"refuse,bill" doc:"What happens past the limit"`
	Overage *OverageView `json:"overage,omitempty" doc:"The price of what is past the limit"`
}

// OverageView is a kgents.Overage as it is shown.
type OverageView struct {
	Amount int64 `json:"amount" doc:"In the currency's minor unit, for each per units" example:"8"`
	Per    int64 `json:"per" doc:"Units" example:"10000"`
}

// ViewOf shows c.
func ViewOf(c *kgents.Catalog) View {
	const day = 24 * time.Hour
	v := View{
		Currency: c.Currency, Default: c.Default, TrialDays: int(c.Trial / day), GraceDays: int(c.Grace / day),
		Alerts: append([]int{}, c.AlertAt...), Features: []FeatureView{}, Plans: []PlanView{},
	}
	for _, f := range c.Features {
		v.Features = append(v.Features, FeatureView(f))
	}
	for _, p := range c.Plans {
		pv := PlanView{
			ID: p.ID, Name: p.Name, Prices: []PriceView{}, Limits: []LimitView{}, Perks: append([]string{}, p.Perks...),
			Rate: RateView{api.Limit{Limit: p.Rate.PerMinute}, p.Rate.Burst},
		}
		for _, price := range p.Prices {
			pv.Prices = append(pv.Prices, PriceView{price.Interval, price.Amount, price.LookupKey})
		}
		for _, f := range c.Features {
			q, ok := p.Quotas[f.ID]
			if !ok {
				continue
			}
			lv := LimitView{Feature: f.ID, Limit: api.Limit{Limit: q.Limit}, Per: q.Per, Over: string(q.Over)}
			if q.Over == kgents.OverBill {
				lv.Overage = &OverageView{q.Overage.Amount, q.Overage.Per}
			}
			pv.Limits = append(pv.Limits, lv)
		}
		v.Plans = append(v.Plans, pv)
	}
	return v
}

// Register adds GET /v1/plans.
func (b *Book) Register(a *api.API) {
	type out struct{ Body View }
	api.Handle(a, api.Route{
		Method: http.MethodGet, Path: "/v1/plans", Scope: kgents.ScopeRead, Tag: "Plans", ID: "list-plans",
		Summary: "What is sold",
		Detail:  "Features, plans, prices and limits, as the plans' file in force has them. It is the same for everybody.",
	}, func(context.Context, kgents.Principal, *struct{}) (*out, error) {
		return &out{ViewOf(b.Current())}, nil
	})
}
