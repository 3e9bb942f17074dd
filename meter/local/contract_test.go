package local_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/meter"
	"github.com/kgents/kgents/meter/local"
)

// The structs here are what a client of OpenMeter may rely on, written down apart
// from the types that make the answers: a field renamed there fails here.

// utc is a time on the wire: RFC 3339 with a Z.
type utc string

func (u *utc) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	if _, err := time.Parse(time.RFC3339, s); err != nil || !strings.HasSuffix(s, "Z") {
		return fmt.Errorf("%q is no time in UTC as in RFC 3339", s)
	}
	*u = utc(s)
	return nil
}

type wireProblem struct {
	Type   string        `json:"type"`
	Title  string        `json:"title"`
	Status int           `json:"status"`
	Detail string        `json:"detail"`
	Errors []wireBadItem `json:"errors,omitempty"` // ours, beyond OpenMeter's
}

type wireBadItem struct {
	Index   int    `json:"index"`
	Pointer string `json:"pointer"`
	Detail  string `json:"detail"`
}

type wireMeter struct {
	ID            string            `json:"id"`
	Slug          string            `json:"slug"`
	Name          string            `json:"name,omitempty"`
	Description   string            `json:"description,omitempty"`
	EventType     string            `json:"eventType"`
	EventFrom     *utc              `json:"eventFrom,omitempty"`
	Aggregation   string            `json:"aggregation"`
	ValueProperty string            `json:"valueProperty,omitempty"`
	GroupBy       map[string]string `json:"groupBy,omitempty"`
	CreatedAt     utc               `json:"createdAt"`
	UpdatedAt     utc               `json:"updatedAt"`
}

type wireStored struct {
	Event           wireEvent `json:"event"`
	IngestedAt      utc       `json:"ingestedAt"`
	StoredAt        utc       `json:"storedAt"`
	ValidationError string    `json:"validationError,omitempty"`
}

type wireEvent struct {
	SpecVersion string         `json:"specversion"`
	ID          string         `json:"id"`
	Source      string         `json:"source"`
	Type        string         `json:"type"`
	Subject     string         `json:"subject"`
	Time        utc            `json:"time"`
	Data        map[string]any `json:"data,omitempty"`
}

type wireResult struct {
	From       *utc      `json:"from,omitempty"`
	To         *utc      `json:"to,omitempty"`
	WindowSize string    `json:"windowSize,omitempty"`
	Data       []wireRow `json:"data"`
}

type wireRow struct {
	Value       float64            `json:"value"`
	WindowStart utc                `json:"windowStart"`
	WindowEnd   utc                `json:"windowEnd"`
	Subject     *string            `json:"subject"` // null unless grouped by
	GroupBy     map[string]*string `json:"groupBy"` // {} unless grouped by
}

// answer reads a JSON answer that has the contract's fields: none that T lacks,
// and all that T can't leave out.
func answer[T any](t testing.TB, w *httptest.ResponseRecorder, status int, contentType string) T {
	t.Helper()
	if got := w.Header().Get("Content-Type"); w.Code != status || got != contentType {
		t.Fatalf("answer %d %s, want %d %s: %s", w.Code, got, status, contentType, w.Body)
	}
	var v T
	d := json.NewDecoder(bytes.NewReader(w.Body.Bytes()))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, w.Body)
	}
	// Decoding knows neither a missing field nor the case of a name. Writing it
	// back does.
	again, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var sent, back any
	for text, into := range map[string]*any{w.Body.String(): &sent, string(again): &back} {
		if err := json.Unmarshal([]byte(text), into); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
	}
	if d := cmp.Diff(back, sent); d != "" {
		t.Fatalf("the answer is not as the contract has it (-contract +answer):\n%s", d)
	}
	return v
}

func ok[T any](t testing.TB, w *httptest.ResponseRecorder) T {
	t.Helper()
	return answer[T](t, w, http.StatusOK, "application/json")
}

// wantProblem checks a refusal and returns it.
func wantProblem(t testing.TB, w *httptest.ResponseRecorder, status int, detail string) wireProblem {
	t.Helper()
	p := answer[wireProblem](t, w, status, "application/problem+json")
	if p.Status != status || p.Title != http.StatusText(status) || p.Type == "" || !strings.Contains(p.Detail, detail) {
		t.Errorf("problem %+v, want status %d, its title, a type and a detail with %q", p, status, detail)
	}
	return p
}

