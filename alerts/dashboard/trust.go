package dashboard

// What proves the rest: comparisons, canaries, backups, aims; and how full it all is.

func trust() row {
	const day = 24 * 3600
	return row{"Reconciliation, backups and certificates", []picture{
		figure(4, "Events missing", "What the last complete reconciliation did not find in the meter and did not mend.",
			"none", q("max(kgents_reconcile_missing_events{@})", "missing")).steps(green, from(1, red)).absent("unknown").alerts("ReconcileMissingEvents"),
		figure(4, "Mended", "Events that the meter had forgotten in the time shown, were sent to it again and are listed by it since.",
			"none", q("sum(increase(kgents_reconcile_mended_total{@}[$__range]))", "mended")).decimals(0).steps(green, from(1, orange)).alerts("ReconcileMissingEvents"),
		figure(4, "Last reconciliation", "Time since one came to its end. It runs every hour unless RECONCILE_INTERVAL says otherwise.",
			"s", q(since("kgents_reconcile_last_success_timestamp_seconds"), "ago")).steps(green, from(3*3600, orange), from(day, red)).never(orange).alerts("ReconcileStale"),
		figure(4, "Last canary metered", "Time since the meter took an event of `kgents verify`, which tells a quiet night from a broken path. 'never' since the sinks began, where nobody runs it.",
			"s", q(since("kgents_canary_last_metered_timestamp_seconds"), "ago")).steps(green, from(900, orange), from(1800, red)).never(orange).alerts("PipelineStalled"),
		figure(4, "Last backup", "Age of the moment that the last `kgents stream backup` holds.",
			"s", q(since("kgents_backup_last_success_timestamp_seconds"), "ago")).steps(green, from(26*3600, orange), from(2*day, red)).never(red).absent("unknown").alerts("BackupMissing"),
		figure(4, "Certificate expires in", "The first certificate that expires, of the NATS servers and of the client, as the running connections see it.",
			"s", q("min(kgents_certificate_expiry_timestamp_seconds{@}) - time()", "left")).steps(red, from(3*day, orange), from(21*day, green)).absent("no TLS").alerts("CertificateExpiring"),
		graph(12, "Missing and mended", "Events that the meter had forgotten: those found missing, and those mended. Both should be 0 for ever.",
			"none", q("max(kgents_reconcile_missing_events{@})", "missing"), q("sum(increase(kgents_reconcile_mended_total{@}[$__rate_interval]))", "mended")).
			steps(green, from(1, red)).alerts("ReconcileMissingEvents"),
		graph(12, "Age of the last proof", "Time since the last reconciliation, canary and backup. A saw-tooth is well; a line that only rises is not. What never happened is left out.",
			"s", q("(time() - max(kgents_reconcile_last_success_timestamp_seconds{@})) < 1e9", "reconciliation"),
			q("(time() - max(kgents_canary_last_metered_timestamp_seconds{@})) < 1e9", "canary"),
			q("(time() - max(kgents_backup_last_success_timestamp_seconds{@})) < 1e9", "backup")).alerts("PipelineStalled", "BackupMissing"),
	}}
}

// The aims of docs/saas/slo.md.
const (
	received  = `route=~"/webhooks/stripe|/api/v1/events",method="POST"`
	failed    = received + `,code=~"5.."`
	available = "0.001" // of requests may fail
)

// burn is how many times as fast as allowed the error budget is used up.
func burn(window string) string {
	return "(sum(rate(kgents_api_requests_total{@," + failed + "}[" + window + "])) or vector(0)) / sum(rate(kgents_api_requests_total{@," + received + "}[" + window + "])) / " + available
}

// within is the share of a histogram's observations up to a bound. Prometheus writes
// a whole number's label with or without decimals, after its version.
func within(histogram, le, window string) string {
	return "sum(rate(" + histogram + `_bucket{@,le=~"` + le + `"}[` + window + "])) / sum(rate(" + histogram + "_count{@}[" + window + "]))"
}

