package world_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/agentesetest"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/alerts"
	"github.com/kgents/kgents/alerts/prometheustest"
	"github.com/kgents/kgents/infra/k8s/alertmanagertest"
)

// theirs are rules that this program doesn't know, as they stand beside ours in a cluster.
const theirs = `
- name: theirs
  rules:
  - alert: a.b[c=d]
    expr: vector(1)
    labels: {severity: critical}
    annotations: {summary: "theirs \e[31m"}
  - alert: NoSeverity
    expr: vector(1)
`

// With a real Prometheus and Alertmanager: an alert fires for a real dead letter, is
// silenced by expression, undone, and its past is known.
func TestAlerts(t *testing.T) {
	r := agentesetest.Start(t, agentesetest.Options{Refusing: true})
	am := alertmanagertest.Start(t, "../../infra/k8s/manifests/alertmanager", alertmanagertest.Waits{Group: 1e9, Interval: 1e9, Repeat: 3600e9})
	rules := regexp.MustCompile(`(?m)^    for: .*$`).ReplaceAll(alerts.Source(), []byte("    for: 0s"))
	rules = append(rules, theirs...)
	prom := prometheustest.Start(t, prometheustest.Options{Rules: rules, Alertmanager: am.URL})
	prom.Watch(t, "", map[string]string{r.URL(): "kgents"})
	r.Sources.PrometheusURL, r.Sources.AlertmanagerURL = prom.URL, am.URL
	r.Send("1", "acme", agentesetest.Poison)
	const alert = "world.alerts.DeadLettersGrowing"
	r.Eventually("the alert fires, and Alertmanager has it", func() bool {
		told, err := r.Sources.Told(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		names := ""
		for _, a := range told {
			names += " " + a.Labels["alertname"]
		}
		return strings.Contains(names, "DeadLettersGrowing") && strings.Contains(names, "Watchdog")
	})
	v := r.Must("world.alerts.manifest[severity=warning]")
	if v.State != tree.Warn || !strings.Contains(strings.Join(cells(v, "alert"), " "), "DeadLettersGrowing") || cells(v, "silenced")[0] != "false" {
		t.Errorf("the alerts are %q, state %q, silenced %q", cells(v, "alert"), v.State, cells(v, "silenced"))
	}
	if !strings.Contains(strings.Join(v.Notes, " "), "more of another severity fire") {
		t.Errorf("beside the warnings, what is critical is not told of: %q", v.Notes)
	}
	if v := r.Must("world.manifest[where=part=alerts]"); cells(v, "state")[0] != string(tree.Bad) || v.State != tree.Bad {
		t.Errorf("at a glance the alerts are %v, and the system is %s", v.Table.Rows, v.State)
	}
	// What fires now has a past, however long a time is looked at.
	for _, since := range []string{"", "[since=5m]", "[since=2d]"} {
		v := r.Must(alert + ".witness" + since)
		if len(v.Table.Rows) != 1 || v.Table.Rows[0][3] != "fires still" {
			t.Errorf("of what fires now the past%s is %v", since, v.Table.Rows)
		}
	}
	// Alerts of others' rules fire, too, and are there to be looked at.
	if got := cells(r.Must("world.alerts.manifest"), "alert"); got[0] != "a.b[c=d]" || got[len(got)-1] != "NoSeverity" {
		t.Errorf("the alerts are not in the order of their severity: %q", got)
	}
	const other = `world.alerts."a.b[c=d]"`
	if v := r.Must(other + ".manifest"); v.State != tree.Bad || cells(v, "state")[0] != "firing" {
		t.Errorf("an alert of others is %s: %v", v.State, v.Table.Rows)
	}
	if v := r.Must(other + ".witness"); len(v.Table.Rows) != 1 {
		t.Errorf("its past is %v", v.Table.Rows)
	}
	entries, err := place(t, r, "world.alerts").Live.List(t.Context(), nil)
	if err != nil || !slices.ContainsFunc(entries, func(e tree.Entry) bool { return e.Name == "a.b[c=d]" }) {
		t.Errorf("the names of alerts are %v, %v", entries, err)
	}
	if v := r.Must("world.api.manifest"); v.State == "" {
		t.Error("with Prometheus the API has no state")
	}

	if _, err := r.Run(alert + ".refine[yes=true]"); kind(err) != agentese.KindClause {
		t.Errorf("a silence without a time gives %v", err)
	}
	r.Session.Observer = tree.Developer
	if _, err := r.Run(alert + ".refine[silence=1h][dry_run=true]"); kind(err) != agentese.KindDenied {
		t.Errorf("a developer's silence gives %v", err)
	}
	r.Session.Observer = tree.Architect
	v = r.Must(alert + ".refine[silence=1h][comment=being replayed][yes=true][rollback=20s]") // it holds
	if !v.Changed || field(v, "silence").Value == "" {
		t.Errorf("the silence is %v", v.Fields)
	}
	r.Eventually("it is silenced", func() bool {
		v := r.Must(alert + ".manifest")
		got := cells(v, "silenced")
		return len(got) == 1 && got[0] == "true" && strings.Contains(field(v, "silenced until").Note, "being replayed")
	})
	if err := r.Sources.Unsilence(t.Context(), field(v, "silence").Value.(string)); err != nil {
		t.Fatal(err)
	}
	r.Eventually("it is no longer", func() bool { return cells(r.Must(alert+".manifest"), "silenced")[0] == "false" })
	r.Eventually("its past is known", func() bool {
		v := r.Must(alert + ".witness[since=5m]")
		return len(v.Table.Rows) == 1 && strings.Contains(cells(v, "labels")[0], "component=sink")
	})
	r.Eventually("figures have a past by Prometheus", func() bool {
		v := r.Must("world.deadletter.witness[since=1m][step=10s]")
		return strings.Contains(v.Notes[0], "Prometheus") && strings.Contains(field(v, "waiting").Note, "last 1")
	})
	if v := r.Must("world.nats.witness[since=1m]"); field(v, "connected").Value == nil {
		t.Errorf("connected has no past: %v", v.Fields)
	}
	for _, expr := range []string{"manifest", "witness", "refine[silence=1h][yes]"} {
		if _, err := r.Run("world.alerts.Nothing." + expr); kind(err) != agentese.KindNotFound {
			t.Errorf("%s of an alert that isn't there gives %v", expr, err)
		}
	}
	if v := r.Must(other + ".refine[silence=1h][yes=true]"); !v.Changed {
		t.Errorf("the silence of an alert of others is %v", v.Fields)
	}
	// Another deployment's are not ours.
	r.Sources.Namespace = "theirs"
	if v := r.Must("world.deadletter.witness[since=1m]"); field(v, "waiting").Value != nil {
		t.Errorf("of another namespace the dead letters are %v", field(v, "waiting"))
	}
}

func place(t *testing.T, r *agentesetest.Rig, pattern string) *tree.Node {
	t.Helper()
	p, ok := r.Tree.At(pattern)
	if !ok {
		t.Fatalf("there is no %s", pattern)
	}
	return p.Node
}
