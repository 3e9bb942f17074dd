package app

import (
	"fmt"
	"time"
)

// partHealth is how a part is that plans rest on.
type partHealth struct {
	Status string `json:"status"` // healthy, starting or degraded
	Detail string `json:"detail,omitempty"`
}

const (
	partHealthy  = "healthy"
	partStarting = "starting"

	// startsWithin is how long a part may take after the start until it is degraded.
	startsWithin = 15 * time.Second
)

// part is healthy without a detail.
func (a *App) part(now time.Time, detail string) *partHealth {
	switch {
	case detail == "":
		return &partHealth{Status: partHealthy}
	case now.Sub(a.began) < startsWithin:
		return &partHealth{partStarting, detail}
	}
	return &partHealth{healthDegraded, detail}
}

// customersHealth tells whether this replica knows all customers and API keys.
func (a *App) customersHealth(now time.Time) *partHealth {
	switch {
	case a.customers == nil:
		return nil
	case !a.customers.Ready():
		return a.part(now, "customers and API keys are not read yet: customers' keys are answered 503")
	case !a.customers.Current():
		return a.part(now, "changes of customers and API keys do not arrive: those that are known go on to work, others are answered 503")
	}
	return a.part(now, "")
}

// subscriptionsHealth tells whether what Stripe tells reaches the customers.
func (a *App) subscriptionsHealth(now time.Time) *partHealth {
	if a.follower == nil {
		return nil
	}
	oldest, reads := a.follower.Status()
	switch {
	case !reads:
		return a.part(now, "what Stripe tells can't be read from the stream: it waits there, and plans stay as they are")
	case oldest > lateAfter:
		return a.part(now, fmt.Sprintf("what Stripe tells is not applied to customers, the oldest for %.0f s", oldest.Seconds()))
	}
	return a.part(now, "")
}

// entitlementsHealth tells whether what customers have used is known.
func (a *App) entitlementsHealth(now time.Time) *partHealth {
	if a.entitle == nil {
		return nil
	}
	stream, meter := a.entitle.Away()
	switch {
	case stream:
		return a.part(now, "the stream is not followed: limits go by what is known")
	case meter:
		return a.part(now, "the meter does not say what was used: limits go by what is known and the stream")
	}
	return a.part(now, "")
}