func get(s *local.Store, target string) *httptest.ResponseRecorder {
	return call(s, http.MethodGet, target, "", "")
}

func TestContractOfIngest(t *testing.T) {
	one := event("1", "agent.tokens", `{"tokens":1}`)
	bad := strings.Replace(one, `"subject":"c"`, `"subject":""`, 1)
	const (
		single = "application/cloudevents+json"
		batch  = "application/cloudevents-batch+json"
		plain  = "application/json"
	)
	s := open(t, filepath.Join(t.TempDir(), "meter.db"), local.DefaultMeters())
	for _, c := range []struct {
		name, contentType, body string
		status                  int
		detail                  string
		items                   []string // pointers to what is wrong
	}{
		{"one event", single, one, 204, "", nil},
		{"a batch", batch, "[" + one + "]", 204, "", nil},
		{"an empty batch", batch, "[]", 204, "", nil},
		{"one event as JSON", plain, one, 204, "", nil},
		{"several as JSON", plain, "[" + one + "]", 204, "", nil},
		// OpenMeter refuses a charset. HTTP libraries add one unasked.
		{"one event with a charset", single + "; charset=utf-8", one, 204, "", nil},
		{"a batch with a charset", batch + ";charset=UTF-8", "[" + one + "]", 204, "", nil},
		{"JSON with a charset in quotes", plain + `; charset="utf-8"`, one, 204, "", nil},
		{"capitals", "Application/JSON", one, 204, "", nil},

		{"another charset", plain + "; charset=latin1", one, 400, "charset", nil},
		{"another content type", "text/plain", one, 400, "content type", nil},
		{"no content type", "", one, 400, "content type", nil},
		{"a batch that says it is one event", single, "[" + one + "]", 400, "batch", nil},
		{"one event that says it is a batch", batch, one, 400, "batch", nil},
		{"an empty array", plain, "[]", 400, "no events", nil},
		{"one bad event", single, bad, 400, "refused", []string{"/subject"}},
		{"bad events in a batch", batch, "[" + bad + "," + one + "," + bad + "]", 400, "2 of 3", []string{"/0/subject", "/2/subject"}},
		{"no JSON", plain, "{", 400, "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := call(s, http.MethodPost, "/api/v1/events", c.contentType, c.body)
			if c.status == http.StatusNoContent {
				if w.Code != c.status || w.Body.Len() > 0 || w.Header().Get("Content-Type") != "" {
					t.Errorf("answer %d %v %q, want 204 and nothing", w.Code, w.Header(), w.Body)
				}
				return
			}
			var items []string
			for _, i := range wantProblem(t, w, c.status, c.detail).Errors {
				items = append(items, i.Pointer)
			}
			if d := cmp.Diff(c.items, items); d != "" {
				t.Errorf("pointers (-want +got):\n%s", d)
			}
		})
	}
	if got := count(t, s, "agent_tokens"); got != 1 {
		t.Errorf("the same event, sent in every way, counts %v times", got)
	}
}

func TestContractOfListing(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "meter.db"), local.DefaultMeters())
	if got := ok[[]wireStored](t, get(s, "/api/v1/events")); got == nil || len(got) > 0 {
		t.Errorf("an empty meter lists %v, want an empty array", got)
	}
	post(t, s, "["+event("1", "agent.tokens", `{"tokens":3,"model":"large"}`)+
		`,{"specversion":"1.0","id":"2","source":"s","type":"no.such","subject":"d"}]`)
	got := ok[[]wireStored](t, get(s, "/api/v1/events"))
	if len(got) != 2 {
		t.Fatalf("%d events, want 2", len(got))
	}
	for i, e := range got {
		ingested, _ := time.Parse(time.RFC3339, string(e.IngestedAt)) // utc has parsed it
		if age := time.Since(ingested); age < 0 || age > time.Hour {
			t.Errorf("event %d was ingested %v ago", i, age)
		}
		if e.StoredAt < e.IngestedAt {
			t.Errorf("event %d is stored at %s, ingested at %s", i, e.StoredAt, e.IngestedAt)
		}
		got[i].IngestedAt, got[i].StoredAt = "", ""
	}
	if got[0].Event.Time == "" {
		t.Error("an event that came without a time has none")
	}
	got[0].Event.Time = ""
	want := []wireStored{
		{Event: wireEvent{SpecVersion: "1.0", ID: "2", Source: "s", Type: "no.such", Subject: "d"},
			ValidationError: "no meter counts events of type no.such"},
		{Event: wireEvent{SpecVersion: "1.0", ID: "1", Source: "s", Type: "agent.tokens", Subject: "c", Time: "2026-05-01T10:00:00Z",
			Data: map[string]any{"tokens": 3.0, "model": "large"}}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("events (-want +got):\n%s", d)
	}
	for query, ids := range map[string]string{
		"id=1": "1", "subject=d": "2", "limit=1": "2", "id=1&subject=d": "", "limit=100": "2 1",
		"from=2026-05-01T10:00:00Z&to=2026-05-01T12:00:00%2B02:00": "1", // an offset is a time too
	} {
		var found []string
		for _, e := range ok[[]wireStored](t, get(s, "/api/v1/events?"+query)) {
			found = append(found, e.Event.ID)
		}
		if got := strings.Join(found, " "); got != ids {
			t.Errorf("%s lists %q, want %q", query, got, ids)
		}
	}
}

