package telemetry_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/telemetry"
)

const (
	traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	spanID  = "00f067aa0ba902b7"
)

// spanContext is that of a caller. Flags are "01" for sampled, else "00".
func spanContext(flags string) trace.SpanContext {
	return telemetry.Extract(map[string][]string{"traceparent": {"00-" + traceID + "-" + spanID + "-" + flags}})
}

func TestExtract(t *testing.T) {
	for _, test := range []struct {
		name   string
		header map[string][]string
		want   string // trace and span
	}{
		{"none", nil, ""},
		{"HTTP's", http.Header{"Traceparent": {"00-" + traceID + "-" + spanID + "-01"}}, traceID + spanID},
		{"a message's", map[string][]string{"traceparent": {"00-" + traceID + "-" + spanID + "-01"}}, traceID + spanID},
		{"a version to come", map[string][]string{"traceparent": {"01-" + traceID + "-" + spanID + "-01-more"}}, traceID + spanID},
		{"an id of zeros", map[string][]string{"traceparent": {"00-" + strings.Repeat("0", 32) + "-" + spanID + "-01"}}, ""},
		{"too short", map[string][]string{"traceparent": {"00-abc"}}, ""},
		{"a megabyte", map[string][]string{"traceparent": {strings.Repeat("0", 1<<20)}}, ""},
		{"an empty list", map[string][]string{"traceparent": {}}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			sc, got := telemetry.Extract(test.header), ""
			if sc.IsValid() {
				got = sc.TraceID().String() + sc.SpanID().String()
			}
			if got != test.want {
				t.Errorf("span %q, want %q", got, test.want)
			}
		})
	}
}

// A header grows by a known size only, whatever the caller has sent.
func TestInjectIsBounded(t *testing.T) {
	in := http.Header{"Traceparent": {"00-" + traceID + "-" + spanID + "-01"}, "Tracestate": {strings.Repeat("a", 200) + "=" + strings.Repeat("b", 200)}}
	ctx := trace.ContextWithRemoteSpanContext(t.Context(), telemetry.Extract(in))
	out := map[string][]string{}
	telemetry.Inject(ctx, out)
	if d := cmp.Diff(map[string][]string{"traceparent": {"00-" + traceID + "-" + spanID + "-01"}}, out); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	telemetry.Inject(t.Context(), nil) // without a span nothing is written
}

// Tracing that is off allocates nothing.
func TestOffAllocatesNothing(t *testing.T) {
	ctx, header := t.Context(), http.Header{}
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "h"})
	for name, use := range map[string]func(){
		"Child and End": func() {
			_, span := telemetry.Child(ctx, "span", trace.SpanKindInternal)
			telemetry.End(span, nil)
		},
		"Inject":  func() { telemetry.Inject(ctx, header) },
		"Observe": func() { telemetry.Observe(ctx, h, 1) },
	} {
		if n := testing.AllocsPerRun(100, use); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
	next := http.NewServeMux()
	if got := telemetry.Handler(nil, "/", "test", next); got != http.Handler(next) {
		t.Error("a handler without a tracer is not itself")
	}
}

// However many events and however long, a span's attributes stay small.
func TestEventAttributes(t *testing.T) {
	var events []kgents.Event
	for i := range 1000 {
		events = append(events, kgents.Event{
			Source: "hush-source", ID: fmt.Sprint("id-", i), Type: fmt.Sprint("type-", i%2), Subject: "hush-subject", Raw: []byte("hush-raw"), Data: []byte("hush-data"),
		})
	}
	for n, want := range map[int]string{
		1: `kgents.events.count=1 cloudevents.event_id=id-0 cloudevents.event_type=type-0`,
		3: `kgents.events.count=3 kgents.events.ids=[id-0 id-1 id-2] kgents.events.types=[type-0 type-1]`,
		1000: `kgents.events.count=1000 kgents.events.ids=[id-0 id-1 id-2 id-3 id-4 id-5 id-6 id-7 id-8 id-9 id-10 id-11 id-12 id-13 id-14 id-15]` +
			` kgents.events.types=[type-0 type-1]`,
	} {
		var got []string
		for _, a := range telemetry.EventAttributes(events[:n]) {
			got = append(got, fmt.Sprintf("%s=%v", a.Key, a.Value.AsInterface()))
		}
		if d := cmp.Diff(want, strings.Join(got, " ")); d != "" {
			t.Errorf("%d events (-want +got):\n%s", n, d)
		}
	}
}

func TestRequestSpan(t *testing.T) {
	for _, test := range []struct {
		status int
		want   string // of the span's status
	}{{204, "Unset"}, {400, "Unset"}, {503, "Error"}} {
		done := tracetest.NewSpanRecorder()
		tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(done)).Tracer("test")
		h := telemetry.Handler(tracer, "/route", "meter", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !trace.SpanFromContext(r.Context()).IsRecording() {
				t.Error("the request has no span")
			}
			w.WriteHeader(test.status)
		}))
		req := httptest.NewRequest(http.MethodPost, "/route?secret=hush", nil)
		req.Header.Set("Traceparent", "00-"+traceID+"-"+spanID+"-01")
		h.ServeHTTP(httptest.NewRecorder(), req)
		span := done.Ended()[0]
		if span.Name() != "POST /route" || span.Parent().SpanID().String() != spanID || span.Status().Code.String() != test.want {
			t.Errorf("%d: span %q of %v, status %v, want %s", test.status, span.Name(), span.Parent(), span.Status(), test.want)
		}
		for _, a := range span.Attributes() {
			if strings.Contains(fmt.Sprint(a.Value.AsInterface()), "hush") {
				t.Errorf("%s shows the query", a.Key)
			}
		}
	}
}

// An error's text may quote a client; its code may not.
func TestEnd(t *testing.T) {
	done := tracetest.NewSpanRecorder()
	_, span := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(done)).Tracer("test").Start(t.Context(), "span")
	telemetry.End(span, kgents.Errorf(kgents.CodeInvalid, "hush"))
	if s := done.Ended()[0].Status(); s.Description != "invalid" {
		t.Errorf("status %v", s)
	}
}

func TestObserve(t *testing.T) {
	for flags, want := range map[string]string{"01": traceID, "00": ""} {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "h", Buckets: []float64{1}})
		telemetry.Observe(trace.ContextWithSpanContext(t.Context(), spanContext(flags)), h, 0.5)
		var m dto.Metric
		if err := h.Write(&m); err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, l := range m.Histogram.Bucket[0].GetExemplar().GetLabel() {
			if l.GetName() == "trace_id" {
				got = l.GetValue()
			}
		}
		if got != want || m.Histogram.GetSampleCount() != 1 {
			t.Errorf("flags %s: exemplar %q of %d observations, want %q", flags, got, m.Histogram.GetSampleCount(), want)
		}
	}
}

func TestLogTraces(t *testing.T) {
	var out bytes.Buffer
	log := telemetry.LogTraces(slog.New(slog.NewTextHandler(&out, nil))).With("role", "api")
	log.InfoContext(trace.ContextWithSpanContext(context.Background(), spanContext("01")), "within")
	log.Info("without")
	within, without, _ := strings.Cut(out.String(), "\n")
	if !strings.Contains(within, "role=api trace_id="+traceID+" span_id="+spanID) || strings.Contains(without, "trace_id") {
		t.Errorf("logged %s", out.String())
	}
}
