package kgents

import (
	"errors"
	"math"
	"strconv"
	"time"
)

// Limit is how much of something is allowed. The zero value allows nothing, and no
// limit is a word of its own: neither 0 nor a negative number means it.
type Limit struct {
	n         int64
	unlimited bool
}

// Unlimited is the word for a limit that is none.
const Unlimited = "unlimited"

// NoLimit allows any amount.
func NoLimit() Limit { return Limit{unlimited: true} }

// AtMost allows n; a negative n allows nothing.
func AtMost(n int64) Limit { return Limit{n: max(0, n)} }

// Unlimited tells whether any amount is allowed.
func (l Limit) Unlimited() bool { return l.unlimited }

// N is the limit, 0 or more; of no limit it is the largest int64.
func (l Limit) N() int64 {
	if l.unlimited {
		return math.MaxInt64
	}
	return l.n
}

// Allows tells whether more fits in when used is used already. Neither is negative;
// a sum past an int64 fits into no limit but NoLimit.
func (l Limit) Allows(used, more int64) bool {
	return l.unlimited || used <= l.n && more <= l.n-used
}

// Left is what is allowed beyond used, 0 or more.
func (l Limit) Left(used int64) Limit {
	if l.unlimited {
		return l
	}
	return AtMost(l.n - min(used, l.n))
}

// String is the number, or the word "unlimited".
func (l Limit) String() string {
	if l.unlimited {
		return Unlimited
	}
	return strconv.FormatInt(l.n, 10)
}

// MarshalJSON writes a number, or the string "unlimited".
func (l Limit) MarshalJSON() ([]byte, error) {
	if l.unlimited {
		return []byte(`"` + Unlimited + `"`), nil
	}
	return strconv.AppendInt(nil, l.n, 10), nil
}

// UnmarshalJSON is the reverse of MarshalJSON.
func (l *Limit) UnmarshalJSON(b []byte) error {
	if text, err := strconv.Unquote(string(b)); err == nil {
		if text != Unlimited { // a number in quotes is none
			return errLimit
		}
		b = []byte(text)
	}
	return l.UnmarshalText(b)
}

// UnmarshalText reads a whole number that is not negative, or "unlimited".
func (l *Limit) UnmarshalText(b []byte) error {
	if string(b) == Unlimited {
		*l = NoLimit()
		return nil
	}
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil || n < 0 {
		return errLimit
	}
	*l = AtMost(n)
	return nil
}

var errLimit = errors.New(`a limit is a whole number of 0 or more, or the word "unlimited"`)

// Catalog is everything that is sold: what can be limited, and the plans that limit
// it. Package plan reads it from a file and checks it; who has one from there may
// rely on every name in it leading somewhere.
type Catalog struct {
	Currency string    // ISO 4217, small letters; every amount below is in its minor unit
	Features []Feature // in the order in which they are shown
	Plans    []Plan    // from the smallest to the largest: an upgrade is a later one
	Default  string    // id of the plan of who has paid for none
	Trial    time.Duration
	Grace    time.Duration // after a payment failed, before the plan falls to Default
	AlertAt  []int         // percents of a limit at which the operator is told, ascending
}

// Plan returns the plan with this id.
func (c *Catalog) Plan(id string) (Plan, bool) {
	for _, p := range c.Plans {
		if p.ID == id {
			return p, true
		}
	}
	return Plan{}, false
}

// Feature returns the feature with this id.
func (c *Catalog) Feature(id string) (Feature, bool) {
	for _, f := range c.Features {
		if f.ID == id {
			return f, true
		}
	}
	return Feature{}, false
}

// PlanOfPrice returns the plan that a Stripe price, or its lookup key, is a price of.
func (c *Catalog) PlanOfPrice(price string) (Plan, bool) {
	for _, p := range c.Plans {
		for _, pr := range p.Prices {
			if price != "" && (pr.Stripe == price || pr.LookupKey == price) {
				return p, true
			}
		}
	}
	return Plan{}, false
}

// Feature is something that plans limit.
type Feature struct {
	ID   string // small letters, digits and _: "tokens"
	Name string // for people: "Tokens"
	Unit string // what one of it is called: "token"

	// Meter is the slug of the meter, of aggregation SUM or COUNT, that counts what a
	// customer has used in a period. Empty for what exists rather than is used, such as
	// towns: then who asks says how many there are.
	Meter string
}

// Metered tells whether a meter counts it.
func (f Feature) Metered() bool { return f.Meter != "" }

// Plan is what a customer may do and what it costs.
type Plan struct {
	ID     string // small letters, digits and _
	Name   string
	Prices []Price // none: it is free
	Rate   Rate
	Quotas map[string]Quota // by feature id; a feature without one is not in the plan
	Perks  []string         // features that are there or not, for people to read
}

// Price is what a plan costs an interval.
type Price struct {
	Interval  string // "month" or "year"
	Amount    int64  // minor unit
	LookupKey string // by which Stripe knows the price in every environment
	Stripe    string // Stripe's price id in this environment; empty = found by LookupKey
}

// Rate bounds the requests of a customer.
type Rate struct {
	PerMinute Limit
	Burst     int64 // at once after a pause, at least 1
}

// Over is what happens past a quota.
type Over string

// What happens past a quota.
const (
	OverRefuse Over = "refuse" // a hard limit
	OverBill   Over = "bill"   // a soft limit: what is past it is billed
)

// Periods of a quota.
const (
	PerPeriod = "period" // of the subscription, see UsagePeriod; a calendar month in UTC without one
	PerDay    = "day"    // in UTC
	PerNone   = ""       // at any one time, for features without a meter
)

// Quota is how much of a feature a plan allows.
type Quota struct {
	Limit   Limit
	Per     string // PerPeriod, PerDay or PerNone
	Over    Over
	Overage Overage // of OverBill
}

// Overage is the price of what is past a soft limit: Amount of the currency's minor
// unit for each Per units. It is charged by the share, and the sum of a line is
// rounded once, half up, so $0.008 per 1,000 is Amount 8, Per 10,000.
type Overage struct {
	Amount int64
	Per    int64
}

// Cost is the price of n units in the minor unit, rounded half up. N, Amount and Per
// are within what package plan allows, so it can't overflow below 2^63/Amount units;
// past that it is the largest int64.
func (o Overage) Cost(n int64) int64 {
	if n <= 0 || o.Amount <= 0 || o.Per <= 0 {
		return 0
	}
	whole, rest := n/o.Per, n%o.Per
	if whole > (math.MaxInt64-o.Amount)/o.Amount {
		return math.MaxInt64
	}
	return whole*o.Amount + (rest*o.Amount+o.Per/2)/o.Per
}
