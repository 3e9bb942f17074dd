package app_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/stripe/stripe-go/v85/webhook"
	"go.uber.org/goleak"

	"github.com/kgents/kgents/app"
	"github.com/kgents/kgents/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	apiKey        = "kg_never-shown"
	webhookSecret = "whsec_never-shown"
)

// journal is a log that is read while it is written.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

// settings are those of role as the environment would give them, on a free port
// of this machine.
func settings(t *testing.T, role config.Role, env map[string]string) config.Config {
	t.Helper()
	all := map[string]string{
		"API_HOST": "127.0.0.1", "API_PORT": "0", "NATS_REPLICAS": "1", "OPENMETER_FLUSH_INTERVAL": "10ms",
		"API_KEYS": apiKey, "STRIPE_WEBHOOK_SECRET": webhookSecret,
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
	return c
}

// program is a running role.
type program struct {
	*app.App
	t    *testing.T
	log  *journal
	stop func()
}

func start(t *testing.T, role config.Role, c config.Config) *program {
	t.Helper()
	log := &journal{}
	a, err := app.Start(t.Context(), role, c, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	p := &program{App: a, t: t, log: log, stop: sync.OnceFunc(a.Stop)}
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("log of %s:\n%s", role, log)
		}
	})
	return p
}

// answer is a response that was read to its end.
type answer struct {
	status int
	header http.Header
	body   string
}

// Connections are not kept, so that none outlives its test.
var client = &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}

func do(req *http.Request) (answer, error) {
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(b)}, err
}

func (p *program) send(req *http.Request) answer {
	p.t.Helper()
	a, err := do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	return a
}

func (p *program) request(method, path, body string) *http.Request {
	req, err := http.NewRequest(method, p.URL()+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+apiKey)
	req.Header.Set("Content-Type", "application/cloudevents+json")
	return req
}

func (p *program) get(path string) answer {
	p.t.Helper()
	return p.send(p.request(http.MethodGet, path, ""))
}

// interaction is an event of the default meter town_interactions.
func (p *program) interaction(id string) *http.Request {
	return p.request(http.MethodPost, "/api/v1/events", fmt.Sprintf(
		`{"specversion":"1.0","id":%q,"source":"town","type":"town.interaction","subject":"customer-1","data":{"town":"smallville","operation":"greet"}}`, id))
}

// webhook is a signed event of Stripe's of the given type.
func (p *program) webhook(id, typ string) *http.Request {
	body := fmt.Sprintf(`{"id":%q,"object":"event","type":%q,"created":%d,"data":{"object":{"id":"in_1","customer":"cus_1","amount_paid":4900,"currency":"usd"}}}`,
		id, typ, time.Now().Unix())
	signed := webhook.GenerateTestSignedPayload(&webhook.UnsignedPayload{Payload: []byte(body), Secret: webhookSecret})
	req := p.request(http.MethodPost, "/webhooks/stripe", body)
	req.Header.Del("Authorization")
	req.Header.Set("Stripe-Signature", signed.Header)
	return req
}

// interactions is how many the meter has counted.
func (p *program) interactions() int {
	p.t.Helper()
	a := p.get("/api/v1/meters/town_interactions/query")
	var result struct{ Data []struct{ Value float64 } }
	if err := json.Unmarshal([]byte(a.body), &result); a.status != http.StatusOK || err != nil {
		p.t.Fatalf("query answers %d %s (%v)", a.status, a.body, err)
	}
	total := 0
	for _, row := range result.Data {
		total += int(row.Value)
	}
	return total
}

// saas is what /health/saas says, as a monitor reads it.
type saas struct {
	Status string `json:"status"`
	NATS   struct {
		Status, Mode, Circuit, Detail string
		Spooled                       int `json:"spooled_events"`
	} `json:"nats"`
	OpenMeter struct {
		Status   string
		Embedded bool
		Detail   string
	} `json:"openmeter"`
	Redis struct{ Status, Detail string } `json:"redis"`
}

