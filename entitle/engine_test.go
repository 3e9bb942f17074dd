package entitle

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/stream"
)

// What a replica grants, the others see: four of them, each with a connection of its
// own, are asked by many at once for one customer's tokens until all refuse. What is
// granted in total is within the bound of the package's comment, which is within one
// flush interval's worth, and when all is quiet each says exactly what the meter says.
func TestFourReplicasOneLimit(t *testing.T) {
	const (
		replicas = 4
		workers  = 4 // each one request at a time
		each     = 10
		limit    = 8000
	)
	b := newBed(t)
	b.people.limit("free", limit)
	b.people.put("acme", "free")
	b.sink()
	var engines []*Engine
	for range replicas {
		e := b.engine(nil)
		engines = append(engines, e)
		b.says(e, "acme", 0)
	}

	// Of each grant: when, by whom, and when all replicas had read its event.
	type grant struct{ at, seen time.Time }
	var (
		mu     sync.Mutex
		grants [replicas][]grant
		wg     sync.WaitGroup
	)
	start := time.Now()
	for r, e := range engines {
		js := b.connect()
		for range workers {
			wg.Go(func() {
				for refused := 0; refused < 20; {
					at := time.Now()
					release, a, err := e.Take("acme", "tokens", each)
					if err != nil {
						t.Error(err)
						return
					}
					if !a.Allowed {
						refused++ // reservations of others may be given back
						time.Sleep(10 * time.Millisecond)
						continue
					}
					ack, err := js.PublishMsg(t.Context(), encode(tokens("acme", each)))
					release()
					if err != nil {
						t.Error(err)
						return
					}
					seen := func() bool {
						return !slices.ContainsFunc(engines, func(e *Engine) bool { return e.at.Load() < ack.Sequence })
					}
					for !seen() && time.Since(at) < 10*time.Second {
						time.Sleep(100 * time.Microsecond)
					}
					mu.Lock()
					grants[r] = append(grants[r], grant{at, time.Now()})
					mu.Unlock()
				}
			})
		}
	}
	wg.Wait()
	took := time.Since(start)

	granted, lambda := 0, time.Duration(0)
	for _, g := range grants {
		granted += each * len(g)
		for _, one := range g {
			lambda = max(lambda, one.seen.Sub(one.at))
		}
	}
	// The most that a replica granted in any λ, over the replicas; likewise all of them
	// in a flush interval.
	most := func(g []grant, in time.Duration) int {
		slices.SortFunc(g, func(a, b grant) int { return a.at.Compare(b.at) })
		best, from := 0, 0
		for i := range g {
			for g[i].at.Sub(g[from].at) > in {
				from++
			}
			best = max(best, i-from+1)
		}
		return best * each
	}
	g, all := 0, []grant(nil)
	for _, one := range grants {
		g = max(g, most(one, lambda))
		all = append(all, one...)
	}
	over := granted - limit
	t.Logf("granted %d of %d in %v, λ %v, g %d: %d over, the bound is %d, a flush interval's worth %d",
		granted, limit, took, lambda, g, max(0, over), (replicas-1)*g, most(all, flushInterval))
	if granted < limit-replicas*workers*each {
		t.Errorf("only %d were granted of %d", granted, limit)
	}
	if over > (replicas-1)*g {
		t.Errorf("%d over the limit, more than the bound of %d", over, (replicas-1)*g)
	}
	if worth := most(all, flushInterval); over > worth {
		t.Errorf("%d over the limit, more than the %d of one flush interval", over, worth)
	}
	b.eventually("the meter has all", func() bool { return b.counted("acme") == int64(granted) })
	for _, e := range engines {
		b.says(e, "acme", int64(granted))
	}
}

