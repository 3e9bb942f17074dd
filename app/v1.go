package app

import (
	"net/http"

	"github.com/kgents/kgents/api"
	"github.com/kgents/kgents/telemetry"
)

// registrar is a part of the program with routes under /v1.
type registrar interface{ Register(a *api.API) }

// serveV1 adds the routes under /v1 and the document that describes all routes.
func (a *App) serveV1(mux *http.ServeMux) error {
	if a.edge == nil { // sinks and meters have no public routes
		return nil
	}
	web := api.New(mux, telemetry.ReadBuild().Version, a.guard)
	for _, r := range a.v1 {
		r.Register(web)
	}
	describe(web)
	return web.Serve()
}
