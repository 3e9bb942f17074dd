package emit

import (
	"fmt"
	"strconv"
	"time"
)

// Invoice is what one paid invoice says.
type Invoice struct {
	ID       string // of the Stripe event, after evt_: letters, digits and _
	Customer string
	Amount   int64 // in US cents
	At       time.Time
}

// Invoices makes webhooks of paid invoices from Stripe's own fixture, for a load whose
// sums must be known. It is safe for concurrent use.
type Invoices struct{ paid *template }

// NewInvoices reads the fixture.
func NewInvoices() (*Invoices, error) {
	all, err := stripeTemplates()
	if err != nil {
		return nil, err
	}
	paid := all["invoice.paid"]
	if paid == nil {
		return nil, fmt.Errorf("fixtures of Stripe: there is no invoice.paid")
	}
	return &Invoices{paid}, nil
}

// Request is the webhook of one.
func (v *Invoices) Request(i Invoice) Request {
	return Request{
		Path: "/webhooks/stripe", ContentType: "application/json; charset=utf-8", Signed: true, Events: 1,
		Body: v.paid.fill(map[string]string{
			"event": "evt_" + i.ID, "invoice": "in_" + i.ID, "subscription": "sub_" + i.ID, "customer": i.Customer, "plan": "pro", "price": "price_pro",
			"currency": "usd", "amount": strconv.FormatInt(i.Amount, 10), "created": strconv.FormatInt(i.At.Unix(), 10),
		}),
	}
}
