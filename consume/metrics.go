package consume

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	buffered         prometheus.Gauge
	sent             prometheus.Counter
	errors, dead     *prometheus.CounterVec
	latency, metered prometheus.Histogram
	canaries         canaries
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		canaries: newCanaries(reg),
		buffered: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "kgents_openmeter_events_buffered",
			Help: "Events that were pulled from the stream and wait for the meter.",
		}),
		sent: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kgents_openmeter_events_sent_total",
			Help: "Events that the meter has taken, repeated deliveries included.",
		}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kgents_openmeter_flush_errors_total",
			Help: "Requests to the meter that failed, by class: retry, blocked (key or address wrong) or refused (a bad event).",
		}, []string{"class"}),
		dead: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kgents_deadletters_total",
			Help: "Events kept as dead letters, by reason.",
		}, []string{"reason"}),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "kgents_openmeter_flush_latency_seconds",
			Help:    "Time of a request that the meter took.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 16),
		}),
		metered: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "kgents_event_metered_seconds",
			Help:    "Time from an event's receipt to its being metered.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 43200},
		}),
	}
	for _, c := range []string{"retry", "blocked", "refused"} {
		m.errors.WithLabelValues(c)
	}
	for _, r := range []string{"refused", "malformed"} {
		m.dead.WithLabelValues(r)
	}
	reg.MustRegister(m.buffered, m.sent, m.errors, m.dead, m.latency, m.metered)
	return m
}
