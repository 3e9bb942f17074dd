package host

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/entitle"
	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/stream/streamtest"
	"github.com/kgents/kgents/town"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server.init.0.func1"))
}

var config = stream.Config{Name: "kgent-events", Replicas: 1}

// counter counts usage by identity, as the meter does.
type counter struct {
	mu     sync.Mutex
	events map[string]kgents.Event
	calls  int
	fails  func() error // asked before a call; nil: none fails
	after  func() error // asked when it is counted
}

func (c *counter) Admit(_ context.Context, events []kgents.Event) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
	if c.fails != nil {
		if err := c.fails(); err != nil {
			return 0, err
		}
	}
	fresh := 0
	for _, e := range events {
		if _, ok := c.events[e.Identity()]; !ok {
			c.events[e.Identity()] = e
			fresh++
		}
	}
	if c.after != nil {
		if err := c.after(); err != nil {
			return 0, err
		}
	}
	return fresh, nil
}

// sums are what a meter would say of a customer.
type sums struct{ Interactions, Tokens int64 }

func (c *counter) sums(customer string) (s sums) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.events {
		if e.Subject != customer {
			continue
		}
		switch e.Type {
		case town.TypeInteraction:
			s.Interactions++
		case town.TypeTokens:
			var data struct{ Tokens int64 }
			if err := json.Unmarshal(e.Data, &data); err != nil {
				panic(err)
			}
			s.Tokens += data.Tokens
		}
	}
	return s
}

// plans is a Limits: what each customer may have of a feature. What isn't in it is not
// limited.
type plans struct {
	mu     sync.Mutex
	limits map[string]int64 // by customer and feature
	taken  map[string]int64
}

func newPlans(limits map[string]int64) *plans {
	return &plans{limits: limits, taken: map[string]int64{}}
}

func (p *plans) Require(customer, feature string, more int64, existing *int64) error {
	if n, ok := p.limits[customer+" "+feature]; ok && *existing+more > n {
		return kgents.Errorf(kgents.CodePayment, "the plan allows %d %s", n, feature)
	}
	return nil
}

func (p *plans) Take(customer, feature string, n int64) (func(), entitle.Answer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := customer + " " + feature
	limit, ok := p.limits[key]
	if ok && p.taken[key]+n > limit {
		return func() {}, entitle.Answer{Plan: "free", Feature: feature, Limit: kgents.AtMost(limit), Used: p.taken[key], Reason: entitle.ReasonLimit}, nil
	}
	p.taken[key] += n // what is released is counted by now
	return func() {}, entitle.Answer{Allowed: true}, nil
}

// bed is a server with what hosts need.
type bed struct {
	t     *testing.T
	js    jetstream.JetStream
	stop  func()
	count *counter
	plans *plans
}

func newBed(t *testing.T, limits map[string]int64) *bed {
	t.Helper()
	js, stop := streamtest.Start(t)
	return &bed{t: t, js: js, stop: stop, count: &counter{events: map[string]kgents.Event{}}, plans: newPlans(limits)}
}

func (b *bed) host() *Host {
	b.t.Helper()
	h := New(Config{
		JetStream: b.js, Stream: config, Admitter: b.count, Limits: b.plans,
		Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	b.t.Cleanup(h.Close)
	return h
}

func (b *bed) found(h *Host, customer string, w Wish) Town {
	b.t.Helper()
	t, err := h.Found(b.t.Context(), customer, w)
	if err != nil {
		b.t.Fatal(err)
	}
	return t
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
		<-time.After(10 * time.Millisecond)
	}
}

func code(err error) kgents.Code { return kgents.ErrorCode(err) }
