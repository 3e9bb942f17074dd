package local_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/kgents/kgents/meter"
	"github.com/kgents/kgents/meter/local"
)

// The race detector makes SQLite, which is Go here, thirty times slower.
var seeds = flag.Uint64("seeds", 3, "how many runs TestQueriesAgreeWithNaiveEvaluation makes")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, path string, meters []meter.Meter) *local.Store {
	t.Helper()
	s, err := local.Open(t.Context(), local.Config{
		Path: path, Meters: meters, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// call sends a request to the store's handler.
func call(s *local.Store, method, target, contentType, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w
}

func post(t testing.TB, s *local.Store, body string) {
	t.Helper()
	if w := call(s, http.MethodPost, "/api/v1/events", "application/cloudevents-batch+json", body); w.Code != http.StatusNoContent {
		t.Fatalf("ingest: %d %s", w.Code, w.Body)
	}
}

func query(t testing.TB, s *local.Store, slug string, v url.Values) meter.Result {
	t.Helper()
	w := call(s, http.MethodGet, "/api/v1/meters/"+slug+"/query?"+v.Encode(), "", "")
	if w.Code != http.StatusOK {
		t.Fatalf("query %s %v: %d %s", slug, v, w.Code, w.Body)
	}
	var r meter.Result
	if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// fact is an event as the naive evaluation sees it.
type fact struct {
	id, subject string
	at          time.Time
	value       float64
	text        string // of the value, for UNIQUE_COUNT
	valid       bool
	groups      map[string]*string
	json        string
}

var aggregations = []meter.Aggregation{meter.Sum, meter.Count, meter.UniqueCount, meter.Avg, meter.Min, meter.Max, meter.Latest}

// allMeters has one meter for each aggregation over the same events.
func allMeters() []meter.Meter {
	var out []meter.Meter
	for _, a := range aggregations {
		m := meter.Meter{
			Slug: "m_" + strings.ToLower(string(a)), EventType: "t", Aggregation: a, ValueProperty: "$.v",
			GroupBy: map[string]string{"model": "$.model", "region": "$.where.region"},
		}
		if a == meter.Count {
			m.ValueProperty = ""
		}
		out = append(out, m)
	}
	return out
}

func randomFact(r *rand.Rand, n int) fact {
	f := fact{id: fmt.Sprint("id-", n), subject: fmt.Sprint("c", r.IntN(4)), groups: map[string]*string{"model": nil, "region": nil}, valid: true}
	// Around the days on which clocks change, and anywhere in two years.
	bases := []time.Time{
		time.Date(2026, 3, 28, 20, 0, 0, 0, time.UTC), time.Date(2026, 10, 24, 20, 0, 0, 0, time.UTC),
		time.Date(2018, 11, 3, 20, 0, 0, 0, time.UTC), time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC),
	}
	f.at = bases[r.IntN(len(bases))].Add(time.Duration(r.IntN(14*3600)) * time.Second)
	if r.IntN(4) == 0 {
		f.at = time.Unix(1735689600+r.Int64N(2*365*86400), 0).UTC()
	}
	data := map[string]any{}
	words := []string{"a", "b", "ü \"quoted\"", "", "1"}
	if k := r.IntN(6); k < len(words) {
		f.groups["model"] = &words[k]
		data["model"] = words[k]
	} else {
		data["model"] = nil
	}
	switch r.IntN(4) {
	case 0:
		s := "eu"
		f.groups["region"], data["where"] = &s, map[string]any{"region": "eu"}
	case 1:
		s := "7"
		f.groups["region"], data["where"] = &s, map[string]any{"region": 7}
	case 2:
		data["where"] = "no object"
	}
	switch r.IntN(8) {
	case 0:
		f.value = float64(r.IntN(1000)) / 4
		f.text = strconv.FormatFloat(f.value, 'g', -1, 64)
		data["v"] = f.value
	case 1:
		f.value = float64(r.Int64N(1 << 40))
		f.text = strconv.FormatFloat(f.value, 'f', 0, 64)
		data["v"] = f.text // a number as a string
	case 2:
		f.value = -float64(r.IntN(50))
		f.text = strconv.FormatFloat(f.value, 'f', -1, 64)
		data["v"] = json.Number(f.text)
	default:
		f.value = float64(r.IntN(20))
		f.text = strconv.FormatFloat(f.value, 'f', -1, 64)
		data["v"] = json.Number(f.text)
	}
	if r.IntN(12) == 0 {
		f.valid = false
		delete(data, "v")
	}
	body, _ := json.Marshal(map[string]any{
		"specversion": "1.0", "id": f.id, "source": "s", "type": "t", "subject": f.subject,
		"time": f.at.Format(time.RFC3339), "data": data,
	})
	f.json = string(body)
	return f
}

// naive evaluates a query over all facts, in the plainest way there is.
func naive(facts []fact, a meter.Aggregation, from, to time.Time, size string, loc *time.Location, subjects []string, filter map[string][]string, groupBy []string) map[string]float64 {
	minute := func(t time.Time) time.Time { return t.Truncate(time.Minute) }
	type bucket struct {
		values []fact
	}
	buckets := map[string]*bucket{}
	for _, f := range facts {
		if !f.valid && a != meter.Count {
			continue
		}
		if !from.IsZero() && f.at.Before(minute(from)) || !to.IsZero() && !f.at.Before(minute(to)) {
			continue
		}
		if len(subjects) > 0 && !slices.Contains(subjects, f.subject) {
			continue
		}
		kept := true
		for name, values := range filter {
			if f.groups[name] == nil || !slices.Contains(values, *f.groups[name]) {
				kept = false
			}
		}
		if !kept {
			continue
		}
		start := "all"
		local := f.at.In(loc)
		switch size {
		case meter.Minute:
			start = minute(f.at).UTC().Format(time.RFC3339)
		case meter.Hour:
			start = f.at.Add(-time.Duration(local.Minute())*time.Minute - time.Duration(local.Second())*time.Second).UTC().Format(time.RFC3339)
		case meter.Day:
			start = local.Format("2006-01-02")
		case meter.Month:
			start = local.Format("2006-01")
		}
		key := start
		for _, g := range groupBy {
			value := &f.subject
			if g != "subject" {
				value = f.groups[g]
			}
			if value == nil {
				key += "|<null>"
			} else {
				key += "|" + strconv.Quote(*value)
			}
		}
		if buckets[key] == nil {
			buckets[key] = &bucket{}
		}
		buckets[key].values = append(buckets[key].values, f)
	}
	out := map[string]float64{}
	for key, b := range buckets {
		distinct, sum, least, most := map[string]bool{}, 0.0, math.Inf(1), math.Inf(-1)
		latest := b.values[0]
		for _, f := range b.values {
			distinct[f.text] = true
			sum += f.value
			least, most = min(least, f.value), max(most, f.value)
			if !f.at.Before(latest.at) {
				latest = f
			}
		}
		switch a {
		case meter.Sum:
			out[key] = sum
		case meter.Count:
			out[key] = float64(len(b.values))
		case meter.UniqueCount:
			out[key] = float64(len(distinct))
		case meter.Avg:
			out[key] = sum / float64(len(b.values))
		case meter.Min:
			out[key] = least
		case meter.Max:
			out[key] = most
		case meter.Latest:
			out[key] = latest.value
		}
	}
	return out
}

// keyed names the rows of an answer as naive does.
func keyed(r meter.Result, size string, loc *time.Location, groupBy []string) map[string]float64 {
	out := map[string]float64{}
	for _, row := range r.Data {
		key := "all"
		switch size {
		case meter.Minute, meter.Hour:
			key = row.WindowStart.UTC().Format(time.RFC3339)
		case meter.Day:
			key = row.WindowStart.In(loc).Format("2006-01-02")
		case meter.Month:
			key = row.WindowStart.In(loc).Format("2006-01")
		}
		for _, g := range groupBy {
			value := row.Subject
			if g != "subject" {
				value = row.GroupBy[g]
			}
			if value == nil {
				key += "|<null>"
			} else {
				key += "|" + strconv.Quote(*value)
			}
		}
		out[key] = row.Value
	}
	return out
}

// The invoice is right: whatever is asked, the answer is that of a naive
// evaluation over all events, however they arrived.
func TestQueriesAgreeWithNaiveEvaluation(t *testing.T) {
	zones := []string{"", "UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kathmandu", "Pacific/Apia"}
	for seed := range *seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 9))
			path := filepath.Join(t.TempDir(), "meter.db")
			s := open(t, path, allMeters())
			var facts []fact
			for n := 0; n < 400; {
				var batch []string
				for range 1 + r.IntN(60) {
					f := randomFact(r, n)
					n++
					facts = append(facts, f)
					batch = append(batch, f.json)
					if r.IntN(5) == 0 { // again, here or in a later batch
						batch = append(batch, facts[r.IntN(len(facts))].json)
					}
				}
				post(t, s, "["+strings.Join(batch, ",")+"]")
				if r.IntN(4) == 0 {
					if err := s.Close(); err != nil {
						t.Fatal(err)
					}
					s = open(t, path, allMeters())
				}
			}
			for range 60 {
				a := aggregations[r.IntN(len(aggregations))]
				size := []string{"", meter.Minute, meter.Hour, meter.Day, meter.Month}[r.IntN(5)]
				zone := zones[r.IntN(len(zones))]
				loc, err := time.LoadLocation(zone)
				if err != nil {
					t.Fatal(err)
				}
				v := url.Values{}
				var from, to time.Time
				middle := facts[r.IntN(len(facts))].at
				if r.IntN(2) == 0 || size == meter.Minute || size == meter.Hour {
					from = middle.Add(-time.Duration(r.IntN(40*3600)) * time.Second)
					v.Set("from", from.Format(time.RFC3339))
				}
				if r.IntN(2) == 0 || size == meter.Minute || size == meter.Hour {
					to = middle.Add(time.Duration(120+r.IntN(40*3600)) * time.Second)
					v.Set("to", to.Format(time.RFC3339))
				}
				if size != "" {
					v.Set("windowSize", size)
				}
				if zone != "" {
					v.Set("windowTimeZone", zone)
				}
				var subjects, groupBy []string
				filter := map[string][]string{}
				for i := range r.IntN(3) {
					subjects = append(subjects, fmt.Sprint("c", i))
					v.Add("subject", subjects[i])
				}
				if r.IntN(3) == 0 {
					filter["model"] = []string{"a", "1"}
					v.Set("filterGroupBy[model]", "a,1")
				}
				if r.IntN(4) == 0 {
					filter["region"] = []string{"7"}
					v.Set("filterGroupBy[region]", "7")
				}
				for _, g := range []string{"subject", "model", "region"} {
					if r.IntN(2) == 0 {
						groupBy = append(groupBy, g)
						v.Add("groupBy", g)
					}
				}
				want := naive(facts, a, from, to, size, loc, subjects, filter, groupBy)
				got := keyed(query(t, s, "m_"+strings.ToLower(string(a)), v), size, loc, groupBy)
				if problem := compare(want, got); problem != "" {
					t.Fatalf("%s %v: %s", a, v, problem)
				}
			}
		})
	}
}

