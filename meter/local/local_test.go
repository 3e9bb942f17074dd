package local_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/meter"
	"github.com/kgents/kgents/meter/local"
	"github.com/kgents/kgents/receive/stripe"
)

func count(t testing.TB, s *local.Store, slug string) float64 {
	t.Helper()
	total := 0.0
	for _, row := range query(t, s, slug, nil).Data {
		total += row.Value
	}
	return total
}

// The table of what OpenMeter's ingest takes, as measured on a real one.
func TestIngestAcceptance(t *testing.T) {
	one := event("1", "agent.tokens", `{"tokens":1}`)
	with := func(old, new string) string { return strings.Replace(one, old, new, 1) }
	for _, c := range []struct {
		name, contentType, body string
		status                  int
		detail                  string
	}{
		{"one event", "application/cloudevents+json", one, 204, ""},
		{"a batch", "application/cloudevents-batch+json", "[" + one + "]", 204, ""},
		{"application/json, one", "application/json", one, 204, ""},
		{"application/json, an array", "application/json", "[" + one + "]", 204, ""},
		{"an empty batch", "application/cloudevents-batch+json", "[]", 204, ""},
		{"an empty array", "application/json", "[]", 400, "no events"},
		{"another type", "text/plain", one, 400, "content type"},
		{"a bad event in a batch", "application/json", "[" + one + "," + with(`"subject":"c"`, `"subject":""`) + "]", 400, "/1/subject"},
		{"specversion 0.3", "application/json", with(`"1.0"`, `"0.3"`), 204, ""},
		{"specversion 2.0", "application/json", with(`"1.0"`, `"2.0"`), 400, "specversion"},
		{"a source that is no URI reference", "application/json", with(`"source":"s"`, `"source":"has space %zz"`), 400, "/source"},
		{"a scalar extension", "application/json", with(`"source"`, `"region":"eu","source"`), 204, ""},
		{"an object as extension", "application/json", with(`"source"`, `"region":{},"source"`), 400, "/region"},
		{"an unknown type", "application/json", with("agent.tokens", "no.such"), 204, ""},
		{"a value that is no number", "application/json", with(`{"tokens":1}`, `{"tokens":"many"}`), 204, ""},
		{"a time in 2020", "application/json", with("2026", "2020"), 204, ""},
		{"a time in 2099", "application/json", with("2026", "2099"), 204, ""},
		{"no JSON", "application/json", "{", 400, "ends in the middle"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, filepath.Join(t.TempDir(), "meter.db"), local.DefaultMeters())
			w := call(s, http.MethodPost, "/api/v1/events", c.contentType, c.body)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.detail) {
				t.Errorf("answer %d %s, want %d with %q", w.Code, w.Body, c.status, c.detail)
			}
			if c.status == 400 {
				if got := count(t, s, "agent_tokens"); got != 0 {
					t.Errorf("a refused request counted %v", got)
				}
			}
		})
	}
}

func TestEachIdentityCountsOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "meter.db")
	s := open(t, path, local.DefaultMeters())
	with := func(id, source string) string {
		return strings.Replace(event(id, "agent.tokens", `{"tokens":1}`), `"source":"s"`, `"source":"`+source+`"`, 1)
	}
	post(t, s, "["+with("1", "a")+","+with("1", "a")+","+with("2", "a")+"]")
	post(t, s, "["+with("1", "a")+"]")
	post(t, s, "["+with("1", "b")+"]") // another source, another event
	// OpenMeter joins source and id with a dash, and takes these two for one.
	post(t, s, "["+with("c", "x-y")+","+with("y-c", "x")+"]")
	if got := count(t, s, "agent_tokens"); got != 5 {
		t.Errorf("counted %v, want 5", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, local.DefaultMeters())
	post(t, s, "["+with("1", "a")+","+with("3", "a")+"]")
	if got := count(t, s, "agent_tokens"); got != 6 {
		t.Errorf("counted %v after it was opened again, want 6", got)
	}
}

func TestConcurrentIngest(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "meter.db"), local.DefaultMeters())
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for b := range 10 {
				body := batchOf(20, func(i int) string { // every event comes from four goroutines
					return event(fmt.Sprint(g/4, "-", b, "-", i), "agent.tokens", `{"tokens":2}`)
				})
				if w := call(s, http.MethodPost, "/api/v1/events", "application/json", body); w.Code != http.StatusNoContent {
					t.Errorf("%d %s", w.Code, w.Body)
				}
			}
		})
	}
	wg.Wait()
	if got := count(t, s, "agent_tokens"); got != 2*10*20*2 {
		t.Errorf("counted %v, want %v", got, 2*10*20*2)
	}
}

