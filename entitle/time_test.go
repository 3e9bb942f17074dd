package entitle

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/meter"
)

// clock is the real one, set to another time, which a test can move.
type clock struct {
	mu   sync.Mutex
	base time.Time
	real time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.base.Add(time.Since(c.real))
}

func (c *clock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.base, c.real = t, time.Now()
}

// engineAt runs an engine by a clock.
func (b *bed) engineAt(c *clock, change func(*Config)) *Engine {
	b.Helper()
	config := b.settings()
	if change != nil {
		change(&config)
	}
	e := newEngine(config)
	e.now, e.lull = c.now, soon
	e.start()
	b.Cleanup(e.Close)
	return e
}

// When a period ends, what was used begins at 0 at once. What comes late for the old one
// doesn't count for the new one, and the other way round.
func TestRollover(t *testing.T) {
	b := newBed(t)
	b.people.put("acme", "free")
	b.sink()
	c := &clock{}
	c.set(at(t, "2026-11-30T23:58:30Z"))
	e := b.engineAt(c, nil)
	b.says(e, "acme", 0)
	b.publish(b.js, tokensAt("acme", 900, c.now()), event("api.request", "acme", "{}", c.now()))
	b.says(e, "acme", 900)
	b.publish(b.js, tokensAt("acme", 30, at(t, "2026-12-01T00:00:10Z"))) // by a clock that is fast
	c.set(at(t, "2026-12-01T00:00:20Z"))
	b.says(e, "acme", 30)
	a := b.answer(e, "acme", "tokens")
	if !a.ResetsAt.Equal(at(t, "2027-01-01T00:00:00Z")) || a.Stale {
		t.Errorf("after the period's end: %+v", a)
	}
	if a := b.answer(e, "acme", "calls"); a.Used != 0 {
		t.Errorf("calls of the new day: %+v", a)
	}
	b.publish(b.js, tokensAt("acme", 50, at(t, "2026-11-30T23:59:59Z")), tokensAt("acme", 7, c.now()))
	b.says(e, "acme", 37)
	b.eventually("the meter has all", func() bool { return b.counted("acme") == 900+30+50+7 })
	b.says(e, "acme", 37)
}

// Alerts are for what the meter has counted: none for duplicates in the stream, and each
// once while the engine runs.
func TestCrossings(t *testing.T) {
	b := newBed(t)
	b.people.put("acme", "free")
	var (
		mu   sync.Mutex
		told []string
	)
	e := b.engine(func(c *Config) {
		c.Crossed = func(c Crossing) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, fmt.Sprintf("%s %s %d%% %d/%d", c.Customer, c.Feature.ID, c.Percent, c.Used, c.Limit))
		}
	})
	got := func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string{}, told...)
	}
	b.says(e, "acme", 0)
	twice := tokens("acme", 400)
	b.publish(b.js, twice)
	b.publish(b.js, twice, event("api.request", "other", "{}", time.Now())) // 800 by the stream
	b.eventually("both are seen", func() bool { return b.answer(e, "acme", "tokens").Used == 800 })
	b.sink()
	b.says(e, "acme", 400)
	if list := got(); len(list) > 0 {
		t.Fatalf("told %v", list)
	}
	b.publish(b.js, tokens("acme", 150))
	b.eventually("half is told", func() bool { return len(got()) == 1 })
	b.publish(b.js, tokens("acme", 450))
	b.eventually("all is told", func() bool { return len(got()) == 2 })
	b.says(e, "acme", 1000)
	if diff := cmp.Diff([]string{"acme tokens 50% 550/1000", "acme tokens 100% 1000/1000"}, got()); diff != "" {
		t.Error(diff)
	}
}

