package entitle

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/meter"
	"github.com/kgents/kgents/publish"
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

// BenchmarkThousandTowns has a thousand customers at once take tokens and send the
// events of what they took, through a real publisher, stream, sink and meter, and asks
// meanwhile what a customer may use. It reports how long an answer takes.
func BenchmarkThousandTowns(b *testing.B) {
	const towns = 1000
	bed := newBed(b)
	bed.people.limit("pro", 1<<50) // a hard one, so that what is taken is reserved
	for _, id := range names {
		bed.people.put(id, "pro")
	}
	bed.sink()
	e := bed.engine(nil)
	bed.says(e, names[0], 0)
	js := bed.connect()
	p := publish.New(publish.Config{
		Sender: js, Stream: bed.config.Name, MaxPayload: js.Conn().MaxPayload, Log: quiet, Registerer: prometheus.NewRegistry(),
	})
	ctx, stop := context.WithCancel(b.Context())
	var (
		stepping sync.WaitGroup
		steps    atomic.Int64
	)
	for _, id := range names {
		stepping.Go(func() {
			for ctx.Err() == nil {
				step(b, e, p, id)
				steps.Add(1)
			}
		})
	}
	took := make([]time.Duration, 0, 1<<20)
	i := 0
	start := time.Now()
	for b.Loop() {
		i = (i + 7) % towns
		id := names[i]
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
	p.Close()
	slices.Sort(took)
	quantile := func(q float64) float64 { return float64(took[int(float64(len(took)-1)*q)].Nanoseconds()) }
	b.ReportMetric(quantile(.5), "p50-ns")
	b.ReportMetric(quantile(.99), "p99-ns")
	b.ReportMetric(quantile(.999), "p99.9-ns")
	b.ReportMetric(float64(took[len(took)-1].Nanoseconds()), "max-ns")
	b.ReportMetric(float64(steps.Load())/elapsed.Seconds(), "steps/s")
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
func step(b *testing.B, e *Engine, p *publish.Publisher, customer string) {
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
	if err := p.Publish(context.Background(), events); err != nil {
		b.Error(err)
	}
	for _, release := range releases {
		release()
	}
}
