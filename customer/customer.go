// Package customer keeps who is billed, and the API keys they send with, in a
// JetStream key-value bucket beside the stream of events: it is replicated, saved and
// restored with it.
//
// It promises that every change is made against the version it was decided on, so that
// of two that meet one is told; that a secret is kept as its hash and shown once; that a
// key which is revoked, or whose customer is deleted, opens nothing on any replica that
// NATS reaches within a second; and that a Stripe customer belongs to one customer.
//
// Everything is in memory, by a watch of the bucket, and asking costs no request. While
// NATS is away, replicas go on with what they knew, and a key they have never seen is
// answered with CodeUnavailable: it may be good. When NATS is back everything is read
// again, so nothing that happened meanwhile is missed. Changes fail with CodeUnavailable
// while NATS is away.
package customer

import (
	"log/slog"
	"regexp"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/subscription"
)

// Bounds. Past each of them a change is refused, with a text that names it.
const (
	MaxCustomers = 250_000 // in all; 1 to 2 kB of memory each on every replica
	MaxKeys      = 100     // of one customer, and of the operator
	MaxName      = 200     // bytes of a customer's or a key's name
	MaxPage      = 500     // customers or keys in one answer

	// keysPerHour is how many keys a customer's keys make of a replica, past MaxKeys at
	// once. A revoked key's name stays in the bucket, so that no restore brings it back.
	keysPerHour = 60

	// maxValueBytes bounds a customer with the state of its subscriptions.
	maxValueBytes = 256 << 10
)

// Customer is who is billed.
type Customer struct {
	// ID is the subject of its usage events: 1 to 63 letters, digits, - and _, the
	// first a letter or a digit.
	ID string

	Name    string
	Stripe  string // the Stripe customer that pays for it; empty without one. Once set it stays.
	Created time.Time

	// Override is the plan that the operator has set, whatever is paid. Empty = none.
	Override string

	// Found is true of a customer that nobody has made: a Stripe customer that no
	// customer claimed. Its id is the Stripe id, and who claims it takes it over.
	Found bool

	// Subscriptions is what Stripe has told about it.
	Subscriptions subscription.State

	// Revision counts the changes of all customers and keys: it is larger after each
	// change of this one.
	Revision uint64
}

// Deleted tells, of a customer that a Watch was called with, that it is no more.
func (c Customer) Deleted() bool { return c.Created.IsZero() }

// Standing is the plan that the customer has at a time, and why. The operator's
// override wins; where the catalog doesn't have it any more, what is paid counts.
func (c Customer) Standing(now time.Time, cat *kgents.Catalog) subscription.Standing {
	s := c.override(c.Subscriptions.Standing(now, cat), cat)
	if c.Override == "" {
		return s
	}
	step := subscription.Step{Event: "override", Text: "the operator has set the plan " + c.Override}
	if s.Plan != c.Override {
		step.Text += ", which is none of the plans any more: it is ignored"
	}
	s.Why = append(s.Why[:len(s.Why):len(s.Why)], step)
	return s
}

// Brief is Standing without Why, which costs a tenth of it.
func (c Customer) Brief(now time.Time, cat *kgents.Catalog) subscription.Standing {
	return c.override(c.Subscriptions.Brief(now, cat), cat)
}

// Terms are those of the subscriptions, see subscription.State.Terms. A plan that the
// operator has set stands over all of them, since nobody knows since when it was set.
func (c Customer) Terms(from, until, now time.Time, cat *kgents.Catalog) []subscription.Term {
	terms := c.Subscriptions.Terms(from, until, now, cat)
	for i := range terms {
		terms[i] = c.overrideTerm(terms[i], cat)
	}
	return terms
}

// Term is the one that has a time in it, likewise.
func (c Customer) Term(at, now time.Time, cat *kgents.Catalog) subscription.Term {
	return c.overrideTerm(c.Subscriptions.Term(at, now, cat), cat)
}

func (c Customer) overrideTerm(t subscription.Term, cat *kgents.Catalog) subscription.Term {
	if _, ok := cat.Plan(c.Override); ok {
		t.Plan = c.Override
		for i := range t.Parts {
			t.Parts[i].Plan = c.Override
		}
	}
	return t
}

func (c Customer) override(s subscription.Standing, cat *kgents.Catalog) subscription.Standing {
	if _, ok := cat.Plan(c.Override); ok {
		s.Plan = c.Override
	}
	return s
}

// Config is what a Store needs.
type Config struct {
	JetStream  jetstream.JetStream
	Stream     stream.Config
	Log        *slog.Logger
	Registerer prometheus.Registerer

	// Catalog is the plans of now, for Register and for checking an override. Nil:
	// there are none.
	Catalog func() *kgents.Catalog
}

func (c Config) bucket() string { return c.Stream.Name + "-accounts" }

var (
	idPattern     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`)
	stripePattern = regexp.MustCompile(`^cus_[A-Za-z0-9]{1,59}$`)
)

// ValidID tells whether id can be a customer's.
func ValidID(id string) bool { return idPattern.MatchString(id) }

// check is nil if the customer may be kept.
func (s *Store) check(c Customer) error {
	switch {
	case !ValidID(c.ID):
		return kgents.Errorf(kgents.CodeInvalid, "a customer's id has 1 to 63 letters, digits, - and _, and begins with a letter or a digit")
	case c.Stripe != "" && !stripePattern.MatchString(c.Stripe):
		return kgents.Errorf(kgents.CodeInvalid, "a Stripe customer's id is cus_ and then letters and digits")
	}
	return checkName(c.Name)
}

// checkOverride is nil if plan may be an override.
func (s *Store) checkOverride(plan string) error {
	if plan == "" {
		return nil
	}
	if _, ok := s.catalog().Plan(plan); !ok {
		return kgents.Errorf(kgents.CodeInvalid, "the override names no plan: see GET /v1/plans for those there are")
	}
	return nil
}

// checkName is nil if a name may be shown in a terminal and a page.
func checkName(name string) error {
	if len(name) > MaxName {
		return kgents.Errorf(kgents.CodeInvalid, "a name has %d bytes at most", MaxName)
	}
	if !utf8.ValidString(name) {
		return kgents.Errorf(kgents.CodeInvalid, "a name must be UTF-8")
	}
	for _, r := range name {
		if !unicode.IsPrint(r) { // controls, and what turns the direction of a line around
			return kgents.Errorf(kgents.CodeInvalid, "a name has printable characters only")
		}
	}
	return nil
}

func (s *Store) catalog() *kgents.Catalog {
	if s.config.Catalog != nil {
		if c := s.config.Catalog(); c != nil {
			return c
		}
	}
	return &kgents.Catalog{}
}
