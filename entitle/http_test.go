package entitle_test

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/api"
	"github.com/kgents/kgents/entitle"
	"github.com/kgents/kgents/receive"
)

// serve is the engine's routes for an operator.
func serve(t *testing.T, e *entitle.Engine) *httptest.Server {
	t.Helper()
	edge := receive.New(receive.Config{Keys: receive.NewKeys([]string{"operator"}), Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	mux := http.NewServeMux()
	a := api.New(mux, "test", func(_ string, next http.Handler) http.Handler { return edge.Authenticate(next) })
	e.Register(a)
	if err := a.Serve(); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func get(t *testing.T, url string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer operator")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(body, &out); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return resp.StatusCode, out
}

func TestEntitlementsRoute(t *testing.T) {
	e, now := entitle.NewTestEngine(t)
	s := serve(t, e)
	status, got := get(t, s.URL+"/v1/entitlements?customer=acme&feature=towns&existing=1")
	want := map[string]any{"entitlements": []any{map[string]any{
		"customer": "acme", "plan": "free", "feature": "towns", "allowed": false, "used": 1.0, "limit": 1.0, "left": 0.0, "over": "refuse", "excess": 0.0,
		"reason": "limit_reached", "text": "towns: the plan free allows 1, 1 used", "stale": false,
		"upgrade": []any{
			map[string]any{"plan": "pro", "name": "Pro", "limit": 5.0, "over": "refuse", "checkout": "https://example.com/buy?acme=pro", "prices": []any{
				map[string]any{"interval": "month", "amount": 1900.0, "currency": "usd"}, map[string]any{"interval": "year", "amount": 19000.0, "currency": "usd"},
			}},
			map[string]any{"plan": "teams", "name": "Teams", "limit": "unlimited", "over": "refuse", "checkout": "https://example.com/buy?acme=teams", "prices": []any{map[string]any{"interval": "month", "amount": 9900.0, "currency": "usd"}}},
		},
	}}}
	if diff := cmp.Diff(want, got); status != http.StatusOK || diff != "" {
		t.Errorf("%d, %s", status, diff)
	}
	status, got = get(t, s.URL+"/v1/entitlements?customer=acme")
	list, _ := got["entitlements"].([]any)
	if status != http.StatusOK || len(list) != 4 {
		t.Fatalf("%d, %v", status, got)
	}
	first, _ := list[0].(map[string]any)
	if want := now.AddDate(0, 1, 0).Truncate(24*time.Hour).AddDate(0, 0, 1-now.Day()).Format(time.RFC3339); first["resets_at"] != want {
		t.Errorf("it resets at %v, want %s", first["resets_at"], want)
	}
	for query, want := range map[string]int{
		"":                           http.StatusBadRequest, // whose?
		"customer=nobody":            http.StatusNotFound,
		"customer=acme&feature=x":    http.StatusNotFound,
		"customer=acme&amount=-1":    http.StatusBadRequest,
		"customer=acme&amount=1e400": http.StatusBadRequest,
		"customer=acme&nonsense=1":   http.StatusBadRequest,
	} {
		if status, got := get(t, s.URL+"/v1/entitlements?"+query); status != want {
			t.Errorf("%s: %d, want %d: %v", query, status, want, got)
		}
	}
}

// What is refused says what a program needs to offer more.
func TestRequire(t *testing.T) {
	e, _ := entitle.NewTestEngine(t)
	one := int64(1)
	err := e.Require("acme", "towns", 1, &one)
	if kgents.ErrorCode(err) != kgents.CodePayment {
		t.Fatalf("the error is %v", err)
	}
	w := httptest.NewRecorder()
	if status := receive.WriteProblem(w, nil, err); status != http.StatusPaymentRequired {
		t.Errorf("status %d", status)
	}
	var got map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	delete(got, "upgrade")
	want := map[string]any{
		"type": "urn:kgents:problem:payment_required", "title": "Payment Required", "status": 402.0,
		"detail":  "towns: the plan free allows 1, 1 used",
		"feature": "towns", "plan": "free", "used": 1.0, "limit": 1.0,
		"checkout": map[string]any{
			"method": "POST", "path": "/v1/billing/checkout", "body": map[string]any{"customer": "acme", "plan": "pro"},
			"url": "https://example.com/buy?acme=pro",
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err := e.Require("acme", "towns", 1, nil); err != nil {
		t.Errorf("the first: %v", err)
	}
}

// Who has a subscription changes it: there is no page to buy another at.
func TestRequireOfASubscriber(t *testing.T) {
	e, _ := entitle.NewTestEngine(t)
	e.Subscribe("acme")
	one := int64(1)
	var refused *kgents.Error
	if err := e.Require("acme", "towns", 1, &one); !errors.As(err, &refused) {
		t.Fatalf("the error is %v", err)
	}
	want := map[string]any{"method": "POST", "path": "/v1/billing/change", "body": map[string]any{"customer": "acme", "plan": "pro"}}
	if diff := cmp.Diff(want, refused.Extra["checkout"]); diff != "" {
		t.Error(diff)
	}
	for _, o := range refused.Extra["upgrade"].([]entitle.Option) {
		if o.Checkout != "" {
			t.Errorf("%s can be bought at %s", o.Plan, o.Checkout)
		}
	}
}

func TestNearRoute(t *testing.T) {
	e, _ := entitle.NewTestEngine(t)
	s := serve(t, e)
	status, got := get(t, s.URL+"/v1/entitlements/near")
	// Nobody has asked the meter yet: what is known of acme may be too low.
	want := map[string]any{"near": []any{}, "total": 0.0, "looked": 1.0, "stale": true}
	if diff := cmp.Diff(want, got); status != http.StatusOK || diff != "" {
		t.Errorf("%d, %s", status, diff)
	}
	for _, query := range []string{"percent=0", "percent=1001", "percent=x", "limit=0", "limit=1001"} {
		if status, got := get(t, s.URL+"/v1/entitlements/near?"+query); status != http.StatusBadRequest && status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d, %v", query, status, got)
		}
	}
}
