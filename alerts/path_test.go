package alerts_test

import (
	"slices"
	"time"
)

var (
	drills = slices.Concat(receiptDrills, streamDrills, meteringDrills, otherDrills)
	misses = slices.Concat(receiptMisses, streamMisses, meteringMisses, otherMisses)
)

func perStream(metric, replica, stream string) string {
	return metric + with(replica, `stream="`+stream+`"`)
}

func fill(value string) map[string]string {
	const n = 80
	return map[string]string{
		perStream("kgents_nats_stream_bytes", apiA, "events"):        value,
		perStream("kgents_nats_stream_limit_bytes", apiA, "events"):  hold(1000, n),
		perStream("kgents_nats_stream_bytes", sinkA, "events"):       value,
		perStream("kgents_nats_stream_limit_bytes", sinkA, "events"): hold(1000, n),
		perStream("kgents_nats_stream_bytes", sinkA, "dead"):         hold(10, n),
		perStream("kgents_nats_stream_limit_bytes", sinkA, "dead"):   hold(1000, n),
	}
}

const (
	hour       = 3600.0
	day        = 24 * hour
	neverSince = -1.7e9 // promtool's clock begins at 0: what was never is as old then as it is today
)

var streamDrills = []drill{
	{
		name: "all replicas see it", alert: "NATSQuorumLost", sev: "critical", labels: of("stream", "stream", "events"),
		input: map[string]string{
			perStream("kgents_nats_stream_has_leader", apiA, "events"):  hold(1, 10) + hold(0, 20) + hold(1, 20),
			perStream("kgents_nats_stream_has_leader", sinkA, "events"): hold(1, 10) + hold(0, 20) + hold(1, 20),
			perStream("kgents_nats_stream_has_leader", sinkA, "dead"):   hold(1, 50),
			"kgents_nats_connected" + apiA:                              hold(1, 50),
			"kgents_nats_connected" + sinkA:                             hold(1, 50),
		},
		silent: "5m30s", fires: "6m", over: "15m",
		summary:  `The stream "events" has no leader: NATS has no quorum`,
		describe: `NATS answers, but too few of its servers are there to agree, and nothing can be stored in the stream "events". Events go to the local spool if there is one, else they are refused with 503; nothing is billed.`,
	},
	{
		name: "the api's replicas, not the sink", alert: "NATSUnreachable", sev: "critical", labels: of("stream", "job", "kgents-api"),
		input: map[string]string{
			"kgents_nats_connected" + apiA:  hold(1, 10) + hold(0, 20) + hold(1, 20),
			"kgents_nats_connected" + apiB:  hold(1, 9) + hold(0, 21) + hold(1, 20),
			"kgents_nats_connected" + sinkA: hold(1, 50),
		},
		silent: "7m", fires: "8m", over: "15m",
		summary:  "No replica of kgents-api is connected to NATS",
		describe: "For 2 minutes no replica of kgents-api reaches a NATS server. Without the api's connection events are spooled or refused, without the sink's nothing is billed.",
	},
	{
		name: "one of three", alert: "NATSReplicaMissing", sev: "warning", labels: of("stream", "stream", "events"),
		input: map[string]string{
			perStream("kgents_nats_stream_replicas", apiA, "events"):          hold(3, 70),
			perStream("kgents_nats_stream_replicas", sinkA, "events"):         hold(3, 70),
			perStream("kgents_nats_stream_replicas_current", apiA, "events"):  hold(3, 10) + hold(2, 40) + hold(3, 20),
			perStream("kgents_nats_stream_replicas_current", sinkA, "events"): hold(3, 10) + hold(2, 40) + hold(3, 20),
		},
		silent: "16m", fires: "17m", over: "25m",
		summary:  `Copies of the stream "events" that are missing or behind: 1`,
		describe: `For 10 minutes copies of the stream "events" did not have all of it, now 1. Nothing is lost yet; one server more away may stop receipt and billing.`,
	},
	{
		name: "85 %", alert: "StreamNearlyFull", sev: "warning", labels: of("stream", "stream", "events"),
		input:  fill(hold(500, 10) + hold(850, 40) + hold(500, 30)),
		silent: "14m30s", fires: "15m", over: "30m",
		summary:  `The stream "events" is at 85% of its limit`,
		describe: `The stream "events" fills 85% of its limit. A full stream refuses: events are then spooled or answered 503, and are not billed. It never drops what it has.`,
	},
	{
		name: "97 %", alert: "StreamNearlyFull", sev: "critical", labels: of("stream", "stream", "events"),
		input:  fill(hold(500, 10) + hold(970, 10) + hold(500, 60)),
		silent: "6m30s", fires: "7m", over: "15m",
		summary:  `The stream "events" is at 97% of its limit`,
		describe: `The stream "events" fills 97% of its limit. A full stream refuses: events are then spooled or answered 503, and are not billed. It never drops what it has.`,
	},
	{
		name: "yesterday's was the last", alert: "BackupMissing", sev: "warning", labels: of("stream"), step: 10 * time.Minute,
		input: map[string]string{
			"kgents_backup_last_success_timestamp_seconds" + apiA:  hold(0, 168) + hold(28*hour, 20),
			"kgents_backup_last_success_timestamp_seconds" + sinkA: hold(0, 168) + hold(28*hour, 20),
		},
		silent: "27h", fires: "27h10m", over: "28h",
		summary:  "The last backup of the stream is 1d 3h 10m 0s old",
		describe: "The newest backup of the stream is 1d 3h 10m 0s old; it should be a day at most. Were the servers' disks lost, what is not in a backup and not yet metered would never be billed.",
	},
	{
		name: "never", alert: "BackupMissing", sev: "warning", labels: of("stream"), step: 10 * time.Minute,
		input: map[string]string{
			"kgents_backup_last_success_timestamp_seconds" + apiA: hold(neverSince, 12) + hold(2*hour, 20),
		},
		silent: "50m", fires: "1h", over: "2h",
		summary:  "There is no backup of the stream",
		describe: "The stream was never backed up. Were the servers' disks lost, what is not in a backup and not yet metered would never be billed.",
	},
	{
		name: "three weeks", alert: "CertificateExpiring", sev: "warning", labels: of("stream", "name", "nats"), step: 10 * time.Minute,
		input: map[string]string{
			"kgents_certificate_expiry_timestamp_seconds" + with(apiA, `name="nats"`):         hold(21*day+hour, 24) + hold(90*day, 10),
			"kgents_certificate_expiry_timestamp_seconds" + with(sinkA, `name="nats"`):        hold(21*day+hour, 24) + hold(90*day, 10),
			"kgents_certificate_expiry_timestamp_seconds" + with(sinkA, `name="nats-client"`): hold(90*day, 34),
		},
		silent: "2h", fires: "2h10m", over: "4h",
		summary:  `The certificate "nats" expires in 20d 22h 50m 0s`,
		describe: `The certificate "nats" expires in 20d 22h 50m 0s. With an expired one no program reaches NATS: events are spooled or refused, and nothing is billed.`,
	},
	{
		name: "three days", alert: "CertificateExpiring", sev: "critical", labels: of("stream", "name", "nats"), step: 5 * time.Minute,
		input: map[string]string{
			"kgents_certificate_expiry_timestamp_seconds" + with(apiA, `name="nats"`):  hold(90*day, 24),
			"kgents_certificate_expiry_timestamp_seconds" + with(sinkA, `name="nats"`): hold(3*day+hour, 24) + hold(90*day, 10),
		},
		silent: "1h5m", fires: "1h10m", over: "2h",
		summary:  `The certificate "nats" expires in 2d 23h 50m 0s`,
		describe: `The certificate "nats" expires in 2d 23h 50m 0s. With an expired one no program reaches NATS: events are spooled or refused, and nothing is billed.`,
	},
	{
		name: "it is over", alert: "CertificateExpiring", sev: "critical", labels: of("stream", "name", "nats-client"), step: time.Minute,
		input: map[string]string{
			"kgents_certificate_expiry_timestamp_seconds" + with(apiA, `name="nats-client"`): hold(-60, 10) + hold(90*day, 10),
		},
		silent: "4m", fires: "5m", over: "10m",
		summary:  `The certificate "nats-client" has expired`,
		describe: `The certificate "nats-client" has expired. With an expired one no program reaches NATS: events are spooled or refused, and nothing is billed.`,
	},
}

