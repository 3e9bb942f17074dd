// Package receive is the HTTP edge: Stripe's webhooks and usage events come in
// here.
//
// It promises that a 2xx is sent only when every event of the request is durable
// or, for a Stripe event that we don't count, when it has been noted. It
// authenticates before it reads a body, verifies a signature before anything
// looks at one, and tells the sender what is wrong without showing a secret or
// the payload, to the sender or the log.
//
// When nothing durable can take an event, the answer is 503 with Retry-After; so
// it is past the bounds of memory (64 MiB of bodies, 4,096 requests; webhooks may
// take a quarter of either, one API key, or one customer with all its keys, three
// quarters). A customer's key sends events of that customer only. A client
// that goes away does not stop the work on its events: they become durable, or
// their claims are given back.
package receive

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/receive/cloudevents"
	"github.com/kgents/kgents/telemetry"
)

const (
	// MaxWebhookBytes bounds a Stripe webhook, MaxEventsBytes a request with usage
	// events: cloudevents.MaxEvents of 160 bytes each.
	MaxWebhookBytes = 1 << 20
	MaxEventsBytes  = 8 << 20

	// admitWebhook and admitEvents bound the wait for durability. Stripe gives up
	// after about ten seconds.
	admitWebhook = 8 * time.Second
	admitEvents  = 10 * time.Second
)

// Admitter makes events durable. Nil means that all of them are, fresh of them
// by this call. An error is an *kgents.Error with CodeUnavailable or
// CodeTooLarge; some events may have become durable all the same, and sending
// all of them again is harmless.
type Admitter interface {
	Admit(ctx context.Context, events []kgents.Event) (fresh int, err error)
}

// Config is what an Edge needs.
type Config struct {
	Admitter       Admitter
	Keys           Keys
	RateLimit      RateLimit // of each key
	Limiter        Limiter   // of each customer's requests; nil: none
	Counted        Counted   // of customers' usage; nil: nobody needs to know
	WebhookSecrets []string  // empty: webhooks are answered with 500
	Log            *slog.Logger
	Registerer     prometheus.Registerer
	Tracer         trace.Tracer // nil: no traces
}

// Counted waits, for a moment at most, until what has been admitted by now counts where
// customers' limits are asked for, so that a customer who sends its usage and then asks
// is told of it. The events are durable already, whatever it does.
type Counted func(ctx context.Context)

// Edge serves the receiving routes.
type Edge struct {
	Config
	budget  budget
	hooks   budget // the webhooks' share of it
	metrics *metrics
	quiet   *quiet
	bridge  bridge
}

// New returns an Edge that registers its metrics.
func New(c Config) *Edge {
	e := &Edge{Config: c, metrics: newMetrics(c.Registerer), quiet: newQuiet(c.Log)}
	e.budget.maxBytes, e.budget.maxRequests = maxInFlight, maxRequests
	e.hooks.maxBytes, e.hooks.maxRequests = maxInFlight/webhookShare, maxRequests/webhookShare
	e.Keys.limiter = c.Limiter
	e.Keys.senders = newSenders(c.RateLimit, c.Keys, e.metrics.rateLimited, maxInFlight-e.hooks.maxBytes, maxRequests-e.hooks.maxRequests)
	c.Registerer.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "kgents_api_requests_in_flight",
		Help: "Webhooks and requests with usage events that are under way; past 4096 they are answered 503.",
	}, func() float64 { return float64(e.budget.requests.Load()) }))
	return e
}

// Register adds the routes to mux. GET /api/v1/events is left to whoever has a
// meter to ask.
func (e *Edge) Register(mux *http.ServeMux) {
	mux.Handle("POST /webhooks/stripe", e.handler("/webhooks/stripe", e.webhook))
	mux.Handle("/webhooks/stripe", Allow(http.MethodPost))
	mux.Handle("GET /webhooks/stripe/health", http.HandlerFunc(e.serveBridge))
	mux.Handle("/webhooks/stripe/health", Allow(http.MethodGet))
	mux.Handle("POST /api/v1/events", e.handler("/api/v1/events", e.events))
	mux.Handle("/api/v1/events", Allow(http.MethodGet, http.MethodPost))
}

// Allow answers what comes with another method.
func Allow(methods ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", strings.Join(methods, ", "))
		WriteProblem(w, r, kgents.Errorf(kgents.CodeMethod, "use %s here", strings.Join(methods, " or ")))
	})
}

