package entitle

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kgents/kgents"
)

func at(t *testing.T, text string) time.Time {
	t.Helper()
	out, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestWindow(t *testing.T) {
	for name, test := range map[string]struct{ start, end, per, now, from, to string }{
		"no subscription":            {"", "", kgents.PerPeriod, "2026-11-28T15:00:00Z", "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"},
		"the year's end":             {"", "", kgents.PerPeriod, "2026-12-31T23:59:59Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"},
		"in a time zone":             {"", "", kgents.PerPeriod, "2026-12-01T00:30:00+01:00", "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"},
		"a day":                      {"", "", kgents.PerDay, "2026-11-28T15:00:00Z", "2026-11-28T00:00:00Z", "2026-11-29T00:00:00Z"},
		"a day of a subscriber":      {"2026-11-10T09:30:40Z", "2026-12-10T09:30:40Z", kgents.PerDay, "2026-11-28T00:00:00Z", "2026-11-28T00:00:00Z", "2026-11-29T00:00:00Z"},
		"a subscription, to minutes": {"2026-11-10T09:30:40Z", "2026-12-10T09:30:40Z", kgents.PerPeriod, "2026-11-28T15:00:00Z", "2026-11-10T09:30:00Z", "2026-12-10T09:30:00Z"},
		"a year's has months":        {"2026-01-10T09:30:40Z", "2027-01-10T09:30:40Z", kgents.PerPeriod, "2026-11-28T15:00:00Z", "2026-11-10T09:30:00Z", "2026-12-10T09:30:00Z"},
		"a period that is no period": {"2026-11-10T09:30:40Z", "2026-11-10T09:30:40Z", kgents.PerPeriod, "2026-11-28T15:00:00Z", "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			a := Account{ID: "acme"}
			if test.start != "" {
				a.PeriodStart, a.PeriodEnd = at(t, test.start), at(t, test.end)
			}
			from, to := window(a, test.per, at(t, test.now))
			if f, u := minuteTime(from).Format(time.RFC3339), minuteTime(to).Format(time.RFC3339); f != test.from || u != test.to {
				t.Errorf("%s to %s, want %s to %s", f, u, test.from, test.to)
			}
		})
	}
}

// However many messages come between refreshes, memory is bounded and the sum right; a
// refresh in the middle counts nothing twice once the floor has passed.
func TestDeltasAreBounded(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	k := &counter{from: 100, to: 200, known: true, next: noAlert}
	inPeriod, late, future := 0.0, 0.0, 0.0
	for seq := uint64(1); seq <= 20_000; seq++ {
		n := float64(rnd.IntN(100))
		switch rnd.IntN(10) {
		case 0:
			k.add(seq, 99, n)
			late += n
		case 1:
			k.add(seq, 200+int64(rnd.IntN(1000)), n)
			future += n
		default:
			k.add(seq, 100+int64(rnd.IntN(100)), n)
			inPeriod += n
		}
		if len(k.deltas) > maxDeltas {
			t.Fatalf("%d deltas", len(k.deltas))
		}
	}
	if k.tail != inPeriod {
		t.Errorf("the tail is %v, want %v", k.tail, inPeriod)
	}
	// The meter has said everything up to message 15,000.
	now := time.Now()
	if k.refresh(0, 15_000, now) {
		t.Error("with messages under way it is exact")
	}
	if k.refresh(inPeriod, 20_000, now) && k.used() != int64(inPeriod) {
		t.Errorf("used is %d, want %v", k.used(), inPeriod)
	}
	if len(k.deltas) != 0 {
		t.Errorf("%d deltas are left", len(k.deltas))
	}
	if k.add(20_000, 150, 5); k.tail != 0 {
		t.Error("a message that the meter has said counts again")
	}
}

// When a period ends, the next begins with what was used in it already.
func TestTurn(t *testing.T) {
	day := int64(24 * 60)
	asked := minuteTime(10*day - 5)
	for name, test := range map[string]struct {
		from, to     int64
		used         int64
		known, whole bool
	}{
		"the same":              {9 * day, 10 * day, 107, true, true},
		"the next":              {10 * day, 11 * day, 40, true, true},
		"later, with a gap":     {12 * day, 13 * day, 0, true, true},
		"it ends later":         {9 * day, 12 * day, 147, true, true},
		"it began earlier":      {8 * day, 10 * day, 107, false, false},
		"it began a moment ago": {10*day - 10, 20 * day, 47, false, false},
		"another, long ago":     {2 * day, 3 * day, 100, false, false}, // until the meter has said it
	} {
		t.Run(name, func(t *testing.T) {
			k := &counter{from: 9 * day, to: 10 * day, base: 100, known: true, asked: asked, floor: 5, since: 3, next: noAlert}
			k.add(6, 10*day-1, 7)
			k.add(7, 10*day, 40)
			k.turn(test.from, test.to, 9)
			if k.used() != test.used || k.known != test.known || k.whole() != test.whole {
				t.Errorf("used %d, known %v, whole %v", k.used(), k.known, k.whole())
			}
			if (test.from != 9*day || test.to != 10*day) && !k.due.IsZero() {
				t.Error("the meter isn't asked")
			}
		})
	}
}

