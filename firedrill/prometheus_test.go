//go:build linux

package firedrill

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/kgents/kgents/alerts"
	"github.com/kgents/kgents/alerts/prometheustest"
	"github.com/kgents/kgents/chaos/world"
)

// grafana is the external label by which alerts lead to the dashboard.
const grafana = "https://grafana.example"

// prometheus is one for all scenes; a scene is a namespace.
type prometheus struct{ *prometheustest.Prometheus }

func startPrometheus(t *testing.T, rules alerts.File, alertmanager string) *prometheus {
	t.Helper()
	return &prometheus{prometheustest.Start(t, prometheustest.Options{Rules: quicken(t, rules), Alertmanager: alertmanager, Grafana: grafana})}
}

// alert is one that is pending or fires.
type alert struct {
	Labels      map[string]string
	Annotations map[string]string
	State       string
}

func (p *prometheus) alerts(namespace string) ([]alert, error) {
	resp, err := world.Quick.Get(p.URL + "/api/v1/alerts")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var answer struct{ Data struct{ Alerts []alert } }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return nil, err
	}
	var out []alert
	for _, a := range answer.Data.Alerts {
		if a.Labels["namespace"] == namespace {
			out = append(out, a)
		}
	}
	return out, nil
}

// seen says whether all processes of a scene have been scraped.
func (p *prometheus) seen(namespace string, processes int) bool {
	resp, err := world.Quick.Get(p.URL + "/api/v1/query?query=" + fmt.Sprintf(`sum(up{namespace=%%22%s%%22})`, namespace))
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	var answer struct {
		Data struct{ Result []struct{ Value [2]any } }
	}
	err = json.NewDecoder(resp.Body).Decode(&answer)
	return err == nil && len(answer.Data.Result) == 1 && answer.Data.Result[0].Value[1] == fmt.Sprint(processes)
}
