package agentesetest

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents/meter/local"
)

// Meter is the embedded meter behind a door that refuses events with Poison in them, and
// says that it has taken those with Lost in them and hasn't.
type Meter struct {
	URL    string
	healed atomic.Bool
}

// Heal has it take everything from now on.
func (m *Meter) Heal() { m.healed.Store(true) }

func newMeter(t testing.TB) *Meter {
	t.Helper()
	store, err := local.Open(t.Context(), local.Config{
		Path: filepath.Join(t.TempDir(), "meter.db"), Meters: local.DefaultMeters(),
		Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	m, inner := &Meter{}, store.Handler()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && !m.healed.Load() {
			body, err := io.ReadAll(r.Body)
			if bytes.Contains(body, []byte(Lost)) {
				w.WriteHeader(http.StatusNoContent)
				return
			}
			if err != nil || bytes.Contains(body, []byte(Poison)) {
				w.Header().Set("Content-Type", "application/problem+json")
				w.WriteHeader(http.StatusBadRequest)
				_, _ = io.WriteString(w, `{"title":"Bad Request","status":400,"detail":"this event is refused"}`)
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		server.Close()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	m.URL = server.URL
	return m
}
