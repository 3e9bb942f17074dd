package alerts_test

import (
	"crypto/tls"
	"log/slog"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/kgents/kgents/admit/redistest"
	"github.com/kgents/kgents/alerts"
	"github.com/kgents/kgents/app"
	"github.com/kgents/kgents/config"
	"github.com/kgents/kgents/secrets"
	"github.com/kgents/kgents/stream"
)

const key = "alerts-test-key"

// client keeps no connections, so that none outlives its test.
var client = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// start runs a role of the program as it is deployed.
func start(t *testing.T, role config.Role, env map[string]string) *app.App {
	t.Helper()
	all := map[string]string{
		"API_HOST": "127.0.0.1", "API_PORT": "0", "NATS_REPLICAS": "1", "OPENMETER_FLUSH_INTERVAL": "10ms",
		"API_KEYS": key, "OPENMETER_API_KEY": key, "STRIPE_WEBHOOK_SECRET": "whsec_alerts",
	}
	for k, v := range env {
		all[k] = v
	}
	c, _, err := config.Load(role, config.Source{Env: func(k string) (string, bool) { v, ok := all[k]; return v, ok }})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(role); err != nil {
		t.Fatal(err)
	}
	c.DataDir = t.TempDir()
	a, err := app.Start(t.Context(), role, c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sync.OnceFunc(a.Stop))
	return a
}

// natsWithTLS is a server with the certificates that `kgents secrets init` makes.
func natsWithTLS(t *testing.T) (url, ca string) {
	t.Helper()
	dir := t.TempDir()
	if _, err := secrets.Init(dir, "kgents"); err != nil {
		t.Fatal(err)
	}
	file := func(name string) string { return filepath.Join(dir, "nats", name) }
	pair, err := tls.LoadX509KeyPair(file("tls.crt"), file("tls.key"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), JetStreamMaxStore: 1 << 30, NoSigs: true, NoLog: true,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}, TLSTimeout: 30,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(30 * time.Second) {
		t.Fatal("the NATS server does not start")
	}
	return "tls://" + s.Addr().String(), file("ca.crt")
}

// scrape reads /metrics as Prometheus does.
func scrape(t *testing.T, a *app.App) map[string]*dto.MetricFamily {
	t.Helper()
	resp, err := client.Get(a.URL() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return families
}

func post(t *testing.T, url, body string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/cloudevents+json")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

const event = `{"specversion":"1.0","id":"1","source":"test","type":"town.interaction","subject":"c","data":{}}`

// roles are the program's, as in a cluster, each with all that it can have: TLS, Redis,
// a spool, a dead letter, a reconciliation. The last api has no NATS and no spool, so
// it refuses. It returns what all of them export.
func roles(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	url, ca := natsWithTLS(t)
	meterRole := start(t, config.RoleMeter, nil)
	env := map[string]string{
		"STRIPE_API_KEY": "rk_test_alerts", "STRIPE_API_BASE": "http://127.0.0.1:1", // who reports overage; nobody owes any
		"NATS_SERVERS": url, "NATS_TLS_CA": ca, "OPENMETER_BASE_URL": meterRole.URL(),
		"REDIS_URL": redistest.Start(t).URL(), "SPOOL_DIR": t.TempDir(), "NATS_STREAM_MAX_BYTES": "100MiB",
	}
	api, sink := start(t, config.RoleAPI, env), start(t, config.RoleSink, env)
	refusing := start(t, config.RoleAPI, map[string]string{
		"NATS_SERVERS": "nats://127.0.0.1:1", "OPENMETER_BASE_URL": meterRole.URL(), "SPOOL_MAX_BYTES": "0",
	})
	if got := post(t, refusing.URL()+"/api/v1/events", event); got != http.StatusServiceUnavailable {
		t.Fatalf("without NATS and spool an event is answered with %d", got)
	}
	eventually(t, "an event is taken", func() bool { return post(t, api.URL()+"/api/v1/events", event) == http.StatusNoContent })

	// What no sink can read becomes a dead letter.
	nc, err := nats.Connect(url, nats.RootCAs(ca))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), stream.Subject, []byte("no batch")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the meter was compared with the stream", func() bool {
		return post(t, sink.URL()+"/api/v1/reconcile?settle=0s", "") < 300
	})

	last := []string{ // what comes with a later look only
		"kgents_deadletters_newest_age_seconds", "kgents_backlog_messages", "kgents_backup_last_success_timestamp_seconds",
		"kgents_certificate_expiry_timestamp_seconds", "kgents_redis_evicted_keys_total", "kgents_reconcile_missing_events",
		"kgents_nats_stream_limit_bytes",
	}
	all := map[string]*dto.MetricFamily{}
	var missing []string
	t.Cleanup(func() {
		if len(missing) > 0 {
			t.Errorf("nobody exports %q", missing)
		}
	})
	eventually(t, "all was looked at", func() bool {
		clear(all)
		for _, a := range []*app.App{meterRole, api, sink, refusing} {
			for name, f := range scrape(t, a) {
				if all[name] == nil {
					all[name] = f
				} else {
					all[name].Metric = append(all[name].Metric, f.Metric...)
				}
			}
		}
		missing = slices.DeleteFunc(slices.Clone(last), func(name string) bool { return all[name] != nil })
		return len(missing) == 0
	})
	return all
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

