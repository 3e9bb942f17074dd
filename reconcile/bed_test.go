package reconcile_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/consume"
	"github.com/kgents/kgents/consume/deadletter"
	"github.com/kgents/kgents/meter"
	"github.com/kgents/kgents/meter/local"
	"github.com/kgents/kgents/reconcile"
	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/stream/streamtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// forgetful is the embedded meter behind a door that answers 204 and forgets some
// events the first time that it sees them, as OpenMeter does when it dies before
// its producer has flushed.
type forgetful struct {
	meter http.Handler

	mu      sync.Mutex
	forget  func(id string) bool // asked once an event; nil forgets nothing
	rewrite func(e map[string]any)
	refuse  map[string]bool // ids answered with 400
	seen    map[string]bool
	lost    map[string]bool
	sent    map[string]int // how often each id came
	away    int            // so many lists are answered 503
	lists   int
}

func (f *forgetful) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.Method != http.MethodPost {
		f.lists++
		if f.away > 0 {
			f.away--
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		f.meter.ServeHTTP(w, r)
		return
	}
	var events, kept []map[string]any
	body, _ := io.ReadAll(r.Body)
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	if err := decoder.Decode(&events); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	for _, e := range events {
		if f.refuse[e["id"].(string)] {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
	}
	for _, e := range events {
		id := e["id"].(string)
		f.sent[id]++
		if f.forget != nil && !f.seen[id] {
			f.seen[id] = true
			if f.forget(id) {
				f.lost[id] = true
				continue
			}
		}
		if f.rewrite != nil {
			f.rewrite(e)
		}
		kept = append(kept, e)
	}
	if len(kept) == 0 {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	body, _ = json.Marshal(kept)
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	f.meter.ServeHTTP(w, r)
}

// bed is a real server with its streams, a sink, and a meter that forgets.
type bed struct {
	*testing.T
	js      jetstream.JetStream
	config  stream.Config
	streams stream.Streams
	door    *forgetful
	client  *meter.Client
	stored  *local.Store
	now     time.Time
}

func newBed(t *testing.T) *bed {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	b := &bed{T: t, config: stream.Config{Name: "events", Replicas: 1}, now: time.Now().UTC().Truncate(time.Second)}
	b.js, _ = streamtest.Start(t)
	var err error
	if b.streams, err = stream.Ensure(t.Context(), b.js, b.config); err != nil {
		t.Fatal(err)
	}
	if _, err := b.streams.Consumer(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.stored, err = local.Open(t.Context(), local.Config{
		Path: filepath.Join(t.TempDir(), "meter.db"), Meters: local.DefaultMeters(), Log: log, Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.stored.Close() })
	b.door = &forgetful{
		meter: b.stored.Handler(), seen: map[string]bool{}, lost: map[string]bool{}, sent: map[string]int{}, refuse: map[string]bool{},
	}
	web := httptest.NewServer(b.door)
	t.Cleanup(web.Close)
	if b.client, err = meter.NewClient(web.URL, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.client.Close)
	return b
}

// event makes one that was, in the eyes of its client, ago before now.
func (b *bed) event(id, typ, customer string, ago time.Duration, data string) kgents.Event {
	at := b.now.Add(-ago)
	return kgents.Event{Source: "test", ID: id, Type: typ, Subject: customer, Time: at, Raw: fmt.Appendf(nil,
		`{"specversion":"1.0","source":"test","id":%q,"type":%q,"subject":%q,"time":%q,"data":%s}`,
		id, typ, customer, at.Format(time.RFC3339Nano), data)}
}

// publish stores events as one message.
func (b *bed) publish(events ...kgents.Event) {
	b.Helper()
	if _, err := b.js.PublishMsg(b.Context(), stream.Encode(events, time.Now())); err != nil {
		b.Fatal(err)
	}
}

// many publishes n events, numbered from first, of four customers and two types,
// in messages of 100, with times over the given span.
func (b *bed) many(first, n int, over time.Duration) {
	b.Helper()
	r := rand.New(rand.NewPCG(1, uint64(first)))
	for i := first; i < first+n; i += 100 {
		var events []kgents.Event
		for j := i; j < min(i+100, first+n); j++ {
			events = append(events, b.event(fmt.Sprintf("evt-%06d", j), []string{"agent.tokens", "api.request"}[j%2],
				fmt.Sprint("customer-", j%4), time.Duration(r.Int64N(int64(over))), fmt.Sprintf(`{"tokens":%d,"model":"m"}`, j)))
		}
		b.publish(events...)
	}
}

// deliver runs a sink until everything is acknowledged.
func (b *bed) deliver() {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{})
	sink := consume.New(consume.Config{
		Open: b.streams.Consumer, Meter: b.client, Dead: deadletter.NewStore(b.js, b.config),
		BatchSize: 500, FlushInterval: 20 * time.Millisecond,
		Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	go func() { defer close(done); sink.Run(ctx, time.Second) }()
	defer func() { cancel(); <-done }()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		events, err := b.streams.Events.Info(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		consumer, err := b.streams.Events.Consumer(b.Context(), stream.Durable)
		if err != nil {
			b.Fatal(err)
		}
		if consumer.CachedInfo().AckFloor.Stream == events.State.LastSeq {
			return
		}
		if time.Now().After(deadline) {
			b.Fatal("after 30 s some messages still wait")
		}
	}
}

// acknowledge takes the next n messages from the stream without delivering them.
func (b *bed) acknowledge(n int, ack bool) []jetstream.Msg {
	b.Helper()
	consumer, err := b.streams.Consumer(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	batch, err := consumer.Fetch(n)
	if err != nil {
		b.Fatal(err)
	}
	var out []jetstream.Msg
	for msg := range batch.Messages() {
		out = append(out, msg)
		if !ack {
			continue
		}
		if err := msg.DoubleAck(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	if len(out) != n {
		b.Fatalf("%d messages came, want %d: %v", len(out), n, batch.Error())
	}
	return out
}

// ingest puts events into the meter past the stream.
func (b *bed) ingest(events ...kgents.Event) {
	b.Helper()
	body := []byte{'['}
	for i, e := range events {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, e.Raw...)
	}
	r := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/api/v1/events", bytes.NewReader(append(body, ']')))
	r.Header.Set("Content-Type", "application/cloudevents-batch+json")
	w := httptest.NewRecorder()
	b.stored.Handler().ServeHTTP(w, r)
	if w.Code != http.StatusNoContent {
		b.Fatalf("the meter answered %d: %s", w.Code, w.Body)
	}
}

func (b *bed) reconciler() reconcile.Config {
	return reconcile.Config{JetStream: b.js, Stream: b.config, Meter: b.client, Log: slog.New(slog.DiscardHandler), Patience: 5 * time.Second}
}

// run compares the last hour.
func (b *bed) run(fix bool, change func(*reconcile.Config, *reconcile.Options)) reconcile.Report {
	b.Helper()
	c := b.reconciler()
	o := reconcile.Options{Since: time.Now().Add(-time.Hour), Until: time.Now().Add(time.Minute), Fix: fix}
	if change != nil {
		change(&c, &o)
	}
	report, err := reconcile.Run(b.Context(), c, o)
	if err != nil {
		b.Fatal(err)
	}
	return report
}

// named are the ids of the findings of a kind.
func named(r reconcile.Report, k reconcile.Kind) map[string]bool {
	out := map[string]bool{}
	for _, f := range r.Examples {
		if f.Kind == k {
			out[f.ID] = true
		}
	}
	return out
}
