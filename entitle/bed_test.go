package entitle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/consume"
	"github.com/kgents/kgents/consume/deadletter"
	"github.com/kgents/kgents/meter"
	"github.com/kgents/kgents/meter/local"
	"github.com/kgents/kgents/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const flushInterval = time.Second // the default of FLUSH_INTERVAL

var quiet = slog.New(slog.DiscardHandler)

// bed is a real NATS server with its streams, the embedded meter behind HTTP, and a
// sink between them.
type bed struct {
	testing.TB
	connect func() jetstream.JetStream // a connection of its own
	config  stream.Config
	js      jetstream.JetStream
	streams stream.Streams
	store   *local.Store
	meter   *meter.Client
	away    atomic.Bool // the meter answers 503
	people  *people
}

// newBed has no sink yet.
func newBed(t testing.TB) *bed {
	t.Helper()
	server, err := stream.StartEmbedded(t.TempDir(), quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	return newBedOn(t, func() jetstream.JetStream {
		nc, err := server.Connect("test", quiet)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		return js
	})
}

// newBedOn is newBed with a server that connect leads to.
func newBedOn(t testing.TB, connect func() jetstream.JetStream) *bed {
	t.Helper()
	b := &bed{TB: t, connect: connect, config: stream.Config{Name: "events", Replicas: 1}, people: newPeople()}
	b.js = b.connect()
	var err error
	if b.streams, err = stream.Ensure(t.Context(), b.js, b.config); err != nil {
		t.Fatal(err)
	}
	b.store, err = local.Open(t.Context(), local.Config{
		Path: filepath.Join(t.TempDir(), "meter.db"), Log: quiet, Registerer: prometheus.NewRegistry(),
		Meters: []meter.Meter{
			{Slug: "agent_tokens", EventType: "agent.tokens", Aggregation: meter.Sum, ValueProperty: "$.tokens"},
			{Slug: "api_requests", EventType: "api.request", Aggregation: meter.Count},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.store.Close() })
	h := b.store.Handler()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if b.away.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(web.Close)
	if b.meter, err = meter.NewClient(web.URL, "key"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.meter.Close)
	return b
}

// sink runs one until stop is called or the test ends.
func (b *bed) sink() (stop func()) {
	b.Helper()
	js := b.connect()
	s := consume.New(consume.Config{
		Open: b.streams.Consumer, Meter: b.meter, Dead: deadletter.NewStore(js, b.config),
		BatchSize: 1000, FlushInterval: flushInterval, Log: quiet, Registerer: prometheus.NewRegistry(),
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx, 100*time.Millisecond) }()
	stop = func() { cancel(); <-done }
	b.Cleanup(stop)
	return stop
}

// engine runs one with a connection of its own.
func (b *bed) engine(change func(*Config)) *Engine {
	b.Helper()
	c := b.settings()
	if change != nil {
		change(&c)
	}
	e := newEngine(c)
	e.lull = soon // else a test would take as long
	e.start()
	b.Cleanup(e.Close)
	return e
}

func (b *bed) settings() Config {
	return Config{
		Accounts: b.people, Catalog: b.people.Catalog, Meter: b.meter, JetStream: b.connect(), Stream: b.config,
		Log: quiet, Registerer: prometheus.NewRegistry(),
	}
}

var ids atomic.Int64

// encodeWhole is the body of the message of events.
func encodeWhole(t *testing.T, events ...kgents.Event) []byte {
	t.Helper()
	msg := encode(events...)
	body, err := stream.Body(msg.Header, msg.Data)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// tokens is a usage event of now.
func tokens(customer string, n int64) kgents.Event { return tokensAt(customer, n, time.Now()) }

func tokensAt(customer string, n int64, at time.Time) kgents.Event {
	return event("agent.tokens", customer, fmt.Sprintf(`{"tokens":%d,"agent":"alice"}`, n), at)
}

func event(typ, customer, data string, at time.Time) kgents.Event {
	id := fmt.Sprint("e", ids.Add(1))
	raw := fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"test","type":%q,"subject":%q,"time":%q,"data":%s}`,
		id, typ, customer, at.UTC().Format(time.RFC3339Nano), data)
	return kgents.Event{ID: id, Source: "test", Type: typ, Subject: customer, Time: at, Raw: []byte(raw)}
}

// encode is the message of one request.
func encode(events ...kgents.Event) *nats.Msg { return stream.Encode(events, time.Now()) }

// publish makes events durable in one message.
func (b *bed) publish(js jetstream.JetStream, events ...kgents.Event) {
	b.Helper()
	if _, err := js.PublishMsg(b.Context(), encode(events...)); err != nil {
		b.Error(err)
	}
}

// listening is a server on a port that can be stopped and started again. Its
// connection comes back by itself.
type listening struct {
	testing.TB
	dir string
	srv *server.Server
	at  *net.TCPAddr
	js  jetstream.JetStream
}

func listen(t testing.TB) *listening {
	t.Helper()
	l := &listening{TB: t, dir: t.TempDir()}
	l.start(-1)
	t.Cleanup(func() { l.stop() })
	nc, err := stream.Connect(stream.Remote{Servers: []string{l.srv.ClientURL()}}, "test", quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if l.js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *listening) start(port int) {
	l.Helper()
	var err error
	l.srv, err = server.NewServer(&server.Options{Host: "127.0.0.1", Port: port, NoLog: true, NoSigs: true, JetStream: true, StoreDir: l.dir, SyncAlways: true})
	if err != nil {
		l.Fatal(err)
	}
	l.srv.Start()
	if !l.srv.ReadyForConnections(20 * time.Second) {
		l.Fatal("no server")
	}
	l.at = l.srv.Addr().(*net.TCPAddr)
}

func (l *listening) stop() {
	l.srv.Shutdown()
	l.srv.WaitForShutdown()
}

func (l *listening) again() {
	l.Helper()
	l.start(l.at.Port)
}

// counted is what the meter says.
func (b *bed) counted(customer string) int64 {
	b.Helper()
	r, err := b.meter.Query(b.Context(), meter.Query{Meter: "agent_tokens", Subjects: []string{customer}})
	if err != nil {
		b.Fatal(err)
	}
	sum := int64(0)
	for _, row := range r.Data {
		sum += int64(row.Value)
	}
	return sum
}

// eventually waits until what holds.
func (b *bed) eventually(what string, holds func() bool) {
	b.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatalf("after 20 s still not: %s", what)
		}
	}
}

func (b *bed) answer(e *Engine, customer, feature string) Answer {
	b.Helper()
	a, err := e.Check(customer, feature, 0, nil)
	if err != nil {
		b.Fatal(err)
	}
	return a
}

// says waits until e says that customer has used n tokens, and is sure of it.
func (b *bed) says(e *Engine, customer string, n int64) {
	b.Helper()
	last := Answer{}
	defer func() {
		if b.Failed() {
			b.Logf("it says %+v", last)
		}
	}()
	b.eventually(fmt.Sprintf("%s has used %d", customer, n), func() bool {
		last = b.answer(e, customer, "tokens")
		return last.Used == n && !last.Stale
	})
}

// people are accounts that a test can change.
type people struct {
	mu  sync.RWMutex
	cat *kgents.Catalog
	of  map[string]Account
}

func newPeople() *people {
	month := func(n int64, over kgents.Over) kgents.Quota {
		return kgents.Quota{Limit: kgents.AtMost(n), Per: kgents.PerPeriod, Over: over}
	}
	day := func(n int64) kgents.Quota {
		return kgents.Quota{Limit: kgents.AtMost(n), Per: kgents.PerDay, Over: kgents.OverRefuse}
	}
	atOnce := func(l kgents.Limit) kgents.Quota { return kgents.Quota{Limit: l, Over: kgents.OverRefuse} }
	return &people{of: map[string]Account{}, cat: &kgents.Catalog{
		Currency: "usd", Default: "free", AlertAt: []int{50, 80, 100},
		Features: []kgents.Feature{
			{ID: "tokens", Name: "Tokens", Unit: "token", Meter: "agent_tokens"},
			{ID: "calls", Name: "Calls", Unit: "call", Meter: "api_requests"},
			{ID: "towns", Name: "Towns", Unit: "town"},
			{ID: "members", Name: "Members", Unit: "member"},
		},
		Plans: []kgents.Plan{
			{ID: "free", Name: "Free", Rate: kgents.Rate{PerMinute: kgents.AtMost(60), Burst: 10}, Quotas: map[string]kgents.Quota{
				"tokens": month(1000, kgents.OverRefuse), "calls": day(100), "towns": atOnce(kgents.AtMost(1)),
			}},
			{ID: "pro", Name: "Pro", Rate: kgents.Rate{PerMinute: kgents.AtMost(1000), Burst: 200},
				Prices: []kgents.Price{{Interval: "month", Amount: 1900, LookupKey: "pro_monthly"}, {Interval: "year", Amount: 19000, LookupKey: "pro_yearly"}},
				Quotas: map[string]kgents.Quota{
					"tokens": month(5000, kgents.OverRefuse), "calls": day(10_000), "towns": atOnce(kgents.AtMost(5)), "members": atOnce(kgents.AtMost(1)),
				}},
			{ID: "teams", Name: "Teams", Rate: kgents.Rate{PerMinute: kgents.NoLimit(), Burst: 1}, Prices: []kgents.Price{{Interval: "month", Amount: 9900, LookupKey: "teams_monthly"}},
				Quotas: map[string]kgents.Quota{
					"tokens": month(20_000, kgents.OverBill), "calls": day(100_000), "towns": atOnce(kgents.NoLimit()), "members": atOnce(kgents.AtMost(10)),
				}},
		},
	}}
}

func (p *people) Catalog() *kgents.Catalog {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.cat
}

func (p *people) Account(id string) (Account, bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	a, ok := p.of[id]
	return a, ok
}

func (p *people) Each(f func(Account)) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	for _, a := range p.of {
		f(a)
	}
}

// put has customer on plan, in the calendar month.
func (p *people) put(customer, plan string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.of[customer]
	a.ID = customer
	a.Plan, _ = p.cat.Plan(plan)
	p.of[customer] = a
}

// period sets the period of the subscription.
func (p *people) period(customer string, from, to time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.of[customer]
	a.PeriodStart, a.PeriodEnd = from, to
	p.of[customer] = a
}

func (p *people) limit(plan string, tokens int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, pl := range p.cat.Plans {
		if pl.ID == plan {
			q := pl.Quotas["tokens"]
			q.Limit = kgents.AtMost(tokens)
			pl.Quotas["tokens"] = q
		}
	}
}

func problemOf(err error) *kgents.Error {
	e, _ := errors.AsType[*kgents.Error](err)
	return e
}
