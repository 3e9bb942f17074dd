package receive_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/receive"
)

// limiter lets through one request of each customer.
type limiter struct{ asked []string }

func (l *limiter) Allow(_ context.Context, customer string, h http.Header) error {
	l.asked = append(l.asked, customer)
	h.Set("RateLimit", `"plan";r=0;t=7`)
	for _, before := range l.asked[:len(l.asked)-1] {
		if before == customer {
			return &kgents.Error{Code: kgents.CodeRateLimited, Message: "too many", RetryAfter: 7 * time.Second}
		}
	}
	return nil
}

// What a customer's plan allows is asked of its keys alone, on every route, after the
// key is known to be good.
func TestLimiterOfPlans(t *testing.T) {
	l := &limiter{}
	e := receive.New(receive.Config{
		Admitter: &admitter{}, Keys: receive.NewKeys([]string{key}).With(ring{}), Limiter: l, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	mux := http.NewServeMux()
	e.Register(mux)
	mux.Handle("/who", e.Authenticate(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(receive.Caller(r.Context()))
	})))
	for _, test := range []struct {
		method, path, key string
		want              int
	}{
		{"GET", "/who", key, 200}, {"GET", "/who", key, 200}, {"GET", "/who", "kg_-_read_1", 200}, // the operator's
		{"GET", "/who", "nonsense", 401},
		{"GET", "/who", "kg_acme_read_1", 200}, {"GET", "/who", "kg_acme_read_2", 429}, {"POST", "/api/v1/events", "kg_acme_ingest_1", 429},
		{"POST", "/api/v1/events", "kg_other_ingest_1", 400}, // let through, and no event
	} {
		res := ask(mux, bearer(httptest.NewRequest(test.method, test.path, nil), test.key))
		if res.StatusCode != test.want {
			t.Errorf("%s %s with %s is answered %s", test.method, test.path, test.key, res.Status)
		}
		if test.want == 429 && (res.Header.Get("Retry-After") != "7" || res.Header.Get("RateLimit") != `"plan";r=0;t=7`) {
			t.Errorf("refused with %v", res.Header)
		}
	}
	if diff := cmp.Diff([]string{"acme", "acme", "acme", "other"}, l.asked); diff != "" {
		t.Error(diff)
	}
}
