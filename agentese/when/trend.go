package when

import (
	"math"
	"time"

	"github.com/kgents/kgents/agentese/living"
)

// The least from which a line is drawn.
const (
	leastPoints = 5
	leastSpan   = 2 * time.Minute
)

// farthest is how far ahead is said anything.
const farthest = 100 * 365 * 24 * time.Hour

// trend is a straight line through points, by least squares.
type trend struct {
	rate   float64   // in a second
	now    float64   // where the line is at the last point
	at     time.Time // of the last point
	fit    float64   // R², 0 to 1: how much of the points' variance the line explains
	points int
	span   time.Duration
}

// lineThrough is the trend of points, oldest first. It is false where there are too few,
// or too close together, or one isn't a finite number.
func lineThrough(points []living.Point) (trend, bool) {
	n := len(points)
	if n < leastPoints {
		return trend{}, false
	}
	first, last := points[0].Time, points[n-1].Time
	t := trend{at: last, points: n, span: last.Sub(first)}
	if t.span < leastSpan {
		return trend{}, false
	}
	// Scaled to 1 in both directions, so that nothing overflows on the way.
	length, scale := t.span.Seconds(), 0.0
	for _, p := range points {
		scale = max(scale, math.Abs(p.Value))
		if math.IsNaN(p.Value) || math.IsInf(p.Value, 0) {
			return trend{}, false
		}
	}
	if scale == 0 {
		t.fit = 1
		return t, true
	}
	var mx, my float64
	for _, p := range points {
		mx += p.Time.Sub(first).Seconds() / length / float64(n)
		my += p.Value / scale / float64(n)
	}
	var sxx, sxy, syy float64
	for _, p := range points {
		x, y := p.Time.Sub(first).Seconds()/length-mx, p.Value/scale-my
		sxx, sxy, syy = sxx+x*x, sxy+x*y, syy+y*y
	}
	if sxx == 0 {
		return trend{}, false
	}
	slope := sxy / sxx
	t.now = (my + slope*(1-mx)) * scale
	t.rate = slope / length * scale
	if t.fit = 1; syy > tiny {
		t.fit = min(1, max(0, slope*sxy/syy))
	}
	if math.Abs(slope) < tiny { // what is left of rounding
		t.rate = 0
	}
	return t, !math.IsInf(t.now, 0) && !math.IsInf(t.rate, 0) && !math.IsNaN(t.rate)
}

const tiny = 1e-12

// until is how long after the last point the line, from the value that is there now,
// reaches a level: 0 where it is there or past it, in the direction in which it is meant
// (up: the level is a limit, else it is to be fallen to). It is false where it never is
// at this rate: the line is flat, leads away, or takes more than a hundred years.
func (t trend) until(now, level float64, up bool) (time.Duration, bool) {
	left, rate := level-now, t.rate
	if !up {
		left, rate = -left, -rate
	}
	switch {
	case math.IsNaN(left):
		return 0, false
	case left <= 0:
		return 0, true
	case !(rate > 0):
		return 0, false
	}
	seconds := left / rate
	if !(seconds < farthest.Seconds()) {
		return 0, false
	}
	return time.Duration(seconds * float64(time.Second)), true
}
