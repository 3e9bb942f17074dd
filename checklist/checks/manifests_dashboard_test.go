package checks

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kgents/kgents/alerts/dashboard"
)

func dashboardWorlds(t *testing.T) []broken {
	t.Helper()
	text, err := dashboard.Make()
	if err != nil {
		t.Fatal(err)
	}
	applied := func(change func(*corev1.ConfigMap)) func(*world) {
		return func(w *world) {
			c := corev1.ConfigMap{
				ObjectMeta: metav1.ObjectMeta{Name: "kgents-dashboard", Labels: map[string]string{sidecar: "1"}},
				Data:       map[string]string{"kgents.json": string(text)},
			}
			if change != nil {
				change(&c)
			}
			w.ConfigMaps = append(w.ConfigMaps, c)
		}
	}
	return []broken{
		{"dashboards-provisioned", "passes", "ConfigMap kgents-dashboard has this version's dashboard", applied(nil)},
		{"dashboards-provisioned", "fails: without the sidecar's label", "lacks the label grafana_dashboard", applied(func(c *corev1.ConfigMap) { c.Labels = nil })},
		{"dashboards-provisioned", "warns: another version", "of another version", applied(func(c *corev1.ConfigMap) {
			c.Data["kgents.json"] = `{"uid":"kgents","title":"old"}`
		})},
		{"dashboards-provisioned", "cannot tell: it may be in another namespace", "no ConfigMap in namespace kgents-staging", nil},
		{"dashboards-provisioned", "cannot tell: ConfigMaps are denied", "no permission", denied("configmaps")},
	}
}

// grafanaRows are those that ask Grafana, played by its documented API.
func grafanaRows(t *testing.T) []row {
	grafana := func(status int, change func(*dashboard.Dashboard), provisioned bool) func(*testing.T) *System {
		return func(t *testing.T) *System {
			server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/grafana/api/dashboards/uid/kgents" {
					status = http.StatusTeapot
				}
				rw.WriteHeader(status)
				if status != http.StatusOK {
					return
				}
				d := dashboard.New()
				if change != nil {
					change(&d)
				}
				_ = json.NewEncoder(rw).Encode(map[string]any{"dashboard": d, "meta": map[string]any{"provisioned": provisioned}})
			}))
			t.Cleanup(server.Close)
			return &System{Grafana: server.URL + "/grafana/"}
		}
	}
	return []row{
		{"dashboards-provisioned", "passes: Grafana has it", grafana(http.StatusOK, nil, true), "Grafana has dashboard kgents, provisioned"},
		{"dashboards-provisioned", "fails: Grafana hasn't", grafana(http.StatusNotFound, nil, true), "Grafana has no dashboard kgents"},
		{"dashboards-provisioned", "warns: by hand", grafana(http.StatusOK, nil, false), "imported by hand"},
		{"dashboards-provisioned", "warns: panels are missing", grafana(http.StatusOK, func(d *dashboard.Dashboard) { d.Panels = d.Panels[1:] }, true), "lacks 1 of"},
		{"dashboards-provisioned", "cannot tell: Grafana wants a user", grafana(http.StatusUnauthorized, nil, true), "Grafana answered 401"},
		{"dashboards-provisioned", "cannot tell: something else answers", func(t *testing.T) *System {
			server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte("hello")) }))
			t.Cleanup(server.Close)
			return &System{Grafana: server.URL}
		}, "is no Grafana"},
		{"dashboards-provisioned", "cannot tell: Grafana is away", func(*testing.T) *System { return &System{Grafana: "http://127.0.0.1:1"} }, "Grafana does not answer"},
		{"dashboards-provisioned", "cannot tell: neither is known", func(*testing.T) *System { return &System{} }, "Grafana's address is not known"},
	}
}
