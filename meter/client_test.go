package meter

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const key = "om_key_that_nobody_may_see"

// client is closed with the test.
func client(t *testing.T, baseURL string) *Client {
	t.Helper()
	c, err := NewClient(baseURL, key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// serve returns a client of a server that runs for as long as the test.
func serve(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return client(t, s.URL)
}

// asked is what a meter sees of a request.
type asked struct {
	Method, Path string
	Query        url.Values
	Body         string

	Authorization, ContentType, UserAgent string
}

// ask makes a call and returns what the meter saw of it; the meter answers 200
// with the given body.
func ask(t *testing.T, answer string, call func(*Client) error) asked {
	t.Helper()
	seen := make(chan asked, 1)
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		h := r.Header
		seen <- asked{r.Method, r.URL.EscapedPath(), r.URL.Query(), string(body), h.Get("Authorization"), h.Get("Content-Type"), h.Get("User-Agent")}
		_, _ = io.WriteString(w, answer)
	})
	if err := call(c); err != nil {
		t.Fatal(err)
	}
	return <-seen
}

func TestRequests(t *testing.T) {
	east := time.FixedZone("UTC+2", 2*60*60)
	from := time.Date(2026, 11, 23, 0, 0, 0, 0, east)
	to := time.Date(2026, 11, 24, 0, 0, 0, 5_000_000, time.UTC)
	query := func(q Query) func(*Client) error {
		return func(c *Client) error { _, err := c.Query(t.Context(), q); return err }
	}
	events := func(f EventFilter) func(*Client) error {
		return func(c *Client) error { _, err := c.Events(t.Context(), f); return err }
	}
	for _, test := range []struct {
		name   string
		answer string
		call   func(*Client) error
		want   asked
	}{
		{
			"a batch, as it was given", "",
			func(c *Client) error { return c.Ingest(t.Context(), []byte(`[{"id":"é"} ]`)) },
			asked{Method: "POST", Path: "/api/v1/events", Body: `[{"id":"é"} ]`, ContentType: "application/cloudevents-batch+json"},
		},
		{
			"a query without restrictions", "{}", query(Query{Meter: "tokens"}),
			asked{Method: "GET", Path: "/api/v1/meters/tokens/query"},
		},
		{
			"a query with all restrictions", "{}",
			query(Query{
				Meter: "tokens", From: from, To: to, WindowSize: Day, TimeZone: "Europe/Berlin",
				Subjects: []string{"b&b", "ümlaut"}, GroupBy: []string{"subject", "model"},
				FilterGroupBy: map[string][]string{"model": {"large", "small"}, "a=b": {"c"}},
			}),
			asked{Method: "GET", Path: "/api/v1/meters/tokens/query", Query: url.Values{
				"from": {"2026-11-22T22:00:00Z"}, "to": {"2026-11-24T00:00:00.005Z"},
				"windowSize": {"DAY"}, "windowTimeZone": {"Europe/Berlin"},
				"subject": {"b&b", "ümlaut"}, "groupBy": {"subject", "model"},
				"filterGroupBy[model]": {"large,small"}, "filterGroupBy[a=b]": {"c"},
			}},
		},
		{
			"a query of a meter whose name is no path", "{}", query(Query{Meter: "a/b?c#d e%"}),
			asked{Method: "GET", Path: "/api/v1/meters/a%2Fb%3Fc%23d%20e%25/query"},
		},
		{
			"all events", "[]", events(EventFilter{}),
			asked{Method: "GET", Path: "/api/v1/events"},
		},
		{
			"some events", "[]", events(EventFilter{ID: "1+1 = 2", Subject: "customer-1", From: from, To: to, Limit: 7}),
			asked{Method: "GET", Path: "/api/v1/events", Query: url.Values{
				"id": {"1+1 = 2"}, "subject": {"customer-1"}, "limit": {"7"},
				"from": {"2026-11-22T22:00:00Z"}, "to": {"2026-11-24T00:00:00.005Z"},
			}},
		},
		{
			"meters", "[]", func(c *Client) error { _, err := c.Meters(t.Context()); return err },
			asked{Method: "GET", Path: "/api/v1/meters"},
		},
		{
			"a new meter", "",
			func(c *Client) error {
				return c.CreateMeter(t.Context(), Meter{Slug: "tokens", EventType: "llm", Aggregation: Sum, ValueProperty: "$.n"})
			},
			asked{Method: "POST", Path: "/api/v1/meters", ContentType: "application/json",
				Body: `{"slug":"tokens","eventType":"llm","aggregation":"SUM","valueProperty":"$.n"}`},
		},
		{
			"a ping", "", func(c *Client) error { return c.Ping(t.Context()) },
			asked{Method: "GET", Path: "/api/v1/meters"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.want.Authorization, test.want.UserAgent = "Bearer "+key, "kgents"
			if test.want.Query == nil {
				test.want.Query = url.Values{}
			}
			if diff := cmp.Diff(test.want, ask(t, test.answer, test.call)); diff != "" {
				t.Errorf("the meter was asked (-want +got):\n%s", diff)
			}
		})
	}
}

