package town

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func newTown(t *testing.T, size int) *Town {
	t.Helper()
	tw, err := New("t", size, 1, time.Unix(1e9, 0))
	if err != nil {
		t.Fatal(err)
	}
	for i := range tw.citizens { // all in the square, which holds 20
		if i < 20 {
			tw.citizens[i].region = tw.regionNamed("square")
		}
	}
	return tw
}

// The tables of the original design.
func TestTables(t *testing.T) {
	for name, want := range map[string]operation{
		"greet": {tokens: 200, drama: .1}, "gossip": {tokens: 500, drama: .4}, "trade": {tokens: 400, drama: .3},
		"solo": {tokens: 300, drama: .1}, "dispute": {tokens: 600, drama: .8},
		"celebrate": {tokens: 400, each: true, drama: .2}, "mourn": {tokens: 500, each: true, drama: .5},
		"teach": {tokens: 800, drama: .2},
	} {
		want.name = name
		if operations[name] != want {
			t.Errorf("%+v, want %+v", operations[name], want)
		}
	}
	if len(operations) != 8 {
		t.Errorf("%d operations", len(operations))
	}
	want := []phase{
		{"morning", 2, 4, .2, .1, .3, .4, true, 0},
		{"afternoon", 3, 5, .25, .2, .35, .2, false, 0},
		{"evening", 2, 4, .3, .3, .2, .2, false, .3},
		{"night", 1, 2, .1, .2, .1, .6, false, .7},
	}
	for i, p := range phases {
		if p != want[i] {
			t.Errorf("%+v, want %+v", p, want[i])
		}
		if sum := p.greet + p.gossip + p.trade + p.solo; math.Abs(sum-1) > 1e-9 {
			t.Errorf("%s: weights of %v", p.name, sum)
		}
		if p.most > MaxOperations {
			t.Errorf("%s: %d operations", p.name, p.most)
		}
	}
}

// What happens to relationships, surplus and traits, by the rule of each operation.
// Alice has warmth .8, trust .7; Bob patience .7; Fiona is a sage of patience .8.
func TestEffects(t *testing.T) {
	const alice, bob, clara, fiona = 0, 1, 2, 5
	type views map[[2]int]float64
	for _, c := range []struct {
		name         string
		op           string
		by           []int
		subject      int
		before       views
		after        views
		drama        float64
		surplus      map[int]float64
		feast, grief bool
	}{
		{name: "greet: both + 0.1 × mean warmth", op: Greet, by: []int{alice, bob}, subject: nobody,
			after: views{{alice, bob}: .065, {bob, alice}: .065}, drama: .1},
		{name: "trade: both + 0.2 × mean trust, and 0.1 × tokens split; beyond 10 each spends half", op: Trade, by: []int{alice, bob}, subject: nobody,
			after: views{{alice, bob}: .12, {bob, alice}: .12}, surplus: map[int]float64{alice: 10, bob: 10}, drama: .3},
		{name: "solo: surplus 0.05 × tokens, half of it spent", op: Solo, by: []int{bob}, subject: nobody,
			surplus: map[int]float64{bob: 7.5}, drama: .1},
		{name: "gossip: the listener's view moves by half the speaker's", op: Gossip, by: []int{alice, bob}, subject: clara,
			before: views{{alice, clara}: .6, {bob, clara}: .1}, after: views{{alice, clara}: .6, {bob, clara}: .4}, drama: .4},
		{name: "gossip: ill words are × 1.5 drama", op: Gossip, by: []int{alice, bob}, subject: clara,
			before: views{{alice, clara}: -.6}, after: views{{alice, clara}: -.6, {bob, clara}: -.3}, drama: .6},
		{name: "a relationship ends at 1", op: Greet, by: []int{alice, bob}, subject: nobody,
			before: views{{alice, bob}: .99, {bob, alice}: 1}, after: views{{alice, bob}: 1, {bob, alice}: 1}, drama: .1},
		{name: "a relationship ends at -1", op: Gossip, by: []int{alice, bob}, subject: clara,
			before: views{{alice, clara}: -1, {bob, clara}: -.9}, after: views{{alice, clara}: -1, {bob, clara}: -1}, drama: .6},
		{name: "dispute: each loses 0.7 × mean impatience of what is above -1", op: Dispute, by: []int{alice, bob}, subject: nobody,
			before: views{{alice, bob}: 1}, after: views{{alice, bob}: .44, {bob, alice}: -.28}, drama: .8},
		{name: "dispute: one that ends below -0.5 is mourned", op: Dispute, by: []int{alice, bob}, subject: nobody,
			before: views{{alice, bob}: -.5}, after: views{{alice, bob}: -.64, {bob, alice}: -.28}, drama: .8, grief: true},
		{name: "celebrate: everybody's view + 0.1 × own warmth", op: Celebrate, by: []int{alice, bob}, subject: nobody,
			after: views{{alice, bob}: .08, {bob, alice}: .05}, drama: .2},
		{name: "mourn: a bad view fades by one's resilience", op: Mourn, by: []int{alice, bob}, subject: nobody,
			before: views{{alice, bob}: -.8, {bob, alice}: .3}, after: views{{alice, bob}: -.4, {bob, alice}: .3}, drama: .5},
		{name: "teach: the pupil's view + 0.2 × the sage's patience, the sage's + 0.05", op: Teach, by: []int{fiona, bob}, subject: nobody,
			after: views{{fiona, bob}: .05, {bob, fiona}: .16}, drama: .2},
	} {
		t.Run(c.name, func(t *testing.T) {
			tw := newTown(t, 7)
			for who, w := range c.before {
				tw.citizens[who[0]].views[who[1]] = w
			}
			a := act{operations[c.op], c.by, c.subject}
			if why := tw.refusal(a); why != "" {
				t.Fatal(why)
			}
			drama, message := tw.do(a)
			if drama != c.drama || message == "" || tw.grief != c.grief {
				t.Errorf("drama %v, %q, grief %v", drama, message, tw.grief)
			}
			after, surplus := views{}, map[int]float64(nil)
			for i := range tw.citizens {
				for j, w := range tw.citizens[i].views {
					if w != 0 {
						after[[2]int{i, j}] = w
					}
				}
				if s := tw.citizens[i].surplus; s != 0 {
					if surplus == nil {
						surplus = map[int]float64{}
					}
					surplus[i] = s
				}
			}
			if c.after == nil {
				c.after = views{}
			}
			if diff := cmp.Diff(c.after, after); diff != "" {
				t.Errorf("relationships:\n%s", diff)
			}
			if diff := cmp.Diff(c.surplus, surplus); diff != "" {
				t.Errorf("surplus:\n%s", diff)
			}
		})
	}
}

