package host

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents/town"
)

type metrics struct {
	founded, conflicts, unsent, untold, mended prometheus.Counter
	events                                     *prometheus.CounterVec
	tokens                                     prometheus.Counter
	clients                                    prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &metrics{
		founded:   counter("kgents_town_founded_total", "Towns that customers have founded."),
		conflicts: counter("kgents_town_conflicts_total", "Steps that began again because another replica was faster."),
		unsent:    counter("kgents_town_unsent_total", "Times that a town's usage could not be made durable: it is kept in the town's outbox, and the town waits."),
		untold:    counter("kgents_town_untold_total", "Times that a town's history could not be written: it is kept in the town's outbox."),
		mended:    counter("kgents_town_mended_total", "Outboxes that were found and sent by the sweep, after a crash or an outage."),
		tokens:    counter("kgents_town_tokens_total", "Tokens that towns have used."),
		clients:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "kgents_town_streams", Help: "Clients that have a stream of a town's events open."}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kgents_town_events_total",
			Help: "What happened in towns: metered (an interaction that is billed), free (moves, rest, and what failed) or limited (the plan did not allow it).",
		}, []string{"outcome"}),
	}
	for _, o := range []string{"metered", "free", "limited"} {
		m.events.WithLabelValues(o)
	}
	reg.MustRegister(m.founded, m.conflicts, m.unsent, m.untold, m.mended, m.tokens, m.clients, m.events)
	return m
}

// lived counts what was written.
func (m *metrics) lived(events []town.Event) {
	for _, e := range events {
		outcome := "free"
		switch {
		case e.Limited:
			outcome = "limited"
		case e.Success && e.Tokens > 0:
			outcome = "metered"
		}
		m.events.WithLabelValues(outcome).Inc()
		m.tokens.Add(float64(e.Tokens))
	}
}
