package receive

import (
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/receive/stripe"
	"github.com/kgents/kgents/telemetry"
)

// webhook takes Stripe's events.
func (e *Edge) webhook(l *lease, w http.ResponseWriter, r *http.Request) (int, error) {
	start := time.Now()
	status, err := e.takeWebhook(l, w, r)
	telemetry.Observe(r.Context(), e.metrics.webhookLatency, time.Since(start).Seconds())
	return status, err
}

func (e *Edge) takeWebhook(l *lease, w http.ResponseWriter, r *http.Request) (int, error) {
	if len(e.WebhookSecrets) == 0 {
		return 0, e.failWebhook(r, "no_secret", "", kgents.Errorf(kgents.CodeMisconfig,
			"no webhook secret is set here: set STRIPE_WEBHOOK_SECRET to the endpoint's signing secret"))
	}
	signature := r.Header.Get("Stripe-Signature")
	if err := stripe.CheckHeader(signature); err != nil { // else there is nothing to read a body for
		return 0, e.failSignature(r, err)
	}
	err := l.join(&e.hooks)
	var body []byte
	if err == nil {
		body, err = l.read(r, MaxWebhookBytes)
	}
	if err != nil {
		return 0, e.failWebhook(r, string(kgents.ErrorCode(err)), "", err)
	}
	if err := stripe.Verify(body, signature, e.WebhookSecrets, time.Now()); err != nil {
		return 0, e.failSignature(r, err)
	}
	result, err := stripe.Translate(body)
	label := "other"
	if stripe.Handled(result.StripeType) {
		label = result.StripeType
	}
	e.metrics.received.WithLabelValues(label).Inc()
	if err != nil {
		return 0, e.failWebhook(r, "malformed", result.StripeID, err)
	}
	if result.Skipped != "" {
		e.metrics.skipped.WithLabelValues(result.Skipped).Inc()
		e.bridge.skip()
		e.Log.DebugContext(r.Context(), "stripe event is not one that counts", "reason", result.Skipped, "id", result.StripeID)
		return answer(w, map[string]any{"received": true, "skipped": result.Skipped})
	}
	if result.Event.Subject == stripe.Unattributed {
		e.quiet.warn(r.Context(), "unattributed", "stripe event names no customer, it counts for '"+stripe.Unattributed+"'", "id", result.StripeID)
	}
	fresh, err := e.admit(r, admitWebhook, []kgents.Event{result.Event})
	if err != nil {
		return 0, e.failWebhook(r, string(kgents.ErrorCode(err)), result.StripeID, err)
	}
	e.metrics.processed.WithLabelValues(label).Inc()
	e.metrics.accepted.Add(float64(fresh))
	e.metrics.duplicate.Add(float64(1 - fresh))
	e.bridge.process(time.Now())
	e.Log.DebugContext(r.Context(), "stripe event is durable", "id", result.StripeID, "type", result.StripeType, "fresh", fresh == 1)
	return answer(w, map[string]any{"received": true, "duplicate": fresh == 0})
}

func (e *Edge) failSignature(r *http.Request, err error) error {
	reason := stripe.ReasonWrong
	if s, ok := errors.AsType[*stripe.SignatureError](err); ok {
		reason = s.Reason
	}
	return e.failWebhook(r, reason, "", err)
}

func (e *Edge) failWebhook(r *http.Request, reason, id string, err error) error {
	e.metrics.webhookErrors.WithLabelValues(reason).Inc()
	e.bridge.fail()
	e.quiet.warn(r.Context(), "webhook "+reason, "stripe webhook refused", "reason", reason, "id", id, "error", err)
	return err
}

func answer(w http.ResponseWriter, v any) (int, error) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the event is durable whether or not Stripe hears of it
	return http.StatusOK, nil
}

// bridge is the state of the Stripe bridge since the start, for its health route.
type bridge struct {
	mu                         sync.Mutex
	processed, skipped, failed int
	last                       time.Time
}

func (b *bridge) process(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.processed++
	b.last = now
}

func (b *bridge) skip() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.skipped++
}

func (b *bridge) fail() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failed++
}

func (e *Edge) serveBridge(w http.ResponseWriter, _ *http.Request) {
	e.bridge.mu.Lock()
	defer e.bridge.mu.Unlock()
	state := struct {
		Status    string     `json:"status"` // ok, or unconfigured without a secret
		Secrets   int        `json:"secrets"`
		Processed int        `json:"processed"`
		Skipped   int        `json:"skipped"`
		Failed    int        `json:"failed"`
		Last      *time.Time `json:"last_processed,omitempty"`
	}{"ok", len(e.WebhookSecrets), e.bridge.processed, e.bridge.skipped, e.bridge.failed, nil}
	if state.Secrets == 0 {
		state.Status = "unconfigured"
	}
	if !e.bridge.last.IsZero() {
		state.Last = &e.bridge.last
	}
	_, _ = answer(w, state)
}
