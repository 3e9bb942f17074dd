package checks

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"

	"github.com/kgents/kgents/alerts/dashboard"
	"github.com/kgents/kgents/checklist"
)

// sidecar is the label by which Grafana's sidecar finds dashboards.
const sidecar = "grafana_dashboard"

// dashboard asks Grafana for our dashboard; without Grafana's address it looks for the
// ConfigMap that Grafana's sidecar loads.
func (m *manifestArea) dashboard(ctx context.Context) checklist.Finding {
	if m.Grafana != "" {
		return m.askGrafana(ctx)
	}
	o := m.Objects(ctx)
	if o == nil {
		return checklist.CannotTell("Grafana's address is not known", "set GRAFANA_URL, or --grafana")
	}
	if f := unread(o.ConfigMaps.Err); f != nil {
		return *f
	}
	const apply = "kubectl apply -k infra/k8s/manifests/grafana"
	var wrong faults
	for _, c := range o.ConfigMaps.Items {
		for _, name := range sortedKeys(c.Data) {
			if !strings.HasSuffix(name, ".json") || uidOf([]byte(c.Data[name])) != dashboard.UID {
				continue
			}
			switch {
			case c.Labels[sidecar] == "":
				wrong.add("ConfigMap "+c.Name, "lacks the label "+sidecar+", by which it is found")
			case !isDashboard([]byte(c.Data[name])):
				return checklist.Warned("ConfigMap "+c.Name+" has the dashboard of another version", apply+" of this version")
			default:
				return checklist.Passed("ConfigMap %s has this version's dashboard, for Grafana's sidecar (set GRAFANA_URL to ask Grafana itself)", c.Name)
			}
		}
	}
	if wrong.any() {
		return checklist.Failed(wrong.String(), apply)
	}
	return checklist.CannotTell("no ConfigMap in namespace "+o.Name+" has the dashboard, and Grafana's address is not known", apply+", or set GRAFANA_URL")
}

func (m *manifestArea) askGrafana(ctx context.Context) checklist.Finding {
	const mend = "kubectl apply -k infra/k8s/manifests/grafana where Grafana's sidecar looks, or import its kgents.json"
	a, err := m.send(ctx, request{method: http.MethodGet, url: strings.TrimSuffix(m.Grafana, "/") + "/api/dashboards/uid/" + dashboard.UID})
	if err != nil {
		return unreached("Grafana", err, "look at GRAFANA_URL")
	}
	switch a.status {
	case http.StatusOK:
	case http.StatusNotFound:
		return checklist.Failed("Grafana has no dashboard "+dashboard.UID, mend)
	default:
		return checklist.CannotTell(fmt.Sprintf("Grafana answered %d to /api/dashboards/uid/%s", a.status, dashboard.UID),
			"put a user who may view into its address: GRAFANA_URL=https://USER:PASSWORD@HOST")
	}
	var got struct {
		Dashboard struct {
			UID    string
			Title  string
			Panels []struct{ Title string }
		}
		Meta struct{ Provisioned bool }
	}
	if err := json.Unmarshal(a.body, &got); err != nil || got.Dashboard.UID != dashboard.UID {
		return checklist.CannotTell("what answers at GRAFANA_URL is no Grafana", "look at GRAFANA_URL")
	}
	have := map[string]bool{}
	for _, p := range got.Dashboard.Panels {
		have[p.Title] = true
	}
	want := dashboard.New().Panels
	var missing []string
	for _, p := range want {
		if !have[p.Title] {
			missing = append(missing, p.Title)
		}
	}
	switch {
	case len(missing) > 0:
		return checklist.Warned(cut(fmt.Sprintf("Grafana's dashboard %s lacks %d of %d panels: %s", dashboard.UID, len(missing), len(want), some(missing)), evidence), mend)
	case !got.Meta.Provisioned:
		return checklist.Warned("Grafana has dashboard "+dashboard.UID+", imported by hand: it stays as it is when ours changes", mend)
	}
	return checklist.Passed("Grafana has dashboard %s, provisioned, with all %d panels", dashboard.UID, len(want))
}

// uidOf is the uid of a dashboard's JSON, empty for anything else.
func uidOf(text []byte) string {
	var d struct{ UID string }
	_ = json.Unmarshal(text, &d) // then it is none
	return d.UID
}

// isDashboard says whether a text is the dashboard of this version.
func isDashboard(text []byte) bool {
	want, err := dashboard.Make()
	if err != nil {
		return false // the dashboard's tests say so
	}
	var a, b any
	return json.Unmarshal(text, &a) == nil && json.Unmarshal(want, &b) == nil && reflect.DeepEqual(a, b)
}
