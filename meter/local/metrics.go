package local

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	stored, duplicates, invalid prometheus.Counter
	commit                      prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &metrics{
		stored:     counter("kgents_meter_events_stored_total", "Events that the embedded meter stored for the first time."),
		duplicates: counter("kgents_meter_events_duplicate_total", "Events that the embedded meter had already."),
		invalid:    counter("kgents_meter_events_invalid_total", "Events stored that some meter could not count: unknown type, or no usable value."),
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "kgents_meter_commit_seconds",
			Help:    "Time of one transaction of the embedded meter, its sync included.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}),
	}
	reg.MustRegister(m.stored, m.duplicates, m.invalid, m.commit)
	return m
}
