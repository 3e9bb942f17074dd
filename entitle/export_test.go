package entitle

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// NewTestEngine returns an engine with a customer acme on Free, which reads nothing,
// and its time.
func NewTestEngine(t *testing.T) (*Engine, time.Time) {
	t.Helper()
	p := newPeople()
	p.put("acme", "free")
	now := time.Date(2026, 11, 20, 12, 30, 0, 0, time.UTC)
	e := newEngine(Config{
		Accounts: p, Catalog: p.Catalog, Log: quiet, Registerer: prometheus.NewRegistry(),
		Checkout: func(customer, plan string) string { return "https://example.com/buy?" + customer + "=" + plan },
	})
	e.now = func() time.Time { return now }
	return e, now
}

// Subscribe gives a customer of a test engine's a subscription.
func (e *Engine) Subscribe(customer string) {
	p := e.c.Accounts.(*people)
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.of[customer]
	a.Subscribed = true
	p.of[customer] = a
}
