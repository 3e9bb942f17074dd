// Package billing is everything that calls Stripe's API: checkout, the portal, changes
// of a subscription, the products and prices that plans are sold by, and the report of
// overage to Stripe's billing meters.
//
// It promises that nothing here changes what a customer may do: that comes from
// Stripe's webhooks only, and every answer says so. The same request twice does the
// same once: each POST has an idempotency key. Overage is reported exactly once, see
// Reporter.
//
// When Stripe is away, a call fails within callTimeout with CodeUnavailable, and
// nothing waits; overage waits in the meter and is reported later. Without an API key
// every call fails with CodeMisconfig. The key is in no error and in no log, nor is
// what was sent or answered: an error has Stripe's type, code and request id.
package billing

import (
	"context"
	"time"

	"github.com/kgents/kgents"
)

// Customer is what billing has to know of a customer.
type Customer struct {
	ID           string
	Since        time.Time // when it was made: one with the same id later is another
	Name         string    // for who looks at Stripe's dashboard; may be empty
	Stripe       string    // Stripe's customer id; empty = Stripe knows none yet
	Subscription string    // Stripe's id of the subscription that counts; empty = none is known
}

// Customers is who there is. Errors are *kgents.Error and are shown to the caller.
type Customers interface {
	// Billing returns a customer: CodeNotFound if there is none of this id,
	// CodeUnavailable as long as that can't be told.
	Billing(ctx context.Context, id string) (Customer, error)

	// SetStripe keeps Stripe's id of a customer who has none. It is no error if the
	// customer has this one already, and CodeConflict if it has another, or if another
	// customer has this one.
	SetStripe(ctx context.Context, id, stripeID string) error
}

// Catalog is what is sold now; never nil.
type Catalog func() *kgents.Catalog
