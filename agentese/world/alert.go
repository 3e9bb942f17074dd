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

// longestSilence bounds a silence: what needs longer is no longer an alert.
const longestSilence = 7 * 24 * time.Hour

func (w *world) alert() *tree.Node {
	return &tree.Node{
		Name: "alert",
		Line: "one alert: does it fire, since when, is it silenced; silence it",
		Doc: "One alert of alerts/rules.yaml: its severity and condition, whether it is pending or fires now with which labels (Prometheus), and whether Alertmanager tells somebody or it is silenced. " +
			"It is good when nothing is listed. What it means and what to do is concept.alerts.{alert}.define, its section of the runbook. " +
			"Silence it only when somebody is at it: a silence hides it from everybody until it ends, in at most seven days.",
		Synonyms: []string{"one alert", "this alarm", "single alert", "this page", "silence", "mute", "snooze", "acknowledge", "alert details"},
		Affords: []tree.Affordance{
			{
				Aspect: agentese.Manifest, Line: "its rule, whether it fires, and its silences",
				Asks: []string{
					"does this alert fire", "why does this alert fire", "since when is it firing", "is it silenced", "show alert details", "what is the threshold of this alert", "who silenced this alert",
					"is the alert still active", "when does the silence end", "which labels does it have",
				},
				Examples: []tree.Example{{Expr: "world.alerts.NATSCircuitOpen.manifest", Line: "whether the circuit's alert fires"}},
				See:      w.seeAlert,
			},
			{
				Aspect: agentese.Witness, Line: "when it fired, and for how long",
				Asks: []string{
					"when did this alert fire", "how often did it fire", "history of this alert", "did it fire last night", "how long did it fire", "is this alert flapping", "first time this fired", "past firings",
				},
				Params:   []tree.Param{{Key: "since", Line: "from when on", Kind: tree.Time, Default: "24h"}},
				Examples: []tree.Example{{Expr: "world.alerts.DeadLettersGrowing.witness[since=2d]", Line: "when it fired in two days"}},
				See:      w.seeAlertsPast,
			},
			{
				Aspect: agentese.Refine, Line: "silence it for a time, with a comment", Needs: tree.Architect,
				Asks: []string{
					"silence this alert", "mute the alert", "snooze it for two hours", "stop paging me", "shut up this alarm", "acknowledge the alert", "turn off the pager for this", "quiet during maintenance",
					"i am working on it, stop alerting",
				},
				Params: []tree.Param{
					{Key: "silence", Line: "for how long", Kind: tree.Duration, Longest: longestSilence, Required: true, Default: "2h"},
					{Key: "comment", Line: "why, for those who look at silences", Kind: tree.Text, Default: "silenced from the kgents shell"},
				},
				Examples: []tree.Example{{Expr: `world.alerts.DeadLettersWaiting.refine[silence=2h][comment=being replayed]`, Line: "silence it for two hours"}},
				Change:   w.silence,
			},
		},
	}
}

// rulesOf are this program's rules that raise an alert, and its name as they write it.
// Without one it may be an alert of somebody else's rules.
func rulesOf(name string) ([]alerts.Rule, string, error) {
	file, err := alerts.Rules()
	if err != nil {
		return nil, name, err
	}
	var out []alerts.Rule
	for r := range file.Alerts() {
		if strings.EqualFold(r.Alert, name) {
			out = append(out, r)
			name = r.Alert
		}
	}
	return out, name, nil
}

func noAlert(name string) error {
	return &agentese.Error{
		Kind: agentese.KindNotFound, What: "there is no alert " + agentese.QuoteName(name),
		Why: "alerts/rules.yaml has none of that name, and none fires", Try: []string{"concept.alerts.manifest"},
	}
}

// active are the alerts of a name that fire or are about to, and the name as Prometheus
// writes it.
func (w *world) active(ctx context.Context, name string) (out []living.Alert, as string, err error) {
	all, err := w.Alerts(ctx)
	if err != nil {
		return nil, name, err
	}
	for _, a := range all {
		if strings.EqualFold(a.Name, name) {
			out, name = append(out, a), a.Name
		}
	}
	return out, name, nil
}

// seeAlertsPast is when one alert fired.
func (w *world) seeAlertsPast(ctx context.Context, c *tree.Call) (tree.Value, error) {
	rules, name, err := rulesOf(c.Name("alert"))
	if err != nil {
		return tree.Value{}, err
	}
	v, err := w.fired(ctx, c, c.Args.Time("since"), name)
	if err == nil && len(rules) == 0 && len(v.Table.Rows) == 0 {
		return tree.Value{}, noAlert(name)
	}
	return v, err
}

