package dashboard

// What comes in, and what of it is money.

func receipt() row {
	return row{"Receipt", []picture{
		heatmap(12, "Webhook latency", "How long Stripe's webhooks took to be answered: darker is more of them. 204 is said only when the event is durable, so a sync to disk is in it. Points are traces, where tracing is on.",
			"kgents_stripe_webhook_latency_seconds").alerts("HighWebhookLatency"),
		graph(12, "Latency by route, p50 and p99", "Half and 99 of 100 requests were answered within this time. The lines are the aim for webhooks (250 ms) and the alert's limit (5 s).",
			"s", q("histogram_quantile(0.5, sum by (le, route) (rate(kgents_api_request_latency_seconds_bucket{@}[$__rate_interval])))", "p50 {{route}}"),
			q("histogram_quantile(0.99, sum by (le, route) (rate(kgents_api_request_latency_seconds_bucket{@}[$__rate_interval])))", "p99 {{route}}")).
			steps(green, from(0.25, orange), from(5, red)).alerts("HighWebhookLatency"),
		graph(8, "Answers by status", "Requests answered, by status. 5xx use up the error budget; 4xx are the senders' mistakes.",
			"reqps", q("sum by (code) (rate(kgents_api_requests_total{@}[$__rate_interval]))", "{{code}}")).stacked().alerts("APIErrorBudgetBurn"),
		graph(8, "Webhooks refused", "Stripe's webhooks that were refused, by reason. 'bad_signature' and 'timestamp' mean a wrong secret, a wrong clock or a stranger; 'malformed' that Stripe sent what we can't read; 'unavailable' that nothing durable could take them.",
			"reqps", q("sum by (reason) (rate(kgents_stripe_webhooks_errors_total{@}[$__rate_interval]))", "{{reason}}")).
			stacked().alerts("StripeSignatureFailures", "StripeWebhooksUnreadable", "EventsNotDurable"),
		graph(8, "Usage requests refused", "Requests with usage events that were refused, by reason. 'unavailable' means that nothing durable could take them; the others are the senders' mistakes.",
			"reqps", q("sum by (reason) (rate(kgents_events_refused_total{@}[$__rate_interval]))", "{{reason}}")).
			stacked().alerts("EventsNotDurable"),
	}}
}

func money() row {
	const amounts = " Amounts are no metric: `kgents usage` has them, by customer and currency."
	during := func(typ string) query {
		return q(`sum(increase(kgents_stripe_webhooks_processed_total{@,type="`+typ+`"}[$__range])) or vector(0)`, typ)
	}
	return row{"Money", []picture{
		figure(4, "Payments received", "Invoices paid in the time shown, whose event is durable. Repeated deliveries by Stripe count again."+amounts,
			"short", during("invoice.paid")).decimals(0).steps(green),
		figure(4, "Payments failed", "Invoices that could not be collected in the time shown. Stripe tries most of them again."+amounts,
			"short", during("invoice.payment_failed")).decimals(0).steps(green, from(1, orange)),
		figure(4, "Share that failed", "Failed payments of all payments in the time shown.",
			"percentunit", q(`(sum(increase(kgents_stripe_webhooks_processed_total{@,type="invoice.payment_failed"}[$__range])) or vector(0)) / (sum(increase(kgents_stripe_webhooks_processed_total{@,type=~"invoice.paid|invoice.payment_failed"}[$__range])) > 0)`, "failed")).
			decimals(1).steps(green, from(0.1, orange), from(0.3, red)).absent("no payment"),
		figure(4, "Checkouts", "Checkouts that were completed in the time shown.", "short", during("checkout.session.completed")).decimals(0).steps(blue),
		figure(4, "Subscriptions begun", "Subscriptions created in the time shown.", "short", during("customer.subscription.created")).decimals(0).steps(blue),
		figure(4, "Subscriptions ended", "Subscriptions deleted in the time shown.", "short", during("customer.subscription.deleted")).decimals(0).steps(blue),
		graph(12, "Payments received and failed", "Payments a minute whose event is durable."+amounts,
			"cpm", q(`60 * sum(rate(kgents_stripe_webhooks_processed_total{@,type="invoice.paid"}[$__rate_interval])) or vector(0)`, "received"),
			q(`60 * sum(rate(kgents_stripe_webhooks_processed_total{@,type="invoice.payment_failed"}[$__rate_interval])) or vector(0)`, "failed")),
		graph(12, "Webhooks with a good signature", "What Stripe sends, by type. What of it is no event of a meter is answered without being kept: 'skipped', which is in the types too.",
			"reqps", q("sum by (type) (rate(kgents_stripe_webhooks_received_total{@}[$__rate_interval]))", "{{type}}"),
			q("sum by (reason) (rate(kgents_stripe_webhooks_skipped_total{@}[$__rate_interval]))", "skipped: {{reason}}")),
	}}
}
