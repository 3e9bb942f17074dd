package dashboard_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kgents/kgents/admit/redistest"
	"github.com/kgents/kgents/alerts/dashboard"
	"github.com/kgents/kgents/alerts/prometheustest"
	"github.com/kgents/kgents/app"
	"github.com/kgents/kgents/config"
	"github.com/kgents/kgents/emit"
	"github.com/kgents/kgents/verify"
)

// patience is far beyond what a busy machine needs.
const patience = 90 * time.Second

// empty are the queries that this world has no answer to, with the reason.
var empty = map[string]string{
	"Certificate expires in, A": "the embedded server has no TLS",
	"Age of the last proof, C":  "nobody has made a backup",

	"Overage that is stuck, A": "there is no key of Stripe",
	"Overage last reported, A": "there is no key of Stripe",
}

// fires stands in for the rules, so that what asks for alerts has some to find.
const fires = `groups:
- name: dashboard
  rules:
  - {alert: NATSCircuitOpen, expr: vector(1), labels: {severity: critical}}
  - {alert: BackupMissing, expr: vector(1), labels: {severity: warning}}
  - {alert: Watchdog, expr: vector(1), labels: {severity: none}}
`

// server is a Prometheus that scrapes one program every second.
type server struct {
	t   *testing.T
	url string
}

func scrape(t *testing.T, target string) *server {
	t.Helper()
	p := prometheustest.Start(t, prometheustest.Options{Rules: []byte(fires)})
	p.Watch(t, "", map[string]string{target: "kgents"})
	return &server{t, p.URL}
}

// ask returns how many series with a number a query has now.
func (s *server) ask(expr string) (series int, err error) {
	var result []struct{ Value [2]any }
	if err := s.get("/api/v1/query?query="+url.QueryEscape(expr), "result", &result); err != nil {
		return 0, err
	}
	for _, r := range result {
		text, _ := r.Value[1].(string)
		if v, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(v) {
			series++
		}
	}
	return series, nil
}

// labels are the values of one, as a variable of the dashboard asks for them.
func (s *server) labels(name, selector string) (values []string) {
	s.t.Helper()
	if err := s.get("/api/v1/label/"+name+"/values?match[]="+url.QueryEscape(selector), "", &values); err != nil {
		s.t.Fatal(err)
	}
	return values
}

func (s *server) get(path, field string, into any) error {
	resp, err := http.Get(s.url + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer struct {
		Error string
		Data  json.RawMessage
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%d %s", resp.StatusCode, answer.Error)
	}
	data := answer.Data
	if field != "" {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(data, &fields); err != nil {
			return err
		}
		data = fields[field]
	}
	return json.Unmarshal(data, into)
}

// stranger is a webhook that no meter counts.
type stranger struct{ sent bool }

// Next implements emit.Source.
func (s *stranger) Next() (emit.Request, bool) {
	first := !s.sent
	s.sent = true
	body := fmt.Sprintf(`{"id":"evt_stranger","object":"event","type":"customer.created","created":%d,"data":{"object":{"id":"cus_1","object":"customer"}}}`, time.Now().Unix())
	return emit.Request{Path: "/webhooks/stripe", ContentType: "application/json", Signed: true, Body: []byte(body), Events: 1}, first
}

// program is everything in one process, with Redis and a spool.
func program(t *testing.T) *app.App {
	t.Helper()
	env := map[string]string{
		"API_HOST": "127.0.0.1", "API_PORT": "0", "OPENMETER_FLUSH_INTERVAL": "10ms",
		"REDIS_URL": redistest.Start(t, "--maxmemory", "64mb").URL(),
	}
	c, _, err := config.Load(config.RoleUp, config.Source{Env: func(k string) (string, bool) { v, ok := env[k]; return v, ok }})
	if err != nil {
		t.Fatal(err)
	}
	c.DataDir = t.TempDir()
	a, err := app.Start(t.Context(), config.RoleUp, c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Stop)
	return a
}

// load is a little of everything that comes in, a canary, and a reconciliation.
func load(ctx context.Context, t *testing.T, a *app.App) {
	t.Helper()
	mix := emit.Mix{Count: 60, Customers: 5, Duplicates: 0.2}
	payments, err := emit.Stripe(mix)
	if err != nil {
		t.Fatal(err)
	}
	usage, err := emit.Usage(emit.UsageMix{Mix: mix, Batch: 5})
	if err != nil {
		t.Fatal(err)
	}
	key := a.Config().APIKeys[0]
	for _, source := range []emit.Source{payments, usage, &stranger{}} {
		r := emit.Run(ctx, emit.Plan{URL: a.URL(), APIKey: key, WebhookSecret: a.Config().WebhookSecrets[0], Source: source, Concurrency: 2, Retries: 3})
		if !r.OK() && ctx.Err() == nil {
			t.Fatalf("the program does not take everything: %+v", r)
		}
	}
	if r, err := verify.Run(ctx, verify.Target{URL: a.URL(), Key: key}, func(verify.Stage) {}); (err != nil || !r.OK()) && ctx.Err() == nil {
		t.Fatalf("the canary did not come through: %+v %v", r, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.URL()+"/api/v1/reconcile?since=1h&settle=0s", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		t.Fatalf("a reconciliation is answered with %d %s", resp.StatusCode, body)
	}
}

// grafana puts in what Grafana does: all of every label, and its intervals.
var grafana = strings.NewReplacer("$namespace", ".*", "$job", "kgents.*", "$instance", ".*",
	"$__rate_interval", "20s", "$__range", "1m", "$__interval", "5s")

// Every query has an answer from a real Prometheus that scrapes the real program
// under load, but for those that are named, which have none.
func TestQueries(t *testing.T) {
	a := program(t)
	prom := scrape(t, a.URL())
	queries := map[string]string{} // by title and letter
	for _, p := range pictures() {
		for _, q := range p.Targets {
			queries[p.Title+", "+q.RefID] = grafana.Replace(q.Expr)
		}
	}
	for _, an := range dashboard.New().Annotations.List {
		if an.Expr != "" {
			queries["annotation "+an.Name] = grafana.Replace(an.Expr)
		}
	}
	unanswered := maps.Clone(queries)
	maps.DeleteFunc(unanswered, func(name, _ string) bool { return empty[name] != "" })
	for deadline := time.Now().Add(patience); len(unanswered) > 0; {
		load(t.Context(), t, a)
		for name, expr := range unanswered {
			series, err := prom.ask(expr)
			if time.Now().After(deadline) {
				t.Errorf("%s has no answer: %s (%v)", name, expr, err)
			}
			if series > 0 || time.Now().After(deadline) {
				delete(unanswered, name)
			}
		}
	}
	for name, expr := range queries {
		reason := empty[name]
		if series, err := prom.ask(expr); reason != "" && (series > 0 || err != nil) {
			t.Errorf("%s has %d answers (%v), though %s", name, series, err, reason)
		}
	}
	for name := range empty {
		if queries[name] == "" {
			t.Errorf("there is no query %q", name)
		}
	}
	if jobs := prom.labels("job", `kgents_build_info{namespace=~".*"}`); !slices.Equal(jobs, []string{"kgents"}) {
		t.Errorf("the variable job offers %v", jobs)
	}
	if instances := prom.labels("instance", `kgents_build_info{namespace=~".*",job=~"kgents.*"}`); len(instances) != 1 {
		t.Errorf("the variable instance offers %v", instances)
	}
	t.Logf("%d queries of %d panels have an answer, %d have none", len(queries)-len(empty), len(pictures()), len(empty))
}
