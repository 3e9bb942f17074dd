package dashboard

import (
	"maps"
	"slices"
	"strings"
)

// anchors are the alerts that have a panel, each with its section of the runbook.
// A test compares them with the rules.
var anchors = map[string]string{
	"APIErrorBudgetBurn":       "api-error-budget-burn",
	"BackupMissing":            "backup-missing",
	"CertificateExpiring":      "certificate-expiring",
	"ConsumerLagGrowing":       "consumer-lag-growing",
	"DeadLettersGrowing":       "dead-letters-growing",
	"DeadLettersWaiting":       "dead-letters-waiting",
	"EntitlementsStale":        "entitlements-stale",
	"EventsNotDurable":         "events-not-durable",
	"HighWebhookLatency":       "webhook-latency",
	"IdempotencyErrors":        "idempotency-errors",
	"NATSCircuitOpen":          "nats-circuit-open",
	"NATSQuorumLost":           "nats-quorum-lost",
	"NATSReplicaMissing":       "nats-replica-missing",
	"NATSUnreachable":          "nats-unreachable",
	"OpenMeterFlushErrors":     "openmeter-errors",
	"OverageNotReported":       "overage-not-reported",
	"OverageStuck":             "overage-stuck",
	"PipelineStalled":          "pipeline-stalled",
	"PlansRefused":             "plans-refused",
	"RatesNotShared":           "rates-not-shared",
	"ReconcileMissingEvents":   "reconcile-missing-events",
	"ReconcileStale":           "reconcile-stale",
	"RedisEvictions":           "redis-evictions",
	"RedisFallback":            "redis-fallback",
	"SpoolDamaged":             "spool-damaged",
	"SpoolInUse":               "spool-in-use",
	"SpoolNearlyFull":          "spool-nearly-full",
	"StreamNearlyFull":         "stream-nearly-full",
	"StripeSignatureFailures":  "stripe-signature-failures",
	"StripeWebhooksUnreadable": "stripe-webhooks-unreadable",
	"SubscriptionsNotApplied":  "subscriptions-not-applied",
	"TargetDown":               "target-down",
	"UncountedEvents":          "uncounted-events",
	"UsageAlertsDead":          "usage-alerts-dead",
	"UsageAlertsNotDelivered":  "usage-alerts-not-delivered",
	"Watchdog":                 "watchdog",
}

// watchdog fires always.
const watchdog = "Watchdog"

// firing selects our alerts that fire, of the chosen namespaces and of none, without
// the one that always does.
func firing(matchers ...string) string {
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(anchors)), func(name string) bool { return name == watchdog })
	all := append([]string{`alertstate="firing"`, `alertname=~"` + strings.Join(names, "|") + `"`, `namespace=~"$namespace|"`}, matchers...)
	return "ALERTS{" + strings.Join(all, ",") + "}"
}

// alerts says in the panel's description which alerts watch what it shows, and links
// to their sections of the runbook.
func (p picture) alerts(names ...string) picture {
	p.Description += " " + noun(names) + ": " + strings.Join(names, ", ") + "."
	for _, name := range names {
		p.Links = append(p.Links, link("Runbook: "+name, runbook+"#"+anchors[name]))
	}
	return p
}

func noun(names []string) string {
	if len(names) == 1 {
		return "Alert"
	}
	return "Alerts"
}