func TestListEvents(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "meter.db"), local.DefaultMeters())
	post(t, s, batchOf(120, func(i int) string {
		e := event(fmt.Sprintf("id-%03d", i), "agent.tokens", fmt.Sprintf(`{"tokens":%d}`, i))
		if i == 7 {
			e = strings.Replace(e, `"subject":"c"`, `"subject":"other"`, 1)
		}
		return e
	}))
	post(t, s, "["+event("x1", "no.such", "{}")+","+event("x2", "agent.tokens", `{"tokens":"many"}`)+","+event("x3", "agent.tokens", "{}")+"]")
	list := func(query string) (ids, problems []string) {
		t.Helper()
		w := call(s, http.MethodGet, "/api/v1/events?"+query, "", "")
		var events []meter.StoredEvent
		if err := json.Unmarshal(w.Body.Bytes(), &events); err != nil {
			t.Fatalf("%s: %d %s", query, w.Code, w.Body)
		}
		for _, e := range events {
			var head struct{ ID string }
			if err := json.Unmarshal(e.Event, &head); err != nil {
				t.Fatal(err)
			}
			if age := time.Since(e.IngestedAt); age < 0 || age > time.Hour {
				t.Errorf("ingested %v ago", age)
			}
			ids, problems = append(ids, head.ID), append(problems, e.ValidationError)
		}
		return ids, problems
	}
	if ids, _ := list(""); len(ids) != 100 || ids[0] != "x3" || ids[3] != "id-119" {
		t.Errorf("%d events, %v…, want the newest 100", len(ids), ids[:4])
	}
	for query, want := range map[string][]string{
		"id=id-042":                            {"id-042"},
		"id=d-04&limit=2":                      {"id-049", "id-048"},
		"id=nothing":                           nil,
		"subject=other":                        {"id-007"},
		"limit=1":                              {"x3"},
		"id=id-042&from=2026-05-01T10:00:00Z":  {"id-042"},
		"id=id-042&from=2026-05-01T10:00:01Z":  nil,
		"id=id-042&to=2026-05-01T09:59:59Z":    nil,
		"id=" + url.QueryEscape("' OR 1=1 --"): nil,
		"subject=" + url.QueryEscape("c' UNION SELECT 1 --"): nil,
	} {
		if ids, _ := list(query); !cmp.Equal(want, ids) {
			t.Errorf("%s: %v, want %v", query, ids, want)
		}
	}
	_, problems := list("limit=4")
	for i, want := range []string{"no value at $.tokens", "is no number", "no meter counts events of type no.such", ""} {
		if !strings.Contains(problems[i], want) || (want == "") != (problems[i] == "") {
			t.Errorf("validation error %d is %q, want %q", i, problems[i], want)
		}
	}
}

func TestBadQuestions(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "meter.db"), local.DefaultMeters())
	post(t, s, "["+event("1", "agent.tokens", `{"tokens":1}`)+"]")
	for target, want := range map[string]struct {
		status int
		detail string
	}{
		"/api/v1/meters/no_such":                            {404, "no meter"},
		"/api/v1/meters/no_such/query":                      {404, "no meter"},
		"/api/v1/nothing":                                   {404, "nothing at this path"},
		"/api/v1/meters/agent_tokens/query?windowSize=WEEK": {400, "MINUTE, HOUR, DAY or MONTH"},
		"/api/v1/meters/agent_tokens/query?from=yesterday":  {400, "RFC 3339"},
		"/api/v1/meters/agent_tokens/query?from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z":   {400, "before"},
		"/api/v1/meters/agent_tokens/query?windowSize=DAY&windowTimeZone=Mars/Base":             {400, "Europe/Berlin"},
		"/api/v1/meters/agent_tokens/query?windowSize=DAY&windowTimeZone=Local":                 {400, "time zone"},
		"/api/v1/meters/agent_tokens/query?groupBy=nothing":                                     {400, "agent"},
		"/api/v1/meters/agent_tokens/query?filterGroupBy[nothing]=1":                            {400, "model"},
		"/api/v1/meters/agent_tokens/query?windowSize=MINUTE&from=1990-01-01T00:00:00Z":         {400, "windows"},
		"/api/v1/meters/agent_tokens/query?groupBy=" + url.QueryEscape("model') FROM events--"): {400, "groupBy"},
		"/api/v1/events?limit=1000": {400, "limit"},
		"/api/v1/events?limit=x":    {400, "limit"},
		"/api/v1/events?from=x":     {400, "RFC 3339"},
	} {
		w := call(s, http.MethodGet, target, "", "")
		if w.Code != want.status || !strings.Contains(w.Body.String(), want.detail) || w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s, want %d with %q", target, w.Code, w.Body, want.status, want.detail)
		}
	}
}