var streamMisses = []miss{
	{
		name: "no connection: another alert says so", alert: "NATSQuorumLost", until: "20m",
		input: map[string]string{
			perStream("kgents_nats_stream_has_leader", apiA, "events"): hold(1, 4) + hold(0, 37),
			"kgents_nats_connected" + apiA:                             hold(1, 4) + hold(0, 37),
		},
	},
	{
		name: "only one replica has no answer", alert: "NATSQuorumLost", until: "20m",
		input: map[string]string{
			perStream("kgents_nats_stream_has_leader", apiA, "events"): hold(0, 41), "kgents_nats_connected" + apiA: hold(1, 41),
			perStream("kgents_nats_stream_has_leader", apiB, "events"): hold(1, 41), "kgents_nats_connected" + apiB: hold(1, 41),
		},
	},
	{
		name: "an election", alert: "NATSQuorumLost", until: "20m",
		input: map[string]string{
			perStream("kgents_nats_stream_has_leader", apiA, "events"): hold(1, 10) + hold(0, 2) + hold(1, 29), "kgents_nats_connected" + apiA: hold(1, 41),
		},
	},
	{
		name: "one of two", alert: "NATSUnreachable", until: "20m",
		input: map[string]string{"kgents_nats_connected" + apiA: hold(0, 41), "kgents_nats_connected" + apiB: hold(1, 41)},
	},
	{
		name: "it comes and goes", alert: "NATSUnreachable", until: "20m",
		input: map[string]string{"kgents_nats_connected" + apiA: cycle(20, 0, 1)},
	},
	{
		name: "the meter, which needs no NATS, and a process that is gone", alert: "NATSUnreachable", until: "20m",
		input: map[string]string{"kgents_meter_events_stored_total" + meter: hold(1, 41), "kgents_nats_connected" + apiA: hold(1, 5) + gone(35)},
	},
	{
		name: "one that catches up", alert: "NATSReplicaMissing", until: "30m",
		input: map[string]string{
			perStream("kgents_nats_stream_replicas", apiA, "events"):         hold(3, 61),
			perStream("kgents_nats_stream_replicas_current", apiA, "events"): hold(3, 10) + hold(2, 18) + hold(3, 33),
		},
	},
	{
		name: "a single server", alert: "NATSReplicaMissing", until: "20m",
		input: map[string]string{
			perStream("kgents_nats_stream_replicas", apiA, "events"):         hold(1, 41),
			perStream("kgents_nats_stream_replicas_current", apiA, "events"): hold(1, 41),
		},
	},
	{name: "79 %", alert: "StreamNearlyFull", until: "30m", input: fill(hold(790, 61))},
	{name: "94 %", alert: "StreamNearlyFull", key: "critical", until: "30m", input: fill(hold(940, 61))},
	{
		name: "without a limit", alert: "StreamNearlyFull", until: "20m",
		input: map[string]string{perStream("kgents_nats_stream_bytes", apiA, "events"): hold(1e12, 41)},
	},
	{
		name: "one a day, a slow one", alert: "BackupMissing", until: "30h", step: 10 * time.Minute,
		input: map[string]string{"kgents_backup_last_success_timestamp_seconds" + apiA: hold(0, 26*6) + hold(24*hour, 40)},
	},
	{
		name: "a replica that has read an old note", alert: "BackupMissing", until: "3h", step: 10 * time.Minute,
		input: map[string]string{
			"kgents_backup_last_success_timestamp_seconds" + apiA: hold(neverSince, 20),
			"kgents_backup_last_success_timestamp_seconds" + apiB: hold(0, 20),
		},
	},
	{
		name: "22 days", alert: "CertificateExpiring", until: "10h", step: 10 * time.Minute,
		input: map[string]string{"kgents_certificate_expiry_timestamp_seconds" + with(apiA, `name="nats"`): hold(22*day, 61)},
	},
	{
		name: "four days", alert: "CertificateExpiring", key: "critical", until: "10h", step: 10 * time.Minute,
		input: map[string]string{"kgents_certificate_expiry_timestamp_seconds" + with(apiA, `name="nats"`): hold(4*day, 61)},
	},
}

