package app

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/config"
	"github.com/kgents/kgents/meter"
	"github.com/kgents/kgents/publish"
	"github.com/kgents/kgents/stream"
)

// connected is a connection to a server within the process.
func connected(t *testing.T) *nats.Conn {
	t.Helper()
	server, err := stream.StartEmbedded(t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	nc, err := server.Connect("health", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// What each state of a dependency makes of the whole.
func TestSaaS(t *testing.T) {
	now := time.Now()
	here, away := connected(t), &nats.Conn{}
	client, err := meter.NewClient("http://meter.test", "")
	if err != nil {
		t.Fatal(err)
	}
	refused := &meter.Error{Status: 503, Detail: "the meter's own words"}
	for _, test := range []struct {
		name  string
		nats  *nats.Conn
		watch *watch // what the last look saw

		status                string
		natsStatus, openmeter string
		detail                string // of what is wrong
	}{
		{name: "all is well", nats: here, watch: &watch{ensured: true, seen: now}, status: "ok", natsStatus: "healthy", openmeter: "healthy"},
		{name: "nothing was looked at yet", nats: here, watch: &watch{}, status: "ok", natsStatus: "healthy", openmeter: "healthy"},
		{name: "no NATS in this role", watch: &watch{seen: now}, status: "ok", natsStatus: "disabled", openmeter: "healthy"},
		{name: "NATS away", nats: away, watch: &watch{ensured: true, seen: now}, status: "error", natsStatus: "disconnected", openmeter: "healthy", detail: "being made again"},
		{name: "NATS without the stream", nats: here, watch: &watch{seen: now}, status: "error", natsStatus: "disconnected", openmeter: "healthy", detail: "kgent-events"},
		{
			name: "meter away for a moment", nats: here, watch: &watch{ensured: true, seen: now, meter: refused, failing: now.Add(-unhealthyAfter + 1)},
			status: "degraded", natsStatus: "healthy", openmeter: "degraded", detail: "503",
		},
		{
			name: "meter away for long", nats: here, watch: &watch{ensured: true, seen: now, meter: refused, failing: now.Add(-unhealthyAfter)},
			status: "degraded", natsStatus: "healthy", openmeter: "unhealthy", detail: "503",
		},
		{
			name: "meter without an answer", nats: here, watch: &watch{ensured: true, seen: now, meter: &meter.Error{Err: errors.New("connection refused")}, failing: now},
			status: "degraded", natsStatus: "healthy", openmeter: "degraded", detail: "connection refused",
		},
		{
			name: "NATS and meter away", nats: away, watch: &watch{ensured: true, seen: now, meter: refused, failing: now},
			status: "error", natsStatus: "disconnected", openmeter: "degraded", detail: "503",
		},
		{
			name: "a backlog that is not late", nats: here, watch: &watch{ensured: true, seen: now, known: true, backlog: stream.Backlog{Messages: 9}, age: lateAfter},
			status: "ok", natsStatus: "healthy", openmeter: "healthy",
		},
		{
			name: "a backlog that is late", nats: here, watch: &watch{ensured: true, seen: now, known: true, backlog: stream.Backlog{Messages: 9}, age: lateAfter + time.Second},
			status: "degraded", natsStatus: "healthy", openmeter: "healthy", detail: "9 messages, the oldest 121 s old",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := test.watch
			w.app = &App{
				role: config.RoleAPI, nats: test.nats, meter: client,
				config:  config.Config{OpenMeterBaseURL: "http://meter.test"},
				streams: stream.Config{Name: "kgent-events"},
			}
			s := w.saas(now)
			if d := cmp.Diff([]string{test.status, test.natsStatus, test.openmeter}, []string{s.Status, s.NATS.Status, s.OpenMeter.Status}); d != "" {
				t.Errorf("overall, NATS, OpenMeter (-want +got):\n%s", d)
			}
			if (s.Backlog != nil) != w.known {
				t.Errorf("backlog is %v, want it only where it is known", s.Backlog)
			}
			rec := httptest.NewRecorder()
			w.serveHealth(rec, nil)
			var h health
			if err := json.Unmarshal(rec.Body.Bytes(), &h); err != nil {
				t.Fatal(err)
			}
			code := map[string]int{"ok": 200, "degraded": 200, "error": 503}[test.status]
			if rec.Code != code || h.Status != test.status {
				t.Errorf("/health answers %d %s, want %d %s", rec.Code, h.Status, code, test.status)
			}
			if !strings.Contains(rec.Body.String(), test.detail) {
				t.Errorf("/health does not say %q: %s", test.detail, rec.Body)
			}
			if strings.Contains(rec.Body.String(), refused.Detail) {
				t.Errorf("/health, open to all, shows the meter's own words: %s", rec.Body)
			}
			for _, c := range h.Components {
				if c.Name == "" || c.Status == "" || strings.Contains(c.Detail, "\n") {
					t.Errorf("component %+v is not one line", c)
				}
			}
		})
	}
}

// sender is a JetStream that fails while err is set.
type sender struct{ err error }

func (s *sender) PublishMsg(context.Context, *nats.Msg, ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	return &jetstream.PubAck{}, s.err
}

// A connection that is up says nothing while the circuit keeps events out.
func TestSaaSCircuit(t *testing.T) {
	nc := connected(t)
	synctest.Test(t, func(t *testing.T) {
		js := &sender{err: errors.New("stream is full")}
		p := publish.New(publish.Config{
			Sender: js, Stream: "kgent-events", MaxPayload: nc.MaxPayload,
			Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
		})
		defer p.Close()
		w := &watch{app: &App{nats: nc, publisher: p}, ensured: true, seen: time.Now()}
		check := func(status, nats, circuit string) {
			t.Helper()
			s := w.saas(time.Now())
			if d := cmp.Diff([]string{status, nats, circuit}, []string{s.Status, s.NATS.Status, s.NATS.Circuit}); d != "" {
				t.Errorf("overall, NATS, circuit (-want +got):\n%s", d)
			}
		}
		send := func() error { return p.Publish(t.Context(), []kgents.Event{{Raw: []byte(`{}`)}}) }
		check("ok", "healthy", "closed")
		for range 2 { // four tries, then the one that opens it
			if send() == nil {
				t.Fatal("an event that nothing took is durable")
			}
		}
		check("error", "circuit_open", "open")
		js.err = nil
		time.Sleep(31 * time.Second)
		check("ok", "healthy", "half_open")
		for range 3 {
			if err := send(); err != nil {
				t.Fatal(err)
			}
		}
		check("ok", "healthy", "closed")
	})
}

// A role that was ready stays ready while NATS is away, and no longer when it
// stops.
func TestReady(t *testing.T) {
	for _, test := range []struct {
		name              string
		nats              *nats.Conn
		ensured, stopping bool
		status            int
	}{
		{name: "NATS was never reached", nats: &nats.Conn{}, status: 503},
		{name: "NATS was reached and is away", nats: &nats.Conn{}, ensured: true, status: 200},
		{name: "no NATS in this role", status: 200},
		{name: "stopping", ensured: true, stopping: true, status: 503},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := &watch{app: &App{nats: test.nats}, ensured: test.ensured}
			w.app.stopping.Store(test.stopping)
			rec := httptest.NewRecorder()
			w.serveReady(rec, httptest.NewRequest(http.MethodGet, "/readyz", nil))
			if rec.Code != test.status {
				t.Errorf("answer is %d %s, want %d", rec.Code, rec.Body, test.status)
			}
			if test.status == 503 && rec.Header().Get("Retry-After") != "1" {
				t.Errorf("Retry-After is %q, want 1", rec.Header().Get("Retry-After"))
			}
		})
	}
}
