package local

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"math/big"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents/meter"
)

// FuzzPath holds the reader of JSON to a naive reading with encoding/json: for
// data that the decoder would let through, both find the same value or none. For
// any other data it must not panic.
func FuzzPath(f *testing.F) {
	for _, data := range []string{
		`{"a":{"b":1}}`, ` { "x" : [ 1 , { "a" : 2 } ] , "a" : { "b" : "}" } } `, `{"a":"b"}`, `{"a":null}`, `{"a":{}}`,
		`{"\u0061":{"b\"":1,"b":[{"b":3}]}}`, `{"a":{"c":"\\","b":-1.5e+3}}`, `{"":{"":true}}`, `{"a":{"b":"\ud83d\ude00"}}`,
		`{"a":`, `{"a":}`, `{"a"`, `{"a\`, `[{"a":{"b":1}}]`, `"a"`, `1`, "", "{\"\xff\":1}", `{"a":{"b":1}}}`, `{"a":]}`,
	} {
		f.Add([]byte(data), "a", "b")
		f.Add([]byte(data), "", "")
	}
	f.Fuzz(func(t *testing.T, data []byte, first, second string) {
		whole := bytes.Clone(data)
		for _, p := range []path{{first}, {first, second}} {
			got := find(data, p)
			if !bytes.Equal(whole, data) {
				t.Fatalf("%q was changed to %q", whole, data)
			}
			_ = textOf(got)
			_ = appendGroup(nil, got)
			if !jsontext.Value(data).IsValid() { // not UTF-8, or a name twice: the decoder refuses it
				continue
			}
			want, there := naiveFind(t, data, p)
			if there != (got != nil) {
				t.Fatalf("%q at %q: %q, but encoding/json finds %q (%t)", data, p, got, want, there)
			}
			if there && !sameJSON(t, want, got) {
				t.Fatalf("%q at %q: %q, but encoding/json finds %q", data, p, got, want)
			}
			checkGroup(t, got)
		}
	})
}

func naiveFind(t *testing.T, data []byte, p path) (json.RawMessage, bool) {
	for _, name := range p {
		if trimmed := bytes.TrimLeft(data, " \t\r\n"); len(trimmed) == 0 || trimmed[0] != '{' {
			return nil, false
		}
		var object map[string]json.RawMessage
		if err := json.Unmarshal(data, &object); err != nil {
			t.Fatalf("encoding/json does not read %q: %v", data, err)
		}
		member, ok := object[name]
		if !ok {
			return nil, false
		}
		data = member
	}
	return data, true
}

func sameJSON(t *testing.T, a, b []byte) bool {
	var x, y bytes.Buffer
	if err := json.Compact(&x, a); err != nil {
		t.Fatal(err)
	}
	if err := json.Compact(&y, b); err != nil {
		t.Fatalf("%q is no JSON: %v", b, err)
	}
	return bytes.Equal(x.Bytes(), y.Bytes())
}

// checkGroup holds the stored form of a group value to its text: SQLite reads the
// text back from it.
func checkGroup(t *testing.T, v jsontext.Value) {
	var group *string
	if err := json.Unmarshal(appendGroup(nil, v), &group); err != nil {
		t.Fatalf("%q is stored as %q: %v", v, appendGroup(nil, v), err)
	}
	none := v == nil || v.Kind() == 'n'
	if none != (group == nil) || group != nil && *group != textOf(v) {
		t.Fatalf("%q is stored as %q, its text is %q", v, appendGroup(nil, v), textOf(v))
	}
}

// FuzzParsePath holds paths to one meaning: whatever parses says the same when
// its names stand in brackets.
func FuzzParsePath(f *testing.F) {
	for _, s := range []string{"$", "$.a", "$.a.b-c._d", `$['my key']["it's"].x`, "$.", "$..a", "$.*", "$['']", "$[0]", "a", "", `$['\'']`, "$.a\n", "$.ä", "$['\xff']"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parsePath(s)
		if err != nil {
			return
		}
		again := "$"
		for _, name := range p {
			if name == "" {
				t.Fatalf("%q has an empty name: %q", s, p)
			}
			quote := "'"
			if strings.Contains(name, quote) {
				quote = `"`
			}
			again += "[" + quote + name + quote + "]"
		}
		if q, err := parsePath(again); err != nil || strings.Join(q, "\x00") != strings.Join(p, "\x00") || len(q) != len(p) {
			t.Fatalf("%q is %q, but %q is %q, %v", s, p, again, q, err)
		}
	})
}

