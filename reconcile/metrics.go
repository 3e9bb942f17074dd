package reconcile

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics say what the last complete run has found, whichever replica made it, and
// what this process has mended. Missing events that nobody knows the number of are
// absent, not zero.
type metrics struct {
	mended prometheus.Counter

	mu    sync.Mutex
	last  result
	own   time.Time // of this process's last result
	known bool      // last is the last one, as far as can be told
	seen  time.Time // when that was certain last
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		mended: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kgents_reconcile_mended_total",
			Help: "Events that the meter had forgotten, were sent to it again and are listed by it since.",
		}),
	}
	reg.MustRegister(m.mended, m)
	return m
}

// ran is told what this process has found.
func (m *metrics) ran(r result) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last, m.own, m.known, m.seen = r, r.At, true, time.Now()
}

// read is told what was published last. That may be less than what this process
// knows, when it could not publish.
func (m *metrics) read(r result) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.At.Before(m.own) {
		r = m.last
	}
	m.last, m.known, m.seen = r, !r.At.IsZero(), time.Now()
}

// unread is told that NATS doesn't say what was published last. After followStale
// nobody knows any more whether another replica has run.
func (m *metrics) unread() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.known = m.known && time.Since(m.seen) < followStale
}

var (
	missingEvents = prometheus.NewDesc("kgents_reconcile_missing_events",
		"Events that the last complete reconciliation did not find in the meter and did not mend.", nil, nil)
	lastSuccess = prometheus.NewDesc("kgents_reconcile_last_success_timestamp_seconds",
		"When a reconciliation last came to its end; 0 before the first.", nil, nil)
)

// Describe implements prometheus.Collector.
func (m *metrics) Describe(out chan<- *prometheus.Desc) {
	out <- missingEvents
	out <- lastSuccess
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := 0.0
	if !m.last.At.IsZero() {
		at = float64(m.last.At.UnixMilli()) / 1000
	}
	out <- prometheus.MustNewConstMetric(lastSuccess, prometheus.GaugeValue, at)
	if m.known {
		out <- prometheus.MustNewConstMetric(missingEvents, prometheus.GaugeValue, float64(m.last.Missing))
	}
}
