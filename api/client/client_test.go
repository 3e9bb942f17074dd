package client_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/api/client"
)

const key = "kg_never-shown"

func serve(t *testing.T, h http.HandlerFunc) *client.Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return &client.Client{URL: s.URL, Key: key, HTTP: s.Client()}
}

// A request has the key, the body as JSON and who asks; an answer is read.
func TestRequest(t *testing.T) {
	var got []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = []string{r.Method, r.URL.String(), r.Header.Get("Authorization"), r.Header.Get("Content-Type"), r.Header.Get("X-Kgents-Observer"), string(body)}
		_, _ = io.WriteString(w, `{"n":7}`)
	})
	c.Header = http.Header{"X-Kgents-Observer": {"admin"}}
	var out struct{ N int }
	if err := c.Do(t.Context(), http.MethodPost, "/v1/keys", url.Values{"customer": {"a b"}}, map[string]int{"x": 1}, &out); err != nil || out.N != 7 {
		t.Errorf("%+v, %v", out, err)
	}
	want := []string{"POST", "/v1/keys?customer=a+b", "Bearer " + key, "application/json", "admin", `{"x":1}`}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("request (-want +got):\n%s", d)
	}
	if err := c.Get(t.Context(), "/v1/keys", nil, nil); err != nil || got[3] != "" {
		t.Errorf("without a body: %q, %v", got, err)
	}
}

// What the API refuses is a Problem with its words; what is none is told by its status.
func TestProblem(t *testing.T) {
	for name, one := range map[string]struct {
		status     int
		body, want string
	}{
		"problem": {422, `{"status":422,"title":"Wrong","detail":"the plan is wrong","errors":[{"pointer":"body.plan","detail":"use free"},{"pointer":"query.limit","detail":"at most 100"}]}`,
			"the plan is wrong; plan: use free; limit: at most 100"},
		"another's page": {502, "<html>", " answers 502 Bad Gateway"},
		"no words":       {500, `{}`, " answers 500 Internal Server Error"},
		"lies":           {403, `{"status":200,"detail":"no"}`, "no"},
	} {
		c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(one.status)
			_, _ = io.WriteString(w, one.body)
		})
		b, err := c.Bytes(t.Context(), http.MethodGet, "/x", nil, nil)
		p, ok := errors.AsType[*client.Problem](err)
		if !ok || p.Status != one.status || client.Status(err) != one.status || strings.TrimPrefix(err.Error(), c.URL) != one.want || string(b) != one.body {
			t.Errorf("%s: %v with %q", name, err, b)
		}
	}
	if client.Status(errors.New("another")) != 0 || client.Status(nil) != 0 {
		t.Error("what is no problem has a status")
	}
}

// Nobody there says what to do; who has stopped waiting isn't told so.
func TestAway(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	c := &client.Client{URL: s.URL, Key: key, HTTP: s.Client()}
	s.Close()
	err := c.Get(t.Context(), "/livez", nil, nil)
	if away, ok := errors.AsType[*client.AwayError](err); !ok || away.URL != s.URL || !strings.Contains(err.Error(), "kgents up") {
		t.Errorf("nobody there gives %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = c.Get(ctx, "/livez", nil, nil)
	if _, ok := errors.AsType[*client.AwayError](err); ok || !errors.Is(err, context.Canceled) {
		t.Errorf("an interruption gives %v", err)
	}
}

// A name that leads to another path is sent nowhere.
func TestPath(t *testing.T) {
	c := serve(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("asked for %s", r.URL) })
	for _, path := range []string{"/v1/customers/..", "/v1/customers/./keys", "/../livez"} {
		if err := c.Get(t.Context(), path, nil, nil); !errors.Is(err, client.ErrPath) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// An answer is bounded, and what isn't JSON is said to be.
func TestAnswer(t *testing.T) {
	large := strings.Repeat(" ", client.MaxAnswer+1)
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/large":
			_, _ = io.WriteString(w, large)
		case "/just":
			_, _ = io.WriteString(w, large[:client.MaxAnswer-4]+"1234")
		case "/cut":
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "{")
		case "/page":
			_, _ = io.WriteString(w, "<html>")
		}
	})
	var out any
	if err := c.Get(t.Context(), "/large", nil, &out); err == nil || !strings.Contains(err.Error(), "ask for less") {
		t.Errorf("too large: %v", err)
	}
	if err := c.Get(t.Context(), "/just", nil, &out); err != nil || out != 1234.0 {
		t.Errorf("just small enough: %v, %v", out, err)
	}
	if err := c.Get(t.Context(), "/cut", nil, &out); err == nil {
		t.Error("an answer that was cut short is taken")
	}
	if err := c.Get(t.Context(), "/page", nil, &out); err == nil || !strings.Contains(err.Error(), "is kgents there") {
		t.Errorf("a page: %v", err)
	}
	if err := c.Get(t.Context(), "/nothing", nil, &out); err != nil {
		t.Errorf("no content: %v", err)
	}
}

// Whatever goes wrong, the key is not in what is said about it.
func TestKeyIsInNoError(t *testing.T) {
	refusing := serve(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusUnauthorized) })
	elsewhere := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
	})
	for name, c := range map[string]*client.Client{
		"refused":      refusing,
		"redirected":   elsewhere,
		"nobody there": {URL: "http://127.0.0.1:1", Key: key, HTTP: http.DefaultClient},
		"no address":   {URL: "://", Key: key, HTTP: http.DefaultClient},
		"no host":      {URL: "http://", Key: key, HTTP: http.DefaultClient},
		"no such key":  {URL: refusing.URL, Key: key + "\n", HTTP: http.DefaultClient},
		"body":         {URL: refusing.URL, Key: key, HTTP: http.DefaultClient},
	} {
		var body any
		if name == "body" {
			body = func() {} // no JSON
		}
		err := c.Do(t.Context(), http.MethodPost, "/x", nil, body, nil)
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		for e := err; e != nil; e = errors.Unwrap(e) {
			if strings.Contains(e.Error(), key) {
				t.Errorf("%s: the key is in %v", name, e)
			}
		}
	}
}
