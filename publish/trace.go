package publish

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/telemetry"
)

// startSpan begins the span of one message and writes it into the message's
// headers, which Nats-Msg-Id does not depend on. Many requests share a message:
// the span goes on in the trace of the first that is sampled, has links to the
// others, and they have one to it. Its context outlives the callers'.
func (p *Publisher) startSpan(batch []part, events []kgents.Event, msg *nats.Msg) (context.Context, trace.Span) {
	ctx := context.Background()
	if p.tracer == nil {
		return ctx, noop.Span{}
	}
	callers := make([]trace.SpanContext, len(batch))
	for i, part := range batch {
		callers[i] = trace.SpanContextFromContext(part.call.ctx)
	}
	parent, links := telemetry.Origin(callers)
	ctx, span := p.tracer.Start(trace.ContextWithSpanContext(ctx, parent), "publish "+stream.Subject,
		trace.WithSpanKind(trace.SpanKindProducer), trace.WithLinks(links...))
	telemetry.Inject(ctx, msg.Header)
	if !span.IsRecording() {
		return ctx, span
	}
	span.SetAttributes(telemetry.EventAttributes(events)...)
	span.SetAttributes(telemetry.StageKey.String("publish"),
		semconv.MessagingSystemKey.String("nats"), semconv.MessagingDestinationName(stream.Subject),
		semconv.MessagingOperationName("publish"), semconv.MessagingOperationTypeSend,
		semconv.MessagingMessageID(msg.Header.Get(nats.MsgIdHdr)), semconv.MessagingMessageBodySize(len(msg.Data)))
	for i, part := range batch {
		if caller := trace.SpanFromContext(part.call.ctx); caller.IsRecording() && !callers[i].Equal(parent) {
			caller.AddLink(trace.Link{SpanContext: span.SpanContext()})
		}
	}
	return ctx, span
}

// noteFailure notes an attempt that failed in the message's span, if there is one.
func noteFailure(ctx context.Context, why string) {
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.AddEvent("attempt failed", trace.WithAttributes(semconv.ErrorTypeKey.String(why)))
	}
}

// drained makes the span of a message that went from the spool to NATS, in the
// trace that the message names. Tries that failed are counted, not traced: a
// message may need one a second for a day.
func (s *spooler) drained(msg *nats.Msg, start time.Time) {
	if s.tracer == nil {
		return
	}
	ctx := trace.ContextWithRemoteSpanContext(context.Background(), telemetry.Extract(msg.Header))
	_, span := s.tracer.Start(ctx, "drain "+stream.Subject, trace.WithTimestamp(start),
		trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(
			telemetry.StageKey.String("spool"), telemetry.EventsKey.Int(stream.ReadEnvelope(msg.Header).Events),
			semconv.MessagingSystemKey.String("nats"), semconv.MessagingDestinationName(stream.Subject),
			semconv.MessagingOperationName("drain"), semconv.MessagingOperationTypeSend,
			semconv.MessagingMessageID(msg.Header.Get(nats.MsgIdHdr))))
	span.End()
}
