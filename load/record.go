package load

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	// Latencies are kept in µs, from 1 µs to 30 min, with an error of 0.1 %.
	maxLatency = 30 * time.Minute
	figures    = 3

	// maxPoints is how many points the series of a run has at most. Of a run that is
	// longer than so many seconds a point is more than a second.
	maxPoints = 300

	// lateAfter is the lateness of sending that counts: it is ours, not the system's.
	lateAfter = 10 * time.Millisecond
)

// Latency sums up durations.
type Latency struct {
	P50  time.Duration `json:"p50"`
	P95  time.Duration `json:"p95"`
	P99  time.Duration `json:"p99"`
	P999 time.Duration `json:"p999"`
	Max  time.Duration `json:"max"`
}

// Part is what became of a phase's requests, or of all. A request belongs to the phase
// in which it was due.
type Part struct {
	Name     string        `json:"name"`
	Begin    time.Duration `json:"begin_ns"`
	For      time.Duration `json:"for_ns"`
	Fault    string        `json:"fault,omitempty"`
	Requests int           `json:"requests"`
	Events   int           `json:"events"`   // in them, also those repeated
	Accepted int           `json:"accepted"` // requests, in the end
	Repeated int           `json:"repeated"` // requests that had been sent before
	Retried  int           `json:"retried"`  // tries after the first
	Late     int           `json:"late"`     // requests sent over 10 ms after they were due
	MostLate time.Duration `json:"most_late_ns"`
	Latency  Latency       `json:"latency_ns"` // from due until accepted, or given up
	Service  Latency       `json:"service_ns"` // from first sent, which hides what waited: for comparison
}

// Point is a moment of the series.
type Point struct {
	At       time.Duration `json:"at_ns"`
	Due      float64       `json:"due"`      // events a second that were due
	Accepted float64       `json:"accepted"` // events a second that were accepted, by when they were
	P50      time.Duration `json:"p50_ns"`   // of requests that were due then
	P99      time.Duration `json:"p99_ns"`
	Max      time.Duration `json:"max_ns"`
}

// Quantile is a point of the latency's distribution.
type Quantile struct {
	Of      float64       `json:"of"` // 0 to 1
	Latency time.Duration `json:"latency_ns"`
}

// outcome is what became of one request.
type outcome struct {
	phase    int
	due      time.Duration
	sent     time.Duration // first
	done     time.Duration
	events   int
	repeated bool
	accepted bool
	retried  int
}

// record is what was measured. It is safe for concurrent use.
type record struct {
	mu       sync.Mutex
	phases   []Part
	latency  []*hdrhistogram.Histogram // by phase
	service  []*hdrhistogram.Histogram
	step     time.Duration // of a point
	due      []int         // events, by point
	accepted []int
	points   []*hdrhistogram.Histogram
	all      *hdrhistogram.Histogram

	failed, acceptedEvents, dueEvents int
}

func newRecord(p Profile) *record {
	r := &record{step: time.Second, all: newHistogram(figures)}
	for p.Length() > maxPoints*r.step {
		r.step += time.Second
	}
	if p.Length() < 10*time.Second {
		r.step = 100 * time.Millisecond
	}
	var begin time.Duration
	for _, ph := range p.Phases {
		r.phases = append(r.phases, Part{Name: ph.Name, Begin: begin, For: time.Duration(ph.For), Fault: ph.Fault})
		r.latency = append(r.latency, newHistogram(figures))
		r.service = append(r.service, newHistogram(figures))
		begin += time.Duration(ph.For)
	}
	n := int(p.Length()/r.step) + 1
	r.due, r.accepted = make([]int, n), make([]int, n)
	r.points = make([]*hdrhistogram.Histogram, n)
	return r
}

func newHistogram(figures int) *hdrhistogram.Histogram {
	return hdrhistogram.New(1, maxLatency.Microseconds(), figures)
}

func add(h *hdrhistogram.Histogram, d time.Duration) {
	// In bounds by the line below, so there is no error.
	_ = h.RecordValue(min(max(1, d.Microseconds()), maxLatency.Microseconds()))
}

// isDue notes a request's events when it comes into being.
func (r *record) isDue(due time.Duration, events int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.due[r.point(due)] += events
	r.dueEvents += events
}

// point is where a time stands in the series; what comes after the end stands in the
// last.
func (r *record) point(at time.Duration) int {
	i := int(at / r.step)
	for i >= len(r.accepted) && i < 4*maxPoints { // answers after the last phase
		r.accepted = append(r.accepted, 0)
		r.due = append(r.due, 0)
		r.points = append(r.points, nil)
	}
	return max(0, min(i, len(r.accepted)-1))
}

func (r *record) settled(o outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	part := &r.phases[o.phase]
	part.Requests++
	part.Events += o.events
	part.Retried += o.retried
	if o.repeated {
		part.Repeated++
	}
	if late := o.sent - o.due; late > lateAfter {
		part.Late++
		part.MostLate = max(part.MostLate, late)
	}
	if o.accepted {
		part.Accepted++
		r.acceptedEvents += o.events
		r.accepted[r.point(o.done)] += o.events
	} else {
		r.failed++
	}
	took := o.done - o.due
	add(r.latency[o.phase], took)
	add(r.service[o.phase], o.done-o.sent)
	add(r.all, took)
	at := r.point(o.due)
	if r.points[at] == nil {
		r.points[at] = newHistogram(2)
	}
	add(r.points[at], took)
}

func quantile(h *hdrhistogram.Histogram, percent float64) time.Duration {
	if h == nil || h.TotalCount() == 0 {
		return 0
	}
	return time.Duration(h.ValueAtPercentile(percent)) * time.Microsecond
}

func summary(h *hdrhistogram.Histogram) Latency {
	return Latency{quantile(h, 50), quantile(h, 95), quantile(h, 99), quantile(h, 99.9), quantile(h, 100)}
}

// fill puts everything into a report.
func (r *record) fill(rep *Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	service := newHistogram(figures)
	rep.Total.Name = "all"
	for i, part := range r.phases {
		part.Latency, part.Service = summary(r.latency[i]), summary(r.service[i])
		service.Merge(r.service[i])
		rep.Phases = append(rep.Phases, part)
		t := &rep.Total
		t.For += part.For
		t.Requests += part.Requests
		t.Events += part.Events
		t.Accepted += part.Accepted
		t.Repeated += part.Repeated
		t.Retried += part.Retried
		t.Late += part.Late
		t.MostLate = max(t.MostLate, part.MostLate)
	}
	rep.Total.Latency, rep.Total.Service = summary(r.all), summary(service)
	seconds := r.step.Seconds()
	for i := range r.due {
		rep.Series = append(rep.Series, Point{
			At: time.Duration(i) * r.step, Due: float64(r.due[i]) / seconds, Accepted: float64(r.accepted[i]) / seconds,
			P50: quantile(r.points[i], 50), P99: quantile(r.points[i], 99), Max: quantile(r.points[i], 100),
		})
	}
	for of := 1.0; r.all.TotalCount() > 0; of /= 1.15 { // evenly spread by the number of nines
		rep.Curve = append(rep.Curve, Quantile{1 - of, quantile(r.all, 100*(1-of))})
		if of*float64(r.all.TotalCount()) < 1 {
			rep.Curve = append(rep.Curve, Quantile{1, quantile(r.all, 100)})
			break
		}
	}
}
