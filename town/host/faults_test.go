package host

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents"
)

// errCrash ends a step at a place, as the end of the process would.
var errCrash = errors.New("the process has ended")

// Whatever breaks between any two things that a step does, what is counted is what
// happened.
func TestCountedIsWhatHappened(t *testing.T) {
	for _, place := range []string{"town.stepped", "town.saved", "town.admitted", "town.told"} {
		t.Run(place, func(t *testing.T) {
			b := newBed(t, nil)
			first, second := b.host(), b.host()
			made := b.found(first, "acme", Wish{Citizens: 7, Seed: 7})
			ctx := t.Context()
			if _, err := first.Step(ctx, "acme", made.ID, 4); err != nil {
				t.Fatal(err)
			}
			first.crash = func(at string) error {
				if at == place {
					return errCrash
				}
				return nil
			}
			if _, err := first.Step(ctx, "acme", made.ID, 4); !errors.Is(err, errCrash) {
				t.Fatalf("the step ended with %v", err)
			}
			// Whoever touches the town next mends it.
			s, err := second.Step(ctx, "acme", made.ID, 1)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(sums{s.Town.Interactions, s.Town.Tokens}, b.count.sums("acme")); d != "" {
				t.Errorf("the town's sums and the meter's (-town +meter):\n%s", d)
			}
			b.checkHistory(second, "acme", s.Town)

			// So does the sweep, of a town that nobody touches.
			if _, err := first.Step(ctx, "acme", made.ID, 4); !errors.Is(err, errCrash) {
				t.Fatalf("the step ended with %v", err)
			}
			if err := second.sweep(ctx, 0); err != nil {
				t.Fatal(err)
			}
			now, err := second.Get(ctx, "acme", made.ID)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(sums{now.Interactions, now.Tokens}, b.count.sums("acme")); d != "" {
				t.Errorf("after a sweep, the town's sums and the meter's (-town +meter):\n%s", d)
			}
			b.checkHistory(second, "acme", now)
			rec, revision, err := second.load(ctx, "acme", made.ID)
			if err != nil || len(rec.Outbox) > 0 || !second.clean.is(made.ID, revision) {
				t.Errorf("after a sweep %d events are in the outbox (%v)", len(rec.Outbox), err)
			}
		})
	}
}

// checkHistory holds that every event is told once, in order.
func (b *bed) checkHistory(h *Host, customer string, now Town) {
	b.t.Helper()
	events, err := h.Events(b.t.Context(), customer, now.ID, 0, 100_000)
	if err != nil {
		b.t.Fatal(err)
	}
	for i, e := range events {
		if e.Seq != uint64(i+1) {
			b.t.Fatalf("the history has the event %d at %d", e.Seq, i+1)
		}
	}
	if uint64(len(events)) != now.Events {
		b.t.Errorf("the history has %d events of %d", len(events), now.Events)
	}
}

// Two hosts let the same towns live at once, while the meter's way fails at random, before
// or after it has taken the usage, and processes end at random places.
func TestCountedIsWhatHappenedUnderFaults(t *testing.T) {
	b := newBed(t, nil)
	hosts := []*Host{b.host(), b.host()}
	ctx := t.Context()
	chance := rand.New(rand.NewPCG(1, 2))
	var mu sync.Mutex
	broken := true
	fails := func(p float64, err error) func() error {
		return func() error {
			mu.Lock()
			defer mu.Unlock()
			if broken && chance.Float64() < p {
				return err
			}
			return nil
		}
	}
	b.count.fails = fails(.1, kgents.Unavailable(time.Second, "no", nil))
	b.count.after = fails(.1, kgents.Unavailable(time.Second, "taken, and not told", nil))
	crash := fails(.05, errCrash)
	for _, h := range hosts {
		h.crash = func(string) error { return crash() }
	}
	ids := map[string]string{} // customer by town
	for i := range 3 {
		customer := fmt.Sprintf("customer-%d", i)
		ids[b.found(hosts[0], customer, Wish{Citizens: 7, Seed: uint64(i + 1)}).ID] = customer
	}
	var tasks sync.WaitGroup
	for _, h := range hosts {
		for id, customer := range ids {
			tasks.Go(func() {
				for range 40 {
					_, err := h.Step(ctx, customer, id, 1)
					if err != nil && !errors.Is(err, errCrash) && code(err) != kgents.CodeUnavailable {
						t.Errorf("a step ended with %v", err)
					}
				}
			})
		}
	}
	tasks.Wait()
	mu.Lock()
	broken = false
	mu.Unlock()
	if err := hosts[1].sweep(ctx, 0); err != nil {
		t.Fatal(err)
	}
	for id, customer := range ids {
		now, err := hosts[0].Get(ctx, customer, id)
		if err != nil {
			t.Fatal(err)
		}
		if now.Events < 40 {
			t.Errorf("only %d events happened", now.Events)
		}
		if d := cmp.Diff(sums{now.Interactions, now.Tokens}, b.count.sums(customer)); d != "" {
			t.Errorf("the town's sums and the meter's (-town +meter):\n%s", d)
		}
		b.checkHistory(hosts[0], customer, now)
	}
}

// A town whose usage can't be made durable keeps it, and waits.
func TestUsageThatCantGoOut(t *testing.T) {
	b := newBed(t, nil)
	h := b.host()
	ctx := t.Context()
	made := b.found(h, "acme", Wish{Citizens: 3, Seed: 3})
	away := kgents.Unavailable(time.Second, "NATS is away", nil)
	b.count.fails = func() error { return away }
	for range 3 {
		if _, err := h.Step(ctx, "acme", made.ID, 1); code(err) != kgents.CodeUnavailable {
			t.Fatalf("a step whose usage can't go out ended with %v", err)
		}
	}
	now, err := h.Get(ctx, "acme", made.ID)
	if err != nil {
		t.Fatal(err)
	}
	if now.Phase != "afternoon" || now.Day != 1 {
		t.Errorf("the town is in the %s of day %d: one phase was lived, and no further", now.Phase, now.Day)
	}
	if err := h.Delete(ctx, "acme", made.ID); code(err) != kgents.CodeUnavailable {
		t.Errorf("a town that owes is deleted with %v", err)
	}
	b.count.fails = nil
	if err := h.Delete(ctx, "acme", made.ID); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(sums{now.Interactions, now.Tokens}, b.count.sums("acme")); d != "" || now.Tokens == 0 {
		t.Errorf("the town's sums and the meter's (-town +meter):\n%s", d)
	}
}