func (p *program) saas() (s saas) {
	p.t.Helper()
	a := p.get("/health/saas")
	if err := json.Unmarshal([]byte(a.body), &s); a.status != http.StatusOK || err != nil {
		p.t.Fatalf("/health/saas answers %d %s (%v)", a.status, a.body, err)
	}
	return s
}

// eventually waits for what other goroutines and servers bring about. The limit
// is far beyond what a busy machine needs.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(time.Minute); !ok(); {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("a minute has passed without this: %s", what)
		}
	}
}

func (p *program) ready() {
	p.t.Helper()
	eventually(p.t, "ready", func() bool { return p.get("/readyz").status == http.StatusOK })
}

// natsServer is a real server that syncs before it acknowledges.
func natsServer(t *testing.T, jetStream bool) (addr string) {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, JetStream: jetStream, StoreDir: t.TempDir(), SyncAlways: true, NoSigs: true, NoLog: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(30 * time.Second) {
		t.Fatal("the NATS server does not start")
	}
	return s.Addr().String()
}

// gate is an address behind which a server comes and goes.
type gate struct {
	l      net.Listener
	target atomic.Pointer[string] // nil: whoever connects is cut off
	pipes  sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool
}

func newGate(t *testing.T) *gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{l: l, conns: map[net.Conn]bool{}}
	g.pipes.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			g.pass(in)
		}
	})
	t.Cleanup(func() { l.Close(); g.close(); g.pipes.Wait() })
	return g
}

func (g *gate) pass(in net.Conn) {
	target := g.target.Load()
	if target == nil {
		in.Close()
		return
	}
	out, err := net.Dial("tcp", *target)
	if err != nil {
		in.Close()
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conns[in], g.conns[out] = true, true
	for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
		g.pipes.Go(func() {
			_, _ = io.Copy(pair[0], pair[1])
			pair[0].Close()
			pair[1].Close()
		})
	}
}

func (g *gate) open(target string) { g.target.Store(&target) }

func (g *gate) close() {
	g.target.Store(nil)
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.conns {
		c.Close()
	}
}

// remoteMeter is an OpenMeter that answers everything with what handler says.
func remoteMeter(t *testing.T, handler http.HandlerFunc) (url string) {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s.URL
}

