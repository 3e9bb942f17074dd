package when

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
)

// The kinds of a line in the timeline that aren't those of the program's history.
const (
	kindDeploy     = "deploy" // start and stop
	kindAlert      = "alert"
	kindDeadLetter = "deadletter"
)

func (w *view) incident() *tree.Node {
	return &tree.Node{
		Name: "incident",
		Line: "one timeline of what went wrong and what was changed: alerts, deploys, restarts, circuit, operators",
		Doc: "All that has happened since a time, in one list, newest last: replicas that started and stopped (deploys and restarts), parts whose health changed, the circuit that opened and closed, what operators changed by the API and who, " +
			"what reconciliation found, dead letters that appeared, and, where Prometheus is configured, alerts that fired and resolved. Above it stand the first sign of trouble, the worst, and what is still going on; " +
			"State is ok when nothing of it is bad any more. Look for what stands right before the first sign: a deploy, a change, a dependency that went away.",
		Synonyms: []string{
			"outage", "postmortem", "post-mortem", "timeline", "what happened", "downtime", "root cause", "sequence of events", "audit trail", "deploys", "restarts", "changes", "disruption", "failure story", "who did what", "breakage",
		},
		Operator: true,
		Affords: []tree.Affordance{{
			Aspect: agentese.Manifest, Line: "what happened, newest last, with the first sign, the worst, and what goes on still",
			Asks: []string{
				"what happened", "what went wrong", "show me the timeline", "who changed what", "was there an outage", "when did the trouble begin", "did anybody deploy", "did anything restart",
				"what changed before it broke", "is the incident over", "write up for the postmortem", "root cause of the failure", "which changes were made today", "what did the operators do",
				"list of alerts and deploys together", "how did it start",
			},
			Params: []tree.Param{
				{Key: "since", Line: "from when on", Kind: tree.Time, Default: "6h"},
				{Key: "kind", Line: "only lines of this kind; deploy is start and stop", Values: []string{kindDeploy, "start", "stop", "circuit", "health", "change", "reconciliation", "backup", kindAlert, kindDeadLetter}},
			},
			Examples: []tree.Example{
				{Expr: "time.incident.manifest", Line: "the last six hours"},
				{Expr: "time.incident.manifest[since=24h][kind=change]", Line: "what operators changed in a day"},
			},
			See: w.seeIncident,
		}},
	}
}

// line is one of the timeline.
type line struct {
	at                      time.Time
	kind, what, who, detail string
	bad                     tree.State // how bad a sign it is; nothing for what is none
}

func (w *view) seeIncident(ctx context.Context, c *tree.Call) (tree.Value, error) {
	from := since(c, 6*time.Hour)
	v := tree.Value{Title: "What has happened since " + stamp(from)}
	entries, note, err := w.Entries(ctx, from)
	if err != nil && w.PrometheusURL == "" {
		return v, err
	}
	living.Missing(&v, "What the program has noted", err)
	if note != "" {
		v.Note(note)
	}
	var lines []line
	for _, e := range entries {
		lines = append(lines, line{e.Time, e.Kind, e.What, doer(e.Who, e.Replica), e.Detail, sign(e)})
	}
	var still []string
	var worst tree.State
	if w.PrometheusURL == "" {
		v.Note("Prometheus is not configured (PROMETHEUS_URL): alerts are not in it.")
	} else {
		fired, exact, err := w.Fired(ctx, from, c.Now(), "")
		living.Missing(&v, "Alerts", err)
		if err == nil {
			v.Note(fmt.Sprintf("Times of alerts are at most %s too late.", span(exact)))
		}
		for _, f := range fired {
			state := tree.Warn
			if f.Severity == "critical" {
				state = tree.Bad
			}
			what := f.Alert + " fires"
			if f.Before {
				what = f.Alert + " fires already"
			}
			lines = append(lines, line{f.From, kindAlert, what, "Prometheus", strings.TrimSpace(f.Severity + " " + f.Labels), state})
			if f.Still {
				still, worst = append(still, f.Alert), living.Worse(worst, state)
				continue
			}
			lines = append(lines, line{at: f.Until, kind: kindAlert, what: f.Alert + " is resolved", who: "Prometheus", detail: lasted(f, exact)})
		}
	}
	letters, waiting := w.lettersSince(ctx, c, &v, from)
	lines = append(lines, letters...)
	if waiting > 0 {
		still, worst = append(still, "dead letters wait: "+tree.Human(int64(waiting), "", time.Time{})), living.Worse(worst, tree.Warn)
	}
	parts, state, err := w.unwell(ctx, c)
	living.Missing(&v, "What isn't well now", err)
	still, worst = append(still, parts...), living.Worse(worst, state)
	slices.SortStableFunc(lines, func(a, b line) int { return a.at.Compare(b.at) })
	w.sum(&v, lines, still, living.Worse(tree.Well, worst))
	kind := c.Args.Get("kind")
	v.Table = &tree.Table{Columns: []tree.Column{{Name: "time"}, {Name: "kind"}, {Name: "what"}, {Name: "who"}, {Name: "detail"}}}
	for _, l := range lines {
		if kind == "" || kind == l.kind || kind == kindDeploy && (l.kind == "start" || l.kind == "stop") {
			v.Table.Rows = append(v.Table.Rows, []any{l.at.UTC(), l.kind, l.what, text(l.who), text(l.detail)})
		}
	}
	v.Then("world.manifest", "how every part is now")
	v.Then("time.past.manifest[at=1h]", "the figures of an hour ago beside those of now")
	v.Then("world.alerts.manifest", "which alerts fire")
	return v, nil
}

