package receive

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents/telemetry"
)

type metrics struct {
	received, processed, skipped, webhookErrors *prometheus.CounterVec
	webhookLatency                              prometheus.Histogram

	accepted, duplicate  prometheus.Counter
	refused, rateLimited *prometheus.CounterVec

	requests *prometheus.CounterVec
	latency  *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &metrics{
		received:      vec("kgents_stripe_webhooks_received_total", "Stripe webhooks with a good signature, by Stripe's type; what we don't handle is 'other'.", "type"),
		processed:     vec("kgents_stripe_webhooks_processed_total", "Stripe webhooks whose event is durable, by Stripe's type.", "type"),
		skipped:       vec("kgents_stripe_webhooks_skipped_total", "Stripe webhooks that are no meter event, by reason.", "reason"),
		webhookErrors: vec("kgents_stripe_webhooks_errors_total", "Stripe webhooks that were refused, by reason.", "reason"),
		webhookLatency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "kgents_stripe_webhook_latency_seconds",
			Help:    "Time to answer a Stripe webhook.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 7.5, 10},
		}),
		accepted:    prometheus.NewCounter(prometheus.CounterOpts{Name: "kgents_events_accepted_total", Help: "Events that became durable by a request."}),
		duplicate:   prometheus.NewCounter(prometheus.CounterOpts{Name: "kgents_events_duplicate_total", Help: "Events in requests that were durable already."}),
		refused:     vec("kgents_events_refused_total", "Requests with usage events that were refused, by reason.", "reason"),
		rateLimited: vec("kgents_api_rate_limited_total", "Requests answered 429 because their API key sends more often than API_RATE_LIMIT, by the key's position in API_KEYS.", "key"),
		requests:    vec("kgents_api_requests_total", "Requests answered, by route, method and status.", "route", "method", "code"),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "kgents_api_request_latency_seconds",
			Help:    "Time to answer a request, by route.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"route"}),
	}
	for _, r := range []string{"no_signature", "bad_header", "timestamp", "bad_signature", "malformed", "too_large", "unavailable", "no_secret"} {
		m.webhookErrors.WithLabelValues(r)
	}
	for _, r := range []string{"unauthorized", "forbidden", "invalid", "too_large", "timeout", "rate_limited", "unavailable"} {
		m.refused.WithLabelValues(r)
	}
	reg.MustRegister(m.received, m.processed, m.skipped, m.webhookErrors, m.webhookLatency,
		m.accepted, m.duplicate, m.refused, m.rateLimited, m.requests, m.latency)
	return m
}

// timer observes one route. What the hot path needs is looked up once.
type timer struct {
	metrics *metrics
	name    string
	latency prometheus.Observer
	good    prometheus.Counter // POST answered 204
}

func (m *metrics) route(name string) timer {
	return timer{m, name, m.latency.WithLabelValues(name), m.requests.WithLabelValues(name, http.MethodPost, "204")}
}

func (t timer) observe(r *http.Request, status int, took time.Duration) {
	telemetry.Observe(r.Context(), t.latency, took.Seconds())
	t.count(r, status)
}

// count is observe without the time.
func (t timer) count(r *http.Request, status int) {
	if r.Method == http.MethodPost && status == http.StatusNoContent {
		t.good.Inc()
		return
	}
	t.metrics.requests.WithLabelValues(t.name, r.Method, strconv.Itoa(status)).Inc()
}
