package dashboard

// What is sold, and to whom.

func plans() row {
	return row{"Plans and customers", []picture{
		figure(6, "Plans' file", "Whether every api and sink has taken the last change of PLANS_FILE. Where one has not, the plans before hold there.",
			"none", q("min(kgents_plans_last_reload_successful{@})", "taken")).
			words(map[string]Word{"0": {Text: "refused", Color: red, Index: 0}, "1": {Text: "taken", Color: green, Index: 1}}).steps(red, from(1, green)).absent("no plans").alerts("PlansRefused"),
		figure(6, "Customers", "Customers that are kept in NATS, as the process that knows most of them counts them.",
			"none", q("max(kgents_customers{@})", "customers")).steps(green).absent("unknown"),
		figure(6, "API keys", "Keys that are kept, customers' and operators', without API_KEYS.",
			"none", q("max(kgents_customer_keys{@})", "keys")).steps(green).absent("unknown"),
		figure(6, "Customers are current", "Whether every process follows the customers' bucket. Where one does not, it goes on with what it knows: a new key isn't let in there, and a revoked one is.",
			"none", q("min(kgents_customers_current{@})", "current")).
			words(map[string]Word{"0": {Text: "behind", Color: red, Index: 0}, "1": {Text: "current", Color: green, Index: 1}}).steps(red, from(1, green)).absent("unknown"),
		graph(12, "Stripe's events not applied", "Age of the oldest webhook that no sink has applied to its customer. It is applied within a second; what is older waits for NATS, or is refused again and again.",
			"s", q("max(kgents_billing_oldest_unapplied_seconds{@})", "oldest")).steps(green, from(300, red)).alerts("SubscriptionsNotApplied"),
		graph(12, "Stripe's events by outcome", "What became of webhooks at the customers: most are of no subscription.",
			"short", q("sum by (outcome) (rate(kgents_billing_events_total{@}[$__rate_interval]))", "{{outcome}}"),
			q("sum(rate(kgents_billing_apply_errors_total{@}[$__rate_interval]))", "errors")),
		figure(12, "Limits go by", "Whether every api reads the stream and can ask the meter. Where one can't, it grants by what it knows, and a customer can pass a hard limit.",
			"none", q("max(kgents_entitlement_stale{@})", "stale")).
			words(map[string]Word{"0": {Text: "what was used", Color: green, Index: 0}, "1": {Text: "old numbers", Color: red, Index: 1}}).steps(green, from(1, red)).absent("unknown").alerts("EntitlementsStale"),
		figure(12, "Rates are shared", "Whether all api replicas count customers' requests together, in Redis. Where one counts by itself, a customer gets more than its plan's rate, up to as many times as there are replicas. One that has had no request since Redis came back says so still.",
			"none", q("min(kgents_customer_rate_shared{@})", "shared")).
			words(map[string]Word{"0": {Text: "each by itself", Color: orange, Index: 0}, "1": {Text: "shared", Color: green, Index: 1}}).steps(orange, from(1, green)).absent("unknown").alerts("RatesNotShared"),
		figure(6, "Overage that is stuck", "Reports of overage that may be at Stripe or not, and that only a person can settle.",
			"none", q("max(max_over_time(kgents_overage_stuck{@}[15m]))", "stuck")).steps(green, from(1, red)).absent("no key of Stripe").alerts("OverageStuck"),
		figure(6, "Overage last reported", "How long ago a run reported all overage to Stripe. There is one every five minutes, of one sink.",
			"s", q("time() - max(max_over_time(kgents_overage_last_success_timestamp_seconds{@}[6h]) > 0)", "ago")).steps(green, from(3600, red)).absent("never").alerts("OverageNotReported"),
		figure(6, "Usage alerts that wait", "What is to be sent to USAGE_ALERT_URL, and has not been taken yet.",
			"none", q("max(kgents_usage_alerts_pending{@})", "waiting")).steps(green).absent("unknown").alerts("UsageAlertsNotDelivered"),
		figure(6, "Usage alerts that are dead", "What USAGE_ALERT_URL has never taken: kgents alerts replay sends it again.",
			"none", q("max(kgents_usage_alerts_dead{@})", "dead")).steps(green, from(1, red)).absent("unknown").alerts("UsageAlertsDead"),
	}}
}
