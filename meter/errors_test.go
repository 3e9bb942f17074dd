package meter

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// calls is every way to ask the meter.
var calls = map[string]func(*testing.T, *Client) error{
	"Ingest": func(t *testing.T, c *Client) error { return c.Ingest(t.Context(), []byte("[]")) },
	"Query": func(t *testing.T, c *Client) error {
		_, err := c.Query(t.Context(), Query{Meter: "tokens"})
		return err
	},
	"Events":      func(t *testing.T, c *Client) error { _, err := c.Events(t.Context(), EventFilter{}); return err },
	"Meters":      func(t *testing.T, c *Client) error { _, err := c.Meters(t.Context()); return err },
	"CreateMeter": func(t *testing.T, c *Client) error { return c.CreateMeter(t.Context(), Meter{Slug: "tokens"}) },
	"Ping":        func(t *testing.T, c *Client) error { return c.Ping(t.Context()) },
}

// asError fails unless err is of this package.
func asError(t *testing.T, err error) *Error {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("got %v (%T), want an *Error", err, err)
	}
	return e
}

// Every status that is no success for a call has one class, whatever the call.
func TestClassOfStatus(t *testing.T) {
	for class, statuses := range map[Class][]int{
		Retry: {
			201, 203, 206, 299,
			408, 425, 429,
			500, 501, 502, 503, 504, 505, 507, 511, 520, 599, 600, 999,
		},
		Blocked: {
			300, 301, 302, 303, 304, 307, 308, 399,
			401, 402, 403, 404, 405, 407,
		},
		Refused: {
			400, 406, 409, 410, 411, 412, 413, 414, 415, 416, 417, 418, 421, 422, 423, 424, 426, 428, 431, 451, 499,
		},
	} {
		for _, status := range statuses {
			for name, call := range calls {
				if status/100 == 2 && (name == "Ping" || name == "CreateMeter") || status == 409 && name == "CreateMeter" {
					continue // that is success, see TestSuccess
				}
				t.Run(fmt.Sprint(status, " ", name), func(t *testing.T) {
					c := serve(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(status) })
					err := call(t, c)
					if e := asError(t, err); e.Status != status || e.Class != class {
						t.Errorf("got status %d and class %s, want %d and %s", e.Status, e.Class, status, class)
					}
					if got := Classify(fmt.Errorf("wrapped: %w", err)); got != class {
						t.Errorf("Classify = %s, want %s", got, class)
					}
					if want := fmt.Sprintf("the meter answered %d", status); !strings.HasPrefix(err.Error(), want) {
						t.Errorf("the error is %q, want it to begin %q", err, want)
					}
				})
			}
		}
	}
}

// A meter that can't be reached, or that hangs up, may be back later.
func TestNoAnswer(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	hangsUp := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer hangsUp.Close()
	cut := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `[{"slug":`)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	defer cut.Close()

	check := func(url string, call func(*testing.T, *Client) error) func(*testing.T) {
		return func(t *testing.T) {
			err := call(t, client(t, url))
			if e := asError(t, err); e.Status != 0 || e.Class != Retry || e.Err == nil {
				t.Errorf("got status %d, class %s and cause %v, want no status, retry and a cause", e.Status, e.Class, e.Err)
			}
			if !strings.HasPrefix(err.Error(), "no answer from the meter: ") {
				t.Errorf("the error is %q, want it to say that there was no answer", err)
			}
		}
	}
	for name, call := range calls {
		t.Run(name+" of a meter that is away", check(gone.URL, call))
		t.Run(name+" of a meter that hangs up", check(hangsUp.URL, call))
	}
	for _, name := range []string{"Query", "Events", "Meters"} {
		t.Run(name+" of a meter that hangs up within its answer", check(cut.URL, calls[name]))
	}
}

