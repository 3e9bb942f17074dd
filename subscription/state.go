// Package subscription tells which plan a customer has, from Stripe's webhooks only.
//
// Webhooks arrive late, doubled and out of order. State is therefore a set of them: the
// same events give the same State and the same Standing in whatever order and however
// often they are applied. Apply and Merge are commutative, associative and idempotent.
package subscription

import "slices"

// State is what Stripe has said about the subscriptions of one customer. The zero value
// is a customer of whom Stripe has said nothing. It is immutable and may be shared.
type State struct {
	Changes []Change `json:"changes,omitempty"` // in the order in which they happened
}

// Apply returns the state that knows c as well.
func (s State) Apply(c Change) State { return s.Merge(State{Changes: []Change{c}}) }

// Merge returns the state that knows what either of both does.
func (s State) Merge(o State) State {
	all := slices.Concat(s.Changes, o.Changes)
	slices.SortFunc(all, compare)
	return State{Changes: slices.Compact(all)}
}