// What the tail makes of odd events is what the meter makes of them.
func TestOddEvents(t *testing.T) {
	b := newBed(t)
	now := time.Now()
	var events []kgents.Event
	for i, data := range []string{
		`{"tokens":5}`, `{"tokens":"7"}`, `{"tokens":" 7"}`, `{"tokens":1.5}`, `{"tokens":1e3}`, `{"tokens":-20}`, `{"tokens":"-1.25e1"}`, `{"tokens":1e400}`,
		`{"tokens":"1e400"}`, `{"tokens":null}`, `{"tokens":true}`, `{"tokens":{"tokens":4}}`, `{"tokens":[4]}`, `{"tokens":""}`, `{"tokens":"0x10"}`,
		`{"to\u006bens":9}`, `{"a":{"tokens":100},"tokens":3}`, `{"tokens":9007199254740993}`, `{"tokens":0}`, `{"tokens":"NaN"}`, `{"tokens":"12\u0033"}`,
		`null`, `[]`, `"tokens"`, `{"x":"}{\"tokens\":1","tokens":2}`, `{"tokens": 12 }`,
	} {
		events = append(events, event("agent.tokens", fmt.Sprint("odd", i), data, now))
		b.people.put(fmt.Sprint("odd", i), "pro")
	}
	raw := func(text string) { // attributes that stand in another order, or are written otherwise
		id := fmt.Sprint("raw", len(events))
		b.people.put(id, "pro")
		events = append(events, kgents.Event{Raw: []byte(fmt.Sprintf(text, id, id, now.UTC().Format(time.RFC3339)))})
	}
	raw(`{"data":{"tokens":11},"id":"%s","subject":"%s","time":"%s","type":"agent.tokens","source":"s","specversion":"1.0"}`)
	raw(` { "id" : "%s" , "subject" : "%s" , "time" : "%s" , "type" : "agent\u002etokens" , "source" : "s" , "specversion" : "1.0" , "data" : { "tokens" : 13 } } `)
	raw(`{"id":"%s","subject":"%s","time":"%s","type":"agent.tokens","source":"s","specversion":"1.0"}`)
	raw(`{"id":"%s","subject":"%s","time":"%s","type":"agent.tokens","source":"s","specversion":"1.0","nested":"type","data":{"tokens":17}}`)

	ts, err := newTallies(b.people.Catalog(), []meter.Meter{{Slug: "agent_tokens", EventType: "agent.tokens", Aggregation: meter.Sum, ValueProperty: "$.tokens"}, {Slug: "api_requests", EventType: "api.request", Aggregation: meter.Count}})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]float64{}
	var s scanner
	if n, err := s.scan(encodeWhole(t, events...), ts, func(subject []byte, _ *tally, _ int64, n float64) { seen[string(subject)] += n }); err != nil || n != len(events) {
		t.Fatalf("%d events, %v", n, err)
	}
	b.publish(b.js, events...)
	b.sink()
	b.publish(b.js, tokens("last", 1))
	b.eventually("the meter has all", func() bool { return b.counted("last") == 1 })
	r, err := b.meter.Query(t.Context(), meter.Query{Meter: "agent_tokens", GroupBy: []string{"subject"}})
	if err != nil {
		t.Fatal(err)
	}
	metered := map[string]float64{}
	for _, row := range r.Data {
		if *row.Subject != "last" && row.Value != 0 {
			metered[*row.Subject] = row.Value
		}
	}
	if diff := cmp.Diff(metered, seen); diff != "" {
		t.Errorf("the meter and the tail differ (-meter +tail):\n%s", diff)
	}
}

// With a meter that counts later, nothing is left out meanwhile.
func TestMeterThatCountsLater(t *testing.T) {
	b := newBed(t)
	b.people.put("acme", "free")
	b.sink()
	e := b.engine(func(c *Config) { c.Settle = 2 * time.Second })
	b.says(e, "acme", 0)
	for range 10 {
		b.publish(b.js, tokens("acme", 10))
	}
	b.eventually("all are seen", func() bool { return b.answer(e, "acme", "tokens").Used >= 100 })
	b.eventually("it is exact again", func() bool {
		a := b.answer(e, "acme", "tokens")
		if a.Used < 100 {
			t.Fatalf("less than there is: %+v", a)
		}
		e.customer("acme").mu.Lock()
		defer e.customer("acme").mu.Unlock()
		return a.Used == 100 && len(e.customer("acme").counters[0].deltas) == 0
	})
}
