package world

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/alerts"
)

func (w *world) alerts() *tree.Node {
	return &tree.Node{
		Name: "alerts",
		Line: "which alerts fire now, silenced or not, and when they did",
		Doc: "Alerts are Prometheus's: rules in alerts/rules.yaml that look at metrics for a time before they fire. Shown is what fires or is about to (pending), and of Alertmanager whether somebody is told or it is silenced. " +
			"Critical ones wake somebody, warnings are for the next working day; Watchdog always fires and is left out. Each leads to its section of the runbook: concept.alerts.{alert}.define. " +
			"Without PROMETHEUS_URL nothing evaluates them; then what /health/saas says is shown with the alert that would tell of it.",
		Synonyms: []string{"alarms", "pages", "paging", "firing", "incidents", "notifications", "on call", "pager", "warnings", "prometheus alerts", "silences", "alertmanager", "problems now"},
		Affords: []tree.Affordance{
			{
				Aspect: agentese.Manifest, Line: "which alerts fire now, since when, and whether they are silenced",
				Asks: []string{
					"which alerts are firing", "is anything alerting", "what woke me up", "why was i paged", "are there critical alerts", "show current alarms", "what is wrong right now", "active alerts",
					"is something silenced", "list warnings", "any incidents open", "what is prometheus complaining about",
				},
				Params: []tree.Param{{Key: "severity", Line: "only these", Values: []string{"critical", "warning"}}},
				Examples: []tree.Example{
					{Expr: "world.alerts.manifest", Line: "what fires, or is about to"},
					{Expr: "world.alerts.manifest[severity=critical]", Line: "only what wakes somebody"},
				},
				See: w.seeAlerts,
			},
			{
				Aspect: agentese.Witness, Line: "when each alert fired, and for how long",
				Asks: []string{
					"which alerts fired last night", "alert history", "what fired yesterday", "when did the alert start", "how long did it fire", "how often did we get paged this week", "alerts of the last hours",
					"past incidents", "did anything fire over the weekend", "alert timeline",
				},
				Params:   []tree.Param{{Key: "since", Line: "from when on", Kind: tree.Time, Default: "24h"}},
				Examples: []tree.Example{{Expr: "world.alerts.witness[since=6h]", Line: "what fired in six hours"}},
				See:      w.pastAlerts,
			},
		},
		Live: &tree.Live{List: w.listAlerts, Node: w.alert(), Fold: true},
	}
}

// listAlerts are those of this program's rules, and what else fires.
func (w *world) listAlerts(ctx context.Context, _ *tree.Call) ([]tree.Entry, error) {
	file, err := alerts.Rules()
	if err != nil {
		return nil, err
	}
	var out []tree.Entry
	for _, name := range file.Names() {
		for r := range file.Alerts() {
			if r.Alert == name {
				out = append(out, tree.Entry{Name: name, Line: r.Severity() + ", " + strings.ReplaceAll(r.Anchor(), "-", " ")})
				break
			}
		}
	}
	if w.PrometheusURL == "" {
		return out, nil
	}
	active, _ := w.Alerts(ctx) // the rules' names are there without it, too
	for _, a := range active {
		if !slices.ContainsFunc(out, func(e tree.Entry) bool { return strings.EqualFold(e.Name, a.Name) }) {
			out = append(out, tree.Entry{Name: a.Name, Line: strings.TrimSpace(a.Severity + " " + a.State + ", of other rules")})
		}
	}
	return out, nil
}

// silenced is by which silences each alert's labels are suppressed.
func (w *world) silenced(ctx context.Context, v *tree.Value) map[string][]string {
	out := map[string][]string{}
	told, err := w.Told(ctx)
	if err != nil {
		unknown(v, "Whether alerts are silenced", err)
		return nil
	}
	for _, a := range told {
		key := labelKey(a.Labels)
		out[key] = append(out[key], a.Status.SilencedBy...)
	}
	return out
}

// labelKey is what alerts of one rule differ by, without what Prometheus adds for others.
func labelKey(labels map[string]string) string {
	return labels["alertname"] + "\x00" + labels["severity"] + "\x00" + labels["namespace"] + "\x00" + labels["component"] + "\x00" + labels["job"]
}

