// Package agentesetest runs the shell's tree against a real program: `kgents up` in
// this process, on a free port, with its own NATS and a real meter.
//
// It promises that what a test starts is gone when the test ends, and that nothing of
// the environment gets in. It depends on nothing but this machine.
package agentesetest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v85/webhook"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/agentese/whole"
	"github.com/kgents/kgents/api/client"
	"github.com/kgents/kgents/app"
	"github.com/kgents/kgents/config"
)

// The secrets of the program under test.
const (
	APIKey        = "kg_rig_never-shown"
	WebhookSecret = "whsec_rig_never-shown"
)

// Options is what a test may want otherwise.
type Options struct {
	// Env has settings of the program by their names, over the rig's own.
	Env map[string]string

	// Observer of the session; Admin if it is zero and Least is not set.
	Observer tree.Observer
	Least    bool // the observer is tree.Default

	PrometheusURL, AlertmanagerURL string

	// Refusing makes the meter one that refuses events with Poison in them until
	// Rig.Heal: they become dead letters. Without it the meter is the embedded one.
	Refusing bool
}

// Rig is a program, a tree whose sources are that program, and a session.
type Rig struct {
	*app.App
	Client  *client.Client
	Sources *living.Sources
	Tree    *tree.Tree
	Session *tree.Session
	Meter   *Meter // nil unless Refusing

	t     testing.TB
	audit audit
}

// audit collects lines of it.
type audit struct {
	mu    sync.Mutex
	lines []tree.AuditEntry
}

// Start starts it all and waits until the program is ready.
func Start(t testing.TB, o Options) *Rig {
	t.Helper()
	r := &Rig{t: t}
	env := map[string]string{
		"API_HOST": "127.0.0.1", "API_PORT": "0", "NATS_REPLICAS": "1", "OPENMETER_FLUSH_INTERVAL": "10ms",
		"API_KEYS": APIKey, "STRIPE_WEBHOOK_SECRET": WebhookSecret,
	}
	if o.Refusing {
		r.Meter = newMeter(t)
		env["OPENMETER_BASE_URL"] = r.Meter.URL
	}
	for k, v := range o.Env {
		env[k] = v
	}
	c, _, err := config.Load(config.RoleUp, config.Source{Env: func(k string) (string, bool) { v, ok := env[k]; return v, ok }})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(config.RoleUp); err != nil {
		t.Fatal(err)
	}
	c.DataDir = t.TempDir()
	log := &journal{}
	if r.App, err = app.Start(t.Context(), config.RoleUp, c, slog.New(slog.NewTextHandler(log, nil))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.Stop()
		if t.Failed() {
			text := log.String()
			t.Logf("the program's log ends with:\n%s", text[max(0, len(text)-4000):])
		}
	})
	// Connections are not kept, so that none outlives its test.
	once := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
	r.Client = &client.Client{URL: r.URL(), Key: APIKey, HTTP: once}
	r.Sources = &living.Sources{
		API: r.Client, HTTP: once, PrometheusURL: o.PrometheusURL, AlertmanagerURL: o.AlertmanagerURL, StateDir: t.TempDir(),
	}
	if r.Tree, err = whole.Tree(r.Sources); err != nil {
		t.Fatal(err)
	}
	r.Session = &tree.Session{Observer: o.Observer, Budget: tree.NewBudget(), Audit: r.audit.add}
	if o.Observer == tree.Default && !o.Least {
		r.Session.Observer = tree.Admin
	}
	r.Eventually("the program is ready", func() bool {
		_, err := r.Client.Bytes(t.Context(), http.MethodGet, "/readyz", nil, nil)
		return err == nil
	})
	return r
}

func (a *audit) add(e tree.AuditEntry) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lines = append(a.lines, e)
	return nil
}

// Audit is what the session has written down until now.
func (r *Rig) Audit() []tree.AuditEntry {
	r.audit.mu.Lock()
	defer r.audit.mu.Unlock()
	return append([]tree.AuditEntry(nil), r.audit.lines...)
}

