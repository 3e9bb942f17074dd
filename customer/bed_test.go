package customer_test

import (
	"bytes"
	"context"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/customer"
	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/stream/streamtest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server/ats.Register.func1"))
}

// journal is a log that is read while it is written.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

// bed is a real server that can be stopped and started again, with its port and its
// directory.
type bed struct {
	t    *testing.T
	port int
	dir  string
	srv  *server.Server
	log  *journal
}

// newBed starts a server, and checks at the end that no log shows a secret of a key.
func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{t: t, port: -1, dir: t.TempDir(), log: &journal{}}
	b.start()
	t.Cleanup(func() { b.stop() })
	return b
}

func (b *bed) start() {
	b.t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: b.port, JetStream: true, StoreDir: b.dir, NoSigs: true, NoLog: true})
	if err != nil {
		b.t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(30 * time.Second) {
		b.t.Fatal("the NATS server does not start")
	}
	b.srv, b.port = s, s.Addr().(*net.TCPAddr).Port
}

func (b *bed) stop() {
	if b.srv != nil {
		b.srv.Shutdown()
		b.srv.WaitForShutdown()
		b.srv = nil
	}
}

// js is a connection of its own.
func (b *bed) js() jetstream.JetStream {
	b.t.Helper()
	log := slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	addr := net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: b.port}
	nc, err := stream.Connect(stream.Remote{Servers: []string{"nats://" + addr.String()}}, "test", log)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		b.t.Fatal(err)
	}
	return js
}

// catalog has the plans that tests speak of.
func catalog() *kgents.Catalog {
	return &kgents.Catalog{Currency: "usd", Default: "free", Plans: []kgents.Plan{
		{ID: "free", Name: "Free"},
		{ID: "pro", Name: "Pro", Prices: []kgents.Price{{Interval: "month", Amount: 1900, LookupKey: "pro_monthly", Stripe: "price_pro"}}},
	}}
}

// open opens a store on a connection of its own, without waiting for it.
func (b *bed) open() *customer.Store {
	b.t.Helper()
	s := customer.Open(customer.Config{
		JetStream: b.js(), Stream: stream.Config{Name: "events", Replicas: 1}, Catalog: catalog,
		Log:        slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Registerer: prometheus.NewRegistry(),
	})
	b.t.Cleanup(s.Close)
	return s
}

// store is a store that has read everything.
func (b *bed) store() *customer.Store {
	b.t.Helper()
	s := b.open()
	ctx, cancel := context.WithTimeout(b.t.Context(), 20*time.Second)
	defer cancel()
	if err := s.Wait(ctx); err != nil {
		b.t.Fatal(err)
	}
	return s
}

func (b *bed) keepsSecret(secrets ...string) {
	b.t.Helper()
	for _, s := range secrets {
		if strings.Contains(b.log.String(), s) {
			b.t.Errorf("the log shows a secret: %s", b.log)
		}
	}
}

// eventually waits until ok, within a time.
func eventually(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for late := time.After(within); !ok(); {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%s have passed without this: %s", within, what)
		}
	}
}

// wantCode checks that err has a code, and shows none of the secrets.
func wantCode(t *testing.T, what string, err error, code kgents.Code, secrets ...string) {
	t.Helper()
	if got := kgents.ErrorCode(err); got != code {
		t.Errorf("%s: error %v has the code %q, want %q", what, err, got, code)
	}
	for _, s := range secrets {
		if err != nil && strings.Contains(err.Error(), s) {
			t.Errorf("%s: the error shows a secret: %v", what, err)
		}
	}
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// kv is the bucket itself.
func (b *bed) kv() jetstream.KeyValue {
	b.t.Helper()
	kv, err := b.js().KeyValue(b.t.Context(), "events-accounts")
	if err != nil {
		b.t.Fatal(err)
	}
	return kv
}

// entry returns, putEntry writes an entry of the bucket.
func (b *bed) entry(name string) []byte {
	b.t.Helper()
	e, err := b.kv().Get(b.t.Context(), name)
	if err != nil {
		b.t.Fatal(err)
	}
	return e.Value()
}

func (b *bed) putEntry(name string, value []byte) {
	b.t.Helper()
	if _, err := b.kv().Put(b.t.Context(), name, value); err != nil {
		b.t.Fatal(err)
	}
}

// keepsNothing checks that the server's files have none of the secrets.
func (b *bed) keepsNothing(secrets ...string) {
	b.t.Helper()
	read := 0
	err := filepath.WalkDir(b.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		read += len(content)
		for _, s := range secrets {
			if bytes.Contains(content, []byte(s)) {
				b.t.Errorf("%s has a secret", path)
			}
		}
		return err
	})
	if err != nil || read == 0 {
		b.t.Errorf("%d bytes read, %v", read, err)
	}
}

// benchStore is a store with one key.
func benchStore(b *testing.B) (*customer.Store, string) {
	b.Helper()
	js, _ := streamtest.Start(b)
	s := customer.Open(customer.Config{
		JetStream: js, Stream: stream.Config{Name: "events", Replicas: 1}, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	b.Cleanup(s.Close)
	if err := s.Wait(b.Context()); err != nil {
		b.Fatal(err)
	}
	if _, err := s.Create(b.Context(), customer.Customer{ID: "acme"}); err != nil {
		b.Fatal(err)
	}
	_, token, err := s.CreateKey(b.Context(), customer.Key{Customer: "acme", Scopes: []kgents.Scope{kgents.ScopeIngest}})
	if err != nil {
		b.Fatal(err)
	}
	return s, token
}

// revision is that of an entry, 0 if there is none.
func (b *bed) revision(name string) uint64 {
	b.t.Helper()
	e, err := b.kv().Get(b.t.Context(), name)
	if err != nil {
		return 0
	}
	return e.Revision()
}
