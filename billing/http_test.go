package billing_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kgents/kgents/api"
	"github.com/kgents/kgents/receive"
)

// The routes over HTTP: shapes, defaults, the header, and problems.
func TestHTTP(t *testing.T) {
	b := newBed(t)
	mux := http.NewServeMux()
	keys := receive.NewKeys([]string{"operators-key"})
	a := api.New(mux, "test", func(_ string, next http.Handler) http.Handler { return receive.RequireKey(keys, next) })
	b.Register(a)
	if err := a.Serve(); err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	for _, test := range []struct {
		name, path, retry, body string
		status                  int
		want                    string
	}{
		{"checkout with defaults", "checkout", "a", `{"customer":"acme","plan":"pro"}`, 200, `"effective":"webhook"`},
		{"the same with the same key", "checkout", "a", `{"customer":"acme","plan":"pro"}`, 200, `"session":"cs_test_`},
		{"another with the same key", "checkout", "a", `{"customer":"acme","plan":"teams"}`, 409, "Idempotency-Key"},
		{"a key of another shape", "checkout", "ä", `{"customer":"acme","plan":"pro"}`, 400, "header.Idempotency-Key"},
		{"a key too long", "checkout", strings.Repeat("x", 256), `{"customer":"acme","plan":"pro"}`, 400, "header.Idempotency-Key"},
		{"no plan", "checkout", "", `{"customer":"acme"}`, 400, "plan"},
		{"an interval that isn't", "checkout", "", `{"customer":"acme","plan":"pro","interval":"week"}`, 400, "body.interval"},
		{"a quantity below one", "checkout", "", `{"customer":"acme","plan":"pro","quantity":-1}`, 400, "body.quantity"},
		{"nobody", "portal", "", `{}`, 400, "name the customer"},
		{"an unknown customer", "portal", "", `{"customer":"nobody"}`, 404, "no such customer"},
		{"the portal", "portal", "", `{"customer":"acme"}`, 200, `"url":"https://billing.stripe.com/`},
		{"cancel without a subscription", "cancel", "", `{"customer":"acme"}`, 409, "no subscription"},
		{"reactivate without one", "reactivate", "", `{"customer":"acme"}`, 409, "no subscription"},
		{"change without one", "change", "", `{"customer":"acme","plan":"teams"}`, 409, "no subscription"},
	} {
		t.Run(test.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, web.URL+"/v1/billing/"+test.path, strings.NewReader(test.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer operators-key")
			req.Header.Set("Content-Type", "application/json")
			if test.retry != "" {
				req.Header.Set("Idempotency-Key", test.retry)
			}
			resp, err := web.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != test.status || !strings.Contains(string(body), test.want) || !json.Valid(body) {
				t.Errorf("%d %s, want %d with %s", resp.StatusCode, body, test.status, test.want)
			}
		})
	}
	first, second := b.sent(http.MethodPost, "/v1/checkout/sessions")[0], b.sent(http.MethodPost, "/v1/checkout/sessions")[1]
	if first.Key != second.Key || first.Form.Get("line_items[0][quantity]") != "1" || first.Form.Get("line_items[0][price]") != b.prices["pro_monthly"] {
		t.Errorf("sent %v and %v", first, second)
	}
}