func wantProblem(t *testing.T, a answer, status int) {
	t.Helper()
	if got := a.header.Get("Content-Type"); a.status != status || got != "application/problem+json" {
		t.Errorf("answer is %d %s, want a problem with %d: %s", a.status, got, status, a.body)
	}
	if status == http.StatusServiceUnavailable && !regexp.MustCompile(`^[1-9][0-9]*$`).MatchString(a.header.Get("Retry-After")) {
		t.Errorf("Retry-After is %q, want seconds", a.header.Get("Retry-After"))
	}
}

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
			return strings.Contains(a.body, `"0 messages`)
		})
		delete(got.(map[string]any), "version") // of the build
		want := map[string]any{
			"status": "ok", "role": "up",
			"components": []any{
				map[string]any{"name": "nats", "status": "healthy"},
				map[string]any{"name": "openmeter", "status": "healthy"},
				map[string]any{"name": "redis", "status": "disabled", "detail": "identities are kept in memory"},
				map[string]any{"name": "backlog", "status": "ok", "detail": "0 messages, the oldest 0 s old"},
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

// Each role alone, as in a cluster: started before there is a NATS, they find it
// when it comes, and again when it was away.
func TestNATSComesLater(t *testing.T) {
	nats := newGate(t)
	meterRole := start(t, config.RoleMeter, settings(t, config.RoleMeter, nil))
	env := map[string]string{
		"NATS_SERVERS": "nats://" + nats.l.Addr().String(), "OPENMETER_BASE_URL": meterRole.URL(), "OPENMETER_API_KEY": apiKey,
	}
	api := start(t, config.RoleAPI, settings(t, config.RoleAPI, env))
	// The sink has a way of its own, so that the two do not change the stream at
	// once: nats-server has a data race there.
	sinkNATS := newGate(t)
	env["NATS_SERVERS"] = "nats://" + sinkNATS.l.Addr().String()
	sink := start(t, config.RoleSink, settings(t, config.RoleSink, env))

	for name, p := range map[string]*program{"api": api, "sink": sink} {
		if a := p.get("/livez"); a.status != 200 {
			t.Errorf("%s: /livez answers %d without NATS: a restart would mend nothing", name, a.status)
		}
		wantProblem(t, p.get("/readyz"), http.StatusServiceUnavailable)
		if a := p.get("/health"); a.status != http.StatusServiceUnavailable || !strings.Contains(a.body, `"status": "error"`) {
			t.Errorf("%s: /health answers %d %s, want 503 with error", name, a.status, a.body)
		}
		if s := p.saas(); s.Status != "error" || s.NATS.Status != "disconnected" || s.NATS.Detail == "" {
			t.Errorf("%s: /health/saas says %+v, want error, NATS disconnected", name, s)
		}
		if !strings.Contains(p.get("/metrics").body, "\nkgents_nats_connected 0\n") {
			t.Errorf("%s: kgents_nats_connected is not 0", name)
		}
	}
	wantProblem(t, api.send(api.interaction("refused")), http.StatusServiceUnavailable)

	target := natsServer(t, true)
	nats.open(target)
	api.ready()
	sinkNATS.open(target)
	sink.ready()
	if a := api.send(api.interaction("1")); a.status != http.StatusNoContent {
		t.Fatalf("NATS is there, but an event is answered with %d %s", a.status, a.body)
	}
	eventually(t, "the meter has counted it", func() bool { return meterRole.interactions() == 1 })
	if got := api.interactions(); got != 1 {
		t.Errorf("through the api the meter counts %d, want 1", got)
	}
	for name, p := range map[string]*program{"api": api, "sink": sink} {
		eventually(t, name+" is well", func() bool { a := p.get("/health"); return a.status == 200 && p.saas().Status == "ok" })
		if s := p.saas(); s.NATS.Status != "healthy" || s.NATS.Mode != "jetstream" || s.OpenMeter.Status != "healthy" || s.OpenMeter.Embedded {
			t.Errorf("%s: /health/saas says %+v", name, s)
		}
	}

	nats.close()
	eventually(t, "the loss shows", func() bool { return api.saas().NATS.Status == "disconnected" })
	if a := api.get("/readyz"); a.status != 200 {
		t.Errorf("/readyz answers %d after NATS was lost: its 503 tells a client more than no pod at all", a.status)
	}
	nats.open(target)
	eventually(t, "NATS is back", func() bool { return api.saas().Status == "ok" })
	if a := api.send(api.interaction("2")); a.status != http.StatusNoContent {
		t.Fatalf("NATS is back, but an event is answered with %d %s", a.status, a.body)
	}
	eventually(t, "the meter has counted that too", func() bool { return meterRole.interactions() == 2 })
}

// A NATS without JetStream can make nothing durable, so it is as good as none.
func TestNATSWithoutJetStream(t *testing.T) {
	p := start(t, config.RoleAPI, settings(t, config.RoleAPI, map[string]string{
		"NATS_SERVERS":       "nats://" + natsServer(t, false),
		"OPENMETER_BASE_URL": remoteMeter(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("[]")) }),
	}))
	eventually(t, "health names JetStream", func() bool { return strings.Contains(p.saas().NATS.Detail, "JetStream") })
	if s := p.saas(); s.Status != "error" || s.NATS.Status != "disconnected" {
		t.Errorf("/health/saas says %+v, want error, NATS disconnected", s)
	}
	wantProblem(t, p.get("/readyz"), http.StatusServiceUnavailable)
	wantProblem(t, p.send(p.interaction("1")), http.StatusServiceUnavailable)
}

