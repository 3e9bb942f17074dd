package dashboard

// The stages between the answer and the meter.

func durable() row {
	return row{"NATS JetStream", []picture{
		heatmap(12, "Publish latency", "Time from sending a message to JetStream's acknowledgement, which comes when a majority of the copies has it on disk.",
			"kgents_nats_publish_latency_seconds"),
		graph(12, "Publishing that failed", "Attempts that failed or had no answer, calls that were refused without an attempt, and messages that JetStream held already: a retry after an unknown outcome, which does no harm.",
			"ops", q("sum by (reason) (rate(kgents_nats_publish_errors_total{@}[$__rate_interval]))", "failed: {{reason}}"),
			q("sum by (reason) (rate(kgents_publish_refused_total{@}[$__rate_interval]))", "refused: {{reason}}"),
			q("sum(rate(kgents_nats_messages_repeated_total{@}[$__rate_interval]))", "repeated")).alerts("NATSCircuitOpen", "EventsNotDurable"),
		graph(8, "Stream size and limit", "Size of each stream and the size at which it is full; then nothing can be published. There is no limit line where only the servers' disks are one.",
			"bytes", q("max by (namespace, stream) (kgents_nats_stream_bytes{@})", "{{stream}}"),
			q("max by (namespace, stream) (kgents_nats_stream_limit_bytes{@})", "{{stream}} limit")).alerts("StreamNearlyFull"),
		graph(8, "Copies of the streams", "Copies that have all of the stream, and those that there should be. With fewer than a majority nothing can be written. Gaps are times when no server said.",
			"none", q("max by (namespace, stream) (kgents_nats_stream_replicas_current{@})", "{{stream}} current"),
			q("max by (namespace, stream) (kgents_nats_stream_replicas{@})", "{{stream}} wanted")).alerts("NATSReplicaMissing", "NATSQuorumLost"),
		graph(8, "Messages stored and held", "Messages stored a second, and messages in the stream (right). Those that are metered stay for a while, for reconciliation and replay.",
			"cps", q(`max(rate(kgents_nats_stream_last_sequence{@,stream="events"}[$__rate_interval]))`, "stored"),
			q(`max(kgents_nats_stream_messages{@,stream="events"})`, "held")).apart("B", "short"),
		graph(12, "The sinks' place", "Messages that no sink was sent yet, those that a sink has and has not finished, and those of them that were delivered more than once.",
			"short", q("max(kgents_nats_consumer_pending_messages{@})", "not sent"), q("max(kgents_nats_consumer_ack_pending_messages{@})", "under way"),
			q("max(kgents_nats_consumer_redelivered_messages{@})", "delivered again")).alerts("ConsumerLagGrowing"),
		graph(12, "Events a message", "Events that shared one message and so one sync. More load makes it larger; it is what carries the load.",
			"short", q("sum(rate(kgents_publish_batch_events_sum{@}[$__rate_interval])) / sum(rate(kgents_publish_batch_events_count{@}[$__rate_interval]))", "mean"),
			q(quantile(0.99, "kgents_publish_batch_events", ""), "p99")),
	}}
}

func spooled() row {
	return row{"Spool: local disk while NATS is away (absent where there is none)", []picture{
		graph(8, "Events in the spool", "Events on local disk that wait for NATS, of all replicas, and the age of the oldest (right). They are durable on one disk only.",
			"short", q("sum(kgents_nats_fallback_queue_depth{@})", "events"),
			q("max(kgents_nats_fallback_oldest_age_seconds{@})", "age of the oldest")).apart("B", "s").steps(green, from(1, orange)).alerts("SpoolInUse"),
		graph(8, "Spool size, of its limit", "How full each replica's spool is. At 100 % events are refused with 503.",
			"percentunit", q("max by (namespace, instance) (kgents_nats_fallback_queue_bytes{@} / kgents_nats_fallback_limit_bytes{@})", "{{instance}}")).
			bounds(0, 1).steps(green, from(0.5, orange), from(0.8, red)).alerts("SpoolNearlyFull"),
		graph(8, "Taken and drained", "Messages that local disk took, those that NATS has acknowledged since, and places where bytes were not what was written.",
			"cps", q("sum(rate(kgents_spool_messages_taken_total{@}[$__rate_interval]))", "taken"),
			q("sum(rate(kgents_spool_messages_drained_total{@}[$__rate_interval]))", "drained"),
			q("sum(rate(kgents_spool_damaged_total{@}[$__rate_interval]))", "damaged")).alerts("SpoolInUse", "SpoolDamaged"),
	}}
}

