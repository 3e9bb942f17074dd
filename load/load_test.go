package load

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server.init.0.func1")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// system is a kgents with a meter, in a few lines, that can be made to misbehave. It is
// reached without a network, so that a test's time may be synctest's.
type system struct {
	mux     *http.ServeMux
	mu      sync.Mutex
	counted map[string]map[string]float64 // meter, subject
	seen    map[string]bool

	away     atomic.Bool // the meter is
	metrics  string      // of the program, empty when it doesn't show them
	requests atomic.Int64
	// before is called for each request of events; true means that it has answered.
	before func(n int64, w http.ResponseWriter) bool
	// weigh is how often the n-th event counts, once if it is nil.
	weigh func(n int) float64
}

func newSystem(t *testing.T) *system {
	t.Helper()
	s := &system{counted: map[string]map[string]float64{"agent_tokens": {}, "payments": {}}, seen: map[string]bool{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/meters/{meter}/query", func(w http.ResponseWriter, r *http.Request) {
		if s.away.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		data := []any{}
		for subject, value := range s.counted[r.PathValue("meter")] {
			data = append(data, map[string]any{"value": value, "subject": subject})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"data": data})
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		if s.metrics == "" {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = io.WriteString(w, s.metrics)
	})
	take := func(w http.ResponseWriter, r *http.Request, read func([]byte) []event) {
		body, _ := io.ReadAll(r.Body)
		if n := s.requests.Add(1); s.before != nil && s.before(n, w) {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, e := range read(body) {
			if s.seen[e.ID] {
				continue
			}
			s.seen[e.ID] = true
			times := 1.0
			if s.weigh != nil {
				times = s.weigh(len(s.seen))
			}
			s.counted[e.meter][e.Subject] += times * e.value
		}
		w.WriteHeader(http.StatusNoContent)
	}
	mux.HandleFunc("POST /api/v1/events", func(w http.ResponseWriter, r *http.Request) {
		take(w, r, func(b []byte) []event {
			if b[0] != '[' {
				b = append(append([]byte{'['}, b...), ']')
			}
			var list []struct {
				ID, Subject string
				Data        struct{ Tokens float64 }
			}
			if err := json.Unmarshal(b, &list); err != nil {
				t.Errorf("events: %v", err)
			}
			var out []event
			for _, e := range list {
				out = append(out, event{e.ID, e.Subject, "agent_tokens", e.Data.Tokens})
			}
			return out
		})
	})
	mux.HandleFunc("POST /webhooks/stripe", func(w http.ResponseWriter, r *http.Request) {
		take(w, r, func(b []byte) []event {
			var e struct {
				ID   string
				Data struct {
					Object struct {
						Customer string
						Paid     float64 `json:"amount_paid"`
					}
				}
			}
			if err := json.Unmarshal(b, &e); err != nil {
				t.Errorf("webhook: %v", err)
			}
			return []event{{e.ID, e.Data.Object.Customer, "payments", e.Data.Object.Paid}}
		})
	})
	s.mux = mux
	return s
}

// RoundTrip implements http.RoundTripper.
func (s *system) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	defer func() {
		if recover() == http.ErrAbortHandler {
			resp, err = nil, io.EOF
		}
	}()
	w := httptest.NewRecorder()
	s.mux.ServeHTTP(w, r)
	return w.Result(), nil
}

type event struct {
	ID, Subject, meter string
	value              float64
}

func (s *system) target() Target {
	return Target{URL: "http://system.test", APIKey: "k", WebhookSecret: "whsec_x", HTTP: &http.Client{Transport: s}}
}

