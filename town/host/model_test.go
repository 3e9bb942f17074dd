package host

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/town"
)

// thinker is a model that takes the first option, for 70 tokens.
type thinker struct{ spent atomic.Int64 }

func (*thinker) Bound(town.Situation) int64 { return 100 }

func (m *thinker) Decide(context.Context, town.Situation) (town.Decision, error) {
	m.spent.Add(70)
	return town.Decision{Choice: 0, Model: "fake", In: 60, Out: 10}, nil
}

// Two replicas that let a town with a model live at once: what the model has spent is
// what is billed, since only one of them is at it. The other is told to come again.
func TestModelIsAskedByOne(t *testing.T) {
	b := newBed(t, nil)
	model := &thinker{}
	var hosts []*Host
	for range 2 {
		h := New(Config{
			JetStream: b.js, Stream: config, Admitter: b.count, Limits: b.plans, Mind: model,
			Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
		})
		t.Cleanup(h.Close)
		hosts = append(hosts, h)
	}
	made := b.found(hosts[0], "acme", Wish{Citizens: 7, Seed: 11, Model: true})
	var lived, busy atomic.Int64
	var tasks sync.WaitGroup
	for _, h := range hosts {
		for range 3 {
			tasks.Go(func() {
				for range 10 {
					switch _, err := h.Step(t.Context(), "acme", made.ID, 1); code(err) {
					case "":
						lived.Add(1)
					case kgents.CodeConflict, kgents.CodeUnavailable:
						busy.Add(1)
					default:
						t.Errorf("a step ended with %v", err)
					}
				}
			})
		}
	}
	tasks.Wait()
	m, err := hosts[0].Metrics(t.Context(), "acme", made.ID)
	if err != nil {
		t.Fatal(err)
	}
	if m.Decided == 0 || m.Decided*70 != model.spent.Load() {
		t.Errorf("the model spent %d tokens on %d decisions that count", model.spent.Load(), m.Decided)
	}
	if got := b.count.sums("acme"); got != (sums{m.Interactions, m.Tokens}) || m.Tokens != m.Decided*70 {
		t.Errorf("the town has %d tokens, the meter %+v", m.Tokens, got)
	}
	if lived.Load() == 0 || lived.Load()+busy.Load() != 60 {
		t.Errorf("%d steps were lived, %d told to come again", lived.Load(), busy.Load())
	}
}
