package world

import (
	"context"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/tree"
)

func (w *world) nats() *tree.Node {
	return &tree.Node{
		Name: "nats",
		Line: "NATS JetStream, where every event is made durable before it is acknowledged",
		Doc: "The servers that keep events until the meter has them. A request is answered with 2xx only once its event is on the disks of a majority of them. " +
			"Shown are the connection, the circuit breaker in front of it, the servers that are known and what their streams take of the disk; from GET /api/v1/system and /health/saas. " +
			"It is degraded while events go to the local spool instead, and an error when nothing durable can take them (alerts NATSUnreachable, NATSCircuitOpen, EventsNotDurable). " +
			"Then look at world.nats.circuit and at the servers themselves; the runbook's sections nats-circuit-open and nats-unreachable say how.",
		Synonyms: []string{"jetstream", "message broker", "queue", "message queue", "broker", "event bus", "streaming", "event store", "pipeline", "kafka", "messaging", "durable storage"},
		Operator: true,
		Affords: []tree.Affordance{
			{
				Aspect: agentese.Manifest, Line: "servers, connection, circuit, streams and the storage they use",
				Asks: []string{
					"is nats up", "is the message queue down", "are we connected to the broker", "how much disk do the streams use", "can events be stored right now", "nats status",
					"is jetstream healthy", "why are requests answered 503", "which nats server are we on", "how full is the queue storage", "did we lose the connection to nats", "are events durable",
				},
				Examples: []tree.Example{{Expr: "world.nats.manifest", Line: "connection, servers and streams"}},
				See:      w.seeNATS,
			},
			{
				Aspect: agentese.Witness, Line: "its history: connection, what was published, what failed, and when that changed",
				Asks: []string{
					"when did nats go down", "nats history", "how long was the broker away", "was there a nats outage last night", "publish errors over time", "how many events per second did we store",
					"has nats been flapping", "when did we lose the connection", "throughput of the queue", "when did the queue come back", "show publish rate",
				},
				Params: pastParams(),
				Examples: []tree.Example{
					{Expr: "world.nats.witness", Line: "the last hour"},
					{Expr: "world.nats.witness[since=6h]", Line: "the last six hours"},
				},
				See: w.witness(past{
					title: "NATS", kinds: []string{"circuit", "health"}, only: of("nats"),
					figures: []figure{
						{name: "kgents_nats_connected", title: "connected"},
						{name: "kgents_nats_events_published_total", title: "published", unit: "1/s", rate: true},
						{name: "kgents_nats_publish_errors_total", title: "errors", unit: "1/s", rate: true},
						{name: "kgents_nats_circuit_state", title: "circuit"},
					},
					next: []tree.Example{{Expr: "world.nats.circuit.witness", Line: "the circuit's changes"}},
				}),
			},
		},
		Children: []*tree.Node{w.stream(), w.consumer(), w.circuit()},
	}
}

func (w *world) seeNATS(ctx context.Context, c *tree.Call) (tree.Value, error) {
	r, err := w.report(ctx, c)
	if err != nil {
		return tree.Value{}, err
	}
	s, err := w.health(ctx, c)
	if err != nil {
		return tree.Value{}, err
	}
	v := tree.Value{Title: "NATS JetStream", State: stateOf(s.NATS.Status, s.NATS.Mode)}
	connected := tree.Well
	if !r.NATS.Connected {
		connected = tree.Bad
	}
	add(&v, "status", s.NATS.Status, "", v.State, s.NATS.Detail)
	add(&v, "connected", r.NATS.Connected, "", connected, "")
	v.Add("embedded", r.NATS.Embedded, "").Add("mode", text(s.NATS.Mode), "")
	add(&v, "circuit", text(r.NATS.Circuit), "", circuitState(r.NATS.Circuit), "")
	for _, server := range r.NATS.Servers {
		v.Add("server", joined(server.Name, server.Version), "")
		if server.Known {
			fill := percent(server.StoreUsed, server.StoreLimit)
			v.Add("store used", server.StoreUsed, "bytes").Add("store limit", server.StoreLimit, "bytes").Add("store filled", fill, "percent")
			v.Add("connections", int64(server.Connections), "")
		}
	}
	if r.NATS.StoreLimit > 0 {
		v.Add("limit of all streams", r.NATS.StoreLimit, "bytes")
	}
	v.Table = &tree.Table{Columns: []tree.Column{
		{Name: "stream"}, {Name: "state"}, {Name: "messages"}, {Name: "size", Unit: "bytes"}, {Name: "full", Unit: "percent"}, {Name: "copies"}, {Name: "current"}, {Name: "leader"},
	}}
	for _, one := range r.NATS.Streams {
		fill := percent(int64(one.Bytes), bound(r, one))
		v.Table.Rows = append(v.Table.Rows, []any{
			one.Name, string(w.streamState(r, one)), int64(one.Messages), int64(one.Bytes), fill, int64(one.Replicas), int64(one.Current), one.Leader,
		})
	}
	if !r.NATS.Connected {
		v.Note("Streams and backlog are unknown while there is no connection.")
	}
	v.Then("world.nats.stream.manifest", "the stream of events")
	v.Then("world.nats.consumer.manifest", "what waits for the meter")
	v.Then("world.nats.circuit.manifest", "the circuit breaker")
	v.Then("world.nats.witness", "its last hour")
	return v, nil
}