// An embedded meter has no key.
func TestNoKey(t *testing.T) {
	seen := make(chan http.Header, 1)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header }))
	defer s.Close()
	c, err := NewClient(s.URL, "")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, ok := (<-seen)["Authorization"]; ok {
		t.Errorf("sent Authorization %q, want none", got)
	}
}

func TestBaseURL(t *testing.T) {
	paths := make(chan string, 1)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { paths <- r.RequestURI }))
	defer s.Close()
	for suffix, want := range map[string]string{
		"":               "/api/v1/meters",
		"/":              "/api/v1/meters",
		"//":             "/api/v1/meters",
		"/openmeter":     "/openmeter/api/v1/meters",
		"/openmeter/":    "/openmeter/api/v1/meters",
		"/a/b//":         "/a/b/api/v1/meters",
		"/a%2Fb":         "/a%2Fb/api/v1/meters",
		"/open%20meter/": "/open%20meter/api/v1/meters",
	} {
		if err := client(t, s.URL+suffix).Ping(t.Context()); err != nil {
			t.Errorf("%q: %v", suffix, err)
		} else if got := <-paths; got != want {
			t.Errorf("a base URL that ends in %q asks %s, want %s", suffix, got, want)
		}
	}
	if err := client(t, "HTTP"+strings.TrimPrefix(s.URL, "http")).Ping(t.Context()); err != nil {
		t.Errorf("a scheme in capitals: %v", err)
	}
}

func TestInvalidBaseURL(t *testing.T) {
	const secret = "hunter2"
	for _, baseURL := range []string{
		"", " ", "/", "openmeter", "openmeter:8888", "localhost:8888", "//openmeter", "/api",
		"http:", "http://", "http:///api", "http:openmeter", "https://:443", "http://user:" + secret + "@",
		"ftp://openmeter", "unix:///run/openmeter", "nats://user:" + secret + "@openmeter",
		"http://open meter", "http://openmeter\n", " http://openmeter", "http://[::1", "http://openmeter:port", "http://openmeter/%zz",
		// The path of a request would become part of these, and whatever answers
		// at the root would seem to have taken the events.
		"http://openmeter?", "http://openmeter/?tenant=" + secret, "http://openmeter#", "http://openmeter/#meters",
	} {
		c, err := NewClient(baseURL, key)
		if err == nil {
			c.Close()
			t.Errorf("%q makes a client", baseURL)
			continue
		}
		if text := err.Error(); !strings.Contains(text, "base URL") || !strings.Contains(text, "https://host") {
			t.Errorf("%q: the error is %q, want it to say what a base URL looks like", baseURL, err)
		} else if strings.Contains(text, secret) || strings.Contains(text, key) {
			t.Errorf("%q: the error shows a secret: %s", baseURL, err)
		}
	}
}