func TestNumbersDontOverflow(t *testing.T) {
	k := &counter{from: 0, to: 10, known: true, next: noAlert}
	for seq := range uint64(10) {
		k.add(seq+1, 5, math.MaxFloat64)
	}
	if k.used() != math.MaxInt64 {
		t.Errorf("used is %d", k.used())
	}
	k.add(11, 5, -math.MaxFloat64)
	k.add(12, 5, -math.MaxFloat64)
	if k.used() != 0 {
		t.Errorf("used is %d", k.used())
	}
	for in, want := range map[float64]int64{math.NaN(): 0, math.Inf(1): math.MaxInt64, math.Inf(-1): 0, 0.1: 1, 9007199254740993: 9007199254740992} {
		if got := toInt(in); got != want {
			t.Errorf("%v is %d", in, got)
		}
	}
	a := Answer{Used: math.MaxInt64}
	a.judge(kgents.Quota{Limit: kgents.AtMost(math.MaxInt64), Over: kgents.OverRefuse}, true, math.MaxInt64, 1)
	if a.Allowed || a.Left.N() != 0 {
		t.Errorf("%+v", a)
	}
}

// Reservations are bounded, end by their time, and with the message behind them.
func TestHolds(t *testing.T) {
	now := time.Now()
	k := &counter{}
	for i := range 3 * maxHolds {
		k.hold(1, now.Add(time.Duration(i)*time.Millisecond))
	}
	if len(k.holds) != maxHolds {
		t.Errorf("%d reservations", len(k.holds))
	}
	if got := k.held(now.Add(-time.Second), 0); got != 3*maxHolds {
		t.Errorf("%d are held", got)
	}
	if got := k.held(now.Add(time.Hour), 0); got != 0 {
		t.Errorf("%d are held for ever", got)
	}
	h := k.hold(5, now.Add(time.Minute))
	h.after = 10
	if before, after := k.held(now, 9), k.held(now, 10); before != 5 || after != 0 {
		t.Errorf("%d before its message, %d after it", before, after)
	}
	k.hold(math.MaxInt64, now.Add(time.Minute))
	k.hold(math.MaxInt64, now.Add(time.Minute))
	if got := k.held(now, 0); got != math.MaxInt64 {
		t.Errorf("%d are held", got)
	}
}

func TestCross(t *testing.T) {
	cat := newPeople().Catalog()
	a := Account{ID: "acme", Plan: cat.Plans[0]}
	now := time.Now()
	k := &counter{feature: "tokens", from: 0, to: 10, known: true}
	for _, step := range []struct {
		base float64
		want int
		next float64
	}{{0, 0, 500}, {499, 0, 500}, {500, 50, 800}, {700, 0, 800}, {1500, 100, noAlert}, {1600, 0, noAlert}} {
		k.base = step.base
		c, ok := k.cross(cat, a, now)
		if ok != (step.want > 0) || c.Percent != step.want || k.next != step.next {
			t.Errorf("at %v: %+v, %v; the next is at %v", step.base, c, ok, k.next)
		}
	}
	// A larger plan begins anew; a smaller one too.
	a.Plan = cat.Plans[1]
	if c, ok := k.cross(cat, a, now); ok {
		t.Errorf("1600 of 5000: %+v", c)
	}
	k.base = 4000
	if c, ok := k.cross(cat, a, now); !ok || c.Percent != 80 || c.Limit != 5000 || c.Plan != "pro" || c.Feature.Name != "Tokens" {
		t.Errorf("4000 of 5000: %+v", c)
	}
	if _, ok := k.cross(cat, a, now.Add(again)); !ok {
		t.Error("what was told long ago isn't told again")
	}
	a.Plan.Quotas = map[string]kgents.Quota{"tokens": {Limit: kgents.NoLimit()}}
	if _, ok := k.cross(cat, a, now); ok || k.next != noAlert {
		t.Error("a percent of no limit")
	}
	a.Plan.Quotas = map[string]kgents.Quota{"tokens": {Limit: kgents.AtMost(0)}}
	if _, ok := k.cross(cat, a, now); ok {
		t.Error("a percent of nothing")
	}
}
