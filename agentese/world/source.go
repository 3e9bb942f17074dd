package world

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/api/client"
	"github.com/kgents/kgents/system"
)

// saas is what /health/saas says.
type saas struct {
	Status string `json:"status"`
	NATS   struct {
		Status  string `json:"status"`
		Mode    string `json:"mode"`
		Circuit string `json:"circuit"`
		Spooled int64  `json:"spooled_events"`
		Detail  string `json:"detail"`
	} `json:"nats"`
	OpenMeter struct {
		Status    string     `json:"status"`
		Embedded  bool       `json:"embedded"`
		LastTaken *time.Time `json:"last_taken"`
		Detail    string     `json:"detail"`
	} `json:"openmeter"`
	Redis   part `json:"redis"`
	Backlog *struct {
		Messages  int64   `json:"messages"`
		OldestAge float64 `json:"oldest_age_seconds"`
	} `json:"backlog"`
	Customers     *part `json:"customers"`
	Subscriptions *part `json:"subscriptions"`
	Entitlements  *part `json:"entitlements"`
}

type part struct {
	Status string `json:"status"`
	Detail string `json:"detail"`
}

// report is GET /api/v1/system.
func (w *world) report(ctx context.Context, c *tree.Call) (r system.Report, err error) {
	err = w.For(c).Get(ctx, system.Path, nil, &r)
	if client.Status(err) == http.StatusNotFound {
		return r, living.Away("the program", system.ErrOld)
	}
	if client.Status(err) == http.StatusForbidden {
		return r, living.Away("the inside of the program", err)
	}
	return r, living.Away("the program", err)
}

// health is GET /health/saas.
func (w *world) health(ctx context.Context, c *tree.Call) (s saas, err error) {
	err = w.For(c).Get(ctx, "/health/saas", nil, &s)
	return s, living.Away("the program", err)
}

// seconds is a length of time; nil stays nil.
func seconds(v any) any {
	if f, ok := number(v); ok {
		return time.Duration(f * float64(time.Second))
	}
	return nil
}

// percent is a share of a whole in percent; nil without one of them.
func percent(part, whole any) any {
	p, okp := number(part)
	q, okq := number(whole)
	if !okp || !okq || q == 0 {
		return nil
	}
	return p / q * 100
}

// moment is a time; nil for the zero time.
func moment(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t
}

// add appends a figure with a verdict and a note.
func add(v *tree.Value, name string, value any, unit string, state tree.State, note string) {
	v.Fields = append(v.Fields, tree.Field{Name: name, Value: value, Unit: unit, State: state, Note: note})
}

// unknown tells what could not be had, and why.
func unknown(v *tree.Value, what string, err error) { living.Missing(v, what, err) }

// text is a value, or nil for an empty one.
func text(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// length is a time in words as one writes it in a clause: 1h, 90m, 10s.
func length(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
