// Package dashboard makes the Grafana dashboard: one JSON document, the same for the
// same code, with the path of an event from left to right and a panel for every alert.
// Every panel has a description, a unit and thresholds.
//
// It asks Prometheus for what the program exports and for ALERTS, and for no
// recording rule: it works beside any set of rules. It depends on nothing at run
// time. What a panel shows while its source is away is said in its description.
package dashboard

import (
	"bytes"
	"encoding/json"
)

// UID is the dashboard's place in Grafana: /d/kgents/kgents.
const UID = "kgents"

// SchemaVersion is that of Grafana 11.0; later versions bring it up to their own.
const SchemaVersion = 39

const (
	repository = "https://github.com/kgents/kgents/blob/main/"
	runbook    = repository + "docs/saas/runbook.md"
)

// Make returns the dashboard as Grafana imports it.
func Make() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(New()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// New returns the dashboard.
func New() Dashboard {
	return Dashboard{
		UID:           UID,
		Title:         "kgents",
		Description:   "Money and usage events from receipt to the meter: what flows, what waits, what is lost, and how full everything is.",
		Tags:          []string{"kgents"},
		SchemaVersion: SchemaVersion,
		Timezone:      "browser",
		GraphTooltip:  sharedCrosshair,
		Refresh:       "30s",
		Time:          TimeRange{From: "now-3h", To: "now"},
		Templating:    Templating{List: variables()},
		Annotations:   Annotations{List: annotations()},
		Links: []Link{
			link("Runbook", runbook), link("Service levels", repository+"docs/saas/slo.md"),
		},
		Panels: arrange(rows()),
	}
}

// rows are the dashboard from top to bottom: first what tells whether anything is
// wrong, then the path, then each stage.
func rows() []row {
	return []row{now(), path(), states(), receipt(), money(), durable(), spooled(), metering(), letters(), identities(), trust(), plans(), levels(), saturation()}
}

// variables choose the source and the part of the world that every panel shows. "All"
// of a label also matches what has no such label, as with one Prometheus beside one
// program; "all" jobs are only ours.
func variables() []Variable {
	label := func(name, title, query, all string) Variable {
		return Variable{
			Name: name, Label: title, Type: "query", Datasource: &prometheus,
			Query:   VariableQuery{Query: query, RefID: "variable-" + name, QryType: 1},
			Refresh: onTimeRange, Sort: alphabetical, Multi: true, IncludeAll: true, AllValue: all,
			Current: &Choice{Text: []string{"All"}, Value: []string{"$__all"}},
		}
	}
	return []Variable{
		{Name: "datasource", Label: "Data source", Type: "datasource", Query: "prometheus", Refresh: onLoad},
		label("namespace", "Namespace", `label_values(kgents_build_info, namespace)`, ".*"),
		label("job", "Job", `label_values(kgents_build_info{namespace=~"$namespace"}, job)`, "kgents.*"),
		label("instance", "Instance", `label_values(kgents_build_info{namespace=~"$namespace",job=~"$job"}, instance)`, ".*"),
	}
}

// annotations show when alerts fired over every panel. An alert on what is absent or
// on all replicas together has no namespace or instance, so neither is asked for.
func annotations() []Annotation {
	fired := func(severity, color string) Annotation {
		return Annotation{
			Name: "Alerts, " + severity, Datasource: prometheus, Enable: true, IconColor: color,
			Expr: firing(`severity="` + severity + `"`), Step: "30s",
			TitleFormat: "{{alertname}}", TextFormat: "{{severity}} {{component}} {{namespace}} {{instance}}", TagKeys: "alertname,severity",
		}
	}
	return []Annotation{
		{
			Name: "Annotations & Alerts", Datasource: Source{Type: "grafana", UID: "-- Grafana --"}, BuiltIn: 1,
			Enable: true, Hide: true, IconColor: "rgba(0, 211, 255, 1)", Type: "dashboard",
		},
		fired("critical", red), fired("warning", orange),
	}
}
