package consume

import (
	"context"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/kgents/kgents/consume/deadletter"
	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/telemetry"
)

const (
	classKey  = attribute.Key("kgents.meter.class")       // see meter.Class
	reasonKey = attribute.Key("kgents.deadletter.reason") // see deadletter.Reason
)

// startSpan begins the span of one flush. Many messages share it: it goes on in
// the trace of the first that is sampled and has links to the others.
func (s *Sink) startSpan(ctx context.Context, batch []delivery, events int) (context.Context, trace.Span) {
	if s.Tracer == nil {
		return ctx, noop.Span{}
	}
	messages := make([]trace.SpanContext, len(batch))
	for i, d := range batch {
		messages[i] = telemetry.Extract(d.Headers())
	}
	parent, links := telemetry.Origin(messages)
	ctx, span := s.Tracer.Start(trace.ContextWithRemoteSpanContext(ctx, parent), "process "+stream.Subject,
		trace.WithSpanKind(trace.SpanKindConsumer), trace.WithLinks(links...), trace.WithAttributes(
			telemetry.StageKey.String("consume"), telemetry.EventsKey.Int(events),
			semconv.MessagingSystemKey.String("nats"), semconv.MessagingDestinationName(stream.Subject),
			semconv.MessagingConsumerGroupName(stream.Durable), semconv.MessagingBatchMessageCount(len(batch)),
			semconv.MessagingOperationName("process"), semconv.MessagingOperationTypeProcess))
	if len(batch) == 1 {
		span.SetAttributes(semconv.MessagingMessageID(batch[0].Headers().Get(nats.MsgIdHdr)))
	}
	return ctx, span
}

// startBury begins the span of keeping one dead letter.
func startBury(ctx context.Context, l deadletter.Letter) (context.Context, trace.Span) {
	ctx, span := telemetry.Child(ctx, "bury", trace.SpanKindInternal)
	if !span.IsRecording() {
		return ctx, noop.Span{}
	}
	span.SetAttributes(telemetry.StageKey.String("deadletter"), reasonKey.String(string(l.Reason)),
		semconv.CloudEventsEventID(l.ID), semconv.CloudEventsEventType(l.Type))
	if l.Status > 0 {
		span.SetAttributes(semconv.HTTPResponseStatusCode(l.Status))
	}
	return ctx, span
}

// note adds a moment to the flush's span, if there is one. The SDK keeps the last
// 128 of them, so a flush that waits for days does not grow.
func note(ctx context.Context, what string, about attribute.KeyValue) {
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.AddEvent(what, trace.WithAttributes(about))
	}
}
