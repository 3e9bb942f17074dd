package app

import (
	"context"
	"sync"
	"time"

	"github.com/kgents/kgents/emit"
)

// What the demo sends: a day's past at once, then a trickle for as long as the
// program runs.
const (
	demoPast      = 24 * time.Hour
	demoStripe    = 400
	demoUsage     = 4000
	demoCustomers = 12
	demoRate      = 3 // requests a second of each kind
)

// Demo sends signed Stripe events and usage to the program itself, and lets two
// customers' towns live, over HTTP as anyone else, until ctx ends.
func (a *App) Demo(ctx context.Context) {
	var towns sync.WaitGroup
	defer towns.Wait()
	towns.Go(func() { a.demoTowns(ctx) })
	var past sync.WaitGroup
	for _, part := range []struct {
		name   string
		source func(emit.Mix) (emit.Source, error)
		count  int
	}{
		{"stripe", emit.Stripe, demoStripe},
		{"usage", func(m emit.Mix) (emit.Source, error) { return emit.Usage(emit.UsageMix{Mix: m, Batch: 20}) }, demoUsage},
	} {
		past.Go(func() {
			source, err := part.source(emit.Mix{Count: part.count, Customers: demoCustomers, Over: demoPast, Duplicates: 0.05, Shuffle: true})
			if err != nil {
				a.log.Error("the demo can't send", "kind", part.name, "error", err)
				return
			}
			r := emit.Run(ctx, a.demoPlan(source, 4, 0))
			a.log.Info("the demo has sent a day's events", "kind", part.name, "events", r.Distinct(), "sent_twice", r.Duplicates, "refused", r.Refused)
		})
	}
	past.Wait()
	var trickle sync.WaitGroup
	for _, source := range []func(emit.Mix) (emit.Source, error){
		emit.Stripe,
		func(m emit.Mix) (emit.Source, error) { return emit.Usage(emit.UsageMix{Mix: m, Batch: 5}) },
	} {
		trickle.Go(func() {
			if s, err := source(emit.Mix{Customers: demoCustomers}); err == nil {
				emit.Run(ctx, a.demoPlan(s, 1, demoRate))
			}
		})
	}
	trickle.Wait()
}

func (a *App) demoPlan(s emit.Source, concurrency int, rate float64) emit.Plan {
	return emit.Plan{
		URL: a.URL(), APIKey: a.config.APIKeys[0], WebhookSecret: a.config.WebhookSecrets[0],
		Source: s, Concurrency: concurrency, Rate: rate, Retries: 3,
	}
}