func TestContractOfMeters(t *testing.T) {
	from := time.Date(2026, 1, 1, 1, 0, 0, 0, time.FixedZone("", 3600))
	meters := []meter.Meter{
		{Slug: "tokens_total", Name: "Tokens", Description: "All of them", EventType: "prompt", Aggregation: meter.Sum,
			ValueProperty: "$.tokens", GroupBy: map[string]string{"model": "$.model"}},
		{Slug: "calls", EventType: "call", Aggregation: meter.Count},
	}
	s := open(t, filepath.Join(t.TempDir(), "meter.db"), meters)
	create := fmt.Sprintf(`{"slug":"users","eventType":"login","aggregation":"UNIQUE_COUNT","valueProperty":"$.user","eventFrom":%q}`,
		from.Format(time.RFC3339))
	made := ok[wireMeter](t, call(s, http.MethodPost, "/api/v1/meters", "application/json", create))
	got := ok[[]wireMeter](t, get(s, "/api/v1/meters"))

	ulid := regexp.MustCompile(`^[0-7][0-9A-HJKMNP-TV-Z]{25}$`)
	for i, m := range got {
		if !ulid.MatchString(m.ID) {
			t.Errorf("the id %q of %s is no ULID", m.ID, m.Slug)
		}
		for _, name := range []string{m.Slug, m.ID} {
			if d := cmp.Diff(m, ok[wireMeter](t, get(s, "/api/v1/meters/"+name))); d != "" {
				t.Errorf("meter %s by itself is not as listed:\n%s", name, d)
			}
		}
		if m.Slug == made.Slug {
			if d := cmp.Diff(made, m); d != "" {
				t.Errorf("the meter is not as its creation answered:\n%s", d)
			}
		}
		got[i].ID, got[i].CreatedAt, got[i].UpdatedAt = "", "", ""
	}
	since := utc("2026-01-01T00:00:00Z")
	want := []wireMeter{
		{Slug: "calls", EventType: "call", Aggregation: "COUNT"},
		{Slug: "tokens_total", Name: "Tokens", Description: "All of them", EventType: "prompt", Aggregation: "SUM",
			ValueProperty: "$.tokens", GroupBy: map[string]string{"model": "$.model"}},
		{Slug: "users", EventType: "login", Aggregation: "UNIQUE_COUNT", ValueProperty: "$.user", EventFrom: &since},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("meters (-want +got):\n%s", d)
	}
	wantProblem(t, call(s, http.MethodPost, "/api/v1/meters", "application/json", create), 409, "users")
	wantProblem(t, call(s, http.MethodPost, "/api/v1/meters", "application/json", "[]"), 400, "meter")
	edge := strings.Replace(strings.Replace(create, "users", "others", 1), from.Format(time.RFC3339), "0000-01-01T00:00:00+01:00", 1)
	wantProblem(t, call(s, http.MethodPost, "/api/v1/meters", "application/json", edge), 400, "eventFrom")
	wantProblem(t, get(s, "/api/v1/meters/no_such"), 404, "no_such")
}

