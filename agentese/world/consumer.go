package world

import (
	"context"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/tree"
)

func (w *world) consumer() *tree.Node {
	return &tree.Node{
		Name: "consumer",
		Line: "the sink's consumer: what is durable and not yet counted by the meter",
		Doc: "The sink reads the stream and hands events to the meter; a message counts as done when the meter has all of its events. " +
			"The backlog is what isn't done yet, with the age of the oldest, from GET /api/v1/system, and from /metrics what a sink has in hand and was delivered again. " +
			"A backlog of seconds is normal. Past five minutes the alert PipelineStalled fires: nothing is lost, but usage and invoices are late. " +
			"Then see whether the meter answers (world.openmeter.manifest), and whether a sink runs at all.",
		Synonyms: []string{"backlog", "lag", "sink", "delay", "late", "unmetered", "pending messages", "behind", "redelivered", "stuck messages", "consumer lag", "worker", "waiting events"},
		Operator: true,
		Affords: []tree.Affordance{
			{
				Aspect: agentese.Manifest, Line: "backlog, age of the oldest message, redelivered, how far behind",
				Asks: []string{
					"how far behind are we", "is there a backlog", "are events processed", "consumer lag", "how many events wait for the meter", "is the pipeline stuck", "is the sink running",
					"why is usage late", "how old is the oldest unprocessed event", "are messages redelivered", "usage does not show up", "is the worker keeping up",
				},
				Examples: []tree.Example{{Expr: "world.nats.consumer.manifest", Line: "what waits, and how long it has"}},
				See:      w.seeConsumer,
			},
			{
				Aspect: agentese.Witness, Line: "its history: backlog, age of the oldest, redelivered",
				Asks: []string{
					"does the backlog grow", "backlog over time", "when did we fall behind", "lag history", "is the lag going down", "how long did the pipeline stall",
					"did the queue drain", "are we catching up", "when did processing stop", "trend of the backlog",
				},
				Params:   pastParams(),
				Examples: []tree.Example{{Expr: "world.nats.consumer.witness", Line: "whether the backlog grows"}},
				See: w.witness(past{title: "The backlog", kinds: []string{"health"}, only: of("backlog"), figures: []figure{
					{name: "kgents_backlog_messages", title: "backlog"},
					{name: "kgents_backlog_oldest_age_seconds", title: "oldest", unit: "seconds"},
					{name: "kgents_nats_consumer_ack_pending_messages", title: "in hand"},
					{name: "kgents_nats_consumer_redelivered_messages", title: "redelivered"},
				}, next: []tree.Example{{Expr: "world.openmeter.witness", Line: "how the meter was meanwhile"}}}),
			},
		},
	}
}

func (w *world) seeConsumer(ctx context.Context, c *tree.Call) (tree.Value, error) {
	r, err := w.report(ctx, c)
	if err != nil {
		return tree.Value{}, err
	}
	v := tree.Value{Title: "The sink's consumer"}
	b := r.NATS.Backlog
	if b == nil {
		v.State = tree.Unknown
		v.Note("NATS does not answer, so the backlog is unknown.")
		v.Then("world.nats.manifest", "whether there is a connection")
		return v, nil
	}
	v.State = w.limits.verdict("PipelineStalled", b.OldestAge)
	v.Add("backlog", b.Messages, "")
	add(&v, "oldest waiting", seconds(b.OldestAge), "", v.State, "alert PipelineStalled past 5 minutes")
	v.Add("redelivered", int64(b.Redelivered), "")
	sink := tree.Well
	if !b.Sink {
		sink = tree.Warn
	}
	add(&v, "there was a sink", b.Sink, "", sink, "")
	m, err := w.Metrics(ctx)
	unknown(&v, "What a sink has in hand", err)
	v.Add("in hand", m.Count("kgents_nats_consumer_ack_pending_messages"), "")
	v.Add("not sent to a sink yet", m.Count("kgents_nats_consumer_pending_messages"), "")
	add(&v, "99 % metered within", seconds(m.Quantile("kgents_event_metered_seconds", 0.99)), "", "", "since the program's start")
	v.Then("world.nats.consumer.witness", "whether it grows")
	v.Then("world.openmeter.manifest", "whether the meter answers")
	return v, nil
}
