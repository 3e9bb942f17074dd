package k8s

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/entitle"
	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/town/host"
)

type allAllowed struct{}

func (allAllowed) Require(string, string, int64, *int64) error { return nil }

func (allAllowed) Take(string, string, int64) (func(), entitle.Answer, error) {
	return func() {}, entitle.Answer{Allowed: true}, nil
}

func (allAllowed) Admit(_ context.Context, events []kgents.Event) (int, error) {
	return len(events), nil
}

// The towns of customers themselves, with the rights that the api has: everything that
// they do with NATS, in front and in the background.
func TestNATSTowns(t *testing.T) {
	s := oneNATS(t)
	api := s.user(t, "api")
	h := host.New(host.Config{
		JetStream: api, Stream: stream.Config{Name: "kgent-events", Replicas: 1}, Admitter: allAllowed{}, Limits: allAllowed{},
		Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	defer h.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	made, err := h.Found(ctx, "acme", host.Wish{Citizens: 3, Pace: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	events := uint64(0)
	for events == 0 { // it lives by itself, so its pace was seen
		now, err := h.Get(ctx, "acme", made.ID)
		if err != nil {
			t.Fatal(err)
		}
		events = now.Events
		<-time.After(5 * time.Millisecond)
	}
	_, err = h.Step(ctx, "acme", made.ID, 3)
	api.must("step", err)
	told, err := h.Events(ctx, "acme", made.ID, 1, 100)
	if api.must("events", err); len(told) == 0 {
		t.Error("nothing is told")
	}
	_, err = h.SetPace(ctx, "acme", made.ID, 0)
	api.must("pace", err)
	api.must("sweep", h.Sweep(ctx))
	towns, err := h.List(ctx, "acme", "", 10)
	if api.must("list", err); len(towns) != 1 {
		t.Errorf("there are %d towns", len(towns))
	}
	api.must("delete", h.Delete(ctx, "acme", made.ID))
}
