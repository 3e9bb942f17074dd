package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// lastFlush is how long a stopping program tries to hand over the spans that it
// still has. What is left then is dropped.
const lastFlush = 2 * time.Second

// scope is the name of what makes the spans, in OpenTelemetry's sense.
const scope = "github.com/kgents/kgents"

// TracingConfig is what tracing needs. The rest comes from OpenTelemetry's
// standard variables (docs/saas/environment.md lists them).
type TracingConfig struct {
	Endpoint   string // base URL of an OTLP receiver that speaks HTTP; empty: no tracing
	Service    string // service.name, unless OTEL_SERVICE_NAME says otherwise
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Tracing hands spans to an OTLP receiver. A nil one is tracing switched off; all
// its methods may be called.
//
// A request never waits for it: spans go into a queue of 2,048
// (OTEL_BSP_MAX_QUEUE_SIZE) and are dropped when that is full, as it soon is while
// the receiver is away.
type Tracing struct {
	provider *sdktrace.TracerProvider
	exporter *exporter
}

// StartTracing returns nil when tracing is off: without an endpoint, by
// OTEL_SDK_DISABLED=true or OTEL_TRACES_EXPORTER=none, and also when the
// variables ask for what isn't there, which is logged. Billing does not stop for
// its tracing.
func StartTracing(ctx context.Context, c TracingConfig) *Tracing {
	if c.Endpoint == "" || strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") || os.Getenv("OTEL_TRACES_EXPORTER") == "none" {
		return nil
	}
	if p := protocol(); p != "http/protobuf" {
		c.Log.Warn("no traces: of OTLP's protocols only http/protobuf is spoken here; unset OTEL_EXPORTER_OTLP_PROTOCOL and name the receiver's HTTP port, often 4318", "protocol", p)
		return nil
	}
	var opts []otlptracehttp.Option
	if os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" { // the library reads that one itself
		u, err := url.Parse(c.Endpoint)
		if err != nil {
			c.Log.Warn("no traces: OTEL_EXPORTER_OTLP_ENDPOINT is no URL")
			return nil
		}
		opts = append(opts, otlptracehttp.WithEndpointURL(u.JoinPath("v1", "traces").String()))
	}
	out, err := otlptracehttp.New(ctx, opts...)
	if err != nil {
		c.Log.Warn("no traces: the exporter can't be made", "error", err)
		return nil
	}
	t := &Tracing{exporter: newExporter(out, c)}
	t.provider = sdktrace.NewTracerProvider(sdktrace.WithBatcher(t.exporter), sdktrace.WithResource(about(ctx, c)))
	return t
}

// protocol is what the variables ask for; the specification's default is ours.
func protocol() string {
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		if p := strings.TrimSpace(os.Getenv(name)); p != "" {
			return p
		}
	}
	return "http/protobuf"
}

// about is who makes the spans. OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES
// win over what we know of ourselves.
func about(ctx context.Context, c TracingConfig) *resource.Resource {
	host, _ := os.Hostname() // in Kubernetes the pod's name
	own := resource.NewWithAttributes(semconv.SchemaURL,
		semconv.ServiceName(c.Service), semconv.ServiceVersion(ReadBuild().Version), semconv.ServiceInstanceID(host))
	// An error is about variables that can't be read; those that can are in what comes
	// with it.
	given, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		c.Log.Warn("OTEL_RESOURCE_ATTRIBUTES: use key=value,key=value", "error", err)
	}
	merged, err := resource.Merge(own, given)
	if err != nil { // their schemas differ: the attributes are what counts
		merged = resource.NewSchemaless(append(own.Attributes(), given.Attributes()...)...)
	}
	return merged
}

// Tracer makes spans. It is nil when tracing is off, and its users then do
// nothing at all.
func (t *Tracing) Tracer() trace.Tracer {
	if t == nil {
		return nil
	}
	return t.provider.Tracer(scope, trace.WithSchemaURL(semconv.SchemaURL))
}

// Stop hands over what is left, for lastFlush at most.
func (t *Tracing) Stop() {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), lastFlush)
	defer cancel()
	_ = t.provider.Shutdown(ctx) // what it could say is in the exporter's log line
	t.exporter.end()
}

// exporter keeps what goes wrong with traces in one place: a log line when the
// receiver goes away and when it is back, and a count.
type exporter struct {
	sdktrace.SpanExporter
	log     *slog.Logger
	spans   *prometheus.CounterVec
	failing atomic.Bool
	life    context.Context
	end     context.CancelFunc // nothing is sent from here on
}

func newExporter(out sdktrace.SpanExporter, c TracingConfig) *exporter {
	e := &exporter{SpanExporter: out, log: c.Log, spans: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "kgents_trace_spans_total",
		Help: "Spans handed to the OTLP receiver, or lost because it did not take them. Those dropped by a full queue are in neither.",
	}, []string{"result"})}
	e.life, e.end = context.WithCancel(context.Background())
	for _, r := range []string{"exported", "failed"} {
		e.spans.WithLabelValues(r)
	}
	c.Registerer.MustRegister(e.spans)
	return e
}

// ExportSpans implements sdktrace.SpanExporter. It returns no error, which would
// be written to stderr beside our log.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.life, cancel)()
	err := e.SpanExporter.ExportSpans(ctx, spans)
	if err == nil {
		e.spans.WithLabelValues("exported").Add(float64(len(spans)))
		if e.failing.Swap(false) {
			e.log.Info("the OTLP receiver takes traces again")
		}
		return nil
	}
	e.spans.WithLabelValues("failed").Add(float64(len(spans)))
	if !e.failing.Swap(true) {
		e.log.Warn("the OTLP receiver does not take traces: they are dropped until it does; nothing else suffers", "error", shorten(err))
	}
	return nil
}

// shorten cuts what a receiver may have put into its answer.
func shorten(err error) error {
	const most = 300
	if text := err.Error(); len(text) > most {
		return errors.New(strings.ToValidUTF8(text[:most], "") + " …")
	}
	return err
}
