package subscription

import (
	"cmp"
	"slices"
	"strings"
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
	StatusPaused            = "paused"   // the trial ended without a way to pay
	StatusIncomplete        = "incomplete"
	StatusIncompleteExpired = "incomplete_expired"
	StatusCanceled          = "canceled"
)

// Statuses lists the statuses, in the order of a subscription's life.
func Statuses() []string {
	return []string{
		StatusNone, StatusIncomplete, StatusIncompleteExpired, StatusTrialing, StatusActive,
		StatusPastDue, StatusUnpaid, StatusPaused, StatusCanceled,
	}
}

// Standing is what a State means at one moment.
type Standing struct {
	Plan         string `json:"plan"`                   // id of a plan of the catalog
	Status       string `json:"status"`                 // one of Statuses, or a newer word of Stripe's
	Subscription string `json:"subscription,omitempty"` // Stripe's id of the one that counts, or of the last one that did
	Quantity     int64  `json:"quantity"`               // at least 1

	// The period over which quotas are counted: PeriodStart <= now < PeriodEnd, always.
	// It is the subscription's; the calendar month in UTC when nothing is paid, which
	// begins late in the month in which the last plan ended, where that ended.
	PeriodStart time.Time `json:"period_start"`
	PeriodEnd   time.Time `json:"period_end"`

	TrialEnd time.Time `json:"trial_end,omitzero"`
	GraceEnd time.Time `json:"grace_end,omitzero"` // when the plan falls, or fell, for want of a payment
	CancelAt time.Time `json:"cancel_at,omitzero"` // when the plan ends, or ended, because it was canceled

	Why []Step `json:"why,omitempty"`
}

// Step is one line of the explanation: an event, or what follows from all of them.
type Step struct {
	At           time.Time `json:"at"`
	Event        string    `json:"event,omitempty"` // Stripe's event id; empty for a conclusion
	Type         string    `json:"type,omitempty"`  // Stripe's type
	Subscription string    `json:"subscription,omitempty"`
	Text         string    `json:"text"` // sentences for an operator
}

// Standing tells what the state means now: the plan, its period, and why, event by
// event. It never fails: without anything paid it is the catalog's default plan.
//
// It knows all events, also those after now; for what was known at an earlier time, use
// AsOf. Explaining costs far more than deciding: see Brief.
func (s State) Standing(now time.Time, cat *kgents.Catalog) Standing {
	st := s.Brief(now, cat)
	st.Why = s.why(now.UTC(), cat)
	return st
}

// Brief is Standing without Why, for who asks often.
func (s State) Brief(now time.Time, cat *kgents.Catalog) Standing {
	b := book{}
	for _, c := range s.Changes {
		b.add(c)
	}
	return b.decide(now.UTC(), cat).Standing
}

// book holds the lives of a customer's subscriptions, by their ids.
type book []*life

func (b *book) add(c Change) { b.of(c.Subscription).add(c) }

func (b *book) of(id string) *life {
	i, found := slices.BinarySearchFunc(*b, id, func(l *life, id string) int { return strings.Compare(l.id, id) })
	if !found {
		*b = slices.Insert(*b, i, &life{id: id})
	}
	return (*b)[i]
}

// decision is what a book means at one moment.
type decision struct {
	Standing
	best     int // index of the verdict that Standing is; -1 without any
	verdicts []verdict
}

// decide lets the best subscription count: the largest plan, of equal ones the one that
// is paid, then the one with more seats, then with the later end.
func (b book) decide(now time.Time, cat *kgents.Catalog) decision {
	d := decision{best: -1, verdicts: make([]verdict, len(b))}
	for i, l := range b {
		d.verdicts[i] = l.judge(now, cat)
		if d.best < 0 || better(d.verdicts[i], d.verdicts[d.best]) > 0 {
			d.best = i
		}
	}
	d.Standing = Standing{Plan: cat.Default, Status: StatusNone, Quantity: 1}
	if d.best >= 0 {
		best := d.verdicts[d.best]
		d.Standing = best.Standing
		if best.rank < 0 || !best.counts {
			d.Plan = cat.Default
		}
		if best.counts {
			return d
		}
		d.Quantity = 1
	}
	d.PeriodStart, d.PeriodEnd = month(now)
	for _, v := range d.verdicts {
		if v.until.After(d.PeriodStart) && !v.until.After(now) {
			d.PeriodStart = v.until
		}
	}
	return d
}

func better(a, b verdict) int {
	switch {
	case a.counts && !b.counts:
		return 1
	case b.counts && !a.counts:
		return -1
	case !a.counts: // the one that was heard of last
		return cmp.Or(cmp.Compare(a.seen, b.seen), strings.Compare(a.id, b.id))
	}
	paid := func(v verdict) int {
		if v.Status == StatusPastDue {
			return 0
		}
		return 1
	}
	return cmp.Or(
		cmp.Compare(a.rank, b.rank),
		cmp.Compare(paid(a), paid(b)),
		cmp.Compare(a.Quantity, b.Quantity),
		a.PeriodEnd.Compare(b.PeriodEnd),
		strings.Compare(a.id, b.id),
	)
}
