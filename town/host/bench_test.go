package host

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/admit"
	"github.com/kgents/kgents/admit/memory"
	"github.com/kgents/kgents/entitle"
	"github.com/kgents/kgents/meter"
	"github.com/kgents/kgents/publish"
	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/stream/streamtest"
)

// everybody has the same plan.
type everybody struct{ plan kgents.Plan }

func (e everybody) Account(id string) (entitle.Account, bool) {
	now := time.Now().UTC()
	begin := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
	return entitle.Account{ID: id, Plan: e.plan, PeriodStart: begin, PeriodEnd: begin.AddDate(0, 1, 0)}, true
}

func (everybody) Each(func(entitle.Account)) {}

// fresh is a meter that has counted nothing.
type fresh struct{}

func (fresh) Meters(context.Context) ([]meter.Meter, error) {
	return []meter.Meter{
		{Slug: "agent_tokens", EventType: "agent.tokens", Aggregation: "SUM", ValueProperty: "$.tokens"},
		{Slug: "town_interactions", EventType: "town.interaction", Aggregation: "COUNT"},
	}, nil
}

func (fresh) Query(context.Context, meter.Query) (meter.Result, error) { return meter.Result{}, nil }

// 1,000 towns of 1,000 customers live a phase each at once, through the real way: the
// bucket, admission, publishing with a sync, the history, and entitlements that follow
// the stream. An operation is one such round; what GET /v1/entitlements would ask is
// asked all the while.
func BenchmarkThousandTowns(b *testing.B) {
	const towns = 1000
	quiet := slog.New(slog.DiscardHandler)
	js, _ := streamtest.Start(b)
	if _, err := stream.Ensure(b.Context(), js, config); err != nil {
		b.Fatal(err)
	}
	publisher := publish.New(publish.Config{
		Sender: js, Stream: config.Name, MaxPayload: func() int64 { return 1 << 20 }, Log: quiet, Registerer: prometheus.NewRegistry(),
	})
	b.Cleanup(publisher.Close)
	unlimited := kgents.Quota{Limit: kgents.NoLimit(), Per: kgents.PerPeriod, Over: kgents.OverRefuse}
	large := kgents.Quota{Limit: kgents.AtMost(1 << 40), Per: kgents.PerPeriod, Over: kgents.OverRefuse}
	catalog := &kgents.Catalog{
		Features: []kgents.Feature{{ID: FeatureTokens, Meter: "agent_tokens"}, {ID: FeatureInteractions, Meter: "town_interactions"}, {ID: FeatureTowns}, {ID: FeatureCitizens}},
		Plans:    []kgents.Plan{{ID: "pro", Quotas: map[string]kgents.Quota{FeatureTokens: large, FeatureInteractions: large, FeatureTowns: unlimited, FeatureCitizens: unlimited}}},
		Default:  "pro",
	}
	engine := entitle.New(entitle.Config{
		Accounts: everybody{catalog.Plans[0]}, Catalog: func() *kgents.Catalog { return catalog }, Meter: fresh{},
		JetStream: js, Stream: config, Log: quiet, Registerer: prometheus.NewRegistry(),
	})
	b.Cleanup(engine.Close)
	h := New(Config{
		JetStream: js, Stream: config, Admitter: admit.New(memory.New(memory.DefaultCapacity), publisher, quiet, prometheus.NewRegistry()),
		Limits: engine, Log: quiet, Registerer: prometheus.NewRegistry(),
	})
	b.Cleanup(h.Close)
	ids := make([]string, towns)
	customer := func(i int) string { return fmt.Sprintf("customer-%d", i) }
	each := func(f func(i int) error) {
		var tasks sync.WaitGroup
		for i := range ids {
			tasks.Go(func() {
				if err := f(i); err != nil {
					b.Error(err)
				}
			})
		}
		tasks.Wait()
	}
	each(func(i int) error {
		t, err := h.Found(b.Context(), customer(i), Wish{Citizens: 7, Seed: uint64(i + 1)})
		ids[i] = t.ID
		return err
	})

	var stop atomic.Bool
	var took []time.Duration
	var asking sync.WaitGroup
	asking.Go(func() {
		for i := 0; !stop.Load(); i++ {
			began := time.Now()
			if _, err := engine.Check(customer(i%towns), FeatureTokens, 1, nil); err != nil {
				b.Error(err)
				return
			}
			took = append(took, time.Since(began))
			<-time.After(200 * time.Microsecond)
		}
	})
	for b.Loop() {
		each(func(i int) error {
			_, err := h.Step(b.Context(), customer(i), ids[i], 1)
			return err
		})
	}
	stop.Store(true)
	asking.Wait()
	slices.Sort(took)
	b.ReportMetric(float64(towns)*float64(b.N)/b.Elapsed().Seconds(), "steps/s")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1e3, "µs-check-p99")
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1e3, "µs-check-p50")
}
