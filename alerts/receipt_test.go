package alerts_test

import (
	"maps"
	"time"
)

// Labels as a scrape of two replicas gives them.
const (
	apiA  = `{namespace="kgents",job="kgents-api",instance="a"}`
	apiB  = `{namespace="kgents",job="kgents-api",instance="b"}`
	sinkA = `{namespace="kgents",job="kgents-sink",instance="c"}`
	sinkB = `{namespace="kgents",job="kgents-sink",instance="d"}`
	meter = `{namespace="kgents",job="kgents-meter",instance="e"}`
)

// with adds labels to those of a replica.
func with(replica, labels string) string { return replica[:len(replica)-1] + "," + labels + "}" }

// of are the labels of an alert of the namespace kgents; more are pairs.
func of(component string, more ...string) map[string]string {
	out := map[string]string{"namespace": "kgents", "component": component}
	for i := 0; i < len(more); i += 2 {
		out[more[i]] = more[i+1]
	}
	return out
}

func webhookErrors(reason string) string {
	return "kgents_stripe_webhooks_errors_total" + with(apiA, `reason="`+reason+`"`)
}

func webhookErrorsB(reason string) string {
	return "kgents_stripe_webhooks_errors_total" + with(apiB, `reason="`+reason+`"`)
}

func eventsRefused(replica, reason string) string {
	return "kgents_events_refused_total" + with(replica, `reason="`+reason+`"`)
}

func requests(replica, code string) string {
	return "kgents_api_requests_total" + with(replica, `route="/api/v1/events",method="POST",code="`+code+`"`)
}

// latencies are the buckets of two replicas: of every hundred webhooks in half a
// minute so many take up to 2.5 s, up to 5 s and up to 7.5 s, in phases of so many samples.
func latencies(phases ...[4]float64) map[string]string {
	out := map[string]string{}
	for i, le := range []string{"2.5", "5", "7.5", "+Inf"} {
		var pairs []float64
		for _, p := range phases {
			n := 100.0
			if i < 3 {
				n = p[i]
			}
			pairs = append(pairs, n, p[3])
		}
		for _, replica := range []string{apiA, apiB} {
			out["kgents_stripe_webhook_latency_seconds_bucket"+with(replica, `le="`+le+`"`)] = ramp(0, pairs...)
		}
	}
	return out
}

// traffic is two replicas, each with so many good and so many failed requests a
// sample, in phases of so many samples.
func traffic(phases ...[3]float64) map[string]string {
	var good, bad []float64
	for _, p := range phases {
		good, bad = append(good, p[0], p[2]), append(bad, p[1], p[2])
	}
	return map[string]string{
		requests(apiA, "204"): ramp(0, good...), requests(apiA, "503"): ramp(0, bad...),
		requests(apiB, "204"): ramp(0, good...), requests(apiB, "500"): ramp(0, bad...),
	}
}

func burn(name, window, severity, silent, fires, over, percent string, every time.Duration, phases ...[3]float64) drill {
	return drill{
		name: name, alert: "APIErrorBudgetBurn", sev: severity, labels: of("api", "window", window), step: every,
		input: traffic(phases...), silent: silent, fires: fires, over: over,
		summary:  percent + " of requests with events fail, over " + window,
		describe: "Over " + window + " " + percent + " of webhooks and usage requests were answered 5xx; 0.1 % is allowed over 30 days. Clients that do not try again are not billed.",
	}
}