// sinks have the same value on both, as facts of a shared server do.
func sinks(metric, values string) map[string]string {
	return map[string]string{metric + sinkA: values, metric + sinkB: values}
}

func flushErrors(replica, class string) string {
	return "kgents_openmeter_flush_errors_total" + with(replica, `class="`+class+`"`)
}

const flushDescription = " requests a second. Events wait in the stream for up to 30 days; they are billed once it takes them."

var meteringDrills = []drill{
	{
		name: "an event gets older", alert: "PipelineStalled", sev: "critical", labels: of("sink", "signal", "backlog"),
		input:  sinks("kgents_backlog_oldest_age_seconds", ramp(0, 30, 30)+hold(0, 20)),
		silent: "10m", fires: "10m30s", over: "16m",
		summary:  "The oldest event that is not metered is 10m 30s old",
		describe: "An event was received 10m 30s ago and is not metered; normal is a second. Nothing is lost, but usage and payments show late, and plans are not enforced by what customers really use.",
	},
	{
		name: "the sink that metered the last one is gone", alert: "PipelineStalled", sev: "critical", labels: of("sink", "signal", "canary"), step: time.Minute,
		input: map[string]string{
			"kgents_canary_last_metered_timestamp_seconds" + sinkA: hold(0, 1) + hold(60, 9) + gone(40),
			"kgents_canary_last_metered_timestamp_seconds" + sinkB: hold(0, 30) + hold(1800, 10),
		},
		silent: "21m", fires: "22m", over: "30m",
		summary:  "No canary was metered for 21m 0s",
		describe: "`kgents verify` sends an event every 5 minutes, and for 21m 0s none has come through. Receipt or metering does not work, or verify does not run: revenue may go uncounted.",
	},
	{
		name: "two a second", alert: "ConsumerLagGrowing", sev: "warning", labels: of("sink"),
		input:  sinks("kgents_backlog_messages", ramp(10, 0, 10, 60, 50)+hold(10, 20)),
		silent: "15m30s", fires: "16m", over: "30m",
		summary:  "The backlog grows by 2 messages a second",
		describe: "For 10 minutes more was received than metered: the backlog grows by 2 messages a second, each a batch of events. Nothing is lost; usage and payments show later and later.",
	},
	{
		name: "many, while others pass", alert: "OpenMeterFlushErrors", sev: "warning", labels: of("sink"),
		input: map[string]string{
			flushErrors(sinkA, "retry"):                  ramp(0, 0, 10, 3, 40, 0, 30),
			flushErrors(sinkB, "retry"):                  ramp(0, 0, 10, 3, 40, 0, 30),
			"kgents_openmeter_events_sent_total" + sinkA: ramp(0, 10, 80),
			"kgents_openmeter_events_sent_total" + sinkB: ramp(0, 10, 80),
		},
		silent: "12m30s", fires: "13m", over: "29m",
		summary:  "0.2 requests a second to the meter fail",
		describe: "The meter refuses or does not answer 0.2" + flushDescription,
	},
	{
		name: "all, a try every half minute", alert: "OpenMeterFlushErrors", sev: "warning", labels: of("sink"),
		input: map[string]string{
			flushErrors(sinkA, "blocked"):                ramp(0, 0, 10, 1, 60, 0, 20),
			"kgents_openmeter_events_sent_total" + sinkA: ramp(0, 10, 10, 0, 60, 10, 20),
		},
		silent: "14m30s", fires: "15m", over: "36m",
		summary:  "0.0333 requests a second to the meter fail",
		describe: "The meter refuses or does not answer 0.0333" + flushDescription,
	},
	{
		name: "a third letter", alert: "DeadLettersGrowing", sev: "warning", labels: of("sink"),
		input: merge(sinks("kgents_deadletters_waiting", hold(2, 10)+hold(3, 80)),
			sinks("kgents_deadletters_newest_age_seconds", ramp(7200, 30, 10)+ramp(0, 30, 80))),
		silent: "5m30s", fires: "6m", over: "35m",
		summary:  "A new dead letter: 3 wait",
		describe: "In the last 30 minutes the meter refused events for good; 3 dead letters wait. They are kept with the reason and are not billed until they are replayed.",
	},
	{
		name: "since yesterday", alert: "DeadLettersWaiting", sev: "warning", labels: of("sink"), step: 10 * time.Minute,
		input:  sinks("kgents_deadletters_oldest_age_seconds", ramp(day-1200, 600, 20)+hold(0, 10)),
		silent: "30m", fires: "40m", over: "3h20m",
		summary:  "A dead letter has waited for 1d 0h 20m 0s",
		describe: "The oldest dead letter has waited for 1d 0h 20m 0s. Its event is not billed until somebody replays it, and the invoice may be closed before.",
	},
	{
		name: "both sinks know of it", alert: "ReconcileMissingEvents", sev: "critical", labels: of("sink"),
		input:  sinks("kgents_reconcile_missing_events", hold(0, 10)+hold(7, 10)+hold(0, 20)),
		silent: "6m30s", fires: "7m", over: "11m30s",
		summary:  "7 events are not in the meter, though it took them",
		describe: "Reconciliation did not find 7 events in the meter and could not mend that. The meter has lost what it had taken: revenue is not counted.",
	},
	{
		name: "the last was three hours ago", alert: "ReconcileStale", sev: "warning", labels: of("sink"), step: 10 * time.Minute,
		input: merge(map[string]string{"kgents_reconcile_last_success_timestamp_seconds" + sinkA: hold(600, 25) + hold(15000, 10)},
			map[string]string{"kgents_reconcile_last_success_timestamp_seconds" + sinkB: hold(0, 35), "process_start_time_seconds" + sinkB: hold(-9000, 35)}),
		silent: "3h20m", fires: "3h30m", over: "4h10m",
		summary:  "The meter was not compared with the stream for 3h 20m 0s",
		describe: "No reconciliation has come to its end for 3h 20m 0s; it should every hour. Were the meter losing events, nobody would know, and revenue would go uncounted.",
	},
	{
		name: "never since the start", alert: "ReconcileStale", sev: "warning", labels: of("sink"), step: 10 * time.Minute,
		input: map[string]string{
			"kgents_reconcile_last_success_timestamp_seconds" + sinkA: hold(0, 24) + hold(4*hour, 10),
			"process_start_time_seconds" + sinkA:                      hold(0, 34),
		},
		silent: "3h10m", fires: "3h20m", over: "4h",
		summary:  "The meter was not compared with the stream for 3h 20m 0s",
		describe: "No reconciliation has come to its end for 3h 20m 0s; it should every hour. Were the meter losing events, nobody would know, and revenue would go uncounted.",
	},
	{
		name: "four", alert: "UncountedEvents", sev: "warning", labels: of("meter"),
		input:  map[string]string{"kgents_meter_events_invalid_total" + meter: ramp(0, 0, 10, 4, 1, 0, 100)},
		silent: "6m", fires: "6m30s", over: "36m",
		summary:  "4 events in 30 minutes were stored, but some meter cannot count them",
		describe: "The embedded meter stored 4 events in 30 minutes whose type no meter knows, or whose value is none. They are kept, and are not billed as they are.",
	},
}

