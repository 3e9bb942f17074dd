package world

import (
	"context"
	"fmt"

	"github.com/kgents/kgents/agentese/tree"
)

// see is world.manifest. What /health/saas says it asks for first, since that needs no
// key; the rest of the program's report may be missing.
func (w *world) see(ctx context.Context, c *tree.Call) (tree.Value, error) {
	s, err := w.health(ctx, c)
	if err != nil {
		return tree.Value{}, err
	}
	v := tree.Value{Title: "The system", State: stateOf(s.Status, ""), Table: &tree.Table{Columns: []tree.Column{
		{Name: "part", Link: "world.{}"}, {Name: "state"}, {Name: "status"}, {Name: "detail"},
	}}}
	row := func(part string, state tree.State, status, detail string) {
		if state == "" && status != "disabled" {
			state = tree.Unknown
		}
		v.Table.Rows = append(v.Table.Rows, []any{part, string(state), status, detail})
		if state == tree.Warn || state == tree.Bad {
			v.State = worse(v.State, state) // it isn't well while a part isn't
		}
	}
	row("nats", stateOf(s.NATS.Status, s.NATS.Mode), s.NATS.Status, joined(s.NATS.Detail, prefixed("circuit ", s.NATS.Circuit)))
	row("redis", redisState(s), s.Redis.Status, s.Redis.Detail)
	row("openmeter", stateOf(s.OpenMeter.Status, ""), s.OpenMeter.Status, s.OpenMeter.Detail)
	if b := s.Backlog; b != nil {
		row("nats.consumer", w.limits.verdict("PipelineStalled", b.OldestAge), "backlog", fmt.Sprintf("%d messages, the oldest %.0f s old", b.Messages, b.OldestAge))
	}
	for _, p := range []struct {
		name string
		*part
	}{{"customers", s.Customers}, {"stripe.subscriptions", s.Subscriptions}, {"plans", s.Entitlements}} {
		if p.part != nil {
			row(p.name, stateOf(p.Status, ""), p.Status, p.Detail)
		}
	}
	r, err := w.report(ctx, c)
	if err != nil {
		unknown(&v, "Dead letters, spool, streams, backup", err)
		v.Then(`world.manifest[where=state!=ok]`, "only what isn't well")
		return v, nil
	}
	v.Add("version", r.Version, "").Add("role", r.Role, "").Add("up", tree.Ago(r.Started, r.Now), "")
	if d := r.DeadLetters; d != nil {
		row("deadletter", w.lettersState(r), fmt.Sprintf("%d waiting", d.Waiting), "")
	}
	if p := r.Spool; p != nil {
		row("spool", worse(w.limits.verdict("SpoolInUse", int64(p.Events)), w.limits.verdict("SpoolNearlyFull", float64(p.Bytes)/float64(max(p.Limit, 1)))),
			fmt.Sprintf("%d events wait", p.Events), "")
	}
	for _, one := range r.NATS.Streams {
		if limit := bound(r, one); limit > 0 {
			fill := float64(one.Bytes) / float64(limit)
			row("nats.stream", w.limits.verdict("StreamNearlyFull", fill), fmt.Sprintf("%.1f %% full", fill*100), one.Name)
			break
		}
	}
	if rec := r.Reconciliation; rec != nil && rec.Missing != nil {
		row("openmeter.reconciliation", w.limits.verdict("ReconcileMissingEvents", *rec.Missing), fmt.Sprintf("%d missing", *rec.Missing), "last at "+instant(rec.Last))
	}
	if b := r.Backup; b != nil && !b.Last.IsZero() {
		add(&v, "backup", r.Now.Sub(b.Last), "", w.limits.verdict("BackupMissing", r.Now.Sub(b.Last).Seconds()), "age of the newest")
	} else {
		add(&v, "backup", nil, "", "", "none is known of")
	}
	w.firing(ctx, &v, row)
	v.Then(`world.manifest[where=state!=ok]`, "only what isn't well")
	v.Then("world.alerts.manifest", "which alerts fire")
	v.Then("time.incident.manifest", "what has happened lately")
	return v, nil
}

// firing tells of alerts, where Prometheus is configured.
func (w *world) firing(ctx context.Context, v *tree.Value, row func(string, tree.State, string, string)) {
	if w.PrometheusURL == "" {
		v.Note("Prometheus is not configured (PROMETHEUS_URL): alerts are not looked at.")
		return
	}
	active, err := w.Alerts(ctx)
	if err != nil {
		unknown(v, "Alerts", err)
		return
	}
	state, n, names := tree.Well, 0, ""
	for _, a := range active {
		if a.State != "firing" || a.Severity == "none" {
			continue
		}
		n++
		names = joined(names, a.Name)
		if a.Severity == "critical" {
			state = tree.Bad
		} else {
			state = worse(state, tree.Warn)
		}
	}
	row("alerts", state, fmt.Sprintf("%d firing", n), names)
}

// joined puts a comma between two texts, where both are there.
func joined(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + ", " + b
}

func prefixed(with, text string) string {
	if text == "" {
		return ""
	}
	return with + text
}
