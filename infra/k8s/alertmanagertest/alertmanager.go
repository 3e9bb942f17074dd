// Package alertmanagertest runs a real Alertmanager with the configuration that is
// deployed, and takes its messages as Slack and PagerDuty would. It needs the programs
// of Debian's package prometheus-alertmanager, and fails the test that asks for one
// without them.
package alertmanagertest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

// Where the configuration looks for its secrets and its templates.
const (
	secretsDir   = "/etc/alertmanager/secrets/kgents-alertmanager"
	templatesDir = "/etc/alertmanager/configmaps/kgents-alertmanager"
)

// Configuration is what is deployed, at home in a directory of the test's.
type Configuration struct {
	Path string // of the file
	Dir  string
}

// Waits replaces how long Alertmanager waits for more, so that a test need not.
type Waits struct{ Group, Interval, Repeat time.Duration }

// Configure makes a Configuration of the files in manifests, the folder
// infra/k8s/manifests/alertmanager. Slack's webhook is at slack, PagerDuty's Events
// API at pagerduty, with a routing key. Nil waits leaves the deployed ones.
func Configure(t testing.TB, manifests, slack, pagerduty, routingKey string, waits *Waits) Configuration {
	t.Helper()
	c := Configuration{Dir: t.TempDir()}
	c.Path = filepath.Join(c.Dir, "alertmanager.yaml")
	text, err := os.ReadFile(filepath.Join(manifests, "alertmanager.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{secretsDir, templatesDir} {
		if !bytes.Contains(text, []byte(dir)) {
			t.Fatalf("the configuration doesn't look into %s", dir)
		}
		text = bytes.ReplaceAll(text, []byte(dir), []byte(filepath.Join(c.Dir, filepath.Base(filepath.Dir(dir)))))
	}
	var config map[string]any
	if err := yaml.UnmarshalStrict(text, &config); err != nil {
		t.Fatal(err)
	}
	config["global"].(map[string]any)["pagerduty_url"] = pagerduty
	if waits != nil {
		shorten(config["route"].(map[string]any), waits)
	}
	if text, err = yaml.Marshal(config); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{
		c.Path: text,
		filepath.Join(c.Dir, "secrets/slack-url"):             []byte(slack + "\n"),
		filepath.Join(c.Dir, "secrets/pagerduty-routing-key"): []byte(routingKey + "\n"),
	}
	templates, err := filepath.Glob(filepath.Join(manifests, "templates/*.tmpl"))
	if err != nil || len(templates) == 0 {
		t.Fatalf("no templates: %v", err)
	}
	for _, path := range templates {
		if files[filepath.Join(c.Dir, "configmaps", filepath.Base(path))], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	for path, text := range files {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func shorten(route map[string]any, w *Waits) {
	for name, d := range map[string]time.Duration{"group_wait": w.Group, "group_interval": w.Interval, "repeat_interval": w.Repeat} {
		if _, ok := route[name]; ok {
			route[name] = d.String()
		}
	}
	children, _ := route["routes"].([]any)
	for _, child := range children {
		shorten(child.(map[string]any), w)
	}
}

// Amtool runs amtool and returns what it prints.
func Amtool(t testing.TB, args ...string) (string, error) {
	t.Helper()
	out, err := exec.Command("amtool", args...).CombinedOutput()
	if _, exit := err.(*exec.ExitError); err != nil && !exit {
		t.Fatalf("amtool is needed (Debian's package prometheus-alertmanager): %v", err)
	}
	return string(out), err
}

// Alertmanager is a running one. It ends with the test.
type Alertmanager struct {
	URL      string
	Received *Receiver
	t        testing.TB
}

// Start runs Alertmanager against a new Receiver and waits until it is ready.
func Start(t testing.TB, manifests string, waits Waits) *Alertmanager {
	t.Helper()
	a := &Alertmanager{t: t, Received: newReceiver(t)}
	c := Configure(t, manifests, a.Received.slackURL(), a.Received.pagerDutyURL(), routingKey, &waits)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a.URL = "http://" + l.Addr().String()
	l.Close()
	log, err := os.Create(filepath.Join(c.Dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command("prometheus-alertmanager", "--config.file", c.Path, "--storage.path", filepath.Join(c.Dir, "data"),
		"--web.listen-address", l.Addr().String(), "--cluster.listen-address=")
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = log, log, dieWithTest
	if err := cmd.Start(); err != nil {
		t.Fatalf("alertmanager is needed (Debian's package prometheus-alertmanager): %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGKILL)
		_ = cmd.Wait()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("log of alertmanager:\n%s", text[max(0, len(text)-4000):])
		}
	})
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if resp, err := http.Get(a.URL + "/-/ready"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return a
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("alertmanager is not ready after 20 s")
		}
	}
}

// Alert is one as Prometheus sends it.
type Alert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations,omitempty"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      *time.Time        `json:"endsAt,omitempty"` // in the past: it has resolved
}

// Send posts alerts.
func (a *Alertmanager) Send(alerts ...Alert) {
	a.t.Helper()
	body, err := json.Marshal(alerts)
	if err != nil {
		a.t.Fatal(err)
	}
	resp, err := http.Post(a.URL+"/api/v2/alerts", "application/json", bytes.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		a.t.Fatalf("alertmanager answered %s", resp.Status)
	}
}

// Silenced says whether Alertmanager keeps the alert to itself because of another one.
func (a *Alertmanager) Silenced(labels map[string]string) (bool, error) {
	filter := url.Values{}
	for name, value := range labels {
		filter.Add("filter", fmt.Sprintf("%s=%q", name, value))
	}
	resp, err := http.Get(a.URL + "/api/v2/alerts?" + filter.Encode())
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	var alerts []struct {
		Status struct{ InhibitedBy []string }
	}
	if err := json.NewDecoder(resp.Body).Decode(&alerts); err != nil {
		return false, err
	}
	for _, one := range alerts {
		if len(one.Status.InhibitedBy) == 0 {
			return false, nil
		}
	}
	return len(alerts) > 0, nil
}
