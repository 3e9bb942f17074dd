package host

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/entitle"
	"github.com/kgents/kgents/town"
)

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
