package receive_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/kgents/kgents/admit"
	"github.com/kgents/kgents/admit/memory"
	"github.com/kgents/kgents/publish"
	"github.com/kgents/kgents/receive"
)

// instant is a JetStream that takes everything at once.
type instant struct{}

func (instant) PublishMsg(context.Context, *nats.Msg, ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	return &jetstream.PubAck{}, nil
}

// silent is an answer that nobody reads.
type silent struct {
	header http.Header
	status int
}

func (s *silent) Header() http.Header         { return s.header }
func (s *silent) Write(b []byte) (int, error) { return len(b), nil }
func (s *silent) WriteHeader(status int)      { s.status = status }

// BenchmarkReceipt is the way of one event from the request to the message's
// acknowledgement, without network and disk: what tracing costs there.
func BenchmarkReceipt(b *testing.B) {
	provider := func(s sdktrace.Sampler) trace.Tracer {
		return sdktrace.NewTracerProvider(sdktrace.WithSampler(s), sdktrace.WithBatcher(tracetest.NewNoopExporter())).Tracer("bench")
	}
	for _, bench := range []struct {
		name   string
		tracer trace.Tracer
	}{
		{"off", nil},
		{"unsampled", provider(sdktrace.NeverSample())},
		{"sampled", provider(sdktrace.AlwaysSample())},
	} {
		b.Run(bench.name, func(b *testing.B) {
			log, reg := slog.New(slog.DiscardHandler), prometheus.NewRegistry()
			pub := publish.New(publish.Config{
				Sender: instant{}, MaxPayload: func() int64 { return 0 }, Log: log, Registerer: reg, Tracer: bench.tracer,
			})
			defer pub.Close()
			mux := http.NewServeMux()
			receive.New(receive.Config{
				Admitter: admit.New(memory.New(memory.DefaultCapacity), pub, log, reg),
				Keys:     receive.NewKeys([]string{"key"}), Log: log, Registerer: reg, Tracer: bench.tracer,
			}).Register(mux)
			req := httptest.NewRequest(http.MethodPost, "/api/v1/events", nil)
			req.Header.Set("Authorization", "Bearer key")
			req.Header.Set("Content-Type", "application/cloudevents+json")
			body, n := &bytes.Reader{}, 0
			b.ReportAllocs()
			for b.Loop() {
				n++
				event := []byte(`{"specversion":"1.0","id":"` + strconv.Itoa(1_000_000_000+n) + `","source":"bench","type":"t","subject":"c","data":{"n":1}}`)
				body.Reset(event)
				req.Body, req.ContentLength = io.NopCloser(body), int64(len(event))
				w := silent{header: http.Header{}}
				mux.ServeHTTP(&w, req)
				if w.status != http.StatusNoContent {
					b.Fatalf("answer is %d", w.status)
				}
			}
		})
	}
}
