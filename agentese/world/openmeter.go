package world

import (
	"context"
	"time"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/tree"
)

func (w *world) openmeter() *tree.Node {
	return &tree.Node{
		Name: "openmeter",
		Line: "the meter, where usage is counted for invoices and limits",
		Doc: "OpenMeter, or the meter that is built in, counts events by customer and meter; what it has counted is what is billed. Shown are whether it answers, how fast, and what the sink's requests (flushes) came to, " +
			"from GET /api/v1/system, /health/saas and /metrics. Errors of class retry are tried again for as long as it takes, blocked means that the key or the address is wrong, and refused that an event itself is bad and became a dead letter. " +
			"While it is away nothing is lost: events wait in the stream, usage is late, and the alert OpenMeterFlushErrors fires.",
		Synonyms: []string{"meter", "metering", "usage meter", "billing meter", "flush", "flushes", "counting", "usage backend", "open meter", "metered", "batches", "usage counter"},
		Affords: []tree.Affordance{
			{
				Aspect: agentese.Manifest, Line: "does it answer, how fast, errors and retries of flushes, batches", Needs: tree.Default,
				Asks: []string{
					"is openmeter up", "is the meter down", "is usage being counted", "why are flushes failing", "flush errors", "how fast does the meter answer", "are we sending events to openmeter",
					"is the meter throttling us", "are events retried", "is metering working", "usage is not recorded", "is billing data flowing",
				},
				Examples: []tree.Example{{Expr: "world.openmeter.manifest", Line: "whether it answers, and how fast"}},
				See:      w.seeOpenMeter,
			},
			{
				Aspect: agentese.Witness, Line: "its history: up or away, events sent, errors, time of a request",
				Asks: []string{
					"when did openmeter go down", "flush errors over time", "meter latency history", "how many events per second are metered", "was the meter away last night", "when did metering stop",
					"openmeter outage", "how long was usage late", "is the meter getting slower", "throughput of the sink",
				},
				Params:   pastParams(),
				Examples: []tree.Example{{Expr: "world.openmeter.witness[since=6h]", Line: "six hours of it"}},
				See: w.witness(past{title: "The meter", kinds: []string{"health", "reconciliation"}, only: of("openmeter"), figures: []figure{
					{name: "kgents_openmeter_up", title: "up"},
					{name: "kgents_openmeter_events_sent_total", title: "sent", unit: "1/s", rate: true},
					{name: "kgents_openmeter_flush_errors_total", title: "errors", unit: "1/s", rate: true},
					{name: "kgents_openmeter_events_buffered", title: "buffered"},
					{name: "kgents_openmeter_flush_latency_seconds_sum", over: "kgents_openmeter_flush_latency_seconds_count", title: "mean latency", unit: "seconds"},
				}, next: []tree.Example{{Expr: "world.nats.consumer.witness", Line: "what waited meanwhile"}}}),
			},
		},
		Children: []*tree.Node{w.usage(), w.events(), w.reconciliation()},
	}
}

func (w *world) seeOpenMeter(ctx context.Context, c *tree.Call) (tree.Value, error) {
	s, err := w.health(ctx, c)
	if err != nil {
		return tree.Value{}, err
	}
	v := tree.Value{Title: "The meter", State: stateOf(s.OpenMeter.Status, "")}
	add(&v, "status", s.OpenMeter.Status, "", v.State, s.OpenMeter.Detail)
	if r, err := w.report(ctx, c); err != nil {
		unknown(&v, "Where it is", err)
		v.Add("answers", nil, "")
	} else {
		answers := tree.Well
		if !r.Meter.Answers {
			answers = tree.Warn
		}
		add(&v, "answers", r.Meter.Answers, "", answers, "")
		v.Add("host", text(r.Meter.Host), "")
		if r.Limits.OpenMeterPerSecond > 0 {
			v.Add("our own limit", r.Limits.OpenMeterPerSecond, "1/s")
		}
	}
	v.Add("embedded", s.OpenMeter.Embedded, "")
	if t := s.OpenMeter.LastTaken; t != nil {
		v.Add("last took an event", c.Now().Sub(*t), "")
	} else {
		v.Add("last took an event", nil, "")
	}
	m, err := w.Metrics(ctx)
	unknown(&v, "Flushes", err)
	v.Add("events sent", m.Count("kgents_openmeter_events_sent_total"), "").Add("flushes", m.Count("kgents_openmeter_flush_latency_seconds"), "")
	v.Add("half of them within", seconds(m.Quantile("kgents_openmeter_flush_latency_seconds", 0.5)), "")
	v.Add("99 % of them within", seconds(m.Quantile("kgents_openmeter_flush_latency_seconds", 0.99)), "")
	for _, class := range []string{"retry", "blocked", "refused"} {
		v.Add("errors, "+class, m.Count("kgents_openmeter_flush_errors_total", "class", class), "")
	}
	v.Add("buffered", m.Count("kgents_openmeter_events_buffered"), "")
	for _, by := range sorted(m.By("kgents_openmeter_throttled_seconds_total", "by")) {
		v.Add("throttled by the "+by.key, time.Duration(by.value*float64(time.Second)), "")
	}
	rate, err := w.Rates(ctx, c.Now(), "kgents_openmeter_events_sent_total", "kgents_openmeter_flush_errors_total")
	v.Add("sent", rate[0], "1/s")
	add(&v, "errors", rate[1], "1/s", w.limits.verdict("OpenMeterFlushErrors", rate[1]), "alert OpenMeterFlushErrors")
	unknown(&v, "Rates", err)
	v.Note("Counts are of this process since its start; rates are of the last five minutes.")
	v.Then("world.openmeter.witness", "its last hour")
	v.Then("world.openmeter.usage.manifest", "what it has counted")
	v.Then("world.openmeter.reconciliation.manifest", "whether something is missing in it")
	return v, nil
}
