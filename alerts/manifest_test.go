package alerts_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/kgents/kgents/alerts"
)

var update = flag.Bool("update", false, "write the PrometheusRule anew")

const manifests = "../infra/k8s/manifests/prometheus"

// prometheusRule is the operator's kind for rules.yaml.
func prometheusRule(t *testing.T) []byte {
	t.Helper()
	file, err := alerts.Rules()
	if err != nil {
		t.Fatal(err)
	}
	type metadata struct {
		Name   string            `yaml:"name"`
		Labels map[string]string `yaml:"labels"`
	}
	b, err := yaml.MarshalWithOptions(struct {
		Version  string      `yaml:"apiVersion"`
		Kind     string      `yaml:"kind"`
		Metadata metadata    `yaml:"metadata"`
		Spec     alerts.File `yaml:"spec"`
	}{
		"monitoring.coreos.com/v1", "PrometheusRule",
		metadata{"kgents", map[string]string{"prometheus": "kgents", "role": "alert-rules"}}, file,
	}, yaml.IndentSequence(false), yaml.UseLiteralStyleIfMultiline(true))
	if err != nil {
		t.Fatal(err)
	}
	return append([]byte("# Made from alerts/rules.yaml by `go test ./alerts -update`: change that file, not this one.\n"), b...)
}

// The PrometheusRule has the rules of rules.yaml.
func TestPrometheusRule(t *testing.T) {
	path := filepath.Join(manifests, "alerting-rules.yaml")
	want := prometheusRule(t)
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("it is not what rules.yaml says: run go test ./alerts -update\n%s", diff)
	}
	// What is written is what Prometheus reads, in the groups of the source.
	var rule struct {
		Spec alerts.File `yaml:"spec"`
	}
	if err := yaml.Unmarshal(got, &rule); err != nil {
		t.Fatal(err)
	}
	file, err := alerts.Rules()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(file, rule.Spec); diff != "" {
		t.Errorf("the rules differ when they are read: %s", diff)
	}
	spec, err := yaml.Marshal(rule.Spec)
	if err != nil {
		t.Fatal(err)
	}
	plain := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(plain, spec, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := promtool(t, "check", "rules", plain); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// discovery is what Debian's Prometheus is built without.
const discovery = "kubernetes_sd_configs:\n  - role: endpoints\n"

// promtool takes the configurations for a plain Prometheus, with the rules beside them.
func TestScrapeConfigs(t *testing.T) {
	for _, name := range []string{"scrape-config.yaml", "scrape-config-local.yaml"} {
		b, err := os.ReadFile(filepath.Join(manifests, name))
		if err != nil {
			t.Fatal(err)
		}
		b = bytes.Replace(b, []byte(discovery), []byte("static_configs:\n  - targets: []\n"), 1)
		dir := t.TempDir()
		for file, text := range map[string][]byte{name: b, "rules.yaml": alerts.Source()} {
			if err := os.WriteFile(filepath.Join(dir, file), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		out, err := promtool(t, "check", "config", filepath.Join(dir, name))
		if err != nil || !strings.Contains(out, "rule files found") {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
}

// What `kubectl apply -k` sends is the rules and the monitor, both with the label by
// which a Prometheus selects them.
func TestKustomization(t *testing.T) {
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), manifests)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, r := range built.Resources() {
		kinds = append(kinds, r.GetKind()+"/"+r.GetName())
		if got := r.GetLabels()["prometheus"]; got != "kgents" {
			t.Errorf("%s/%s has the label prometheus=%q", r.GetKind(), r.GetName(), got)
		}
	}
	slices.Sort(kinds)
	if diff := cmp.Diff([]string{"PrometheusRule/kgents", "ServiceMonitor/kgents"}, kinds); diff != "" {
		t.Error(diff)
	}
}

// Each alert has what a paged person needs, and each value that a message shows.
func TestAnnotations(t *testing.T) {
	file, err := alerts.Rules()
	if err != nil {
		t.Fatal(err)
	}
	anchors := map[string]string{}
	for r := range file.Alerts() {
		switch s := r.Severity(); s {
		case "critical", "warning":
			if r.For == "" || r.For == "0s" {
				t.Errorf("%s fires without waiting", r.Alert)
			}
		case "none":
		default:
			t.Errorf("%s has the severity %q", r.Alert, s)
		}
		if r.Labels["component"] == "" {
			t.Errorf("%s has no component", r.Alert)
		}
		if s := r.Annotations["summary"]; s == "" || len(s) > 200 || strings.HasSuffix(s, ".") {
			t.Errorf("%s: the summary is no short phrase: %q", r.Alert, s)
		}
		if d := r.Annotations["description"]; !strings.HasSuffix(d, ".") ||
			!strings.Contains(d, "bill") && !strings.Contains(d, "revenue") && !strings.Contains(d, "payments") &&
				!strings.Contains(d, "counted") && !strings.Contains(d, "counts") && !strings.Contains(d, "invoice") {
			t.Errorf("%s: the description says nothing of money: %q", r.Alert, d)
		}
		if want := "https://github.com/kgents/kgents/blob/main/docs/saas/runbook.md#" + r.Anchor(); r.Annotations["runbook_url"] != want || r.Anchor() == "" {
			t.Errorf("%s: runbook_url is %q", r.Alert, r.Annotations["runbook_url"])
		}
		if r.Annotations["dashboard_url"] != "{{ $externalLabels.grafana }}/d/kgents/kgents" {
			t.Errorf("%s: dashboard_url is %q", r.Alert, r.Annotations["dashboard_url"])
		}
		if a, ok := anchors[r.Anchor()]; ok && a != r.Alert {
			t.Errorf("%s and %s share the section %s", a, r.Alert, r.Anchor())
		}
		anchors[r.Anchor()] = r.Alert
	}
}

func TestParseRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"a misspelt field": "groups: [{name: a, rules: [{alret: b, expr: up}]}]",
		"no YAML":          "groups: [",
	} {
		if _, err := alerts.Parse([]byte(text)); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