func TestSuccess(t *testing.T) {
	for name, statuses := range map[string][]int{
		"Ingest":      {200, 202, 204},
		"CreateMeter": {200, 201, 204, 409},
		"Ping":        {200, 204},
	} {
		for _, status := range statuses {
			c := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
			if err := calls[name](t, c); err != nil {
				t.Errorf("%s: %d is an error: %v", name, status, err)
			}
		}
	}
}

func TestAnswers(t *testing.T) {
	answer := func(body string) *Client {
		return serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) })
	}
	day := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	night := day.AddDate(0, 0, 1)
	subject, model := "customer-1", "large"

	result, err := answer(`{"from":"2026-11-23T00:00:00Z","to":"2026-11-24T00:00:00Z","windowSize":"DAY","unknown":{},"data":[
		{"value":1.5,"windowStart":"2026-11-23T00:00:00Z","windowEnd":"2026-11-24T00:00:00Z","subject":"customer-1","groupBy":{"model":"large","region":null}},
		{"value":0,"windowStart":"2026-11-23T00:00:00Z","windowEnd":"2026-11-24T00:00:00Z","subject":null,"groupBy":{}}]}`,
	).Query(t.Context(), Query{Meter: "tokens"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Result{From: &day, To: &night, WindowSize: Day, Data: []Row{
		{Value: 1.5, WindowStart: day, WindowEnd: night, Subject: &subject, GroupBy: map[string]*string{"model": &model, "region": nil}},
		{WindowStart: day, WindowEnd: night, GroupBy: map[string]*string{}},
	}}, result); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}

	events, err := answer(`[{"event":{"id":"1","data":{"n":1.0}},"ingestedAt":"2026-11-23T00:00:00Z","storedAt":"2026-11-24T00:00:00Z","validationError":"no meter"}]`).
		Events(t.Context(), EventFilter{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]StoredEvent{{
		Event: json.RawMessage(`{"id":"1","data":{"n":1.0}}`), IngestedAt: day, StoredAt: night, ValidationError: "no meter",
	}}, events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}

	meters, err := answer(`[{"id":"01","slug":"tokens","eventType":"llm","aggregation":"UNIQUE_COUNT","valueProperty":"$.n","groupBy":{"model":"$.model"},"createdAt":"2026-11-23T00:00:00Z"}]`).
		Meters(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Meter{{
		ID: "01", Slug: "tokens", EventType: "llm", Aggregation: UniqueCount, ValueProperty: "$.n",
		GroupBy: map[string]string{"model": "$.model"}, CreatedAt: day,
	}}, meters); diff != "" {
		t.Errorf("meters (-want +got):\n%s", diff)
	}
}

// A wrong address often answers 200, with a page for people.
func TestAnswerOfSomethingElse(t *testing.T) {
	for name, body := range map[string]string{
		"a page": "<!doctype html>", "nothing": "", "half of it": `[{"slug":"a"},`, "a string": `"ok"`, "two of it": "[][]",
	} {
		c := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) })
		for _, call := range []string{"Query", "Events", "Meters"} {
			err := calls[call](t, c)
			if err == nil {
				t.Errorf("%s takes %s for an answer", call, name)
				continue
			}
			if e := asError(t, err); e.Status != 200 || e.Class != Retry || !strings.Contains(err.Error(), "base URL") {
				t.Errorf("%s, given %s: %s error %q, want one to retry that hints at the base URL", call, name, e.Class, err)
			}
		}
	}
}