func (w *world) seeAlert(ctx context.Context, c *tree.Call) (tree.Value, error) {
	rules, name, err := rulesOf(c.Name("alert"))
	if err != nil {
		return tree.Value{}, err
	}
	active, name, err := w.active(ctx, name)
	if len(rules) == 0 && len(active) == 0 {
		return tree.Value{}, noAlert(name)
	}
	v := tree.Value{Title: "Alert " + name, State: tree.Unknown}
	for _, r := range rules {
		v.Add("severity", r.Severity(), "").Add("when", strings.Join(strings.Fields(r.Expr), " "), "").Add("for", r.For, "")
	}
	v.Table = &tree.Table{Columns: []tree.Column{{Name: "state"}, {Name: "severity"}, {Name: "since"}, {Name: "silenced"}, {Name: "summary"}, {Name: "labels"}}}
	if err == nil {
		v.State = tree.Well
		silenced := w.silenced(ctx, &v)
		for _, a := range active {
			quiet := any(nil)
			if silenced != nil {
				quiet = len(silenced[labelKey(a.Labels)]) > 0
			}
			if a.State == "firing" && a.Severity != "none" {
				v.State = worse(v.State, alertState(a))
			}
			v.Table.Rows = append(v.Table.Rows, []any{a.State, a.Severity, a.Since.UTC(), quiet, a.Summary, labelText(a.Labels)})
		}
		if len(v.Table.Rows) == 0 {
			v.Note("It doesn't fire, and isn't about to.")
		}
	} else {
		unknown(&v, "Whether it fires", err)
	}
	if w.AlertmanagerURL != "" {
		silences, err := w.Silences(ctx, name)
		unknown(&v, "Silences", err)
		for _, s := range silences {
			add(&v, "silenced until", s.EndsAt.UTC(), "", "", "by "+s.CreatedBy+": "+s.Comment)
		}
	} else {
		v.Note("Alertmanager is not configured (ALERTMANAGER_URL), so silences are unknown.")
	}
	path := agentese.JoinPath("alerts", name)
	if len(rules) > 0 {
		v.Then("concept."+path+".define", "what it means and what to do")
	} else {
		v.Note("It is of rules that this program doesn't know: what it means is with whoever wrote them.")
	}
	v.Then("world."+path+".witness", "when it fired")
	return v, nil
}

func labelText(labels map[string]string) string {
	var out []string
	for _, k := range []string{"namespace", "job", "component", "name", "window", "signal"} {
		if labels[k] != "" {
			out = append(out, k+"="+labels[k])
		}
	}
	return strings.Join(out, " ")
}

func (w *world) silence(ctx context.Context, c *tree.Call) (*tree.Change, error) {
	rules, name, err := rulesOf(c.Name("alert"))
	if err != nil {
		return nil, err
	}
	if w.AlertmanagerURL == "" {
		return nil, living.Absent("Alertmanager", "set ALERTMANAGER_URL to its address")
	}
	told, err := w.Told(ctx)
	if err != nil {
		return nil, err
	}
	had, err := w.Silences(ctx, name)
	if err != nil {
		return nil, err
	}
	active, critical := 0, false
	for _, a := range told {
		if a.Labels["alertname"] == name {
			active++
			critical = critical || a.Labels["severity"] == "critical"
		}
	}
	if len(rules) == 0 && active == 0 {
		// Prometheus may not have told of it yet.
		now, _, err := w.active(ctx, name)
		if err != nil || len(now) == 0 {
			return nil, noAlert(name)
		}
		active = len(now)
		critical = slices.ContainsFunc(now, func(a living.Alert) bool { return a.Severity == "critical" })
	}
	lasts := c.Args.Duration("silence")
	until := c.Now().Add(lasts)
	plan := &tree.Change{
		Affects: max(active, 1),
		Does:    []string{fmt.Sprintf("silence %s until %s: nobody is told of it (%d of it fire now)", name, until.UTC().Format(time.RFC3339), active)},
	}
	if critical || slices.ContainsFunc(rules, func(r alerts.Rule) bool { return r.Severity() == "critical" }) {
		plan.Warnings = append(plan.Warnings, "it is critical: nobody is woken while it is silenced")
	}
	if name == "Watchdog" {
		plan.Warnings = append(plan.Warnings, "Watchdog is how one knows that alerts work at all")
	}
	if active == 0 {
		plan.Warnings = append(plan.Warnings, "it doesn't fire now")
	}
	for _, s := range had {
		plan.Warnings = append(plan.Warnings, "it is silenced already until "+s.EndsAt.UTC().Format(time.RFC3339)+" by "+s.CreatedBy)
	}
	var id string
	plan.Do = func(ctx context.Context) (tree.Value, error) {
		var err error
		now := c.Now()
		id, err = w.Silence(ctx, name, now, now.Add(lasts), "kgents shell, "+c.Observer.String(), c.Args.Get("comment"))
		v := tree.Value{Title: "Silenced " + name}
		v.Add("until", now.Add(lasts).UTC(), "").Add("silence", id, "")
		v.Then(agentese.JoinPath("world", "alerts", name)+".manifest", "whether it fires")
		return v, err
	}
	plan.Holds = func(ctx context.Context) error {
		now, err := w.Silences(ctx, name)
		if err != nil {
			return err
		}
		for _, s := range now {
			if s.ID == id {
				return nil
			}
		}
		return fmt.Errorf("the silence %s is not listed by Alertmanager", id)
	}
	plan.Undo = func(ctx context.Context) error {
		if id == "" {
			return nil // it was never made
		}
		return w.Unsilence(ctx, id)
	}
	return plan, nil
}