var meteringMisses = []miss{
	{name: "290 s", alert: "PipelineStalled", until: "20m", input: sinks("kgents_backlog_oldest_age_seconds", hold(290, 41))},
	{name: "four minutes of it", alert: "PipelineStalled", until: "20m", input: sinks("kgents_backlog_oldest_age_seconds", hold(0, 5)+hold(400, 7)+hold(0, 30))},
	{
		name: "NATS is away: nobody knows the backlog", alert: "PipelineStalled", until: "30m",
		input: map[string]string{"kgents_backlog_oldest_age_seconds" + sinkA: ramp(0, 30, 12) + gone(49)},
	},
	{
		name: "a canary every five minutes, one missed", alert: "PipelineStalled", until: "1h", step: time.Minute,
		input: sinks("kgents_canary_last_metered_timestamp_seconds", hold(60, 5)+hold(360, 10)+hold(900, 5)+hold(1200, 5)+hold(1500, 5)+hold(1800, 15)+hold(2700, 15)+hold(3600, 1)),
	},
	{name: "nobody runs verify", alert: "PipelineStalled", until: "10h", step: 5 * time.Minute, input: sinks("kgents_canary_last_metered_timestamp_seconds", hold(0, 121))},
	{name: "a steady backlog", alert: "ConsumerLagGrowing", until: "40m", input: sinks("kgents_backlog_messages", hold(5000, 81))},
	{name: "it drains", alert: "ConsumerLagGrowing", until: "40m", input: sinks("kgents_backlog_messages", ramp(5000, -50, 81))},
	{name: "a small one", alert: "ConsumerLagGrowing", until: "40m", input: sinks("kgents_backlog_messages", ramp(0, 1, 81))},
	{
		name: "seven minutes of it, and as many to drain", alert: "ConsumerLagGrowing", until: "40m",
		input: sinks("kgents_backlog_messages", ramp(0, 0, 20, 100, 15, -100, 15, 0, 31)),
	},
	{
		name: "one error in a minute, the rest passes", alert: "OpenMeterFlushErrors", until: "40m",
		input: map[string]string{flushErrors(sinkA, "retry"): ramp(0, 1, 81), "kgents_openmeter_events_sent_total" + sinkA: ramp(0, 5, 81)},
	},
	{
		name: "one bad event in a quiet hour", alert: "OpenMeterFlushErrors", until: "40m",
		input: map[string]string{flushErrors(sinkA, "refused"): ramp(0, 0, 20, 1, 1, 0, 60), "kgents_openmeter_events_sent_total" + sinkA: hold(5, 81)},
	},
	{
		name: "old letters", alert: "DeadLettersGrowing", until: "20m",
		input: merge(sinks("kgents_deadletters_waiting", hold(2, 41)), sinks("kgents_deadletters_newest_age_seconds", ramp(1900, 30, 41))),
	},
	{name: "none", alert: "DeadLettersGrowing", until: "20m", input: sinks("kgents_deadletters_waiting", hold(0, 41))},
	{name: "not a day yet", alert: "DeadLettersWaiting", until: "20m", input: sinks("kgents_deadletters_oldest_age_seconds", ramp(day-1300, 30, 41))},
	{name: "all are there", alert: "ReconcileMissingEvents", until: "20m", input: sinks("kgents_reconcile_missing_events", hold(0, 41))},
	{
		name: "a run that another corrects at once", alert: "ReconcileMissingEvents", until: "20m", step: 15 * time.Second,
		input: sinks("kgents_reconcile_missing_events", hold(0, 10)+hold(3, 1)+hold(0, 70)),
	},
	{
		name: "every hour", alert: "ReconcileStale", until: "6h", step: 10 * time.Minute,
		input: sinks("kgents_reconcile_last_success_timestamp_seconds", hold(1, 6)+hold(hour, 6)+hold(2*hour, 12)+hold(4*hour, 13)),
	},
	{
		name: "a new process beside one that knows", alert: "ReconcileStale", until: "4h", step: 10 * time.Minute,
		input: map[string]string{
			"kgents_reconcile_last_success_timestamp_seconds" + sinkA: hold(0, 25), "process_start_time_seconds" + sinkA: hold(-20*hour, 25),
			"kgents_reconcile_last_success_timestamp_seconds" + sinkB: hold(2*hour, 25), "process_start_time_seconds" + sinkB: hold(-20*hour, 25),
		},
	},
	{name: "long ago", alert: "UncountedEvents", until: "20m", input: map[string]string{"kgents_meter_events_invalid_total" + meter: hold(12, 41)}},
}

