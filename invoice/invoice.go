// Package invoice shows what a customer has used and what that costs: usage by time and
// by what it was used for, and a preview of the invoice.
//
// It promises that every amount is a whole number of the currency's minor unit, that a
// line is rounded once (kgents.Overage.Cost, half up) and that the total is the sum of
// the lines. What is past a limit in a day is counted in exactly one period, also where
// the day lies in two. Nothing is kept here: everything is computed from the plan and
// from what the meter says.
//
// A preview is no invoice: tax, discounts, and the share of a plan that was changed
// within the period are Stripe's. When the meter is away the answer is
// CodeUnavailable, never a number that is too low.
package invoice

import (
	"context"
	"math"
	"net/http"
	"time"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/api"
	"github.com/kgents/kgents/meter"
)

// patience bounds one answer; past it the meter is taken to be away.
const patience = 20 * time.Second

// Account is a customer as far as money goes.
type Account struct {
	ID       string
	Plan     kgents.Plan
	Price    kgents.Price // what the subscription pays; zero without one
	Quantity int64        // of the subscription: seats, which multiply the price
	Trial    bool         // nothing is charged yet

	// What the price pays for: a month or a year. The calendar month in UTC without a
	// subscription.
	PeriodStart, PeriodEnd time.Time

	// Parts are the times of the period in which it was had, with the plan of each, Plan
	// last. None is all of the period.
	Parts []Part
}

// parts are the parts, which are one at least.
func (a Account) parts() []Part {
	if len(a.Parts) == 0 {
		return []Part{{a.PeriodStart, a.PeriodEnd, a.Plan}}
	}
	return a.Parts
}

// PriceOf is the price of p that pays for a period from start to end, for who doesn't
// know which: the first of the interval. It is zero when p has none.
func PriceOf(p kgents.Plan, start, end time.Time) kgents.Price {
	interval := "month"
	if end.Sub(start) > 45*24*time.Hour {
		interval = "year"
	}
	for _, price := range p.Prices {
		if price.Interval == interval {
			return price
		}
	}
	return kgents.Price{}
}

// Accounts are the customers.
type Accounts interface {
	// Account returns the customer as it stands, or stood, in the period that has a time
	// in it; what happened after that period doesn't count. The error is an *kgents.Error: CodeNotFound for a customer that
	// doesn't exist, CodeUnavailable while customers aren't known.
	Account(id string, at time.Time) (Account, error)
}

// Meter is the truth of what was used. *meter.Client is one; errors are its own.
type Meter interface {
	Meters(ctx context.Context) ([]meter.Meter, error)
	Query(ctx context.Context, q meter.Query) (meter.Result, error)
}

// Config is what a Service needs.
type Config struct {
	Accounts Accounts
	Catalog  func() *kgents.Catalog
	Meter    Meter
}

// Service answers. It is safe for concurrent use.
type Service struct{ c Config }

// New returns a Service.
func New(c Config) *Service { return &Service{c} }

// Kinds of lines.
const (
	KindPlan     = "plan"     // the plan's price
	KindIncluded = "included" // usage that the plan includes
	KindOverage  = "overage"  // usage past the plan's limit
)

// Invoice is a preview of what a customer pays for a period.
type Invoice struct {
	Customer  string    `json:"customer" doc:"Id of the customer"`
	Plan      string    `json:"plan" doc:"Id of the plan" example:"pro"`
	Currency  string    `json:"currency" doc:"ISO 4217 in small letters; every amount is in its minor unit" example:"usd"`
	From      time.Time `json:"from" doc:"Begin of the period"`
	To        time.Time `json:"to" doc:"End of the period, not included"`
	CountedTo time.Time `json:"counted_to" doc:"Until when usage is counted: now, cut to the minute after it, or the end of the period"`
	Complete  bool      `json:"complete" doc:"Whether the period is over, so that the invoice will not grow but by events that come late"`
	Trial     bool      `json:"trial" doc:"Whether it is a trial, in which nothing is charged"`
	Lines     []Line    `json:"lines" nullable:"false"`
	Total     int64     `json:"total" doc:"Sum of the lines' amounts" example:"1908"`
	Notes     []string  `json:"notes" doc:"What the preview leaves out" nullable:"false"`
}

