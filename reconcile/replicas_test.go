package reconcile_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/kgents/kgents/meter"
	"github.com/kgents/kgents/reconcile"
)

const noResult = -1

// missing is what the gauge says.
func missing(t *testing.T, reg *prometheus.Registry) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "kgents_reconcile_missing_events" {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	return noResult
}

// until waits for what other goroutines bring about.
func (b *bed) until(what string, ok func() bool) {
	b.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(time.Minute); !ok(); {
		select {
		case <-tick.C:
		case <-late:
			b.Fatalf("a minute has passed without this: %s", what)
		}
	}
}

// Three replicas read the stream once an interval, not three times, and go on as
// long as one of them lives.
func TestReplicasShareTheSchedule(t *testing.T) {
	b := newBed(t)
	b.many(0, 10, time.Minute)
	b.deliver()
	var runs atomic.Int64 // that have come to their end
	if _, err := b.js.Conn().Subscribe("$KV.events-reconcile.result", func(*nats.Msg) { runs.Add(1) }); err != nil {
		t.Fatal(err)
	}
	const interval = 500 * time.Millisecond
	began := time.Now()
	var replicas []*reconcile.Service
	for range 3 {
		s, _ := b.service()
		s.Schedule(interval, 0)
		replicas = append(replicas, s)
	}
	for left := len(replicas); left > 0; left-- {
		enough := runs.Load() + 3
		b.until("three further runs", func() bool { return runs.Load() >= enough })
		replicas[left-1].Close() // perhaps in a run
	}
	took := time.Since(began)
	if got, most := runs.Load(), int64(took/(interval-interval/10))+1; got > most {
		t.Errorf("%d runs within %v, want %d at most", got, took, most)
	}
}

// Who is asked runs, while another replica is at the scheduled run.
func TestAskedBesideTheSchedule(t *testing.T) {
	b := newBed(t)
	b.many(0, 10, time.Minute)
	b.deliver()
	begun, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		once.Do(func() { close(begun); <-release })
		b.door.ServeHTTP(w, r)
	}))
	t.Cleanup(web.Close)
	c := b.reconciler()
	var err error
	if c.Meter, err = meter.NewClient(web.URL, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Meter.Close)
	busy := reconcile.New(c, prometheus.NewRegistry())
	t.Cleanup(busy.Close)
	t.Cleanup(sync.OnceFunc(func() { close(release) }))
	busy.Schedule(time.Second, 0)
	<-begun
	other, _ := b.service()
	if status, body := post(t, other, "since=1h&settle=0s"); status != http.StatusOK || !strings.Contains(body, `"in_meter":10`) {
		t.Errorf("another replica answers %d: %s", status, body)
	}
}

// What one replica has found is what all of them say, and a new one too.
func TestReplicasTellTheSame(t *testing.T) {
	b := newBed(t)
	b.door.forget = func(id string) bool { return id < "evt-000003" }
	b.many(0, 10, 10*time.Minute)
	b.deliver()
	one, mine := b.service()
	early, theirs := b.service()
	early.Follow()
	if got := missing(t, theirs); got != noResult {
		t.Errorf("before the first run %v events are missing, want none said", got)
	}
	if status, body := post(t, one, "since=1h&settle=0s"); status != http.StatusOK {
		t.Fatalf("%d: %s", status, body)
	}
	if got := missing(t, mine); got != 3 {
		t.Errorf("who has run says %v, want 3", got)
	}
	other, others := b.service()
	other.Follow()
	b.until("a new replica says 3", func() bool { return missing(t, others) == 3 })
	if n, err := testutil.GatherAndCount(others); n != 3 || err != nil {
		t.Errorf("it has %d metrics (%v), want 3", n, err)
	}
}

// A replica that can't learn whose turn it is runs all the same.
func TestScheduleWithoutTurns(t *testing.T) {
	b := newBed(t)
	b.door.forget = func(id string) bool { return id == "evt-000004" }
	b.many(0, 10, time.Minute)
	b.deliver()
	// The bucket's name is taken by something else.
	if _, err := b.js.CreateStream(b.Context(), jetstream.StreamConfig{
		Name: "KV_events-reconcile", Subjects: []string{"other"}, Storage: jetstream.MemoryStorage,
	}); err != nil {
		t.Fatal(err)
	}
	c := b.reconciler()
	var log bytes.Buffer
	c.Log = slog.New(slog.NewTextHandler(&log, nil))
	reg := prometheus.NewPedanticRegistry()
	s := reconcile.New(c, reg)
	t.Cleanup(s.Close)
	s.Schedule(50*time.Millisecond, 0)
	b.until("mended", func() bool {
		b.door.mu.Lock()
		defer b.door.mu.Unlock()
		return b.door.sent["evt-000004"] == 2
	})
	b.until("said", func() bool { return missing(t, reg) == 0 })
	s.Close()
	if !strings.Contains(log.String(), "whose turn") || !strings.Contains(log.String(), "events-reconcile") {
		t.Errorf("the log says: %s", &log)
	}
}
