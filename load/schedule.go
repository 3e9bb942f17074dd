package load

import (
	"math"
	"math/rand/v2"
	"time"
)

// piece is a stretch of the schedule whose rate goes from one value to another, in
// requests a second.
type piece struct {
	phase    int
	begin    time.Duration
	length   float64 // seconds
	from, to float64
}

// schedule says when each request is due. It depends on the profile and its seed
// only, never on an answer: what makes the loop open.
//
// A request is due whenever the rate's integral has grown by one (constant), or by a
// random number of exponential distribution with mean one (poisson), so that ramps are
// exact too.
type schedule struct {
	pieces  []piece
	poisson bool
	r       *rand.Rand

	at   int     // the piece
	used float64 // of its integral
	step float64 // left to grow until the next request
}

func newSchedule(p Profile) *schedule {
	s := &schedule{poisson: p.Arrivals == "poisson", r: random(p.Seed, 1)}
	perRequest := p.Events.Stripe + (1-p.Events.Stripe)*float64(p.Events.Batch)
	var begin time.Duration
	for i, ph := range p.Phases {
		n := max(1, ph.Steps)
		for k := range n {
			from, to := ph.Rate, ph.end()
			if ph.Steps > 0 {
				from += (to - from) * float64(k) / float64(n-1)
				to = from
			}
			s.pieces = append(s.pieces, piece{
				phase: i, begin: begin + time.Duration(float64(ph.For)*float64(k)/float64(n)),
				length: time.Duration(ph.For).Seconds() / float64(n), from: from / perRequest, to: to / perRequest,
			})
		}
		begin += time.Duration(ph.For)
	}
	s.step = s.draw()
	return s
}

func (s *schedule) draw() float64 {
	if s.poisson {
		return s.r.ExpFloat64()
	}
	return 1
}

// next returns when the next request is due, from the begin, and in which phase;
// false at the end.
func (s *schedule) next() (due time.Duration, phase int, ok bool) {
	for s.at < len(s.pieces) {
		p := s.pieces[s.at]
		if whole := p.length * (p.from + p.to) / 2; s.used+s.step > whole {
			s.step -= whole - s.used
			s.used = 0
			s.at++
			continue
		}
		s.used += s.step
		s.step = s.draw()
		return p.begin + time.Duration(p.when(s.used)*float64(time.Second)), p.phase, true
	}
	return 0, 0, false
}

// when solves from·t + (to−from)·t²/2L = grown for t, in the form that stays exact
// when from and to are close.
func (p piece) when(grown float64) float64 {
	slope := (p.to - p.from) / p.length
	root := math.Sqrt(max(0, p.from*p.from+2*slope*grown))
	if p.from+root == 0 {
		return 0
	}
	return min(p.length, 2*grown/(p.from+root))
}

// random is a generator of a profile's seed, a different one for each use.
func random(seed, use uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, use)) }
