package world

import (
	"context"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/tree"
)

func (w *world) circuit() *tree.Node {
	return &tree.Node{
		Name: "circuit",
		Line: "the circuit breaker in front of NATS: closed is good, open means that nothing is sent there",
		Doc: "When publishing to NATS fails several times in a row, the circuit opens: for 30 seconds nothing is tried, and events go to the local spool, or are refused with 503 where there is none. " +
			"Then one try is let through (half open), and when it succeeds the circuit closes. State and errors are those of this replica, from GET /api/v1/system and /metrics; when it changed is from the program's history. " +
			"Open for five minutes is the critical alert NATSCircuitOpen: look at NATS itself, since the circuit only mirrors it.",
		Synonyms: []string{"circuit breaker", "breaker", "fuse", "open circuit", "half open", "tripped", "publish failures", "protection", "fallback", "cut off", "nats breaker"},
		Operator: true,
		Affords: []tree.Affordance{
			{
				Aspect: agentese.Manifest, Line: "closed, open or half open; since when; publish errors by reason",
				Asks: []string{
					"is the circuit open", "did the breaker trip", "circuit state", "why is the circuit breaker open", "is the fuse blown", "are we failing fast", "since when is the circuit open",
					"how often did the breaker open", "why can't we publish", "publish failures by reason", "are events going to disk instead of nats",
				},
				Examples: []tree.Example{{Expr: "world.nats.circuit.manifest", Line: "whether it is closed, and since when"}},
				See:      w.seeCircuit,
			},
			{
				Aspect: agentese.Witness, Line: "when it opened and closed",
				Asks: []string{
					"when did the circuit open", "circuit history", "how often did the breaker trip today", "when did it close again", "was the circuit open last night", "breaker events",
					"circuit changes", "how long was the circuit open", "did the breaker flap", "list every time it tripped",
				},
				Params: pastParams(),
				Examples: []tree.Example{
					{Expr: "world.nats.circuit.witness[since=6h]", Line: "its changes in six hours"},
				},
				See: w.witness(past{title: "The circuit to NATS", kinds: []string{"circuit"}, events: true, figures: []figure{
					{name: "kgents_nats_circuit_state", title: "state (0 closed, 1 open, 2 half open)"},
					{name: "kgents_nats_publish_errors_total", title: "errors", unit: "1/s", rate: true},
				}, next: []tree.Example{{Expr: "world.spool.witness", Line: "what local disk took meanwhile"}}}),
			},
		},
	}
}

func circuitState(state string) tree.State {
	switch state {
	case "closed":
		return tree.Well
	case "open":
		return tree.Bad // NATSCircuitOpen
	case "half_open", "half-open":
		return tree.Warn
	}
	return ""
}

func (w *world) seeCircuit(ctx context.Context, c *tree.Call) (tree.Value, error) {
	r, err := w.report(ctx, c)
	if err != nil {
		return tree.Value{}, err
	}
	v := tree.Value{Title: "The circuit to NATS", State: circuitState(r.NATS.Circuit)}
	add(&v, "circuit", text(r.NATS.Circuit), "", v.State, "alert NATSCircuitOpen when it is open for 5 minutes")
	if r.NATS.Circuit == "" {
		v.Note("A " + r.Role + " publishes nothing, and has no circuit.")
	}
	changes, kept, err := w.Entries(ctx, c.Now().AddDate(0, -1, 0), "circuit")
	if err != nil {
		v.Add("since", nil, "").Add("opened", nil, "")
		unknown(&v, "Since when", err)
	} else {
		opened, last := int64(0), any(r.Started)
		for i, e := range changes {
			if i == 0 {
				last = e.Time
			}
			if isOpening(e.What) {
				opened++
			}
		}
		v.Add("since", last, "")
		add(&v, "opened", opened, "", "", "times, of all replicas, as long as is kept")
		if kept != "" {
			v.Note(kept)
		}
	}
	m, err := w.Metrics(ctx)
	unknown(&v, "Publish errors", err)
	v.Table = &tree.Table{Columns: []tree.Column{{Name: "reason"}, {Name: "errors"}}}
	for _, reason := range sorted(m.By("kgents_nats_publish_errors_total", "reason")) {
		v.Table.Rows = append(v.Table.Rows, []any{reason.key, int64(reason.value)})
	}
	v.Note("Errors are counted since the program's start.")
	v.Then("world.nats.circuit.witness", "when it opened and closed")
	v.Then("world.nats.manifest", "NATS itself")
	v.Then("world.spool.manifest", "what waits on local disk")
	return v, nil
}
