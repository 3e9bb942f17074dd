package world_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v85/webhook"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/agentesetest"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/agentese/whole"
	"github.com/kgents/kgents/api/client"
	"github.com/kgents/kgents/billing"
	"github.com/kgents/kgents/billing/stripetest"
	"github.com/kgents/kgents/customer"
	"github.com/kgents/kgents/plan"
)

// shop is a program with a Stripe that has the default plans' prices.
type shop struct {
	*agentesetest.Rig
	t      testing.TB
	stripe *stripetest.Server
	prices map[string]string
}

func newShop(t testing.TB) *shop {
	t.Helper()
	s := &shop{t: t, stripe: stripetest.New(t)}
	c := billing.NewClient(billing.ClientConfig{Key: stripetest.Key, Base: s.stripe.URL})
	defer c.Close()
	made, err := billing.Setup(t.Context(), c, plan.Default(), true)
	if err != nil {
		t.Fatal(err)
	}
	s.prices = made.Prices
	s.Rig = agentesetest.Start(t, agentesetest.Options{Env: map[string]string{
		"STRIPE_API_KEY": stripetest.Key, "STRIPE_API_BASE": s.stripe.URL, "STRIPE_PRICE_PRO_MONTHLY": made.Prices["pro_monthly"], "BILLING_RETURN_URL": "https://app.example.com/billing",
	}})
	s.Session.Yes = true
	return s
}

// customer makes one, as soon as the program has read its customers.
func (s *shop) customer(id string) {
	s.t.Helper()
	s.Eventually("customer "+id+" is made", func() bool {
		err := s.Client.Do(s.t.Context(), http.MethodPost, "/v1/customers", nil, customer.NewCustomer{ID: id, Name: "The " + id}, nil)
		return err == nil || client.Status(err) == http.StatusConflict
	})
}

// tells has Stripe tell of acme's subscription to a plan's price.
func (s *shop) tells(event, typ, price, more string) {
	s.t.Helper()
	now := time.Now()
	begin := now.Add(-24 * time.Hour).Truncate(time.Second)
	body := fmt.Sprintf(`{"id":%q,"object":"event","type":%q,"created":%d,"data":{"object":{
		"id":"sub_1","object":"subscription","customer":"cus_acme","status":"active","metadata":{"customer":"acme"}%s,"items":{"data":[
		{"quantity":1,"current_period_start":%d,"current_period_end":%d,"price":{"id":%q,"lookup_key":%q,"recurring":{"usage_type":"licensed","interval":"month"}}}]}}}}`,
		event, typ, now.Unix(), more, begin.Unix(), begin.AddDate(0, 1, 0).Unix(), s.prices[price], price)
	signed := webhook.GenerateTestSignedPayload(&webhook.UnsignedPayload{Payload: []byte(body), Secret: agentesetest.WebhookSecret})
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.URL()+"/webhooks/stripe", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Stripe-Signature", signed.Header)
	resp, err := s.Client.HTTP.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		s.t.Fatalf("the webhook is answered with %d", resp.StatusCode)
	}
}

// subscribe gives acme pro, at Stripe and here.
func (s *shop) subscribe() {
	s.t.Helper()
	var item stripetest.Object
	for _, p := range s.stripe.Objects("prices") {
		if p["lookup_key"] == "pro_monthly" {
			item = stripetest.Object{"id": "si_1", "object": "subscription_item", "price": p, "quantity": 1, "current_period_end": time.Now().AddDate(0, 1, -1).Unix()}
		}
	}
	s.stripe.Add("subscriptions", stripetest.Object{
		"id": "sub_1", "object": "subscription", "customer": "cus_acme", "status": "active", "created": 1, "cancel_at_period_end": false,
		"items": stripetest.Object{"object": "list", "data": []stripetest.Object{item}},
	})
	s.tells("evt_1", "customer.subscription.created", "pro_monthly", "")
	s.Eventually("acme has pro", func() bool { return figure(s.Must("world.customers.acme.manifest"), "plan") == "pro" })
}

// use has acme use tokens.
func (s *shop) use(id, who string, tokens int) {
	s.t.Helper()
	s.SendEvent(fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"rig","type":"agent.tokens","subject":%q,"data":{"tokens":%d,"agent":"a"}}`, id, who, tokens))
}

// as is a tree whose API key is another.
func (s *shop) as(key string) *tree.Tree {
	s.t.Helper()
	own := *s.Client
	own.Key = key
	t, err := whole.Tree(&living.Sources{API: &own, HTTP: own.HTTP, StateDir: s.t.TempDir()})
	if err != nil {
		s.t.Fatal(err)
	}
	return t
}

func (s *shop) runIn(t *tree.Tree, text string) (tree.Value, error) {
	e, err := agentese.Parse(text)
	if err != nil {
		return tree.Value{}, err
	}
	return t.Run(s.t.Context(), e, s.Session)
}

// figure is the value of a figure; nil without it.
func figure(v tree.Value, name string) any {
	for _, f := range v.Fields {
		if f.Name == name {
			return f.Value
		}
	}
	return nil
}

// listed are the values of a column.
func listed(v tree.Value, name string) []any {
	if v.Table == nil {
		return nil
	}
	for i, c := range v.Table.Columns {
		if c.Name == name {
			var out []any
			for _, r := range v.Table.Rows {
				out = append(out, r[i])
			}
			return out
		}
	}
	return nil
}

// kindOf is that of an error of the language.
func kindOf(err error) agentese.Kind {
	if e, ok := errors.AsType[*agentese.Error](err); ok {
		return e.Kind
	}
	return ""
}
