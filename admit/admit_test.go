package admit_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/admit"
	"github.com/kgents/kgents/admit/memory"
)

// ledger is a Publisher that remembers what became durable.
type ledger struct {
	mu      sync.Mutex
	durable map[string]int
	publish func(ids []string) error // decides each call; nil takes everything
}

func (l *ledger) Publish(_ context.Context, events []kgents.Event) error {
	var ids []string
	for _, e := range events {
		ids = append(ids, e.ID)
	}
	if l.publish != nil {
		if err := l.publish(ids); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.durable == nil {
		l.durable = map[string]int{}
	}
	for _, id := range ids {
		l.durable[id]++
	}
	return nil
}

func events(ids ...string) []kgents.Event {
	var out []kgents.Event
	for _, id := range ids {
		out = append(out, kgents.Event{Source: "test", ID: id})
	}
	return out
}

func newGate(store admit.Store, pub admit.Publisher) *admit.Gate {
	return admit.New(store, pub, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
}

func TestAdmit(t *testing.T) {
	down := kgents.Unavailable(time.Second, "down", nil)
	for _, c := range []struct {
		name    string
		before  func(t *testing.T, s admit.Store) // what other owners did
		publish func([]string) error
		ids     []string
		fresh   int
		code    kgents.Code
		durable map[string]int
	}{
		{name: "new events are published and counted", ids: []string{"1", "2"}, fresh: 2, durable: map[string]int{"1": 1, "2": 1}},
		{name: "the same event twice in one request is published once", ids: []string{"1", "1", "2"}, fresh: 2, durable: map[string]int{"1": 1, "2": 1}},
		{
			name: "a committed event is a duplicate",
			before: func(t *testing.T, s admit.Store) {
				if err := s.Commit(t.Context(), "other", []string{"test 1"}, time.Hour); err != nil {
					t.Fatal(err)
				}
			},
			ids: []string{"1", "2"}, fresh: 1, durable: map[string]int{"2": 1},
		},
		{
			name: "an event that another owner holds is no duplicate: the rest is durable, the client comes again",
			before: func(t *testing.T, s admit.Store) {
				if _, err := s.Claim(t.Context(), "other", []string{"test 1"}, time.Hour); err != nil {
					t.Fatal(err)
				}
			},
			ids: []string{"1", "2"}, fresh: 1, code: kgents.CodeUnavailable, durable: map[string]int{"2": 1},
		},
		{
			name: "an owner that died leaves its lease, and the event is new when that ends",
			before: func(t *testing.T, s admit.Store) {
				if _, err := s.Claim(t.Context(), "dead", []string{"test 1"}, time.Second); err != nil {
					t.Fatal(err)
				}
			},
			ids: []string{"1"}, fresh: 1, durable: map[string]int{"1": 1},
		},
		{
			name:    "what can't be published is an error",
			publish: func([]string) error { return down },
			ids:     []string{"1"}, code: kgents.CodeUnavailable,
		},
		{
			name:   "without its store, admission goes on",
			before: func(_ *testing.T, s admit.Store) { s.Close() },
			ids:    []string{"1", "2"}, fresh: 2, durable: map[string]int{"1": 1, "2": 1},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, pub := memory.New(100), &ledger{publish: c.publish}
				defer store.Close()
				if c.before != nil {
					c.before(t, store)
				}
				fresh, err := newGate(store, pub).Admit(t.Context(), events(c.ids...))
				if fresh != c.fresh || kgents.ErrorCode(err) != c.code {
					t.Errorf("Admit = %d, %v, want %d and code %q", fresh, err, c.fresh, c.code)
				}
				if d := cmp.Diff(c.durable, pub.durable); d != "" {
					t.Errorf("durable (-want +got):\n%s", d)
				}
			})
		})
	}
}

