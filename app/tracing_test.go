package app_test

import (
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	pb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/kgents/kgents/config"
)

// span is one that the receiver was sent, with the service that made it.
type span struct {
	*pb.Span
	service string
}

func (s span) attr(key string) string {
	for _, a := range s.Attributes {
		if a.Key == key {
			return value(a.Value)
		}
	}
	return ""
}

func value(v *common.AnyValue) string {
	switch v := v.GetValue().(type) {
	case *common.AnyValue_StringValue:
		return v.StringValue
	case *common.AnyValue_IntValue:
		return fmt.Sprint(v.IntValue)
	default:
		return v.(fmt.Stringer).String()
	}
}

// otlp is a receiver of traces.
type otlp struct {
	url string

	mu    sync.Mutex
	spans []span
	raw   strings.Builder // every request, as it came
}

// newOTLP starts a receiver, and makes the SDK send to it without delay.
func newOTLP(t *testing.T) *otlp {
	t.Helper()
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
	o := &otlp{}
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var req collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &req)
		}
		if err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
			t.Errorf("the receiver got %s %q (%v)", r.URL.Path, r.Header, err)
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		o.raw.Write(body)
		for _, rs := range req.ResourceSpans {
			var service string
			for _, a := range rs.Resource.Attributes {
				if a.Key == "service.name" {
					service = value(a.Value)
				}
			}
			for _, ss := range rs.ScopeSpans {
				for _, s := range ss.Spans {
					o.spans = append(o.spans, span{s, service})
				}
			}
		}
	}))
	t.Cleanup(s.Close)
	o.url = s.URL
	return o
}

// trace returns the spans of a trace by name and service; one of each is enough
// here.
func (o *otlp) trace(id string) map[string]span {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := map[string]span{}
	for _, s := range o.spans {
		if hex.EncodeToString(s.TraceId) == id {
			out[s.attr("kgents.stage")+" "+s.Kind.String()] = s
		}
	}
	return out
}

// wait returns the spans of a trace when it has one of each name.
func (o *otlp) wait(t *testing.T, id string, names ...string) (spans map[string]span) {
	t.Helper()
	eventually(t, "the whole of trace "+id, func() bool {
		spans = o.trace(id)
		return !slices.ContainsFunc(names, func(n string) bool { return spans[n].Span == nil })
	})
	return spans
}

// The stages of an event, as trace calls their spans.
const (
	received  = "receive SPAN_KIND_SERVER"
	admitted  = "admit SPAN_KIND_INTERNAL"
	published = "publish SPAN_KIND_PRODUCER"
	consumed  = "consume SPAN_KIND_CONSUMER"
	asked     = "meter SPAN_KIND_CLIENT"
	answered  = "meter SPAN_KIND_SERVER"
)

var chain = []string{received, admitted, published, consumed, asked, answered}

const (
	traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	caller  = "00f067aa0ba902b7"
)

// traced is req within a trace of the caller's.
func traced(req *http.Request, trace string) *http.Request {
	req.Header.Set("Traceparent", "00-"+trace+"-"+caller+"-01")
	req.Header.Set("Tracestate", "vendor=hush-state,other=2")
	return req
}

