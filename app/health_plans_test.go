package app

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents/customer"
	"github.com/kgents/kgents/customer/follow"
	"github.com/kgents/kgents/entitle"
	"github.com/kgents/kgents/meter"
	"github.com/kgents/kgents/plan"
	"github.com/kgents/kgents/stream"
)

// What plans rest on says so when it is away, and makes the whole degraded: events are
// taken all the same.
func TestHealthOfPlans(t *testing.T) {
	nc := connected(t)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	named := stream.Config{Name: "kgent-events", Replicas: 1}
	if _, err := stream.Ensure(t.Context(), js, named); err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	customers := customer.Open(customer.Config{JetStream: js, Stream: named, Catalog: plan.Default, Log: quiet, Registerer: prometheus.NewRegistry()})
	defer customers.Close()
	client, err := meter.NewClient("http://127.0.0.1:1", "")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	book, err := plan.Open(plan.Config{Log: quiet, Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	defer book.Close()
	engine := entitle.New(entitle.Config{
		Accounts: newAccounts(customers, book), Catalog: book.Current, Meter: client, JetStream: js, Stream: named, Log: quiet, Registerer: prometheus.NewRegistry(),
	})
	defer engine.Close()
	follower := follow.New(follow.Config{
		Open: func(context.Context) (jetstream.Stream, jetstream.Consumer, error) {
			return nil, nil, errors.New("away")
		},
		Log: quiet, Registerer: prometheus.NewRegistry(),
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); follower.Run(ctx) }()
	defer func() { cancel(); <-done }()

	began := time.Now()
	w := &watch{app: &App{began: began, customers: customers, follower: follower, entitle: engine}}
	wait := func(now time.Time, want map[string]string) saas {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); ; <-time.After(time.Millisecond) {
			s := w.saas(now)
			got := map[string]string{"all": s.Status, "customers": s.Customers.Status, "subscriptions": s.Subscriptions.Status, "entitlements": s.Entitlements.Status}
			d := cmp.Diff(want, got)
			if d == "" {
				return s
			}
			if time.Now().After(deadline) {
				t.Fatalf("(-want +got):\n%s", d)
			}
		}
	}
	wait(began, map[string]string{"all": "ok", "customers": "healthy", "subscriptions": "starting", "entitlements": "starting"})
	later := began.Add(startsWithin)
	wait(later, map[string]string{"all": "degraded", "customers": "healthy", "subscriptions": "degraded", "entitlements": "degraded"})
	nc.Close()
	wait(later, map[string]string{"all": "degraded", "customers": "degraded", "subscriptions": "degraded", "entitlements": "degraded"})
	if n := len(w.health(later).Components); n != 6 {
		t.Errorf("/health has %d components", n)
	}
}
