package billing_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents/billing"
	"github.com/kgents/kgents/billing/stripetest"
)

// faulty is a NATS whose bucket's writes fail, before or after they are done.
type faulty struct {
	jetstream.JetStream
	fail func(key string) (before, after bool)
}

func (f faulty) CreateOrUpdateKeyValue(ctx context.Context, c jetstream.KeyValueConfig) (jetstream.KeyValue, error) {
	kv, err := f.JetStream.CreateOrUpdateKeyValue(ctx, c)
	return faultyKV{kv, f}, err
}

type faultyKV struct {
	jetstream.KeyValue
	f faulty
}

var errFault = errors.New("NATS is away")

func (k faultyKV) write(key string, do func() (uint64, error)) (uint64, error) {
	before, after := k.f.fail(key)
	if before {
		return 0, errFault
	}
	revision, err := do()
	if after && err == nil {
		return 0, errFault
	}
	return revision, err
}

func (k faultyKV) Create(ctx context.Context, key string, value []byte, o ...jetstream.KVCreateOpt) (uint64, error) {
	return k.write(key, func() (uint64, error) { return k.KeyValue.Create(ctx, key, value, o...) })
}

func (k faultyKV) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	return k.write(key, func() (uint64, error) { return k.KeyValue.Update(ctx, key, value, revision) })
}

// An intent that was found is sent again with the same identifier and value, whatever
// the meter says by then; each place where a run can end is one row.
func TestReporterResumes(t *testing.T) {
	event := func(f stripetest.Fault) func(stripetest.Request) *stripetest.Fault {
		return on(http.MethodPost, "/v1/billing/meter_events", f)
	}
	for name, test := range map[string]struct {
		stripe     func(stripetest.Request) *stripetest.Fault
		nats       func(n int) (before, after bool) // of the nth write
		later      time.Duration
		wantEvents int
	}{
		"before the watermark is made":                            {nil, func(n int) (bool, bool) { return n == 1, false }, time.Minute, 1},
		"after the watermark is made":                             {nil, func(n int) (bool, bool) { return false, n == 1 }, time.Minute, 2},
		"before the intent is written":                            {nil, func(n int) (bool, bool) { return n == 2, false }, time.Minute, 1},
		"after the intent is written":                             {nil, func(n int) (bool, bool) { return false, n == 2 }, time.Minute, 2},
		"before it is sent":                                       {event(stripetest.Fault{Drop: true}), nil, time.Minute, 2},
		"after it is sent, without an answer":                     {event(stripetest.Fault{Lose: true}), nil, time.Minute, 2},
		"Stripe had trouble":                                      {event(stripetest.Fault{Status: 500}), nil, time.Minute, 2},
		"Stripe had trouble, and took it":                         {event(stripetest.Fault{After: 500}), nil, time.Minute, 2},
		"before what is sent is noted":                            {nil, func(n int) (bool, bool) { return n == 3, false }, time.Minute, 2},
		"after what is sent is noted":                             {nil, func(n int) (bool, bool) { return false, n == 3 }, time.Minute, 2},
		"before it is sent, and nobody came for two days":         {event(stripetest.Fault{Status: 500}), nil, 48 * time.Hour, 2},
		"after it is sent, and nobody came for two days":          {event(stripetest.Fault{After: 500}), nil, 48 * time.Hour, 2},
		"before what is sent is noted, and nobody came for a day": {nil, func(n int) (bool, bool) { return n == 3, false }, 23 * time.Hour, 2},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorks(t)
			a := w.period("acme", start)
			w.use("acme", start, limit+100)
			w.clock.add(time.Hour)
			w.stripe.Fail(test.stripe)
			writes := 0
			js := faulty{w.js, func(string) (bool, bool) {
				if writes++; test.nats != nil {
					return test.nats(writes)
				}
				return false, false
			}}
			if _, err := w.reporter(js).Run(t.Context()); err == nil {
				t.Error("a run that was interrupted says nothing of it")
			}
			w.stripe.Fail(nil)
			w.use("acme", start, 11)
			w.clock.add(test.later)
			w.run()
			w.want(a, 111)
			seen := map[string]string{} // values by identifier
			for _, r := range w.events200() {
				id, value := r.Form.Get("identifier"), r.Form.Get("payload[value]")
				if old, ok := seen[id]; ok && old != value {
					t.Errorf("identifier %s was sent with %s and %s", id, old, value)
				}
				seen[id] = value
			}
			if len(seen) != test.wantEvents {
				t.Errorf("%d events, want %d: %v", len(seen), test.wantEvents, seen)
			}
		})
	}
}

// Whatever is used and whatever fails when, Stripe has what the meter has past the
// limit: never more, and in the end all.
func TestReporterProperty(t *testing.T) {
	w := newWorks(t)
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 7))
		w.streams.Name = fmt.Sprintf("overage-%d", seed)
		w.accounts = nil
		from := w.clock.Now()
		var periods []billing.Account
		for n := range 3 {
			periods = append(periods, w.period(fmt.Sprintf("c-%d-%d", seed, n), from))
		}
		var mu sync.Mutex
		chance := func(p float64) bool {
			mu.Lock()
			defer mu.Unlock()
			return r.Float64() < p
		}
		trouble := true
		w.stripe.Fail(func(q stripetest.Request) *stripetest.Fault {
			switch {
			case !trouble || chance(.6):
				return nil
			case q.Method == http.MethodPost && chance(.5):
				return &stripetest.Fault{After: 500}
			}
			return &stripetest.Fault{Status: []int{429, 500, 503, 400, 401}[int(w.clock.Now().Unix())%5]}
		})
		js := faulty{w.js, func(string) (bool, bool) { return trouble && chance(.15), trouble && chance(.15) }}
		check := func(final bool) {
			for _, a := range periods {
				owed, billed := w.owed(a), w.billed(a)
				if billed > owed || final && billed != owed {
					t.Fatalf("seed %d: %s has %d at Stripe and %d by the meter (final: %v)", seed, a.ID, billed, owed, final)
				}
			}
		}
		end := periods[0].PeriodEnd
		for w.clock.Now().Before(end) {
			w.clock.add(time.Duration(r.Int64N(int64(60 * time.Hour))))
			for _, a := range periods {
				at := w.clock.Now()
				if !at.Before(end) || chance(.2) {
					at = from.Add(time.Duration(r.Int64N(int64(end.Sub(from) - time.Hour)))) // late
				}
				if !at.After(w.clock.Now()) && chance(.7) {
					w.use(a.ID, at, r.Int64N(limit/4))
				}
			}
			var all sync.WaitGroup
			for range 1 + r.IntN(2) {
				all.Go(func() { _, _ = w.reporter(js).Run(t.Context()) })
			}
			all.Wait()
			check(false)
		}
		if late := w.clock.Now().Sub(end); late > 20*time.Hour {
			w.clock.add(20*time.Hour - late) // the time of grace is what the promise is for
		}
		trouble = false
		w.stripe.Fail(nil)
		for n := 0; n < 2; n++ {
			w.run()
		}
		check(true)
	}
}
