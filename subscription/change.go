package subscription

import (
	"cmp"
	"encoding/json"
	"strings"

	"github.com/kgents/kgents"
)

// Kind is what a Change tells about. Its order is the order in which events of one
// second happen in Stripe, so that of two of them the later one counts.
type Kind int

// The kinds, in the order of one second: what a deletion says stands over what an
// update says, and that over what a creation says; a payment stands over its failure.
const (
	Checkout Kind = iota + 1 // a checkout session was completed: the start of a subscription
	Created                  // a snapshot of a new subscription
	Failed                   // a payment of an invoice failed
	Paid                     // an invoice was paid
	Updated                  // a snapshot of a changed subscription
	Deleted                  // a subscription ended, for good
)

// Change is one Stripe event as far as it matters for a customer's plan. It has no
// pointers, so that two can be compared: equal ones are the same event. Times are
// Unix seconds, as Stripe's are; 0 is none.
type Change struct {
	ID      string `json:"id"`      // Stripe's event id
	Kind    Kind   `json:"kind"`    // what it tells about
	Type    string `json:"type"`    // Stripe's type, for people
	Created int64  `json:"created"` // when it happened, by Stripe's clock

	Subscription string `json:"subscription,omitempty"`
	Status       string `json:"status,omitempty"` // Stripe's word
	Price        string `json:"price,omitempty"`  // Stripe's price id
	LookupKey    string `json:"lookup_key,omitempty"`
	Plan         string `json:"plan,omitempty"` // as metadata names it
	Quantity     int64  `json:"quantity,omitempty"`

	PeriodStart       int64 `json:"period_start,omitempty"`
	PeriodEnd         int64 `json:"period_end,omitempty"`
	TrialEnd          int64 `json:"trial_end,omitempty"`
	CancelAtPeriodEnd bool  `json:"cancel_at_period_end,omitempty"`
	CancelAt          int64 `json:"cancel_at,omitempty"`
	CanceledAt        int64 `json:"canceled_at,omitempty"`
	EndedAt           int64 `json:"ended_at,omitempty"`
	Paused            bool  `json:"collection_paused,omitempty"`

	Invoice     string `json:"invoice,omitempty"`
	Amount      int64  `json:"amount,omitempty"` // minor unit of Currency
	Currency    string `json:"currency,omitempty"`
	Attempt     int64  `json:"attempt,omitempty"`
	NextAttempt int64  `json:"next_attempt,omitempty"`
}

// compare orders changes by when they happened. It is total: only equal changes are
// equal in it.
func compare(a, b Change) int {
	return cmp.Or(
		cmp.Compare(a.Created, b.Created),
		cmp.Compare(a.Kind, b.Kind),
		cmp.Compare(a.PeriodEnd, b.PeriodEnd), // of two updates in a second the renewal is the later one
		strings.Compare(a.ID, b.ID),
		strings.Compare(a.content(), b.content()),
	)
}

func (c Change) content() string {
	b, _ := json.Marshal(c) // a struct of texts and numbers can't fail
	return string(b)
}

// data are the members of an event's data that are read.
type data struct {
	StripeType        string `json:"stripe_event_type"`
	Account           string `json:"account"`
	CustomerRef       string `json:"customer_ref"`
	Session           string `json:"checkout_session"`
	Subscription      string `json:"subscription_id"`
	Invoice           string `json:"invoice_id"`
	Plan              string `json:"plan"`
	LookupKey         string `json:"lookup_key"`
	Status            string `json:"status"`
	Price             string `json:"price_id"`
	Quantity          int64  `json:"quantity"`
	Amount            int64  `json:"amount"`
	Currency          string `json:"currency"`
	AttemptCount      int64  `json:"attempt_count"`
	NextAttempt       int64  `json:"next_payment_attempt"`
	TrialEnd          int64  `json:"trial_end"`
	PeriodStart       int64  `json:"current_period_start"`
	PeriodEnd         int64  `json:"current_period_end"`
	CancelAtPeriodEnd bool   `json:"cancel_at_period_end"`
	CancelAt          int64  `json:"cancel_at"`
	CanceledAt        int64  `json:"canceled_at"`
	EndedAt           int64  `json:"ended_at"`
	Paused            bool   `json:"collection_paused"`
}

// FromEvent reads a Stripe event as package receive/stripe has translated it. It is
// false for an event that says nothing about a subscription: of another source, of no
// subscription, or of a connected account, whose owner could otherwise sell himself a
// plan. The error is an *kgents.Error with CodeInvalid.
func FromEvent(e kgents.Event) (Change, bool, error) {
	if e.Source != kgents.SourceStripe {
		return Change{}, false, nil
	}
	var d data
	if err := json.Unmarshal(e.Data, &d); err != nil {
		return Change{}, false, &kgents.Error{Code: kgents.CodeInvalid, Message: "the data of the Stripe event can't be read", Err: err}
	}
	c := Change{
		ID: e.ID, Type: d.StripeType, Created: e.Time.Unix(),
		Subscription: d.Subscription, Status: d.Status, Price: d.Price, LookupKey: d.LookupKey, Plan: d.Plan, Quantity: d.Quantity,
		PeriodStart: d.PeriodStart, PeriodEnd: d.PeriodEnd, TrialEnd: d.TrialEnd,
		CancelAtPeriodEnd: d.CancelAtPeriodEnd, CancelAt: d.CancelAt, CanceledAt: d.CanceledAt, EndedAt: d.EndedAt, Paused: d.Paused,
		Invoice: d.Invoice, Amount: d.Amount, Currency: d.Currency, Attempt: d.AttemptCount, NextAttempt: d.NextAttempt,
	}
	switch e.Type {
	case "subscription.started":
		c.Kind = Created
		if d.Session != "" {
			c.Kind = Checkout
		}
	case "subscription.updated":
		c.Kind = Updated
	case "subscription.ended":
		c.Kind = Deleted
	case "payment.success":
		c.Kind = Paid
	case "payment.failed":
		c.Kind = Failed
	default:
		return Change{}, false, nil
	}
	return c, d.Subscription != "" && d.Account == "", nil
}

// Ref is the customer's id of ours that a Stripe event names, as checkout has handed it
// to Stripe; empty if it names none.
func Ref(e kgents.Event) string {
	var d data
	if e.Source != kgents.SourceStripe || json.Unmarshal(e.Data, &d) != nil || d.Account != "" {
		return ""
	}
	return d.CustomerRef
}
