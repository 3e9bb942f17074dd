//go:build linux

package firedrill

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v85/webhook"

	"github.com/kgents/kgents/chaos/world"
)

// meter is the real one behind a door that can do wrong.
type meter struct {
	addr    string // of the door
	listen  string // of the meter
	process *world.Process
	fault   atomic.Pointer[fault]
}

// fault answers an ingest of events in the meter's place; true means that it did.
type fault func(w http.ResponseWriter, body []byte) bool

func startMeter(t *testing.T) *meter {
	m := &meter{listen: world.FreeAddr(t)}
	way := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: m.listen}) }}
	way.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	door := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			if f := m.fault.Load(); f != nil && (*f)(w, body) {
				return
			}
		}
		way.ServeHTTP(w, r)
	}))
	t.Cleanup(door.Close)
	m.addr = door.Listener.Addr().String()
	return m
}

func (m *meter) run(d *drill) {
	p := d.Process("meter", world.Programs.Kgents, "meter", "--data", filepath.Join(d.Dir, "meter-data"))
	p.Listen = m.listen
	_, port, _ := strings.Cut(p.Listen, ":")
	p.Env = []string{"API_HOST=127.0.0.1", "API_PORT=" + port, "API_KEYS=" + world.APIKey, "LOG_FORMAT=json"}
	p.Start()
	d.Ready(p)
	m.process = p
}

func (m *meter) misbehave(f fault) { m.fault.Store(&f) }
func (m *meter) behave()           { m.fault.Store(nil) }

// load is a few clients that send events and webhooks and take every answer.
type load struct {
	d       *drill
	stop    chan struct{}
	wg      sync.WaitGroup
	next    atomic.Int64
	events  atomic.Bool
	stripe  atomic.Bool
	fast    atomic.Bool
	padding atomic.Int64 // bytes of an event
}

func startLoad(d *drill) *load {
	l := &load{d: d, stop: make(chan struct{})}
	for range 8 {
		l.wg.Go(func() {
			for {
				pause := 200 * time.Millisecond
				if l.fast.Load() {
					pause = 10 * time.Millisecond
				}
				select {
				case <-l.stop:
					return
				case <-time.After(pause):
				}
				if l.events.Load() {
					_, _ = l.event("agent.tokens", fmt.Sprint("e", l.next.Add(1)))
				}
				if l.stripe.Load() {
					_, _ = l.webhook(fmt.Appendf(nil, `{"id":"evt_%d","object":"event","type":"invoice.paid","created":%d,"data":{"object":{"id":"in_1","object":"invoice","customer":"cus_1","amount_paid":100,"currency":"usd"}}}`,
						l.next.Add(1), time.Now().Unix()), world.WebhookSecret)
				}
			}
		})
	}
	d.Cleanup(l.end)
	return l
}

func (l *load) end() {
	select {
	case <-l.stop:
	default:
		close(l.stop)
	}
	l.wg.Wait()
}

var client = &http.Client{Timeout: 12 * time.Second}

// event sends one and returns the answer's status.
func (l *load) event(kind, id string) (int, error) {
	padding := bytes.Repeat([]byte("x"), int(l.padding.Load()))
	return l.post("/api/v1/events", fmt.Appendf(nil,
		`[{"specversion":"1.0","id":%q,"source":"drill","type":%q,"subject":"`+subject+`","data":{"tokens":1,"model":"m","padding":"%s"}}]`, id, kind, padding),
		"Authorization", "Bearer "+world.APIKey)
}

func (l *load) webhook(body []byte, secret string) (int, error) {
	signed := webhook.GenerateTestSignedPayload(&webhook.UnsignedPayload{Payload: body, Secret: secret})
	return l.post("/webhooks/stripe", body, "Stripe-Signature", signed.Header)
}

func (l *load) post(path string, body []byte, header, value string) (int, error) {
	r, err := http.NewRequest(http.MethodPost, "http://"+l.d.APIs[0].Listen+path, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set(header, value)
	resp, err := client.Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, nil
}

// must sends n requests that have to be answered with a status.
func (l *load) must(n, status int, send func(i int) (int, error)) {
	l.d.Helper()
	for i := range n {
		if code, err := send(i); err != nil || code != status {
			l.d.Fatalf("answered %d, %v; want %d", code, err, status)
		}
	}
}
