package plan

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/api"
	"github.com/kgents/kgents/receive"
)

// The catalogue is what any key that may read gets, and no Stripe id is in it.
func TestPlansOverHTTP(t *testing.T) {
	b, err := Open(Config{File: temp(t, base), Prices: map[string]string{"pro_monthly": "price_never_shown"}})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	mux := http.NewServeMux()
	keys := map[string]kgents.Principal{
		"op":     {Key: "API_KEYS 1", Scopes: kgents.Scopes()},
		"c":      {Key: "kg_c", Customer: "c", Scopes: []kgents.Scope{kgents.ScopeRead}},
		"ingest": {Key: "kg_i", Customer: "c", Scopes: []kgents.Scope{kgents.ScopeIngest}},
	}
	a := api.New(mux, "test", func(_ string, next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r.WithContext(receive.WithCaller(r.Context(), keys[r.Header.Get("Key")])))
		})
	})
	b.Register(a)
	if err := a.Serve(); err != nil {
		t.Fatal(err)
	}
	ask := func(method, path, key string) *httptest.ResponseRecorder {
		w, r := httptest.NewRecorder(), httptest.NewRequest(method, path, nil)
		r.Header.Set("Key", key)
		mux.ServeHTTP(w, r)
		return w
	}
	for key, status := range map[string]int{"op": 200, "c": 200, "ingest": 403, "": 403} {
		if w := ask(http.MethodGet, "/v1/plans", key); w.Code != status {
			t.Errorf("the key %q gets %d %s, want %d", key, w.Code, w.Body, status)
		}
	}
	if w := ask(http.MethodGet, "/v1/plans?plan=pro", "c"); w.Code != http.StatusBadRequest {
		t.Errorf("an unknown parameter gets %d", w.Code)
	}
	if w := ask(http.MethodPost, "/v1/plans", "c"); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST gets %d", w.Code)
	}
	body := ask(http.MethodGet, "/v1/plans", "c").Body.Bytes()
	if strings.Contains(string(body), "price_never_shown") {
		t.Errorf("a Stripe id is shown: %s", body)
	}
	var got, want any
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(`{
	"currency": "usd", "default": "free", "trial_days": 14, "grace_days": 7, "alerts": [50, 80, 100],
	"features": [
		{"id": "tokens", "name": "Tokens", "unit": "token", "meter": "agent_tokens"},
		{"id": "calls", "name": "API calls", "unit": "call", "meter": "api_requests"},
		{"id": "towns", "name": "Towns", "unit": "town"}
	],
	"plans": [
		{"id": "free", "name": "Free", "prices": [], "rate": {"per_minute": 60, "burst": 10}, "perks": [], "limits": [
			{"feature": "tokens", "limit": 10000, "per": "period", "over": "refuse"},
			{"feature": "calls", "limit": 100, "per": "day", "over": "refuse"},
			{"feature": "towns", "limit": 1, "over": "refuse"}
		]},
		{"id": "pro", "name": "Pro", "prices": [{"interval": "month", "amount": 1900, "lookup_key": "pro_monthly"}],
			"rate": {"per_minute": "unlimited", "burst": 1}, "perks": ["E-mail support"], "limits": [
			{"feature": "tokens", "limit": 500000, "per": "period", "over": "bill", "overage": {"amount": 8, "per": 10000}},
			{"feature": "towns", "limit": "unlimited", "over": "refuse"}
		]}
	]}`), &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
