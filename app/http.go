package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/cors"
	"golang.org/x/net/netutil"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/config"
	"github.com/kgents/kgents/consume/deadletter"
	"github.com/kgents/kgents/history"
	"github.com/kgents/kgents/receive"
	"github.com/kgents/kgents/system"
	"github.com/kgents/kgents/trace"
)

// Bounds of the HTTP server.
const (
	maxConnections = 16_384           // further ones wait to be accepted
	headerTimeout  = 5 * time.Second  // for the headers of a request
	readTimeout    = 30 * time.Second // for all of a request: a client may not send a byte a minute
	writeTimeout   = 90 * time.Second // for the answer, a long query's included
	idleTimeout    = 2 * time.Minute
	maxHeader      = 32 << 10
)

func newServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// bounded holds at most maxConnections of l's at once. Further clients wait in the
// kernel's queue and cost the program nothing.
func bounded(l net.Listener) net.Listener { return netutil.LimitListener(l, maxConnections) }

// serve starts HTTP. What it serves is complete by now.
func (a *App) serve() {
	server := newServer(a.routes(), a.log)
	var clients *linger // nil where nobody balances requests over several of us
	if a.role == config.RoleAPI {
		clients = newLinger()
		server.Handler, server.ConnState = clients.handler(server.Handler), clients.track
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(bounded(a.listener)); !errors.Is(err, http.ErrServerClosed) {
			a.failed <- fmt.Errorf("the HTTP server ended: %w", err)
		}
	}()
	a.onStop(func() {
		if clients != nil && a.stopping.Load() {
			clients.wait()
		}
		ctx, cancel := context.WithTimeout(context.Background(), requestDrain)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			a.log.Warn("requests were cut off after the time to drain", "error", err)
			_ = server.Close()
		}
		<-done
	})
}

// routes is everything on the port.
func (a *App) routes() http.Handler {
	mux := http.NewServeMux()
	if a.edge != nil {
		a.edge.Register(mux)
		a.passOn(mux)
		a.serveLinks(mux)
		mux.Handle("POST /api/v1/canaries", a.operators("/api/v1/canaries", http.HandlerFunc(a.serveCanaries)))
	}
	if a.nats != nil {
		deadletter.NewAPI(deadletter.NewStore(a.js, a.streams), a.log).Register(mux, a.operators)
	}
	if a.role == config.RoleMeter {
		mux.Handle("/api/", a.authenticate(receive.RequireOperator(a.meterWeb)))
	}
	if a.reconciler != nil {
		mux.Handle("POST /api/v1/reconcile", a.authenticate(receive.RequireOperator(a.reconciler)))
	}
	if err := a.serveV1(mux); err != nil {
		panic(err) // a route's shape can't be described: a defect that every start shows
	}
	if a.nats != nil {
		mux.Handle("GET "+system.Path, a.operators(system.Path, newSystemView(a)))
	}
	if a.past != nil {
		history.NewAPI(a.past, a.series).Register(mux, a.operators)
		mux.Handle("GET "+trace.Path, a.operators(trace.Path, a.followEvents()))
	}
	mux.HandleFunc("GET /health", a.watch.serveHealth)
	mux.HandleFunc("GET /health/saas", a.watch.serveSaaS)
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", a.watch.serveReady)
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.reg, promhttp.HandlerOpts{Registry: a.reg, EnableOpenMetrics: true}))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		receive.WriteProblem(w, r, kgents.Errorf(kgents.CodeNotFound,
			"there is nothing at this path: events go to POST /api/v1/events, Stripe's webhooks to POST /webhooks/stripe"))
	})
	if len(a.config.CORSOrigins) == 0 {
		return receive.Secure(mux)
	}
	// Never with credentials: what a browser holds of ours, it sends by hand.
	return receive.Secure(cors.New(cors.Options{
		AllowedOrigins: a.config.CORSOrigins,
		AllowedMethods: []string{http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete},
		AllowedHeaders: []string{"Authorization", "Content-Type", "Idempotency-Key", "If-Match"},
		ExposedHeaders: []string{"ETag", "Retry-After", "RateLimit", "RateLimit-Policy"},
	}).Handler(mux))
}

// authenticate lets only requests with an API key through to next. Where there is
// an edge, its limit of a key's rate holds here too. What an operator's key changes is
// noted.
func (a *App) authenticate(next http.Handler) http.Handler {
	next = a.audit(next)
	if a.edge == nil {
		return receive.RequireKey(a.keys(), next)
	}
	return a.edge.Authenticate(next)
}

// operators is guard for routes that are for the operator's keys only.
func (a *App) operators(route string, next http.Handler) http.Handler {
	return a.guard(route, receive.RequireOperator(next))
}

// guard is authenticate, and counts and times where there is an edge to do so.
func (a *App) guard(route string, next http.Handler) http.Handler {
	next = a.authenticate(next)
	if a.edge == nil {
		return next
	}
	return a.edge.Instrument(route, next)
}
