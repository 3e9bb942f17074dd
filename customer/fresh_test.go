package customer_test

import (
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/customer"
	"github.com/kgents/kgents/stream"
)

// threeServers starts a cluster, and returns a store on each server, of a bucket with
// three copies.
func threeServers(t *testing.T) (stores []*customer.Store) {
	t.Helper()
	var ports []int
	var routes []*url.URL
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
		routes = append(routes, &url.URL{Scheme: "nats-route", Host: l.Addr().String()})
		l.Close()
	}
	var servers []*server.Server
	for i, port := range ports {
		s, err := server.NewServer(&server.Options{
			ServerName: fmt.Sprint("s", i), Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
			Cluster: server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: port}, Routes: routes,
		})
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		servers = append(servers, s)
	}
	for i, s := range servers {
		if !s.ReadyForConnections(30 * time.Second) {
			t.Fatalf("server %d does not start", i)
		}
		nc, err := stream.Connect(stream.Remote{Servers: []string{s.ClientURL()}}, "test", slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		store := customer.Open(customer.Config{
			JetStream: js, Stream: stream.Config{Name: "events", Replicas: 3}, Catalog: catalog,
			Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
		})
		t.Cleanup(store.Close)
		if err := store.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		stores = append(stores, store)
	}
	return stores
}

// What one replica has made, the next knows: who gets a 201 here doesn't get a 404 there,
// whichever of three servers each of them asks.
func TestMadeHereKnownThere(t *testing.T) {
	stores := threeServers(t)
	ctx := t.Context()
	for n := range 60 {
		id := fmt.Sprint("acme", n)
		here, there := stores[n%3], stores[(n+1+n/3%2)%3]
		must[customer.Customer](t)(here.Create(ctx, customer.Customer{ID: id}))
		if n%2 == 0 {
			if !there.Known(ctx, id) {
				t.Errorf("customer %d is not known at another replica", n)
			}
			continue
		}
		if _, _, err := there.CreateKey(ctx, customer.Key{Customer: id, Scopes: []kgents.Scope{kgents.ScopeRead}}); err != nil {
			t.Errorf("customer %d gets no key at another replica: %v", n, err)
		}
	}
	if stores[0].Known(ctx, "nobody") || stores[0].Known(ctx, "not an id") {
		t.Error("a customer is known whom nobody has made")
	}
}

// A replica that is behind waits for what has been written before it says no.
func TestKnownWaitsForTheWatch(t *testing.T) {
	b := newBed(t)
	here, there := b.store(), b.store()
	held, let := make(chan struct{}), make(chan struct{})
	there.Watch(func(c customer.Customer) {
		if c.ID == "first" {
			close(held)
			<-let
		}
	})
	must[customer.Customer](t)(here.Create(t.Context(), customer.Customer{ID: "first"}))
	<-held
	must[customer.Customer](t)(here.Create(t.Context(), customer.Customer{ID: "second"}))
	if _, ok := there.Get("second"); ok {
		t.Fatal("the replica isn't behind: this tests nothing")
	}
	time.AfterFunc(50*time.Millisecond, func() { close(let) })
	if !there.Known(t.Context(), "second") {
		t.Error("a customer that another replica has made is not known")
	}
}
