package consume

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/consume/deadletter"
	"github.com/kgents/kgents/meter"
	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/stream/streamtest"
)

// bed is a real server with its streams.
type bed struct {
	*testing.T
	js      jetstream.JetStream
	config  stream.Config
	streams stream.Streams
}

func newBed(t *testing.T) *bed {
	t.Helper()
	js, _ := streamtest.Start(t)
	b := &bed{T: t, js: js, config: stream.Config{Name: "events", Replicas: 1}}
	var err error
	if b.streams, err = stream.Ensure(t.Context(), js, b.config); err != nil {
		t.Fatal(err)
	}
	return b
}

// publish stores n messages of the given number of events each, numbered from
// first.
func (b *bed) publish(first, n, events int) {
	b.Helper()
	for i := range n {
		var evs []kgents.Event
		for j := range events {
			evs = append(evs, raw(fmt.Sprint(first+i*events+j)))
		}
		if _, err := b.js.PublishMsg(b.Context(), stream.Encode(evs, time.Now())); err != nil {
			b.Fatal(err)
		}
	}
}

// sink runs one until stop is called or the test ends.
func (b *bed) sink(f *fakeMeter, change func(*Config)) (stop func()) {
	b.Helper()
	c := Config{
		Open: b.streams.Consumer, Meter: f, Dead: deadletter.NewStore(b.js, b.config),
		BatchSize: 100, FlushInterval: 20 * time.Millisecond,
		Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	}
	if change != nil {
		change(&c)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() { defer close(done); New(c).Run(ctx, 100*time.Millisecond) }()
	stop = func() { cancel(); <-done }
	b.Cleanup(stop)
	return stop
}

// eventually waits until what holds.
func (b *bed) eventually(what string, holds func() bool) {
	b.Helper()
	for deadline := time.Now().Add(15 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatalf("after 15 s still not: %s", what)
		}
	}
}

func (f *fakeMeter) has(n int) func() bool {
	return func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.taken) == n
	}
}

// once fails unless each of n events was taken exactly once.
func (b *bed) once(f *fakeMeter, n int) {
	b.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range n {
		if got := f.taken[fmt.Sprint(i)]; got != 1 {
			b.Errorf("event %d was metered %d times", i, got)
		}
	}
}

func (b *bed) noBacklog() bool {
	backlog, err := stream.ReadBacklog(b.Context(), b.js, b.config)
	return err == nil && backlog.Messages == 0
}

func TestRun(t *testing.T) {
	b := newBed(t)
	f := &fakeMeter{bad: map[string]int{"17": 400}}
	b.publish(0, 30, 10) // a backlog that was there before the sink
	b.sink(f, nil)
	b.eventually("299 events are metered", f.has(299))
	b.publish(300, 1, 1)
	b.eventually("300 events are metered", f.has(300))
	b.eventually("everything is acknowledged", b.noBacklog)

	dead, err := b.streams.Dead.GetLastMsgForSubject(t.Context(), b.config.DeadSubject("refused"))
	if err != nil {
		t.Fatal(err)
	}
	letter, err := deadletter.Parse(dead.Header, dead.Data)
	if err != nil {
		t.Fatal(err)
	}
	if letter.ID != "17" || letter.Status != 400 || string(letter.Event) != string(raw("17").Raw) {
		t.Errorf("dead letter %+v with %s, want event 17 byte for byte", letter, letter.Event)
	}
}

// Two sinks share the work; each event is delivered by one of them.
func TestTwoSinks(t *testing.T) {
	b := newBed(t)
	f := &fakeMeter{}
	b.sink(f, nil)
	b.sink(f, nil)
	b.publish(0, 200, 5)
	b.eventually("1000 events are metered", f.has(1000))
	b.eventually("everything is acknowledged", b.noBacklog)
	b.once(f, 1000)
}

// A sink that is stopped while the meter is away gives everything back at once,
// so that the next doesn't wait for AckWait.
func TestStopHandsOver(t *testing.T) {
	b := newBed(t)
	away := &fakeMeter{answer: func(int) error { return &meter.Error{Status: 503, Class: meter.Retry} }}
	b.publish(0, 400, 1)
	stop := b.sink(away, nil)
	b.eventually("the meter was asked", func() bool {
		away.mu.Lock()
		defer away.mu.Unlock()
		return away.request > 0
	})
	stop()
	began := time.Now()
	back := &fakeMeter{}
	b.sink(back, nil)
	b.eventually("400 events are metered", back.has(400))
	if took := time.Since(began); took > stream.AckWait/2 {
		t.Errorf("the next sink had to wait %v", took)
	}
	b.once(back, 400)
}

// An error of the server is waited out: the consumer is opened again.
func TestRunOpensAgain(t *testing.T) {
	b := newBed(t)
	f := &fakeMeter{}
	opened := 0
	b.sink(f, func(c *Config) {
		c.Open = func(ctx context.Context) (jetstream.Consumer, error) {
			if opened++; opened == 1 {
				return nil, errors.New("no answer")
			}
			return b.streams.Consumer(ctx)
		}
	})
	b.publish(0, 1, 1)
	b.eventually("the event is metered", f.has(1))

	if err := b.streams.Events.DeleteConsumer(t.Context(), stream.Durable); err != nil {
		t.Fatal(err)
	}
	b.publish(1, 1, 1)
	b.eventually("the next event is metered, though somebody has deleted the consumer", f.has(2))
}
