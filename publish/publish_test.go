package publish_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/publish"
	"github.com/kgents/kgents/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sender is a JetStream that syncs for a while and can be made to fail.
type sender struct {
	sync time.Duration
	fail func(attempt int) error

	mu       sync.Mutex
	attempts int
	bodies   []string
	ids      []string
}

func (s *sender) PublishMsg(ctx context.Context, msg *nats.Msg, _ ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	s.mu.Lock()
	s.attempts++
	n := s.attempts
	s.ids = append(s.ids, msg.Header.Get(nats.MsgIdHdr))
	s.mu.Unlock()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(s.sync):
	}
	if s.fail != nil {
		if err := s.fail(n); err != nil {
			return nil, err
		}
	}
	body, err := stream.Body(msg.Header, msg.Data)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bodies = append(s.bodies, string(body))
	return &jetstream.PubAck{Stream: "events"}, nil
}

func start(t *testing.T, s publish.Sender, maxPayload int64) *publish.Publisher {
	p := publish.New(publish.Config{
		Sender: s, Stream: "events", MaxPayload: func() int64 { return maxPayload },
		Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	t.Cleanup(p.Close)
	return p
}

func event(raw string) kgents.Event { return kgents.Event{Raw: []byte(raw)} }

func TestGroupCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sender{sync: 10 * time.Millisecond}
		p := start(t, s, 0)
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				if err := p.Publish(t.Context(), []kgents.Event{event(fmt.Sprint(i))}); err != nil {
					t.Error(err)
				}
			})
			if i == 0 { // the other 99 arrive while this one syncs
				synctest.Wait()
			}
		}
		began := time.Now()
		wg.Wait()
		if took := time.Since(began); took > 20*time.Millisecond {
			t.Errorf("took %v: a call waits for the sync under way and its own, 20ms", took)
		}
		if len(s.bodies) != 2 {
			t.Errorf("%d messages for 100 calls, want 2: the late ones share", len(s.bodies))
		}
		if got := strings.Count(strings.Join(s.bodies, ","), ",") + 1; got != 100 {
			t.Errorf("%d events published, want 100", got)
		}
		p.Close()
	})
}

func TestMessages(t *testing.T) {
	long := func(n int) string { return `"` + strings.Repeat("x", n-2) + `"` }
	for _, c := range []struct {
		name       string
		maxPayload int64
		events     []string
		messages   []string
		code       kgents.Code
	}{
		{name: "no events, no message"},
		{name: "one event", events: []string{`{"id":"1"}`}, messages: []string{`[{"id":"1"}]`}},
		{name: "a batch in its order", events: []string{"1", "2", "3"}, messages: []string{"[1,2,3]"}},
		{
			name: "a batch is cut below the server's limit", maxPayload: 1024 + 12,
			events: []string{"11111", "2222", "33333", "4"},
		},
		{name: "an event that no message carries", maxPayload: 1024 + 12, events: []string{"1", long(20)}, code: kgents.CodeTooLarge},
		{name: "the largest event", events: []string{long(kgents.MaxEventBytes)}, messages: []string{"[" + long(kgents.MaxEventBytes) + "]"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &sender{sync: time.Millisecond}
				p := start(t, s, c.maxPayload)
				var evs []kgents.Event
				for _, e := range c.events {
					evs = append(evs, event(e))
				}
				err := p.Publish(t.Context(), evs)
				if kgents.ErrorCode(err) != c.code {
					t.Errorf("Publish: %v, want code %q", err, c.code)
				}
				p.Close()
				if c.maxPayload > 0 && c.code == "" {
					for _, b := range s.bodies {
						if int64(len(b)) > c.maxPayload-1024 {
							t.Errorf("a message of %d bytes, over the limit: %s", len(b), b)
						}
					}
					if got := len(strings.Split(strings.Join(s.bodies, ","), ",")); got != len(c.events) {
						t.Errorf("%d events published, want %d", got, len(c.events))
					}
					return
				}
				if d := cmp.Diff(c.messages, s.bodies); d != "" {
					t.Errorf("messages (-want +got):\n%.2000s", d)
				}
			})
		})
	}
}

func TestRetryKeepsTheMessageID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sender{fail: func(n int) error {
			if n < 3 {
				return nats.ErrNoResponders
			}
			return nil
		}}
		p := start(t, s, 0)
		if err := p.Publish(t.Context(), []kgents.Event{event("1")}); err != nil {
			t.Fatal(err)
		}
		p.Close()
		if len(s.ids) != 3 || s.ids[0] == "" || s.ids[0] != s.ids[1] || s.ids[1] != s.ids[2] {
			t.Errorf("message ids of the tries: %q, want three equal", s.ids)
		}
	})
}

// An answer comes before Stripe stops waiting for it, however long the server
// says nothing.
func TestNoAnswerIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, &sender{sync: time.Hour}, 0)
		began := time.Now()
		err := p.Publish(t.Context(), []kgents.Event{event("1")})
		if took := time.Since(began); took > 8*time.Second || kgents.ErrorCode(err) != kgents.CodeUnavailable {
			t.Errorf("answer after %v: %v", took, err)
		}
		p.Close()
	})
}