// One replica grants exactly the limit, however many ask at once.
func TestOneReplicaIsExact(t *testing.T) {
	b := newBed(t)
	b.people.put("acme", "free")
	b.sink()
	e := b.engine(nil)
	b.says(e, "acme", 0)
	var (
		mu      sync.Mutex
		granted int64
		wg      sync.WaitGroup
	)
	for range 16 {
		wg.Go(func() {
			for refused := 0; refused < 50; {
				release, a, err := e.Take("acme", "tokens", 7)
				if err != nil {
					t.Error(err)
					return
				}
				if !a.Allowed {
					refused++ // what is reserved and counted already ends in a moment
					time.Sleep(5 * time.Millisecond)
					continue
				}
				mu.Lock()
				granted += 7
				mu.Unlock()
				b.publish(b.js, tokens("acme", 7))
				release()
			}
		})
	}
	wg.Wait()
	if want := int64(1000 / 7 * 7); granted != want {
		t.Errorf("granted %d, want %d", granted, want)
	}
	b.eventually("reservations end when their events are seen", func() bool {
		a := b.answer(e, "acme", "tokens")
		return a.Used == granted && a.Left.N() == 1000-granted
	})
}

// Other customers' events, other types, late events and those of another period don't
// count; several in one message do, also in a compressed one.
func TestWhatCounts(t *testing.T) {
	b := newBed(t)
	b.people.put("acme", "free")
	b.people.put("other", "free")
	e := b.engine(nil) // no sink: only the stream can tell
	now := time.Now()
	b.eventually("the stream is followed", e.live.Load)
	events := []kgents.Event{
		tokens("acme", 3), tokens("acme", 4), tokens("other", 50), tokens("nobody", 9),
		event("unknown.type", "acme", `{"tokens":100}`, now),
		event("agent.tokens", "acme", `{"tokens":"5"}`, now),
		event("agent.tokens", "acme", `{"tokens":"x"}`, now),
		event("agent.tokens", "acme", `{}`, now),
		event("api.request", "acme", `{}`, now),
		tokensAt("acme", 1000, now.AddDate(0, -2, 0)),
		tokensAt("acme", 1000, now.AddDate(0, 2, 0)),
		event("api.request", "acme", `{}`, now.AddDate(0, 0, -1)),
	}
	for range 200 { // enough to be compressed
		events = append(events, tokens("acme", 1))
	}
	b.publish(b.js, events...)
	b.eventually("what counts is counted", func() bool {
		return b.answer(e, "acme", "tokens").Used == 3+4+5+200
	})
	if got := b.answer(e, "other", "tokens").Used; got != 50 {
		t.Errorf("the other customer has used %d", got)
	}
	a := b.answer(e, "acme", "calls")
	if a.Used != 1 || a.Limit != kgents.AtMost(100) {
		t.Errorf("calls of today: %+v", a)
	}
	day := now.UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)
	if !a.ResetsAt.Equal(day) {
		t.Errorf("calls reset at %v, want %v", a.ResetsAt, day)
	}
}

// The same event in two messages counts twice until the meter is asked again.
func TestDuplicatesHeal(t *testing.T) {
	b := newBed(t)
	b.people.put("acme", "free")
	e := b.engine(nil)
	b.says(e, "acme", 0)
	twice := tokens("acme", 40)
	b.publish(b.js, twice)
	b.publish(b.js, twice, tokens("acme", 1))
	b.eventually("both are seen", func() bool { return b.answer(e, "acme", "tokens").Used == 81 })
	b.sink()
	b.says(e, "acme", 41)
}

// Without the meter at the start nothing counts as used, and the answer says so. When
// it comes, everything counts, also what was used meanwhile.
func TestMeterAwayAtStart(t *testing.T) {
	b := newBed(t)
	b.away.Store(true)
	b.people.put("acme", "free")
	b.publish(b.js, tokens("acme", 100))
	b.sink()
	e := b.engine(nil)
	b.publish(b.js, tokens("acme", 100))
	a, err := e.Check("acme", "tokens", 1000, nil)
	if err != nil || !a.Allowed || !a.Stale || a.Used != 0 {
		t.Errorf("without the meter the answer is %+v, %v", a, err)
	}
	b.away.Store(false)
	b.says(e, "acme", 200)
}

// With the meter away later, answers go on by what the stream shows.
func TestMeterAwayLater(t *testing.T) {
	b := newBed(t)
	b.people.put("acme", "free")
	b.sink()
	e := b.engine(nil)
	b.publish(b.js, tokens("acme", 100))
	b.says(e, "acme", 100)
	b.away.Store(true)
	b.publish(b.js, tokens("acme", 800))
	b.eventually("the stream shows it", func() bool { return b.answer(e, "acme", "tokens").Used == 900 })
	if err := e.Require("acme", "tokens", 101, nil); kgents.ErrorCode(err) != kgents.CodePayment {
		t.Errorf("101 more: %v", err)
	}
	b.away.Store(false)
	b.eventually("the meter has it", func() bool { return b.counted("acme") == 900 })
	b.says(e, "acme", 900)
}

