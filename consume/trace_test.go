package consume

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/kgents/kgents/meter"
)

// in puts a message into the trace that is all of digit.
func in(digit, flags string, m *message) *message {
	if m.Header == nil {
		m.Header = nats.Header{}
	}
	m.Header["traceparent"] = []string{"00-" + strings.Repeat(digit, 32) + "-" + strings.Repeat(digit, 16) + "-" + flags}
	return m
}

// flushed flushes messages and returns what the spans say.
func flushed(t *testing.T, f *fakeMeter, messages ...*message) (spans []string, flush sdktrace.ReadOnlySpan) {
	t.Helper()
	done := tracetest.NewSpanRecorder()
	s := newSink(f, &graveyard{})
	s.Tracer = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(done)).Tracer("test")
	s.flush(context.Background(), opened(messages...))
	for _, span := range done.Ended() {
		line := span.Name()
		for _, a := range span.Attributes() {
			switch a.Key {
			case "cloudevents.event_id", reasonKey, "messaging.batch.message_count":
				line += " " + a.Value.String()
			}
		}
		for _, e := range span.Events() {
			line += ", " + e.Name
		}
		spans = append(spans, line)
		if strings.HasPrefix(line, "process") {
			flush = span
		}
	}
	return spans, flush
}

// A flush goes on in one trace and has links to the other messages that share it.
func TestFlushHasLinks(t *testing.T) {
	for _, test := range []struct {
		name     string
		messages []*message
		trace    string // its digit, empty for a new one
		links    string // theirs
		sampled  bool
	}{
		{"one message", []*message{in("1", "01", batch("a"))}, "1", "", true},
		{"three share it", []*message{in("1", "01", batch("a")), in("2", "01", batch("b")), in("3", "01", batch("c"))}, "1", "23", true},
		{"the first is not sampled", []*message{in("1", "00", batch("a")), in("2", "01", batch("b")), batch("c")}, "2", "", true},
		{"none is sampled", []*message{in("1", "00", batch("a")), in("2", "00", batch("b"))}, "", "", false},
		{"no message has a trace", []*message{batch("a"), batch("b")}, "", "", true},
		{"a header that is none", []*message{in("x", "01", batch("a"))}, "", "", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			spans, flush := flushed(t, &fakeMeter{}, test.messages...)
			if !test.sampled {
				if len(spans) > 0 {
					t.Errorf("spans of what nobody wanted sampled: %q", spans)
				}
				return
			}
			if d := cmp.Diff([]string{fmt.Sprintf("process kgent.events %d", len(test.messages))}, spans); d != "" {
				t.Errorf("spans (-want +got):\n%s", d)
			}
			parent, links := "", ""
			if p := flush.Parent(); p.IsValid() {
				parent = p.TraceID().String()[:1]
			}
			for _, l := range flush.Links() {
				links += l.SpanContext.TraceID().String()[:1]
			}
			if parent != test.trace || links != test.links {
				t.Errorf("goes on in trace %q with links to %q, want %q and %q", parent, links, test.trace, test.links)
			}
		})
	}
}

// What happens to a batch that the meter does not take at once shows in its trace.
func TestTraceOfTrouble(t *testing.T) {
	for _, test := range []struct {
		name     string
		meter    *fakeMeter
		messages []*message
		want     []string
	}{
		{
			"the meter is away for a moment",
			&fakeMeter{answer: func(n int) error {
				if n <= 2 {
					return &meter.Error{Status: 503, Class: meter.Retry}
				}
				return nil
			}},
			[]*message{in("1", "01", batch("a"))},
			[]string{"process kgent.events 1, not taken, waiting, not taken, waiting"},
		},
		{
			"a bad event among good ones", &fakeMeter{bad: map[string]int{"b": 400}},
			[]*message{in("1", "01", batch("a", "b", "c", "d"))},
			[]string{"bury refused b", "process kgent.events 1, refused, halved, refused, halved"},
		},
		{
			"a message that is no batch", &fakeMeter{}, []*message{in("1", "01", foreign("{"))},
			[]string{"bury malformed ", "process kgent.events 1"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				spans, flush := flushed(t, test.meter, test.messages...)
				if d := cmp.Diff(test.want, spans); d != "" {
					t.Errorf("spans (-want +got):\n%s", d)
				}
				if want := strings.Repeat("1", 32); flush.SpanContext().TraceID().String() != want || flush.SpanKind() != trace.SpanKindConsumer {
					t.Errorf("the flush is in trace %s as %s", flush.SpanContext().TraceID(), flush.SpanKind())
				}
			})
		})
	}
}
