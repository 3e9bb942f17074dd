package app

import (
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/customer"
	"github.com/kgents/kgents/plan"
	"github.com/kgents/kgents/stream"
)

// customersOf are customers in a server of their own, which close with the test.
func customersOf(t *testing.T) (*customer.Store, jetstream.KeyValue) {
	t.Helper()
	js, err := jetstream.New(connected(t))
	if err != nil {
		t.Fatal(err)
	}
	s := customer.Open(customer.Config{
		JetStream: js, Stream: stream.Config{Name: "kgent-events", Replicas: 1}, Catalog: plan.Default,
		Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	t.Cleanup(s.Close)
	if err := s.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), "kgent-events-accounts")
	if err != nil {
		t.Fatal(err)
	}
	return s, kv
}

// Of two customers that say they have one Stripe customer, as a crash leaves them, the
// second sees nothing of it and reports nothing to it.
func TestSharedStripeCustomer(t *testing.T) {
	s, kv := customersOf(t)
	for name, value := range map[string]string{
		"customer.first": `{"created":"2026-01-01T00:00:00Z","stripe":"cus_1"}`, "customer.second": `{"created":"2026-01-01T00:00:00Z","stripe":"cus_1"}`,
		"stripe.cus_1": "first",
	} {
		if _, err := kv.PutString(t.Context(), name, value); err != nil {
			t.Fatal(err)
		}
	}
	p := payers{s, plan.Default}
	for deadline := time.Now().Add(20 * time.Second); ; <-time.After(time.Millisecond) {
		_, first := s.Get("first")
		_, second := s.Get("second")
		if c, ok := s.ByStripe("cus_1"); first && second && ok && c.ID == "first" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the customers don't come")
		}
	}
	if c, err := p.Billing(t.Context(), "first"); err != nil || c.Stripe != "cus_1" || c.Since.IsZero() {
		t.Errorf("the first is %+v (%v)", c, err)
	}
	if c, err := p.Billing(t.Context(), "second"); kgents.ErrorCode(err) != kgents.CodeConflict || c.Stripe != "" {
		t.Errorf("the second is %+v (%v)", c, err)
	}
}

// A stream is open for as long as its key is good; towns know since when a customer is.
func TestKeysOfStreams(t *testing.T) {
	s, _ := customersOf(t)
	a := &App{customers: s}
	c, err := s.Create(t.Context(), customer.Customer{ID: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	if since, there, sure := (owners{s}).Since("acme"); !since.Equal(c.Created) || !there || !sure {
		t.Errorf("acme is since %v, there %v, sure %v", since, there, sure)
	}
	if _, there, sure := (owners{s}).Since("other"); there || !sure {
		t.Errorf("nobody is there %v, sure %v", there, sure)
	}
	key, _, err := s.CreateKey(t.Context(), customer.Key{Customer: "acme", Scopes: []kgents.Scope{kgents.ScopeRead}})
	if err != nil {
		t.Fatal(err)
	}
	with := kgents.Principal{Key: key.Prefix, Customer: "acme"}
	if !a.good(with) || !a.good(kgents.Principal{Key: "API_KEYS 1"}) {
		t.Error("a good key is good no more")
	}
	if a.good(kgents.Principal{Key: key.Prefix, Customer: "other"}) {
		t.Error("a key is good for another")
	}
	if err := s.RevokeKey(t.Context(), key.Prefix, 0); err != nil {
		t.Fatal(err)
	}
	if a.good(with) {
		t.Error("a revoked key is good")
	}
}
