package app

import (
	"context"
	"slices"
	"time"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/customer"
	"github.com/kgents/kgents/invoice"
	"github.com/kgents/kgents/subscription"
)

// startInvoices adds the routes that show what is sold, what was used and what it costs.
func (a *App) startInvoices() {
	a.v1 = append(a.v1, a.plans, invoice.New(invoice.Config{
		Accounts: debtors{a.customers, a.plans.Current}, Catalog: a.plans.Current, Meter: a.meter,
	}))
}

// debtors are the customers as invoices see them.
type debtors struct {
	store   *customer.Store
	catalog func() *kgents.Catalog
}

func (d debtors) Account(id string, at time.Time) (invoice.Account, error) {
	c, ok := d.store.Get(id)
	if !ok {
		ctx, cancel := context.WithTimeout(context.Background(), customersPatience)
		defer cancel()
		if err := d.store.Wait(ctx); err != nil {
			return invoice.Account{}, err
		}
		if c, ok = d.store.Get(id); !ok {
			return invoice.Account{}, kgents.Errorf(kgents.CodeNotFound, "there is no such customer")
		}
	}
	cat, now := d.catalog(), time.Now()
	s := c.Term(at, now, cat)
	p, _ := cat.Plan(s.Plan)
	if s.End().Before(now) { // a later price is of a later period
		c.Subscriptions = c.Subscriptions.AsOf(s.End().Add(-time.Second))
	}
	return invoice.Account{
		ID: c.ID, Plan: p, Price: priceOf(p, c, s.Standing), Quantity: s.Quantity,
		Trial: s.Status == subscription.StatusTrialing, PeriodStart: s.PeriodStart, PeriodEnd: s.PeriodEnd, Parts: invoice.PartsOf(s, cat),
	}, nil
}

// priceOf is the price of the plan that the subscription pays: the last that Stripe told
// of. A plan that the operator gave away has none.
func priceOf(p kgents.Plan, c customer.Customer, s subscription.Standing) kgents.Price {
	if !s.Paid() || s.Subscription == "" || len(p.Prices) == 0 {
		return kgents.Price{}
	}
	named := false
	for _, change := range slices.Backward(c.Subscriptions.Changes) {
		if change.Subscription != s.Subscription || change.Price == "" && change.LookupKey == "" {
			continue
		}
		named = true
		for _, price := range p.Prices {
			if change.Price != "" && change.Price == price.Stripe || change.LookupKey != "" && change.LookupKey == price.LookupKey {
				return price
			}
		}
	}
	if named && c.Override != "" { // it pays for another plan
		return kgents.Price{}
	}
	return invoice.PriceOf(p, s.PeriodStart, s.PeriodEnd)
}
