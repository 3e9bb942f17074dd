package living

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/api/client"
)

func TestRates(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0).UTC() }
	got := rates([]Point{{at(0), 10}, {at(10), 30}, {at(20), 5}, {at(20), 7}, {at(30), 5}})
	// The counter began again between 10 and 20, and between 20 and 30.
	want := []Point{{at(10), 2}, {at(20), .5}, {at(30), .5}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if got := rates([]Point{{at(0), 1}}); got != nil {
		t.Errorf("one look makes a rate of %v", got)
	}
}

func TestSelector(t *testing.T) {
	for _, one := range []struct{ namespace, name, aggregate, want string }{
		{"", "kgents_nats_connected", "min", "kgents_nats_connected"},
		{"kgents", "kgents_backlog_messages", "max", `kgents_backlog_messages{namespace="kgents"}`},
		{`a"b`, `kgents_api_requests_total{code=~"5.."}`, "sum", `kgents_api_requests_total{namespace="a\"b",code=~"5.."}`},
		{"", "kgents_nats_fallback_queue_depth", "sum", "kgents_nats_fallback_queue_depth"},
		{"", "kgents_redis_up", "min", "kgents_redis_up"},
		{"", "kgents_idempotency_waiting", "sum", "kgents_idempotency_waiting"},
		{"", "kgents_deadletters_waiting", "max", "kgents_deadletters_waiting"},
	} {
		s := &Sources{Namespace: one.namespace}
		if got := s.selector(one.name); got != one.want {
			t.Errorf("%s of %q is selected by %s, want %s", one.name, one.namespace, got, one.want)
		}
		if got := aggregate(one.name); got != one.aggregate {
			t.Errorf("%s of replicas is their %s, want %s", one.name, got, one.aggregate)
		}
	}
}

const exposed = `# TYPE requests_total counter
requests_total{code="200",route="a"} 7
requests_total{code="500",route="a"} 2
requests_total{code="200",route="b"} 1
# TYPE depth gauge
depth 0
# TYPE took histogram
took_bucket{le="0.1"} 50
took_bucket{le="1"} 90
took_bucket{le="+Inf"} 100
took_sum 42
took_count 100
# TYPE idle histogram
idle_bucket{le="1"} 0
idle_bucket{le="+Inf"} 0
idle_sum 0
idle_count 0
`

func TestMetrics(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(exposed)) }))
	defer server.Close()
	s := &Sources{API: &client.Client{URL: server.URL, HTTP: server.Client()}}
	m, err := s.Metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, one := range map[string]struct{ got, want any }{
		"all":                 {m.Count("requests_total"), int64(10)},
		"of a label":          {m.Count("requests_total", "code", "200"), int64(8)},
		"of two":              {m.Count("requests_total", "code", "200", "route", "b"), int64(1)},
		"absent label":        {m.Count("requests_total", "code", "404"), nil},
		"absent metric":       {m.Sum("nothing"), nil},
		"zero is not absent":  {m.Sum("depth"), 0.0},
		"observations":        {m.Count("took"), int64(100)},
		"median":              {m.Quantile("took", .5), .1},
		"between":             {m.Quantile("took", .7), .1 + .9*20/40},
		"past the last bound": {m.Quantile("took", .99), 1.0},
		"no observation":      {m.Quantile("idle", .5), nil},
		"no histogram":        {m.Quantile("depth", .5), nil},
	} {
		if d := cmp.Diff(one.want, one.got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
	if d := cmp.Diff(map[string]float64{"200": 8, "500": 2}, m.By("requests_total", "code")); d != "" {
		t.Errorf("by code (-want +got):\n%s", d)
	}
}

// What isn't configured, doesn't answer, answers nonsense, or too much, is away with
// what to do or why; the others are not touched.
func TestAwaySources(t *testing.T) {
	answer := func(status int, body string) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}))
		t.Cleanup(server.Close)
		return server.URL
	}
	for name, url := range map[string]string{
		"not configured": "", "nobody": "http://127.0.0.1:1", "an error": answer(500, "broken"), "nonsense": answer(200, "<html>"),
		"too much": answer(200, strings.Repeat(" ", mostAnswer+1)), "no address": "://",
	} {
		s := &Sources{PrometheusURL: url, AlertmanagerURL: url}
		_, alerts := s.Alerts(t.Context())
		_, told := s.Told(t.Context())
		for of, err := range map[string]error{"Prometheus": alerts, "Alertmanager": told} {
			e, ok := errors.AsType[*agentese.Error](err)
			if !ok || e.Kind != agentese.KindAway && e.Kind != agentese.KindFailed || !strings.Contains(e.What, of) || e.Why == "" && len(e.Try) == 0 {
				t.Errorf("%s of %s: %v", name, of, err)
			}
		}
	}
}

// A program that is older than its history says so.
func TestNoHistory(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	s := &Sources{API: &client.Client{URL: server.URL, HTTP: server.Client()}}
	now := time.Now()
	_, err := s.Series(t.Context(), now.Add(-time.Hour), now, 0, Ask{Name: "kgents_backlog_messages"})
	_, _, entries := s.Entries(t.Context(), now.Add(-time.Hour), "circuit")
	for _, err := range []error{err, entries} {
		if e, ok := errors.AsType[*agentese.Error](err); !ok || e.Kind != agentese.KindAway || len(e.Try) == 0 {
			t.Errorf("without a history: %v", err)
		}
	}
}
