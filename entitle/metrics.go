package entitle

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	allowed, refused prometheus.Counter
	events           prometheus.Counter
	refreshes        *prometheus.CounterVec
	lag              prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer, e *Engine) *metrics {
	checks := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "kgents_entitlement_checks_total",
		Help: "Questions whether a customer may use more, by result: allowed or refused.",
	}, []string{"result"})
	m := &metrics{
		allowed: checks.WithLabelValues("allowed"), refused: checks.WithLabelValues("refused"),
		events: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kgents_entitlement_events_total",
			Help: "Events of the stream that were looked at for what customers use.",
		}),
		refreshes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kgents_entitlement_refreshes_total",
			Help: "Questions to the meter about what customers have used, by result: ok or failed.",
		}, []string{"result"}),
		lag: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "kgents_entitlement_lag_seconds",
			Help: "How old the last message was when entitlements read it.",
		}),
	}
	for _, r := range []string{"ok", "failed"} {
		m.refreshes.WithLabelValues(r)
	}
	reg.MustRegister(checks, m.events, m.refreshes, m.lag,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "kgents_entitlement_stale",
			Help: "1 while entitlements are answered from what was known, because the stream can't be read or the meter can't be asked.",
		}, func() float64 {
			if e.live.Load() && !e.failing.Load() {
				return 0
			}
			return 1
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "kgents_entitlement_customers",
			Help: "Customers whose usage is known in memory.",
		}, func() float64 {
			e.mu.RLock()
			defer e.mu.RUnlock()
			return float64(len(e.customers))
		}))
	return m
}
