package matchtest

// spec is the tree: a path, then its aspects with their clauses. A value after = is one
// of several, a path whose live names are the values (@), or a kind (<kind>).
const spec = `
world: manifest
world.nats: manifest, witness
world.nats.stream: manifest, witness
world.nats.consumer: manifest, witness
world.nats.circuit: manifest, witness
world.redis: manifest, witness
world.openmeter: manifest, witness
world.openmeter.usage: manifest customer=@world.customers meter=<word> from=<time> to=<time> window=day|hour
world.openmeter.events: manifest customer=@world.customers id=<word> from=<time> to=<time> limit=<number>
world.openmeter.reconciliation: manifest since=<duration>, refine since=<duration>
world.stripe: manifest
world.stripe.webhooks: manifest, witness
world.stripe.events: manifest
world.stripe.events.{event!}: manifest
world.stripe.subscriptions: manifest
world.api: manifest, witness
world.deadletter: manifest reason=refused|malformed|invalid type=<word> customer=@world.customers since=<time> until=<time> limit=<number>, witness, lens by=reason|customer|type, refine do=replay|drop reason=refused|malformed|invalid type=<word> customer=@world.customers since=<time> until=<time>
world.deadletter.{seq}: manifest, refine do=replay|drop
world.spool: manifest, witness
world.customers: manifest plan=@world.plans status=active|past_due|canceled|unpaid|trialing limit=<number>, lens near=<percent>, refine do=create id=<word> name=<text> plan=@world.plans
world.customers.{customer}: manifest, witness
world.customers.{customer}.usage: manifest from=<time> to=<time>
world.customers.{customer}.limits: manifest feature=<word>
world.customers.{customer}.keys: manifest, refine do=create|rotate|revoke key=<word> scopes=<word> overlap=<duration>
world.customers.{customer}.invoice: manifest
world.customers.{customer}.subscription: manifest, refine do=change|cancel|reactivate plan=@world.plans
world.customers.{customer}.alerts: manifest
world.plans: manifest
world.plans.{plan}: manifest
world.town: manifest customer=@world.customers
world.town.{town}: manifest, witness, refine do=step|pace|stop steps=<number> seconds=<number>
world.town.{town}.citizens: manifest
world.town.{town}.citizens.{citizen~}: manifest, witness
world.kubernetes: manifest
world.kubernetes.pods: manifest app=<word>
world.kubernetes.deployments: manifest
world.kubernetes.deployments.{workload}: manifest, refine replicas=<number>
world.alerts: manifest severity=critical|warning|info, witness since=<time>
world.alerts.{alert}: manifest, witness, refine silence=<duration> comment=<text>
self: manifest
self.status: manifest
self.session: manifest, witness, refine observer=default|explorer|developer|architect|admin
self.memory: manifest, refine note=<text>
self.capabilities: manifest
self.budget: manifest
concept: manifest
concept.guarantees: manifest
concept.alerts: manifest
concept.alerts.{alert}: manifest, define
concept.runbook: manifest
concept.runbook.{section}: manifest
concept.checklist: manifest category=security|operations|billing|data|testing owner=<word> blocking=<flag> open=<flag>
concept.checklist.{item}: manifest
concept.forest: manifest phase=PLAN|RESEARCH|IMPLEMENT|QA|TEST|DEPLOY|OPERATE sprint=<word> open=<flag>
concept.metrics: manifest like=<word>
concept.metrics.{metric}: manifest
concept.plans: manifest
concept.laws: manifest, witness
concept.identity: manifest
void: manifest
void.entropy: manifest, sip of=events|fault n=<number> customer=@world.customers
void.gratitude: tithe
void.shadow: manifest of=tests|alerts|metrics
time: manifest
time.trace: manifest
time.trace.{event!}: manifest
time.witness: manifest of=<path> since=<duration>
time.schedule: manifest
time.incident: manifest since=<duration>
time.past: manifest at=<time> of=<path>
time.future: manifest of=disk|stream|spool|backlog|limits customer=@world.customers
`

// alerts, metrics and sections are the product's own.
const (
	alerts = `APIErrorBudgetBurn BackupMissing CertificateExpiring ConsumerLagGrowing DeadLettersGrowing DeadLettersWaiting
EntitlementsStale EventsNotDurable HighWebhookLatency IdempotencyErrors NATSCircuitOpen NATSQuorumLost NATSReplicaMissing NATSUnreachable
OpenMeterFlushErrors OverageNotReported OverageStuck PipelineStalled PlansRefused RatesNotShared ReconcileMissingEvents ReconcileStale
RedisEvictions RedisFallback SpoolDamaged SpoolInUse SpoolNearlyFull StreamNearlyFull StripeSignatureFailures
StripeWebhooksUnreadable SubscriptionsNotApplied TargetDown UncountedEvents UsageAlertsDead UsageAlertsNotDelivered Watchdog`
	metrics = `kgents_api_rate_limited_total kgents_api_request_latency_seconds kgents_api_requests_total kgents_backlog_messages
kgents_backlog_oldest_age_seconds kgents_deadletters_total kgents_deadletters_waiting kgents_events_accepted_total
kgents_events_duplicate_total kgents_events_refused_total kgents_idempotency_errors_total kgents_event_metered_seconds`
	sections = `deploy roll-back restart-nats scale drain-a-node resize rotate-a-secret back-up restore replay-dead-letters reconcile tell-customers`
	items    = `tls-everywhere backups-drilled secrets-rotated load-tested alerts-routed runbook-rehearsed stripe-live-mode quotas-set`
)