var receiptDrills = []drill{
	{
		name: "two of three, and scrapes that meet the moment of a try", alert: "NATSCircuitOpen", sev: "critical", labels: of("api"),
		input: map[string]string{
			"kgents_nats_circuit_state" + apiA:                                                    hold(0, 10) + cycle(11, 1, 2) + hold(0, 20),
			"kgents_nats_circuit_state" + apiB:                                                    hold(0, 60),
			`kgents_nats_circuit_state{namespace="kgents",job="kgents-api",instance="c"}`:         hold(0, 10) + cycle(11, 1, 2) + hold(0, 20),
			`kgents_nats_circuit_state{namespace="kgents-staging",job="kgents-api",instance="z"}`: hold(0, 60),
		},
		silent: "9m30s", fires: "10m", over: "17m30s",
		summary:  "The circuit to NATS is open on 2 api replica(s)",
		describe: "For 5 minutes 2 replica(s) of the api could not store events in NATS. Events go to the local spool if there is one, else they are refused with 503: no revenue is lost while Stripe and clients try again, but nothing is billed.",
	},
	{
		name: "webhooks on one replica, usage on the other", alert: "EventsNotDurable", sev: "critical", labels: of("api"),
		input: map[string]string{
			webhookErrors("unavailable"):       ramp(0, 0, 10, 3, 20, 0, 20),
			eventsRefused(apiA, "unavailable"): hold(0, 50),
			webhookErrorsB("unavailable"):      hold(0, 50),
			eventsRefused(apiB, "unavailable"): ramp(0, 0, 10, 3, 20, 0, 20),
		},
		silent: "7m", fires: "7m30s", over: "17m30s",
		summary:  "0.2 requests a second are refused: nothing durable can take their events",
		describe: "Neither NATS nor a spool takes events, so 0.2 requests a second are answered 503. Stripe tries again for 3 days; what clients do not send again is never billed.",
	},
	{
		name: "two replicas", alert: "SpoolInUse", sev: "warning", labels: of("api"),
		input: map[string]string{
			"kgents_nats_fallback_queue_depth" + apiA: hold(0, 10) + hold(40, 20) + hold(0, 20),
			"kgents_nats_fallback_queue_depth" + apiB: hold(0, 10) + hold(2, 20) + hold(0, 20),
		},
		silent: "9m30s", fires: "10m", over: "16m30s",
		summary:  "42 events wait on local disk",
		describe: "42 events are on the local disks of the api for 5 minutes, since NATS does not take them. They are safe as long as those disks are, and are not billed until NATS has them.",
	},
	{
		name: "the fuller of two", alert: "SpoolNearlyFull", sev: "critical", labels: of("api"),
		input: map[string]string{
			"kgents_nats_fallback_queue_bytes" + apiA: hold(100, 10) + hold(850, 10) + hold(100, 20),
			"kgents_nats_fallback_limit_bytes" + apiA: hold(1000, 40),
			"kgents_nats_fallback_queue_bytes" + apiB: hold(10, 40),
			"kgents_nats_fallback_limit_bytes" + apiB: hold(1000, 40),
		},
		silent: "5m30s", fires: "6m", over: "11m30s",
		summary:  "The fullest spool is at 85%",
		describe: "The local disk queue of an api replica is at 85% of SPOOL_MAX_BYTES. When it is full, events are refused with 503 and clients that do not try again are not billed.",
	},
	{
		name: "found at a start, over with the next", alert: "SpoolDamaged", sev: "critical", labels: of("api"),
		input: map[string]string{
			"kgents_spool_damaged_total" + apiA: hold(0, 10) + hold(2, 10) + gone(20),
			"kgents_spool_damaged_total" + apiB: hold(0, 40),
		},
		silent: "5m30s", fires: "6m", over: "15m",
		summary:  "2 place(s) in a spool are damaged",
		describe: "In 2 place(s) a spool does not hold what was written: events that were acknowledged may be lost, and are then never billed. The file is kept.",
	},
	{
		name: "a tenth is slow", alert: "HighWebhookLatency", sev: "warning", labels: of("api"),
		input:  latencies([4]float64{100, 100, 100, 10}, [4]float64{90, 90, 100, 30}, [4]float64{100, 100, 100, 30}),
		silent: "10m30s", fires: "11m", over: "25m",
		summary:  "Stripe webhooks take 7.25s (99th percentile)",
		describe: "One webhook in a hundred is answered after 7.25s or later. Stripe gives up after about 10 s and sends again: billing is late, and the load grows.",
	},
	{
		name: "a wrong secret, two replicas", alert: "StripeSignatureFailures", sev: "warning", labels: of("api"),
		input: map[string]string{
			webhookErrors("bad_signature"):  ramp(0, 0, 20, 1, 20, 0, 40),
			webhookErrorsB("bad_signature"): ramp(0, 0, 20, 1, 20, 0, 40),
		},
		silent: "13m", fires: "13m30s", over: "30m",
		summary:  "14 webhooks in 10 minutes had no good signature",
		describe: "14 webhooks in 10 minutes were refused for their signature: the secret is wrong, and then no payment of Stripe's is counted, or somebody forges webhooks.",
	},
	{
		name: "a flood without signatures", alert: "StripeSignatureFailures", sev: "warning", labels: of("api"),
		input:  map[string]string{webhookErrors("no_signature"): ramp(0, 0, 20, 30, 20, 0, 40)},
		silent: "13m30s", fires: "14m", over: "30m",
		summary:  "240 webhooks in 10 minutes had no good signature",
		describe: "240 webhooks in 10 minutes were refused for their signature: the secret is wrong, and then no payment of Stripe's is counted, or somebody forges webhooks.",
	},
	{
		name: "one", alert: "StripeWebhooksUnreadable", sev: "warning", labels: of("api"),
		input:  map[string]string{webhookErrors("malformed"): ramp(0, 0, 10, 1, 1, 0, 100), webhookErrorsB("malformed"): hold(0, 100)},
		silent: "6m", fires: "6m30s", over: "36m",
		summary:  "1 webhooks of Stripe's in 30 minutes could not be read",
		describe: "1 webhooks with a good signature were refused as malformed. Their payments are not counted until the program can read them; Stripe tries again for 3 days.",
	},
	burn("a fifth fails after a good hour", "1h", "critical", "1h8m30s", "1h9m", "1h25m", "2.231%", 0,
		[3]float64{100, 0, 120}, [3]float64{80, 20, 40}, [3]float64{100, 0, 100}),
	burn("a twentieth fails after two good hours", "6h", "critical", "2h32m", "2h34m", "3h30m", "1.063%", 2*time.Minute,
		[3]float64{1000, 0, 60}, [3]float64{950, 50, 30}, [3]float64{1000, 0, 60}),
	burn("a fiftieth fails after two good hours", "1d", "warning", "3h22m", "3h24m", "5h46m", "0.8143%", 2*time.Minute,
		[3]float64{1000, 0, 60}, [3]float64{980, 20, 60}, [3]float64{1000, 0, 120}),
	burn("one of two hundred fails after six good hours", "3d", "warning", "10h30m", "10h32m", "16h52m", "0.2145%", 2*time.Minute,
		[3]float64{1000, 0, 180}, [3]float64{995, 5, 180}, [3]float64{1000, 0, 240}),
}

