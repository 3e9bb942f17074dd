package telemetry

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/kgents/kgents"
)

// Attributes of our own, where the semantic conventions have no name. None of
// them holds what an event says, whom it counts for, or a key.
const (
	StageKey  = attribute.Key("kgents.stage") // receive, admit, publish, spool, consume, deadletter or meter
	EventsKey = attribute.Key("kgents.events.count")
	idsKey    = attribute.Key("kgents.events.ids")
	typesKey  = attribute.Key("kgents.events.types")
)

// shownEvents bounds the ids and types of events in a span's attributes. Of more
// events the first are shown, and the count of all.
const shownEvents = 16

// EventAttributes says which events a span is about.
func EventAttributes(events []kgents.Event) []attribute.KeyValue {
	out := []attribute.KeyValue{EventsKey.Int(len(events))}
	if len(events) == 1 {
		return append(out, semconv.CloudEventsEventID(events[0].ID), semconv.CloudEventsEventType(events[0].Type))
	}
	var ids, types []string
	for _, e := range events[:min(len(events), shownEvents)] {
		ids = append(ids, e.ID)
		if !slices.Contains(types, e.Type) {
			types = append(types, e.Type)
		}
	}
	return append(out, idsKey.StringSlice(ids), typesKey.StringSlice(types))
}

// Child begins a span within the trace of ctx. Where nothing is recorded, with
// tracing off or a trace that isn't sampled, it does nothing and returns a span
// that records nothing; ask IsRecording before making attributes.
func Child(ctx context.Context, name string, kind trace.SpanKind) (context.Context, trace.Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, parent
	}
	return parent.TracerProvider().Tracer(scope, trace.WithSchemaURL(semconv.SchemaURL)).Start(ctx, name, trace.WithSpanKind(kind))
}

// End ends a span, with err's code if there is one. Texts of errors stay out of
// traces: they may quote what a client has sent.
func End(span trace.Span, err error) {
	if err != nil && span.IsRecording() {
		code := string(kgents.ErrorCode(err))
		span.SetStatus(codes.Error, code)
		span.SetAttributes(semconv.ErrorTypeKey.String(code))
	}
	span.End()
}

// StartRequest begins the span of an HTTP request, in the trace that the caller
// names by traceparent (W3C Trace Context) if it does. The request it returns
// carries the span.
func StartRequest(t trace.Tracer, r *http.Request, route, stage string) (*http.Request, trace.Span) {
	ctx := r.Context()
	if sc := Extract(r.Header); sc.IsValid() {
		ctx = trace.ContextWithRemoteSpanContext(ctx, sc)
	}
	ctx, span := t.Start(ctx, r.Method+" "+route, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		StageKey.String(stage),
		semconv.HTTPRequestMethodKey.String(r.Method), // a route takes known methods only
		semconv.HTTPRoute(route), semconv.URLPath(r.URL.Path), semconv.URLScheme("http")))
	return r.WithContext(ctx), span
}

// EndRequest ends the span of a request that was answered with status. A caller's
// mistake is no error of ours.
func EndRequest(span trace.Span, status int) {
	span.SetAttributes(semconv.HTTPResponseStatusCode(status))
	if status >= http.StatusInternalServerError {
		span.SetStatus(codes.Error, "")
		span.SetAttributes(semconv.ErrorTypeKey.String(strconv.Itoa(status)))
	}
	span.End()
}

// Handler makes a span of every request to next. With a nil tracer it is next.
func Handler(t trace.Tracer, route, stage string, next http.Handler) http.Handler {
	if t == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r, span := StartRequest(t, r, route, stage)
		rec := &recorder{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(rec, r)
		EndRequest(span, rec.status)
	})
}

// recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// header is where a trace's context travels: HTTP's headers or a message's. Of the
// W3C's two fields only traceparent is taken and given: tracestate is up to 16 kB
// of a stranger's words, more than a message's headers have room for.
type header map[string][]string

const traceparent = "traceparent"

func (h header) Get(key string) string {
	if key != traceparent {
		return ""
	}
	if v := http.Header(h).Get(key); v != "" {
		return v
	}
	if v := h[traceparent]; len(v) > 0 { // NATS keeps the case
		return v[0]
	}
	return ""
}

func (h header) Set(key, value string) {
	if key == traceparent {
		h[traceparent] = []string{value}
	}
}

func (h header) Keys() []string { return []string{traceparent} }

// Extract returns the span that a header names, invalid without one.
func Extract(h map[string][]string) trace.SpanContext {
	return trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), header(h)))
}

// Inject writes the span of ctx into a header, about 70 bytes. Without one it
// does nothing.
func Inject(ctx context.Context, h map[string][]string) {
	if trace.SpanContextFromContext(ctx).IsValid() {
		propagation.TraceContext{}.Inject(ctx, header(h))
	}
}

// Origin chooses, where several come together, the span that goes on: the first
// that is sampled, else the first that is valid, so that what the callers decided
// not to sample isn't. The other sampled ones become links.
func Origin(spans []trace.SpanContext) (parent trace.SpanContext, links []trace.Link) {
	chosen := slices.IndexFunc(spans, trace.SpanContext.IsSampled)
	if chosen < 0 {
		if chosen = slices.IndexFunc(spans, trace.SpanContext.IsValid); chosen < 0 {
			return parent, nil
		}
	}
	for i, sc := range spans {
		if i != chosen && sc.IsSampled() && sc.IsValid() && !sc.Equal(spans[chosen]) {
			links = append(links, trace.Link{SpanContext: sc})
		}
	}
	return spans[chosen], links
}

// Observe records seconds, with the trace of ctx as exemplar when it is sampled.
func Observe(ctx context.Context, o prometheus.Observer, seconds float64) {
	sc := trace.SpanContextFromContext(ctx)
	if !sc.IsSampled() || !sc.IsValid() {
		o.Observe(seconds)
		return
	}
	if e, ok := o.(prometheus.ExemplarObserver); ok {
		e.ObserveWithExemplar(seconds, prometheus.Labels{"trace_id": sc.TraceID().String(), "span_id": sc.SpanID().String()})
		return
	}
	o.Observe(seconds)
}

// LogTraces returns a logger whose lines have trace_id and span_id where their
// context has a span.
func LogTraces(log *slog.Logger) *slog.Logger { return slog.New(tracedHandler{log.Handler()}) }

type tracedHandler struct{ slog.Handler }

// Handle implements slog.Handler.
func (h tracedHandler) Handle(ctx context.Context, r slog.Record) error {
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() {
		r.AddAttrs(slog.String("trace_id", sc.TraceID().String()), slog.String("span_id", sc.SpanID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h tracedHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return tracedHandler{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h tracedHandler) WithGroup(name string) slog.Handler {
	return tracedHandler{h.Handler.WithGroup(name)}
}