func backend(replica, name string) string {
	return "kgents_idempotency_backend" + with(replica, `backend="`+name+`"`)
}

func identityErrors(replica, operation string) string {
	return "kgents_idempotency_errors_total" + with(replica, `operation="`+operation+`"`)
}

func plansTaken(replica string) string { return "kgents_plans_last_reload_successful" + replica }

func unapplied(replica string) string { return "kgents_billing_oldest_unapplied_seconds" + replica }

func overageStuck(replica string) string { return "kgents_overage_stuck" + replica }

func overageReported(replica string) string {
	return "kgents_overage_last_success_timestamp_seconds" + replica
}

func stale(replica string) string { return "kgents_entitlement_stale" + replica }

func shared(replica string) string { return "kgents_customer_rate_shared" + replica }

func rateErrors(replica string) string { return "kgents_customer_rate_errors_total" + replica }

func usageAlerts(state, replica string) string { return "kgents_usage_alerts_" + state + replica }

func usageDelivered(replica string) string {
	return "kgents_usage_alert_deliveries_total" + with(replica, `result="delivered"`)
}

var otherDrills = []drill{
	{
		name: "one run of two replicas", alert: "OverageStuck", sev: "critical", labels: of("sink"),
		input: map[string]string{
			overageStuck(sinkA): hold(0, 20) + hold(2, 10) + hold(0, 70),
			overageStuck(sinkB): hold(0, 30) + hold(2, 10) + hold(0, 60), // the other's turn
		},
		silent: "10m30s", fires: "11m", over: "35m",
		summary:  "2 report(s) of overage can only be settled by a person",
		describe: "2 report(s) of overage may be at Stripe or not, and are not sent again, so that nobody is billed twice. What the customer uses past the limit from now on is not reported either. Stripe finalizes the invoice an hour after the period.",
	},
	{
		name: "the last was an hour ago, and its sink is gone", alert: "OverageNotReported", sev: "warning", labels: of("sink"), step: 5 * time.Minute,
		input: map[string]string{
			overageReported(sinkA): ramp(0, 300, 13) + gone(17),
			overageReported(sinkB): hold(0, 27) + hold(8100, 3),
		},
		silent: "2h5m", fires: "2h10m", over: "2h15m",
		summary:  "Overage was last reported 1h 10m 0s ago",
		describe: "No run has reported all overage to Stripe for 1h 10m 0s; there is one every five minutes. It waits in the meter, and is reported later, but what comes after an invoice is finalized is on no invoice: an hour after a period, by default.",
	},
	{
		name: "a receiver that is away", alert: "UsageAlertsNotDelivered", sev: "warning", labels: of("sink"),
		input: map[string]string{
			usageAlerts("pending", sinkA): hold(0, 20) + hold(3, 130) + hold(0, 30), usageAlerts("pending", sinkB): hold(0, 20) + hold(3, 130) + hold(0, 30),
			usageDelivered(sinkA): hold(5, 150) + hold(8, 30), usageDelivered(sinkB): hold(0, 180),
		},
		silent: "39m30s", fires: "40m", over: "1h16m",
		summary:  "3 usage alert(s) wait, and none is delivered",
		describe: "For 30 minutes no usage alert has reached USAGE_ALERT_URL, and 3 wait. You are not told which customers near their limits, and whom to sell more to. What they use is counted and billed all the same. Each is tried again for days, and is dead then.",
	},
	{
		name: "one of them", alert: "UsageAlertsDead", sev: "warning", labels: of("sink"),
		input:  map[string]string{usageAlerts("dead", sinkA): hold(0, 10) + hold(1, 20) + hold(0, 20), usageAlerts("dead", sinkB): hold(0, 11) + hold(1, 19) + hold(0, 20)},
		silent: "9m30s", fires: "10m", over: "15m30s",
		summary:  "1 usage alert(s) are dead",
		describe: "USAGE_ALERT_URL has not taken 1 usage alert(s) in any of their tries, and they are not tried again. They are kept for 90 days, and can be sent again. What the customers use is counted and billed all the same.",
	},
	{
		name: "ten minutes", alert: "SubscriptionsNotApplied", sev: "warning", labels: of("sink"),
		input:  map[string]string{unapplied(sinkA): hold(0, 10) + ramp(30, 30, 30) + hold(0, 20)},
		silent: "14m30s", fires: "15m", over: "21m",
		summary:  "What Stripe tells is not applied to customers for 10m 30s",
		describe: "The oldest webhook that no sink has applied to its customer is 10m 30s old. Who has just paid does not get the plan, and who has not keeps it. Nothing is lost: it is applied later, in whatever order, and what is counted is billed all the same.",
	},
	{
		name: "two replicas, one a minute after the other", alert: "EntitlementsStale", sev: "warning", labels: of("api"),
		input: map[string]string{
			stale(apiA): hold(0, 10) + hold(1, 20) + hold(0, 20), stale(apiB): hold(0, 12) + hold(1, 18) + hold(0, 20),
		},
		silent: "9m30s", fires: "10m", over: "15m30s",
		summary:  "2 api replica(s) enforce limits by old numbers",
		describe: "For 5 minutes 2 api replica(s) could not read the stream, or could not ask the meter what customers have used. They go on to grant by what they know: a customer can pass a hard limit by what has been used since, and that is on no invoice. What is used is counted all the same; nobody who has paid is refused.",
	},
	{
		name: "Redis is away for one of two, whose errors come one a second", alert: "RatesNotShared", sev: "warning", labels: of("api"),
		input: map[string]string{
			shared(apiA): hold(1, 10) + hold(0, 20) + hold(1, 20), rateErrors(apiA): ramp(0, 0, 10, 30, 20, 0, 20),
			shared(apiB): hold(1, 50), rateErrors(apiB): hold(0, 50),
		},
		silent: "9m30s", fires: "10m30s", over: "16m30s",
		summary:  "Customers get up to 2 times their rate of requests",
		describe: "For 5 minutes a replica of the api could not ask Redis whether customers are within their rates, and counts by itself. With 2 replicas a customer gets up to 2 times the requests a minute that its plan has. No event is lost, and what is used is counted and billed; API_RATE_LIMIT still protects each replica.",
	},
	{
		name: "Redis answers now and then, and each time a customer has its whole burst again", alert: "RatesNotShared", sev: "warning", labels: of("api"),
		input: map[string]string{
			shared(apiA): hold(1, 10) + cycle(10, 0, 1) + hold(1, 20), rateErrors(apiA): ramp(0, 0, 10, 5, 20, 0, 20),
			shared(apiB): hold(1, 10) + cycle(10, 1, 0) + hold(1, 20), rateErrors(apiB): ramp(0, 0, 10, 5, 20, 0, 20),
		},
		silent: "9m30s", fires: "10m30s", over: "16m30s",
		summary:  "Customers get up to 2 times their rate of requests",
		describe: "For 5 minutes a replica of the api could not ask Redis whether customers are within their rates, and counts by itself. With 2 replicas a customer gets up to 2 times the requests a minute that its plan has. No event is lost, and what is used is counted and billed; API_RATE_LIMIT still protects each replica.",
	},
	{
		name: "two of three", alert: "PlansRefused", sev: "warning", labels: of("process"),
		input: map[string]string{
			plansTaken(apiA): hold(1, 10) + hold(0, 20) + hold(1, 20), plansTaken(apiB): hold(1, 50),
			plansTaken(sinkA): hold(1, 10) + hold(0, 20) + hold(1, 20),
		},
		silent: "9m30s", fires: "10m", over: "15m30s",
		summary:  "The plans' file is refused by 2 process(es)",
		describe: "For 5 minutes 2 process(es) of api and sink keep to the plans before the last change of PLANS_FILE, since it has a mistake or can't be read. A process that starts now does not start. Limits, prices and what is billed as overage are those of before.",
	},
	{
		name: "two replicas", alert: "RedisFallback", sev: "warning", labels: of("idempotency"),
		input: map[string]string{
			backend(apiA, "memory"): hold(0, 10) + hold(1, 20) + hold(0, 20), backend(apiA, "redis"): hold(1, 10) + hold(0, 20) + hold(1, 20),
			backend(apiB, "memory"): hold(0, 10) + hold(1, 20) + hold(0, 20), backend(apiB, "redis"): hold(1, 10) + hold(0, 20) + hold(1, 20),
		},
		silent: "9m30s", fires: "10m", over: "16m30s",
		summary:  "2 api replica(s) do without Redis",
		describe: "For 5 minutes 2 api replica(s) keep identities in memory. Repeated events that reach another replica are stored twice; NATS and the meter still count them once, so no invoice is wrong, but a guard is missing.",
	},
	{
		name: "claims and commits on two replicas", alert: "IdempotencyErrors", sev: "warning", labels: of("idempotency"),
		input: map[string]string{
			identityErrors(apiA, "claim"): ramp(0, 0, 10, 1, 40, 0, 20), identityErrors(apiA, "commit"): ramp(0, 0, 10, 1, 40, 0, 20),
			identityErrors(apiB, "claim"): ramp(0, 0, 10, 1, 40, 0, 20), identityErrors(apiB, "commit"): ramp(0, 0, 10, 1, 40, 0, 20),
		},
		silent: "11m30s", fires: "12m", over: "29m",
		summary:  "0.133 calls a second to the store of identities fail",
		describe: "0.133 calls a second to the store of identities fail, and events are taken without it. Repetitions are stored twice; the meter still counts them once.",
	},
	{
		name: "both replicas read the same number", alert: "RedisEvictions", sev: "warning", labels: of("idempotency"),
		input: map[string]string{
			"kgents_redis_evicted_keys_total" + apiA: ramp(0, 0, 10, 5, 1, 0, 100),
			"kgents_redis_evicted_keys_total" + apiB: ramp(0, 0, 10, 5, 1, 0, 100),
		},
		silent: "6m", fires: "6m30s", over: "36m",
		summary:  "Redis gave up 5 keys in 30 minutes for lack of memory",
		describe: "Redis forgot 5 identities early in 30 minutes. A repetition of their events is stored twice; the meter still counts it once.",
	},
	{
		name: "all replicas", alert: "TargetDown", sev: "critical", labels: of("process", "job", "kgents-api"),
		input: map[string]string{
			"up" + apiA: hold(1, 10) + hold(0, 20) + hold(1, 20), "up" + apiB: hold(1, 10) + hold(0, 20) + hold(0, 20), "up" + sinkA: hold(1, 50),
		},
		silent: "6m30s", fires: "7m", over: "15m",
		summary:  "No replica of kgents-api answers (2 configured)",
		describe: "Prometheus reaches no replica of kgents-api, of 2 that it knows. Without the api events are not received, without sink or meter they are not billed; and other alerts cannot be trusted.",
	},
	{
		name: "the job has no targets any more", alert: "TargetDown", sev: "critical", labels: of("process", "job", "kgents-sink"),
		input: map[string]string{
			"up" + apiA: hold(1, 60), "up" + sinkA: hold(1, 10) + gone(30) + hold(1, 20),
		},
		silent: "6m30s", fires: "7m", over: "20m",
		summary:  "No replica of kgents-sink answers (0 configured)",
		describe: "Prometheus reaches no replica of kgents-sink, of 0 that it knows. Without the api events are not received, without sink or meter they are not billed; and other alerts cannot be trusted.",
	},
	{
		name: "one of two", alert: "TargetDown", sev: "warning", labels: of("process", "job", "kgents-api"),
		input:  map[string]string{"up" + apiA: hold(1, 60), "up" + apiB: hold(1, 10) + hold(0, 30) + hold(1, 20)},
		silent: "14m30s", fires: "15m", over: "20m",
		summary:  "1 replica(s) of kgents-api do not answer",
		describe: "For 10 minutes Prometheus did not reach 1 replica(s) of kgents-api. The others take over the work; a spool on a dead replica's disk is not billed until it is back.",
	},
}