// The meter role needs no NATS and guards its data.
func TestMeterRole(t *testing.T) {
	p := start(t, config.RoleMeter, settings(t, config.RoleMeter, nil))
	p.ready()
	if s := p.saas(); s.Status != "ok" || s.NATS.Status != "disabled" || s.OpenMeter.Status != "healthy" || !s.OpenMeter.Embedded {
		t.Errorf("/health/saas says %+v", s)
	}
	if a := p.send(p.interaction("1")); a.status != http.StatusNoContent {
		t.Errorf("an event is answered with %d %s", a.status, a.body)
	}
	if got := p.interactions(); got != 1 {
		t.Errorf("%d interactions are counted, want 1", got)
	}
	req := p.interaction("2")
	req.Header.Del("Authorization")
	wantProblem(t, p.send(req), http.StatusUnauthorized)
	wantProblem(t, p.send(p.request("POST", "/webhooks/stripe", "{}")), http.StatusNotFound)
}

// freePort is below the range from which systems choose ports, so nobody takes it
// by chance before it is used.
func freePort(t *testing.T) int {
	t.Helper()
	for range 100 {
		port := 20_000 + rand.IntN(10_000)
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

// What the user can get wrong is one line that names the thing, and a start that
// fails gives back all it had.
func TestStartRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	holder := start(t, config.RoleMeter, settings(t, config.RoleMeter, nil))
	file := func(t *testing.T, path, content string) string {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, test := range []struct {
		name  string
		spoil func(t *testing.T, c *config.Config)
		says  []string
	}{
		{
			"port in use", func(_ *testing.T, c *config.Config) { c.APIPort = port },
			[]string{fmt.Sprintf("port %d", port), "in use", "--api-port"},
		},
		{
			"host of another machine", func(_ *testing.T, c *config.Config) { c.APIHost = "192.0.2.1" },
			[]string{"192.0.2.1:", "--api-host"},
		},
		{
			"data directory of a running one", func(_ *testing.T, c *config.Config) { c.DataDir = holder.Config().DataDir },
			[]string{holder.Config().DataDir, "in use", fmt.Sprintf("pid %d", os.Getpid()), "--data"},
		},
		{
			"data directory that is a file", func(t *testing.T, c *config.Config) { c.DataDir = file(t, filepath.Join(c.DataDir, "file"), "") },
			[]string{"data directory", "not a directory", "--data"},
		},
		{
			"no place for NATS", func(t *testing.T, c *config.Config) { file(t, filepath.Join(c.DataDir, "nats"), "") },
			[]string{"embedded NATS", "not a directory", "/nats"},
		},
		{
			"a broken database", func(t *testing.T, c *config.Config) {
				file(t, filepath.Join(c.DataDir, "meter.db"), strings.Repeat("no database ", 1000))
			},
			[]string{"embedded meter"},
		},
		{
			"no meters file", func(_ *testing.T, c *config.Config) { c.MetersFile = filepath.Join(c.DataDir, "none.yaml") },
			[]string{"METERS_FILE", "none.yaml"},
		},
		{
			"a broken meters file", func(t *testing.T, c *config.Config) {
				c.MetersFile = file(t, filepath.Join(c.DataDir, "meters.yaml"), "meters: [\n- ][")
			},
			[]string{"METERS_FILE", "meters.yaml"},
		},
		{
			"no credentials for NATS", func(_ *testing.T, c *config.Config) {
				c.NATSServers, c.NATSCreds = []string{"nats://127.0.0.1:1"}, filepath.Join(c.DataDir, "none.creds")
			},
			[]string{"NATS", "none.creds"},
		},
		{
			"no CA for NATS", func(_ *testing.T, c *config.Config) {
				c.NATSServers, c.NATSTLSCA = []string{"tls://127.0.0.1:1"}, filepath.Join(c.DataDir, "none.pem")
			},
			[]string{"NATS", "none.pem"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := goleak.IgnoreCurrent()
			c := settings(t, config.RoleUp, nil)
			c.APIPort = freePort(t)
			good := c
			test.spoil(t, &c)
			a, err := app.Start(t.Context(), config.RoleUp, c, slog.New(slog.DiscardHandler))
			if err == nil {
				a.Stop()
				t.Fatal("it starts")
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("the error is more than one line: %q", err)
			}
			for _, s := range test.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("the error does not say %q: %v", s, err)
				}
			}
			goleak.VerifyNone(t, before)
			for _, name := range []string{"nats", "meter.db"} { // what spoilt it
				if info, err := os.Stat(filepath.Join(good.DataDir, name)); err == nil && info.Mode().IsRegular() {
					os.Remove(filepath.Join(good.DataDir, name))
				}
			}
			start(t, config.RoleUp, good).stop() // neither port nor lock is held
		})
	}
}

