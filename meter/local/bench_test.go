package local_test

import (
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kgents/kgents/meter"
	"github.com/kgents/kgents/meter/local"
)

const benchBatch = 100 // events of a request, as a sink sends them

// usage is a batch of events of about 400 bytes whose ids begin at first: no
// event is a duplicate of another batch's.
func usage(first int) string {
	const month = 30 * 24 * 60 // minutes
	begin := time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)
	return batchOf(benchBatch, func(i int) string {
		n := first + i
		at := begin.Add(time.Duration(n*7%month) * time.Minute) // 7 and the month have no common divisor: every minute gets its share
		return fmt.Sprintf(`{"specversion":"1.0","id":"0191d7a0-7c1e-7a3b-9c55-%012d","source":"agent-runner","type":"agent.tokens",`+
			`"subject":"customer-%04d","time":%q,"datacontenttype":"application/json",`+
			`"data":{"tokens":%d,"model":"large-%d","agent":"planner","session":"0191d7a0-7c1e-7a3b-9c55-aabbccddeeff",`+
			`"latency_ms":812.5,"cached":false,"tools":["search","read"],"region":"eu-central"}}`,
			n, n%1000, at.Format(time.RFC3339), n%2000, n%4)
	})
}

// monthByDay is the question of a bill: a month by day, for each model.
var monthByDay = url.Values{
	"from": {"2026-04-01T00:00:00Z"}, "to": {"2026-05-01T00:00:00Z"}, "windowSize": {meter.Day}, "groupBy": {"model"},
}.Encode()

func askMonth(b testing.TB, s *local.Store) string {
	w := call(s, http.MethodGet, "/api/v1/meters/agent_tokens/query?"+monthByDay, "", "")
	if w.Code != http.StatusOK {
		b.Fatalf("query: %d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// The benchmarks measure work that is done: every event of a batch is new, and
// the month's answer has all days and models.
func TestBenchmarksCount(t *testing.T) {
	const batches = 12
	s := open(t, filepath.Join(t.TempDir(), "meter.db"), local.DefaultMeters())
	want := 0.0
	for n := range batches {
		post(t, s, usage(n*benchBatch))
	}
	for n := range batches * benchBatch {
		want += float64(n % 2000)
	}
	if got := count(t, s, "agent_tokens"); got != want {
		t.Errorf("counted %v, want %v", got, want)
	}
	// 1,200 events, 7 minutes apart, reach into the sixth day.
	if rows := strings.Count(askMonth(t, s), "windowStart"); rows != 6*4 {
		t.Errorf("%d rows, want 6 days of 4 models", rows)
	}
}

// BenchmarkIngest is one client's: each batch waits for its sync to disk.
func BenchmarkIngest(b *testing.B) {
	s := open(b, filepath.Join(b.TempDir(), "meter.db"), local.DefaultMeters())
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		b.StopTimer() // making the events is the client's work
		body := usage(n * benchBatch)
		n++
		b.StartTimer()
		post(b, s, body)
	}
	b.ReportMetric(float64(n*benchBatch)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkQuery is of a month with an event nearly every minute. Its events/s
// are those that an answer sums up.
func BenchmarkQuery(b *testing.B) {
	const events = 40_000
	s := open(b, filepath.Join(b.TempDir(), "meter.db"), local.DefaultMeters())
	for n := 0; n < events; n += benchBatch {
		post(b, s, usage(n))
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		askMonth(b, s)
		n++
	}
	b.ReportMetric(float64(n)*events/b.Elapsed().Seconds(), "events/s")
}