// What isn't understood must not cost an event.
func TestClassifyForeignErrors(t *testing.T) {
	for _, err := range []error{nil, io.ErrUnexpectedEOF, errors.New("refused")} {
		if got := Classify(err); got != Retry {
			t.Errorf("Classify(%v) = %s, want retry", err, got)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 23, 9, 30, 0, 0, time.UTC)
	at := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	for _, test := range []struct {
		name, value string
		want        time.Duration
	}{
		{"none", "", 0},
		{"seconds", "17", 17 * time.Second},
		{"no seconds", "0", 0},
		{"as long as we wait", "300", maxRetryAfter},
		{"a second longer", "301", maxRetryAfter},
		{"a year", "31536000", maxRetryAfter},
		{"seconds that overflow a duration", "9223372037", maxRetryAfter},
		{"seconds that overflow an integer", "99999999999999999999", maxRetryAfter},
		{"seconds ago", "-17", 0},
		{"seconds ago that overflow a duration", "-9223372037", 0},
		{"seconds ago that overflow an integer", "-99999999999999999999", 0},
		{"a date", at(90 * time.Second), 90 * time.Second},
		{"a date as RFC 850 has it", now.Add(90 * time.Second).Format("Monday, 02-Jan-06 15:04:05 GMT"), 90 * time.Second},
		{"a date as asctime has it", now.Add(90 * time.Second).Format(time.ANSIC), 90 * time.Second},
		{"now", at(0), 0},
		{"a date that has passed", at(-time.Hour), 0},
		{"tomorrow", at(24 * time.Hour), maxRetryAfter},
		{"a date in 7973 years", "Fri, 31 Dec 9999 23:59:59 GMT", maxRetryAfter},
		{"the first date there is", "Mon, 01 Jan 0001 00:00:00 GMT", 0},
		{"a fraction", "1.5", 0},
		{"a unit", "10s", 0},
		{"words", "soon", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := http.Header{}
			h.Set("Retry-After", test.value)
			if got := retryAfter(h, now); got != test.want {
				t.Errorf("Retry-After %q is %v, want %v", test.value, got, test.want)
			}
		})
	}
}

// What the meter asks for arrives in the error, whichever form it takes.
func TestRetryAfterOnTheWire(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"":      0,
		"17":    17 * time.Second,
		"86400": maxRetryAfter,
		time.Now().Add(time.Hour).UTC().Format(http.TimeFormat):  maxRetryAfter,
		time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat): 0,
	} {
		h := func(w http.ResponseWriter, _ *http.Request) {
			if value != "" {
				w.Header().Set("Retry-After", value)
			}
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		for name, call := range calls {
			c := serve(t, h) // one that hasn't been asked to wait
			if got := asError(t, call(t, c)).RetryAfter; got != want {
				t.Errorf("%s: Retry-After %q is %v, want %v", name, value, got, want)
			}
		}
	}
}

// The meter's own words reach the operator, from a problem document or from
// whatever else came.
func TestDetail(t *testing.T) {
	long := strings.Repeat("a", maxDetail)
	for _, test := range []struct {
		name, body string
		want       string
	}{
		{"detail", `{"type":"about:blank","title":"Bad Request","status":400,"detail":"data is no object"}`, "data is no object"},
		{"title alone", `{"title":"Bad Request","status":400}`, "Bad Request"},
		{"empty detail", `{"title":"Bad Request","detail":""}`, "Bad Request"},
		{"another JSON object", `{"error":"quota"}`, `{"error":"quota"}`},
		{"a problem of the wrong shape", `{"detail":["quota"]}`, `{"detail":["quota"]}`},
		{"JSON that is no object", `["quota"]`, `["quota"]`},
		{"JSON that is cut", `{"detail":"quo`, `{"detail":"quo`},
		{"HTML", "\n<h1>Bad Gateway</h1>\n", "<h1>Bad Gateway</h1>"},
		{"nothing", "", ""},
		{"blanks", " \r\n\t ", ""},
		{"invalid UTF-8", "a\xffb", "a\uFFFDb"},
		{"as much text as is kept", long, long},
		{"more text than is kept", long + "b", long},
		{"a rune across the end", long[1:] + "ä", long[1:]},
		{"invalid UTF-8 that grows by being mended", strings.Repeat("a\xff", maxDetail/2), strings.Repeat("a\uFFFD", maxDetail/4)},
		{"a problem that grows by being mended", `{"detail":"` + strings.Repeat("\xff", maxDetail/2) + `"}`, strings.Repeat("\uFFFD", maxDetail/3)},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/problem+json")
				w.WriteHeader(http.StatusBadRequest)
				_, _ = io.WriteString(w, test.body)
			})
			err := c.Ingest(t.Context(), []byte("[]"))
			e := asError(t, err)
			if e.Detail != test.want {
				t.Errorf("the detail has %d bytes, %.80q…, want %d, %.80q…", len(e.Detail), e.Detail, len(test.want), test.want)
			}
			want := "the meter answered 400: " + test.want
			if test.want == "" {
				want = "the meter answered 400 Bad Request"
			}
			if len(test.want) > 1024 { // a log's line is no place for all of it
				want = want[:len("the meter answered 400: ")+1000]
			}
			if text := err.Error(); !strings.HasPrefix(text, want) || len(text) > len(want)+100 {
				t.Errorf("the error is %.120q…, want %.120q…", err, want)
			}
		})
	}
}

func TestClassesInWords(t *testing.T) {
	if diff := cmp.Diff([]string{"retry", "blocked", "refused"}, []string{Retry.String(), Blocked.String(), Refused.String()}); diff != "" {
		t.Error(diff)
	}
}
