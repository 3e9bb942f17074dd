package world

import (
	"context"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/system"
)

func (w *world) stream() *tree.Node {
	return &tree.Node{
		Name: "stream",
		Line: "the stream of events: what is kept, how much of it, and how full it is",
		Doc: "JetStream's stream that every event passes and in which it stays for 30 days, so that usage can be counted again. " +
			"Size and limit are of one copy, from GET /api/v1/system; the limit is NATS_STREAM_MAX_BYTES, or else what the account or the embedded server's disk allows all streams together. " +
			"A full stream takes nothing: past 80 % the alert StreamNearlyFull warns, past 95 % it is critical. A copy that is missing is NATSReplicaMissing, no leader is NATSQuorumLost. " +
			"When it fills, give it more disk or a lower age before anything else; time.future.manifest says when it will be full.",
		Synonyms: []string{"event stream", "event log", "messages", "retention", "storage", "how full", "capacity", "replicas", "sequence", "log", "queue size", "disk of nats"},
		Operator: true,
		Affords: []tree.Affordance{
			{
				Aspect: agentese.Manifest, Line: "messages, size, limit, how full, first and last sequence, copies",
				Asks: []string{
					"how full is the stream", "is the queue running out of space", "how many events are stored", "stream size", "do we have all replicas", "is there a leader",
					"how much room is left for events", "oldest event we keep", "when does the stream overflow", "are copies missing", "how many messages are in jetstream", "what is the retention",
				},
				Examples: []tree.Example{{Expr: "world.nats.stream.manifest", Line: "how much is kept, and how full it is"}},
				See:      w.seeStream,
			},
			{
				Aspect: agentese.Witness, Line: "its history: messages, size and what came in",
				Asks: []string{
					"how fast does the stream grow", "stream growth", "when did the stream fill up", "events stored over time", "size of the queue last night", "did traffic spike",
					"ingest rate history", "messages over the last hours", "how quickly is disk eaten by events", "trend of stored events",
				},
				Params:   pastParams(),
				Examples: []tree.Example{{Expr: "world.nats.stream.witness[since=6h]", Line: "how it has grown in six hours"}},
				See: w.witness(past{title: "The stream of events", figures: []figure{
					{name: `kgents_nats_stream_messages{stream="events"}`, title: "messages"},
					{name: `kgents_nats_stream_bytes{stream="events"}`, title: "size", unit: "bytes"},
					{name: `kgents_nats_stream_limit_bytes{stream="events"}`, title: "limit", unit: "bytes"},
					{name: "kgents_nats_events_published_total", title: "published", unit: "1/s", rate: true},
				}, next: []tree.Example{{Expr: "time.future.manifest[of=stream]", Line: "when it will be full"}}}),
			},
		},
	}
}

// bound is the size at which a stream is full: its own, else that of all together; 0
// where nobody has set one.
func bound(r system.Report, one stream.Info) int64 {
	if one.MaxBytes > 0 {
		return one.MaxBytes
	}
	return r.NATS.StoreLimit
}

func (w *world) streamState(r system.Report, one stream.Info) tree.State {
	state := tree.Well
	if !one.Leader {
		return tree.Bad // NATSQuorumLost
	}
	if one.Current < one.Replicas {
		state = tree.Warn // NATSReplicaMissing
	}
	if limit := bound(r, one); limit > 0 {
		state = worse(state, w.limits.verdict("StreamNearlyFull", float64(one.Bytes)/float64(limit)))
	}
	return state
}

func (w *world) seeStream(ctx context.Context, c *tree.Call) (tree.Value, error) {
	r, err := w.report(ctx, c)
	if err != nil {
		return tree.Value{}, err
	}
	v := tree.Value{Title: "The stream of events"}
	if len(r.NATS.Streams) == 0 {
		v.State = tree.Unknown
		v.Note("NATS does not answer, so nothing is known of the stream.")
		v.Then("world.nats.manifest", "whether there is a connection")
		return v, nil
	}
	one := r.NATS.Streams[0] // of events; the second is that of dead letters
	v.State = w.streamState(r, one)
	v.Add("stream", one.Name, "").Add("messages", int64(one.Messages), "").Add("size", int64(one.Bytes), "bytes")
	if limit := bound(r, one); limit > 0 {
		fill := float64(one.Bytes) / float64(limit)
		v.Add("limit", limit, "bytes")
		add(&v, "full", fill*100, "percent", w.limits.verdict("StreamNearlyFull", fill), "alert StreamNearlyFull")
	} else {
		add(&v, "limit", nil, "bytes", "", "none is set: only the servers' disks are one")
	}
	if r.NATS.BytesPerEvent > 0 {
		v.Add("size of an event", r.NATS.BytesPerEvent, "bytes")
	} else {
		v.Add("size of an event", nil, "bytes")
	}
	v.Add("first sequence", int64(one.First), "").Add("last sequence", int64(one.Last), "").Add("oldest", moment(one.Oldest), "")
	copies := tree.Well
	if one.Current < one.Replicas {
		copies = tree.Warn
	}
	v.Add("copies", int64(one.Replicas), "")
	add(&v, "copies that have all", int64(one.Current), "", copies, "alert NATSReplicaMissing")
	leader := tree.Well
	if !one.Leader {
		leader = tree.Bad
	}
	add(&v, "leader", one.Leader, "", leader, "alert NATSQuorumLost")
	v.Add("kept for", one.MaxAge, "").Add("storage", one.Storage, "").Add("when full", "discards "+one.Discard, "")
	rate, err := w.Rates(ctx, c.Now(), "kgents_nats_events_published_total")
	v.Add("published", rate[0], "1/s")
	unknown(&v, "The rate", err)
	v.Then("world.nats.stream.witness", "how it grows")
	v.Then("world.nats.consumer.manifest", "how much of it the meter doesn't have yet")
	return v, nil
}