func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := true
		s := &sender{fail: func(int) error {
			if broken {
				return errors.New("down")
			}
			return nil
		}}
		p := start(t, s, 0)
		try := func() error { return p.Publish(t.Context(), []kgents.Event{event("1")}) }
		expect := func(want publish.State) {
			t.Helper()
			if got := p.Breaker().State(); got != want {
				t.Fatalf("circuit is %v, want %v", got, want)
			}
		}
		expect(publish.Closed)
		for p.Breaker().State() == publish.Closed {
			if err := try(); kgents.ErrorCode(err) != kgents.CodeUnavailable {
				t.Fatalf("Publish while broken: %v", err)
			}
		}
		if s.attempts != 5 {
			t.Errorf("opened after %d failures, want 5", s.attempts)
		}
		err := try()
		if e, ok := errors.AsType[*kgents.Error](err); !ok || e.RetryAfter <= 25*time.Second || e.RetryAfter > 30*time.Second {
			t.Errorf("while open: %v, want a refusal at once with the time left", err)
		}
		if s.attempts != 5 {
			t.Error("something was tried while open")
		}

		time.Sleep(30*time.Second + time.Millisecond)
		expect(publish.HalfOpen)
		if err := try(); err == nil {
			t.Fatal("Publish while broken succeeded")
		}
		expect(publish.Open) // one failure while half-open

		time.Sleep(30*time.Second + time.Millisecond)
		broken = false
		for range 3 {
			expect(publish.HalfOpen)
			if err := try(); err != nil {
				t.Fatal(err)
			}
		}
		expect(publish.Closed)
		p.Close()
	})
}

// A caller that has gone before its turn is not published: its claims were
// released, and it will send again.
func TestGoneCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sender{sync: time.Second}
		p := start(t, s, 0)
		var wg sync.WaitGroup
		wg.Go(func() { _ = p.Publish(t.Context(), []kgents.Event{event("1")}) }) // is being synced
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := p.Publish(ctx, []kgents.Event{event("2")}); kgents.ErrorCode(err) != kgents.CodeUnavailable {
			t.Errorf("Publish = %v", err)
		}
		wg.Wait()
		p.Close()
		if d := cmp.Diff([]string{"[1]"}, s.bodies); d != "" {
			t.Errorf("messages (-want +got):\n%s", d)
		}
	})
}

func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, &sender{sync: time.Second}, 0)
		big := event(`"` + strings.Repeat("x", 800_000) + `"`)
		var wg sync.WaitGroup
		var mu sync.Mutex
		codes := map[kgents.Code]int{}
		for range 120 {
			wg.Go(func() {
				err := p.Publish(t.Context(), []kgents.Event{big})
				mu.Lock()
				defer mu.Unlock()
				codes[kgents.ErrorCode(err)]++
			})
		}
		wg.Wait()
		if codes[""] < 80 || codes[kgents.CodeUnavailable] < 30 || codes[""]+codes[kgents.CodeUnavailable] != 120 {
			t.Errorf("answers by code: %v, want about 64 MiB taken and the rest refused", codes)
		}
		p.Close()
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sender{sync: time.Second}
		p := start(t, s, 0)
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				if err := p.Publish(t.Context(), []kgents.Event{event("1")}); err != nil {
					t.Errorf("a call before Close: %v", err)
				}
			})
		}
		synctest.Wait()
		p.Close()
		p.Close()
		wg.Wait()
		if err := p.Publish(t.Context(), []kgents.Event{event("2")}); kgents.ErrorCode(err) != kgents.CodeUnavailable {
			t.Errorf("a call after Close: %v", err)
		}
	})
}

// The real thing: what was acknowledged is there after a restart, and a message
// sent twice is kept once.
func TestEmbeddedServer(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	dir := t.TempDir()
	config := stream.Config{Name: "events", Replicas: 1}
	open := func() (jetstream.JetStream, stream.Streams, func()) {
		server, err := stream.StartEmbedded(dir, log)
		if err != nil {
			t.Fatal(err)
		}
		nc, err := server.Connect("test", log)
		if err != nil {
			t.Fatal(err)
		}
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		streams, err := stream.Ensure(t.Context(), js, config)
		if err != nil {
			t.Fatal(err)
		}
		return js, streams, func() { nc.Close(); server.Stop() }
	}
	js, _, stop := open()
	p := start(t, js, 1<<20)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			if err := p.Publish(t.Context(), []kgents.Event{event(fmt.Sprintf(`{"id":"%d"}`, i))}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for range 2 {
		if err := p.Publish(t.Context(), []kgents.Event{event(`{"id":"again"}`)}); err != nil {
			t.Error(err)
		}
	}
	p.Close()
	stop()

	js, streams, stop := open()
	defer stop()
	seen := map[string]int{}
	consumer, err := streams.Consumer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	backlog, err := stream.ReadBacklog(t.Context(), js, config)
	if err != nil || backlog.Messages == 0 || backlog.Oldest.IsZero() {
		t.Errorf("backlog = %+v, %v, want what was published and the oldest's time", backlog, err)
	}
	for range backlog.Messages {
		msg, err := consumer.Next(jetstream.FetchMaxWait(5 * time.Second))
		if err != nil {
			t.Fatal(err)
		}
		body, err := stream.Body(msg.Headers(), msg.Data())
		if err != nil {
			t.Fatal(err)
		}
		elements, err := stream.Elements(body)
		if err != nil {
			t.Fatal(err)
		}
		events := strings.Split(string(elements), ",")
		if n := stream.ReadEnvelope(msg.Headers()).Events; n != len(events) {
			t.Errorf("the header says %d events, the body has %d", n, len(events))
		}
		for _, e := range events {
			seen[e]++
		}
		if err := msg.DoubleAck(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(seen) != 201 {
		t.Errorf("%d distinct events, want 201", len(seen))
	}
	for e, n := range seen {
		if n != 1 {
			t.Errorf("%s is there %d times", e, n)
		}
	}
	backlog, err = stream.ReadBacklog(t.Context(), js, config)
	if err != nil || backlog.Messages != 0 || !backlog.Oldest.IsZero() {
		t.Errorf("backlog after all was acknowledged = %+v, %v", backlog, err)
	}
}
