package app_test

import (
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents/admit/redistest"
	"github.com/kgents/kgents/config"
)

var update = flag.Bool("update", false, "write the tables of metrics into the documentation")

const metricsPage = "../docs/saas/metrics.md"

// metric is what the documentation says of one.
type metric struct {
	help, kind string
	labels     string
	roles      []config.Role
}

var description = regexp.MustCompile(`^Desc\{fqName: ("(?:[^"\\]|\\.)*"), help: ("(?:[^"\\]|\\.)*"), unit: "[^"]*", constLabels: \{.*\}, variableLabels: \{(.*)\}\}$`)

// described are all metrics that a role has registered, also those that have no
// value yet, by their names.
func described(t *testing.T, reg *prometheus.Registry) map[string]metric {
	t.Helper()
	descs, out := make(chan *prometheus.Desc), map[string]metric{}
	go func() { defer close(descs); reg.Describe(descs) }()
	for d := range descs {
		m := description.FindStringSubmatch(d.String())
		if m == nil {
			t.Errorf("%s is no description that this test can read", d)
			continue
		}
		name, err := strconv.Unquote(m[1])
		if err != nil {
			t.Fatal(err)
		}
		help, err := strconv.Unquote(m[2])
		if err != nil {
			t.Fatal(err)
		}
		out[name] = metric{help: help, labels: strings.ReplaceAll(m[3], ",", ", ")}
	}
	return out
}

// unit is what a name says of it.
func unit(name string) string {
	for _, u := range []struct{ in, out string }{
		{"_timestamp_seconds", "Unix time in seconds"}, {"_time_seconds", "Unix time in seconds"}, {"_seconds", "seconds"}, {"_bytes", "bytes"}, {"_info", "always 1"},
	} {
		if strings.Contains(name, u.in) {
			return u.out
		}
	}
	return "number"
}

// everyRole runs all roles with everything that adds a metric, as long as it takes
// for each metric to have a value. A counter may have none: it is told by its name.
func everyRole(t *testing.T) map[string]metric {
	t.Helper()
	pki := newPKI(t)
	server := pki.natsServer(t)
	files := map[string]string{"NATS_TLS_CA": pki.file("ca.crt"), "NATS_TLS_CERT": pki.file("client.crt"), "NATS_TLS_KEY": pki.file("client.key")}
	env := map[string]string{
		"REDIS_URL": redistest.Start(t, "--maxmemory", "64mb").URL(), "NATS_SERVERS": "tls://" + server.Addr().String(),
		"NATS_STREAM_MAX_BYTES": "64MiB", "OPENMETER_API_KEY": apiKey, "SPOOL_DIR": t.TempDir(),
		"OTEL_EXPORTER_OTLP_ENDPOINT": remoteMeter(t, func(http.ResponseWriter, *http.Request) {}),
		"STRIPE_API_KEY":              "sk_test_1", "STRIPE_API_BASE": remoteMeter(t, func(http.ResponseWriter, *http.Request) {}),
	}
	maps.Copy(env, files)
	programs := map[config.Role]*program{config.RoleMeter: start(t, config.RoleMeter, settings(t, config.RoleMeter, env))}
	env["OPENMETER_BASE_URL"] = programs[config.RoleMeter].URL()
	for _, role := range []config.Role{config.RoleAPI, config.RoleSink} {
		programs[role] = start(t, role, settings(t, role, env))
	}
	alone := maps.Clone(env)
	for name := range alone {
		if strings.HasPrefix(name, "NATS_SERVERS") || strings.HasPrefix(name, "OPENMETER_") {
			delete(alone, name)
		}
	}
	alone["SPOOL_DIR"] = t.TempDir()
	programs[config.RoleUp] = start(t, config.RoleUp, settings(t, config.RoleUp, alone))

	nc, err := nats.Connect("tls://"+server.Addr().String(), nats.RootCAs(pki.file("ca.crt")))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for role, p := range programs {
		p.ready()
		if role == config.RoleSink {
			if _, err := nc.Request("kgent.events", []byte("no batch"), nats.DefaultTimeout); err != nil {
				t.Fatal(err)
			}
		}
		if role == config.RoleSink || role == config.RoleUp {
			if a := p.send(p.request(http.MethodPost, "/api/v1/reconcile", "")); a.status != http.StatusOK {
				t.Errorf("reconciliation is answered with %d %s", a.status, a.body)
			}
		}
	}
	all := map[string]metric{}
	for _, role := range []config.Role{config.RoleUp, config.RoleAPI, config.RoleSink, config.RoleMeter} {
		for name, m := range described(t, programs[role].Registry()) {
			m.roles = append(all[name].roles, role)
			all[name] = m
		}
	}
	missing := func() (out []string) {
		for _, p := range programs {
			families, err := p.Registry().Gather()
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range families {
				m := all[f.GetName()]
				m.kind = strings.ToLower(f.GetType().String())
				all[f.GetName()] = m
			}
		}
		for name, m := range all {
			if m.kind == "" && strings.HasSuffix(name, "_total") {
				m.kind = "counter"
				all[name] = m
			}
			if m.kind == "" {
				out = append(out, name)
			}
		}
		return out
	}
	var without []string
	defer func() {
		if t.Failed() {
			t.Log("have no value: ", without)
		}
	}()
	eventually(t, "every metric has a value", func() bool {
		without = missing()
		return len(without) == 0
	})
	return all
}

func table(all map[string]metric, ours bool) string {
	var b strings.Builder
	b.WriteString("\n| metric | type | labels | unit | roles | meaning |\n|---|---|---|---|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if strings.HasPrefix(name, "kgents_") != ours {
			continue
		}
		m, roles := all[name], "all"
		if len(m.roles) < 4 {
			var words []string
			for _, r := range m.roles {
				words = append(words, string(r))
			}
			roles = strings.Join(words, ", ")
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s |\n", name, m.kind, m.labels, unit(name), roles, strings.ReplaceAll(m.help, "|", `\|`))
	}
	return b.String() + "\n"
}

// TestDocumentedMetrics: the page's tables are made from what the running roles
// have registered.
func TestDocumentedMetrics(t *testing.T) {
	b, err := os.ReadFile(metricsPage)
	if err != nil {
		t.Fatal(err)
	}
	all, page := everyRole(t), string(b)
	for name, m := range all {
		if !strings.HasSuffix(m.help, ".") && strings.HasPrefix(name, "kgents_") {
			t.Errorf("the description of %s is no sentence: %q", name, m.help)
		}
	}
	for _, part := range []struct {
		name string
		ours bool
	}{{"metrics", true}, {"runtime", false}} {
		open, end := "<!-- "+part.name+" -->\n", "<!-- /"+part.name+" -->\n"
		before, rest, ok := strings.Cut(page, open)
		got, after, closed := strings.Cut(rest, end)
		if !ok || !closed {
			t.Fatalf("%s lacks the lines %q and %q", metricsPage, open, end)
		}
		want := table(all, part.ours)
		if d := cmp.Diff(want, got); d != "" && !*update {
			t.Errorf("%s is not up to date, run 'go test ./app -run TestDocumentedMetrics -update' (-want +got):\n%s", metricsPage, d)
		}
		page = before + open + want + end + after
	}
	if *update {
		if err := os.WriteFile(metricsPage, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
