package history

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// registry has some of the metrics that are kept.
func registry() (*prometheus.Registry, prometheus.Gauge, *prometheus.CounterVec, prometheus.Histogram) {
	reg := prometheus.NewRegistry()
	backlog := prometheus.NewGauge(prometheus.GaugeOpts{Name: "kgents_backlog_messages"})
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kgents_api_requests_total"}, []string{"route", "code"})
	latency := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "kgents_stripe_webhook_latency_seconds"})
	reg.MustRegister(backlog, requests, latency)
	return reg, backlog, requests, latency
}

func TestSeries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg, backlog, requests, latency := registry()
		begin := time.Now()
		s := NewSeries(reg, quiet)
		synctest.Wait()
		for i := range 6 { // for a minute
			backlog.Set(float64(i))
			requests.WithLabelValues("/a", "204").Inc()
			requests.WithLabelValues("/b", "200").Inc()
			latency.Observe(0.5)
			time.Sleep(Every)
			synctest.Wait()
		}
		at := func(seconds int) float64 { return float64(begin.Unix() + int64(seconds)) }
		for name, c := range map[string]struct {
			ask   string
			since time.Time
			step  time.Duration
			want  []Line
		}{
			"a gauge":              {"kgents_backlog_messages", begin.Add(20 * time.Second), 0, []Line{{"kgents_backlog_messages", []Point{{at(20), 1}, {at(30), 2}, {at(40), 3}, {at(50), 4}, {at(60), 5}}}}},
			"a step":               {"kgents_backlog_messages", begin, time.Minute, []Line{{"kgents_backlog_messages", []Point{{at(50), 4}, {at(60), 5}}}}},
			"what selects nothing": {`kgents_api_requests_total{code=~"5.."}`, begin, 0, []Line{{`kgents_api_requests_total{code=~"5.."}`, []Point{}}}},
			"a sum of labels":      {`kgents_api_requests_total{code=~"2.."}`, begin.Add(time.Minute), 0, []Line{{`kgents_api_requests_total{code=~"2.."}`, []Point{{at(60), 12}}}}},
			"a metric": {"kgents_api_requests_total", begin.Add(time.Minute), 0, []Line{
				{`kgents_api_requests_total{code=~"2.."}`, []Point{{at(60), 12}}}, {`kgents_api_requests_total{code=~"4.."}`, []Point{}}, {`kgents_api_requests_total{code=~"5.."}`, []Point{}}}},
			"a histogram": {"kgents_stripe_webhook_latency_seconds", begin.Add(time.Minute), 0, []Line{
				{"kgents_stripe_webhook_latency_seconds_count", []Point{{at(60), 6}}}, {"kgents_stripe_webhook_latency_seconds_sum", []Point{{at(60), 3}}}}},
			"what isn't kept": {"up", begin, 0, nil},
		} {
			if d := cmp.Diff(c.want, s.Lines(c.ask, c.since, c.step)); d != "" {
				t.Errorf("%s (-want +got):\n%s", name, d)
			}
		}

		time.Sleep(Kept)
		synctest.Wait()
		s.Close()
		l := s.Lines("kgents_backlog_messages", begin, 0)[0]
		if len(l.Points) != samples || l.Points[0][0] != at(60) || !s.KeptSince().Equal(begin.Add(time.Minute)) {
			t.Errorf("after six hours %d points from %v on, kept since %v", len(l.Points), l.Points[0][0]-at(0), s.KeptSince())
		}
	})
}

func TestRoutes(t *testing.T) {
	reg, _, _, _ := registry()
	series := NewSeries(reg, quiet)
	defer series.Close()
	log := newLog("up/here", &memory{}, quiet)
	defer log.Close()
	mux := http.NewServeMux()
	NewAPI(log, series).Register(mux, func(_ string, next http.Handler) http.Handler { return next })
	log.Add(Entry{Kind: Circuit, What: "the circuit is open"})
	for name, c := range map[string]struct {
		method, path string
		status       int
		has          string
	}{
		"entries":                {"GET", Path, 200, `"what":"the circuit is open"`},
		"recent ones":            {"GET", Path + "?since=6h&kind=circuit&limit=5", 200, `"what":"the circuit is open"`},
		"of another kind":        {"GET", Path + "?kind=stop", 200, `{"entries":[],"kept_since":"2`},
		"of no kind":             {"GET", Path + "?kind=nonsense", 400, "there is no kind"},
		"of no time":             {"GET", Path + "?since=yesterday", 400, "as in 90m"},
		"too many":               {"GET", Path + "?limit=1001", 400, "limit must be"},
		"a mistyped parameter":   {"GET", Path + "?sinse=6h", 400, "there is no parameter"},
		"twice":                  {"GET", Path + "?kind=stop&kind=start", 400, "given twice"},
		"another method":         {"POST", Path, 405, "use GET here"},
		"names":                  {"GET", SeriesPath, 200, `{"series":[],"names":[{"name":"kgents_stripe_webhooks_received_total","type":"counter","help":"Stripe webhooks with a good signature"}`},
		"a series":               {"GET", SeriesPath + "?name=kgents_backlog_messages&name=" + url.QueryEscape(`kgents_api_requests_total{code=~"2.."}`) + "&since=1h&step=1m", 200, `{"series":[{"name":"kgents_api_requests_total{code=~\"2..\"}","points":[]},{"name":"kgents_backlog_messages","points":[[`},
		"a figure that is none":  {"GET", SeriesPath + "?name=up", 404, "not kept"},
		"a step that is none":    {"GET", SeriesPath + "?step=1", 400, "step must be"},
		"too many figures":       {"GET", SeriesPath + "?" + strings.Repeat("name=go_goroutines&", 21), 400, "may name"},
		"a series of no replica": {"GET", SeriesPath + "?replica=x", 400, "there is no parameter"},
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, httptest.NewRequest(c.method, c.path, nil))
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.has) {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
}
