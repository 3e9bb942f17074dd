package receive_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stripe/stripe-go/v85/webhook"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/receive"
)

const (
	secret = "whsec_never-shown"
	key    = "kg_never-shown"
	other  = "kg_never-shown-either"
	marker = "never-shown-payload" // stands in every body

	hooks  = "/webhooks/stripe"
	events = "/api/v1/events"

	payment = `{"id":"evt_1","object":"event","type":"invoice.paid","created":1795426200,"data":{"object":{"id":"in_1","customer":"cus_1","amount_paid":4900,"currency":"usd","description":"` + marker + `"}}}`
	usage   = `{"specversion":"1.0","id":"1","source":"agent-runner","type":"agent.tokens","subject":"customer-1","time":"2026-11-23T09:30:00Z","data":{"note":"` + marker + `"}}`
)

// admitter records what it is given, and knows identities that it has had.
type admitter struct {
	err    error
	during func(context.Context) // if set, runs before Admit answers

	mu    sync.Mutex
	got   []kgents.Event
	known map[string]bool
}

func (a *admitter) Admit(ctx context.Context, events []kgents.Event) (int, error) {
	if a.during != nil {
		a.during(ctx)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.known == nil {
		a.known = map[string]bool{}
	}
	before := len(a.known)
	for _, e := range events {
		a.known[e.Identity()] = true
	}
	fresh := len(a.known) - before
	a.got = append(a.got, events...)
	return fresh, a.err
}

func (a *admitter) identities() (all []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range a.got {
		all = append(all, e.Identity())
	}
	return all
}

// rig is an edge with everything around it recorded.
type rig struct {
	http.Handler
	admitter *admitter
	log      *journal
}

// journal is a log that many goroutines write.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

// newRig checks at the end that the log has kept every secret.
func newRig(t *testing.T, a *admitter, secrets ...string) *rig {
	t.Helper()
	mux, log := http.NewServeMux(), &journal{}
	receive.New(receive.Config{
		Admitter: a, Keys: receive.NewKeys([]string{key, other}), WebhookSecrets: secrets,
		Log:        slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Registerer: prometheus.NewRegistry(),
	}).Register(mux)
	t.Cleanup(func() { keepsSecrets(t, "the log", log.String()) })
	return &rig{mux, a, log}
}

func keepsSecrets(t *testing.T, where, text string) {
	t.Helper()
	for _, s := range []string{secret, key, marker, "never-shown"} {
		if strings.Contains(text, s) {
			t.Errorf("%s shows %q: %s", where, s, text)
			return
		}
	}
}

// do sends a request through the handler.
func (r *rig) do(req *http.Request) *http.Response {
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	return w.Result()
}

// hook is a webhook signed with secret at a time.
func hook(body, secret string, at time.Time) *http.Request {
	req := httptest.NewRequest(http.MethodPost, hooks, strings.NewReader(body))
	req.Header.Set("Stripe-Signature", signature(body, secret, at))
	return req
}

func signature(body, secret string, at time.Time) string {
	return webhook.GenerateTestSignedPayload(&webhook.UnsignedPayload{Payload: []byte(body), Secret: secret, Timestamp: at}).Header
}

func signed(body string) *http.Request { return hook(body, secret, time.Now()) }

// post is a request with usage events and the right key.
func post(contentType string, body io.Reader) *http.Request {
	req := httptest.NewRequest(http.MethodPost, events, body)
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Authorization", "Bearer "+key)
	return req
}

func one(body string) *http.Request {
	return post("application/cloudevents+json", strings.NewReader(body))
}

// with changes a request.
func with(req *http.Request, header, value string) *http.Request {
	req.Header.Set(header, value)
	return req
}

// wantProblem checks that an answer is the problem document for status, with the
// headers that go with it, and that it keeps every secret.
func wantProblem(t *testing.T, res *http.Response, status int) {
	t.Helper()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	keepsSecrets(t, "the answer", fmt.Sprint(string(body), res.Header))
	if res.StatusCode != status || res.Header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("got %s of type %q: %s; want %d", res.Status, res.Header.Get("Content-Type"), body, status)
	}
	var p struct {
		Type, Title, Detail string
		Status              int
	}
	if err := json.Unmarshal(body, &p); err != nil || p.Status != status || p.Detail == "" || p.Title != http.StatusText(status) || !strings.HasPrefix(p.Type, "urn:kgents:problem:") {
		t.Errorf("the document is %s (%v)", body, err)
	}
	for header, only := range map[string]int{
		"Retry-After": http.StatusServiceUnavailable, "WWW-Authenticate": http.StatusUnauthorized, "Allow": http.StatusMethodNotAllowed,
	} {
		if got := res.Header.Get(header); (got != "") != (status == only) {
			t.Errorf("%s is %q with status %d", header, got, status)
		}
	}
	if status == http.StatusServiceUnavailable {
		if wait, err := strconv.Atoi(res.Header.Get("Retry-After")); err != nil || wait < 1 {
			t.Errorf("Retry-After is %q, want whole seconds", res.Header.Get("Retry-After"))
		}
	}
}