// lasted says how long an alert that is resolved fired.
func lasted(f living.Fired, exact time.Duration) string {
	if f.Before {
		return "it fired since before " + stamp(f.From)
	}
	return "it fired for " + span(max(f.Until.Sub(f.From), exact))
}

// sum is what stands above the timeline.
func (w *view) sum(v *tree.Value, lines []line, still []string, state tree.State) {
	v.State = state
	first, worst := line{}, line{}
	signs := int64(0)
	for _, l := range lines {
		if l.bad == "" {
			continue
		}
		if signs++; first.what == "" {
			first = l
		}
		if living.Worse(worst.bad, l.bad) != worst.bad {
			worst = l
		}
	}
	if signs == 0 {
		v.Add("first sign", "none", "").Add("worst", "none", "")
	} else {
		v.Fields = append(v.Fields,
			tree.Field{Name: "first sign", Value: first.at.UTC(), State: first.bad, Note: first.what},
			tree.Field{Name: "worst", Value: worst.what, State: worst.bad, Note: "at " + stamp(worst.at)})
	}
	v.Add("signs of trouble", signs, "")
	going := tree.Field{Name: "still going on", Value: "nothing", State: state}
	if len(still) > 0 {
		going.Value = strings.Join(still, "; ")
	}
	v.Fields = append(v.Fields, going)
}

// sign says how bad a sign something is that the program has noted.
func sign(e living.Entry) tree.State {
	switch e.Kind {
	case "circuit":
		if strings.HasSuffix(e.What, " is open") {
			return tree.Bad
		}
	case "health": // nats is circuit_open, was ok
		_, rest, _ := strings.Cut(e.What, " is ")
		now, _, _ := strings.Cut(rest, ",")
		return status(now)
	case "reconciliation": // only differences are noted
		return tree.Bad
	}
	return ""
}

// status is how bad a component of /health/saas with this status is; nothing if it isn't.
func status(s string) tree.State {
	switch s {
	case "error", "disconnected", "circuit_open":
		return tree.Bad
	case "degraded", "unhealthy", "fallback", "unconfigured":
		return tree.Warn
	}
	return ""
}

// unwell is what /health/saas complains of now.
func (w *view) unwell(ctx context.Context, c *tree.Call) (parts []string, state tree.State, err error) {
	var all map[string]any
	if err := w.For(c).Get(ctx, "/health/saas", nil, &all); err != nil {
		return nil, "", living.Away("the program", err)
	}
	for name, part := range all {
		p, ok := part.(map[string]any)
		if !ok {
			continue
		}
		s, _ := p["status"].(string)
		if bad := status(s); bad != "" {
			if p["mode"] == "fallback" {
				bad = tree.Warn // events are safe on local disk
			}
			parts, state = append(parts, name+" is "+s), living.Worse(state, bad)
		}
	}
	slices.Sort(parts)
	return parts, state, nil
}

// lettersSince is when dead letters appeared or went, and how many wait now.
func (w *view) lettersSince(ctx context.Context, c *tree.Call, v *tree.Value, from time.Time) (lines []line, waiting uint64) {
	had, err := w.Series(ctx, from, c.Now(), 0, living.Ask{Name: "kgents_deadletters_waiting"})
	living.Missing(v, "When dead letters appeared", err)
	if err == nil {
		lines = letterSteps(had.Series[0].Points, had.Step)
		if had.Since.Sub(from) > time.Minute {
			v.Note("How the number of dead letters changed is known since " + stamp(had.Since) + ".")
		}
	}
	r, err := w.report(ctx, c)
	living.Missing(v, "Dead letters that wait", err)
	d := r.DeadLetters
	if d == nil {
		return lines, 0
	}
	seen := slices.ContainsFunc(lines, func(l line) bool { return l.bad != "" && !l.at.Before(d.Newest) })
	if d.Newest.After(from) && !seen {
		lines = append(lines, line{d.Newest, kindDeadLetter, "the newest dead letter", "the meter", fmt.Sprintf("waiting: %d", d.Waiting), tree.Warn})
	}
	return lines, d.Waiting
}

// letterSteps are the times at which the number of dead letters changed.
func letterSteps(points []living.Point, step time.Duration) []line {
	var out []line
	for i := 1; i < len(points); i++ {
		was, is := points[i-1].Value, points[i].Value
		switch {
		case is > was:
			out = append(out, line{points[i].Time, kindDeadLetter, fmt.Sprintf("new dead letters: %.0f", is-was), "the meter", fmt.Sprintf("waiting: %.0f; within the %s before", is, span(step)), tree.Warn})
		case is < was:
			out = append(out, line{at: points[i].Time, kind: kindDeadLetter, what: fmt.Sprintf("dead letters replayed or dropped: %.0f", was-is), detail: fmt.Sprintf("waiting: %.0f", is)})
		}
	}
	return out
}

// doer is who did something: the key, or else the replica.
func doer(who, replica string) string {
	if who != "" {
		return who
	}
	return replica
}
