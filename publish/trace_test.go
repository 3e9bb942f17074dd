package publish_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/publish"
	"github.com/kgents/kgents/publish/spool"
	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/telemetry"
)

// traced is a sender that remembers the headers it was given.
type traced struct {
	sender
	headers []nats.Header
}

func (s *traced) PublishMsg(ctx context.Context, msg *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	s.mu.Lock()
	s.headers = append(s.headers, msg.Header)
	s.mu.Unlock()
	return s.sender.PublishMsg(ctx, msg, opts...)
}

// startTraced starts a publisher, and the tracer of its callers.
func startTraced(t *testing.T, s publish.Sender, disk *spool.Spool) (*publish.Publisher, trace.Tracer, *tracetest.SpanRecorder) {
	t.Helper()
	done := tracetest.NewSpanRecorder()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(done)).Tracer("test")
	p := publish.New(publish.Config{
		Sender: s, Stream: "events", MaxPayload: func() int64 { return 0 }, Spool: disk,
		Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(), Tracer: tracer,
	})
	t.Cleanup(p.Close)
	return p, tracer, done
}

func named(spans []sdktrace.ReadOnlySpan, name string) (out []sdktrace.ReadOnlySpan) {
	for _, s := range spans {
		if s.Name() == name {
			out = append(out, s)
		}
	}
	return out
}

// Requests that share a message are told from its span by links, and it from
// theirs. The message's headers lead on from its span.
func TestSharedMessageHasLinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &traced{sender: sender{sync: 10 * time.Millisecond}}
		p, tracer, done := startTraced(t, s, nil)
		const calls = 5
		var wg sync.WaitGroup
		requests := map[trace.SpanID]trace.TraceID{}
		for i := range calls {
			ctx, span := tracer.Start(t.Context(), "request")
			requests[span.SpanContext().SpanID()] = span.SpanContext().TraceID()
			wg.Go(func() {
				defer span.End()
				if err := p.Publish(ctx, []kgents.Event{{ID: fmt.Sprint(i), Type: "t", Raw: []byte("1")}}); err != nil {
					t.Error(err)
				}
			})
			if i == 0 { // the others arrive while this one syncs
				synctest.Wait()
			}
		}
		wg.Wait()
		p.Close()
		messages := named(done.Ended(), "publish kgent.events")
		if len(messages) != 2 {
			t.Fatalf("%d messages, want 2", len(messages))
		}
		first, shared := messages[0], messages[1]
		if len(first.Links()) != 0 || requests[first.Parent().SpanID()] != first.SpanContext().TraceID() {
			t.Errorf("the message of one request has %d links and parent %v", len(first.Links()), first.Parent().SpanID())
		}
		if requests[shared.Parent().SpanID()] != shared.SpanContext().TraceID() {
			t.Errorf("the shared message is in the trace of none of its requests")
		}
		linked := map[trace.SpanID]bool{shared.Parent().SpanID(): true, first.Parent().SpanID(): true}
		for _, l := range shared.Links() {
			linked[l.SpanContext.SpanID()] = true
		}
		if len(linked) != calls || len(shared.Links()) != calls-2 {
			t.Errorf("%d links lead to %d of %d requests", len(shared.Links()), len(linked), calls)
		}
		back := 0
		for _, r := range named(done.Ended(), "request") {
			for _, l := range r.Links() {
				if l.SpanContext.Equal(shared.SpanContext()) {
					back++
				}
			}
		}
		if back != calls-2 {
			t.Errorf("%d requests have a link to the message in another trace, want %d", back, calls-2)
		}
		for i, m := range messages {
			if got := telemetry.Extract(s.headers[i]); got.SpanID() != m.SpanContext().SpanID() || got.TraceID() != m.SpanContext().TraceID() {
				t.Errorf("message %d leads to %v, want its span %v", i, got, m.SpanContext())
			}
		}
	})
}

// The id of a message comes from its content, whoever sends it and when.
func TestMessageIDWithTraces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &traced{}
		p, tracer, _ := startTraced(t, s, nil)
		e := []kgents.Event{event(`{"id":"1"}`)}
		for range 2 {
			ctx, span := tracer.Start(t.Context(), "request")
			if err := p.Publish(ctx, e); err != nil {
				t.Fatal(err)
			}
			span.End()
		}
		want := stream.Encode(e, time.Now()).Header.Get(nats.MsgIdHdr)
		if s.ids[0] != want || s.ids[1] != want {
			t.Errorf("ids are %q, want %q", s.ids, want)
		}
		if s.headers[0]["traceparent"][0] == s.headers[1]["traceparent"][0] {
			t.Error("two requests have the same span")
		}
		p.Close()
	})
}

// A message that waited on disk goes on in its request's trace.
func TestTraceThroughSpool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var away atomic.Bool
		away.Store(true)
		s := &traced{sender: sender{fail: func(int) error {
			if away.Load() {
				return errors.New("no answer")
			}
			return nil
		}}}
		disk, err := spool.Open(spool.Config{Dir: t.TempDir(), MaxBytes: 1 << 20, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
		if err != nil {
			t.Fatal(err)
		}
		defer disk.Close()
		p, tracer, done := startTraced(t, s, disk)
		ctx, span := tracer.Start(t.Context(), "request")
		if err := p.Publish(ctx, []kgents.Event{event("1")}); err != nil {
			t.Fatal(err)
		}
		span.End()
		away.Store(false)
		time.Sleep(time.Minute) // of the bubble: the breaker's 30 s and the pauses around them
		synctest.Wait()
		p.Close()
		published, drained := named(done.Ended(), "publish kgent.events"), named(done.Ended(), "drain kgent.events")
		if len(published) != 1 || len(drained) != 1 {
			t.Fatalf("%d spans of publishing and %d of draining, want one of each", len(published), len(drained))
		}
		events := map[string]int{}
		for _, e := range published[0].Events() {
			events[e.Name]++
		}
		if events["attempt failed"] == 0 || events["spooled"] != 1 {
			t.Errorf("the message's span says %v", events)
		}
		if !drained[0].Parent().Equal(published[0].SpanContext().WithRemote(true)) {
			t.Errorf("the drain's parent is %v, want the message's span %v", drained[0].Parent(), published[0].SpanContext())
		}
	})
}