var otherMisses = []miss{
	{name: "nothing is stuck", alert: "OverageStuck", until: "30m", input: map[string]string{overageStuck(sinkA): hold(0, 61)}},
	{name: "an hour at most", alert: "OverageNotReported", until: "1h10m", input: map[string]string{overageReported(sinkA): hold(0, 1) + hold(600, 140)}},
	{name: "there was none", alert: "OverageNotReported", until: "3h", step: 10 * time.Minute, input: map[string]string{overageReported(sinkA): hold(0, 19)}},
	{
		name: "some wait, others are delivered", alert: "UsageAlertsNotDelivered", until: "1h30m",
		input: map[string]string{usageAlerts("pending", sinkA): hold(2, 181), usageDelivered(sinkA): cycle(4, 5) + ramp(5, 0.1, 177)},
	},
	{name: "none waits", alert: "UsageAlertsNotDelivered", until: "1h30m", input: map[string]string{usageAlerts("pending", sinkA): hold(0, 181), usageDelivered(sinkA): hold(4, 181)}},
	{name: "it is sent again in four minutes", alert: "UsageAlertsDead", until: "20m", input: map[string]string{usageAlerts("dead", sinkA): hold(0, 10) + hold(1, 8) + hold(0, 23)}},
	{
		name: "a minute behind", alert: "SubscriptionsNotApplied", until: "30m",
		input: map[string]string{unapplied(sinkA): hold(60, 61)},
	},
	{
		name: "a long look back that ends", alert: "SubscriptionsNotApplied", until: "30m",
		input: map[string]string{unapplied(sinkA): hold(0, 10) + hold(2000, 8) + hold(0, 43)},
	},
	{
		name: "the meter is started again, and a new replica reads what there is, in four minutes", alert: "EntitlementsStale", until: "20m",
		input: map[string]string{stale(apiA): hold(0, 10) + hold(1, 8) + hold(0, 23), stale(apiB): "_ _ _ _ _ _ _ _ _ _ " + hold(1, 8) + hold(0, 23)},
	},
	{
		name: "every fourth look the meter has just failed", alert: "EntitlementsStale", until: "20m",
		input: map[string]string{stale(apiA): cycle(10, 0, 0, 0, 1), stale(apiB): hold(0, 40)},
	},
	{
		name: "three minutes", alert: "RatesNotShared", until: "20m",
		input: map[string]string{
			shared(apiA): hold(1, 10) + hold(0, 6) + hold(1, 25), rateErrors(apiA): ramp(0, 0, 10, 30, 6, 0, 25),
			shared(apiB): hold(1, 10) + hold(0, 6) + hold(1, 25), rateErrors(apiB): ramp(0, 0, 10, 30, 6, 0, 25),
		},
	},
	{
		name: "no Redis is configured", alert: "RatesNotShared", until: "20m",
		input: map[string]string{shared(apiA): hold(0, 41), rateErrors(apiA): hold(0, 41), shared(apiB): hold(0, 41), rateErrors(apiB): hold(0, 41)},
	},
	{
		name: "one replica, which is exact by itself", alert: "RatesNotShared", until: "20m",
		input: map[string]string{shared(apiA): hold(1, 5) + hold(0, 36), rateErrors(apiA): ramp(0, 0, 5, 30, 36)},
	},
	{
		name: "Redis is long back, and nobody has asked since", alert: "RatesNotShared", until: "30m",
		input: map[string]string{
			shared(apiA): hold(1, 5) + hold(0, 56), rateErrors(apiA): ramp(0, 0, 5, 30, 1, 0, 55),
			shared(apiB): hold(1, 61), rateErrors(apiB): hold(0, 61),
		},
	},
	{
		name: "an edit that is mended in four minutes", alert: "PlansRefused", until: "20m",
		input: map[string]string{plansTaken(apiA): hold(1, 10) + hold(0, 8) + hold(1, 23), plansTaken(sinkA): hold(1, 41)},
	},
	{name: "no plans in the meter", alert: "PlansRefused", until: "20m", input: map[string]string{"up" + apiA: hold(1, 41)}},
	{name: "no Redis is configured", alert: "RedisFallback", until: "20m", input: map[string]string{"up" + apiA: hold(1, 41)}},
	{
		name: "three minutes", alert: "RedisFallback", until: "20m",
		input: map[string]string{backend(apiA, "memory"): hold(0, 10) + hold(1, 6) + hold(0, 30), backend(apiA, "redis"): hold(1, 10) + hold(0, 6) + hold(1, 30)},
	},
	{name: "one in a minute", alert: "IdempotencyErrors", until: "30m", input: map[string]string{identityErrors(apiA, "claim"): ramp(0, 0, 10, 1, 51)}},
	{name: "Redis was started again", alert: "RedisEvictions", until: "20m", input: map[string]string{"kgents_redis_evicted_keys_total" + apiA: hold(100, 20) + hold(0, 21)}},
	{
		name: "an update: pods go, others come", alert: "TargetDown", until: "30m",
		input: map[string]string{"up" + apiA: hold(1, 20) + hold(0, 2) + gone(39), "up" + apiB: hold(0, 1) + hold(1, 60)},
	},
	{name: "one of two", alert: "TargetDown", key: "critical", until: "30m", input: map[string]string{"up" + apiA: hold(0, 61), "up" + apiB: hold(1, 61)}},
	{name: "somebody else's", alert: "TargetDown", until: "30m", input: map[string]string{`up{namespace="kgents",job="other"}`: hold(0, 61)}},
}