// Line is one line of an Invoice.
type Line struct {
	Kind     string     `json:"kind" enum:"plan,included,overage"`
	Text     string     `json:"text" doc:"For people" example:"Tokens past the limit"`
	Feature  string     `json:"feature,omitempty" doc:"Id of the feature" example:"tokens"`
	From     time.Time  `json:"from"`
	To       time.Time  `json:"to"`
	Quantity int64      `json:"quantity" doc:"How much of the unit: seats of the plan, or units used" example:"10000"`
	Unit     string     `json:"unit" example:"token"`
	Limit    *api.Limit `json:"limit,omitempty" doc:"What the plan includes; of included usage only"`
	LimitPer string     `json:"limit_per,omitempty" enum:"period,day" doc:"In which time; of included usage only"`
	Price    int64      `json:"price" doc:"In the currency's minor unit, for each per units" example:"8"`
	Per      int64      `json:"per" doc:"Units" example:"10000"`
	Amount   int64      `json:"amount" doc:"Quantity × price ÷ per in the currency's minor unit, rounded once, half up" example:"8"`
}

const (
	noteTax       = "Tax is not computed."
	noteProration = "A change of plan within the period, discounts and credits are not in here: Stripe's invoice has them."
	noteTrial     = "It is a trial: nothing is charged."
)

// Preview computes the invoice of the period that has at in it.
func (s *Service) Preview(ctx context.Context, customer string, at time.Time) (*Invoice, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	now := time.Now().UTC()
	if at.After(now) {
		return nil, kgents.Errorf(kgents.CodeInvalid, "at lies in the future: nothing has been used then")
	}
	a, err := s.c.Accounts.Account(customer, at)
	if err != nil {
		return nil, err
	}
	catalog := s.c.Catalog()
	parts := a.parts()
	end := parts[len(parts)-1].To.UTC()
	inv := &Invoice{
		Customer: a.ID, Plan: a.Plan.ID, Currency: catalog.Currency, Trial: a.Trial,
		From: parts[0].From.UTC(), To: end, Complete: !end.After(now),
		Notes: []string{noteTax, noteProration},
	}
	inv.CountedTo = nextMinute(now)
	if inv.To.Before(inv.CountedTo) {
		inv.CountedTo = inv.To
	}
	inv.add(planLine(a, inv.From, inv.To))
	for _, f := range catalog.Features {
		q, has := a.Plan.Quotas[f.ID]
		if !has || !f.Metered() {
			continue
		}
		for from := inv.From; from.Before(inv.CountedTo); {
			begin, end := kgents.UsagePeriod(a.PeriodStart, a.PeriodEnd, from)
			m, err := MeasureSpans(ctx, s.c.Meter, a.ID, f, Spans(parts, f, begin, sooner(end, inv.CountedTo)))
			if err != nil {
				return nil, err
			}
			inv.add(usageLines(f, q, m, later(begin, inv.From), sooner(end, inv.To))...)
			from = end
		}
	}
	if a.Trial {
		inv.Notes = append(inv.Notes, noteTrial)
	}
	return inv, nil
}

// add appends lines, in a trial without their price.
func (inv *Invoice) add(lines ...Line) {
	for _, l := range lines {
		if inv.Trial {
			l.Amount = 0
		}
		inv.Lines = append(inv.Lines, l)
		inv.Total = plus(inv.Total, l.Amount)
	}
}

func planLine(a Account, from, to time.Time) Line {
	l := Line{
		Kind: KindPlan, Text: a.Plan.Name, From: from, To: to,
		Quantity: max(1, a.Quantity), Unit: "seat", Price: a.Price.Amount, Per: 1,
	}
	if a.Price.Interval != "" {
		l.Text += ", a " + a.Price.Interval
	}
	l.Amount = times(l.Quantity, l.Price)
	return l
}

// usageLines are what was used within the limit, and what past it if there is any.
func usageLines(f kgents.Feature, q kgents.Quota, m Measured, from, to time.Time) []Line {
	billed := int64(0)
	if q.Over == kgents.OverBill {
		billed = m.Over
	}
	lines := []Line{{
		Kind: KindIncluded, Text: f.Name, Feature: f.ID, From: from, To: to,
		Quantity: m.Used - billed, Unit: f.Unit, Limit: &api.Limit{Limit: q.Limit}, LimitPer: q.Per, Per: 1,
	}}
	if billed > 0 {
		lines = append(lines, Line{
			Kind: KindOverage, Text: f.Name + " past the limit", Feature: f.ID, From: from, To: to,
			Quantity: billed, Unit: f.Unit, Price: q.Overage.Amount, Per: q.Overage.Per, Amount: q.Overage.Cost(billed),
		})
	}
	return lines
}