var receiptMisses = []miss{
	{
		name: "half-open: NATS is back, nobody has tried", alert: "NATSCircuitOpen", until: "30m",
		input: map[string]string{"kgents_nats_circuit_state" + apiA: hold(1, 3) + hold(2, 57)},
	},
	{
		name: "open for four minutes", alert: "NATSCircuitOpen", until: "20m",
		input: map[string]string{"kgents_nats_circuit_state" + apiA: hold(0, 4) + hold(1, 7) + hold(0, 30)},
	},
	{
		name: "the process went away while it was open", alert: "NATSCircuitOpen", until: "20m",
		input: map[string]string{"kgents_nats_circuit_state" + apiA: hold(1, 8) + gone(32)},
	},
	{
		name: "one request", alert: "EventsNotDurable", until: "20m",
		input: map[string]string{webhookErrors("unavailable"): ramp(0, 0, 10, 1, 1, 0, 30), eventsRefused(apiA, "unavailable"): hold(0, 41)},
	},
	{
		name: "refused for what they are", alert: "EventsNotDurable", until: "20m",
		input: map[string]string{
			webhookErrors("unavailable"): hold(0, 41), eventsRefused(apiA, "unavailable"): hold(0, 41),
			eventsRefused(apiA, "invalid"): ramp(0, 50, 41), webhookErrors("malformed"): ramp(0, 50, 41),
		},
	},
	{
		name: "four minutes", alert: "SpoolInUse", until: "20m",
		input: map[string]string{"kgents_nats_fallback_queue_depth" + apiA: hold(0, 4) + hold(9000, 7) + hold(0, 30)},
	},
	{
		name: "two half full ones", alert: "SpoolNearlyFull", until: "20m",
		input: map[string]string{
			"kgents_nats_fallback_queue_bytes" + apiA: hold(790, 41), "kgents_nats_fallback_limit_bytes" + apiA: hold(1000, 41),
			"kgents_nats_fallback_queue_bytes" + apiB: hold(790, 41), "kgents_nats_fallback_limit_bytes" + apiB: hold(1000, 41),
		},
	},
	{
		name: "sound", alert: "SpoolDamaged", until: "20m",
		input: map[string]string{"kgents_spool_damaged_total" + apiA: hold(0, 41)},
	},
	{
		name: "just below five seconds", alert: "HighWebhookLatency", until: "20m",
		input: latencies([4]float64{0, 100, 100, 41}),
	},
	{
		name: "no webhooks at all", alert: "HighWebhookLatency", until: "20m",
		input: map[string]string{
			"kgents_stripe_webhook_latency_seconds_bucket" + with(apiA, `le="5"`):    hold(0, 41),
			"kgents_stripe_webhook_latency_seconds_bucket" + with(apiA, `le="+Inf"`): hold(0, 41),
		},
	},
	{
		name: "what strangers send to any address", alert: "StripeSignatureFailures", until: "30m",
		input: map[string]string{webhookErrors("no_signature"): ramp(0, 4, 61)},
	},
	{
		name: "five in ten minutes", alert: "StripeSignatureFailures", until: "40m",
		input: map[string]string{webhookErrors("bad_signature"): ramp(0, 0, 30, 1, 5, 0, 50)},
	},
	{
		name: "long ago, and the process was started again", alert: "StripeWebhooksUnreadable", until: "30m",
		input: map[string]string{webhookErrors("malformed"): hold(3, 30) + hold(0, 31)},
	},
	{
		name: "one in a hundred for an hour", alert: "APIErrorBudgetBurn", key: "1h", until: "1h",
		input: traffic([3]float64{99, 1, 120}),
	},
	{
		name: "a quiet night with five errors", alert: "APIErrorBudgetBurn", key: "1h", until: "1h40m",
		input: traffic([3]float64{1, 0, 100}, [3]float64{0, 1, 2}, [3]float64{1, 0, 100}),
	},
	{
		name: "a quiet day with five errors", alert: "APIErrorBudgetBurn", key: "6h", until: "8h", step: 2 * time.Minute,
		input: traffic([3]float64{1, 0, 180}, [3]float64{0, 1, 2}, [3]float64{1, 0, 60}),
	},
	{
		name: "one in two hundred for six hours", alert: "APIErrorBudgetBurn", key: "6h", until: "6h", step: 2 * time.Minute,
		input: traffic([3]float64{995, 5, 181}),
	},
	{
		name: "one in five hundred for a day", alert: "APIErrorBudgetBurn", key: "1d", until: "24h", step: 2 * time.Minute,
		input: traffic([3]float64{998, 2, 721}),
	},
	{
		name: "within the budget for a day", alert: "APIErrorBudgetBurn", until: "24h", step: 2 * time.Minute,
		input: traffic([3]float64{9995, 5, 721}),
	},
	{
		name: "what clients did wrong", alert: "APIErrorBudgetBurn", until: "2h", step: 2 * time.Minute,
		input: map[string]string{requests(apiA, "400"): ramp(0, 500, 61), requests(apiA, "204"): ramp(0, 500, 61)},
	},
	{
		name: "a route that takes no events", alert: "APIErrorBudgetBurn", until: "2h", step: 2 * time.Minute,
		input: merge(traffic([3]float64{100, 0, 61}), map[string]string{
			"kgents_api_requests_total" + with(apiA, `route="/api/v1/meters/{id}/query",method="GET",code="502"`): ramp(0, 50, 61),
		}),
	},
}

func merge(a, b map[string]string) map[string]string {
	maps.Copy(a, b)
	return a
}
