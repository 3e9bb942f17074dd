package history

import (
	"fmt"
	"math"
	"regexp"
	"strings"

	dto "github.com/prometheus/client_model/go"
)

// Figure is a metric whose past is kept.
type Figure struct {
	// Name is how Prometheus selects it: the metric, and labels where a part of it is
	// meant. What is kept is the sum of what Name selects, in this process, and absent
	// where it selects nothing. Of a histogram there are _count and _sum.
	Name string `json:"name"`
	Type string `json:"type"` // gauge or counter, of which the increase is what counts; it begins again with the process
	Help string `json:"help"` // one line

	metric  string // without labels and without _count or _sum
	part    string // "_count" or "_sum" of a histogram
	labels  map[string]*regexp.Regexp
	pattern string // the labels as they are written, for errors
}

const (
	gauge   = "gauge"
	counter = "counter"
)

// figures are all there are, in the order in which they are shown: how an event goes.
var figures = parsed([]Figure{
	{Name: `kgents_stripe_webhooks_received_total`, Type: counter, Help: "Stripe webhooks with a good signature"},
	{Name: `kgents_stripe_webhooks_processed_total`, Type: counter, Help: "Stripe webhooks whose event is durable"},
	{Name: `kgents_stripe_webhooks_skipped_total`, Type: counter, Help: "Stripe webhooks that are no meter event"},
	{Name: `kgents_stripe_webhooks_errors_total`, Type: counter, Help: "Stripe webhooks that were refused"},
	{Name: `kgents_stripe_webhook_latency_seconds_count`, Type: counter, Help: "Stripe webhooks answered"},
	{Name: `kgents_stripe_webhook_latency_seconds_sum`, Type: counter, Help: "Seconds that answering them took, together"},
	{Name: `kgents_api_requests_total{code=~"2.."}`, Type: counter, Help: "Requests answered well"},
	{Name: `kgents_api_requests_total{code=~"4.."}`, Type: counter, Help: "Requests refused, by their sender's fault"},
	{Name: `kgents_api_requests_total{code=~"5.."}`, Type: counter, Help: "Requests failed, by ours"},
	{Name: `kgents_api_requests_in_flight`, Type: gauge, Help: "Webhooks and requests with usage events under way"},
	{Name: `kgents_api_request_latency_seconds_count`, Type: counter, Help: "Requests timed"},
	{Name: `kgents_api_request_latency_seconds_sum`, Type: counter, Help: "Seconds that answering them took, together"},
	{Name: `kgents_events_accepted_total`, Type: counter, Help: "Usage events that became durable by a request"},
	{Name: `kgents_events_duplicate_total`, Type: counter, Help: "Usage events that were durable already"},
	{Name: `kgents_events_refused_total`, Type: counter, Help: "Requests with usage events that were refused"},
	{Name: `kgents_customer_requests_total{result="refused"}`, Type: counter, Help: "Customers' requests past their plan's rate"},
	{Name: `kgents_entitlement_checks_total{result="refused"}`, Type: counter, Help: "Questions for more than a plan allows"},
	{Name: `kgents_customers`, Type: gauge, Help: "Customers known"},
	{Name: `kgents_idempotency_errors_total`, Type: counter, Help: "Calls of the store of identities that failed"},
	{Name: `kgents_idempotency_waiting`, Type: gauge, Help: "Identities that wait for Redis to be back"},
	{Name: `kgents_redis_up`, Type: gauge, Help: "1 while Redis answers"},
	{Name: `kgents_redis_memory_used_bytes`, Type: gauge, Help: "Memory that Redis uses"},
	{Name: `kgents_nats_connected`, Type: gauge, Help: "1 while connected to NATS"},
	{Name: `kgents_nats_circuit_state`, Type: gauge, Help: "The circuit in front of NATS: 0 closed, 1 open, 2 half-open"},
	{Name: `kgents_nats_events_published_total`, Type: counter, Help: "Events made durable in the stream"},
	{Name: `kgents_nats_publish_errors_total`, Type: counter, Help: "Attempts to publish that failed"},
	{Name: `kgents_nats_fallback_queue_depth`, Type: gauge, Help: "Events on local disk that wait for NATS"},
	{Name: `kgents_nats_fallback_queue_bytes`, Type: gauge, Help: "Size of the segments on local disk"},
	{Name: `kgents_nats_fallback_oldest_age_seconds`, Type: gauge, Help: "Age of the oldest event on local disk"},
	{Name: `kgents_nats_stream_messages{stream="events"}`, Type: gauge, Help: "Messages in the stream of events"},
	{Name: `kgents_nats_stream_last_sequence{stream="events"}`, Type: gauge, Help: "Sequence of its newest message"},
	{Name: `kgents_nats_stream_bytes{stream="events"}`, Type: gauge, Help: "Its size"},
	{Name: `kgents_nats_stream_limit_bytes{stream="events"}`, Type: gauge, Help: "The size at which it is full"},
	{Name: `kgents_backlog_messages`, Type: gauge, Help: "Messages whose events are not all metered"},
	{Name: `kgents_backlog_oldest_age_seconds`, Type: gauge, Help: "Age of the oldest of them"},
	{Name: `kgents_nats_consumer_ack_pending_messages`, Type: gauge, Help: "Messages that a sink is at"},
	{Name: `kgents_nats_consumer_redelivered_messages`, Type: gauge, Help: "Those of them that were delivered again"},
	{Name: `kgents_openmeter_up`, Type: gauge, Help: "1 while the meter answers"},
	{Name: `kgents_openmeter_events_buffered`, Type: gauge, Help: "Events pulled that wait for the meter"},
	{Name: `kgents_openmeter_events_sent_total`, Type: counter, Help: "Events that the meter has taken"},
	{Name: `kgents_openmeter_flush_errors_total`, Type: counter, Help: "Requests to the meter that failed"},
	{Name: `kgents_openmeter_flush_errors_total{class="retry"}`, Type: counter, Help: "Those that are tried again"},
	{Name: `kgents_openmeter_flush_latency_seconds_count`, Type: counter, Help: "Requests that the meter took"},
	{Name: `kgents_openmeter_flush_latency_seconds_sum`, Type: counter, Help: "Seconds that they took, together"},
	{Name: `kgents_event_metered_seconds_count`, Type: counter, Help: "Events timed from receipt to being metered"},
	{Name: `kgents_event_metered_seconds_sum`, Type: counter, Help: "Seconds that it took, together"},
	{Name: `kgents_deadletters_waiting`, Type: gauge, Help: "Dead letters that wait"},
	{Name: `kgents_deadletters_oldest_age_seconds`, Type: gauge, Help: "Age of the oldest of them"},
	{Name: `kgents_reconcile_missing_events`, Type: gauge, Help: "Events that the last reconciliation missed in the meter"},
	{Name: `kgents_town_events_total`, Type: counter, Help: "What happened in towns"},
	{Name: `kgents_disk_free_bytes`, Type: gauge, Help: "Free space of the data directory's filesystem"},
	{Name: `kgents_disk_size_bytes`, Type: gauge, Help: "Its size"},
	{Name: `process_resident_memory_bytes`, Type: gauge, Help: "Memory of the process"},
	{Name: `process_cpu_seconds_total`, Type: counter, Help: "Processor time of the process"},
	{Name: `go_goroutines`, Type: gauge, Help: "Goroutines"},
})