// profile is a short profile with lines of YAML of the test's.
func profile(t *testing.T, lines ...string) Profile {
	t.Helper()
	p, err := Parse("test.yaml", []byte("name: test\n"+strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func runIt(t *testing.T, p Profile, s *system) Report {
	t.Helper()
	r, err := Run(t.Context(), p, s.target(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A server that answers nothing for a second shows that second to all who came in it.
// A loop that waits for an answer before it sends again would have met it once.
func TestStallShows(t *testing.T) {
	for _, bound := range []string{"1024", "1"} { // also when there is one request at a time, as in a closed loop
		t.Run("in_flight "+bound, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, began := newSystem(t), time.Now()
				s.before = func(int64, http.ResponseWriter) bool {
					if at := time.Since(began); at >= 500*time.Millisecond && at < 1500*time.Millisecond {
						time.Sleep(1500*time.Millisecond - at)
					}
					return false
				}
				r := runIt(t, profile(t, "arrivals: constant", "in_flight: "+bound, "phases: [{name: a, for: 2s, rate: 100}]",
					"thresholds: [{metric: latency_p99, max: 500ms}, {metric: latency_max, max: 1001ms}]"), s)
				if r.Total.Requests != 200 {
					t.Errorf("%d requests, not 200: a slow answer must not keep requests from being sent", r.Total.Requests)
				}
				// 100 of 200 came in the stall; the wait of the first of them was longest.
				if l := r.Total.Latency; l.P99 < 970*time.Millisecond || l.Max < 999*time.Millisecond || l.Max > 1001*time.Millisecond || l.P50 > 20*time.Millisecond {
					t.Errorf("latencies: %+v", l)
				}
				if r.OK || r.Verdicts[0].OK || !r.Verdicts[1].OK {
					t.Errorf("verdicts: %+v", r.Verdicts)
				}
				late, service := r.Total.Late, r.Total.Service.P95
				if bound == "1" && (late < 95 || late > 100 || service > time.Millisecond) {
					t.Errorf("%d requests are late, and 95 of 100 took %v from when they were sent", late, service)
				}
				if bound != "1" && (late != 0 || service < 900*time.Millisecond) {
					t.Errorf("%d requests are late, and 95 of 100 took %v from when they were sent", late, service)
				}
			})
		})
	}
}

// Every event that is lost or counts twice is found, also one of each.
func TestLostAndDoubled(t *testing.T) {
	for _, test := range []struct {
		name          string
		weigh         func(n int) float64
		lost, doubled int64
	}{
		{"as it should be", nil, 0, 0},
		{"one lost", func(n int) float64 { return 1 - only(n == 7) }, 1, 0},
		{"one twice", func(n int) float64 { return 1 + only(n == 7) }, 0, 1},
		{"one lost and another of the same customer twice", func(n int) float64 { return 1 - only(n == 7) + only(n == 8) }, 1, 1},
		{"all lost", func(int) float64 { return 0 }, 200, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testLost(t, test.weigh, test.lost, test.doubled) })
		})
	}
}

func testLost(t *testing.T, weigh func(n int) float64, lost, doubled int64) {
	s := newSystem(t)
	s.weigh = weigh
	p := profile(t, "arrivals: constant", "drain: 1s", "events: {duplicates: 0.2}", "customers: {count: 1}",
		"phases: [{name: a, for: 500ms, rate: 500}]", "thresholds: [{metric: lost, max: 0}, {metric: doubled, max: 0}]")
	r := runIt(t, p, s)
	if !r.Count.Known || r.Count.Accepted < 180 || r.Total.Repeated < 20 {
		t.Fatalf("%+v, %d repeated", r.Count, r.Total.Repeated)
	}
	if lost == 200 {
		lost = r.Count.Accepted
	}
	if r.Count.Lost != lost || r.Count.Doubled != doubled {
		t.Errorf("%d lost, %d doubled; want %d, %d", r.Count.Lost, r.Count.Doubled, lost, doubled)
	}
	if want := lost+doubled == 0; r.OK != want {
		t.Errorf("OK is %v", r.OK)
	}
}

func only(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// A customer's sum says how many of the events are missing, and how many too many.
func TestCompare(t *testing.T) {
	const a, b, c = unit - 499, unit + 3, unit + 500
	sure := tally{events: 3, sum: a + b + c}
	for _, test := range []struct {
		name           string
		t              tally
		counted        float64
		missing, extra int64
	}{
		{"all once", sure, a + b + c, 0, 0},
		{"nothing", sure, 0, 3, 0},
		{"one missing", sure, a + b, 1, 0},
		{"one twice", sure, a + b + c + c, 0, 1},
		{"one missing, another twice", sure, b + b + c, 1, 1},
		{"a maybe that didn't", tally{3, a + b + c, 1}, a + b + c, 0, 0},
		{"a maybe that did", tally{3, a + b + c, 1}, a + b + c + unit + 7, 0, 0},
		{"a maybe, twice", tally{3, a + b + c, 1}, a + b + c + 2*(unit+7), 0, 1},
		{"nobody's", tally{}, unit, 0, 1},
		{"a million missing", tally{events: 1e6, sum: 1e6*unit + 200_000}, 0, 1e6, 0},
	} {
		if missing, extra := test.t.compare(test.counted); missing != test.missing || extra != test.extra {
			t.Errorf("%s: %d missing, %d too many; want %d, %d", test.name, missing, extra, test.missing, test.extra)
		}
	}
}

// What was refused, cut off or answered twice is told apart.
func TestAnswers(t *testing.T) {
	for _, test := range []struct {
		name            string
		before          func(n int64, w http.ResponseWriter) bool
		retries         int
		accepted, maybe int64
		ok              bool
		failure         string
	}{
		{"a 503 is sent again", func(n int64, w http.ResponseWriter) bool { return n%2 == 1 && answer(w, 503, "") }, 20, 20, 0, true, ""},
		{"a 429 is sent again", func(n int64, w http.ResponseWriter) bool { return n%2 == 1 && answer(w, 429, "") }, 20, 20, 0, true, ""},
		{"a 400 is not", func(n int64, w http.ResponseWriter) bool { return n == 3 && answer(w, 400, `{"detail":"no subject"}`) }, 20, 19, 0, false, "400 no subject"},
		{"a 503 for good may have been taken", func(_ int64, w http.ResponseWriter) bool { return answer(w, 503, `{"title":"away"}`) }, 0, 0, 20, false, "503 away"},
		{"so may what is cut off", func(n int64, w http.ResponseWriter) bool {
			if n == 3 {
				panic(http.ErrAbortHandler)
			}
			return false
		}, 0, 19, 1, false, "0 EOF"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSystem(t)
				s.before = test.before
				p := profile(t, "arrivals: constant", "drain: 1s", fmt.Sprint("retries: ", test.retries), "phases: [{name: a, for: 200ms, rate: 100}]",
					"thresholds: [{metric: accepted_ratio, min: 1}, {metric: errors, max: 0}, {metric: lost, max: 0}]")
				r := runIt(t, p, s)
				if r.Count.Accepted != test.accepted || r.Count.Maybe != test.maybe || r.Count.Lost+r.Count.Doubled != 0 || r.OK != test.ok {
					t.Errorf("ok %v, %+v", r.OK, r.Count)
				}
				var failures string
				for _, f := range r.Failures {
					failures += fmt.Sprint(f.Status, " ", f.Detail)
				}
				if failures != test.failure {
					t.Errorf("failures: %q, want %q", failures, test.failure)
				}
				if test.retries > 0 && test.ok && r.Total.Retried == 0 {
					t.Error("nothing was sent again")
				}
			})
		})
	}
}