// The key belongs to one address. A redirect means that the configured one is
// wrong, which the operator must mend.
func TestRedirectsAreNotFollowed(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, where := range []string{"another host", "the same host", "nowhere"} {
			for name, call := range calls {
				t.Run(fmt.Sprint(status, " to ", where, " ", name), func(t *testing.T) {
					visits := make(chan string, 10)
					other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
						visits <- "the other host, with Authorization " + r.Header.Get("Authorization")
					}))
					defer other.Close()
					c := serve(t, func(w http.ResponseWriter, r *http.Request) {
						switch {
						case r.URL.Path == "/elsewhere":
							visits <- "elsewhere"
						case where == "another host":
							w.Header().Set("Location", other.URL)
						case where == "the same host":
							w.Header().Set("Location", "/elsewhere")
						}
						w.WriteHeader(status)
					})
					err := call(t, c)
					if e := asError(t, err); e.Status != status || e.Class != Blocked {
						t.Errorf("got status %d and class %s, want %d and blocked", e.Status, e.Class, status)
					}
					if strings.Contains(err.Error(), key) {
						t.Errorf("the error shows the key: %v", err)
					}
					select {
					case who := <-visits:
						t.Errorf("the redirect was followed to %s", who)
					default:
					}
				})
			}
		}
	}
}

// Errors end up in logs and in dead letters, so the key must be in none of them,
// even if the meter repeats what it was sent.
func TestKeyIsInNoError(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	repeat := func(format string) *Client {
		return serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = fmt.Fprintf(w, format, r.Header.Get("Authorization"))
		})
	}
	lineBreak, err := NewClient(gone.URL, key+"\n")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]*Client{
		"no answer":                     client(t, gone.URL),
		"a key that can't be sent":      lineBreak,
		"a problem that repeats it":     repeat(`{"title":"Unauthorized","detail":"unknown: %s"}`),
		"a title that repeats it":       repeat(`{"title":"unknown: %s"}`),
		"text that repeats it":          repeat("who is %s?"),
		"text that repeats it at a cut": repeat(strings.Repeat("a", maxDetail-len("Bearer ")-len(key)/2) + "%s"),
		"an answer that is no answer": serve(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, r.Header.Get("Authorization"))
		}),
	} {
		for call, do := range calls {
			err := do(t, c)
			if err == nil {
				if name != "an answer that is no answer" {
					t.Errorf("%s, %s: no error", name, call)
				}
				continue
			}
			detail := asError(t, err).Detail
			for e := err; e != nil; e = errors.Unwrap(e) {
				if all := e.Error() + detail; strings.Contains(all, key) || strings.Contains(all, key[:len(key)/2]) {
					t.Errorf("%s, %s: the error shows the key: …%s", name, call, all[max(0, len(all)-100):])
				}
			}
		}
	}
}

// endless answers for ever, as fast as it can, and reports how much went out.
func endless(status int, sent chan<- int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		chunk := []byte(strings.Repeat("[", 1<<20))
		for n := 0; ; {
			wrote, err := w.Write(chunk)
			n += wrote
			if err != nil {
				sent <- n
				return
			}
		}
	}
}

func TestEndlessAnswers(t *testing.T) {
	// What lies in the buffers between the two ends was never read.
	const buffers = 32 << 20
	for _, test := range []struct {
		call   string
		status int
		class  Class
		detail int // bytes at most
		read   int // bytes at most
	}{
		{"Ingest", 400, Refused, maxDetail, maxDetail},
		{"Ingest", 503, Retry, maxDetail, maxDetail},
		{"Ping", 401, Blocked, maxDetail, maxDetail},
		{"Query", 404, Blocked, maxDetail, maxDetail},
		{"Query", 200, Refused, 200, maxAnswer},
	} {
		t.Run(fmt.Sprint(test.call, " ", test.status), func(t *testing.T) {
			sent := make(chan int, 1)
			e := asError(t, calls[test.call](t, serve(t, endless(test.status, sent))))
			if e.Status != test.status || e.Class != test.class || e.Detail == "" || len(e.Detail) > test.detail {
				t.Errorf("got status %d, class %s and %d bytes of detail, want %d, %s and 1 to %d", e.Status, e.Class, len(e.Detail), test.status, test.class, test.detail)
			}
			if n := <-sent; n > test.read+buffers {
				t.Errorf("the meter could send %d bytes, want about %d at most", n, test.read)
			}
		})
	}
	t.Run("Ingest 200", func(t *testing.T) {
		sent := make(chan int, 1)
		if err := calls["Ingest"](t, serve(t, endless(http.StatusOK, sent))); err != nil {
			t.Error(err)
		}
		if n := <-sent; n > maxDetail+buffers {
			t.Errorf("the meter could send %d bytes", n)
		}
	})
}

