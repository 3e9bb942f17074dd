package when

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// every are points a minute apart that end at noon.
func every(minute time.Duration, values ...float64) []living.Point {
	var out []living.Point
	for i, v := range values {
		out = append(out, living.Point{Time: noon.Add(-minute * time.Duration(len(values)-1-i)), Value: v})
	}
	return out
}

// A line is found again, whatever its slope, and leads where it leads.
func TestTrendFindsALine(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		n := leastPoints + r.IntN(100)
		start, rate := r.NormFloat64()*math.Pow(10, r.Float64()*12), r.NormFloat64()*math.Pow(10, r.Float64()*9-3)
		var values []float64
		for i := range n {
			values = append(values, start+rate*60*float64(i))
		}
		points := every(time.Minute, values...)
		got, ok := lineThrough(points)
		largest := math.Max(math.Abs(values[0]), math.Abs(values[n-1]))
		if !ok || math.Abs(got.rate-rate)*60*float64(n) > 1e-6*largest || math.Abs(got.now-values[n-1]) > 1e-6*largest {
			t.Fatalf("the line %g + %g·t is found as %+v (%v)", start, rate, got, ok)
		}
		if got.fit < 0 || got.fit > 1 {
			t.Fatalf("the fit is %g", got.fit)
		}
		level := values[n-1] + rate*3600
		if in, reaches := got.until(values[n-1], level, rate > 0); math.Abs(rate)*60*float64(n) > 1e-3*largest && (!reaches || (in-time.Hour).Abs() > 10*time.Second) {
			t.Fatalf("%+v reaches %g in %s (%v), want an hour", got, level, in, reaches)
		}
		if _, reaches := got.until(values[n-1], level, rate < 0); reaches != (level == values[n-1] || rate != 0) {
			// The level lies behind, seen from the other direction: it is passed.
			t.Fatalf("%+v against its direction: %v", got, reaches)
		}
	}
}

// Whatever the points are, nothing is infinite, negative or in the far future.
func TestTrendIsBounded(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	extremes := []float64{0, 1, -1, math.MaxFloat64, -math.MaxFloat64, math.SmallestNonzeroFloat64, math.Inf(1), math.NaN(), 1e300, 1e-300}
	for range 20_000 {
		var values []float64
		for range r.IntN(12) {
			values = append(values, extremes[r.IntN(len(extremes))])
		}
		got, ok := lineThrough(every(time.Minute, values...))
		if !ok {
			continue
		}
		if math.IsNaN(got.rate) || math.IsInf(got.rate, 0) || math.IsNaN(got.now) || !(got.fit >= 0 && got.fit <= 1) {
			t.Fatalf("%v gives %+v", values, got)
		}
		in, reaches := got.until(extremes[r.IntN(len(extremes))], extremes[r.IntN(len(extremes))], r.IntN(2) == 0)
		if in < 0 || in > farthest || !reaches && in != 0 {
			t.Fatalf("%v reaches it in %s (%v)", values, in, reaches)
		}
	}
}

// Of too little nothing is said.
func TestTrendOfTooLittle(t *testing.T) {
	for name, points := range map[string][]living.Point{
		"none": nil, "four points": every(time.Hour, 1, 2, 3, 4), "a minute": every(10*time.Second, 1, 2, 3, 4, 5, 6, 7), "one moment": every(0, 1, 2, 3, 4, 5),
	} {
		if got, ok := lineThrough(points); ok {
			t.Errorf("%s gives %+v", name, got)
		}
	}
}

// What is foreseen, and how bad it is.
func TestOutlooks(t *testing.T) {
	w := &view{limits: living.ReadThresholds()}
	const gb = float64(1 << 30)
	for _, one := range []struct {
		name    string
		got     outlook
		state   tree.State
		verdict string
		reached time.Time
	}{
		{"the disk is full in 10 hours", disk(every(time.Hour, 14*gb, 13*gb, 12*gb, 11*gb, 10*gb), 100*gb, noon), tree.Bad, "full in 10h", noon.Add(10 * time.Hour)},
		{"in 4 days", disk(every(time.Hour, 100*gb, 99*gb, 98*gb, 97*gb, 96*gb), 200*gb, noon), tree.Warn, "full in 4d", noon.Add(96 * time.Hour)},
		{"it empties", disk(every(time.Hour, 1*gb, 2*gb, 3*gb, 4*gb, 5*gb), 100*gb, noon), tree.Well, never, time.Time{}},
		{"two points", disk(every(time.Hour, 1*gb, 2*gb), 100*gb, noon), "", "not said: too few points, 2 over 1h0m0s", time.Time{}},
		{"nothing is known", disk(nil, nil, noon), "", "nothing is known of the past", time.Time{}},
		{"the stream is flat", w.fills("stream", every(time.Hour, 5, 5, 5, 5, 5), 100.0, "StreamNearlyFull", noon), tree.Well, never, time.Time{}},
		{"it fills", w.fills("stream", every(time.Hour, 10, 20, 30, 40, 50), 100.0, "StreamNearlyFull", noon), tree.Bad,
			"full in 5h; StreamNearlyFull (critical, 95 %) in 4h 30m; StreamNearlyFull (warning, 80 %) in 3h", noon.Add(5 * time.Hour)},
		{"it has no limit", w.fills("stream", every(time.Hour, 10, 20, 30, 40, 50), nil, "StreamNearlyFull", noon), "", "it has no limit, or none that is known", time.Time{}},
		{"it is full already, and flat", w.fills("stream", every(time.Hour, 90, 90, 90, 90, 90), 100.0, "StreamNearlyFull", noon), tree.Warn, never + "; past the 80 % of StreamNearlyFull", time.Time{}},
		{"the backlog shrinks", w.backlog(every(time.Minute, 500, 400, 300, 200, 100), 1.0, noon), tree.Well, "empty in 1m", noon.Add(time.Minute)},
		{"it grows", w.backlog(every(time.Minute, 1, 2, 3, 4, 5), 1.0, noon), tree.Warn, "it grows; empty: " + never, time.Time{}},
		{"it is empty", w.backlog(every(time.Minute, 9, 9, 9, 9, 0), 0.0, noon), tree.Well, "it is empty", time.Time{}},
		{"it stands, and is old", w.backlog(every(time.Minute, 9, 9, 9, 9, 9), 3600.0, noon), tree.Bad, "it doesn't shrink; empty: " + never + "; its oldest is past PipelineStalled", time.Time{}},
	} {
		if one.got.state != one.state || one.got.verdict != one.verdict || one.got.reached.Sub(one.reached).Abs() > time.Second {
			t.Errorf("%s: %q, %q, %s; want %q, %q, %s", one.name, one.got.state, one.got.verdict, one.got.reached, one.state, one.verdict, one.reached)
		}
	}
}

// A name is found as a word alone.
func TestMentions(t *testing.T) {
	for _, one := range []struct {
		in, name string
		want     bool
	}{
		{"PATCH /v1/customers/acme", "acme", true}, {"for Acme", "acme", true}, {"acme-2 was made", "acme", false}, {"xacme acme", "acme", true}, {"", "acme", false}, {"acme", "", false},
	} {
		if got := mentions(one.in, one.name); got != one.want {
			t.Errorf("%q mentions %q: %v", one.in, one.name, got)
		}
	}
}
