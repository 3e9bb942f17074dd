package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/meter"
	"github.com/kgents/kgents/publish"
	"github.com/kgents/kgents/receive"
	"github.com/kgents/kgents/telemetry"
)

// unhealthyAfter is how long a meter may fail before it is unhealthy rather than
// degraded: a restart of it is no emergency.
const unhealthyAfter = time.Minute

// lateAfter is the age of the oldest unmetered event past which the pipeline is
// degraded.
const lateAfter = 2 * time.Minute

// The states of GET /health.
const (
	healthOK       = "ok"
	healthDegraded = "degraded"
	healthError    = "error"
)

// saas is the answer of GET /health/saas.
type saas struct {
	Status    string          `json:"status"`
	NATS      natsHealth      `json:"nats"`
	OpenMeter openMeterHealth `json:"openmeter"`
	Redis     redisHealth     `json:"redis"`
	Backlog   *backlogHealth  `json:"backlog,omitempty"`

	// What plans rest on, where the role has it.
	Customers     *partHealth `json:"customers,omitempty"`
	Subscriptions *partHealth `json:"subscriptions,omitempty"`
	Entitlements  *partHealth `json:"entitlements,omitempty"`
}

type natsHealth struct {
	Status  string `json:"status"` // healthy, disconnected, circuit_open or disabled
	Mode    string `json:"mode,omitempty"`
	Circuit string `json:"circuit,omitempty"`
	Spooled int    `json:"spooled_events,omitempty"` // on local disk, waiting
	Detail  string `json:"detail,omitempty"`
}

type openMeterHealth struct {
	Status    string     `json:"status"` // healthy, degraded, unhealthy or disabled
	Embedded  bool       `json:"embedded"`
	LastTaken *time.Time `json:"last_taken,omitempty"`
	Detail    string     `json:"detail,omitempty"`
}

type redisHealth struct {
	Status string `json:"status"`
	Detail string `json:"detail,omitempty"`
}

type backlogHealth struct {
	Messages  int64   `json:"messages"`
	OldestAge float64 `json:"oldest_age_seconds"`
}

type component struct {
	Name   string `json:"name"`
	Status string `json:"status"`
	Detail string `json:"detail,omitempty"`
}

type health struct {
	Status     string      `json:"status"`
	Role       string      `json:"role"`
	Version    string      `json:"version"`
	Components []component `json:"components"`
}

