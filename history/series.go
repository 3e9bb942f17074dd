package history

import (
	"cmp"
	"context"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

const (
	// Every is the time between two samples, and Kept how long one is kept.
	Every = 10 * time.Second
	Kept  = 6 * time.Hour

	// samples of each figure: with the 55 figures there are, 950 kB, from the start on.
	samples = int(Kept/Every) + 1
)

// Series keeps the samples of this process. It is safe for concurrent use.
type Series struct {
	gather prometheus.Gatherer
	log    *slog.Logger
	cancel context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex
	times  [samples]int64 // Unix seconds, 0 = no sample yet
	values [][samples]float64
	next   int // where the next sample goes
}

// NewSeries takes a sample of what gather has, now and every Every, until Close. Gather
// must answer from memory.
func NewSeries(gather prometheus.Gatherer, log *slog.Logger) *Series {
	s := &Series{gather: gather, log: log, values: make([][samples]float64, len(figures)), done: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.sample(time.Now())
	go func() {
		defer close(s.done)
		tick := time.NewTicker(Every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				s.sample(time.Now())
			}
		}
	}()
	return s
}

// Close ends sampling. What was kept can still be read.
func (s *Series) Close() {
	s.cancel()
	<-s.done
}

func (s *Series) sample(now time.Time) {
	gathered, err := s.gather.Gather()
	if err != nil { // what was gathered is good all the same
		s.log.Debug("some metrics could not be gathered", "error", err)
	}
	families := make(map[string]*dto.MetricFamily, len(gathered))
	for _, f := range gathered {
		families[f.GetName()] = f
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.times[s.next] = now.Unix()
	for i, f := range figures {
		s.values[i][s.next] = f.value(families)
	}
	s.next = (s.next + 1) % samples
}

// Point is a moment, in Unix seconds, and the value then.
type Point [2]float64

// Line is the past of one figure.
type Line struct {
	Name   string  `json:"name"`
	Points []Point `json:"points"` // oldest first; moments without a value are left out
}

// Lines returns the figures that a name names, the whole of it or the metric's alone,
// from since on. With a step of more than Every there is the last value of each step,
// at its own time. It is empty for a name that no figure has.
func (s *Series) Lines(name string, since time.Time, step time.Duration) []Line {
	width := int64(max(step, Every) / time.Second)
	s.mu.Lock()
	defer s.mu.Unlock()
	var lines []Line
	for i, f := range figures {
		if name != f.Name && name != f.metric && name != f.metric+f.part {
			continue
		}
		l := Line{Name: f.Name, Points: []Point{}}
		for n := range samples {
			at := (s.next + n) % samples
			t, v := s.times[at], s.values[i][at]
			if t == 0 || t < since.Unix() || math.IsNaN(v) || math.IsInf(v, 0) {
				continue
			}
			if last := len(l.Points) - 1; step > Every && last >= 0 && int64(l.Points[last][0])/width == t/width {
				l.Points[last] = Point{float64(t), v}
				continue
			}
			l.Points = append(l.Points, Point{float64(t), v})
		}
		lines = append(lines, l)
	}
	return lines
}

// KeptSince is when the oldest sample was taken, zero before the first.
func (s *Series) KeptSince() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := range samples {
		if t := s.times[(s.next+n)%samples]; t != 0 {
			return time.Unix(t, 0).UTC()
		}
	}
	return time.Time{}
}

// sortLines puts lines in the figures' order, each once.
func sortLines(lines []Line) []Line {
	place := map[string]int{}
	for i, f := range figures {
		place[f.Name] = i
	}
	slices.SortFunc(lines, func(a, b Line) int { return cmp.Compare(place[a.Name], place[b.Name]) })
	return slices.CompactFunc(lines, func(a, b Line) bool { return a.Name == b.Name })
}