// Authenticate lets only requests with an API key through that is within its rate,
// which all routes share.
func (e *Edge) Authenticate(next http.Handler) http.Handler { return RequireKey(e.Keys, next) }

// Instrument counts what next answers under route, and times what isn't a stream.
func (e *Edge) Instrument(route string, next http.Handler) http.Handler {
	timer := e.metrics.route(route)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start, rec := time.Now(), &recorder{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(rec, r)
		if rec.Header().Get("Content-Type") == "text/event-stream" { // open as long as its client likes
			timer.count(r, rec.status)
			return
		}
		timer.observe(r, rec.status, time.Since(start))
	})
}

// handler runs serve within the budget. Serve answers by itself when it returns
// a status, and leaves it to us when it returns an error.
func (e *Edge) handler(route string, serve func(*lease, http.ResponseWriter, *http.Request) (int, error)) http.Handler {
	timer := e.metrics.route(route)
	// A series that is born with its first error has no rate until the second.
	e.metrics.requests.WithLabelValues(route, http.MethodPost, "503")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		var span trace.Span
		if e.Tracer != nil {
			r, span = telemetry.StartRequest(e.Tracer, r, route, "receive")
		}
		l, err := lease{whole: &e.budget}, e.budget.enter()
		status := 0
		if err == nil {
			status, err = serve(&l, w, r)
			l.leave()
		}
		if err != nil {
			status = WriteProblem(w, r, err)
		}
		timer.observe(r, status, time.Since(start))
		if span != nil {
			telemetry.EndRequest(span, status)
		}
	})
}

// events takes usage events.
func (e *Edge) events(l *lease, w http.ResponseWriter, r *http.Request) (int, error) {
	caller, from, err := e.Keys.check(w.Header(), r)
	if err == nil {
		err = caller.Require(kgents.ScopeIngest)
	}
	if err == nil {
		err = l.join(&from.room)
	}
	if err != nil {
		return 0, e.refuse(r, string(kgents.ErrorCode(err)), err)
	}
	body, err := l.read(r, MaxEventsBytes)
	if err != nil {
		return 0, e.refuse(r, string(kgents.ErrorCode(err)), err)
	}
	events, err := cloudevents.DecodeFor(caller.Customer, r.Header.Get("Content-Type"), body, time.Now())
	if err == nil {
		err = reserved(events)
	}
	if err != nil {
		return 0, e.refuse(r, string(kgents.ErrorCode(err)), err)
	}
	fresh, err := e.admit(r, admitEvents, events)
	if err != nil {
		return 0, e.refuse(r, string(kgents.ErrorCode(err)), err)
	}
	e.metrics.accepted.Add(float64(fresh))
	e.metrics.duplicate.Add(float64(len(events) - fresh))
	if e.Counted != nil && fresh > 0 && caller.Customer != "" { // the operator's are too many to wait for
		e.Counted(r.Context())
	}
	w.WriteHeader(http.StatusNoContent)
	return http.StatusNoContent, nil
}

// reserved refuses events that pretend to be Stripe's, or our own.
func reserved(events []kgents.Event) error {
	var refusal *kgents.Error
	for i, event := range events {
		if !kgents.Reserved(event.Source) {
			continue
		}
		if refusal == nil {
			refusal = kgents.Errorf(kgents.CodeInvalid, "the source %q is reserved for events that Stripe, or this program itself, has sent: choose another", event.Source)
		}
		if len(refusal.Items) < 100 {
			refusal.Items = append(refusal.Items, kgents.Item{Index: i, Message: "has a reserved source"})
		}
	}
	if refusal == nil {
		return nil
	}
	return refusal
}

// admit outlives the client: what was claimed becomes durable or is given back.
func (e *Edge) admit(r *http.Request, patience time.Duration, events []kgents.Event) (int, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), patience)
	defer cancel()
	return e.Admitter.Admit(ctx, events)
}

// refuse notes why a request was refused and returns err.
func (e *Edge) refuse(r *http.Request, reason string, err error) error {
	e.metrics.refused.WithLabelValues(reason).Inc()
	e.quiet.warn(r.Context(), reason, "request refused", "path", r.URL.Path, "error", err)
	return err
}

// recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
