//go:build linux

package firedrill

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kgents/kgents/alerts"
	"github.com/kgents/kgents/chaos/world"
)

// grafana is the external label by which alerts lead to the dashboard.
const grafana = "https://grafana.example"

// prometheus is one for all scenes; a scene is a namespace.
type prometheus struct {
	url string
	dir string
}

func startPrometheus(t *testing.T, rules alerts.File, alertmanager string) *prometheus {
	t.Helper()
	p := &prometheus{dir: t.TempDir()}
	config := fmt.Sprintf(`
global: {scrape_interval: %[1]s, scrape_timeout: %[1]s, evaluation_interval: %[1]s, external_labels: {grafana: %[2]q}}
rule_files: [rules.yaml]
alerting: {alertmanagers: [{static_configs: [{targets: [%[3]q]}]}]}
scrape_configs: [{job_name: kgents, file_sd_configs: [{files: [%[4]q], refresh_interval: 1s}]}]
`, betweenScrapes, grafana, strings.TrimPrefix(alertmanager, "http://"), "targets-*.json")
	for name, text := range map[string][]byte{"prometheus.yaml": []byte(config), "rules.yaml": quicken(t, rules)} {
		if err := os.WriteFile(filepath.Join(p.dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("promtool", "check", "config", filepath.Join(p.dir, "prometheus.yaml")).CombinedOutput(); err != nil {
		t.Fatalf("promtool (Debian's package prometheus): %v\n%s", err, out)
	}
	addr := world.FreeAddr(t)
	p.url = "http://" + addr
	log, err := os.Create(filepath.Join(p.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command("prometheus", "--config.file", filepath.Join(p.dir, "prometheus.yaml"), "--storage.tsdb.path", filepath.Join(p.dir, "data"),
		"--web.listen-address", addr, "--rules.alert.resend-delay", "1s", "--log.level", "warn")
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = log, log, &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatalf("prometheus is needed (Debian's package prometheus): %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if text, _ := os.ReadFile(log.Name()); t.Failed() {
			t.Logf("log of prometheus:\n%s", text[max(0, len(text)-4000):])
		}
	})
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if resp, err := world.Quick.Get(p.url + "/-/ready"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return p
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("prometheus is not ready after 30 s")
		}
	}
}

// watch scrapes the processes of a scene from now on; jobs are by address.
func (p *prometheus) watch(t *testing.T, namespace string, jobs map[string]string) {
	t.Helper()
	type group struct {
		Targets []string          `json:"targets"`
		Labels  map[string]string `json:"labels"`
	}
	var groups []group
	for addr, job := range jobs {
		groups = append(groups, group{[]string{addr}, map[string]string{"job": job, "namespace": namespace}})
	}
	text, err := json.Marshal(groups)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(p.dir, "targets-"+namespace+".json")
	// Prometheus must not read half a file.
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(path) })
}

// alert is one that is pending or fires.
type alert struct {
	Labels      map[string]string
	Annotations map[string]string
	State       string
}

func (p *prometheus) alerts(namespace string) ([]alert, error) {
	resp, err := world.Quick.Get(p.url + "/api/v1/alerts")
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
	resp, err := world.Quick.Get(p.url + "/api/v1/query?query=" + fmt.Sprintf(`sum(up{namespace=%%22%s%%22})`, namespace))
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
