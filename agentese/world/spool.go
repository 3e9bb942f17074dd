package world

import (
	"context"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
)

func (w *world) spool() *tree.Node {
	return &tree.Node{
		Name: "spool",
		Line: "events that wait on the local disk while NATS is away",
		Doc: "When NATS can't take events, this replica writes them to its own disk, synced, before it answers, and brings them to NATS when that is back. " +
			"Shown are how many wait, how old the oldest is, and how full the spool is, from GET /api/v1/system and /metrics. Events in it are safe as long as the disk is, and are not billed until NATS has them. " +
			"Any for five minutes is the alert SpoolInUse, past 80 % SpoolNearlyFull (critical: a full one refuses events with 503), damage is SpoolDamaged.",
		Synonyms: []string{"local disk", "fallback queue", "disk queue", "buffer", "overflow", "offline queue", "wal", "waiting on disk", "spooled", "local buffer", "emergency storage"},
		Operator: true,
		Affords: []tree.Affordance{
			{
				Aspect: agentese.Manifest, Line: "events that wait on local disk, how old, how full",
				Asks: []string{
					"are events on local disk", "is the spool full", "how many events wait for nats", "did we buffer events", "is the fallback queue in use", "spool size",
					"are events stuck on the pod", "how long can we survive without nats", "is the local buffer damaged", "what happens when nats is down",
				},
				Examples: []tree.Example{{Expr: "world.spool.manifest", Line: "what waits on local disk"}},
				See:      w.seeSpool,
			},
			{
				Aspect: agentese.Witness, Line: "its history: events, size, age of the oldest",
				Asks: []string{
					"when was the spool used", "spool over time", "did the spool drain", "how full did the local disk get", "was the fallback used last night", "is the spool growing",
					"how many events were buffered during the outage", "when did the buffer empty", "fallback history",
				},
				Params:   pastParams(),
				Examples: []tree.Example{{Expr: "world.spool.witness[since=6h]", Line: "six hours of it"}},
				See: w.witness(past{title: "The spool", kinds: []string{"circuit"}, figures: []figure{
					{name: "kgents_nats_fallback_queue_depth", title: "events"},
					{name: "kgents_nats_fallback_queue_bytes", title: "size", unit: "bytes"},
					{name: "kgents_nats_fallback_oldest_age_seconds", title: "oldest", unit: "seconds"},
				}, next: []tree.Example{{Expr: "world.nats.circuit.witness", Line: "the circuit meanwhile"}}}),
			},
		},
	}
}

func (w *world) seeSpool(ctx context.Context, c *tree.Call) (tree.Value, error) {
	r, err := w.report(ctx, c)
	if err != nil {
		return tree.Value{}, err
	}
	if r.Spool == nil {
		return tree.Value{}, living.Absent("a spool", "set SPOOL_MAX_BYTES to more than 0 where events are received")
	}
	v := tree.Value{Title: "The spool"}
	used := w.limits.verdict("SpoolInUse", int64(r.Spool.Events))
	add(&v, "events", int64(r.Spool.Events), "", used, "alert SpoolInUse when there are some for 5 minutes")
	v.State = used
	if r.Spool.Events > 0 {
		v.Add("oldest", seconds(r.Spool.OldestAge), "")
	}
	v.Add("size", r.Spool.Bytes, "bytes").Add("limit", r.Spool.Limit, "bytes")
	if r.Spool.Limit > 0 {
		fill := float64(r.Spool.Bytes) / float64(r.Spool.Limit)
		full := w.limits.verdict("SpoolNearlyFull", fill)
		add(&v, "full", fill*100, "percent", full, "alert SpoolNearlyFull past 80 %")
		v.State = worse(v.State, full)
	}
	m, err := w.Metrics(ctx)
	unknown(&v, "Taken, drained and damaged", err)
	v.Add("messages taken", m.Count("kgents_spool_messages_taken_total"), "").Add("messages drained", m.Count("kgents_spool_messages_drained_total"), "")
	damaged := m.Count("kgents_spool_damaged_total")
	state := w.limits.verdict("SpoolDamaged", damaged)
	add(&v, "damaged places", damaged, "", state, "alert SpoolDamaged; see 'kgents spool verify'")
	v.State = worse(v.State, state)
	v.Note("Messages are counted since the program's start; the spool is this replica's.")
	v.Then("world.spool.witness", "its last hour")
	v.Then("world.nats.circuit.manifest", "why it is used")
	return v, nil
}
