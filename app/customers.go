package app

import (
	"context"
	"time"

	"github.com/kgents/kgents/customer"
	"github.com/kgents/kgents/plan"
	"github.com/kgents/kgents/receive"
)

// embeddedPatience is how long a start waits for the customers in the embedded server.
const embeddedPatience = 10 * time.Second

// startCustomers opens what is sold and to whom. It needs no NATS that answers.
func (a *App) startCustomers(ctx context.Context) (err error) {
	a.plans, err = plan.Open(plan.Config{
		File: a.config.PlansFile, Prices: a.config.StripePrices, Meters: a.meter.Meters, Log: a.log, Registerer: a.reg,
	})
	if err != nil {
		return err
	}
	a.onStop(a.plans.Close)
	a.customers = customer.Open(customer.Config{
		JetStream: a.js, Stream: a.streams, Catalog: a.plans.Current, Log: a.log, Registerer: a.reg,
	})
	a.onStop(a.customers.Close)
	if a.config.EmbeddedNATS() { // which is there: who reads "kgents is up" may use it
		ctx, cancel := context.WithTimeout(ctx, embeddedPatience)
		defer cancel()
		if err := a.customers.Wait(ctx); err != nil {
			a.log.Warn("the customers are still being read", "error", err)
		}
	}
	a.v1 = append(a.v1, a.customers)
	return nil
}

// keys are all API keys that are let in: the operator's, and where there are customers
// theirs.
func (a *App) keys() receive.Keys {
	keys := receive.NewKeys(a.config.APIKeys)
	if a.customers == nil {
		return keys
	}
	return keys.With(a.customers)
}