func levels() row {
	month := func(p picture) picture { return p.absent("no traffic") }
	return row{"Service levels, over 30 days", []picture{
		month(figure(6, "Receipt: answered without 5xx", "Aim: 99.9 % of requests on the two receiving routes, over 30 days. A request that the sender repeats with success counts as failed too.",
			"percentunit", q("1 - (sum(increase(kgents_api_requests_total{@,"+failed+"}[30d])) or vector(0)) / sum(increase(kgents_api_requests_total{@,"+received+"}[30d]))", "available")).
			decimals(3).steps(red, from(0.999, green)).alerts("APIErrorBudgetBurn")),
		month(figure(6, "Error budget left", "What is left of the 0.1 % of requests that may fail in 30 days. At 0 the policy of docs/saas/slo.md applies.",
			"percentunit", q("1 - (sum(increase(kgents_api_requests_total{@,"+failed+"}[30d])) or vector(0)) / sum(increase(kgents_api_requests_total{@,"+received+"}[30d])) / "+available, "left")).
			decimals(1).steps(red, from(0.0001, orange), from(0.25, green)).alerts("APIErrorBudgetBurn")),
		month(figure(4, "Webhooks under 250 ms", "Aim: 99 % over 30 days.",
			"percentunit", q(within("kgents_stripe_webhook_latency_seconds", `0\\.25`, "30d"), "under 250 ms")).decimals(2).steps(red, from(0.99, green)).alerts("HighWebhookLatency")),
		month(figure(4, "Events metered within 60 s", "Aim: 99 % over 30 days.",
			"percentunit", q(within("kgents_event_metered_seconds", `60(\\.0)?`, "30d"), "within 60 s")).decimals(2).steps(red, from(0.99, green)).alerts("PipelineStalled")),
		figure(4, "Events lost", "Aim: 0. The most that any reconciliation of the last 30 days found missing and did not mend. 'unknown' where none ran.",
			"none", q("max(max_over_time(kgents_reconcile_missing_events{@}[30d]))", "lost")).steps(green, from(1, red)).absent("unknown").alerts("ReconcileMissingEvents"),
		graph(12, "Error budget burn", "How many times as fast as allowed the budget is used up: at 1 it lasts 30 days, at 14.4 two days. The alert wants a long and a short window above the limit.",
			"none", q(burn("5m"), "5 minutes"), q(burn("1h"), "1 hour"), q(burn("6h"), "6 hours"), q(burn("3d"), "3 days")).
			steps(green, from(1, orange), from(14.4, red)).alerts("APIErrorBudgetBurn"),
		graph(12, "Aims, hour by hour", "Shares that met the aim within an hour: webhooks under 250 ms, and events metered within 60 s.",
			"percentunit", q(within("kgents_stripe_webhook_latency_seconds", `0\\.25`, "1h"), "webhooks under 250 ms"),
			q(within("kgents_event_metered_seconds", `60(\\.0)?`, "1h"), "metered within 60 s")).bounds(0, 1).steps(red, from(0.99, green)),
	}}
}

func saturation() row {
	return row{"Saturation: how full it is", []picture{
		bars(8, "Full", "The fullest of each: at 100 % the stream and the spool refuse events, Redis takes no identities or gives up old ones, requests are answered 503, and a process can't open connections.",
			"percentunit",
			q("max(kgents_nats_stream_bytes{@} / kgents_nats_stream_limit_bytes{@})", "stream"),
			q("max(kgents_nats_fallback_queue_bytes{@} / kgents_nats_fallback_limit_bytes{@})", "spool"),
			q("max(kgents_redis_memory_used_bytes{@} / kgents_redis_memory_limit_bytes{@})", "Redis memory"),
			q("max(kgents_api_requests_in_flight{@}) / 4096", "requests under way"),
			q("max(process_open_fds{@} / process_max_fds{@})", "open files")).
			decimals(1).steps(green, from(0.8, orange), from(0.95, red)).alerts("StreamNearlyFull", "SpoolNearlyFull"),
		graph(8, "Requests under way", "Webhooks and usage requests under way in each api: its queue. Past 4096 they are answered 503.",
			"short", q("max by (namespace, instance) (kgents_api_requests_in_flight{@})", "{{instance}}")).steps(green, from(4096, red)).alerts("EventsNotDurable"),
		graph(8, "Connections and files", "Open files of each process, nearly all of them connections, and connections to Redis of all programs together.",
			"short", q("max by (namespace, job, instance) (process_open_fds{@})", "{{instance}}"), q("max by (namespace) (kgents_redis_connected_clients{@})", "Redis clients")),
		graph(8, "Memory", "Resident memory of each process. One that passes its container's limit is killed and started again; what it had acknowledged is durable.",
			"bytes", q("max by (namespace, job, instance) (process_resident_memory_bytes{@})", "{{job}} {{instance}}")),
		graph(8, "CPU", "Cores that each process uses. More than its limit allows it can't have: then everything takes longer.",
			"none", q("max by (namespace, job, instance) (rate(process_cpu_seconds_total{@}[$__rate_interval]))", "{{job}} {{instance}}")),
		graph(8, "Goroutines", "Goroutines of each process. A number that only grows is a leak.",
			"short", q("max by (namespace, job, instance) (go_goroutines{@})", "{{job}} {{instance}}")),
		figure(6, "Builds that run", "Different builds at once are a deployment under way, or one that got stuck.",
			"none", q("count(count by (version, revision) (kgents_build_info{@}))", "builds")).steps(green, from(2, orange)),
		figure(6, "Processes started in the last hour", "Starts without a deployment are crashes.",
			"none", q("count(time() - process_start_time_seconds{@} < 3600) or vector(0)", "started")).steps(green, from(3, orange)),
		figure(6, "Traces lost", "Spans in the time shown that the OTLP receiver did not take. 0 also where tracing is off. No event waits for a trace.",
			"none", q(`sum(increase(kgents_trace_spans_total{@,result="failed"}[$__range])) or vector(0)`, "lost")).decimals(0).steps(green, from(1, orange)),
		figure(6, "Watchdog", "An alert that always fires. Where it does not, the rules are not loaded, and no other alert will fire either.",
			"none", q(`count(ALERTS{alertname="`+watchdog+`",alertstate="firing"}) or vector(0)`, "watchdog")).
			words(map[string]Word{"0": {Text: "no rules", Color: red, Index: 0}}).steps(red, from(1, green)).alerts(watchdog),
	}}
}
