package entitle

import (
	"math"
	"time"

	"github.com/kgents/kgents"
)

// Check answers whether customer may use more units of feature. Existing is how many
// there are of a feature without a meter, nil if the caller doesn't know, which counts
// as none; it is not looked at for a feature with one. Nothing is reserved.
//
// The error is an *kgents.Error: CodeNotFound for a customer or feature that isn't
// there, CodeInvalid for a negative number.
func (e *Engine) Check(customer, feature string, more int64, existing *int64) (Answer, error) {
	a, _, err := e.check(customer, feature, more, existing, false)
	return a, err
}

// Require is nil if Check allows it, else an *kgents.Error with CodePayment whose Extra
// says what a program needs to offer more.
func (e *Engine) Require(customer, feature string, more int64, existing *int64) error {
	a, err := e.Check(customer, feature, more, existing)
	if err != nil || a.Allowed {
		return err
	}
	return a.Refusal()
}

// Take is Check that also reserves n units of a feature with a meter and a hard limit
// when they are allowed: they count as used here until the tail has passed their
// events, so that requests that come at once don't each get what is left. Call release
// when the events are durable, or never will be; calling it again does nothing. Without
// it the reservation ends after ReservedFor. Release is never nil.
func (e *Engine) Take(customer, feature string, n int64) (release func(), a Answer, err error) {
	a, held, err := e.check(customer, feature, n, nil, true)
	if held.h == nil {
		return func() {}, a, err
	}
	return func() { e.release(held) }, a, nil
}

func (e *Engine) check(customer, feature string, more int64, existing *int64, take bool) (a Answer, held released, err error) {
	if more < 0 || existing != nil && *existing < 0 {
		return a, held, kgents.Errorf(kgents.CodeInvalid, "an amount is a whole number of 0 or more")
	}
	cat := e.c.Catalog()
	f, ok := cat.Feature(feature)
	if !ok {
		return a, held, kgents.Errorf(kgents.CodeNotFound, "there is no feature %.80q", feature)
	}
	account, ok := e.c.Accounts.Account(customer)
	if !ok {
		return a, held, kgents.Errorf(kgents.CodeNotFound, "there is no customer %.80q", customer)
	}
	a = Answer{Customer: account.ID, Plan: account.Plan.ID, Feature: f.ID, Subscribed: account.Subscribed}
	quota, has := account.Plan.Quotas[f.ID]
	if f.Metered() {
		held = e.measure(&a, quota, has, account, more, take)
	} else {
		if existing != nil {
			a.Used = *existing
		}
		a.judge(quota, has, 0, more)
	}
	if a.Allowed {
		e.metrics.allowed.Inc()
		return a, held, nil
	}
	e.metrics.refused.Inc()
	a.Upgrade = options(cat, account.Plan.ID, f.ID, a.Used, more)
	if e.c.Checkout != nil && !account.Subscribed {
		for i := range a.Upgrade {
			a.Upgrade[i].Checkout = e.c.Checkout(account.ID, a.Upgrade[i].Plan)
		}
	}
	return a, held, nil
}

// measure completes the answer for a feature with a meter.
func (e *Engine) measure(a *Answer, quota kgents.Quota, has bool, account Account, more int64, take bool) (out released) {
	now := e.now()
	c := e.customer(account.ID)
	c.mu.Lock()
	e.fit(c)
	c.seen = now
	k := c.counter(a.Feature)
	if k == nil { // the catalog was changed just now
		c.mu.Unlock()
		a.Stale = true
		a.judge(quota, has, 0, more)
		return out
	}
	from, to := window(account, quota.Per, now)
	k.turn(from, to, e.reading.Load())
	a.Used = k.used()
	a.ResetsAt = minuteTime(to)
	a.Stale = !e.live.Load() || !k.whole() || now.Sub(k.asked) > old && e.failing.Load()
	a.judge(quota, has, k.held(now, e.at.Load()), more)
	if take && a.Reason == ReasonWithin && quota.Over != kgents.OverBill && more > 0 {
		out = released{c, k, k.hold(more, now.Add(ReservedFor))}
	}
	c.mu.Unlock()
	e.touch(c)
	return out
}

// ReservedFor is how long a reservation lasts that nobody releases, and at most after
// its release.
const ReservedFor = 5 * time.Second

// add is a + b for numbers of 0 or more, at most the largest int64.
func add(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
