// Package subscription tells which plan a customer has, from Stripe's webhooks only.
//
// Webhooks arrive late, doubled and out of order. A State is therefore a set of them:
// the same events give the same State, and the same Standing, in whatever order and
// however often they are applied. Apply and Merge are commutative, associative and
// idempotent, and stay so at the bounds below: what is kept of a set is chosen by the
// set alone.
//
// It reads no clock and does no input or output, so it has no dependency that could be
// away. The rules, as a table, are in docs/saas/subscriptions.md.
package subscription

import (
	"encoding/json"
	"slices"
	"time"
)

// Bounds of what a State keeps of one customer. A change is kept for as long as any of
// them keeps it; of each it is the newest that stay. They are far beyond what a customer
// who pays every month makes in years, but for MaxHistory, which only shortens the
// explanation.
const (
	// MaxSubscriptions is of how many subscriptions the newest snapshot is kept, and
	// how many ends. Of a subscription beyond it nothing is known.
	MaxSubscriptions = 32

	// MaxCheckouts is how many checkouts are kept. An older one matters only if its
	// subscription has never been heard of.
	MaxCheckouts = 16

	// MaxPayments is how many payments and failures are kept, both together, so that
	// a failure never outlives the payment that came after it.
	MaxPayments = 64

	// MaxHistory is how many changes of any kind are kept for the explanation.
	MaxHistory = 64
)

// State is what Stripe has said about the subscriptions of one customer. The zero value
// is a customer of whom Stripe has said nothing. It is immutable and may be shared.
type State struct {
	Changes []Change `json:"changes,omitempty"` // in the order in which they happened
}

// Apply returns the state that knows c as well.
func (s State) Apply(c Change) State {
	i, found := slices.BinarySearchFunc(s.Changes, c, compare)
	if found {
		return s
	}
	all := make([]Change, 0, len(s.Changes)+1)
	all = append(append(append(all, s.Changes[:i]...), c), s.Changes[i:]...)
	return State{Changes: keep(all)}
}

// Merge returns the state that knows what either of both does.
func (s State) Merge(o State) State { return sorted(slices.Concat(s.Changes, o.Changes)) }

// Knows tells whether applying c would change nothing.
func (s State) Knows(c Change) bool { return slices.Equal(s.Apply(c).Changes, s.Changes) }

// sorted makes a state of changes in any order, which it may change.
func sorted(all []Change) State {
	slices.SortFunc(all, compare)
	return State{Changes: keep(slices.Compact(all))}
}

// AsOf is the state without what happened after t, by Stripe's clock: what would have
// been known then, had every event come at once.
func (s State) AsOf(t time.Time) State {
	n, _ := slices.BinarySearchFunc(s.Changes, t.Unix(), func(c Change, at int64) int {
		if c.Created <= at {
			return -1
		}
		return 1
	})
	return State{Changes: s.Changes[:n:n]}
}

// UnmarshalJSON reads what MarshalJSON wrote, and puts right what somebody else did.
func (s *State) UnmarshalJSON(b []byte) error {
	var in struct {
		Changes []Change `json:"changes"`
	}
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	*s = sorted(in.Changes)
	return nil
}

// keep returns what the bounds leave of all, which is sorted and without repetitions.
//
// Each bound is a choice of the k greatest by one total order that belongs to the
// elements alone. An element that it leaves out has k greater ones, and still has them
// in every larger set, so it is never missed later: that is why the order in which
// changes come can't be seen in what is kept.
func keep(all []Change) []Change {
	if len(all) == 0 {
		return nil
	}
	if len(all) <= min(MaxSubscriptions, MaxCheckouts, MaxPayments, MaxHistory) {
		return all
	}
	var (
		history, ends, checkouts, payments int
		seen                               = map[string]bool{}
		kept                               = make([]Change, 0, len(all))
	)
	within := func(n *int, most int) bool { *n++; return *n <= most }
	for _, c := range slices.Backward(all) {
		keeps := within(&history, MaxHistory)
		switch {
		case c.Kind == Checkout:
			keeps = within(&checkouts, MaxCheckouts) || keeps
		case c.Kind == Paid || c.Kind == Failed:
			keeps = within(&payments, MaxPayments) || keeps
		case c.Kind == Deleted:
			keeps = within(&ends, MaxSubscriptions) || keeps
		}
		if c.snapshot() && !seen[c.Subscription] {
			keeps = len(seen) < MaxSubscriptions || keeps
			seen[c.Subscription] = true
		}
		if keeps {
			kept = append(kept, c)
		}
	}
	slices.Reverse(kept)
	return kept
}
