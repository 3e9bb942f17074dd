package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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

func TestATownsLife(t *testing.T) {
	b := newBed(t, nil)
	h, other := b.host(), b.host()
	ctx := t.Context()
	made := b.found(h, "acme", Wish{Name: "Millbrook", Citizens: 7, Seed: 42})

	got, err := other.Get(ctx, "acme", made.ID)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(made, got); d != "" {
		t.Errorf("another replica sees (-made +got):\n%s", d)
	}
	// Replicas in turns, as a load balancer has it.
	var events []town.Event
	for i, host := range []*Host{h, other, h, h, other} {
		s, err := host.Step(ctx, "acme", made.ID, 1+7*i)
		if err != nil {
			t.Fatal(err)
		}
		if s.Phases != 1+7*i {
			t.Errorf("a step of %d lived %d phases", 1+7*i, s.Phases)
		}
		events = append(events, s.Events...)
		got = s.Town
	}
	for i, e := range events {
		if e.Seq != uint64(i+1) {
			t.Fatalf("event %d has the number %d", i+1, e.Seq)
		}
	}
	if got.Events != uint64(len(events)) {
		t.Errorf("the town counts %d events, the steps gave %d", got.Events, len(events))
	}
	if d := cmp.Diff(sums{got.Interactions, got.Tokens}, b.count.sums("acme")); d != "" || got.Tokens == 0 {
		t.Errorf("the town's sums and the meter's (-town +meter):\n%s", d)
	}
	told, err := h.Events(ctx, "acme", made.ID, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(events, told); d != "" {
		t.Errorf("what happened and what is told (-happened +told):\n%s", d)
	}
	for after := range uint64(len(events)) {
		page, err := other.Events(ctx, "acme", made.ID, after, 3)
		if err != nil {
			t.Fatal(err)
		}
		if want := events[after:min(after+3, uint64(len(events)))]; !cmp.Equal(want, page) {
			t.Fatalf("the page behind %d is %v", after, page)
		}
	}

	before := b.count.sums("acme")
	if err := h.Delete(ctx, "acme", made.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Get(ctx, "acme", made.ID); code(err) != kgents.CodeNotFound {
		t.Errorf("a deleted town is answered with %v", err)
	}
	if left, err := other.List(ctx, "acme", "", 10); err != nil || len(left) != 0 {
		t.Errorf("a deleted town is on the list: %v, %v", left, err)
	}
	if d := cmp.Diff(before, b.count.sums("acme")); d != "" {
		t.Errorf("the usage of a deleted town (-before +after):\n%s", d)
	}
	r := reader{log: &h.history, id: made.ID}
	if left, err := r.next(ctx); err != nil || len(left) > 0 {
		t.Errorf("a deleted town's history is %v, %v", left, err)
	}
}

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

// Over the limit a town lives on, tells why, and spends nothing.
func TestOverTheLimit(t *testing.T) {
	b := newBed(t, map[string]int64{"free tokens": 10_000, "free towns": 1, "free citizens": 3})
	h := b.host()
	ctx := t.Context()
	if _, err := h.Found(ctx, "free", Wish{Citizens: 7}); code(err) != kgents.CodePayment {
		t.Errorf("a town that is too large is answered with %v", err)
	}
	made := b.found(h, "free", Wish{Citizens: 3, Seed: 1})
	if _, err := h.Found(ctx, "free", Wish{Citizens: 3}); code(err) != kgents.CodePayment {
		t.Errorf("a second town is answered with %v", err)
	}
	s, err := h.Step(ctx, "free", made.ID, 100)
	if err != nil {
		t.Fatal(err)
	}
	if s.Town.Limited == "" {
		t.Error("nothing tells that the limit is reached")
	}
	if used := b.count.sums("free").Tokens; used > 10_000 || used < 9_000 {
		t.Errorf("%d tokens are used of 10,000", used)
	}
	if s.Phases != 100 || s.Town.Day != 26 {
		t.Errorf("the town lived %d phases, until day %d", s.Phases, s.Town.Day)
	}
	// After it is deleted there is room for another, and what was used is used.
	if err := h.Delete(ctx, "free", made.ID); err != nil {
		t.Fatal(err)
	}
	again := b.found(h, "free", Wish{Citizens: 3, Seed: 1})
	if s, err = h.Step(ctx, "free", again.ID, 4); err != nil || s.Town.Tokens > 1000 {
		t.Errorf("a new town of who is at the limit used %d tokens (%v)", s.Town.Tokens, err)
	}
}

// Of many who found towns at once, as many succeed as the plan allows.
func TestFoundAtOnce(t *testing.T) {
	b := newBed(t, map[string]int64{"pro towns": 5})
	hosts := []*Host{b.host(), b.host()}
	ctx := t.Context()
	var tasks sync.WaitGroup
	outcomes := make([]kgents.Code, 12)
	for i := range outcomes {
		tasks.Go(func() {
			_, err := hosts[i%2].Found(ctx, "pro", Wish{Citizens: 3})
			outcomes[i] = code(err)
		})
	}
	tasks.Wait()
	count := map[kgents.Code]int{}
	for _, c := range outcomes {
		count[c]++
	}
	if d := cmp.Diff(map[kgents.Code]int{"": 5, kgents.CodePayment: 7}, count); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	towns, err := hosts[0].List(ctx, "pro", "", 100)
	if err != nil || len(towns) != 5 {
		t.Errorf("%d towns are on the list (%v)", len(towns), err)
	}
	page, err := hosts[0].List(ctx, "pro", towns[1].ID, 2)
	if err != nil || len(page) != 2 || page[0].ID != towns[2].ID {
		t.Errorf("the page behind the second is %v (%v)", page, err)
	}
}

// A town that lives by itself does so on one replica at a time, at its pace.
func TestPaced(t *testing.T) {
	b := newBed(t, nil)
	h := b.host()
	b.host()
	ctx := t.Context()
	made := b.found(h, "acme", Wish{Citizens: 3, Seed: 5, Pace: time.Second})
	var now Town
	eventually(t, "three phases are lived", func() bool {
		var err error
		if now, err = h.Get(ctx, "acme", made.ID); err != nil {
			t.Fatal(err)
		}
		return now.Phase == "night" || now.Day > 1
	})
	if took := time.Since(made.Created); took < 2*time.Second {
		t.Errorf("three phases took %s, at one a second", took)
	}
	if _, err := h.SetPace(ctx, "acme", made.ID, 0); err != nil {
		t.Fatal(err)
	}
	now, err := h.Get(ctx, "acme", made.ID)
	if err != nil || now.Pace != 0 {
		t.Fatalf("the pace is %v (%v)", now.Pace, err)
	}
	eventually(t, "what it used is counted", func() bool { return b.count.sums("acme") == sums{now.Interactions, now.Tokens} })
	for _, p := range []time.Duration{-1, time.Millisecond, 25 * time.Hour} {
		if _, err := h.SetPace(ctx, "acme", made.ID, p); code(err) != kgents.CodeInvalid {
			t.Errorf("a pace of %s is answered with %v", p, err)
		}
	}
}

// While NATS is away everything says so, and nothing hangs.
func TestNATSAway(t *testing.T) {
	b := newBed(t, nil)
	h := b.host()
	made := b.found(h, "acme", Wish{Citizens: 3})
	b.stop()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	for what, f := range map[string]func() error{
		"found": func() error { _, err := h.Found(ctx, "acme", Wish{Citizens: 3}); return err },
		"get":   func() error { _, err := h.Get(ctx, "acme", made.ID); return err },
		"list":  func() error { _, err := h.List(ctx, "acme", "", 10); return err },
	} {
		if err := f(); code(err) != kgents.CodeUnavailable {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// What a customer may not ask for is told, and what is another's isn't there.
func TestRefusals(t *testing.T) {
	b := newBed(t, nil)
	h := b.host()
	ctx := t.Context()
	made := b.found(h, "acme", Wish{Citizens: 3})
	get := func(customer, id string) error { _, err := h.Get(ctx, customer, id); return err }
	step := func(n int) error { _, err := h.Step(ctx, "acme", made.ID, n); return err }
	found := func(w Wish) error { _, err := h.Found(ctx, "acme", w); return err }
	for what, test := range map[string]struct {
		err  error
		want kgents.Code
	}{
		"another's town":        {get("other", made.ID), kgents.CodeNotFound},
		"no town":               {get("acme", "nowhere"), kgents.CodeNotFound},
		"what is no id":         {get("acme", "../own.acme"), kgents.CodeNotFound},
		"a wildcard":            {get("acme", "*"), kgents.CodeNotFound},
		"no phases":             {step(0), kgents.CodeInvalid},
		"too many phases":       {step(101), kgents.CodeInvalid},
		"a town of five":        {found(Wish{Citizens: 5}), kgents.CodeInvalid},
		"a pace that is a race": {found(Wish{Citizens: 3, Pace: time.Millisecond}), kgents.CodeInvalid},
		"a name with a bell":    {found(Wish{Citizens: 3, Name: "a\a"}), kgents.CodeInvalid},
	} {
		if code(test.err) != test.want {
			t.Errorf("%s is answered with %v, want %s", what, test.err, test.want)
		}
	}
}

// A list mends itself of what a crash has left on it.
func TestListMendsItself(t *testing.T) {
	b := newBed(t, map[string]int64{"acme towns": 2})
	h := b.host()
	ctx := t.Context()
	gone := roster{Towns: []listed{{"gone", time.Now().Add(-time.Hour)}, {"coming", time.Now()}}}
	if _, err := h.store.put(ctx, ownKey("acme"), gone, 0); err != nil {
		t.Fatal(err)
	}
	made := b.found(h, "acme", Wish{Citizens: 3})
	var r roster
	if _, err := h.store.get(ctx, ownKey("acme"), &r); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, l := range r.Towns {
		ids = append(ids, l.ID)
	}
	if d := cmp.Diff([]string{"coming", made.ID}, ids); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// holding is a Limits that refuses one feature, and counts what is held.
type holding struct {
	refused string
	held    map[string]int64
}

func (h *holding) Require(string, string, int64, *int64) error { return nil }

func (h *holding) Take(_, feature string, n int64) (func(), entitle.Answer, error) {
	if feature == h.refused {
		return func() {}, entitle.Answer{Feature: feature, Reason: entitle.ReasonLimit}, nil
	}
	h.held[feature] += n
	return func() { h.held[feature] -= n }, entitle.Answer{Allowed: true}, nil
}

// What is refused holds nothing back, and what is allowed is held until the end.
func TestGateHoldsWhatIsAllowed(t *testing.T) {
	for refused, want := range map[string]map[string]int64{
		"":                  {FeatureTokens: 900, FeatureInteractions: 3},
		FeatureTokens:       {},
		FeatureInteractions: {FeatureTokens: 0},
	} {
		limits := &holding{refused, map[string]int64{}}
		g := &gate{limits: limits, customer: "acme"}
		for range 3 {
			if ok, why := g.Allow(300); ok != (refused == "") || ok == (why != "") {
				t.Errorf("with %q refused the answer is %v, %q", refused, ok, why)
			}
		}
		if d := cmp.Diff(want, limits.held); d != "" {
			t.Errorf("with %q refused, held (-want +got):\n%s", refused, d)
		}
		g.release()
		for feature, n := range limits.held {
			if n != 0 {
				t.Errorf("with %q refused, %d of %s are held after the end", refused, n, feature)
			}
		}
	}
}
