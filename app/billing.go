package app

import (
	"context"
	"net/http"
	"time"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/billing"
	"github.com/kgents/kgents/customer"
	"github.com/kgents/kgents/receive"
)

// customersPatience is how long a request waits for the customers to be read after a
// start.
const customersPatience = 2 * time.Second

// stripeClient is the one client of Stripe's API, made when it is first asked for.
func (a *App) stripeClient() *billing.Client {
	if a.stripe == nil {
		a.stripe = billing.NewClient(billing.ClientConfig{
			Key: a.config.StripeAPIKey, Base: a.config.StripeAPIBase, Log: a.log, Registerer: a.reg,
		})
		a.onStop(a.stripe.Close)
	}
	return a.stripe
}

// checkoutLinks makes the links to checkout that a refusal carries; nil without a key of
// Stripe's or a page to come back to. Who makes them and who opens them need not be one:
// the same settings give the same links.
func (a *App) checkoutLinks() *billing.Links {
	return billing.NewLinks(billing.LinksConfig{Key: a.config.StripeAPIKey, ReturnURL: a.config.BillingReturnURL, PublicURL: a.config.PublicURL, Catalog: a.plans.Current})
}

// startBilling adds the routes that open Stripe's pages and change subscriptions.
// Without a key of Stripe's they say so.
func (a *App) startBilling() {
	a.billing = billing.New(billing.Config{
		Client: a.stripeClient(), Catalog: a.plans.Current, Customers: payers{a.customers, a.plans.Current},
		ReturnURL: a.config.BillingReturnURL, Origins: a.config.CORSOrigins, Links: a.checkoutLinks(), Log: a.log,
	})
	a.v1 = append(a.v1, a.billing)
}

// serveLinks adds the route that opens a link to checkout, without a key.
func (a *App) serveLinks(mux *http.ServeMux) {
	mux.Handle("GET /v1/billing/checkout/{token}", a.edge.Instrument("/v1/billing/checkout/{token}", http.HandlerFunc(a.billing.OpenLink)))
	mux.Handle("/v1/billing/checkout/{token}", receive.Allow(http.MethodGet, http.MethodHead))
}

// startOverage reports overage to Stripe, if there is a key of its API.
func (a *App) startOverage() {
	if a.config.StripeAPIKey == "" {
		return
	}
	a.overage = billing.NewReporter(billing.ReporterConfig{
		Client: a.stripeClient(), Catalog: a.plans.Current, Accounts: payers{a.customers, a.plans.Current},
		Meter: a.meter, JetStream: a.js, Stream: a.streams, Log: a.log, Registerer: a.reg,
	})
	a.overage.Start()
	a.onStop(a.overage.Close)
}

// payers are the customers as billing sees them.
type payers struct {
	store   *customer.Store
	catalog billing.Catalog
}

func (p payers) Billing(ctx context.Context, id string) (billing.Customer, error) {
	c, ok := p.store.Get(id)
	if !ok {
		ctx, cancel := context.WithTimeout(ctx, customersPatience)
		defer cancel()
		if err := p.store.Wait(ctx); err != nil {
			return billing.Customer{}, err
		}
		if c, ok = p.store.Get(id); !ok {
			return billing.Customer{}, kgents.Errorf(kgents.CodeNotFound, "there is no such customer")
		}
	}
	if !p.own(c) {
		return billing.Customer{}, errShared
	}
	return billing.Customer{ID: c.ID, Since: c.Created, Name: c.Name, Stripe: c.Stripe, Subscription: c.Brief(time.Now(), p.catalog()).Subscription}, nil
}

// own is false of a customer that says it has a Stripe customer which is another's: of two
// who were given the same at once, until the second has been told. It must see nothing of
// the first one's cards and invoices.
func (p payers) own(c customer.Customer) bool {
	has, ok := p.store.ByStripe(c.Stripe)
	return !ok || has.ID == c.ID
}

var errShared = kgents.Errorf(kgents.CodeConflict, "the Stripe customer of this customer is another customer's: the operator has to look at both")

func (p payers) SetStripe(ctx context.Context, id, stripeID string) error {
	_, err := p.store.Update(ctx, id, 0, func(c *customer.Customer) error {
		if c.Stripe != "" && c.Stripe != stripeID {
			return kgents.Errorf(kgents.CodeConflict, "the customer got another Stripe customer just now: try again")
		}
		c.Stripe = stripeID
		return nil
	})
	return err
}

// Accounts are the periods that customers pay for, or paid for until a short while ago:
// nothing else gets an invoice with overage on it.
func (p payers) Accounts() ([]billing.Account, error) {
	ctx, cancel := context.WithTimeout(context.Background(), customersPatience)
	defer cancel()
	if err := p.store.Wait(ctx); err != nil {
		return nil, err
	}
	var out []billing.Account
	now, cat := time.Now(), p.catalog()
	for after := ""; ; {
		page := p.store.List(after, customer.MaxPage)
		for _, c := range page {
			if c.Stripe != "" && p.own(c) && len(c.Subscriptions.Changes) > 0 {
				out = append(out, billing.Periods(c.ID, c.Stripe, c.Terms(now.Add(-billing.Grace), now, now, cat), cat)...)
			}
		}
		if len(page) < customer.MaxPage {
			return out, nil
		}
		after = page[len(page)-1].ID
	}
}