var (
	selector = regexp.MustCompile(`(rate|increase|max_over_time)?(?:\(+)?\b(kgents_[a-z0-9_]+|process_[a-z_]+)\b(\{[^}]*\})?`)
	recorded = regexp.MustCompile(`\b[a-z]+:kgents_[a-z0-9_]+:[a-z0-9_]+\b`)
	matcher  = regexp.MustCompile(`([a-z_]+)\s*(=~|=)\s*"([^"]*)"`)
	grouping = regexp.MustCompile(`\b(?:by|on)\s*\(([^)]*)\)`)
)

// targetLabels are those that a scrape adds.
var targetLabels = []string{"namespace", "job", "instance"}

// Every metric in a rule is one that the program exports, with a type for which the
// rule's function has a meaning, and every label and value that it is asked for. Every
// recorded series in a rule is recorded before.
func TestRulesNameWhatIsExported(t *testing.T) {
	file, err := alerts.Rules()
	if err != nil {
		t.Fatal(err)
	}
	exported := roles(t)
	records := map[string]bool{"kgents_stripe_webhook_latency_p99": true}
	labels := slices.Clone(targetLabels)
	for _, f := range exported {
		for _, m := range f.Metric {
			for _, l := range m.Label {
				labels = append(labels, l.GetName())
			}
		}
	}
	labels = append(labels, "le")
	seen := map[string]bool{}
	for r := range file.All() {
		name := r.Alert + r.Record
		expr := recorded.ReplaceAllStringFunc(r.Expr, func(record string) string {
			if !records[record] {
				t.Errorf("%s: %s is not recorded before", name, record)
			}
			return "recorded"
		})
		if r.Record != "" {
			records[r.Record] = true
		}
		for _, m := range grouping.FindAllStringSubmatch(expr, -1) {
			for _, label := range strings.Split(m[1], ",") {
				if !slices.Contains(labels, strings.TrimSpace(label)) {
					t.Errorf("%s: nothing has the label %q", name, label)
				}
			}
		}
		for _, m := range selector.FindAllStringSubmatch(expr, -1) {
			function, metric, matchers := m[1], m[2], m[3]
			if records[metric] {
				continue
			}
			seen[metric] = true
			base := metric
			family := exported[base]
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				if family == nil {
					base = strings.TrimSuffix(metric, suffix)
					family = exported[base]
				}
			}
			if family == nil {
				t.Errorf("%s: the program does not export %s", name, metric)
				continue
			}
			if (base != metric) != (family.GetType() == dto.MetricType_HISTOGRAM) {
				t.Errorf("%s: %s is a %s", name, metric, family.GetType())
			}
			grows := family.GetType() != dto.MetricType_GAUGE
			if rated := function == "rate" || function == "increase"; rated && !grows || !rated && grows && function != "max_over_time" {
				t.Errorf("%s: %s(%s), which is a %s", name, function, metric, family.GetType())
			}
			for _, want := range matcher.FindAllStringSubmatch(matchers, -1) {
				checkMatcher(t, name+": "+metric, family, want[1], want[2], want[3])
			}
		}
	}
	if len(seen) < 30 {
		t.Errorf("only %d metrics found in the rules: %v", len(seen), seen)
	}
}

// checkMatcher looks for each alternative of a matcher among what is exported.
func checkMatcher(t *testing.T, what string, family *dto.MetricFamily, label, op, value string) {
	t.Helper()
	var have []string
	for _, m := range family.Metric {
		for _, l := range m.Label {
			if l.GetName() == label {
				have = append(have, l.GetValue())
			}
		}
		if label == "le" {
			for _, b := range m.GetHistogram().GetBucket() {
				have = append(have, model.SampleValue(b.GetUpperBound()).String())
			}
		}
	}
	alternatives := []string{value}
	if op == "=~" {
		alternatives = strings.Split(value, "|")
	}
	for _, a := range alternatives {
		if label == "le" {
			a = strings.TrimSuffix(a, ".0") // as OpenMetrics writes it
		}
		re := regexp.MustCompile("^(?:" + a + ")$")
		if !slices.ContainsFunc(have, re.MatchString) {
			t.Errorf("%s: no series has %s=%q; there are %q", what, label, a, slices.Compact(slices.Sorted(slices.Values(have))))
		}
	}
}