func answer(w http.ResponseWriter, status int, body string) bool {
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
	return true
}

// What is not known is no pass.
func TestUnknownIsNoPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSystem(t)
		p := profile(t, "phases: [{name: a, for: 100ms, rate: 100}]", "thresholds: [{metric: backlog_max, max: 1000000}]")
		r := runIt(t, p, s)
		if r.OK || r.Verdicts[0].OK || r.Verdicts[0].Value != nil || r.Verdicts[0].Shown != "not known" {
			t.Errorf("%+v", r.Verdicts)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s := newSystem(t)
		s.before = func(int64, http.ResponseWriter) bool { s.away.Store(true); return false }
		p := profile(t, "drain: 1s", "phases: [{name: a, for: 100ms, rate: 100}]", "thresholds: [{metric: lost, max: 0}, {metric: doubled, max: 0}, {metric: drained, max: 1h}]")
		r := runIt(t, p, s)
		if r.OK || r.Count.Known || r.Count.Reason == "" {
			t.Errorf("the meter is away: %+v", r.Count)
		}
		for _, v := range r.Verdicts {
			if v.OK || v.Value != nil {
				t.Errorf("the meter is away: %+v", v)
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
		defer cancel()
		r, err := Run(ctx, profile(t, "phases: [{name: a, for: 1m, rate: 100}]"), newSystem(t).target(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if r.OK || !r.Interrupted || r.Total.Requests == 0 || r.Total.Requests > 50 || !r.Count.Complete || r.Count.Lost != 0 {
			t.Errorf("interrupted: %+v %+v", r.Total, r.Count)
		}
	})
}

// The backlog and the memory are read where the system shows them.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSystem(t)
		s.metrics = "# HELP x\nkgents_backlog_messages 7\nkgents_backlog_oldest_age_seconds 1.5\nprocess_resident_memory_bytes 5e+07\n"
		r := runIt(t, profile(t, "phases: [{name: a, for: 3s, rate: 10}]", "thresholds: [{metric: backlog_max, max: 6}]"), s)
		if len(r.Seen) < 4 || r.BacklogMax != 7 || r.MemoryMax != 5e7 || r.Seen[1].Oldest != 1.5 || r.Verdicts[0].OK || r.Verdicts[0].Shown != "7" {
			t.Errorf("%+v, %+v", r.Seen, r.Verdicts)
		}
	})
}

// Nothing is sent when it would be for nothing.
func TestRefusedUpFront(t *testing.T) {
	closed := httptest.NewServer(nil)
	closed.Close()
	plain := []string{"phases: [{name: a, for: 100ms, rate: 100}]"}
	for _, test := range []struct {
		name   string
		lines  []string
		target func(*system) Target
		want   string
	}{
		{"faults", []string{"phases: [{name: a, for: 100ms, rate: 100, fault: crash}]"}, (*system).target, "--skip-faults"},
		{"no secret", append(plain, "events: {stripe: 0.1}"), func(s *system) Target { t := s.target(); t.WebhookSecret = ""; return t }, "--webhook-secret-file"},
		{"nobody there", plain, func(*system) Target { return Target{URL: closed.URL, APIKey: "k"} }, "the meter can't be asked"},
		{"no such meter", plain, func(s *system) Target { t := s.target(); t.MeterURL = t.URL + "/elsewhere"; return t }, "agent_tokens"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSystem(t)
			_, err := Run(t.Context(), profile(t, test.lines...), test.target(s), Options{})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error: %v", err)
			}
			if n := s.requests.Load(); n != 0 {
				t.Errorf("%d requests were sent", n)
			}
		})
	}
}