// Figures lists them.
func Figures() []Figure { return figures }

// Metric is the metric's name without labels, nor _count and _sum of a histogram.
func (f Figure) Metric() string { return f.metric }

var (
	selector = regexp.MustCompile(`^([a-z_]+?)(_count|_sum)?(\{(.*)\})?$`)
	matcher  = regexp.MustCompile(`^([a-z_]+)(=~?)"([^"]*)"$`)
)

func parsed(list []Figure) []Figure {
	for i := range list {
		f := &list[i]
		m := selector.FindStringSubmatch(f.Name)
		if m == nil {
			panic(fmt.Sprintf("%s is no figure's name", f.Name)) // the list above is wrong
		}
		f.metric, f.part, f.pattern, f.labels = m[1], m[2], m[4], map[string]*regexp.Regexp{}
		for _, l := range strings.Split(m[4], ",") {
			if l == "" {
				continue
			}
			p := matcher.FindStringSubmatch(l)
			if p == nil {
				panic(fmt.Sprintf("%s is no label of %s", l, f.Name))
			}
			value := p[3]
			if p[2] == "=" {
				value = regexp.QuoteMeta(value)
			}
			f.labels[p[1]] = regexp.MustCompile("^(?:" + value + ")$")
		}
	}
	return list
}

// value is the figure now, NaN where there is none.
func (f Figure) value(families map[string]*dto.MetricFamily) float64 {
	family := families[f.metric]
	if family == nil {
		return math.NaN()
	}
	sum, found := 0.0, false
	for _, m := range family.GetMetric() {
		if !f.selects(m) {
			continue
		}
		found = true
		switch {
		case m.Histogram != nil && f.part == "_sum":
			sum += m.Histogram.GetSampleSum()
		case m.Histogram != nil:
			sum += float64(m.Histogram.GetSampleCount())
		case m.Counter != nil:
			sum += m.Counter.GetValue()
		default:
			sum += m.GetGauge().GetValue()
		}
	}
	if !found {
		return math.NaN()
	}
	return sum
}

func (f Figure) selects(m *dto.Metric) bool {
	for name, want := range f.labels {
		has := ""
		for _, l := range m.GetLabel() {
			if l.GetName() == name {
				has = l.GetValue()
			}
		}
		if !want.MatchString(has) {
			return false
		}
	}
	return true
}
