package app

import (
	"context"
	"log/slog"
	"net"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents/billing"
	"github.com/kgents/kgents/subscription"
)

// Registry holds all metrics of the role.
func (a *App) Registry() *prometheus.Registry { return a.reg }

// NewServer is the HTTP server that every role runs, with its bounds.
func NewServer(h http.Handler, log *slog.Logger) *http.Server { return newServer(h, log) }

// Bounded is a listener as every role uses it, and MaxConnections its bound.
func Bounded(l net.Listener) net.Listener { return bounded(l) }

const MaxConnections = maxConnections

// ReportOverage makes a run of the reporter of overage, whoever's turn it is.
func (a *App) ReportOverage(ctx context.Context) (billing.Report, error) { return a.overage.Run(ctx) }

// Follow takes what Stripe has told about a customer, as the consumer of webhooks does.
func (a *App) Follow(ctx context.Context, stripe, ref string, changes ...subscription.Change) error {
	return a.customers.Apply(ctx, stripe, ref, changes)
}

// DemoTowns lets the towns of the demo's customers live until ctx ends.
func (a *App) DemoTowns(ctx context.Context) { a.demoTowns(ctx) }

// Subscribed tells whether a customer who stands so is refused a link to checkout.
func Subscribed(s subscription.Standing) bool { return subscribed(s) }