// FuzzNumber holds the reader of numbers to encoding/json's: the same value for
// a number or a string that is one, and none for anything else. A whole number
// has the very value that was written.
func FuzzNumber(f *testing.F) {
	for _, s := range []string{
		"0", "-0", "1", "-1.0", "1e3", "0.1", "1e400", "-1e-400", "9007199254740992", "9007199254740993", "-9007199254740993",
		"9223372036854775808", "1e15", "9007199254740991.5", `"12"`, `" 12 "`, `"0x10"`, `"1_0"`, `"NaN"`, `"Inf"`, `"\u0031"`, `""`,
		`"1" `, "true", "null", "[1]", "{}", "", "01", "+1", ".5", "1.", `"`, `"\`, `"\ud800"`, `"1 2"`, `"\"1\""`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if !jsontext.Value(data).IsValid() {
			_, _ = parseNumber(data) // must not panic
			return
		}
		// find returns values without space around them.
		data = bytes.Trim(data, " \t\r\n")
		got, isNumber := parseNumber(data)
		text, want, wanted := naiveNumber(data)
		if isNumber != wanted {
			t.Fatalf("%q is a number: %t, want %t", data, isNumber, wanted)
		}
		if !wanted {
			return
		}
		if got.float() != want || math.IsInf(want, 0) {
			t.Fatalf("%q is %v, want %v", data, got.float(), want)
		}
		if got.whole && (got.integer < -exact || got.integer > exact) {
			t.Fatalf("%q is the whole number %d, which a float64 may not hold", data, got.integer)
		}
		if i, err := strconv.ParseInt(text, 10, 64); err == nil && -exact <= i && i <= exact && (!got.whole || got.integer != i) {
			t.Fatalf("%q is %+v, want the whole number %d", data, got, i)
		}
		if r, ok := new(big.Rat).SetString(text); ok && len(text) < 20 && got.whole && r.IsInt() && r.Cmp(new(big.Rat).SetInt64(got.integer)) != 0 {
			t.Fatalf("%q is the whole number %d", data, got.integer)
		}
	})
}

// naiveNumber reads a JSON number, or the one that is a JSON string's content.
func naiveNumber(data []byte) (text string, value float64, ok bool) {
	var s string
	if json.Unmarshal(data, &s) == nil && data[0] == '"' {
		data = []byte(s)
	}
	if err := json.Unmarshal(data, &value); err != nil { // a value beyond a float64 is an error too
		return "", 0, false
	}
	text = strings.Trim(string(data), " \t\r\n")
	return text, value, text != "null"
}

// FuzzQuery asks whatever a client can: the answer is there or the question is
// refused, and neither is our fault.
func FuzzQuery(f *testing.F) {
	for _, s := range []string{
		"", "windowSize=DAY", "windowSize=MONTH&windowTimeZone=Europe/Berlin&from=2026-01-01T00:00:00Z", "windowSize=HOUR&windowTimeZone=Asia/Kathmandu",
		"windowSize=DAY&windowTimeZone=Pacific/Apia&from=2011-12-28T00:00:00Z&to=2012-01-02T00:00:00Z", "windowTimeZone=Local", "windowTimeZone=../x",
		"from=0000-01-01T00:00:00%2B23:59", "to=9999-12-31T23:59:59-23:59", "from=9999-12-31T23:59:59Z&windowSize=MONTH", "from=2026-05-01T10:00:00Z&to=2026-05-01T10:00:01Z",
		"subject=a&subject=%00&subject=%ff", "groupBy=subject&groupBy=model&groupBy=model", "groupBy=x", "filterGroupBy[model]=a,b", "filterGroupBy%5Bmodel%5D=",
		"filterGroupBy[]=1", "filterGroupBy[subject]=a", "a=%zz", ";", "windowSize=MINUTE&from=2026-05-01T00:00:00Z", "from=" + strings.Repeat("9", 300),
		strings.Repeat("groupBy=subject&", 2100), "subject=" + "%27%20OR%201=1--",
	} {
		f.Add(s)
	}
	var meters []meter.Meter
	for _, a := range []meter.Aggregation{meter.Sum, meter.UniqueCount, meter.Latest} {
		meters = append(meters, meter.Meter{Slug: strings.ToLower(string(a)), EventType: "t", Aggregation: a, ValueProperty: "$.v",
			GroupBy: map[string]string{"model": "$.model"}})
	}
	s, err := Open(f.Context(), Config{
		Path: filepath.Join(f.TempDir(), "meter.db"), Meters: meters, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := s.Close(); err != nil {
			f.Error(err)
		}
	})
	h := s.Handler()
	r := httptest.NewRequest(http.MethodPost, "/api/v1/events", strings.NewReader(`[
		{"specversion":"1.0","id":"1","source":"s","type":"t","subject":"a","time":"2026-05-01T10:00:00Z","data":{"v":1,"model":"a"}},
		{"specversion":"1.0","id":"2","source":"s","type":"t","subject":"b","time":"2026-05-02T10:00:00Z","data":{"v":-1.7e308,"model":null}},
		{"specversion":"1.0","id":"3","source":"s","type":"t","subject":"\ufffd","time":"2011-12-30T10:00:00Z","data":{"v":0.5,"model":"\u0000"}}]`))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, r); w.Code != http.StatusNoContent {
		f.Fatalf("ingest: %d %s", w.Code, w.Body)
	}
	f.Fuzz(func(t *testing.T, query string) {
		for _, path := range []string{"/api/v1/meters/sum/query", "/api/v1/meters/unique_count/query", "/api/v1/meters/latest/query", "/api/v1/events"} {
			r := httptest.NewRequest(http.MethodGet, path, nil)
			r.URL.RawQuery = query
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if err := checkAnswer(w); err != nil {
				t.Fatalf("%s?%s: %d %s: %v", path, query, w.Code, w.Body, err)
			}
		}
	})
}

// checkAnswer wants 200 with JSON, or 400 with a problem that says why.
func checkAnswer(w *httptest.ResponseRecorder) error {
	contentType := w.Header().Get("Content-Type")
	switch {
	case w.Code == http.StatusOK && contentType == "application/json" && json.Valid(w.Body.Bytes()):
		return nil
	case w.Code != http.StatusBadRequest || contentType != "application/problem+json":
		return errors.New("neither an answer nor a refusal")
	}
	var p struct {
		Status        int
		Title, Detail string
	}
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		return err
	}
	if p.Status != w.Code || p.Title == "" || p.Detail == "" {
		return errors.New("the problem does not say what is wrong")
	}
	return nil
}