// Times of the questions' days: in Berlin, 1 May begins at 22:00 UTC the day
// before.
func TestContractOfQuery(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "meter.db"), local.DefaultMeters())
	at := func(id, subject, when, data string) string {
		return fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"s","type":"agent.tokens","subject":%q,"time":%q,"data":%s}`, id, subject, when, data)
	}
	post(t, s, "["+strings.Join([]string{
		at("1", "a", "2026-04-30T21:59:59Z", `{"tokens":1,"model":"small"}`),
		at("2", "a", "2026-04-30T22:00:00Z", `{"tokens":2,"model":"large"}`),
		at("3", "b", "2026-05-01T00:00:30Z", `{"tokens":4.5,"model":"large"}`),
		at("4", "b", "2026-05-01T01:30:00Z", `{"tokens":8}`),
	}, ",")+"]")
	row := func(value float64, start, end string) wireRow {
		return wireRow{Value: value, WindowStart: utc(start), WindowEnd: utc(end), GroupBy: map[string]*string{}}
	}
	of := func(r wireRow, subject string) wireRow { r.Subject = &subject; return r }
	with := func(r wireRow, names ...string) wireRow { // name, value, …; "" for null
		r.GroupBy = map[string]*string{}
		for i := 0; i < len(names); i += 2 {
			r.GroupBy[names[i]] = nil
			if names[i+1] != "" {
				r.GroupBy[names[i]] = &names[i+1]
			}
		}
		return r
	}
	const first, last = "2026-04-30T21:59:00Z", "2026-05-01T01:31:00Z"
	moment := func(s string) *utc { u := utc(s); return &u }

	for _, c := range []struct {
		query string
		want  wireResult
	}{
		{"", wireResult{Data: []wireRow{row(15.5, first, last)}}},
		{"windowSize=MINUTE&from=2026-05-01T00:00:00Z", wireResult{From: moment("2026-05-01T00:00:00Z"), WindowSize: "MINUTE", Data: []wireRow{
			row(4.5, "2026-05-01T00:00:00Z", "2026-05-01T00:01:00Z"), row(8, "2026-05-01T01:30:00Z", last)}}},
		{"windowSize=HOUR", wireResult{WindowSize: "HOUR", Data: []wireRow{
			row(1, "2026-04-30T21:00:00Z", "2026-04-30T22:00:00Z"), row(2, "2026-04-30T22:00:00Z", "2026-04-30T23:00:00Z"),
			row(4.5, "2026-05-01T00:00:00Z", "2026-05-01T01:00:00Z"), row(8, "2026-05-01T01:00:00Z", "2026-05-01T02:00:00Z")}}},
		{"windowSize=HOUR&windowTimeZone=Asia/Kathmandu&to=2026-04-30T22:15:00Z", wireResult{To: moment("2026-04-30T22:15:00Z"), WindowSize: "HOUR", Data: []wireRow{
			row(3, "2026-04-30T21:15:00Z", "2026-04-30T22:15:00Z")}}},
		{"windowSize=DAY", wireResult{WindowSize: "DAY", Data: []wireRow{
			row(3, "2026-04-30T00:00:00Z", "2026-05-01T00:00:00Z"), row(12.5, "2026-05-01T00:00:00Z", "2026-05-02T00:00:00Z")}}},
		{"windowSize=DAY&windowTimeZone=Europe/Berlin", wireResult{WindowSize: "DAY", Data: []wireRow{
			row(1, "2026-04-29T22:00:00Z", "2026-04-30T22:00:00Z"), row(14.5, "2026-04-30T22:00:00Z", "2026-05-01T22:00:00Z")}}},
		{"windowSize=MONTH", wireResult{WindowSize: "MONTH", Data: []wireRow{
			row(3, "2026-04-01T00:00:00Z", "2026-05-01T00:00:00Z"), row(12.5, "2026-05-01T00:00:00Z", "2026-06-01T00:00:00Z")}}},
		{"windowSize=MONTH&windowTimeZone=Europe/Berlin", wireResult{WindowSize: "MONTH", Data: []wireRow{
			row(1, "2026-03-31T22:00:00Z", "2026-04-30T22:00:00Z"), row(14.5, "2026-04-30T22:00:00Z", "2026-05-31T22:00:00Z")}}},

		// The end is not part of the time asked for. Times come back in UTC.
		{"from=2026-05-01T00:00:00%2B02:00&to=2026-05-01T01:30:00Z", wireResult{From: moment("2026-04-30T22:00:00Z"), To: moment("2026-05-01T01:30:00Z"), Data: []wireRow{
			row(6.5, "2026-04-30T22:00:00Z", "2026-05-01T01:30:00Z")}}},
		{"from=2026-05-01T00:00:59.9Z&to=2026-05-01T00:01:59Z", wireResult{From: moment("2026-05-01T00:00:00Z"), To: moment("2026-05-01T00:01:00Z"), Data: []wireRow{
			row(4.5, "2026-05-01T00:00:00Z", "2026-05-01T00:01:00Z")}}},
		{"from=2030-01-01T00:00:00Z", wireResult{From: moment("2030-01-01T00:00:00Z"), Data: []wireRow{}}},

		{"subject=b", wireResult{Data: []wireRow{row(12.5, first, last)}}},
		{"subject=a&subject=b", wireResult{Data: []wireRow{row(15.5, first, last)}}},
		{"subject=nobody", wireResult{Data: []wireRow{}}},
		{"groupBy=subject", wireResult{Data: []wireRow{of(row(3, first, last), "a"), of(row(12.5, first, last), "b")}}},
		{"groupBy=model", wireResult{Data: []wireRow{
			with(row(8, first, last), "model", ""), with(row(6.5, first, last), "model", "large"), with(row(1, first, last), "model", "small")}}},
		{"groupBy=model&groupBy=subject&groupBy=agent&subject=b", wireResult{Data: []wireRow{
			of(with(row(8, first, last), "model", "", "agent", ""), "b"), of(with(row(4.5, first, last), "model", "large", "agent", ""), "b")}}},
		{"groupBy=subject&groupBy=subject", wireResult{Data: []wireRow{of(row(3, first, last), "a"), of(row(12.5, first, last), "b")}}},
		{"filterGroupBy[model]=large", wireResult{Data: []wireRow{row(6.5, first, last)}}},
		{"filterGroupBy[model]=large,small", wireResult{Data: []wireRow{row(7.5, first, last)}}},
		{"filterGroupBy[model]=large&filterGroupBy[model]=small", wireResult{Data: []wireRow{row(7.5, first, last)}}},
		{"filterGroupBy[model]=large&subject=a", wireResult{Data: []wireRow{row(2, first, last)}}},
		{"filterGroupBy[model]=large&filterGroupBy[agent]=x", wireResult{Data: []wireRow{}}},
	} {
		t.Run(c.query, func(t *testing.T) {
			got := ok[wireResult](t, get(s, "/api/v1/meters/agent_tokens/query?"+c.query))
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("answer (-want +got):\n%s", d)
			}
		})
	}
}

// A wrong question is refused whether or not there is something to count.
func TestContractOfRefusals(t *testing.T) {
	const query = "/api/v1/meters/agent_tokens/query?"
	empty := open(t, filepath.Join(t.TempDir(), "empty.db"), local.DefaultMeters())
	full := open(t, filepath.Join(t.TempDir(), "full.db"), local.DefaultMeters())
	post(t, full, "["+event("1", "agent.tokens", `{"tokens":1}`)+"]")
	for _, c := range []struct {
		target string
		status int
		detail string
	}{
		{"/api/v1/meters/no_such/query", 404, "no_such"},
		{"/api/v1/meters/no_such", 404, "no_such"},
		{"/api/v1/no_such", 404, "path"},
		{query + "windowSize=WEEK", 400, "MINUTE, HOUR, DAY or MONTH"},
		{query + "windowSize=day", 400, "MINUTE, HOUR, DAY or MONTH"},
		{query + "windowSize=WEEK&from=2030-01-01T00:00:00Z", 400, "MINUTE, HOUR, DAY or MONTH"},
		{query + "windowTimeZone=Mars/Base", 400, "windowTimeZone"},
		{query + "groupBy=nothing", 400, "groupBy"},
		{query + "filterGroupBy[nothing]=1", 400, "groupBy"},
		{query + "from=2026-01-01", 400, "from must be a time as in RFC 3339"},
		{query + "to=1767225600", 400, "to must be a time as in RFC 3339"},
		{query + "from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", 400, "before"},
		{query + "from=2026-01-01T00:00:00Z&to=2026-01-01T00:00:00Z", 400, "before"},
		// In UTC these lie in the years -1 and 10000, which RFC 3339 can't write.
		{query + "from=0000-01-01T00:00:00%2B23:59", 400, "from must lie"},
		{query + "to=9999-12-31T23:59:59-23:59", 400, "to must lie"},
		{"/api/v1/events?limit=0", 400, "limit"},
		{"/api/v1/events?limit=-1", 400, "limit"},
		{"/api/v1/events?limit=101", 400, "limit"},
		{"/api/v1/events?from=today", 400, "from must be a time as in RFC 3339"},
		{"/api/v1/events?to=9999-12-31T23:59:59-23:59", 400, "to must lie"},
	} {
		t.Run(c.target, func(t *testing.T) {
			for _, s := range []*local.Store{empty, full} {
				wantProblem(t, get(s, c.target), c.status, c.detail)
			}
		})
	}
}

// An answer of SQLite has 2,000 columns at most; a name asked for again is none.
func TestNamesAskedForAgain(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "meter.db"), local.DefaultMeters())
	post(t, s, "["+event("1", "agent.tokens", `{"tokens":1}`)+"]")
	got := ok[wireResult](t, get(s, "/api/v1/meters/agent_tokens/query?"+strings.Repeat("groupBy=subject&groupBy=model&", 2000)))
	if len(got.Data) != 1 || got.Data[0].Subject == nil || *got.Data[0].Subject != "c" {
		t.Errorf("answer %+v, want the one row of subject c", got)
	}
}

// The date line moved: the day never was, and those around it are counted.
func TestDaysThatNeverWere(t *testing.T) {
	for _, c := range []struct{ zone, before, after string }{
		{"Pacific/Apia", "2011-12-29T12:00:00Z", "2011-12-30T12:00:00Z"},      // local 29 and 31 December
		{"Pacific/Kwajalein", "1993-08-20T13:00:00Z", "1993-08-22T13:00:00Z"}, // no 21 August
	} {
		t.Run(c.zone, func(t *testing.T) {
			s := open(t, filepath.Join(t.TempDir(), "meter.db"), allMeters())
			one := event("1", "t", "{}")
			post(t, s, "["+strings.Replace(one, "2026-05-01T10:00:00Z", c.before, 1)+","+
				strings.Replace(event("2", "t", "{}"), "2026-05-01T10:00:00Z", c.after, 1)+"]")
			got := ok[wireResult](t, get(s, "/api/v1/meters/m_count/query?windowSize=DAY&windowTimeZone="+url.QueryEscape(c.zone)))
			if len(got.Data) != 2 {
				t.Fatalf("rows %+v, want one for each event", got.Data)
			}
			for i, when := range []string{c.before, c.after} {
				if r := got.Data[i]; r.Value != 1 || string(r.WindowStart) > when || string(r.WindowEnd) <= when {
					t.Errorf("row %+v, want the event of %s", r, when)
				}
			}
			if got.Data[0].WindowEnd > got.Data[1].WindowStart {
				t.Errorf("the windows overlap: %+v", got.Data)
			}
		})
	}
}

// One client's absurd values neither stop the ingest of all, nor make an answer
// that JSON can't hold.
func TestAbsurdValuesPoisonNothing(t *testing.T) {
	const huge, tiny = "1.7e308", "-1.7e308"
	for _, c := range []struct {
		name    string
		batches [][]string // values; a batch is a request
		minutes bool       // whether each batch has a minute of its own
	}{
		{"in one batch", [][]string{{huge, huge, tiny, tiny}}, false},
		{"in two batches", [][]string{{huge, huge}, {tiny, tiny}}, false},
		{"in many batches", [][]string{{huge}, {huge}, {tiny}, {tiny}, {tiny}, {tiny}}, false},
		{"in two minutes", [][]string{{huge, huge}, {tiny, tiny}}, true},
		{"in many minutes", [][]string{{tiny}, {tiny}, {huge}, {huge}}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, filepath.Join(t.TempDir(), "meter.db"), allMeters())
			n := 0
			for b, values := range c.batches {
				post(t, s, batchOf(len(values), func(i int) string {
					n++
					e := event(fmt.Sprint(n), "t", `{"v":`+values[i]+`}`)
					if c.minutes {
						e = strings.Replace(e, "10:00:00", fmt.Sprintf("10:%02d:00", b), 1)
					}
					return e
				}))
			}
			for _, m := range allMeters() {
				got := ok[wireResult](t, get(s, "/api/v1/meters/"+m.Slug+"/query"))
				if len(got.Data) != 1 || math.IsInf(got.Data[0].Value, 0) {
					t.Errorf("%s answers %+v", m.Slug, got)
				}
			}
			if got := count(t, s, "m_count"); got != float64(n) {
				t.Errorf("counted %v of %d events", got, n)
			}
		})
	}
}
