package entitle

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/meter"
	"github.com/kgents/kgents/stream"
)

// The tail's way of reading: events a second of one message of a thousand, each as a
// town sends it.
func BenchmarkScan(b *testing.B) {
	p := newPeople()
	ts, err := newTallies(p.Catalog(), []meter.Meter{
		{Slug: "agent_tokens", EventType: "agent.tokens", Aggregation: meter.Sum, ValueProperty: "$.tokens"},
		{Slug: "api_requests", EventType: "api.request", Aggregation: meter.Count},
	})
	if err != nil {
		b.Fatal(err)
	}
	var events []kgents.Event
	for i := range 1000 {
		events = append(events, event("agent.tokens", fmt.Sprint("customer-", i%50),
			`{"tokens":400,"agent":"alice","model":"rules","town":"smallville","operation":"trade","tokens_in":320,"tokens_out":80}`, time.Now()))
	}
	msg := stream.Encode(events, time.Now())
	body, err := stream.Body(msg.Header, msg.Data)
	if err != nil {
		b.Fatal(err)
	}
	var s scanner
	sum := 0.0
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		n, err := s.scan(body, ts, func(_ []byte, _ *tally, _ int64, n float64) { sum += n })
		if err != nil || n != len(events) {
			b.Fatal(n, err)
		}
	}
	b.ReportMetric(float64(b.N*len(events))/b.Elapsed().Seconds(), "events/s")
}

func BenchmarkCheck(b *testing.B) {
	p := newPeople()
	for i := range 1000 {
		p.put(fmt.Sprint("c", i), "pro")
	}
	e := newEngine(Config{Accounts: p, Catalog: p.Catalog, Log: quiet, Registerer: prometheus.NewRegistry()})
	for _, feature := range []string{"tokens", "calls", "towns"} {
		b.Run(feature, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if a, err := e.Check("c7", feature, 1, nil); err != nil || !a.Allowed {
					b.Fatal(a, err)
				}
			}
		})
	}
	b.Run("refused", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if a, err := e.Check("c7", "tokens", 1_000_000, nil); err != nil || a.Allowed {
				b.Fatal(a, err)
			}
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				if _, err := e.Check("c7", "tokens", 1, nil); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

// BenchmarkThousandTowns has a thousand customers take tokens and send the events of
// what they took, all at once and through a real stream, meter and sink, and asks
// meanwhile what a customer may use. It reports how long an answer takes.
func BenchmarkThousandTowns(b *testing.B) {
	const towns, steppers = 1000, 8
	bed := newBed(b)
	bed.people.limit("pro", 1<<50) // a hard one, so that what is taken is reserved
	for i := range towns {
		bed.people.put(fmt.Sprint("town", i), "pro")
	}
	bed.sink()
	e := bed.engine(nil)
	bed.says(e, "town0", 0)
	ctx, stop := context.WithCancel(b.Context())
	var stepping sync.WaitGroup
	var mu sync.Mutex
	steps := 0
	for w := range steppers {
		js := bed.connect()
		stepping.Go(func() {
			for i := w; ctx.Err() == nil; i = (i + steppers) % towns {
				step(ctx, b, e, js, fmt.Sprint("town", i))
				mu.Lock()
				steps++
				mu.Unlock()
			}
		})
	}
	took := make([]time.Duration, 0, 1<<20)
	i := 0
	start := time.Now()
	for b.Loop() {
		i = (i + 7) % towns
		id := names[i%len(names)]
		at := time.Now()
		a, err := e.Check(id, "tokens", 1, nil)
		d := time.Since(at)
		if err != nil || !a.Allowed {
			b.Fatal(a, err)
		}
		if len(took) < cap(took) {
			took = append(took, d)
		}
	}
	elapsed := time.Since(start)
	stop()
	stepping.Wait()
	slices.Sort(took)
	quantile := func(q float64) float64 { return float64(took[int(float64(len(took)-1)*q)].Nanoseconds()) }
	b.ReportMetric(quantile(.5), "p50-ns")
	b.ReportMetric(quantile(.99), "p99-ns")
	b.ReportMetric(quantile(.999), "p99.9-ns")
	b.ReportMetric(float64(took[len(took)-1].Nanoseconds()), "max-ns")
	b.ReportMetric(float64(steps)/elapsed.Seconds(), "steps/s")
	if p99 := took[int(float64(len(took)-1)*.99)]; p99 >= time.Millisecond {
		b.Errorf("p99 is %v", p99)
	}
}

var names = func() (out []string) {
	for i := range 1000 {
		out = append(out, fmt.Sprint("town", i))
	}
	return out
}()

// step is a phase of a town's day: a few operations are asked for, and what they used
// is sent.
func step(ctx context.Context, b *testing.B, e *Engine, js jetstream.JetStream, customer string) {
	var events []kgents.Event
	var releases []func()
	for range 4 {
		release, a, err := e.Take(customer, "tokens", 400)
		if err != nil {
			b.Error(err)
			return
		}
		releases = append(releases, release)
		if a.Allowed {
			events = append(events, tokens(customer, 200), tokens(customer, 200))
		}
	}
	if _, err := js.PublishMsg(ctx, encode(events...)); err != nil && ctx.Err() == nil {
		b.Error(err)
	}
	for _, release := range releases {
		release()
	}
}
