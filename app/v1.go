package app

import (
	"net/http"
	"strings"

	"github.com/kgents/kgents/api"
	"github.com/kgents/kgents/receive"
	"github.com/kgents/kgents/telemetry"
)

// registrar is a part of the program with routes under /v1.
type registrar interface{ Register(a *api.API) }

// serveV1 adds the routes under /v1 and the document that describes all routes.
func (a *App) serveV1(mux *http.ServeMux) error {
	if a.edge == nil { // sinks and meters have no public routes
		return nil
	}
	web := api.New(mux, telemetry.ReadBuild().Version, func(route string, next http.Handler) http.Handler {
		return a.guard(route, a.acquaint(next))
	})
	web.At(a.config.PublicURL)
	for _, r := range a.v1 {
		r.Register(web)
	}
	describe(web)
	return web.Serve()
}

// acquaint has the replica know a customer whom an operator's request names, also one
// that another replica has made a moment ago: who gets a 201 from one replica must not
// get a 404 from the next.
func (a *App) acquaint(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if receive.Caller(r.Context()).Operator() {
			if id := named(r); id != "" {
				a.customers.Known(r.Context(), id)
			}
		}
		next.ServeHTTP(w, r)
	})
}

// named is the customer that an operator's request names by its path or its query; empty
// if it does neither.
func named(r *http.Request) string {
	if rest, ok := strings.CutPrefix(r.URL.Path, "/v1/customers/"); ok {
		id, _, _ := strings.Cut(rest, "/")
		return id
	}
	return r.URL.Query().Get("customer")
}
