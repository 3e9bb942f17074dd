package invoice_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/invoice"
	"github.com/kgents/kgents/meter"
	"github.com/kgents/kgents/meter/local"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// openMeter is a real embedded meter, and a client of it over HTTP.
func openMeter(t testing.TB) *meter.Client {
	t.Helper()
	store, err := local.Open(t.Context(), local.Config{
		Path: filepath.Join(t.TempDir(), "meter.db"), Meters: local.DefaultMeters(), Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(store.Handler())
	client, err := meter.NewClient(server.URL, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		server.Close()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return client
}

// event is a CloudEvent as the meter takes it.
type event struct {
	SpecVersion string         `json:"specversion"`
	ID          string         `json:"id"`
	Source      string         `json:"source"`
	Type        string         `json:"type"`
	Subject     string         `json:"subject"`
	Time        time.Time      `json:"time"`
	Data        map[string]any `json:"data"`
}

func ingest(t testing.TB, client *meter.Client, events []event) {
	t.Helper()
	for len(events) > 0 {
		n := min(len(events), 500)
		batch, err := json.Marshal(events[:n])
		if err != nil {
			t.Fatal(err)
		}
		if err := client.Ingest(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		events = events[n:]
	}
}

// accounts are customers that don't change.
type accounts map[string]invoice.Account

func (a accounts) Account(id string, _ time.Time) (invoice.Account, error) {
	if id == "away" {
		return invoice.Account{}, kgents.Unavailable(time.Second, "customers are not known yet", nil)
	}
	account, ok := a[id]
	if !ok {
		return account, kgents.Errorf(kgents.CodeNotFound, "there is no customer %q", id)
	}
	return account, nil
}

func utc(y int, m time.Month, d, hour, minute int) time.Time {
	return time.Date(y, m, d, hour, minute, 0, 0, time.UTC)
}

func get(t *testing.T, server *httptest.Server, path, key string, header ...string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, body.String()
}
