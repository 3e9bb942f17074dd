package dashboard

// What is seen first: whether anything is wrong, and the way of an event.

var circuitWords = map[string]Word{
	"0": {Text: "closed", Color: green, Index: 0},
	"1": {Text: "open", Color: red, Index: 1},
	"2": {Text: "half-open", Color: orange, Index: 2},
}

func yesNo(one, zero string) map[string]Word {
	return map[string]Word{"0": {Text: zero, Color: red, Index: 0}, "1": {Text: one, Color: green, Index: 1}}
}

func now() row {
	return row{"Now", []picture{
		figure(3, "Alerts firing", "Alerts of kgents that fire now, critical and warning together. A red mark on the graphs is when a critical one fired, an orange mark a warning.",
			"none", q("count("+firing()+") or vector(0)", "alerts")).steps(green, from(1, red)),
		figure(3, "Missing events", "Events that became durable, that the last complete reconciliation did not find in the meter, and that it did not mend: money that is not counted. 'unknown' before the first run, and while nobody can tell.",
			"none", q("max(kgents_reconcile_missing_events{@})", "missing")).steps(green, from(1, red)).absent("unknown").alerts("ReconcileMissingEvents"),
		figure(3, "Requests refused, not durable", "Webhooks and usage requests answered 503 in the last 5 minutes because nothing durable could take them. The senders try again; an event is lost only if they give up.",
			"none", q(`sum(increase(kgents_stripe_webhooks_errors_total{@,reason="unavailable"}[5m])) + sum(increase(kgents_events_refused_total{@,reason="unavailable"}[5m]))`, "refused")).
			decimals(0).steps(green, from(1, red)).alerts("EventsNotDurable"),
		figure(3, "NATS circuit", "The worst replica's circuit breaker in front of NATS. While it is open, events go to the spool, or are refused where there is none.",
			"none", q("max(kgents_nats_circuit_state{@} == 1) or max(kgents_nats_circuit_state{@})", "circuit")).
			words(circuitWords).steps(green, from(1, red), from(2, orange)).alerts("NATSCircuitOpen"),
		figure(3, "Oldest unmetered event", "Age of the oldest message in the stream whose events are not all metered. Nothing is lost while it grows, but the meter is behind.",
			"s", q("max(kgents_backlog_oldest_age_seconds{@})", "age")).steps(green, from(60, orange), from(300, red)).absent("unknown").alerts("PipelineStalled"),
		figure(3, "Webhook p99, 5 minutes", "99 of 100 Stripe webhooks of the last 5 minutes were answered within this time. Stripe gives up after 10 s and sends again.",
			"s", q("histogram_quantile(0.99, sum by (le) (rate(kgents_stripe_webhook_latency_seconds_bucket{@}[5m])))", "p99")).
			steps(green, from(0.25, orange), from(5, red)).absent("no webhook").alerts("HighWebhookLatency"),
		figure(3, "Dead letters waiting", "Events that the meter refuses for good. They are kept until somebody replays or drops them, and are not counted until then.",
			"none", q("max(kgents_deadletters_waiting{@})", "waiting")).steps(green, from(1, orange)).absent("unknown").alerts("DeadLettersGrowing"),
		figure(3, "Targets down", "Processes that Prometheus can't scrape.",
			"none", q("sum(1 - up{@})", "down")).steps(green, from(1, red)).absent("no target").alerts("TargetDown"),
	}}
}

func path() row {
	return row{"The path of an event, from left to right", []picture{
		graph(5, "1. Received", "Requests on the two routes that receive: Stripe's webhooks and usage events. One usage request may carry many events.",
			"reqps", q(`sum by (route) (rate(kgents_api_requests_total{@,route=~"/webhooks/stripe|/api/v1/events",method="POST"}[$__rate_interval]))`, "{{route}}")),
		graph(5, "2. Admitted", "Events that became durable by a request, and those that were durable already: Stripe and clients send again when in doubt. Much more 'again' than 'new' means that our answers don't reach the senders.",
			"cps", q("sum(rate(kgents_events_accepted_total{@}[$__rate_interval]))", "new"), q("sum(rate(kgents_events_duplicate_total{@}[$__rate_interval]))", "again")),
		graph(5, "3. Published", "Events in messages that JetStream acknowledged as durable, and the messages. Less than what is admitted means that the spool takes the rest.",
			"cps", q("sum(rate(kgents_nats_events_published_total{@}[$__rate_interval]))", "events"), q("sum(rate(kgents_nats_messages_published_total{@}[$__rate_interval]))", "messages")),
		graph(4, "4. Backlog", "Messages in the stream whose events are not all metered yet. Every process sees the same stream, so this is the largest of what they say.",
			"short", q("max(kgents_backlog_messages{@})", "messages")).steps(green, from(10000, orange)).alerts("PipelineStalled", "ConsumerLagGrowing"),
		graph(5, "5. Metered", "Events that the meter has taken, repeated deliveries included, and those that the embedded meter stored for the first time: an identity counts once. With another OpenMeter there is only the first line.",
			"cps", q("sum(rate(kgents_openmeter_events_sent_total{@}[$__rate_interval]))", "taken"), q("sum(rate(kgents_meter_events_stored_total{@}[$__rate_interval]))", "stored for the first time")),
	}}
}

func states() row {
	return row{"States", []picture{
		timeline(12, "NATS circuit, each replica", "The circuit breaker of each api in front of NATS. Open: nothing is tried for a while. Half-open: a few tries decide.",
			circuitWords, q("max by (namespace, job, instance) (max_over_time(kgents_nats_circuit_state{@}[$__interval]))", "{{namespace}} {{instance}}")).
			steps(green, from(1, red), from(2, orange)).alerts("NATSCircuitOpen"),
		timeline(12, "NATS: quorum and connection", "'writable' while a majority of a stream's copies agrees on a leader, as the best informed process sees it. 'no leader' with a connection is a lost quorum; both red is NATS away.",
			yesNo("yes", "no"),
			q("max by (namespace, stream) (kgents_nats_stream_has_leader{@})", "{{namespace}} {{stream}} writable"),
			q("min by (namespace, job) (kgents_nats_connected{@})", "{{namespace}} {{job}} connected")).
			steps(red, from(1, green)).alerts("NATSQuorumLost", "NATSUnreachable"),
		timeline(12, "Processes, meter and Redis", "Whether Prometheus reaches each process, whether the meter answers, and whether Redis answers and can be written to. Red as soon as one replica says so.",
			yesNo("up", "down"),
			q("min by (namespace, job) (up{@})", "{{namespace}} {{job}}"),
			q("min by (namespace) (kgents_openmeter_up{@})", "{{namespace}} meter"),
			q("min by (namespace) (kgents_redis_up{@})", "{{namespace}} Redis")).
			steps(red, from(1, green)).alerts("TargetDown", "OpenMeterFlushErrors", "RedisFallback"),
		timeline(12, "Alerts", "Alerts of kgents while they fired. The runbook has a section for each.",
			map[string]Word{"1": {Text: "firing", Color: red, Index: 0}},
			q("max by (alertname, severity) ("+firing()+")", "{{alertname}} {{severity}}")).
			steps(green, from(1, red)).absent("no alert fired"),
	}}
}
