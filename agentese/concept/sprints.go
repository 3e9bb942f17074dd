package concept

import "github.com/kgents/kgents/checklist"

// sprint is a piece of work of the plan, with what came of it.
type sprint struct {
	id, title string
	tracks    []track
}

// track is a part of a sprint.
type track struct {
	title  string
	weight int      // percent of the sprint; 0 where the plan gives none
	made   []string // folders and files of the repository
	see    []string // expressions that show it living

	// Of the checklist: whole categories, and single items.
	categories, items []string
}

// sprints are those that the plan names. A test looks whether what they made is there
// and whether what they belong to is on the checklist.
var sprints = []sprint{
	{
		id: "saas_phase5_operate", title: "SaaS phase 5: from infrastructure that exists to infrastructure that runs reliably",
		tracks: []track{
			{
				title: "Staging deployment: NATS and the API on Kubernetes, an event through all of it", weight: 30,
				made:       []string{"infra/k8s/overlays/staging", "infra/k8s/scripts/deploy-staging.sh", "docs/saas/deployment.md", "verify"},
				see:        []string{"world.kubernetes.manifest", "concept.runbook.deploy.manifest"},
				categories: []string{"durability", "capacity", "release"},
			},
			{
				title: "Alerting rules, each with its section of the runbook", weight: 30,
				made:       []string{"alerts/rules.yaml", "infra/k8s/manifests/prometheus/alerting-rules.yaml", "infra/k8s/manifests/alertmanager", "docs/saas/runbook.md", "docs/saas/alerts.md", "firedrill"},
				see:        []string{"concept.alerts.manifest", "world.alerts.manifest"},
				categories: []string{"observability"},
			},
			{
				title: "Identities in Redis, with memory while it is away", weight: 20,
				made:  []string{"admit/redis", "admit/memory", "admit/admittest"},
				see:   []string{"world.redis.manifest"},
				items: []string{"redis-noeviction", "redis-persistence", "redis-anonymous", "duplicate-once"},
			},
			{
				title: "Production checklist: secrets, network, load, disaster recovery", weight: 20,
				made:       []string{"checklist/items.yaml", "checklist/checks", "docs/saas/production-checklist.md"},
				see:        []string{"concept.checklist.manifest"},
				categories: []string{"secrets", "network", "load", "disaster-recovery", "security", "privacy"},
			},
		},
	},
	{
		id: "agent_town_saas", title: "Agent Town on the billing of SaaS: citizens whose work is metered, limited and invoiced",
		tracks: []track{
			{
				title: "Usage metering of citizens' interactions", made: []string{"town", "town/host", "docs/saas/agent-town.md"},
				see:   []string{"world.town.manifest", "world.openmeter.usage.manifest"},
				items: []string{"openmeter-reachable", "openmeter-deduplicates", "canary-within-objective", "duplicate-once", "reconciliation-clean"},
			},
			{
				title: "Tokens of each agent", made: []string{"town/mind", "docs/saas/monetization.md"},
				see: []string{"world.town.manifest"},
			},
			{
				title: "Tiers of subscription, with limits and overage", made: []string{"plan", "customer", "subscription", "entitle", "docs/saas/plans.md", "docs/saas/entitlements.md"},
				see:   []string{"world.plans.manifest", "concept.plans.manifest", "world.customers.lens"},
				items: []string{"plans-reviewed", "alerts-verified", "customer-keys-expire"},
			},
			{
				title: "Stripe for the town's subscriptions", made: []string{"billing", "invoice", "receive/stripe", "docs/saas/stripe.md", "docs/saas/subscriptions.md"},
				see:   []string{"world.stripe.manifest", "world.stripe.subscriptions.manifest"},
				items: []string{"webhook-bad-signature", "webhook-accepted", "stripe-endpoint", "checkout-tried", "stripe-key-restricted", "first-invoice", "webhook-secret-overlap"},
			},
		},
	},
	{
		id: "agentese_repl_wave3", title: "The AGENTESE shell, wave 3: paths found by meaning, and mended where they are mistyped",
		tracks: []track{
			{
				title: "Semantic completions: words lead to paths", made: []string{"agentese/search", "agentese/eval"},
				see: []string{"self.capabilities.manifest"},
			},
			{
				title: "Fuzzy path matching", made: []string{"agentese/match", "agentese/eval"},
				see: []string{"concept.laws.witness"},
			},
			{
				title: "The shell itself, for the one who is on call", made: []string{"agentese", "agentese/tree", "agentese/repl"},
				see:   []string{"self.manifest", "concept.runbook.manifest"},
				items: []string{"ci-green", "on-call", "alerts-have-runbooks"},
			},
		},
	},
}

// has says whether an item of the checklist belongs to the track.
func (t track) has(i checklist.Item) bool {
	for _, c := range t.categories {
		if c == i.Category {
			return true
		}
	}
	for _, id := range t.items {
		if id == i.ID {
			return true
		}
	}
	return false
}

func (s sprint) has(i checklist.Item) bool {
	for _, t := range s.tracks {
		if t.has(i) {
			return true
		}
	}
	return false
}