func metering() row {
	return row{"Metering", []picture{
		heatmap(12, "From receipt to the meter", "Time from an event's receipt to its being metered: darker is more events. The aim is 99 of 100 within 60 s.",
			"kgents_event_metered_seconds").alerts("PipelineStalled"),
		graph(12, "Meter's answers, p50 and p99", "Time of the requests that the meter took.",
			"s", q(quantile(0.5, "kgents_openmeter_flush_latency_seconds", ""), "p50"), q(quantile(0.99, "kgents_openmeter_flush_latency_seconds", ""), "p99")),
		graph(8, "Requests to the meter that failed", "By class: 'retry' is sent again by itself, 'blocked' needs you (key or address wrong), 'refused' is a bad event, which becomes a dead letter.",
			"reqps", q("sum by (class) (rate(kgents_openmeter_flush_errors_total{@}[$__rate_interval]))", "{{class}}")).
			steps(green, from(0.1, orange)).alerts("OpenMeterFlushErrors"),
		graph(8, "Events buffered by sinks", "Events that were pulled from the stream and wait for the meter. They are still in the stream: nothing is lost with a sink.",
			"short", q("sum by (namespace, instance) (kgents_openmeter_events_buffered{@})", "{{instance}}")).stacked().alerts("ConsumerLagGrowing"),
		graph(8, "Embedded meter", "What the embedded meter stored for the first time, had already, and could not count (unknown type or no usable value). Absent with another OpenMeter.",
			"cps", q("sum(rate(kgents_meter_events_stored_total{@}[$__rate_interval]))", "stored"),
			q("sum(rate(kgents_meter_events_duplicate_total{@}[$__rate_interval]))", "had already"),
			q("sum(rate(kgents_meter_events_invalid_total{@}[$__rate_interval]))", "not countable"),
			q(quantile(0.99, "kgents_meter_commit_seconds", ""), "commit, p99")).apart("D", "s").alerts("UncountedEvents"),
	}}
}

func letters() row {
	return row{"Dead letters", []picture{
		graph(12, "Dead letters made", "Events kept as dead letters, by reason: 'refused' by the meter, or 'malformed' in the stream. `kgents deadletter list` shows them.",
			"cps", q("sum by (reason) (rate(kgents_deadletters_total{@}[$__rate_interval]))", "{{reason}}")).stacked().alerts("DeadLettersGrowing"),
		graph(12, "Dead letters and their age", "Letters that were neither replayed nor dropped, and the age of the oldest (right).",
			"short", q("max(kgents_deadletters_waiting{@})", "waiting"), q("max(kgents_deadletters_oldest_age_seconds{@})", "age of the oldest")).
			apart("B", "s").steps(green, from(1, orange)).alerts("DeadLettersGrowing", "DeadLettersWaiting"),
	}}
}

func identities() row {
	return row{"Redis and identities: what makes an event count once (absent without Redis)", []picture{
		graph(8, "Replicas by store in use", "Replicas that use Redis, and those that went on with their own memory because it is away. Memory isn't shared: a repeated event is then caught by the meter instead.",
			"none", q("sum by (backend) (kgents_idempotency_backend{@})", "{{backend}}")).stacked().alerts("RedisFallback"),
		graph(8, "Identities not in Redis", "Identities that wait to be written to Redis, and those let go before it was back.",
			"short", q("sum(kgents_idempotency_waiting{@})", "waiting"), q("sum(increase(kgents_idempotency_unshared_total{@}[$__rate_interval]))", "let go")).
			steps(green, from(1, orange)).alerts("RedisFallback"),
		graph(8, "Calls of the store that failed", "By operation. Admission went on without it: an event may be in the stream twice and is counted once by the meter.",
			"ops", q("sum by (operation) (rate(kgents_idempotency_errors_total{@}[$__rate_interval]))", "{{operation}}")).
			stacked().alerts("IdempotencyErrors"),
		graph(8, "Redis: a small write", "Time of the last small write to Redis, as each process sees it. A gap is a time when Redis was away.",
			"s", q("max by (namespace, instance) (kgents_redis_ping_seconds{@})", "{{instance}}")).steps(green, from(0.05, orange)).alerts("RedisFallback"),
		graph(8, "Redis memory", "Memory that Redis uses and may use, and keys that it gave up for lack of memory (right): each may be an identity that is forgotten too early.",
			"bytes", q("max by (namespace) (kgents_redis_memory_used_bytes{@})", "used"), q("max by (namespace) (kgents_redis_memory_limit_bytes{@})", "limit"),
			q("max by (namespace) (increase(kgents_redis_evicted_keys_total{@}[$__rate_interval]))", "keys given up")).apart("C", "short").alerts("RedisEvictions"),
		timeline(8, "Redis server", "Whether it is a master, reads its data from disk, writes an append-only file, and could write it last.",
			map[string]Word{"0": {Text: "no", Color: orange, Index: 0}, "1": {Text: "yes", Color: green, Index: 1}},
			q("min by (namespace) (kgents_redis_master{@})", "master"), q("1 - max by (namespace) (kgents_redis_loading{@})", "loaded"),
			q("min by (namespace) (kgents_redis_aof_enabled{@})", "append-only file"), q("min by (namespace) (kgents_redis_aof_last_write_ok{@})", "last write went well")).
			steps(orange, from(1, green)).alerts("RedisFallback"),
	}}
}
