package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v85/webhook"

	"github.com/kgents/kgents/billing"
	"github.com/kgents/kgents/billing/stripetest"
	"github.com/kgents/kgents/config"
	"github.com/kgents/kgents/plan"
)

// post sends JSON.
func (p *program) post(path, body string) answer {
	p.t.Helper()
	req := p.request(http.MethodPost, path, body)
	req.Header.Set("Content-Type", "application/json")
	return p.send(req)
}

// signed sends a webhook of Stripe's.
func (p *program) signed(body string) {
	p.t.Helper()
	signed := webhook.GenerateTestSignedPayload(&webhook.UnsignedPayload{Payload: []byte(body), Secret: webhookSecret})
	req := p.request(http.MethodPost, "/webhooks/stripe", body)
	req.Header.Del("Authorization")
	req.Header.Set("Stripe-Signature", signed.Header)
	if a := p.send(req); a.status != http.StatusOK {
		p.t.Fatalf("the webhook is answered with %d %s", a.status, a.body)
	}
}

// From a customer to its overage at Stripe, in one process: a checkout gives it a Stripe
// customer, what Stripe then tells gives it a plan, and what it uses past that is
// reported.
func TestBilling(t *testing.T) {
	t.Parallel()
	stripe := stripetest.New(t)
	client := billing.NewClient(billing.ClientConfig{Key: stripetest.Key, Base: stripe.URL})
	defer client.Close()
	made, err := billing.Setup(t.Context(), client, plan.Default(), true)
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, config.RoleUp, settings(t, config.RoleUp, map[string]string{
		"STRIPE_API_KEY": stripetest.Key, "STRIPE_API_BASE": stripe.URL, "STRIPE_PRICE_PRO_MONTHLY": made.Prices["pro_monthly"],
		"BILLING_RETURN_URL": "https://app.example.com/billing",
	}))
	p.ready()
	eventually(t, "the customers are read", func() bool {
		a := p.post("/v1/customers", `{"id":"acme","name":"Acme"}`)
		return a.status == http.StatusCreated || a.status == http.StatusConflict
	})
	var page struct{ URL, Session string }
	a := p.post("/v1/billing/checkout", `{"customer":"acme","plan":"pro"}`)
	if err := json.Unmarshal([]byte(a.body), &page); err != nil || a.status != http.StatusOK || !strings.HasPrefix(page.URL, "https://checkout.stripe.com/") {
		t.Fatalf("checkout answers %d %s", a.status, a.body)
	}
	cus := stripe.Objects("customers")[0]["id"].(string)
	if got := p.get("/v1/customers/acme"); !strings.Contains(got.body, cus) {
		t.Errorf("the customer has not got Stripe's id %s: %s", cus, got.body)
	}

	now := time.Now().UTC()
	begin := now.Add(-24 * time.Hour).Truncate(time.Second)
	p.signed(fmt.Sprintf(`{"id":"evt_1","object":"event","type":"customer.subscription.created","created":%d,"data":{"object":{
		"id":"sub_1","object":"subscription","customer":%q,"status":"active","metadata":{"customer":"acme"},"items":{"data":[
		{"quantity":1,"current_period_start":%[3]d,"current_period_end":%[4]d,"price":{"id":%[5]q,"lookup_key":"pro_monthly","recurring":{"usage_type":"licensed"}}},
		{"current_period_start":%[3]d,"current_period_end":%[4]d,"price":{"id":%[6]q,"lookup_key":"pro_tokens_overage_monthly","recurring":{"usage_type":"metered"}}}]}}}}`,
		now.Unix(), cus, begin.Unix(), begin.AddDate(0, 1, 0).Unix(), made.Prices["pro_monthly"], made.Prices["pro_tokens_overage_monthly"]))
	eventually(t, "the customer has the plan", func() bool { return strings.Contains(p.get("/v1/customers/acme").body, `"plan":"pro"`) })
	use := func(id string, tokens int) {
		req := p.request(http.MethodPost, "/api/v1/events", fmt.Sprintf(
			`{"specversion":"1.0","id":%q,"source":"agent","type":"agent.tokens","subject":"acme","data":{"tokens":%d}}`, id, tokens))
		if a := p.send(req); a.status/100 != 2 {
			t.Fatalf("ingest answers %d %s", a.status, a.body)
		}
	}
	use("1", 500_000)
	use("2", 1_234)
	eventually(t, "overage is at Stripe", func() bool {
		if _, err := p.ReportOverage(t.Context()); err != nil {
			t.Fatal(err)
		}
		return stripe.Sum("kgents_tokens", cus, begin, now.AddDate(0, 2, 0)) == 1_234
	})
	if a := p.get("/v1/invoice?customer=acme"); !strings.Contains(a.body, `"quantity":1234`) {
		t.Errorf("the preview of the invoice has not what was reported: %d %s", a.status, a.body)
	}
	if strings.Contains(p.log.String(), stripetest.Key) {
		t.Error("the log has Stripe's key")
	}
	if m := p.get("/metrics"); !strings.Contains(m.body, `kgents_overage_reported_units_total{feature="tokens"} 1234`) ||
		!strings.Contains(m.body, `kgents_stripe_requests_total{code="ok",operation="create_checkout"} 1`) {
		t.Errorf("metrics lack what was done:\n%s", m.body)
	}
}

// Without a key the routes are there and say what to set.
func TestBillingWithoutAKey(t *testing.T) {
	t.Parallel()
	p := start(t, config.RoleUp, settings(t, config.RoleUp, nil))
	for _, route := range []string{"checkout", "portal", "cancel", "reactivate", "change"} {
		body := `{"customer":"acme"}`
		switch route {
		case "checkout", "change":
			body = `{"customer":"acme","plan":"pro"}`
		}
		if a := p.post("/v1/billing/"+route, body); a.status != http.StatusInternalServerError || !strings.Contains(a.body, "STRIPE_API_KEY") {
			t.Errorf("%s answers %d %s", route, a.status, a.body)
		}
	}
}
