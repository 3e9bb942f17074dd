package app_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/kgents/kgents/config"
)

// The whole pipeline in one process answers every route that monitors ask.
func TestUp(t *testing.T) {
	p := start(t, config.RoleUp, settings(t, config.RoleUp, nil))
	p.ready()
	for _, test := range []struct {
		what string
		req  *http.Request
		want int
	}{
		{"an event", p.interaction("1"), 204},
		{"the event again", p.interaction("1"), 204},
		{"a payment", p.webhook("evt_1", "invoice.paid"), 200},
		{"a webhook that counts nothing", p.webhook("evt_2", "customer.created"), 200},
		{"a webhook without a signature", p.request("POST", "/webhooks/stripe", "{}"), 400},
		{"a path that is none", p.request("GET", "/nowhere", ""), 404},
	} {
		if a := p.send(test.req); a.status != test.want {
			t.Errorf("%s: answer is %d, want %d: %s", test.what, a.status, test.want, a.body)
		}
	}
	eventually(t, "the event is metered", func() bool { return p.interactions() > 0 })
	if got := p.interactions(); got != 1 {
		t.Errorf("%d interactions are counted, want 1", got)
	}

	t.Run("livez", func(t *testing.T) {
		if a := p.get("/livez"); a.status != 200 || a.body != "ok\n" {
			t.Errorf("answer is %d %q", a.status, a.body)
		}
	})
	t.Run("health", func(t *testing.T) {
		var got any
		eventually(t, "the backlog is known and empty", func() bool {
			a := p.get("/health")
			if a.status != 200 || a.header.Get("Content-Type") != "application/json" {
				t.Fatalf("answer is %d %v %s", a.status, a.header, a.body)
			}
			got = nil
			if err := json.Unmarshal([]byte(a.body), &got); err != nil {
				t.Fatal(err)
			}
			return strings.Contains(a.body, `"0 messages`) && !strings.Contains(a.body, `"starting"`)
		})
		delete(got.(map[string]any), "version") // of the build
		want := map[string]any{
			"status": "ok", "role": "up",
			"components": []any{
				map[string]any{"name": "nats", "status": "healthy"},
				map[string]any{"name": "openmeter", "status": "healthy"},
				map[string]any{"name": "redis", "status": "disabled", "detail": "identities are kept in memory"},
				map[string]any{"name": "backlog", "status": "ok", "detail": "0 messages, the oldest 0 s old"},
				map[string]any{"name": "customers", "status": "healthy"},
				map[string]any{"name": "subscriptions", "status": "healthy"},
				map[string]any{"name": "entitlements", "status": "healthy"},
			},
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	})
	t.Run("health/saas", func(t *testing.T) {
		var got map[string]any
		if err := json.Unmarshal([]byte(p.get("/health/saas").body), &got); err != nil {
			t.Fatal(err)
		}
		taken, _ := got["openmeter"].(map[string]any)["last_taken"].(string)
		if _, err := time.Parse(time.RFC3339Nano, taken); err != nil {
			t.Errorf("last_taken: %v", err)
		}
		want := map[string]any{
			"status":    "ok",
			"nats":      map[string]any{"status": "healthy", "mode": "jetstream", "circuit": "closed"},
			"openmeter": map[string]any{"status": "healthy", "embedded": true, "last_taken": taken},
			"redis":     map[string]any{"status": "disabled", "detail": "identities are kept in memory"},
			"backlog":   map[string]any{"messages": 0.0, "oldest_age_seconds": 0.0},
			"customers": map[string]any{"status": "healthy"}, "subscriptions": map[string]any{"status": "healthy"}, "entitlements": map[string]any{"status": "healthy"},
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	})
	t.Run("webhooks/stripe/health", func(t *testing.T) {
		var got map[string]any
		a := p.get("/webhooks/stripe/health")
		if err := json.Unmarshal([]byte(a.body), &got); a.status != 200 || err != nil {
			t.Fatalf("answer is %d %s (%v)", a.status, a.body, err)
		}
		last, _ := got["last_processed"].(string)
		if _, err := time.Parse(time.RFC3339Nano, last); err != nil {
			t.Errorf("last_processed: %v", err)
		}
		want := map[string]any{"status": "ok", "secrets": 1.0, "processed": 1.0, "skipped": 1.0, "failed": 1.0, "last_processed": last}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	})
	t.Run("metrics", func(t *testing.T) { checkMetrics(t, p.get("/metrics")) })
}

// checkMetrics holds the names that alerts and dashboards rely on.
func checkMetrics(t *testing.T, a answer) {
	problems, err := promlint.New(strings.NewReader(a.body)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	types := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (\S+) (\S+)$`).FindAllStringSubmatch(a.body, -1) {
		types[m[1]] = m[2]
	}
	for name, want := range map[string]string{
		"kgents_nats_circuit_state":              "gauge",
		"kgents_nats_messages_published_total":   "counter",
		"kgents_nats_publish_errors_total":       "counter",
		"kgents_openmeter_events_buffered":       "gauge",
		"kgents_openmeter_events_sent_total":     "counter",
		"kgents_openmeter_flush_errors_total":    "counter",
		"kgents_openmeter_flush_latency_seconds": "histogram",
		"kgents_stripe_webhook_latency_seconds":  "histogram",
		"kgents_stripe_webhooks_received_total":  "counter",
		"kgents_stripe_webhooks_processed_total": "counter",
		"kgents_stripe_webhooks_errors_total":    "counter",
		"kgents_api_requests_total":              "counter",
		"kgents_api_request_latency_seconds":     "histogram",
		"kgents_backlog_messages":                "gauge",
		"kgents_backlog_oldest_age_seconds":      "gauge",
		"kgents_nats_connected":                  "gauge",
		"kgents_openmeter_up":                    "gauge",
		"kgents_build_info":                      "gauge",
	} {
		if got := types[name]; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for _, line := range []string{
		"kgents_nats_circuit_state 0",
		"kgents_nats_connected 1",
		"kgents_openmeter_up 1",
		`kgents_stripe_webhooks_processed_total{type="invoice.paid"} 1`,
	} {
		if !strings.Contains(a.body, "\n"+line+"\n") {
			t.Errorf("metrics lack %q", line)
		}
	}
}
