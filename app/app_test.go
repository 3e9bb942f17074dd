package app_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stripe/stripe-go/v85/webhook"
	"go.uber.org/goleak"

	"github.com/kgents/kgents/app"
	"github.com/kgents/kgents/config"
)

// A cluster of nats-server 2.15.2 that is shut down while it makes a stream leaves
// that stream's loops behind. They are the servers' that tests start, not ours.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server.(*fileStore).flushStreamStateLoop"),
		goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server/ats.Register.func1"))
}

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
		`{"specversion":"1.0","id":%q,"source":"smallville","type":"town.interaction","subject":"customer-1","data":{"town":"smallville","operation":"greet"}}`, id))
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