// Sheet is the invoice as a table, its last row the total.
func (inv *Invoice) Sheet() (string, [][]any) {
	rows := [][]any{{"customer", "plan", "kind", "text", "feature", "from", "to", "quantity", "unit", "limit", "limit_per", "price", "per", "amount", "currency"}}
	for _, l := range inv.Lines {
		var limit, per any
		if l.Limit != nil {
			limit, per = l.Limit.String(), l.LimitPer
		}
		rows = append(rows, []any{inv.Customer, inv.Plan, l.Kind, l.Text, l.Feature, l.From, l.To, l.Quantity, l.Unit, limit, per, l.Price, l.Per, l.Amount, inv.Currency})
	}
	rows = append(rows, []any{inv.Customer, inv.Plan, "total", "Total without tax", nil, inv.From, inv.To, nil, nil, nil, nil, nil, nil, inv.Total, inv.Currency})
	return "invoice-" + inv.Customer + "-" + inv.From.Format(time.DateOnly), rows
}

// plus and times are the largest int64 where there is no room for more, which package
// plan's bounds keep out of reach.
func plus(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

func times(a, b int64) int64 {
	if a > 0 && b > math.MaxInt64/a {
		return math.MaxInt64
	}
	return a * b
}

// nextMinute is t, or the next whole minute: the meter cuts to the minute, and what was
// used in this one is to be seen.
func nextMinute(t time.Time) time.Time {
	if cut := t.Truncate(time.Minute); !cut.Equal(t) {
		return cut.Add(time.Minute)
	}
	return t
}

// previewIn is what GET /v1/invoice takes.
type previewIn struct {
	api.Format
	Customer string `query:"customer" maxLength:"63" doc:"Whose; a customer's key may leave it out"`
	At       string `query:"at" maxLength:"40" doc:"A time in the period, RFC 3339 or a date; without it now" example:"2026-11-01"`
}

// Register adds GET /v1/usage and GET /v1/invoice.
func (s *Service) Register(a *api.API) {
	api.Table(a, api.Route{
		Method: http.MethodGet, Path: "/v1/usage", Scope: kgents.ScopeRead, Tag: "Usage", ID: "get-usage",
		Summary: "What a customer has used",
		Detail: "What the meters that plans limit have counted of a customer, by time (`by=hour`, `day` or `month`) and by what a meter is grouped by, " +
			"such as `by=day,agent,model`. Without `from` it begins with the period that `to` lies in, without `to` it ends now. " +
			"Times are cut to the minute. An operator's key may name any meter. JSON, or CSV with `format=csv` or `Accept: text/csv`.",
	}, s.usage)
	api.Table(a, api.Route{
		Method: http.MethodGet, Path: "/v1/invoice", Scope: kgents.ScopeRead, Tag: "Usage", ID: "preview-invoice",
		Summary: "Preview a customer's invoice",
		Detail: "The plan's price, what of its limits was used, and the price of what is past them, for the period that `at` lies in. " +
			"Amounts are whole numbers of the currency's minor unit; a line is rounded once, half up. Tax is not computed. " +
			"JSON, or CSV with `format=csv` or `Accept: text/csv`.",
	}, func(ctx context.Context, caller kgents.Principal, in *previewIn) (*Invoice, error) {
		customer, err := caller.For(in.Customer)
		if err != nil {
			return nil, err
		}
		at, err := parseTime("at", in.At, time.Now())
		if err != nil {
			return nil, err
		}
		return s.Preview(ctx, customer, at)
	})
}

// parseTime reads a time, or a date as its first moment in UTC.
func parseTime(name, text string, without time.Time) (time.Time, error) {
	if text == "" {
		return without.UTC(), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil && t.Year() >= 1970 && t.Year() <= 9999 {
			return t.UTC(), nil
		}
	}
	return time.Time{}, kgents.Errorf(kgents.CodeInvalid, "%s is no time from 1970 on: use for example 2026-11-01 or 2026-11-01T12:00:00Z", name)
}
