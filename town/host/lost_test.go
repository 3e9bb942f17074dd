package host

import (
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// A host that runs while the bucket and the history are lost, or restored from a backup,
// goes on with those that there are then: towns are founded, live by themselves and tell.
func TestLostBuckets(t *testing.T) {
	b := newBed(t, nil)
	h := &Host{}
	func() {
		old := rewatchEvery
		rewatchEvery = 5 * paceTick
		defer func() { rewatchEvery = old }()
		h = New(Config{
			JetStream: b.js, Stream: config, Admitter: b.count, Limits: b.plans, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
		})
	}()
	t.Cleanup(h.Close)
	ctx := t.Context()
	first := b.found(h, "acme", Wish{Citizens: 7, Seed: 1})
	if _, err := h.Step(ctx, "acme", first.ID, 2); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"KV_" + config.TownsName(), config.TownName()} {
		if err := b.js.DeleteStream(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	var second Town
	eventually(t, "a town is founded", func() (ok bool) {
		var err error
		second, err = h.Found(ctx, "acme", Wish{Citizens: 7, Seed: 2, Pace: MinPace})
		return err == nil
	})
	eventually(t, "it lives by itself and tells", func() bool {
		events, err := h.Events(ctx, "acme", second.ID, 0, 10)
		return err == nil && len(events) > 0
	})
}