// Run parses and runs an expression for the session.
func (r *Rig) Run(text string) (tree.Value, error) {
	return r.RunFor(r.t.Context(), text)
}

// RunFor is Run with a context.
func (r *Rig) RunFor(ctx context.Context, text string) (tree.Value, error) {
	e, err := agentese.Parse(text)
	if err != nil {
		return tree.Value{}, err
	}
	return r.Tree.Run(ctx, e, r.Session)
}

// Must is Run of what has to succeed.
func (r *Rig) Must(text string) tree.Value {
	r.t.Helper()
	v, err := r.Run(text)
	if err != nil {
		r.t.Fatalf("%s: %v", text, err)
	}
	return v
}

// Eventually waits for what other goroutines bring about, a minute at most.
func (r *Rig) Eventually(what string, ok func() bool) {
	r.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(time.Minute); !ok(); {
		select {
		case <-tick.C:
		case <-late:
			r.t.Fatalf("a minute has passed without this: %s", what)
		}
	}
}

// Poison in an event's data has a refusing meter refuse it, Lost has it forget it.
const (
	Poison = "poison"
	Lost   = "lost"
)

// Send sends an event of the default meter town_interactions: id, customer, and the
// town's name, which may be Poison or Lost.
func (r *Rig) Send(id, customer, town string) {
	r.t.Helper()
	r.SendEvent(fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"rig","type":"town.interaction","subject":%q,"data":{"town":%q,"operation":"greet"}}`, id, customer, town))
}

// SendEvent sends one CloudEvent, as JSON.
func (r *Rig) SendEvent(event string) {
	r.t.Helper()
	req := r.request(http.MethodPost, "/api/v1/events", event)
	req.Header.Set("Authorization", "Bearer "+APIKey)
	req.Header.Set("Content-Type", "application/cloudevents+json")
	r.sent(req, http.StatusNoContent)
}

// SendWebhook sends a signed event of Stripe's of a type, about the customer cus_rig.
func (r *Rig) SendWebhook(id, typ string) {
	r.t.Helper()
	body := fmt.Sprintf(`{"id":%q,"object":"event","type":%q,"created":%d,"data":{"object":{"id":"in_1","customer":"cus_rig","amount_paid":4900,"currency":"usd"}}}`, id, typ, time.Now().Unix())
	signed := webhook.GenerateTestSignedPayload(&webhook.UnsignedPayload{Payload: []byte(body), Secret: WebhookSecret})
	req := r.request(http.MethodPost, "/webhooks/stripe", body)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Stripe-Signature", signed.Header)
	r.sent(req, http.StatusOK)
}

func (r *Rig) request(method, path, body string) *http.Request {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.URL()+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	return req
}

func (r *Rig) sent(req *http.Request, want int) {
	r.t.Helper()
	resp, err := r.Client.HTTP.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); resp.StatusCode != want {
		r.t.Fatalf("%s %s answers %d %s", req.Method, req.URL.Path, resp.StatusCode, b)
	}
}

// Counted is how many interactions the meter has counted.
func (r *Rig) Counted() int {
	r.t.Helper()
	var result struct{ Data []struct{ Value float64 } }
	if err := r.Client.Get(r.t.Context(), "/api/v1/meters/town_interactions/query", nil, &result); err != nil {
		r.t.Fatal(err)
	}
	total := 0
	for _, row := range result.Data {
		total += int(row.Value)
	}
	return total
}

// Waiting is how many dead letters wait, 1,000 at most.
func (r *Rig) Waiting() int {
	r.t.Helper()
	var page struct{ Letters []json.RawMessage }
	if err := r.Client.Get(r.t.Context(), "/api/v1/deadletters", map[string][]string{"limit": {"1000"}}, &page); err != nil {
		r.t.Fatal(err)
	}
	return len(page.Letters)
}

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
