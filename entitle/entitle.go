// Package entitle answers whether a customer may use more of a feature.
package entitle

import (
	"context"
	"log/slog"
	"math"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/meter"
	"github.com/kgents/kgents/stream"
)

// Account is a customer as far as limits go.
type Account struct {
	ID                     string
	Plan                   kgents.Plan // in force now
	PeriodStart, PeriodEnd time.Time   // of the subscription; the calendar month in UTC without one
}

// Accounts are the customers. They answer from memory.
type Accounts interface {
	// Account returns the customer with this id as it is now.
	Account(id string) (Account, bool)

	// Each calls f with every customer.
	Each(f func(Account))
}

// Meter is the truth of what was used. *meter.Client is one.
type Meter interface {
	Meters(ctx context.Context) ([]meter.Meter, error)
	Query(ctx context.Context, q meter.Query) (meter.Result, error)
}

// Config is what an Engine needs.
type Config struct {
	Accounts   Accounts
	Catalog    func() *kgents.Catalog
	Meter      Meter
	JetStream  jetstream.JetStream
	Stream     stream.Config
	Log        *slog.Logger
	Registerer prometheus.Registerer

	// Settle is how long after the sink's acknowledgement the meter may not have
	// counted an event yet: 0 for the embedded meter, SettleRemote for OpenMeter, which
	// counts asynchronously.
	Settle time.Duration

	// Checkout returns a page where the customer can buy the plan, or "". It may be nil.
	Checkout func(customer, plan string) string

	// Crossed is told when the meter has counted a percent of a limit that is in
	// Catalog.AlertAt, by every replica and again after a restart. It must not block. It
	// may be nil.
	Crossed func(Crossing)
}

// SettleRemote is the Settle of an OpenMeter that is not the embedded one.
const SettleRemote = 10 * time.Second

// Crossing is a percent of a limit that a customer's usage has reached.
type Crossing struct {
	Customer, Plan         string
	Feature                kgents.Feature
	Percent                int // the highest that is reached
	Used                   int64
	Limit                  int64
	Over                   kgents.Over
	PeriodStart, PeriodEnd time.Time
}

// Engine answers from memory. Close it.
type Engine struct {
	c   Config
	now func() time.Time
}

// New returns an Engine that begins to read in the background. It needs neither NATS
// nor the meter to be there.
func New(c Config) *Engine { return &Engine{c: c, now: time.Now} }

// Close ends what runs in the background. The engine goes on answering from what it
// knows.
func (e *Engine) Close() {}

// Check answers whether customer may use more units of feature. Existing is how many
// there are of a feature without a meter, nil if the caller doesn't know; it is not
// looked at for a feature with one. Nothing is reserved.
//
// The error is an *kgents.Error: CodeNotFound for a customer or feature that isn't
// there, CodeInvalid for a negative number.
func (e *Engine) Check(customer, feature string, more int64, existing *int64) (Answer, error) {
	a, _, err := e.check(customer, feature, more, existing)
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

// Refusal is the error of an answer that doesn't allow.
func (a Answer) Refusal() *kgents.Error {
	err := kgents.Errorf(kgents.CodePayment, "%s", a.Explain())
	err.Extra = map[string]any{"feature": a.Feature, "used": a.Used, "limit": a.Limit, "upgrade": a.Upgrade}
	if !a.ResetsAt.IsZero() {
		err.Extra["resets_at"] = a.ResetsAt.UTC()
	}
	return err
}

// Take is Check that also reserves n units of a feature with a meter when they are
// allowed: they count as used here until the stream has shown their events, so that
// requests that come at once don't each get what is left. Call release once, when the
// events are durable or will never be. Without it the reservation ends after
// ReservedFor. Release is never nil, and does nothing when nothing was reserved.
func (e *Engine) Take(customer, feature string, n int64) (release func(), a Answer, err error) {
	a, _, err = e.check(customer, feature, n, nil)
	return func() {}, a, err
}

// ReservedFor is how long a reservation lasts that nobody releases.
const ReservedFor = 5 * time.Second

func (e *Engine) check(customer, feature string, more int64, existing *int64) (Answer, Account, error) {
	if more < 0 || existing != nil && *existing < 0 {
		return Answer{}, Account{}, kgents.Errorf(kgents.CodeInvalid, "an amount is a whole number of 0 or more")
	}
	cat := e.c.Catalog()
	if _, ok := cat.Feature(feature); !ok {
		return Answer{}, Account{}, kgents.Errorf(kgents.CodeNotFound, "there is no feature %.80q", feature)
	}
	account, ok := e.c.Accounts.Account(customer)
	if !ok {
		return Answer{}, Account{}, kgents.Errorf(kgents.CodeNotFound, "there is no customer %.80q", customer)
	}
	a := Answer{Customer: customer, Plan: account.Plan.ID, Feature: feature}
	q, has := account.Plan.Quotas[feature]
	used := int64(0)
	if existing != nil {
		used = *existing
	}
	a.judge(q, has, used, 0, more)
	if !a.Allowed {
		a.Upgrade = options(cat, account.Plan.ID, feature, used, more)
	}
	return a, account, nil
}

// add is a + b for numbers of 0 or more, at most the largest int64.
func add(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