func TestTeachingIsLearnt(t *testing.T) {
	tw := newTown(t, 7)
	for range 100 {
		tw.do(act{operations[Teach], []int{5, 1}, nobody})
	}
	if tr := tw.citizens[1].traits; tr.Curiosity != 1 || tr.Creativity != 1 || tr.Warmth != .5 {
		t.Errorf("%+v", tr)
	}
}

// What must not happen doesn't, and a reason is told.
func TestPreconditions(t *testing.T) {
	const alice, bob, clara, fiona = 0, 1, 2, 5
	for _, c := range []struct {
		name    string
		op      string
		by      []int
		subject int
		prepare func(*Town)
		want    string
	}{
		{"one who rests", Greet, []int{alice, bob}, nobody, func(t *Town) { t.citizens[bob].state = Resting }, "Bob rests, and accepts only wake"},
		{"one who rests alone", Solo, []int{bob}, nobody, func(t *Town) { t.citizens[bob].state = Resting }, "Bob rests, and accepts only wake"},
		{"one who is elsewhere", Greet, []int{alice, bob}, nobody, func(t *Town) { t.citizens[bob].region = 0 }, "Alice doesn't meet Bob here"},
		{"oneself", Trade, []int{alice, alice}, nobody, nil, "Alice doesn't meet Alice here"},
		{"twice at a feast", Celebrate, []int{alice, bob, bob}, nobody, nil, "Alice doesn't meet Bob here"},
		{"a pair alone", Solo, []int{alice, bob}, nobody, nil, "solo isn't for 2"},
		{"alone a pair", Dispute, []int{alice}, nobody, nil, "dispute isn't for 1"},
		{"three for two", Trade, []int{alice, bob, clara}, nobody, nil, "trade isn't for 3"},
		{"a feast of one", Celebrate, []int{alice}, nobody, nil, "celebrate isn't for 1"},
		{"gossip of nobody", Gossip, []int{alice, bob}, nobody, nil, "Alice knows nothing of anybody else that could be told"},
		{"gossip of a stranger", Gossip, []int{alice, bob}, clara, nil, "Alice knows nothing of anybody else that could be told"},
		{"gossip of the listener", Gossip, []int{alice, bob}, bob, func(t *Town) { t.citizens[alice].views[bob] = .5 }, "Alice knows nothing of anybody else that could be told"},
		{"trade with a grudge", Trade, []int{alice, bob}, nobody, func(t *Town) { t.citizens[bob].views[alice] = -.51 }, "Alice and Bob don't trade: one bears the other a grudge"},
		{"trade just without", Trade, []int{alice, bob}, nobody, func(t *Town) { t.citizens[bob].views[alice] = -.5 }, ""},
		{"a lesson of a builder", Teach, []int{bob, fiona}, nobody, nil, "Bob is no sage"},
		{"a lesson of a sage", Teach, []int{fiona, bob}, nobody, nil, ""},
		{"a feast", Celebrate, []int{alice, bob, clara}, nobody, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			tw := newTown(t, 7)
			if c.prepare != nil {
				c.prepare(tw)
			}
			if got := tw.refusal(act{operations[c.op], c.by, c.subject}); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// The right to rest: of all that there is, one who rests accepts only to be woken.
func TestRightToRest(t *testing.T) {
	c := citizen{state: Resting}
	for op := range operations {
		if c.accepts(op) {
			t.Errorf("a resting citizen accepts %s", op)
		}
	}
	if c.accepts(Move) || c.accepts(Rest) || !c.accepts(Wake) {
		t.Error("move, rest or wake")
	}
	// A night in which all rest has one event for each that was to be, all refused, and
	// in the morning all wake.
	tw := newTown(t, 3)
	tw.phase = phaseNamed("night")
	for i := range tw.citizens {
		tw.citizens[i].state = Resting
	}
	events := tw.Step(t.Context(), time.Unix(1e9, 0), nil, nil)
	if len(events) == 0 {
		t.Error("nothing was tried")
	}
	for _, e := range events {
		if e.Success || e.Tokens != 0 || !strings.HasSuffix(e.Message, "rests, and accepts only wake") {
			t.Errorf("%+v", e)
		}
	}
	e := tw.Step(t.Context(), time.Unix(1e9, 0), nil, nil)[0]
	if e.Operation != Wake || len(e.Participants) != 3 || e.Phase != "morning" || e.Day != 2 {
		t.Errorf("%+v", e)
	}
}

// Tension is the variance of relationship weights, cooperation the sum of the
// positive ones.
func TestClimate(t *testing.T) {
	tw := newTown(t, 3) // six relationships
	for i, w := range []float64{.5, -.5, 1, 0, 0, -1} {
		from := i / 2
		to := []int{1, 2, 0, 2, 0, 1}[i]
		tw.citizens[from].views[to] = w
	}
	m := tw.Metrics()
	if want := (.25 + .25 + 1 + 1) / 6; math.Abs(m.Tension-want) > 1e-12 || m.Cooperation != 1.5 {
		t.Errorf("%+v, want a tension of %v", m, want)
	}
}

// Nobody moves into a region that is full, and all stay if all are.
func TestCapacity(t *testing.T) {
	tw := newTown(t, 25)
	for i := range tw.citizens { // the library holds 6
		tw.citizens[i].region = tw.regionNamed("library")
		if i >= 6 {
			tw.citizens[i].region = tw.regionNamed("square")
		}
	}
	for range 1000 {
		if to := tw.destination(10, &phases[0]); to < 0 || tw.regions[to].name == "library" || tw.regions[to].name == "square" {
			t.Fatalf("moves to %d", to)
		}
	}
	full := append([]region(nil), tw.regions...)
	for i := range full {
		full[i].capacity = 0
	}
	tw.regions = full
	if to := tw.destination(10, &phases[0]); to != -1 {
		t.Errorf("moves to %d", to)
	}
}

// However tokens are split, nothing is lost and nobody pays more than one more.
func TestSplit(t *testing.T) {
	for n := 1; n <= 25; n++ {
		names := make([]string, n)
		for i := range names {
			names[i] = fmt.Sprint(i)
		}
		for in := range int64(60) {
			out := in * in % 23
			var a, b, least, most int64 = 0, 0, 1 << 60, 0
			for _, s := range split(names, "m", in, out) {
				a, b = a+s.In, b+s.Out
				least, most = min(least, s.In), max(most, s.In)
			}
			if a != in || b != out || most-least > 1 {
				t.Fatalf("%d and %d over %d: %d and %d, from %d to %d", in, out, n, a, b, least, most)
			}
		}
	}
}