// A claim is given back when the work fails, so that the redelivery counts.
func TestFailureIsNoDuplicate(t *testing.T) {
	fail := true
	pub := &ledger{publish: func([]string) error {
		if fail {
			return kgents.Unavailable(time.Second, "down", nil)
		}
		return nil
	}}
	store := memory.New(100)
	defer store.Close()
	gate := newGate(store, pub)
	if _, err := gate.Admit(t.Context(), events("1", "2")); kgents.ErrorCode(err) != kgents.CodeUnavailable {
		t.Fatalf("Admit while down: %v", err)
	}
	fail = false
	if fresh, err := gate.Admit(t.Context(), events("1", "2")); fresh != 2 || err != nil {
		t.Fatalf("Admit again = %d, %v, want both new", fresh, err)
	}
	if fresh, err := gate.Admit(t.Context(), events("1", "2")); fresh != 0 || err != nil {
		t.Fatalf("Admit a third time = %d, %v, want both duplicates", fresh, err)
	}
}

// A client that goes away does not leave its claims behind.
func TestGoneClientReleases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		pub := &ledger{publish: func([]string) error { cancel(); return context.Canceled }}
		store := memory.New(100)
		defer store.Close()
		if _, err := newGate(store, pub).Admit(ctx, events("1")); !errors.Is(err, context.Canceled) {
			t.Fatalf("Admit = %v", err)
		}
		states, err := store.Claim(t.Context(), "next", []string{"test 1"}, time.Minute)
		if err != nil || states[0] != admit.Won {
			t.Errorf("the next owner gets %v, %v, want the claim", states, err)
		}
	})
}

// Two requests that hold parts of each other's events both come to an end.
func TestCrossedBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pub := &ledger{publish: func([]string) error { time.Sleep(50 * time.Millisecond); return nil }}
		store := memory.New(100)
		defer store.Close()
		gate := newGate(store, pub)
		var wg sync.WaitGroup
		for _, ids := range [][]string{{"1", "2", "3"}, {"3", "2", "1", "4"}, {"4", "1"}} {
			wg.Go(func() {
				if _, err := gate.Admit(t.Context(), events(ids...)); err != nil {
					t.Errorf("Admit(%v): %v", ids, err)
				}
			})
		}
		wg.Wait()
		if d := cmp.Diff(map[string]int{"1": 1, "2": 1, "3": 1, "4": 1}, pub.durable); d != "" {
			t.Errorf("durable (-want +got):\n%s", d)
		}
	})
}

// Whatever fails and however requests overlap: a request that was answered nil
// has all its events durable, and no event is durable twice.
func TestEachEventOnce(t *testing.T) {
	for seed := range uint64(50) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				faults := rand.New(rand.NewPCG(seed, 1))
				pub := &ledger{publish: func([]string) error {
					mu.Lock()
					wait, fails := time.Duration(faults.IntN(100))*time.Millisecond, faults.IntN(3) == 0
					mu.Unlock()
					time.Sleep(wait)
					if fails {
						return kgents.Unavailable(time.Second, "down", nil)
					}
					return nil
				}}
				store := memory.New(1000)
				defer store.Close()
				gate := newGate(store, pub)
				r := rand.New(rand.NewPCG(seed, 2))
				var wg sync.WaitGroup
				for range 20 {
					var ids []string
					for range 1 + r.IntN(5) {
						ids = append(ids, fmt.Sprint(r.IntN(30)))
					}
					start := time.Duration(r.IntN(200)) * time.Millisecond
					wg.Go(func() {
						time.Sleep(start)
						for { // a client that sends until it is answered
							_, err := gate.Admit(t.Context(), events(ids...))
							if err == nil {
								break
							}
							time.Sleep(time.Second)
						}
						pub.mu.Lock()
						defer pub.mu.Unlock()
						for _, id := range ids {
							if pub.durable[id] != 1 {
								t.Errorf("event %s was answered, and is durable %d times", id, pub.durable[id])
							}
						}
					})
				}
				wg.Wait()
				for id, n := range pub.durable {
					if n != 1 {
						t.Errorf("event %s is durable %d times", id, n)
					}
				}
			})
		})
	}
}