func (w *world) seeAlerts(ctx context.Context, c *tree.Call) (tree.Value, error) {
	if w.PrometheusURL == "" {
		return w.insteadOfAlerts(ctx, c)
	}
	active, err := w.Alerts(ctx)
	if err != nil {
		return tree.Value{}, err
	}
	v := tree.Value{Title: "Alerts", State: tree.Well, Table: &tree.Table{Columns: []tree.Column{
		{Name: "alert", Link: "world.alerts.{}"}, {Name: "state"}, {Name: "severity"}, {Name: "since"}, {Name: "silenced"}, {Name: "summary"},
	}}}
	silenced := w.silenced(ctx, &v)
	watchdog, others := false, 0
	var firing, pending int64
	for _, a := range active {
		if a.Severity == "none" {
			watchdog = watchdog || a.Name == "Watchdog" && a.State == "firing"
			continue
		}
		if want := c.Args.Get("severity"); want != "" && want != a.Severity {
			if a.State == "firing" {
				others++
			}
			continue
		}
		if a.State == "firing" {
			firing++
			v.State = worse(v.State, alertState(a))
		} else {
			pending++
		}
		quiet := any(nil)
		if silenced != nil {
			quiet = len(silenced[labelKey(a.Labels)]) > 0
		}
		v.Table.Rows = append(v.Table.Rows, []any{a.Name, a.State, a.Severity, a.Since.UTC(), quiet, a.Summary})
	}
	order := []string{"", "info", "warning", "critical"} // what is none of them is last, too
	slices.SortStableFunc(v.Table.Rows, func(a, b []any) int { return slices.Index(order, b[2].(string)) - slices.Index(order, a[2].(string)) })
	v.Add("firing", firing, "").Add("pending", pending, "")
	if others > 0 {
		v.Note(fmt.Sprintf("%d more of another severity fire: world.alerts.manifest has them all.", others))
	}
	if !watchdog {
		v.State = worse(v.State, tree.Unknown)
		v.Note("Watchdog doesn't fire: Prometheus has not loaded alerts/rules.yaml, or only just, so its silence says nothing.")
	}
	for _, row := range v.Table.Rows[:min(len(v.Table.Rows), 2)] {
		if rules, name, err := rulesOf(row[0].(string)); err == nil && len(rules) > 0 {
			v.Then(agentese.JoinPath("concept", "alerts", name)+".define", "what to do about it")
		}
	}
	v.Then("world.alerts.witness", "what fired in the last day")
	return v, nil
}

func alertState(a living.Alert) tree.State {
	if a.Severity == "critical" {
		return tree.Bad
	}
	return tree.Warn
}

