package checks

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kgents/kgents/alerts"
	"github.com/kgents/kgents/alerts/prometheustest"
	"github.com/kgents/kgents/infra/k8s/alertmanagertest"
)

func init() { areas = append(areas, observabilityRows) }

const alertmanagerManifests = "../../infra/k8s/manifests/alertmanager"

// prometheus is a real one with rules, which scrapes an api, and a sink if there is one.
func prometheus(t *testing.T, rules []byte, alertmanager string, targets ...string) string {
	t.Helper()
	p := prometheustest.Start(t, prometheustest.Options{Rules: rules, Alertmanager: alertmanager})
	jobs := map[string]string{}
	for i, target := range targets {
		jobs[target] = []string{"kgents", "kgents-sink"}[i]
	}
	p.Watch(t, "", jobs)
	return p.URL
}

// until waits until ok.
func until(what string, ok func() bool) error {
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("waited 30 s for %s", what)
		}
	}
	return nil
}

// replaced is a text in which a pattern was there and is something else now.
func replaced(t *testing.T, text []byte, pattern, by string) []byte {
	t.Helper()
	re := regexp.MustCompile(pattern)
	if !re.Match(text) {
		t.Fatalf("there is no %s", pattern)
	}
	return re.ReplaceAll(text, []byte(by))
}