func compare(want, got map[string]float64) string {
	var problems []string
	for k, w := range want {
		g, ok := got[k]
		if !ok {
			problems = append(problems, fmt.Sprintf("%s is missing, want %v", k, w))
		} else if math.Abs(w-g) > 1e-9*math.Max(1, math.Abs(w)) {
			problems = append(problems, fmt.Sprintf("%s is %v, want %v", k, g, w))
		}
	}
	for k, g := range got {
		if _, ok := want[k]; !ok {
			problems = append(problems, fmt.Sprintf("%s is %v, want no such row", k, g))
		}
	}
	sort.Strings(problems)
	return strings.Join(problems[:min(len(problems), 5)], "; ")
}

func event(id, typ, data string) string {
	return fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"s","type":%q,"subject":"c","time":"2026-05-01T10:00:00Z","data":%s}`, id, typ, data)
}

func batchOf(n int, make func(i int) string) string {
	var b bytes.Buffer
	b.WriteByte('[')
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(make(i))
	}
	b.WriteByte(']')
	return b.String()
}

func TestSumsAreExact(t *testing.T) {
	for _, c := range []struct {
		name   string
		values []string
		want   float64
	}{
		{"ten times a tenth", strings.Split(strings.Repeat("0.1 ", 10), " ")[:10], 1},
		{"cents to the last", []string{"9007199254740991", "-9007199254740990"}, 1},
		{"a numeric string", []string{`"12"`, `"0.5"`}, 12.5},
		{"exponents", []string{"1e3", "1.0"}, 1001},
		{"numbers past 2^53", []string{"90071992547409930", "1"}, 90071992547409931},
		{"what is no number does not count", []string{"1e400", `"NaN"`, `""`, "true", "null", "[1]", "3"}, 3},
		{"as large as can be", []string{"1.7e308", "1.7e308"}, math.MaxFloat64},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, filepath.Join(t.TempDir(), "meter.db"), allMeters())
			post(t, s, batchOf(len(c.values), func(i int) string { return event(fmt.Sprint(i), "t", `{"v":`+c.values[i]+`}`) }))
			r := query(t, s, "m_sum", nil)
			if len(r.Data) != 1 || r.Data[0].Value != c.want {
				t.Errorf("sum = %v, want %v", r.Data, c.want)
			}
		})
	}
}

// Sums of whole numbers neither overflow nor make a query fail.
func TestHugeSums(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "meter.db"), allMeters())
	const n = 5000
	for part := range 4 {
		post(t, s, batchOf(n, func(i int) string {
			return event(fmt.Sprint(part, "-", i), "t", fmt.Sprintf(`{"v":%d,"model":"m%d"}`, 1<<53, i%3))
		}))
	}
	r := query(t, s, "m_sum", nil)
	if want := float64(4*n) * (1 << 53); len(r.Data) != 1 || math.Abs(r.Data[0].Value/want-1) > 1e-15 {
		t.Errorf("sum = %v, want %v", r.Data, want)
	}
}
