package telemetry_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.opentelemetry.io/otel/trace"

	"github.com/kgents/kgents/telemetry"
)

func startTracing(t *testing.T, endpoint string) (*telemetry.Tracing, *bytes.Buffer, *prometheus.Registry) {
	t.Helper()
	log, reg := &bytes.Buffer{}, prometheus.NewRegistry()
	tracing := telemetry.StartTracing(t.Context(), telemetry.TracingConfig{
		Endpoint: endpoint, Service: "test", Log: slog.New(slog.NewTextHandler(log, nil)), Registerer: reg,
	})
	return tracing, log, reg
}

// Off is off: nothing is made, and what is nil may be used.
func TestTracingOff(t *testing.T) {
	for _, test := range []struct {
		name, endpoint string
		env            map[string]string
		log            string
	}{
		{name: "no endpoint"},
		{name: "the SDK is disabled", endpoint: "http://127.0.0.1:1", env: map[string]string{"OTEL_SDK_DISABLED": "true"}},
		{name: "no exporter", endpoint: "http://127.0.0.1:1", env: map[string]string{"OTEL_TRACES_EXPORTER": "none"}},
		{name: "gRPC", endpoint: "http://127.0.0.1:1", env: map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, log: "protocol=grpc"},
		{name: "JSON", endpoint: "http://127.0.0.1:1", env: map[string]string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"}, log: "protocol=http/json"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for k, v := range test.env {
				t.Setenv(k, v)
			}
			tracing, log, reg := startTracing(t, test.endpoint)
			if tracing != nil || tracing.Tracer() != nil {
				t.Error("there is a tracer")
			}
			tracing.Stop()
			if families, err := reg.Gather(); len(families) > 0 || err != nil {
				t.Errorf("metrics %v (%v)", families, err)
			}
			if (log.Len() > 0) != (test.log != "") || !strings.Contains(log.String(), test.log) {
				t.Errorf("logged %q, want %q", log, test.log)
			}
		})
	}
}

// A receiver that never answers holds up neither the one who makes spans, however
// many, nor the stop.
func TestReceiverHangs(t *testing.T) {
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "1")
	asked, gone := make(chan struct{}), make(chan struct{})
	var once sync.Once
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // or the end of the connection isn't seen
		once.Do(func() {
			close(asked)
			<-r.Context().Done()
			close(gone)
		})
	}))
	defer s.Close()
	tracing, _, _ := startTracing(t, s.URL)
	tracer := tracing.Tracer()
	_, span := tracer.Start(t.Context(), "first")
	span.End()
	<-asked
	began := time.Now()
	for range 50_000 { // the queue holds 2,048
		_, span := tracer.Start(t.Context(), "more")
		span.End()
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("50,000 spans took %v: they wait for the receiver", took)
	}
	began = time.Now()
	tracing.Stop()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the stop took %v, want about 2s", took)
	}
	<-gone // what was under way is given up
}

// Trouble with the receiver is one line when it begins and one when it is over.
func TestReceiverComesBack(t *testing.T) {
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "1")
	var status atomic.Int32
	status.Store(http.StatusBadRequest)
	answers := make(chan struct{}, 100)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(int(status.Load()))
		answers <- struct{}{}
	}))
	defer s.Close()
	tracing, log, reg := startTracing(t, s.URL+"/base/")
	send := func() {
		_, span := tracing.Tracer().Start(t.Context(), "a span")
		span.End()
		<-answers
	}
	send()
	send()
	status.Store(http.StatusOK)
	send()
	send()
	tracing.Stop()
	if n := strings.Count(log.String(), "\n"); n != 2 || !strings.Contains(log.String(), "does not take") || !strings.Contains(log.String(), "takes traces again") {
		t.Errorf("logged %s", log)
	}
	want := `
# HELP kgents_trace_spans_total Spans handed to the OTLP receiver, or lost because it did not take them. Those dropped by a full queue are in neither.
# TYPE kgents_trace_spans_total counter
kgents_trace_spans_total{result="exported"} 2
kgents_trace_spans_total{result="failed"} 2
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "kgents_trace_spans_total"); err != nil {
		t.Error(err)
	}
}

// The standard variables hold: who we are, what is sampled, and what the receiver
// wants to be told.
func TestStandardVariables(t *testing.T) {
	for k, v := range map[string]string{
		"OTEL_BSP_SCHEDULE_DELAY": "1", "OTEL_SERVICE_NAME": "billing", "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=staging",
		"OTEL_TRACES_SAMPLER": "parentbased_always_off", "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=agents",
	} {
		t.Setenv(k, v)
	}
	bodies := make(chan string, 10)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		bodies <- r.URL.Path + " " + r.Header.Get("X-Tenant") + " " + string(b)
	}))
	defer s.Close()
	tracing, _, _ := startTracing(t, s.URL+"/base/")
	ctx, own := tracing.Tracer().Start(t.Context(), "not sampled")
	own.End()
	if own.SpanContext().IsSampled() || telemetry.Extract(http.Header{}).IsValid() {
		t.Error("OTEL_TRACES_SAMPLER does not hold")
	}
	header := http.Header{"Traceparent": {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}}
	_, span := tracing.Tracer().Start(trace.ContextWithRemoteSpanContext(ctx, telemetry.Extract(header)), "the caller samples")
	span.End()
	tracing.Stop()
	body := <-bodies
	for _, want := range []string{"/base/v1/traces agents ", "billing", "deployment.environment.name", "staging", "the caller samples", "telemetry.sdk.name"} {
		if !strings.Contains(body, want) {
			t.Errorf("%q is not in what was sent: %q", want, body)
		}
	}
	if strings.Contains(body, "not sampled") {
		t.Errorf("sent %q", body)
	}
}
