package alerts_test

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/kgents/kgents/alerts"
)

// promtool runs Debian's promtool (package prometheus) and returns what it says.
func promtool(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command("promtool", args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

func rulesFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(path, alerts.Source(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCheckRules(t *testing.T) {
	if out, err := promtool(t, "check", "rules", "--lint-fatal", rulesFile(t)); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// step is the time between two samples, unless a case has its own.
const step = 30 * time.Second

// hold is n samples of a value.
func hold(v float64, n int) string {
	return strings.Repeat(strconv.FormatFloat(v, 'f', -1, 64)+" ", n)
}

// cycle is n times the values.
func cycle(n int, values ...float64) string {
	var b strings.Builder
	for range n {
		for _, v := range values {
			b.WriteString(hold(v, 1))
		}
	}
	return b.String()
}

// gone is a process that ended: Prometheus marks its series, and has none after.
func gone(n int) string { return "stale " + strings.Repeat("_ ", n-1) }

// ramp is a series that grows by so much a sample, for so many samples, and then by
// the next two, and so on.
func ramp(from float64, pairs ...float64) string {
	var b strings.Builder
	for p := range slices.Chunk(pairs, 2) {
		for range int(p[1]) {
			b.WriteString(hold(from, 1))
			from += p[0]
		}
	}
	return b.String()
}

// drill is one alert that is made to fire.
type drill struct {
	name   string
	alert  string
	labels map[string]string // all but alertname and severity
	sev    string
	step   time.Duration // 0 is step
	input  map[string]string

	silent   string // the last moment before its time
	fires    string // the first moment of it
	over     string // silent again
	summary  string
	describe string
}

// miss is what looks like an alert's cause and is none: the alert stays silent at all
// times of the series.
type miss struct {
	name  string
	alert string
	key   string // severity or the label that tells rules of one name apart; empty for all of the name
	step  time.Duration
	input map[string]string
	until string
}

const grafana = "https://grafana.example"

type (
	sample struct {
		Series string `yaml:"series"`
		Values string `yaml:"values"`
	}
	expected struct {
		Labels      map[string]string `yaml:"exp_labels"`
		Annotations map[string]string `yaml:"exp_annotations"`
	}
	moment struct {
		At     string     `yaml:"eval_time"`
		Alert  string     `yaml:"alertname"`
		Alerts []expected `yaml:"exp_alerts"`
	}
	unit struct {
		Name     string            `yaml:"name"`
		Interval string            `yaml:"interval"`
		Input    []sample          `yaml:"input_series"`
		Moments  []moment          `yaml:"alert_rule_test"`
		External map[string]string `yaml:"external_labels"`
	}
	units struct {
		Rules    []string `yaml:"rule_files"`
		Order    []string `yaml:"group_eval_order"` // without it promtool takes any
		Interval string   `yaml:"evaluation_interval"`
		Tests    []unit   `yaml:"tests"`
	}
)

// run gives one test to promtool, with only the rules that the alert needs: one more
// severity of the same name would be an alert that is not expected.
func run(t *testing.T, keep func(alerts.Rule) bool, every time.Duration, input map[string]string, moments []moment) {
	t.Helper()
	file, err := alerts.Rules()
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for i, g := range file.Groups {
		order = append(order, g.Name)
		file.Groups[i].Rules = slices.DeleteFunc(slices.Clone(g.Rules), func(r alerts.Rule) bool { return r.Alert != "" && !keep(r) })
	}
	dir := t.TempDir()
	write := func(name string, v any) string {
		b, err := yaml.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var series []sample
	for _, name := range slices.Sorted(maps.Keys(input)) {
		series = append(series, sample{name, strings.TrimSpace(input[name])})
	}
	path := write("test.yaml", units{
		Rules: []string{write("rules.yaml", file)}, Order: order, Interval: every.String(),
		Tests: []unit{{
			Name: t.Name(), Interval: every.String(), Input: series, Moments: moments,
			External: map[string]string{"grafana": grafana},
		}},
	})
	if out, err := promtool(t, "test", "rules", path); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// kind tells the rules of one name apart.
func kind(r alerts.Rule) string {
	for _, label := range []string{"window", "signal"} {
		if v := r.Labels[label]; v != "" {
			return v
		}
	}
	return r.Severity()
}

func (d drill) kind() string {
	for _, label := range []string{"window", "signal"} {
		if v := d.labels[label]; v != "" {
			return v
		}
	}
	return d.sev
}

// Every alert is silent until its time is over, then says what it should, and ends.
func TestAlertsFire(t *testing.T) {
	file, err := alerts.Rules()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range drills {
		t.Run(d.alert+"/"+d.name, func(t *testing.T) {
			t.Parallel()
			var rule alerts.Rule
			for r := range file.Alerts() {
				if r.Alert == d.alert && kind(r) == d.kind() {
					rule = r
				}
			}
			if rule.Alert == "" {
				t.Fatal("there is no such alert")
			}
			labels := maps.Clone(d.labels)
			labels["severity"] = d.sev
			fires := moment{At: d.fires, Alert: d.alert, Alerts: []expected{{labels, map[string]string{
				"summary": d.summary, "description": d.describe,
				"runbook_url":   "https://github.com/kgents/kgents/blob/main/docs/saas/runbook.md#" + rule.Anchor(),
				"dashboard_url": grafana + "/d/kgents/kgents",
			}}}}
			run(t, func(r alerts.Rule) bool { return r.Alert == d.alert && kind(r) == d.kind() }, cmp.Or(d.step, step),
				d.input, []moment{{At: d.silent, Alert: d.alert}, fires, {At: d.over, Alert: d.alert}})
		})
	}
}

// What is no cause of an alert doesn't raise it.
func TestNearMisses(t *testing.T) {
	for _, m := range misses {
		t.Run(m.alert+"/"+m.name, func(t *testing.T) {
			t.Parallel()
			every := cmp.Or(m.step, step)
			end, err := time.ParseDuration(m.until)
			if err != nil {
				t.Fatal(err)
			}
			var moments []moment
			for at := time.Duration(0); at <= end; at += max(every, end/200) {
				moments = append(moments, moment{At: at.Truncate(time.Second).String(), Alert: m.alert})
			}
			run(t, func(r alerts.Rule) bool { return r.Alert == m.alert && (m.key == "" || kind(r) == m.key) }, every, m.input, moments)
		})
	}
}

// No alert is without a test that it fires and one that it doesn't.
func TestEveryAlertIsTested(t *testing.T) {
	file, err := alerts.Rules()
	if err != nil {
		t.Fatal(err)
	}
	for r := range file.Alerts() {
		name := fmt.Sprintf("%s (%s)", r.Alert, kind(r))
		if r.Alert == "Watchdog" {
			continue // fires always: TestWatchdog
		}
		if !slices.ContainsFunc(drills, func(d drill) bool { return d.alert == r.Alert && d.kind() == kind(r) }) {
			t.Errorf("%s: no test makes it fire", name)
		}
		if !slices.ContainsFunc(misses, func(m miss) bool { return m.alert == r.Alert && (m.key == "" || m.key == kind(r)) }) {
			t.Errorf("%s: no test comes near it", name)
		}
	}
}

// The watchdog fires with nothing there at all, from the first moment.
func TestWatchdog(t *testing.T) {
	fires := moment{At: "0s", Alert: "Watchdog", Alerts: []expected{{
		map[string]string{"severity": "none", "component": "process"},
		map[string]string{
			"summary":       "Alerting works",
			"description":   "This alert always fires. Whoever does not receive it any more will receive no other alert, and would not hear of lost revenue.",
			"runbook_url":   "https://github.com/kgents/kgents/blob/main/docs/saas/runbook.md#watchdog",
			"dashboard_url": grafana + "/d/kgents/kgents",
		},
	}}}
	later := fires
	later.At = "1h"
	run(t, func(alerts.Rule) bool { return true }, step, nil, []moment{fires, later})
}

// With no series at all, nothing but the watchdog fires: what is absent is told by
// the alert on what is away.
func TestNothingFiresOnNothing(t *testing.T) {
	file, err := alerts.Rules()
	if err != nil {
		t.Fatal(err)
	}
	var moments []moment
	for _, name := range file.Names() {
		if name != "Watchdog" {
			moments = append(moments, moment{At: "30m", Alert: name})
		}
	}
	run(t, func(alerts.Rule) bool { return true }, step, nil, moments)
}