// One trace goes from the caller's span to the meter's answer, in one process and
// through a NATS between three.
func TestTraceFromRequestToMeter(t *testing.T) {
	for _, test := range []struct {
		name     string
		start    func(t *testing.T, o *otlp) *program
		services []string // of the chain
	}{
		{"up", func(t *testing.T, o *otlp) *program {
			return start(t, config.RoleUp, settings(t, config.RoleUp, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": o.url}))
		}, []string{"kgents", "kgents", "kgents", "kgents", "kgents", "kgents"}},
		{"api, sink and meter", func(t *testing.T, o *otlp) *program {
			env := map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": o.url}
			m := start(t, config.RoleMeter, settings(t, config.RoleMeter, env))
			env["NATS_SERVERS"], env["OPENMETER_BASE_URL"], env["OPENMETER_API_KEY"] = "nats://"+natsServer(t, true), m.URL(), apiKey
			api := start(t, config.RoleAPI, settings(t, config.RoleAPI, env))
			api.ready()
			start(t, config.RoleSink, settings(t, config.RoleSink, env)).ready()
			return api
		}, []string{"kgents-api", "kgents-api", "kgents-api", "kgents-sink", "kgents-sink", "kgents-meter"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := newOTLP(t)
			p := test.start(t, o)
			p.ready()
			if a := p.send(traced(p.interaction("traced-1"), traceID)); a.status != http.StatusNoContent {
				t.Fatalf("answer is %d %s", a.status, a.body)
			}
			spans := o.wait(t, traceID, chain...)
			parent, services := caller, []string(nil)
			for _, name := range chain {
				s := spans[name]
				if got := hex.EncodeToString(s.ParentSpanId); got != parent {
					t.Errorf("%s has parent %s, want %s", name, got, parent)
				}
				if s.TraceState != "" || s.Status.GetCode() == pb.Status_STATUS_CODE_ERROR {
					t.Errorf("%s has state %q and status %v", name, s.TraceState, s.Status)
				}
				parent, services = hex.EncodeToString(s.SpanId), append(services, s.service)
			}
			if d := cmp.Diff(test.services, services); d != "" {
				t.Errorf("services (-want +got):\n%s", d)
			}
			checkAttributes(t, spans)
			o.checkNothingPrivate(t)
			checkExemplar(t, p, "kgents_api_request_latency_seconds", "kgents_nats_publish_latency_seconds")
		})
	}
}

func checkAttributes(t *testing.T, spans map[string]span) {
	t.Helper()
	for _, test := range []struct{ name, title, attributes string }{
		{received, "POST /api/v1/events", "http.request.method=POST http.route=/api/v1/events http.response.status_code=204"},
		{admitted, "admit", "cloudevents.event_id=traced-1 cloudevents.event_type=town.interaction kgents.events.count=1 kgents.events.fresh=1"},
		{published, "publish kgent.events", "cloudevents.event_id=traced-1 cloudevents.event_type=town.interaction messaging.system=nats messaging.operation.type=send messaging.destination.name=kgent.events"},
		{consumed, "process kgent.events", "kgents.events.count=1 messaging.system=nats messaging.operation.type=process messaging.batch.message_count=1 messaging.consumer.group.name=sink"},
		{asked, "POST /api/v1/events", "http.request.method=POST http.response.status_code=204 server.address=127.0.0.1"},
		{answered, "POST /api/v1/events", "http.response.status_code=204 http.route=/api/v1/events"},
	} {
		s := spans[test.name]
		if s.Name != test.title {
			t.Errorf("%s is called %q, want %q", test.name, s.Name, test.title)
		}
		for pair := range strings.FieldsSeq(test.attributes) {
			key, want, _ := strings.Cut(pair, "=")
			if got := s.attr(key); got != want {
				t.Errorf("%s has %s=%q, want %q", test.name, key, got, want)
			}
		}
	}
	if a, b := spans[published].attr("messaging.message.id"), spans[consumed].attr("messaging.message.id"); a == "" || a != b {
		t.Errorf("message %q was published, %q processed", a, b)
	}
}

// checkNothingPrivate looks at all that the receiver was sent, not only where it
// would be expected.
func (o *otlp) checkNothingPrivate(t *testing.T) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, private := range []string{
		"smallville", "greet", "customer-1", // the data and the subject
		"cus_1", "4900", // Stripe's
		apiKey, webhookSecret, "Bearer", "hush-state",
	} {
		if strings.Contains(o.raw.String(), private) {
			t.Errorf("the receiver of traces was sent %q", private)
		}
	}
}

// checkExemplar: a latency on a dashboard leads to its trace.
func checkExemplar(t *testing.T, p *program, metrics ...string) {
	t.Helper()
	req := p.request(http.MethodGet, "/metrics", "")
	req.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	a := p.send(req)
	for _, metric := range metrics {
		if !regexp.MustCompile(metric + `_bucket\{.*\} [0-9]+ # \{.*trace_id="` + traceID + `".*\}`).MatchString(a.body) {
			t.Errorf("%s has no exemplar with the trace", metric)
		}
	}
	if !strings.HasPrefix(a.header.Get("Content-Type"), "application/openmetrics-text") {
		t.Errorf("/metrics is %s", a.header.Get("Content-Type"))
	}
	if plain := p.get("/metrics"); strings.Contains(plain.body, "trace_id") || !strings.HasPrefix(plain.header.Get("Content-Type"), "text/plain") {
		t.Errorf("who does not ask for OpenMetrics gets %s, with exemplars %t", plain.header.Get("Content-Type"), strings.Contains(plain.body, "trace_id"))
	}
}

// A refused webhook's log line leads to its trace, and a payment's trace holds no
// payment.
func TestTraceOfWebhook(t *testing.T) {
	o := newOTLP(t)
	p := start(t, config.RoleUp, settings(t, config.RoleUp, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": o.url}))
	p.ready()
	if a := p.send(traced(p.webhook("evt_1", "invoice.paid"), traceID)); a.status != http.StatusOK {
		t.Fatalf("answer is %d %s", a.status, a.body)
	}
	spans := o.wait(t, traceID, chain...)
	if got := spans[admitted].attr("cloudevents.event_id"); got != "evt_1" {
		t.Errorf("the admitted event is %q", got)
	}
	checkExemplar(t, p, "kgents_stripe_webhook_latency_seconds", "kgents_openmeter_flush_latency_seconds")
	const other = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	if a := p.send(traced(p.request(http.MethodPost, "/webhooks/stripe", "{}"), other)); a.status != http.StatusBadRequest {
		t.Fatalf("answer is %d %s", a.status, a.body)
	}
	refused := o.wait(t, other, received)[received]
	if got := refused.attr("http.response.status_code"); got != "400" || refused.Status.GetCode() == pb.Status_STATUS_CODE_ERROR {
		t.Errorf("status is %s, %v: a caller's mistake is no error of ours", got, refused.Status)
	}
	if !regexp.MustCompile(`stripe webhook refused.* trace_id=` + other).MatchString(p.log.String()) {
		t.Errorf("the line of the refusal has no trace_id")
	}
	o.checkNothingPrivate(t)
}

// What a caller has decided not to sample is nowhere.
func TestUnsampledLeavesNoTrace(t *testing.T) {
	o := newOTLP(t)
	p := start(t, config.RoleUp, settings(t, config.RoleUp, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": o.url}))
	p.ready()
	req := p.interaction("1")
	req.Header.Set("Traceparent", "00-"+traceID+"-"+caller+"-00")
	p.send(req)
	eventually(t, "the event is metered", func() bool { return p.interactions() == 1 })
	p.stop() // hands over what there is
	if o.mu.Lock(); len(o.spans) > 0 {
		t.Errorf("%d spans were sent, the first %v", len(o.spans), o.spans[0])
	}
	o.mu.Unlock()
}

// A receiver that is away costs spans, and neither a request nor the stop.
func TestReceiverAway(t *testing.T) {
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
	away := newGate(t) // whoever connects is cut off
	p := start(t, config.RoleUp, settings(t, config.RoleUp, map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT": "http://" + away.l.Addr().String(),
	}))
	p.ready()
	for i := range 20 {
		if a := p.send(p.interaction(fmt.Sprint(i))); a.status != http.StatusNoContent {
			t.Fatalf("answer is %d %s", a.status, a.body)
		}
	}
	eventually(t, "the events are metered", func() bool { return p.interactions() == 20 })
	p.stop()
	if !strings.Contains(p.log.String(), "the OTLP receiver does not take traces") {
		t.Error("nothing is said about it")
	}
}