// Stop finishes what is under way and takes nothing new.
func TestStopDrains(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Run("a request under way", func(t *testing.T) { // its servers are gone when the goroutines are counted
		entered, release := make(chan struct{}), make(chan struct{})
		meter := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.RawQuery == "slow" {
				close(entered)
				<-release
			}
			_, _ = w.Write([]byte("[]"))
		}))
		var connections atomic.Int64
		meter.Config.ConnState = func(_ net.Conn, s http.ConnState) {
			switch s {
			case http.StateNew:
				connections.Add(1)
			case http.StateClosed:
				connections.Add(-1)
			}
		}
		meter.Start()
		t.Cleanup(meter.Close)
		p := start(t, config.RoleAPI, settings(t, config.RoleAPI, map[string]string{
			"NATS_SERVERS": "nats://" + natsServer(t, true), "OPENMETER_BASE_URL": meter.URL,
		}))
		p.ready()
		slow, failed := make(chan answer, 1), make(chan error, 1)
		req := p.request(http.MethodGet, "/api/v1/meters?slow", "")
		go func() {
			a, err := do(req)
			if err != nil {
				failed <- err
				return
			}
			slow <- a
		}()
		<-entered
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			p.stop()
		}()
		eventually(t, "new connections are refused", func() bool {
			_, err := do(p.request(http.MethodGet, "/livez", ""))
			return err != nil
		})
		select {
		case <-stopped:
			t.Error("Stop has not waited for the request under way")
		default:
		}
		close(release)
		select {
		case a := <-slow:
			if a.status != 200 || a.body != "[]" {
				t.Errorf("the request under way is answered with %d %q", a.status, a.body)
			}
		case err := <-failed:
			t.Errorf("the request under way was cut: %v", err)
		}
		<-stopped
		eventually(t, "no connection to the meter is left", func() bool { return connections.Load() == 0 })
		select {
		case err := <-p.Failed():
			t.Errorf("a stop is no failure: %v", err)
		default:
		}
	})
	goleak.VerifyNone(t, before)
}

// Whatever was answered with 204 is counted by the next start, once, though the
// program was stopped with requests in every stage.
func TestStopUnderLoad(t *testing.T) {
	before := goleak.IgnoreCurrent()
	c := settings(t, config.RoleUp, nil)
	p := start(t, config.RoleUp, c)
	p.ready()
	var (
		taken, tried atomic.Int64
		senders      sync.WaitGroup
	)
	for i := range 8 {
		senders.Go(func() {
			for n := 0; ; n++ {
				tried.Add(1)
				a, err := do(p.interaction(fmt.Sprintf("%d-%d", i, n)))
				switch {
				case err != nil: // the port is closed
					return
				case a.status == http.StatusNoContent:
					taken.Add(1)
				case a.status != http.StatusServiceUnavailable:
					t.Errorf("an event is answered with %d %s", a.status, a.body)
					return
				}
			}
		})
	}
	eventually(t, "events flow", func() bool { return taken.Load() > 100 })
	p.stop()
	senders.Wait()
	goleak.VerifyNone(t, before)

	p = start(t, config.RoleUp, c)
	p.ready()
	eventually(t, "all that was accepted is counted", func() bool { return int64(p.interactions()) >= taken.Load() })
	if got := int64(p.interactions()); got > tried.Load() {
		t.Errorf("%d are counted, more than the %d that were sent", got, tried.Load())
	}
}