// When NATS is away the answer is what was known, and stale; the tail goes on where it
// was.
func TestNATSAwayAndBack(t *testing.T) {
	l := listen(t)
	b := newBedOn(t, func() jetstream.JetStream { return l.js })
	b.people.put("acme", "free")
	e := b.engine(nil)
	b.publish(b.js, tokens("acme", 100))
	b.eventually("the stream shows it", func() bool { return b.answer(e, "acme", "tokens").Used == 100 })
	l.stop()
	b.eventually("it says that it is stale", func() bool { return b.answer(e, "acme", "tokens").Stale })
	if got := b.answer(e, "acme", "tokens").Used; got != 100 {
		t.Errorf("used is %d while NATS is away", got)
	}
	l.again()
	b.eventually("events are taken again", func() bool { _, err := b.js.PublishMsg(t.Context(), encode(tokens("acme", 10))); return err == nil })
	for range 19 {
		b.publish(b.js, tokens("acme", 10))
	}
	b.eventually("nothing is left out", func() bool { return b.answer(e, "acme", "tokens").Used == 300 })
	b.sink()
	b.says(e, "acme", 300)
}

// A replica that starts sees what others have used before, in the meter or on its way.
func TestStartInTheMiddle(t *testing.T) {
	b := newBed(t)
	b.people.put("acme", "free")
	stop := b.sink()
	b.publish(b.js, tokens("acme", 100))
	b.eventually("the meter has it", func() bool { return b.counted("acme") == 100 })
	stop()
	b.publish(b.js, tokens("acme", 23))
	b.says(b.engine(nil), "acme", 123)
}

// A customer who is made after the start is known from the first question or event.
func TestNewCustomer(t *testing.T) {
	b := newBed(t)
	b.people.put("acme", "free")
	b.sink()
	e := b.engine(nil)
	b.says(e, "acme", 0)
	b.publish(b.js, tokens("late", 11)) // an operator may send for whoever will be
	b.eventually("the meter has it", func() bool { return b.counted("late") == 11 })
	if _, err := e.Check("late", "tokens", 0, nil); kgents.ErrorCode(err) != kgents.CodeNotFound {
		t.Errorf("a customer who isn't there: %v", err)
	}
	b.people.put("late", "free")
	b.says(e, "late", 11)
	b.publish(b.js, tokens("late", 5))
	b.says(e, "late", 16)
}

