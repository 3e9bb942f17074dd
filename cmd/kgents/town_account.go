package main

import (
	"context"
	"net/http"
	"time"

	root "github.com/kgents/kgents"
)

// account is how a customer stands, as far as the routes tell: what they don't is zero.
type account struct {
	Plan         string    `json:"plan,omitempty"`
	Tokens       quota     `json:"tokens"`
	Interactions quota     `json:"interactions"`
	Currency     string    `json:"currency,omitempty"`
	PlanCost     int64     `json:"plan_cost"` // minor unit, of the period
	OverCost     int64     `json:"over_cost"`
	From         time.Time `json:"from,omitzero"`
	To           time.Time `json:"to,omitzero"`
	Priced       bool      `json:"priced"` // whether the invoice could be asked for
}

// quota is a line of GET /v1/entitlements.
type quota struct {
	Feature  string     `json:"feature"`
	Plan     string     `json:"plan"`
	Used     int64      `json:"used"`
	Limit    root.Limit `json:"limit"`
	Over     root.Over  `json:"over"`
	ResetsAt time.Time  `json:"resets_at"`
	Known    bool       `json:"-"`
}

// share is used as a part of the limit; 0 of no limit.
func (q quota) share() float64 {
	switch {
	case q.Limit.Unlimited():
		return 0
	case q.Limit.N() == 0:
		return 1
	}
	return float64(q.Used) / float64(q.Limit.N())
}

// past is what is used past the limit.
func (q quota) past() int64 {
	if q.Limit.Unlimited() {
		return 0
	}
	return max(0, q.Used-q.Limit.N())
}

// account asks how the customer stands.
func (v *v1) account(ctx context.Context) (a account) {
	var allowed struct{ Entitlements []quota }
	_ = v.do(ctx, http.MethodGet, "/v1/entitlements", nil, nil, &allowed) // without, the figures are shown as not known
	for _, q := range allowed.Entitlements {
		q.Known, a.Plan = true, q.Plan
		switch q.Feature {
		case "tokens":
			a.Tokens = q
		case "interactions":
			a.Interactions = q
		}
	}
	var invoice struct {
		Plan     string
		Currency string
		From, To time.Time
		Lines    []struct {
			Kind   string
			Amount int64
		}
	}
	if v.do(ctx, http.MethodGet, "/v1/invoice", nil, nil, &invoice) == nil && invoice.Currency != "" {
		a.Priced, a.Currency, a.From, a.To = true, invoice.Currency, invoice.From, invoice.To
		if a.Plan == "" {
			a.Plan = invoice.Plan
		}
		for _, l := range invoice.Lines {
			switch l.Kind {
			case "plan":
				a.PlanCost += l.Amount
			case "overage":
				a.OverCost += l.Amount
			}
		}
	}
	return a
}
