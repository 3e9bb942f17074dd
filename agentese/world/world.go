// Package world is the context world: the parts of the running system, from the servers
// to the customers, what they show and what can be changed in them.
//
// It promises that looking changes nothing, that a figure which could not be had is
// shown as unknown and never as 0, and that a verdict (well, degraded, error) is that of
// /health or of an alert's own threshold in alerts/rules.yaml, never one of its own.
// What an event carries is shown to developers and more. When a part is away, its node
// says so with what to do, and the others go on.
package world

import (
	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
)

// world is what the nodes have in common.
type world struct {
	*living.Sources
	limits limits
}

// Context is the tree's part.
func Context(from *living.Sources) *tree.Node {
	w := &world{from, readLimits()}
	return &tree.Node{
		Name: "world",
		Line: "everything out there: servers, meter, Stripe, customers, towns, alerts",
		Doc: "The running system, part by part, in the order in which an event goes: it is received by the API or from Stripe, is made durable in NATS, " +
			"and is counted by the meter (OpenMeter). Start with world.manifest, which shows every part at a glance with what /health says of it, " +
			"then go to the part that isn't well. Figures are those of the process that answers, unless a node says otherwise.",
		Synonyms: []string{"system", "everything", "overview", "infrastructure", "production", "platform", "services", "stack", "health", "dashboard", "all parts", "backend"},
		Affords: []tree.Affordance{{
			Aspect: agentese.Manifest,
			Line:   "every part of the system at a glance: which is well, which isn't, and where to look",
			Asks: []string{
				"is everything ok", "what is broken", "how is the system", "are we up", "health check", "what's wrong", "is anything down", "show me the overview",
				"is production healthy", "why are we degraded", "which component has problems", "system status", "give me the big picture", "anything on fire", "what should i look at first",
			},
			Examples: []tree.Example{
				{Expr: "world.manifest", Line: "every part at a glance"},
				{Expr: `world.manifest[where=state!=ok]`, Line: "only what isn't well"},
			},
			See: w.see,
		}},
		Children: []*tree.Node{
			w.nats(), w.redis(), w.openmeter(), w.stripe(), w.api(), w.deadletter(), w.spool(), w.alerts(),
			customers(from), keys(from), plans(from), towns(from), kubernetes(from),
		},
	}
}