// A meter that is silent, or that sends a byte now and then for ever, is given up.
func TestTimeout(t *testing.T) {
	for name, talk := range map[string]func(net.Conn){
		"silent":              func(net.Conn) {},
		"silent after a head": func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n") },
		"a byte a second": func(c net.Conn) {
			_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
			for ; err == nil; _, err = io.WriteString(c, "[") {
				time.Sleep(time.Second)
			}
		},
	} {
		for _, call := range []string{"Query", "Events", "Meters"} {
			t.Run(name+" "+call, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := client(t, "http://openmeter")
					var meter sync.WaitGroup
					c.http.Transport.(*http.Transport).DialContext = func(context.Context, string, string) (net.Conn, error) {
						ours, theirs := net.Pipe()
						meter.Go(func() {
							defer theirs.Close()
							if _, err := http.ReadRequest(bufio.NewReader(theirs)); err != nil {
								t.Error(err)
							}
							talk(theirs)
							_, _ = io.Copy(io.Discard, theirs) // until the client hangs up
						})
						return ours, nil
					}
					began := time.Now()
					e := asError(t, calls[call](t, c))
					if e.Class != Retry || !errors.Is(e, context.DeadlineExceeded) {
						t.Errorf("%s error %v, want a time-out to retry", e.Class, e)
					}
					if took := time.Since(began); took != timeout {
						t.Errorf("given up after %v, want %v", took, timeout)
					}
					meter.Wait()
				})
			})
		}
	}
}

// A caller who gives up gets its own reason back, at once, and the meter is told.
func TestCancel(t *testing.T) {
	reached, left := make(chan struct{}, 1), make(chan struct{}, 1)
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // the server watches the connection from here on
		if r.URL.Query().Has("subject") {
			_, _ = io.WriteString(w, "[")
			_ = http.NewResponseController(w).Flush()
		}
		reached <- struct{}{}
		<-r.Context().Done()
		left <- struct{}{}
	})
	for name, call := range map[string]func(context.Context) error{
		"Ingest": func(ctx context.Context) error { return c.Ingest(ctx, []byte("[]")) },
		"Query":  func(ctx context.Context) error { _, err := c.Query(ctx, Query{Meter: "tokens"}); return err },
		"within Query": func(ctx context.Context) error {
			_, err := c.Query(ctx, Query{Meter: "tokens", Subjects: []string{"a"}})
			return err
		},
		"Events":        func(ctx context.Context) error { _, err := c.Events(ctx, EventFilter{}); return err },
		"within Events": func(ctx context.Context) error { _, err := c.Events(ctx, EventFilter{Subject: "a"}); return err },
		"Meters":        func(ctx context.Context) error { _, err := c.Meters(ctx); return err },
		"CreateMeter":   func(ctx context.Context) error { return c.CreateMeter(ctx, Meter{}) },
		"Ping":          func(ctx context.Context) error { return c.Ping(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			go func() { <-reached; cancel() }()
			err := call(ctx)
			if !errors.Is(err, context.Canceled) || Classify(err) != Retry {
				t.Errorf("%s error %v, want the context's own, to retry", Classify(err), err)
			}
			<-left

			// A context that is over sends nothing.
			if err := call(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("with a context that is over: %v", err)
			}
			select {
			case <-reached:
				t.Error("a request was sent with a context that is over")
			default:
			}
		})
	}
}
