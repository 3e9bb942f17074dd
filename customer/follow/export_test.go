package follow

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents/subscription"
)

// Read is the change that an event as it stands in the stream makes.
func Read(t testing.TB, element []byte) (subscription.Change, bool) {
	t.Helper()
	told, outcome, err := readEvent(element)
	if err != nil {
		t.Fatal(err)
	}
	return told.change, outcome == ""
}

// Reader reads messages without following.
func Reader() func(jetstream.Msg) int {
	f := New(Config{Registerer: prometheus.NewRegistry()})
	return func(m jetstream.Msg) int {
		all, _ := f.read(m)
		return len(all)
	}
}

// Lag is what the gauge of the oldest unapplied message would say.
func Lag(ctx context.Context, events jetstream.Stream, consumer jetstream.Consumer, now time.Time) (time.Duration, error) {
	return source{events, consumer}.lag(ctx, now)
}
