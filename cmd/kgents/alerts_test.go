package main

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	root "github.com/kgents/kgents"
	routes "github.com/kgents/kgents/api"
	"github.com/kgents/kgents/entitle"
	"github.com/kgents/kgents/notify"
	"github.com/kgents/kgents/receive"
	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/stream/streamtest"
)

// An alert that its receiver says is gone is listed as dead, and replayed it is taken.
func TestAlertsCommands(t *testing.T) {
	alone(t)
	t.Setenv("API_KEYS", "the-key")
	var well2xx atomic.Bool
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !well2xx.Load() {
			w.WriteHeader(http.StatusGone)
		}
	}))
	t.Cleanup(receiver.Close)
	js, _ := streamtest.Start(t)
	log := slog.New(slog.DiscardHandler)
	s, err := notify.New(notify.Config{
		JetStream: js, Stream: stream.Config{Name: "events", Replicas: 1}, URL: receiver.URL, Secrets: []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
		Catalog: func() *root.Catalog { return &root.Catalog{AlertAt: []int{80}} }, Log: log, Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	edge := receive.New(receive.Config{Keys: receive.NewKeys([]string{"the-key"}), Log: log, Registerer: prometheus.NewRegistry()})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(http.ResponseWriter, *http.Request) {})
	web := routes.New(mux, "test", func(_ string, next http.Handler) http.Handler { return edge.Authenticate(next) })
	s.Register(web)
	if err := web.Serve(); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	t.Setenv("KGENTS_URL", server.URL)

	out, _ := well(t, "alerts", "list")
	has(t, "an empty list", out, "There are no such alerts.")
	s.Record()
	s.Deliver()
	start := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	s.Crossed(entitle.Crossing{
		Customer: "acme", Plan: "free", Feature: root.Feature{ID: "tokens"}, Percent: 80, Used: 8000, Limit: 10000, PeriodStart: start, PeriodEnd: start.AddDate(1, 0, 0),
	})
	const id = "alert:acme:1793491200:tokens:80"
	until := func(state notify.State) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			out, _ := well(t, "alerts", "list", "--output", "json", "--customer", "acme", "--state", string(state))
			var list []notify.AlertView
			if err := json.Unmarshal([]byte(out), &list); err != nil {
				t.Fatal(err)
			}
			if len(list) == 1 && list[0].ID == id {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("it is never %s", state)
			}
		}
	}
	until(notify.Dead)
	out, _ = well(t, "alerts", "list")
	has(t, "list", out, id, "80 %", "8,000 of 10000", "dead", "the receiver answers 410")
	well2xx.Store(true)
	out, _ = well(t, "alerts", "replay", "--all")
	has(t, "replay", out, "1 are sent again.")
	until(notify.Delivered)
	out, _ = well(t, "alerts", "replay", id)
	has(t, "replay of one", out, "1 are sent again.")
	out, _ = well(t, "alerts", "list", "--customer", "other")
	has(t, "another's list", out, "There are no such alerts.")

	for args, part := range map[string]string{
		"alerts replay":              "--all",
		"alerts replay x --all":      "--all",
		"alerts replay alert:x":      "there is no alert",
		"alerts list --limit 0":      "--limit",
		"alerts list --state broken": "state",
		"alerts lst":                 "did you mean",
	} {
		code, stdout, stderr := kgents(t, strings.Fields(args)...)
		wantLine(t, code, stdout, stderr, part)
	}
}
