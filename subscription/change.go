package subscription

import (
	"cmp"
	"encoding/json"
	"strings"
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
	Status       string `json:"status,omitempty"` // Stripe's word; of a checkout that of its payment
	Price        string `json:"price,omitempty"`  // Stripe's price id
	LookupKey    string `json:"lookup_key,omitempty"`
	Plan         string `json:"plan,omitempty"` // as metadata names it, else the lookup key
	Quantity     int64  `json:"quantity,omitempty"`

	PeriodStart       int64 `json:"period_start,omitempty"`
	PeriodEnd         int64 `json:"period_end,omitempty"`
	TrialEnd          int64 `json:"trial_end,omitempty"`
	CancelAtPeriodEnd bool  `json:"cancel_at_period_end,omitempty"`
	CancelAt          int64 `json:"cancel_at,omitempty"`
	CanceledAt        int64 `json:"canceled_at,omitempty"`
	EndedAt           int64 `json:"ended_at,omitempty"`
	Paused            bool  `json:"collection_paused,omitempty"` // invoices are not collected for now

	Invoice     string `json:"invoice,omitempty"`
	Amount      int64  `json:"amount,omitempty"` // minor unit of Currency
	Currency    string `json:"currency,omitempty"`
	Attempt     int64  `json:"attempt,omitempty"`
	NextAttempt int64  `json:"next_attempt,omitempty"`
}

// snapshot tells whether it says how a subscription is.
func (c Change) snapshot() bool { return c.Kind == Created || c.Kind == Updated || c.Kind == Deleted }

// progress orders Stripe's statuses by which of two is the later one, where the time
// can't tell. Past due stands over active: a payment that came in the same second is
// known from its invoice, and a failure may not be.
var progress = map[string]int{
	StatusIncomplete: 1, StatusTrialing: 2, StatusActive: 3, StatusPastDue: 4,
	StatusPaused: 5, StatusUnpaid: 6, StatusIncompleteExpired: 7, StatusCanceled: 8,
}

// compare orders changes by when they happened. Stripe's times are whole seconds, so
// of two of a second the kind decides, then the later period, then the status that
// comes later in a life, and then what is arbitrary but always the same. It is total:
// only equal changes are equal in it.
func compare(a, b Change) int {
	if c := cmp.Compare(a.Created, b.Created); c != 0 || a == b {
		return c
	}
	if c := cmp.Or(
		cmp.Compare(a.Kind, b.Kind),
		cmp.Compare(a.PeriodEnd, b.PeriodEnd),
		cmp.Compare(progress[a.Status], progress[b.Status]),
		strings.Compare(a.ID, b.ID),
	); c != 0 {
		return c
	}
	// The same event as two versions of the translation made it: the one that says more.
	x, y := a.content(), b.content()
	return cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(x, y))
}

func (c Change) content() string {
	b, _ := json.Marshal(c) // texts, numbers and flags: it can't fail
	return string(b)
}
