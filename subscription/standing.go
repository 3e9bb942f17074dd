package subscription

import (
	"time"

	"github.com/kgents/kgents"
)

// Statuses of a Standing. They are Stripe's words, but for StatusNone.
const (
	StatusNone              = "none" // never had a subscription
	StatusTrialing          = "trialing"
	StatusActive            = "active"
	StatusPastDue           = "past_due" // a payment failed; in its grace the plan stays
	StatusUnpaid            = "unpaid"   // a payment failed, and the grace is over
	StatusPaused            = "paused"
	StatusIncomplete        = "incomplete" // the first payment hasn't come
	StatusIncompleteExpired = "incomplete_expired"
	StatusCanceled          = "canceled"
)

// Standing is what the state means at one moment.
type Standing struct {
	Plan         string `json:"plan"`                   // id of a plan of the catalog
	Status       string `json:"status"`                 // one of the statuses above
	Subscription string `json:"subscription,omitempty"` // Stripe's id of the one that counts
	Quantity     int64  `json:"quantity"`               // at least 1

	// The period over which a quota is counted: PeriodStart <= now < PeriodEnd, always.
	PeriodStart time.Time `json:"period_start"`
	PeriodEnd   time.Time `json:"period_end"`

	TrialEnd time.Time `json:"trial_end,omitzero"`
	GraceEnd time.Time `json:"grace_end,omitzero"` // when the plan falls, or fell, to the default for want of a payment
	CancelAt time.Time `json:"cancel_at,omitzero"` // when the plan ends, or ended, because it was canceled

	Why []Step `json:"why,omitempty"`
}

// Step is one line of the explanation: an event, or a conclusion from all of them.
type Step struct {
	At           time.Time `json:"at"`
	Event        string    `json:"event,omitempty"` // Stripe's event id; empty for a conclusion
	Type         string    `json:"type,omitempty"`  // Stripe's type
	Subscription string    `json:"subscription,omitempty"`
	Text         string    `json:"text"` // sentences for an operator
}

// Standing tells what the state means now: the plan, its period, and why. It never
// fails: without anything paid it is the catalog's default plan and the calendar month
// in UTC.
func (s State) Standing(now time.Time, cat *kgents.Catalog) Standing {
	now = now.UTC()
	start := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
	st := Standing{Plan: cat.Default, Status: StatusNone, Quantity: 1, PeriodStart: start, PeriodEnd: start.AddDate(0, 1, 0)}
	for _, c := range s.Changes {
		plan, known := cat.PlanOfPrice(c.Price)
		if !known {
			plan, known = cat.PlanOfPrice(c.LookupKey)
		}
		if !known {
			plan, known = cat.Plan(c.Plan)
		}
		switch {
		case c.Kind == Deleted:
			st.Plan, st.Status, st.Subscription = cat.Default, StatusCanceled, c.Subscription
		case known && (c.Status == StatusActive || c.Status == StatusTrialing):
			st.Plan, st.Status, st.Subscription = plan.ID, c.Status, c.Subscription
		}
	}
	return st
}
