package app

import (
	"context"
	"net/http"

	"github.com/kgents/kgents/config"
	"github.com/kgents/kgents/telemetry"
)

// startTracing makes spans where an endpoint is set. It comes before every stage
// and so ends after them.
func (a *App) startTracing(ctx context.Context) {
	service := "kgents"
	if a.role != config.RoleUp {
		service += "-" + string(a.role)
	}
	tracing := telemetry.StartTracing(ctx, telemetry.TracingConfig{
		Endpoint: a.config.OTLPEndpoint, Service: service, Log: a.log, Registerer: a.reg,
	})
	if tracing == nil {
		return
	}
	a.onStop(tracing.Stop)
	a.tracer, a.log = tracing.Tracer(), telemetry.LogTraces(a.log)
}

// traceMeter makes spans of the batches that the embedded meter is sent. What is
// asked of it makes none.
func (a *App) traceMeter(meter http.Handler) http.Handler {
	const ingest = "/api/v1/events"
	traced := telemetry.Handler(a.tracer, ingest, "meter", meter)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.URL.Path == ingest {
			traced.ServeHTTP(w, r)
			return
		}
		meter.ServeHTTP(w, r)
	})
}