func observabilityRows(t *testing.T) []row {
	source := alerts.Source()
	// The rules with one thing broken each. Alerts in groups are evaluated at once.
	broken := replaced(t, source, `increase\(kgents_stripe_webhooks_errors_total\{reason=~"bad_signature`, `increase(kgents_stripe_webhooks_errors_total{reason=~"badsignature`)
	broken = replaced(t, broken, `runbook\.md#stripe-signature-failures`, "runbook.md#nowhere")
	broken = replaced(t, broken, `(?s)(alert: StripeWebhooksUnreadable.*?for: )\d+m`, "${1}2h")
	broken = replaced(t, broken, `(?m)^  - alert: Watchdog\n    expr: vector\(1\)`, "  - alert: Watchdogs\n    expr: vector(0)")
	broken = replaced(t, broken, `(?s)(alert: EventsNotDurable\n    expr: ).*?\n    for`, "${1}vector(1)\n    for")
	firing := replaced(t, source, `(?s)(alert: NATSCircuitOpen\n    expr: ).*?\n    for: 5m`, `${1}label_replace(vector(1), "namespace", "theirs", "", "")`+"\n    for: 0s")

	program := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "kgents_build_info 1") }))
	t.Cleanup(program.Close)
	route := alertmanagertest.Start(t, alertmanagerManifests, alertmanagertest.Waits{Group: time.Second, Interval: time.Second, Repeat: time.Hour})
	urls := map[string]string{}
	for name, rules := range map[string][]byte{"good": source, "broken": broken, "firing": firing} {
		am, targets := "", []string{program.URL}
		switch name {
		case "good":
			am = route.URL
		case "broken":
			targets = append(targets, "127.0.0.1:1")
		}
		urls[name] = prometheus(t, rules, am, targets...)
	}
	urls["empty"] = prometheus(t, []byte("groups: []\n"), "")
	// ask says whether an address answers with what is looked for.
	ask := func(url string, into func(body string) bool) bool {
		a, err := (&System{}).send(t.Context(), request{http.MethodGet, url, nil, nil})
		return err == nil && a.status == http.StatusOK && into(string(a.body))
	}
	// Prometheus looks for its targets every five seconds: the others' rows don't wait.
	ready := sync.OnceValue(func() error {
		var problems []error
		for name, url := range urls {
			problems = append(problems, until("prometheus "+name, func() bool { return ask(url+"/-/ready", func(string) bool { return true }) }))
			if name == "empty" {
				continue
			}
			problems = append(problems, until("the rules of "+name, func() bool {
				return ask(url+"/api/v1/rules", func(body string) bool { return !strings.Contains(body, `"health":"unknown"`) })
			}), until("the targets of "+name, func() bool {
				return ask(url+"/api/v1/targets", func(body string) bool {
					return strings.Contains(body, `"health":"up"`) && !strings.Contains(body, `"health":"unknown"`)
				})
			}))
		}
		problems = append(problems, until("the watchdog in alertmanager", func() bool {
			return ask(route.URL+"/api/v2/alerts", func(body string) bool { return strings.Contains(body, "Watchdog") })
		}))
		return errors.Join(problems...)
	})
	wait := func(t *testing.T) {
		if err := ready(); err != nil {
			t.Fatal(err)
		}
	}

	at := func(name string, change func(s *System)) func(*testing.T) *System {
		return func(t *testing.T) *System {
			wait(t)
			s := &System{Prometheus: urls[name], Alertmanager: route.URL}
			if change != nil {
				change(s)
			}
			return s
		}
	}
	// routes is Alertmanager with another configuration.
	routes := func(pattern, by string) func(*testing.T) *System {
		return func(t *testing.T) *System {
			wait(t)
			dir := t.TempDir()
			text, err := os.ReadFile(filepath.Join(alertmanagerManifests, "alertmanager.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(dir, os.DirFS(alertmanagerManifests)); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "alertmanager.yaml"), replaced(t, text, pattern, by), 0o600); err != nil {
				t.Fatal(err)
			}
			a := alertmanagertest.Start(t, dir, alertmanagertest.Waits{Group: time.Second, Interval: time.Second, Repeat: time.Hour})
			// Prometheus would tell it of the watchdog.
			a.Send(alertmanagertest.Alert{Labels: map[string]string{"alertname": "Watchdog", "severity": "none"}, StartsAt: time.Now()})
			return &System{Prometheus: urls["good"], Alertmanager: a.URL}
		}
	}
	old := func(t *testing.T) *System { // as a Prometheus that formats nothing
		wait(t)
		return &System{Prometheus: between(t, urls["good"], func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if strings.HasSuffix(r.URL.Path, "/format_query") {
				http.NotFound(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})}
	}
	nowhere := func(*testing.T) *System {
		return &System{Prometheus: "http://127.0.0.1:1", Alertmanager: "http://127.0.0.1:1"}
	}

	rows := []row{
		{"alert-rules-loaded", "passes", at("good", nil), "rules are loaded as this program knows them"},
		{"alert-rules-loaded", "fails: one has another expression", at("broken", nil), "different: EventsNotDurable, StripeSignatureFailures"},
		{"alert-rules-loaded", "fails: one waits longer", at("broken", nil), "StripeSignatureFailures, StripeWebhooksUnreadable"},
		{"alert-rules-loaded", "fails: one is missing", at("broken", nil), "1 missing: Watchdog"},
		{"alert-rules-loaded", "fails: none is there", at("empty", nil), "missing: "},
		{"alert-rules-loaded", "fails: one can't be evaluated", func(t *testing.T) *System {
			wait(t)
			return &System{Prometheus: between(t, urls["good"], func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				r.Header.Del("Accept-Encoding")
				rec := httptest.NewRecorder()
				next.ServeHTTP(rec, r)
				_, _ = io.WriteString(w, strings.Replace(rec.Body.String(), `"health":"ok"`, `"health":"err","lastError":"many-to-many"`, 1))
			})}
		}, "1 not evaluated: "},
		{"alert-rules-loaded", "cannot tell: it does not format", old, "in other words"},

		{"alerts-have-runbooks", "passes", at("good", nil), "lead to a section of the runbook"},
		{"alerts-have-runbooks", "fails: a section that isn't there", at("broken", nil), "lead to no section of the runbook: StripeSignatureFailures (#nowhere)"},
		{"alerts-have-runbooks", "cannot tell: no alerts", at("empty", nil), "none of our alerts"},

		{"targets-up", "passes", at("good", nil), "1 target up: 1 of kgents"},
		{"targets-up", "fails: one is down", at("broken", nil), "1 of 2 targets down: kgents-sink 127.0.0.1:1"},
		{"targets-up", "fails: none is there", at("empty", nil), "no target whose job is kgents"},
		{"targets-up", "fails: the api is not among them", at("good", func(s *System) { s.Target = "kubernetes" }), "no target of the job kgents-api"},

		{"alerts-quiet", "passes", at("good", nil), "no critical alert fires"},
		{"alerts-quiet", "passes: another deployment's fires", at("firing", func(s *System) { s.Namespace = "ours" }), "no critical alert fires"},
		{"alerts-quiet", "fails: one fires", at("firing", nil), "critical alerts fire: NATSCircuitOpen"},
		{"alerts-quiet", "warns: one is about to", at("broken", nil), "but soon: EventsNotDurable"},
		{"alerts-quiet", "cannot tell: no alerts", at("empty", nil), "its silence says nothing"},

		{"watchdog-firing", "passes", routes(`receiver: nobody\n    matchers: \[alertname = Watchdog\]`, "receiver: slack\n    matchers: [alertname = Watchdog]"), "and goes to slack (slack)"},
		{"watchdog-firing", "fails: it doesn't fire", at("broken", nil), "does not fire in Prometheus"},
		{"watchdog-firing", "warns: nobody gets it", at("good", nil), "goes to nobody, which has no destination"},
		{"watchdog-firing", "warns: who gets it isn't known", at("good", func(s *System) { s.Alertmanager = "" }), "who gets it is not known"},

		{"alertmanager-routed", "passes", at("good", nil), "a warning one goes to slack (slack), a critical one goes to pagerduty (pagerduty, slack), silenced; Prometheus sends to 1 Alertmanager"},
		{"alertmanager-routed", "fails: Prometheus knows none", at("broken", nil), "Prometheus knows no Alertmanager"},
		{"alertmanager-routed", "fails: warnings go to nobody", routes(`receiver: slack\n    matchers: \[severity = warning\]`, "receiver: nobody\n    matchers: [severity = warning]"), "a warning alert goes to the receiver nobody, which has no destination"},
		{"alertmanager-routed", "fails: critical ones go to nobody", routes(`receiver: pagerduty\n    matchers: \[severity = critical\]`, "receiver: nobody\n    matchers: [severity = critical]"), "a critical alert goes to the receiver nobody"},
		{"alertmanager-routed", "cannot tell: it isn't one", func(t *testing.T) *System {
			wait(t)
			return &System{Alertmanager: urls["good"]}
		}, "Alertmanager does not answer"},
	}
	for id := range observability(&System{}) {
		rows = append(rows, row{id, "cannot tell: no address", func(*testing.T) *System { return &System{} }, "no address of "})
		rows = append(rows, row{id, "cannot tell: nobody answers", nowhere, "does not answer"})
	}
	return rows
}
