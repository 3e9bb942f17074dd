package app_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/kgents/kgents/admit/redistest"
	"github.com/kgents/kgents/config"
)

// What a scrape may cost.
const (
	scrapeBytes = 200_000
	scrapeTime  = 10 * time.Millisecond * slower
)

// series are the names and labels of all that a scrape has.
func (p *program) series() map[string]float64 {
	p.t.Helper()
	families, err := p.Registry().Gather()
	if err != nil {
		p.t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			name := f.GetName()
			if len(labels) > 0 {
				name += "{" + strings.Join(labels, ",") + "}"
			}
			out[name] = reading(m)
		}
	}
	return out
}

// reading is a counter's or a gauge's, and the count of a histogram.
func reading(m *dto.Metric) float64 {
	switch {
	case m.GetCounter() != nil:
		return m.GetCounter().GetValue()
	case m.GetGauge() != nil:
		return m.GetGauge().GetValue()
	default:
		return float64(m.GetHistogram().GetSampleCount())
	}
}

// busy is everything in one program, after traffic of every kind.
func busy(t *testing.T) *program {
	t.Helper()
	p := start(t, config.RoleUp, settings(t, config.RoleUp, map[string]string{"REDIS_URL": redistest.Start(t).URL()}))
	p.ready()
	p.strangers(t, 0, 100)
	eventually(t, "what was sent is metered and Redis was looked at", func() bool {
		s := p.series()
		return s["kgents_openmeter_events_sent_total"] >= 100 && s["kgents_redis_up"] == 1 && s["kgents_backlog_messages"] == 0
	})
	return p
}

// strangers sends events, each of a customer, a type and a source of its own, and
// requests of every kind with words that nobody knows.
func (p *program) strangers(t *testing.T, from, n int) {
	t.Helper()
	const batch = 500
	for ; n > 0; n -= batch {
		var events []string
		for range min(batch, n) {
			events = append(events, fmt.Sprintf(
				`{"specversion":"1.0","id":"e-%d","source":"source-%[1]d","type":"type.%[1]d","subject":"customer-%[1]d","data":{"model-%[1]d":%[1]d}}`, from))
			from++
		}
		req := p.request(http.MethodPost, "/api/v1/events", "["+strings.Join(events, ",")+"]")
		req.Header.Set("Content-Type", "application/cloudevents-batch+json")
		if a := p.send(req); a.status != http.StatusNoContent {
			t.Fatalf("a batch is answered with %d %s", a.status, a.body)
		}
	}
	for i := from; i < from+20; i++ {
		word := fmt.Sprintf("word%d", i)
		refused := p.request(http.MethodPost, "/api/v1/events", "{")
		refused.Header.Set("Content-Type", "application/"+word)
		stranger := p.request(http.MethodPost, "/api/v1/events", "{}")
		stranger.Header.Set("Authorization", "Bearer "+word)
		for _, req := range []*http.Request{
			refused, stranger,
			p.webhook("evt_"+word, "kind."+word),
			p.webhook("evt_paid"+word, "invoice.paid"),
			p.request(strings.ToUpper(word), "/api/v1/events", ""),
			p.request(strings.ToUpper(word), "/api/v1/deadletters", ""),
			p.request(strings.ToUpper(word), "/api/v1/meters/"+word+"/query", ""),
			p.request(http.MethodGet, "/api/v1/meters/"+word+"/query?subject="+word, ""),
			p.request(http.MethodGet, "/api/v1/events?id="+word, ""),
			p.request(http.MethodGet, "/api/v1/deadletters?type="+word, ""),
			p.request(http.MethodGet, "/"+word, ""),
			p.request(http.MethodPost, "/webhooks/stripe", word),
		} {
			p.send(req)
		}
	}
}

// No label's values come from outside: however many customers, types and sources
// there are, there are as many series.
func TestSeriesAreBounded(t *testing.T) {
	p := busy(t)
	before := p.series()
	sent := before["kgents_openmeter_events_sent_total"]
	p.strangers(t, 1_000, 10_000)
	eventually(t, "all of it is metered", func() bool { return p.series()["kgents_openmeter_events_sent_total"] >= sent+10_000 })
	after := p.series()
	for name := range after {
		if _, ok := before[name]; !ok {
			t.Errorf("the series %s is new", name)
		}
	}
	if len(after) != len(before) {
		t.Errorf("%d series before 10,000 customers and types, %d after", len(before), len(after))
	}
}

// A scrape is small and answers from memory.
func TestScrape(t *testing.T) {
	p := busy(t)
	best, size := time.Hour, 0
	for range 20 {
		began := time.Now()
		a := p.get("/metrics")
		best, size = min(best, time.Since(began)), len(a.body)
		if a.status != http.StatusOK || len(a.body) > scrapeBytes {
			t.Fatalf("a scrape is answered with %d and %d bytes, want at most %d", a.status, len(a.body), scrapeBytes)
		}
	}
	t.Logf("%d series in %d bytes, the fastest of 20 scrapes took %v", len(p.series()), size, best)
	if best > scrapeTime {
		t.Errorf("the fastest of 20 scrapes took %v, want at most %v", best, scrapeTime)
	}
}