// saas composes the state of the pipeline from memory.
func (w *watch) saas(now time.Time) saas {
	s := saas{
		NATS:      natsHealth{Status: "disabled"},
		OpenMeter: openMeterHealth{Status: "disabled"},
		Redis:     redisHealth{Status: "disabled", Detail: "identities are kept in memory"},
	}
	if store := w.app.identities; store != nil {
		s.Redis = redisHealth{Status: "healthy"}
		if st := store.Status(); st.Away {
			s.Redis = redisHealth{Status: "fallback", Detail: "identities are kept in memory until Redis is back: " + st.Err.Error()}
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.app.nats != nil {
		s.NATS = w.natsHealth()
		if w.known {
			s.Backlog = &backlogHealth{Messages: w.backlog.Messages, OldestAge: w.age.Seconds()}
		}
	}
	switch {
	case w.app.meter != nil:
		s.OpenMeter = w.meterHealth(now)
	case w.app.meterWeb != nil:
		s.OpenMeter = openMeterHealth{Status: "healthy", Embedded: true}
	}
	s.Customers, s.Subscriptions, s.Entitlements = w.app.customersHealth(now), w.app.subscriptionsHealth(now), w.app.entitlementsHealth(now)
	s.Status = worst(s.statuses()...)
	return s
}

func (w *watch) natsHealth() natsHealth {
	h := natsHealth{Status: "healthy", Mode: "jetstream"}
	if p := w.app.publisher; p != nil {
		circuit := p.Breaker().State()
		h.Circuit = circuit.String()
		if circuit == publish.Open {
			h.Status, h.Detail = "circuit_open", "events are refused with 503 until NATS is back"
		}
	}
	if state := w.app.nats.Status(); state != nats.CONNECTED {
		h.Status, h.Detail = "disconnected", "the connection is being made again"
	} else if !w.ensured && h.Status == "healthy" && !w.seen.IsZero() {
		h.Status, h.Detail = "disconnected", "connected, but JetStream does not answer for the stream "+w.app.streams.Name
	}
	if w.app.spool == nil {
		return h
	}
	if h.Status != "healthy" {
		h.Mode, h.Detail = "fallback", h.Detail+"; events go to local disk meanwhile"
		if h.Status == "circuit_open" {
			h.Detail = "events go to local disk until NATS is back"
		}
	}
	if waiting := w.app.spool.Status(); waiting.Messages > 0 {
		h.Spooled = waiting.Events
	}
	return h
}

func (w *watch) meterHealth(now time.Time) openMeterHealth {
	h := openMeterHealth{Status: "healthy", Embedded: w.app.config.EmbeddedMeter()}
	failing, err := w.failing, w.meter
	if w.app.sink != nil {
		st := w.app.sink.Status()
		if !st.Taken.IsZero() {
			h.LastTaken = &st.Taken
		}
		if !st.Failing.IsZero() && (failing.IsZero() || st.Failing.Before(failing)) {
			failing, err = st.Failing, st.Err
			if st.Class == meter.Blocked {
				h.Status = "unhealthy"
			}
		}
	}
	if failing.IsZero() {
		return h
	}
	h.Detail = meterDetail(err)
	if h.Status == "healthy" {
		h.Status = "degraded"
	}
	if now.Sub(failing) >= unhealthyAfter {
		h.Status = "unhealthy"
	}
	return h
}

// meterDetail is err without the meter's own words: they may repeat the key that
// it was sent, and health is open to all.
func meterDetail(err error) string {
	if e, ok := errors.AsType[*meter.Error](err); ok && e.Status != 0 {
		return fmt.Sprintf("the meter answered %d %s", e.Status, http.StatusText(e.Status))
	}
	return err.Error()
}

// statuses sorts what /health/saas says into the three states of /health.
func (s saas) statuses() []string {
	out := []string{healthOK}
	switch {
	case s.NATS.Status != "disconnected" && s.NATS.Status != "circuit_open":
	case s.NATS.Mode == "fallback":
		out = append(out, healthDegraded) // events are safe on local disk
	default:
		out = append(out, healthError) // nothing can be made durable
	}
	if s.Redis.Status == "fallback" {
		out = append(out, healthDegraded) // replicas don't see each other's identities
	}
	if s.OpenMeter.Status == "degraded" || s.OpenMeter.Status == "unhealthy" {
		out = append(out, healthDegraded) // events are safe, only late
	}
	if s.Backlog != nil && s.Backlog.OldestAge > lateAfter.Seconds() {
		out = append(out, healthDegraded)
	}
	for _, part := range []*partHealth{s.Customers, s.Subscriptions, s.Entitlements} {
		if part != nil && part.Status == healthDegraded {
			out = append(out, healthDegraded) // events are taken all the same
		}
	}
	return out
}

func worst(statuses ...string) string {
	rank := map[string]int{healthOK: 0, healthDegraded: 1, healthError: 2}
	out := healthOK
	for _, s := range statuses {
		if rank[s] > rank[out] {
			out = s
		}
	}
	return out
}

func (w *watch) health(now time.Time) health {
	s := w.saas(now)
	h := health{Status: s.Status, Role: string(w.app.role), Version: telemetry.ReadBuild().Version}
	h.Components = append(h.Components,
		component{"nats", s.NATS.Status, s.NATS.Detail},
		component{"openmeter", s.OpenMeter.Status, s.OpenMeter.Detail},
		component{"redis", s.Redis.Status, s.Redis.Detail})
	if b := s.Backlog; b != nil {
		state := healthOK
		if b.OldestAge > lateAfter.Seconds() {
			state = healthDegraded
		}
		h.Components = append(h.Components, component{"backlog", state,
			fmt.Sprintf("%d messages, the oldest %.0f s old", b.Messages, b.OldestAge)})
	}
	for _, part := range []struct {
		name string
		*partHealth
	}{{"customers", s.Customers}, {"subscriptions", s.Subscriptions}, {"entitlements", s.Entitlements}} {
		if part.partHealth != nil {
			h.Components = append(h.Components, component{part.name, part.Status, part.Detail})
		}
	}
	return h
}

func (w *watch) serveHealth(rw http.ResponseWriter, _ *http.Request) {
	h := w.health(time.Now())
	status := http.StatusOK
	if h.Status == healthError { // for monitors that look at nothing else
		status = http.StatusServiceUnavailable
	}
	writeJSON(rw, status, h)
}

func (w *watch) serveSaaS(rw http.ResponseWriter, _ *http.Request) {
	writeJSON(rw, http.StatusOK, w.saas(time.Now()))
}

// serveReady answers 200 when requests make sense here: not while stopping, and,
// without a spool, not before NATS was reached for the first time. A NATS that goes away later
// does not take the pods out of service: their 503 tells a client more than a
// refused connection.
func (w *watch) serveReady(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	started := w.app.nats == nil || w.app.spool != nil || w.ensured
	w.mu.Unlock()
	// A replica that doesn't know the customers yet would answer their keys with 503.
	known := w.app.edge == nil || w.app.spool != nil || w.app.customers.Ready()
	switch {
	case w.app.stopping.Load():
		receive.WriteProblem(rw, r, kgents.Unavailable(time.Second, "the program is stopping", nil))
	case !started:
		receive.WriteProblem(rw, r, kgents.Unavailable(time.Second, "NATS has not been reached yet", nil))
	case !known:
		receive.WriteProblem(rw, r, kgents.Unavailable(time.Second, "the customers and their API keys are being read", nil))
	default:
		_, _ = rw.Write([]byte("ok\n"))
	}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v)
}