func TestMeters(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "meter.db"), local.DefaultMeters())
	post(t, s, batchOf(10, func(i int) string { return event(fmt.Sprint(i), "new.type", fmt.Sprintf(`{"n":%d}`, i)) }))
	create := `{"slug":"later","eventType":"new.type","aggregation":"SUM","valueProperty":"$.n"}`
	if w := call(s, http.MethodPost, "/api/v1/meters", "application/json", create); w.Code != http.StatusOK {
		t.Fatalf("create: %d %s", w.Code, w.Body)
	}
	if got := count(t, s, "later"); got != 45 {
		t.Errorf("a new meter counts %v of the stored events, want 45", got)
	}
	post(t, s, "["+event("10", "new.type", `{"n":5}`)+"]")
	if got := count(t, s, "later"); got != 50 {
		t.Errorf("a new meter counts %v, want 50", got)
	}
	if w := call(s, http.MethodPost, "/api/v1/meters", "application/json", create); w.Code != http.StatusConflict {
		t.Errorf("create again: %d, want 409", w.Code)
	}
	if w := call(s, http.MethodPost, "/api/v1/meters", "application/json", `{"slug":"Bad Slug","eventType":"t","aggregation":"COUNT"}`); w.Code != http.StatusBadRequest {
		t.Errorf("a bad slug: %d, want 400", w.Code)
	}
	var list []meter.Meter
	if err := json.Unmarshal(call(s, http.MethodGet, "/api/v1/meters", "", "").Body.Bytes(), &list); err != nil {
		t.Fatal(err)
	}
	if len(list) != len(local.DefaultMeters())+1 {
		t.Errorf("%d meters listed", len(list))
	}
	for _, m := range list {
		w := call(s, http.MethodGet, "/api/v1/meters/"+m.ID, "", "")
		var byID meter.Meter
		if err := json.Unmarshal(w.Body.Bytes(), &byID); err != nil || byID.Slug != m.Slug || m.ID == "" {
			t.Errorf("meter %s by its id %q: %d %s", m.Slug, m.ID, w.Code, w.Body)
		}
	}
}

// A meter that is changed counts the past anew.
func TestChangedMeter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "meter.db")
	m := meter.Meter{Slug: "m", EventType: "t", Aggregation: meter.Sum, ValueProperty: "$.a"}
	s := open(t, path, []meter.Meter{m})
	post(t, s, batchOf(10, func(i int) string { return event(fmt.Sprint(i), "t", `{"a":1,"b":{"c":10}}`) }))
	if got := count(t, s, "m"); got != 10 {
		t.Fatalf("counted %v, want 10", got)
	}
	for _, c := range []struct {
		change func(*meter.Meter)
		want   float64
	}{
		{func(m *meter.Meter) { m.ValueProperty = "$.b.c" }, 100},
		{func(m *meter.Meter) { m.ValueProperty = `$['b']["c"]` }, 100},
		{func(m *meter.Meter) { m.Aggregation = meter.UniqueCount }, 1},
		{func(m *meter.Meter) { m.EventType = "other" }, 0},
		{func(m *meter.Meter) {
			from := time.Date(2026, 5, 1, 10, 0, 1, 0, time.UTC)
			m.EventType, m.EventFrom = "t", &from
		}, 0},
	} {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		c.change(&m)
		s = open(t, path, []meter.Meter{m})
		if got := count(t, s, "m"); got != c.want {
			t.Errorf("meter %+v counts %v, want %v", m, got, c.want)
		}
	}
}

