package meter

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/kgents/kgents/telemetry"
)

const ingestPath = "/api/v1/events"

// aboutMeter says in a span's attributes where the meter is, without credentials.
func aboutMeter(base *url.URL) []attribute.KeyValue {
	full := *base
	full.User = nil
	full.Path, full.RawPath = full.JoinPath(ingestPath).Path, ""
	port, err := strconv.Atoi(base.Port())
	if err != nil {
		port = map[string]int{"http": 80, "https": 443}[base.Scheme]
	}
	return []attribute.KeyValue{
		telemetry.StageKey.String("meter"), semconv.HTTPRequestMethodPost,
		semconv.URLFull(full.String()), semconv.ServerAddress(base.Hostname()), semconv.ServerPort(port),
	}
}

// startSpan begins the span of one batch's request, within the trace of ctx.
func (c *Client) startSpan(ctx context.Context) (context.Context, trace.Span) {
	ctx, span := telemetry.Child(ctx, http.MethodPost+" "+ingestPath, trace.SpanKindClient)
	if span.IsRecording() {
		span.SetAttributes(c.about...)
	}
	return ctx, span
}

// endSpan ends it with the meter's answer, nil when there was none.
func endSpan(span trace.Span, resp *http.Response) {
	if span.IsRecording() {
		switch {
		case resp == nil:
			span.SetStatus(codes.Error, "")
			span.SetAttributes(semconv.ErrorTypeKey.String("no answer"))
		case resp.StatusCode >= http.StatusBadRequest:
			span.SetStatus(codes.Error, "")
			span.SetAttributes(semconv.ErrorTypeKey.String(strconv.Itoa(resp.StatusCode)))
		}
		if resp != nil {
			span.SetAttributes(semconv.HTTPResponseStatusCode(resp.StatusCode))
		}
	}
	span.End()
}