// insteadOfAlerts is what /health/saas says isn't well, with the alerts that would tell.
func (w *world) insteadOfAlerts(ctx context.Context, c *tree.Call) (tree.Value, error) {
	s, err := w.health(ctx, c)
	if err != nil {
		return tree.Value{}, err
	}
	v := tree.Value{Title: "What isn't well, by /health/saas", State: tree.Unknown, Table: &tree.Table{Columns: []tree.Column{
		{Name: "alert", Link: "world.alerts.{}"}, {Name: "state"}, {Name: "severity"}, {Name: "since"}, {Name: "silenced"}, {Name: "summary"},
	}}}
	v.Note("Prometheus is not configured, so no alert is evaluated: set PROMETHEUS_URL to its address.")
	row := func(alert, detail string) {
		severity := any(nil)
		if l := w.limits.Thresholds[alert]; len(l) > 0 {
			severity = l[0].Severity
		}
		if want := c.Args.Get("severity"); want == "" || want == severity {
			v.Table.Rows = append(v.Table.Rows, []any{alert, "would fire", severity, nil, nil, detail})
		}
	}
	switch s.NATS.Status {
	case "circuit_open":
		row("NATSCircuitOpen", s.NATS.Detail)
	case "disconnected":
		row("NATSUnreachable", s.NATS.Detail)
	}
	if s.NATS.Spooled > 0 {
		row("SpoolInUse", fmt.Sprintf("%d events wait on local disk", s.NATS.Spooled))
	}
	if st := s.OpenMeter.Status; st == "degraded" || st == "unhealthy" {
		row("OpenMeterFlushErrors", s.OpenMeter.Detail)
	}
	if s.Redis.Status == "fallback" {
		row("RedisFallback", s.Redis.Detail)
	}
	if b := s.Backlog; b != nil && w.limits.verdict("PipelineStalled", b.OldestAge) == tree.Bad {
		row("PipelineStalled", fmt.Sprintf("the oldest of %d messages is %.0f s old", b.Messages, b.OldestAge))
	}
	if p := s.Subscriptions; p != nil && p.Status == "degraded" {
		row("SubscriptionsNotApplied", p.Detail)
	}
	if r, err := w.report(ctx, c); err == nil {
		if d := r.DeadLetters; d != nil && d.Waiting > 0 {
			if w.limits.verdict("DeadLettersWaiting", r.Now.Sub(d.Oldest).Seconds()) == tree.Warn {
				row("DeadLettersWaiting", fmt.Sprintf("%d wait", d.Waiting))
			}
			if !d.Newest.IsZero() && w.limits.verdict("DeadLettersGrowing", r.Now.Sub(d.Newest).Seconds()) == tree.Warn {
				row("DeadLettersGrowing", fmt.Sprintf("%d wait", d.Waiting))
			}
		}
		if rec := r.Reconciliation; rec != nil && rec.Missing != nil && *rec.Missing > 0 {
			row("ReconcileMissingEvents", fmt.Sprintf("%d events are missing in the meter", *rec.Missing))
		}
	}
	if len(v.Table.Rows) == 0 {
		v.Note("What the program itself can see is well; alerts look at more.")
	}
	v.Then("world.manifest", "every part")
	return v, nil
}

// pastAlerts is when alerts fired.
func (w *world) pastAlerts(ctx context.Context, c *tree.Call) (tree.Value, error) {
	return w.fired(ctx, c, c.Args.Time("since"), "")
}

// fired lists when alerts, or one of them, fired. Without Prometheus it is when
// components of /health/saas weren't well.
func (w *world) fired(ctx context.Context, c *tree.Call, since time.Time, only string) (tree.Value, error) {
	if w.PrometheusURL == "" {
		if only != "" {
			return tree.Value{}, living.Absent("Prometheus", "set PROMETHEUS_URL to its address, or look at world.alerts.witness")
		}
		entries, kept, err := w.Entries(ctx, since, "health", "circuit")
		if err != nil {
			return tree.Value{}, err
		}
		v := tree.Value{Title: "When parts weren't well, since " + instant(since), Table: entryTable(entries)}
		v.Note("Prometheus is not configured, so no alert is evaluated: set PROMETHEUS_URL to its address. This is the program's own history.")
		if kept != "" {
			v.Note(kept)
		}
		return v, nil
	}
	times, exact, err := w.Fired(ctx, since, c.Now(), only)
	if err != nil {
		return tree.Value{}, err
	}
	v := tree.Value{Title: "Alerts since " + instant(since), Table: &tree.Table{Columns: []tree.Column{
		{Name: "from"}, {Name: "alert", Link: "world.alerts.{}"}, {Name: "severity"}, {Name: "until"}, {Name: "for"}, {Name: "labels"},
	}}}
	for _, one := range times {
		until := any(one.Until)
		if one.Still {
			until = "fires still"
		}
		from := any(one.From)
		if one.Before {
			from = "before"
		}
		v.Table.Rows = append(v.Table.Rows, []any{from, one.Alert, one.Severity, until, max(one.Until.Sub(one.From), exact), one.Labels})
	}
	if len(v.Table.Rows) > tree.MaxRows {
		v.Table.Total = len(v.Table.Rows)
		v.Table.Rows = v.Table.Rows[:tree.MaxRows]
	}
	v.Add("times", int64(max(len(v.Table.Rows), v.Table.Total)), "")
	v.Note(fmt.Sprintf("Times are at most %s too late.", length(exact)))
	v.Then("world.alerts.manifest", "what fires now")
	v.Then("time.incident.manifest", "with what else happened")
	return v, nil
}
