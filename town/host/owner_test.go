package host

import (
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents"
)

// people are customers by when they were made.
type people struct {
	mu     sync.Mutex
	since  map[string]time.Time
	unsure bool
}

func (p *people) Since(id string) (time.Time, bool, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	since, ok := p.since[id]
	return since, ok, !p.unsure
}

func (p *people) set(id string, since time.Time, unsure bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.unsure = unsure; since.IsZero() {
		delete(p.since, id)
		return
	}
	p.since[id] = since
}

func (b *bed) hostOf(p *people) *Host {
	b.t.Helper()
	h := New(Config{
		JetStream: b.js, Stream: config, Admitter: b.count, Limits: b.plans, Owners: p,
		Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	b.t.Cleanup(h.Close)
	return h
}

// A deleted customer's town lives no more, is nobody's, whoever gets the id, and ends.
func TestTownOfADeletedCustomer(t *testing.T) {
	born := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	b := newBed(t, map[string]int64{"acme towns": 1})
	p := &people{since: map[string]time.Time{"acme": born}}
	h := b.hostOf(p)
	ctx := t.Context()
	made := b.found(h, "acme", Wish{Citizens: 7, Seed: 7, Pace: MinPace})
	if _, err := h.Step(ctx, "acme", made.ID, 2); err != nil {
		t.Fatal(err)
	}
	gone := func(when string, want kgents.Code) {
		t.Helper()
		if _, err := h.Get(ctx, "acme", made.ID); code(err) != want {
			t.Errorf("%s it is looked at with %v", when, err)
		}
		if _, err := h.Step(ctx, "acme", made.ID, 1); code(err) != want {
			t.Errorf("%s it is stepped with %v", when, err)
		}
		if err := h.Delete(ctx, "acme", made.ID); code(err) != want {
			t.Errorf("%s it is deleted with %v", when, err)
		}
	}
	p.set("acme", time.Time{}, true)
	gone("while nobody knows,", kgents.CodeUnavailable)
	p.set("acme", time.Time{}, false)
	gone("without its customer", kgents.CodeNotFound)
	if _, err := h.Found(ctx, "acme", Wish{Citizens: 3}); code(err) == "" {
		t.Error("a town is founded for nobody")
	}
	used := b.count.sums("acme")

	p.set("acme", born.Add(time.Hour), false)
	gone("with another customer of that id", kgents.CodeNotFound)
	if list, err := h.List(ctx, "acme", "", 10); err != nil || len(list) > 0 {
		t.Errorf("the new customer has %v (%v)", list, err)
	}

	look := func() {
		t.Helper()
		h.orphaned.mu.Lock()
		h.orphaned.looked = time.Time{}
		for id := range h.orphaned.since {
			h.orphaned.since[id] = time.Now().Add(-orphanAge)
		}
		h.orphaned.mu.Unlock()
		if err := h.Sweep(ctx); err != nil {
			t.Fatal(err)
		}
	}
	left := func() uint64 {
		t.Helper()
		revision, err := h.store.get(ctx, townKey(made.ID), &record{})
		if err != nil {
			t.Fatal(err)
		}
		return revision
	}
	h.orphaned.note(made.ID, false, time.Now())
	look()
	if left() == 0 {
		t.Error("it has ended at the first look")
	}
	look()
	if left() != 0 {
		t.Error("it is there still")
	}
	if events, err := (&reader{log: &h.history, id: made.ID}).next(ctx); err != nil || len(events) > 0 {
		t.Errorf("its history has %d events (%v)", len(events), err)
	}
	if n, err := h.Count(ctx, "acme"); n != 0 || err != nil {
		t.Errorf("the new customer's list has %d (%v)", n, err)
	}
	if got := b.count.sums("acme"); got != used {
		t.Errorf("it has used %v since its customer was deleted, %v before", got, used)
	}
	b.found(h, "acme", Wish{Citizens: 3})
}

// What a crash has kept from going out is counted for the customer who is gone, and not
// for another who has got the id.
func TestOutboxOfADeletedCustomer(t *testing.T) {
	born := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name   string
		since  time.Time
		counts bool
	}{
		{name: "gone", counts: true},
		{name: "another", since: born.Add(time.Second)},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBed(t, nil)
			p := &people{since: map[string]time.Time{"acme": born}}
			h := b.hostOf(p)
			ctx := t.Context()
			made := b.found(h, "acme", Wish{Citizens: 7, Seed: 7})
			h.crash = func(at string) error {
				if at == "town.saved" {
					return errCrash
				}
				return nil
			}
			if _, err := h.Step(ctx, "acme", made.ID, 4); !errors.Is(err, errCrash) {
				t.Fatalf("the step ended with %v", err)
			}
			p.set("acme", test.since, false)
			if err := b.hostOf(p).Sweep(ctx); err != nil {
				t.Fatal(err)
			}
			if got := b.count.sums("acme"); (got.Tokens > 0) != test.counts {
				t.Errorf("%v is counted", got)
			}
		})
	}
}

// A town with a slow pace doesn't lose its turn to a moment in which nobody knows whose it
// is, as after a start.
func TestSlowTownAfterAStart(t *testing.T) {
	born := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	b := newBed(t, nil)
	p := &people{since: map[string]time.Time{"acme": born}}
	h := b.hostOf(p)
	made := b.found(h, "acme", Wish{Citizens: 3})
	p.set("acme", time.Time{}, true)
	at := turn{pace: pace{"acme", MaxPace}, written: time.Now()}
	if wait := time.Until(h.turn(t.Context(), made.ID, at)); wait > lookAgain {
		t.Errorf("it is looked at again after %s", wait)
	}
}

// A stream that is open ends when its key is good no more.
func TestStreamOfARevokedKey(t *testing.T) {
	b := newBed(t, nil)
	h := b.host()
	revoked := make(chan struct{})
	h.Good = func(p kgents.Principal) bool {
		select {
		case <-revoked:
			return p.Key != "key of acme"
		default:
			return true
		}
	}
	h.beat = 10 * time.Millisecond
	s := serve(t, h)
	made := b.found(h, "acme", Wish{Citizens: 7, Seed: 9})
	if _, err := h.Step(t.Context(), "acme", made.ID, 2); err != nil {
		t.Fatal(err)
	}
	l := listen(t, s, "/v1/town/"+made.ID+"/events", "acme read", 0)
	if _, ok := l.next(); !ok {
		t.Fatal("the stream gives nothing")
	}
	close(revoked)
	for ok := true; ok; {
		_, ok = l.next()
	}
	if err := l.in.Err(); err != nil {
		t.Errorf("the stream ends with %v, and not by the server", err)
	}
}