func TestLoadMeters(t *testing.T) {
	for _, c := range []struct{ name, yaml, want string }{
		{"nothing", "", "line 1"},
		{"no YAML", "meters: [", ""},
		{"an unknown field", "meters:\n  - slug: a\n    eventTyp: t\n", "3"},
		{"a bad slug", "meters:\n  - slug: ok\n    eventType: t\n    aggregation: COUNT\n  - slug: Not OK\n    eventType: t\n    aggregation: COUNT\n", "line 5"},
		{"no type", "meters:\n  - slug: a\n    aggregation: COUNT\n", "eventType"},
		{"a bad aggregation", "meters:\n  - slug: a\n    eventType: t\n    aggregation: MEDIAN\n", "SUM"},
		{"a count of a value", "meters:\n  - slug: a\n    eventType: t\n    aggregation: COUNT\n    valueProperty: $.x\n", "takes no valueProperty"},
		{"a sum of nothing", "meters:\n  - slug: a\n    eventType: t\n    aggregation: SUM\n", "needs a valueProperty"},
		{"a path that is none", "meters:\n  - slug: a\n    eventType: t\n    aggregation: SUM\n    valueProperty: tokens\n", "$.usage.tokens"},
		{"a path with a wildcard", "meters:\n  - slug: a\n    eventType: t\n    aggregation: SUM\n    valueProperty: $.*\n", "no path"},
		{"subject as a group", "meters:\n  - slug: a\n    eventType: t\n    aggregation: COUNT\n    groupBy: {subject: $.s}\n", "not subject"},
		{"a slug twice", "meters:\n  - {slug: a, eventType: t, aggregation: COUNT}\n  - {slug: a, eventType: t, aggregation: COUNT}\n", "line 3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if m, err := local.LoadMeters([]byte(c.yaml)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("LoadMeters = %v, %v, want an error with %q", m, err, c.want)
			}
		})
	}
}

// Alerts, dashboards and plans rely on these names.
func TestDefaultMeters(t *testing.T) {
	var got []string
	for _, m := range local.DefaultMeters() {
		var groups []string
		for name, path := range m.GroupBy {
			groups = append(groups, name+"="+path)
		}
		got = append(got, fmt.Sprintf("%s %s %s %s %d", m.Slug, m.EventType, m.Aggregation, m.ValueProperty, len(groups)))
	}
	want := []string{
		"subscriptions_started subscription.started UNIQUE_COUNT $.subscription_id 1",
		"subscription_changes subscription.updated COUNT  1",
		"subscriptions_ended subscription.ended UNIQUE_COUNT $.subscription_id 0",
		"payments payment.success SUM $.amount 1",
		"payment_failures payment.failed COUNT  1",
		"agent_tokens agent.tokens SUM $.tokens 2",
		"town_interactions town.interaction COUNT  2",
		"api_requests api.request COUNT  1",
		"canaries kgents.canary COUNT  0",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("default meters (-want +got):\n%s", d)
	}
}

// What Stripe tells is counted by some default meter: an ordinary webhook must not make the
// alert UncountedEvents fire.
func TestWhatStripeTellsIsCounted(t *testing.T) {
	counted := map[string]bool{}
	for _, m := range local.DefaultMeters() {
		counted[m.EventType] = true
	}
	for _, typ := range []string{stripe.Started, stripe.Updated, stripe.Ended, stripe.Succeeded, stripe.Failed} {
		if !counted[typ] {
			t.Errorf("no default meter counts %s", typ)
		}
	}
}

func TestCSV(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "meter.db"), local.DefaultMeters())
	post(t, s, "["+event("1", "agent.tokens", `{"tokens":3,"model":"a,b"}`)+"]")
	r := httptest.NewRequest(http.MethodGet, "/api/v1/meters/agent_tokens/query?groupBy=model&groupBy=subject&groupBy=agent", nil)
	r.Header.Set("Accept", "text/csv")
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	want := "window_start,window_end,value,model,subject,agent\n2026-05-01T10:00:00Z,2026-05-01T10:01:00Z,3,\"a,b\",c,\n"
	if d := cmp.Diff(want, w.Body.String()); d != "" {
		t.Errorf("CSV (-want +got):\n%s", d)
	}
}

func TestClosed(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "meter.db"), local.DefaultMeters())
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
	w := call(s, http.MethodPost, "/api/v1/events", "application/json", event("1", "t", "{}"))
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("ingest after Close: %d, want 503 with Retry-After", w.Code)
	}
}
