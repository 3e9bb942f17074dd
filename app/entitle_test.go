package app_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/kgents/kgents/config"
)

// A customer on Free uses up its tokens: what it may use shows by its own key, the
// operator is told by signed webhooks, and its requests have the plan's rate. A larger
// plan counts at once.
func TestEntitlements(t *testing.T) {
	var (
		mu   sync.Mutex
		told []string
	)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var m struct {
			Data struct {
				Customer, Feature string
				Percent           int
			}
		}
		body, err := io.ReadAll(r.Body)
		if err != nil || json.Unmarshal(body, &m) != nil || !strings.HasPrefix(r.Header.Get("webhook-signature"), "v1,") {
			t.Errorf("told %s, %v", body, r.Header)
		}
		mu.Lock()
		defer mu.Unlock()
		told = append(told, fmt.Sprint(m.Data.Customer, " ", m.Data.Feature, " ", m.Data.Percent))
	}))
	t.Cleanup(receiver.Close)
	p := start(t, config.RoleUp, settings(t, config.RoleUp, map[string]string{
		"USAGE_ALERT_URL": receiver.URL, "USAGE_ALERT_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
	}))
	p.ready()
	v1 := func(key, method, path, body string) answer {
		t.Helper()
		req := p.request(method, path, body)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+key)
		return p.send(req)
	}
	must := func(a answer, status int, out any) answer {
		t.Helper()
		if a.status != status {
			t.Fatalf("the answer is %d %s, want %d", a.status, a.body, status)
		}
		if err := json.Unmarshal([]byte(a.body), out); err != nil {
			t.Fatal(err)
		}
		return a
	}
	var made struct{ Key string }
	eventually(t, "the customer is made", func() bool { return v1(apiKey, "POST", "/v1/customers", `{"id":"acme"}`).status == 201 })
	must(v1(apiKey, "POST", "/v1/keys", `{"customer":"acme","scopes":["ingest","read"]}`), 201, &made)
	key := made.Key

	type entitlement struct {
		Plan    string
		Allowed bool
		Used    int64
		Stale   bool
		Upgrade []struct{ Plan string }
	}
	of := func(who, query string) entitlement {
		t.Helper()
		var got struct{ Entitlements []entitlement }
		must(v1(who, "GET", "/v1/entitlements?feature=tokens"+query, ""), 200, &got)
		return got.Entitlements[0]
	}
	if e := of(key, "&amount=10000"); !e.Allowed || e.Plan != "free" {
		t.Errorf("at first: %+v", e)
	}
	if a := v1(key, "GET", "/v1/entitlements?customer=other", ""); a.status != 403 {
		t.Errorf("another's: %d %s", a.status, a.body)
	}
	if a := v1(key, "GET", "/v1/alerts", ""); a.status != 403 {
		t.Errorf("alerts by a customer's key: %d %s", a.status, a.body)
	}
	if a := v1(key, "POST", "/api/v1/events", `{"specversion":"1.0","id":"1","source":"x","type":"agent.tokens","data":{"tokens":9999}}`); a.status != 204 ||
		!strings.Contains(a.header.Get("RateLimit-Policy"), `"plan";q=60;w=60`) {
		t.Fatalf("usage: %d %v %s", a.status, a.header, a.body)
	}
	eventually(t, "its usage is known", func() bool { e := of(apiKey, "&customer=acme"); return e.Used == 9999 && !e.Stale })
	if e := of(apiKey, "&customer=acme&amount=2"); e.Allowed || len(e.Upgrade) == 0 || e.Upgrade[0].Plan != "pro" {
		t.Errorf("two more: %+v", e)
	}
	eventually(t, "the operator is told", func() bool { mu.Lock(); defer mu.Unlock(); return slices.Equal(told, []string{"acme tokens 80"}) })

	// 60 a minute, 10 at once: the eleventh of a moment is refused, whatever it asks.
	refused := 0
	for range 20 {
		if a := v1(key, "GET", "/v1/entitlements", ""); a.status == http.StatusTooManyRequests {
			refused++
			if a.header.Get("Retry-After") == "" || !strings.HasPrefix(a.header.Get("RateLimit"), `"plan";r=0`) {
				t.Errorf("refused with %v", a.header)
			}
		}
	}
	if refused == 0 {
		t.Error("no request is refused")
	}
	// The operator's keys have no plan.
	for range 20 {
		of(apiKey, "&customer=acme")
	}

	must(v1(apiKey, "PATCH", "/v1/customers/acme", `{"override":"pro"}`), 200, &made)
	if e := of(apiKey, "&customer=acme&amount=2"); !e.Allowed || e.Plan != "pro" || e.Used != 9999 {
		t.Errorf("on Pro: %+v", e)
	}
}
