package when

import (
	"slices"
	"strings"

	"github.com/kgents/kgents/history"
)

// figure is one whose past is kept, and the holon that it belongs to.
type figure struct {
	part string // the holon's path; a word without dots for what is of no holon
	name string
	what string
	unit string
	rate bool // a counter: in a second
	main bool // shown without [of=…]
}

// parts are where figures belong, by how their names begin. The first that fits counts.
var parts = []struct{ prefix, part string }{
	{"kgents_stripe_", "world.stripe.webhooks"},
	{"kgents_api_", "world.api"},
	{"kgents_events_", "world.api"},
	{"kgents_customer", "world.customers"},
	{"kgents_entitlement", "world.customers"},
	{"kgents_idempotency_", "world.redis"},
	{"kgents_redis_", "world.redis"},
	{"kgents_nats_circuit_", "world.nats.circuit"},
	{"kgents_nats_publish_errors", "world.nats.circuit"},
	{"kgents_nats_fallback_", "world.spool"},
	{"kgents_nats_stream_", "world.nats.stream"},
	{"kgents_nats_consumer_", "world.nats.consumer"},
	{"kgents_backlog_", "world.nats.consumer"},
	{"kgents_nats_", "world.nats"},
	{"kgents_openmeter_", "world.openmeter"},
	{"kgents_event_metered_", "world.openmeter"},
	{"kgents_deadletters_", "world.deadletter"},
	{"kgents_reconcile_", "world.openmeter.reconciliation"},
	{"kgents_town_", "world.town"},
	{"kgents_disk_", "disk"},
}

// mains are the figures by which a part is known at a glance.
var mains = []string{
	"kgents_stripe_webhooks_received_total", "kgents_stripe_webhooks_errors_total", `kgents_api_requests_total{code=~"2.."}`, `kgents_api_requests_total{code=~"5.."}`,
	"kgents_events_accepted_total", "kgents_customers", "kgents_redis_up", "kgents_nats_connected", "kgents_nats_circuit_state", "kgents_nats_events_published_total",
	"kgents_nats_fallback_queue_depth", `kgents_nats_stream_messages{stream="events"}`, `kgents_nats_stream_bytes{stream="events"}`, "kgents_backlog_messages",
	"kgents_backlog_oldest_age_seconds", "kgents_openmeter_up", "kgents_openmeter_events_sent_total", "kgents_openmeter_flush_errors_total", "kgents_deadletters_waiting",
	"kgents_reconcile_missing_events", "kgents_disk_free_bytes", "process_resident_memory_bytes",
}

// figures are all that are kept, by parts, but for the two halves of a mean.
func figures() []figure {
	var out []figure
	for _, f := range history.Figures() {
		if strings.HasSuffix(f.Name, "_seconds_count") || strings.HasSuffix(f.Name, "_seconds_sum") {
			continue
		}
		one := figure{part: "process", name: f.Name, what: f.Help, rate: f.Type == "counter", main: slices.Contains(mains, f.Name)}
		for _, p := range parts {
			if strings.HasPrefix(f.Name, p.prefix) {
				one.part = p.part
				break
			}
		}
		metric, _, _ := strings.Cut(f.Name, "{")
		switch {
		case one.rate:
			one.unit = "1/s"
		case strings.HasSuffix(metric, "_bytes"):
			one.unit = "bytes"
		case strings.HasSuffix(metric, "_seconds"):
			one.unit = "seconds"
		}
		out = append(out, one)
	}
	return out
}

// figuresOf are those of a path and what is below it; of no path the main ones.
func figuresOf(path string) []figure {
	return slices.DeleteFunc(figures(), func(f figure) bool {
		if path == "" {
			return !f.main
		}
		return f.part != path && !strings.HasPrefix(f.part, path+".")
	})
}
