package app

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents/customer/follow"
	"github.com/kgents/kgents/stream"
)

// startFollow brings what Stripe tells to the customers, where the sink is.
func (a *App) startFollow(context.Context) error {
	f := follow.New(follow.Config{
		Open: a.openFollow, Accounts: a.customers, Log: a.log, Registerer: a.reg,
	})
	a.follower = f
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.Run(ctx)
	}()
	a.onStop(func() { cancel(); <-done })
	return nil
}

// openFollow makes the streams and the consumer of what Stripe tells.
func (a *App) openFollow(ctx context.Context) (events jetstream.Stream, consumer jetstream.Consumer, err error) {
	if err := a.connected(); err != nil {
		return nil, nil, err
	}
	err = a.alone(ctx, func() error {
		streams, err := stream.Ensure(ctx, a.js, a.streams)
		if err == nil {
			events = streams.Events
			consumer, err = follow.Consumer(ctx, events)
		}
		return err
	})
	return events, consumer, err
}
