package app

import (
	"log/slog"
	"net"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
)

// Registry holds all metrics of the role.
func (a *App) Registry() *prometheus.Registry { return a.reg }

// NewServer is the HTTP server that every role runs, with its bounds.
func NewServer(h http.Handler, log *slog.Logger) *http.Server { return newServer(h, log) }

// Bounded is a listener as every role uses it, and MaxConnections its bound.
func Bounded(l net.Listener) net.Listener { return bounded(l) }

const MaxConnections = maxConnections
