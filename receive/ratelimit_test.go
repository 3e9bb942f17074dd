package receive_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/kgents/kgents/receive"
)

// limitedEdge has two keys and a route behind one, besides its own.
func limitedEdge(limit receive.RateLimit) (http.Handler, *prometheus.Registry) {
	mux, reg := http.NewServeMux(), prometheus.NewRegistry()
	e := receive.New(receive.Config{
		Admitter: &admitter{}, Keys: receive.NewKeys([]string{key, "kg_other"}), RateLimit: limit,
		WebhookSecrets: []string{secret}, Log: slog.New(slog.DiscardHandler), Registerer: reg,
	})
	e.Register(mux)
	mux.Handle("GET /read", e.Authenticate(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	return mux, reg
}

func ask(h http.Handler, req *http.Request) *http.Response {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w.Result()
}

func bearer(req *http.Request, key string) *http.Request {
	return with(req, "Authorization", "Bearer "+key)
}

// TestRateLimit: a key has its burst, then its rate, over all routes together; the
// other key has its own.
func TestRateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, reg := limitedEdge(receive.RateLimit{PerSecond: 10, Burst: 3})
		event := func(key string) *http.Request { return bearer(one(usage), key) }
		read := func(key string) *http.Request { return bearer(httptest.NewRequest(http.MethodGet, "/read", nil), key) }
		statuses := func(reqs ...*http.Request) (all []int) {
			for _, req := range reqs {
				all = append(all, ask(h, req).StatusCode)
			}
			return all
		}
		for _, step := range []struct {
			name string
			reqs []*http.Request
			want []int
		}{
			{"the burst, over two routes", []*http.Request{event(key), read(key), event(key), event(key), read(key)}, []int{204, 200, 204, 429, 429}},
			{"another key", []*http.Request{event("kg_other")}, []int{204}},
			{"a wrong key is a wrong key", []*http.Request{event("kg_wrong"), event("")}, []int{401, 401}},
			{"webhooks have no key", []*http.Request{signed(payment)}, []int{200}},
		} {
			if diff := cmp.Diff(step.want, statuses(step.reqs...)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", step.name, diff)
			}
		}
		time.Sleep(200 * time.Millisecond) // two requests' worth
		if diff := cmp.Diff([]int{204, 204, 429}, statuses(event(key), event(key), event(key))); diff != "" {
			t.Errorf("after 200 ms (-want +got):\n%s", diff)
		}
		time.Sleep(time.Hour)
		if diff := cmp.Diff([]int{204, 204, 204, 429}, statuses(event(key), event(key), event(key), event(key))); diff != "" {
			t.Errorf("a long pause earns the burst and no more (-want +got):\n%s", diff)
		}
		want := `
# HELP kgents_api_rate_limited_total Requests answered 429 because their API key sends more often than API_RATE_LIMIT, by the key's position in API_KEYS.
# TYPE kgents_api_rate_limited_total counter
kgents_api_rate_limited_total{key="1"} 4
kgents_api_rate_limited_total{key="2"} 0
`
		if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "kgents_api_rate_limited_total"); err != nil {
			t.Error(err)
		}
	})
}

// TestRateLimitAnswer: the refusal says when to come again, in the standard ways,
// and was made before the body was read.
func TestRateLimitAnswer(t *testing.T) {
	h, _ := limitedEdge(receive.RateLimit{PerSecond: 1})
	if res := ask(h, one(usage)); res.StatusCode != http.StatusNoContent {
		t.Fatalf("the first request got %s", res.Status)
	}
	body := &reads{Reader: strings.NewReader(usage)}
	res := ask(h, post("application/json", body))
	if body.n != 0 {
		t.Errorf("the body was read %d times", body.n)
	}
	got := map[string]string{}
	for _, name := range []string{"Content-Type", "Retry-After", "RateLimit", "RateLimit-Policy", "Cache-Control"} {
		got[name] = res.Header.Get(name)
	}
	want := map[string]string{
		"Content-Type": "application/problem+json", "Retry-After": "1", "Cache-Control": "no-store",
		"RateLimit": `"key";r=0;t=1`, "RateLimit-Policy": `"key";q=1;w=1`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	b, _ := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusTooManyRequests || !strings.Contains(string(b), "urn:kgents:problem:rate_limited") {
		t.Errorf("got %s %s", res.Status, b)
	}
	keepsSecrets(t, "the answer", string(b))
}

// TestNoRateLimit: zero lets everything through.
func TestNoRateLimit(t *testing.T) {
	h, _ := limitedEdge(receive.RateLimit{})
	for i := range 1000 {
		if res := ask(h, one(usage)); res.StatusCode != http.StatusNoContent {
			t.Fatalf("request %d got %s", i, res.Status)
		}
	}
}

// BenchmarkRateLimit is what the limit adds to a request that it lets through.
func BenchmarkRateLimit(b *testing.B) {
	for _, limit := range []receive.RateLimit{{}, {PerSecond: 1_000_000, Burst: 1_000_000_000}} {
		name := "none"
		if limit.PerSecond > 0 {
			name = "limited"
		}
		b.Run(fmt.Sprintf("limit=%s", name), func(b *testing.B) {
			h, _ := limitedEdge(limit)
			req := bearer(httptest.NewRequest(http.MethodGet, "/read", nil), key)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				w := silent{header: http.Header{}}
				for pb.Next() {
					h.ServeHTTP(&w, req)
				}
			})
		})
	}
}
