// Package prometheustest runs a real Prometheus, which scrapes, evaluates and tells
// Alertmanager each second. It needs the programs of Debian's package prometheus, and
// fails the test that asks for one without them.
package prometheustest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Every is the time between two scrapes, and between two evaluations.
const Every = time.Second

// Options are what a Prometheus is started with.
type Options struct {
	Rules        []byte // a rule file; nil: none
	Alertmanager string // its URL; empty: nobody is told
	Grafana      string // the external label by which alerts lead to the dashboard; empty: none
	Data         string // directory of blocks that are there already; empty: nothing is
}

// Prometheus is one that runs.
type Prometheus struct {
	URL string
	dir string
}

// client keeps no connections, so that none outlives its test.
var client = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// Start starts one that scrapes nothing yet and ends with the test. It returns when it is
// ready.
func Start(t testing.TB, o Options) *Prometheus {
	t.Helper()
	p := &Prometheus{dir: t.TempDir()}
	file := func(name string) string { return filepath.Join(p.dir, name) }
	if err := os.WriteFile(file("prometheus.yaml"), []byte(o.config()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file("rules.yaml"), o.Rules, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("promtool", "check", "config", file("prometheus.yaml")).CombinedOutput(); err != nil {
		t.Fatalf("promtool (Debian's package prometheus): %v\n%s", err, out)
	}
	addr := free(t)
	log, err := os.Create(file("log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if o.Data == "" {
		o.Data = file("data")
	}
	cmd := exec.Command("prometheus", "--config.file", file("prometheus.yaml"), "--storage.tsdb.path", o.Data, "--storage.tsdb.retention.time", "30d",
		"--web.listen-address", addr, "--rules.alert.resend-delay", Every.String(), "--log.level", "warn")
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = log, log, dieWithTest
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
	p.URL = "http://" + addr
	for deadline := time.Now().Add(30 * time.Second); !p.ready(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("prometheus is not ready after 30 s")
		}
	}
	return p
}

// config is Prometheus's. Targets are read from files, which it looks at each second.
func (o Options) config() string {
	var b strings.Builder
	fmt.Fprintf(&b, "global: {scrape_interval: %[1]s, scrape_timeout: %[1]s, evaluation_interval: %[1]s", Every)
	if o.Grafana != "" {
		fmt.Fprintf(&b, ", external_labels: {grafana: %q}", o.Grafana)
	}
	b.WriteString("}\nrule_files: [rules.yaml]\n")
	if o.Alertmanager != "" {
		fmt.Fprintf(&b, "alerting: {alertmanagers: [{static_configs: [{targets: [%q]}]}]}\n", strings.TrimPrefix(o.Alertmanager, "http://"))
	}
	b.WriteString("scrape_configs: [{job_name: kgents, file_sd_configs: [{files: [targets-*.json], refresh_interval: 1s}]}]\n")
	return b.String()
}

func free(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (p *Prometheus) ready() bool {
	resp, err := client.Get(p.URL + "/-/ready")
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// Watch has processes of a namespace scraped from now on until the test ends; jobs are by
// address, a URL or a host with its port. An empty namespace is no label.
func (p *Prometheus) Watch(t testing.TB, namespace string, jobs map[string]string) {
	t.Helper()
	type group struct {
		Targets []string          `json:"targets"`
		Labels  map[string]string `json:"labels"`
	}
	var groups []group
	for _, addr := range slices.Sorted(maps.Keys(jobs)) {
		labels := map[string]string{"job": jobs[addr]}
		if namespace != "" {
			labels["namespace"] = namespace
		}
		groups = append(groups, group{[]string{strings.TrimPrefix(addr, "http://")}, labels})
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