// No secret is in an answer or a log line, whatever is asked and however wrong
// things are, at the most talkative level.
func TestSecretsStaySecret(t *testing.T) {
	const meterKey, natsPassword = "om_repeated", "np_never-shown"
	nats := newGate(t)
	meter := remoteMeter(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, "not good: "+r.Header.Get("Authorization"))
	})
	away := map[string]string{
		"NATS_SERVERS":       "nats://user:" + natsPassword + "@" + nats.l.Addr().String(),
		"OPENMETER_BASE_URL": meter, "OPENMETER_API_KEY": meterKey,
	}
	for _, test := range []struct {
		name string
		role config.Role
		env  map[string]string
	}{
		{"up with configured secrets", config.RoleUp, nil},
		{"up with secrets of its own", config.RoleUp, map[string]string{"API_KEYS": "", "STRIPE_WEBHOOK_SECRET": ""}},
		{"up with a meter that repeats the key", config.RoleUp, map[string]string{"OPENMETER_BASE_URL": meter, "OPENMETER_API_KEY": meterKey}},
		{"api with nothing there", config.RoleAPI, away},
		{"meter", config.RoleMeter, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := start(t, test.role, settings(t, test.role, test.env))
			local := p.Local()
			secrets := []string{"never-shown", meterKey}
			for _, s := range []string{local.APIKey, local.WebhookSecret} {
				if s != "" {
					secrets = append(secrets, s)
				}
			}
			if test.name == "up with secrets of its own" && len(secrets) != 4 {
				t.Fatalf("it made %d secrets, want 2", len(secrets)-2)
			}
			if test.env["NATS_SERVERS"] == "" {
				p.ready()
			}
			clean := func(where, text string) {
				for _, s := range secrets {
					if i := strings.Index(text, s); i >= 0 {
						t.Errorf("%s shows a secret: …%s…", where, text[max(0, i-120):min(len(text), i+40)])
					}
				}
			}
			reqs := []*http.Request{p.interaction("1"), p.webhook("evt_1", "invoice.paid")}
			for _, path := range []string{
				"/health", "/health/saas", "/readyz", "/livez", "/metrics", "/webhooks/stripe/health",
				"/api/v1/meters", "/api/v1/events", "/nowhere", "/",
			} {
				reqs = append(reqs, p.request(http.MethodGet, path, ""))
			}
			wrong := p.interaction("2")
			wrong.Header.Set("Authorization", "Bearer "+apiKey+"x")
			forged := p.webhook("evt_2", "invoice.paid")
			forged.Header.Set("Stripe-Signature", "t=1,v1="+webhookSecret)
			reqs = append(reqs, wrong, forged)
			if local.APIKey != "" {
				right := p.interaction("3")
				right.Header.Set("Authorization", "Bearer "+local.APIKey)
				reqs = append(reqs, right)
			}
			for _, req := range reqs {
				a := p.send(req)
				clean(req.Method+" "+req.URL.Path, fmt.Sprint(a.header, a.body))
			}
			if test.env["OPENMETER_BASE_URL"] == meter {
				eventually(t, "health knows that the meter refuses us", func() bool { return p.saas().OpenMeter.Detail != "" })
				clean("/health", p.get("/health").body)
				clean("/health/saas", p.get("/health/saas").body)
			}
			p.stop()
			// The meter's own words go to the log, for the operator; what they may hold is
			// for package meter to say.
			clean("the log", p.log.String())
		})
	}
}
