package repl

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/api/client"
)

// Only what has changed is told, once, and not more than a few lines of it.
func TestChanged(t *testing.T) {
	well := map[string]string{"nats": "healthy", "openmeter": "healthy"}
	many := map[string]string{}
	for i := range 9 {
		many[fmt.Sprintf("Alert%d", i)] = fmt.Sprintf("Alert%d", i)
	}
	for _, test := range []struct {
		name        string
		before, now health
		want        []string
	}{
		{"well from the start", health{}, health{asked: true, state: "ok", parts: well}, nil},
		{"away from the start", health{}, health{asked: true, state: "away"}, []string{"error nothing answers at URL: concept and self work here, the rest will as soon as it answers"}},
		{"still away", health{asked: true, state: "away"}, health{asked: true, state: "away"}, nil},
		{"back", health{asked: true, state: "away"}, health{asked: true, state: "ok", parts: well}, []string{"ok URL answers: ok"}},
		{"gone", health{asked: true, state: "ok", parts: well}, health{asked: true, state: "away"}, []string{"error URL doesn't answer any more"}},
		{
			"the circuit opens", health{asked: true, state: "ok", parts: well},
			health{asked: true, state: "degraded", parts: map[string]string{"nats": "circuit_open", "openmeter": "healthy"}},
			[]string{"degraded nats is circuit open, was healthy"},
		},
		{
			"ill from the start", health{}, health{asked: true, state: "degraded", parts: map[string]string{"nats": "circuit_open"}},
			[]string{"degraded nats is circuit open"},
		},
		{
			"well again", health{asked: true, state: "degraded", parts: map[string]string{"nats": "circuit_open"}},
			health{asked: true, state: "ok", parts: well}, []string{"ok nats is healthy, was circuit open"},
		},
		{
			"an alert", health{asked: true, state: "ok", known: true, alerts: map[string]string{"A": "A"}},
			health{asked: true, state: "ok", known: true, alerts: map[string]string{"A": "A", "B": "B (critical): it burns"}},
			[]string{"error alert B (critical): it burns   world.alerts.B"},
		},
		{"an alert ends", health{asked: true, state: "ok", known: true, alerts: map[string]string{"A": "A"}}, health{asked: true, state: "ok", known: true}, []string{"ok alert A fires no more"}},
		{
			"many", health{asked: true, state: "ok", known: true}, health{asked: true, state: "ok", known: true, alerts: many},
			[]string{
				"error alert Alert0   world.alerts.Alert0", "error alert Alert1   world.alerts.Alert1", "error alert Alert2   world.alerts.Alert2",
				"error alert Alert3   world.alerts.Alert3", "degraded and 5 more: world.manifest, world.alerts.manifest",
			},
		},
	} {
		var got []string
		for _, n := range changed(test.before, test.now, "URL") {
			got = append(got, string(n.state)+" "+n.text)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s, -want +got:\n%s", test.name, diff)
		}
	}
}

// The system's health is what /health/saas says, also when it answers 503.
func TestLook(t *testing.T) {
	var answer atomic.Value
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		a := answer.Load().([]any)
		w.WriteHeader(a[0].(int))
		fmt.Fprint(w, a[1])
	}))
	r := newRig(t, func(o *Options) { o.Sources.API = &client.Client{URL: server.URL, HTTP: server.Client()} })
	for _, test := range []struct {
		status int
		body   string
		state  string
		nats   string
	}{
		{200, `{"status":"ok","nats":{"status":"healthy"}}`, "ok", "healthy"},
		{503, `{"status":"error","nats":{"status":"disconnected\u001b[2J"}}`, "error", "disconnected\ufffd[2J"},
		{200, `{"status":"fine"}`, "unknown", ""},
		{200, `not JSON`, "unknown", ""},
	} {
		answer.Store([]any{test.status, test.body})
		h := r.look(t.Context())
		if h.state != test.state || h.parts["nats"] != test.nats {
			t.Errorf("%d %s: %+v", test.status, test.body, h)
		}
	}
	server.Close()
	if h := r.look(t.Context()); h.state != stateAway {
		t.Errorf("a server that is gone is %q", h.state)
	}
}

// Colours never change what was typed.
func TestPaint(t *testing.T) {
	r := newRig(t, nil)
	for _, line := range []string{
		"", "world", "world.nats.manifest[first=3] >> concept.identity.manifest@span=x", `world.customers."a b".manifest[x="]`, "??", "help world", "wrold.nats", "[", "]", "@", ">>>", "\"", "a\nb",
		"日本 world", "/observer admin", "…#%&", "exit now", "../..", "world..nats",
	} {
		if got := r.paint(line); got != line { // the rig has no colours
			t.Errorf("%q is painted as %q", line, got)
		}
	}
	if got := r.paint("a\x1b[2J\u202e"); got != "a\ufffd[2J\ufffd" {
		t.Errorf("what moves the cursor is painted as %q", got)
	}
}

func FuzzRead(f *testing.F) {
	for _, line := range []string{"world.nats", "../redis", "/world nats", `a."b c".d[x="]"] >> e@f=g`, "...", "world..nats.", "[x=1]", ">> >>", "\"\\"} {
		f.Add(line, true)
	}
	r := newRig(f, nil)
	over, cancel := context.WithCancel(f.Context())
	cancel() // nothing that is run takes long
	f.Fuzz(func(t *testing.T, line string, deep bool) {
		var place []string
		if deep {
			place = []string{"world", "nats"}
		}
		at := 0
		for _, x := range lex(line) { // the tokens are the line
			if x.from != at || x.to <= x.from {
				t.Fatalf("%q: token %+v at %d", line, x, at)
			}
			at = x.to
		}
		if at != len(line) {
			t.Fatalf("%q: the tokens end at %d", line, at)
		}
		got := read(line, place)
		if len(got.at) != len(got.text)+1 {
			t.Fatalf("%q: %d places for %q", line, len(got.at), got.text)
		}
		for _, i := range got.at {
			if i < 0 || i > len(line) {
				t.Fatalf("%q: place %d", line, i)
			}
		}
		out := r.exact(over, got)
		_ = r.show(line, 0, out)
		r.out.Reset()
		r.paint(line)
	})
}

// A key that opens nothing is told before anything is asked for; what can't be told now
// is not.
func TestKeyTrouble(t *testing.T) {
	for _, test := range []struct {
		key    string
		status int
		want   string
	}{
		{"kg_known", http.StatusOK, ""},
		{"kg_operators", http.StatusBadRequest, ""},
		{"kg_narrow", http.StatusForbidden, ""},
		{"kg_busy", http.StatusTooManyRequests, ""},
		{"kg_known", http.StatusBadGateway, ""},
		{"kg_unknown", http.StatusUnauthorized, "the API key is not known to URL, and without one little is shown: name a file with another with --key-file, or set API_KEYS"},
		{"", http.StatusUnauthorized, "there is no API key, and without one little is shown: name a file with one with --key-file, or set API_KEYS"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(test.status) }))
		r := newRig(t, func(o *Options) {
			o.Sources.API = &client.Client{URL: server.URL, Key: test.key, HTTP: server.Client()}
		})
		if got := strings.ReplaceAll(r.keyTrouble(t.Context()), server.URL, "URL"); got != test.want {
			t.Errorf("%q and %d: %q, want %q", test.key, test.status, got, test.want)
		}
		server.Close()
	}
}
