package billing_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/billing"
	"github.com/kgents/kgents/billing/stripetest"
	"github.com/kgents/kgents/plan"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// customers are in memory.
type customers struct {
	mu  sync.Mutex
	all map[string]billing.Customer
}

func (c *customers) Billing(_ context.Context, id string) (billing.Customer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if one, ok := c.all[id]; ok {
		return one, nil
	}
	return billing.Customer{}, kgents.Errorf(kgents.CodeNotFound, "there is no such customer")
}

func (c *customers) SetStripe(_ context.Context, id, stripeID string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	one := c.all[id]
	if one.Stripe != "" && one.Stripe != stripeID {
		return kgents.Errorf(kgents.CodeConflict, "another")
	}
	one.Stripe = stripeID
	c.all[id] = one
	return nil
}

// bed is a Service before a Stripe that has what setup makes.
type bed struct {
	*billing.Service
	stripe    *stripetest.Server
	client    *billing.Client
	customers *customers
	catalog   *kgents.Catalog
	prices    map[string]string // Stripe's ids by lookup key
	links     *billing.Links
	now       time.Time // of links

	subscription stripetest.Object // acme's
}

func newClient(t *testing.T, key, base string) *billing.Client {
	t.Helper()
	c := billing.NewClient(billing.ClientConfig{Key: key, Base: base, Registerer: prometheus.NewRegistry()})
	t.Cleanup(c.Close)
	return c
}

func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{stripe: stripetest.New(t), catalog: plan.Default(), customers: &customers{all: map[string]billing.Customer{
		"acme": {ID: "acme", Name: "Acme"}, "other": {ID: "other"},
	}}}
	b.client = newClient(t, stripetest.Key, b.stripe.URL)
	made, err := billing.Setup(t.Context(), b.client, b.catalog, true)
	if err != nil {
		t.Fatal(err)
	}
	b.prices = made.Prices
	b.now = time.Date(2026, 11, 24, 12, 30, 0, 0, time.UTC)
	catalog := func() *kgents.Catalog { return b.catalog }
	b.links = billing.NewLinks(billing.LinksConfig{Key: stripetest.Key, ReturnURL: "https://app.example.com/billing", Catalog: catalog}).At(func() time.Time { return b.now })
	b.Service = billing.New(billing.Config{
		Links:  b.links,
		Client: b.client, Catalog: catalog, Customers: b.customers,
		ReturnURL: "https://app.example.com/billing?tab=1", Origins: []string{"https://admin.example.com", "*"}, Log: slog.New(slog.DiscardHandler),
	})
	return b
}

// subscribe makes acme a subscriber of prices, with the first as the plan's.
func (b *bed) subscribe(status string, prices ...string) {
	b.customers.all["acme"] = billing.Customer{ID: "acme", Name: "Acme", Stripe: "cus_acme"}
	var items []stripetest.Object
	for i, key := range prices {
		for _, p := range b.stripe.Objects("prices") {
			if p["lookup_key"] == key {
				items = append(items, stripetest.Object{"id": "si_" + string(rune('a'+i)), "object": "subscription_item", "price": p, "quantity": 1, "current_period_end": time.Date(2026, 12, 24, 0, 0, 0, 0, time.UTC).Unix()})
			}
		}
	}
	b.subscription = stripetest.Object{
		"id": "sub_acme", "object": "subscription", "customer": "cus_acme", "status": status, "created": 1, "cancel_at_period_end": false,
		"items": stripetest.Object{"object": "list", "data": items},
	}
	b.stripe.Add("subscriptions", b.subscription)
}

// sent are the requests to a path by a method.
func (b *bed) sent(method, path string) (out []stripetest.Request) {
	for _, r := range b.stripe.Requests() {
		if r.Method == method && r.Path == path {
			out = append(out, r)
		}
	}
	return out
}

func operator() kgents.Principal {
	return kgents.Principal{Key: "API_KEYS 1", Scopes: kgents.Scopes()}
}

func keyOf(customer string) kgents.Principal {
	return kgents.Principal{Key: "kg_1", Customer: customer, Scopes: kgents.Scopes()}
}

func wantCode(t *testing.T, err error, code kgents.Code) {
	t.Helper()
	if got := kgents.ErrorCode(err); got != code {
		t.Errorf("code %q (%v), want %q", got, err, code)
	}
}

// on makes requests to one path of Stripe's fail.
func on(method, path string, f stripetest.Fault) func(stripetest.Request) *stripetest.Fault {
	return func(r stripetest.Request) *stripetest.Fault {
		if r.Method == method && r.Path == path {
			return &f
		}
		return nil
	}
}

func newCatalog() *kgents.Catalog { return plan.Default() }
