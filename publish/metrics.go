package publish

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	messages, events, repeated prometheus.Counter
	spooled, drained           prometheus.Counter
	errors, refused            *prometheus.CounterVec
	latency, batch             prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		messages: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kgents_nats_messages_published_total",
			Help: "Messages that JetStream acknowledged as durable; each carries a batch of events.",
		}),
		events: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kgents_nats_events_published_total",
			Help: "Events in the messages that JetStream acknowledged as durable.",
		}),
		repeated: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kgents_nats_messages_repeated_total",
			Help: "Messages that JetStream held already: a retry after an unknown outcome.",
		}),
		spooled: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kgents_spool_messages_taken_total",
			Help: "Messages that local disk took while NATS was away.",
		}),
		drained: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kgents_spool_messages_drained_total",
			Help: "Messages of the local disk that NATS has acknowledged since.",
		}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kgents_nats_publish_errors_total",
			Help: "Attempts to publish a message that failed or had no answer, by reason.",
		}, []string{"reason"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kgents_publish_refused_total",
			Help: "Calls refused without an attempt, by reason.",
		}, []string{"reason"}),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "kgents_nats_publish_latency_seconds",
			Help:    "Time from sending a message to its acknowledgement.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "kgents_publish_batch_events",
			Help:    "Events that shared one message and so one sync.",
			Buckets: prometheus.ExponentialBuckets(1, 4, 8),
		}),
	}
	for _, r := range []string{"timeout", "no_stream", "refused", "connection"} {
		m.errors.WithLabelValues(r)
	}
	for _, r := range []string{"circuit_open", "queue_full", "spool_full", "spool_failed"} {
		m.refused.WithLabelValues(r)
	}
	reg.MustRegister(m.messages, m.events, m.repeated, m.spooled, m.drained, m.errors, m.refused, m.latency, m.batch)
	return m
}