// A change of plan counts with the next answer, up and down.
func TestPlanChange(t *testing.T) {
	b := newBed(t)
	b.people.put("acme", "free")
	b.sink()
	e := b.engine(nil)
	b.publish(b.js, tokens("acme", 1000))
	b.says(e, "acme", 1000)
	check := func() Answer {
		a, err := e.Check("acme", "tokens", 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	if a := check(); a.Allowed || a.Reason != ReasonLimit {
		t.Errorf("Free: %+v", a)
	}
	b.people.put("acme", "pro")
	if a := check(); !a.Allowed || a.Left != kgents.AtMost(4000) || a.Stale {
		t.Errorf("Pro: %+v", a)
	}
	b.people.put("acme", "free")
	if a := check(); a.Allowed || a.Used != 1000 {
		t.Errorf("Free again: %+v", a)
	}
	// A subscription with a period of its own.
	now := time.Now()
	b.people.put("acme", "pro")
	b.people.period("acme", now.Add(time.Minute).Truncate(time.Minute).Add(-30*24*time.Hour), now.Add(12*time.Hour))
	b.says(e, "acme", 1000)
}

// A stream that is made anew, as by a restore, is read from its beginning; what the
// meter has counts once.
func TestAnotherStream(t *testing.T) {
	b := newBed(t)
	b.people.put("acme", "free")
	b.sink()
	e := b.engine(nil)
	for range 10 {
		b.publish(b.js, tokens("acme", 10))
	}
	b.says(e, "acme", 100)
	if err := b.js.DeleteStream(t.Context(), b.config.Name); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Ensure(t.Context(), b.js, b.config); err != nil {
		t.Fatal(err)
	}
	before := e.epoch.Load()
	b.publish(b.js, tokens("acme", 5))
	b.eventually("it begins anew", func() bool { return e.epoch.Load() > before })
	b.says(e, "acme", 105)
	b.publish(b.js, tokens("acme", 5))
	b.says(e, "acme", 110)
}

// A feature that begins to be sold while the engine runs is counted from then on, with
// what the meter has of it.
func TestCatalogChanges(t *testing.T) {
	b := newBed(t)
	b.people.put("acme", "free")
	full := b.people.cat
	less := *full
	less.Features = full.Features[1:]
	b.people.cat = &less
	b.sink()
	e := b.engine(nil)
	b.eventually("the stream is followed", e.live.Load)
	if _, err := e.Check("acme", "tokens", 1, nil); kgents.ErrorCode(err) != kgents.CodeNotFound {
		t.Errorf("a feature that isn't sold: %v", err)
	}
	b.publish(b.js, tokens("acme", 50))
	b.publish(b.js, event("api.request", "acme", "{}", time.Now()))
	b.eventually("the other is counted", func() bool { return b.answer(e, "acme", "calls").Used == 1 })
	b.people.mu.Lock()
	b.people.cat = full
	b.people.mu.Unlock()
	b.says(e, "acme", 50)
	b.publish(b.js, tokens("acme", 7))
	b.says(e, "acme", 57)
}

// message is one as the server delivers it.
type message struct {
	jetstream.Msg
	stream, consumer uint64
}

func (m message) Metadata() (*jetstream.MsgMetadata, error) {
	return &jetstream.MsgMetadata{Sequence: jetstream.SequencePair{Stream: m.stream, Consumer: m.consumer}, Timestamp: time.Now()}, nil
}
func (m message) Headers() nats.Header { return encode(tokens("acme", 1)).Header }
func (m message) Data() []byte         { return encode(tokens("acme", 1)).Data }

// What the stream hasn't any more, as after a disk has failed, holds nothing up. What the
// server has left out is asked for again.
func TestGaps(t *testing.T) {
	e := newEngine(Config{Accounts: newPeople(), Catalog: newPeople().Catalog, Log: quiet, Registerer: prometheus.NewRegistry()})
	e.learnt.Store(&learnt{})
	for _, step := range []struct {
		stream, consumer uint64
		err              error
		at               uint64
	}{
		{1, 1, nil, 1}, {4, 2, nil, 4}, {5, 3, nil, 5}, {7, 5, errGap, 5},
	} {
		if err := e.read(message{stream: step.stream, consumer: step.consumer}); !errors.Is(err, step.err) || e.at.Load() != step.at {
			t.Errorf("message %d is read with %v, up to %d", step.stream, err, e.at.Load())
		}
	}
	e.delivered = 0 // by another consumer, which begins behind 5
	if err := e.read(message{stream: 8, consumer: 1}); err != nil || e.at.Load() != 8 {
		t.Errorf("what is left is read with %v, up to %d", err, e.at.Load())
	}
}

// Customers who are deleted take no memory, also when nobody asks about them.
func TestDeletedCustomerIsForgotten(t *testing.T) {
	b := newBed(t)
	b.people.put("acme", "pro")
	b.sink()
	e := b.engine(nil)
	known := func() bool {
		e.mu.RLock()
		defer e.mu.RUnlock()
		return e.customers["acme"] != nil
	}
	b.says(e, "acme", 0)
	b.eventually("nothing is to be asked about it", func() bool {
		e.mu.RLock()
		defer e.mu.RUnlock()
		e.activeMu.Lock()
		defer e.activeMu.Unlock()
		for _, c := range e.active {
			c.mu.Lock()
			c.seen = time.Time{}
			c.mu.Unlock()
		}
		return !e.customers["acme"].queued.Load()
	})
	b.people.mu.Lock()
	delete(b.people.of, "acme")
	b.people.mu.Unlock()
	e.Changed("acme")
	b.eventually("it is forgotten", func() bool { return !known() })
}
