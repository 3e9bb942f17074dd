package app

import (
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"time"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/receive"
)

// meterName is what may stand for a meter in a path: a slug or an id. A name with
// an escaped slash or dots would let a key of ours reach other routes of the meter,
// under the meter's own key.
var meterName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// passedBack are the headers of the meter's answers that reach our callers. What
// else it sets, cookies among them, is between the meter and us.
var passedBack = []string{"Content-Type", "Content-Length", "Content-Encoding", "Date", "Retry-After"}

// passOn serves the meter's reading routes under our own keys, from the embedded
// meter and a remote one alike. A customer's key sees that customer's usage alone.
func (a *App) passOn(mux *http.ServeMux) {
	target, err := url.Parse(a.meterURL)
	if err != nil {
		panic(err) // the configuration and meter.NewClient have checked it
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	a.onStop(transport.CloseIdleConnections)
	proxy := &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Body, r.Out.ContentLength = nil, 0 // these routes have none
			for _, ours := range []string{"Authorization", "Cookie", "Connection", "Upgrade"} {
				r.Out.Header.Del(ours) // never the meter's business
			}
			if a.meterKey != "" {
				r.Out.Header.Set("Authorization", "Bearer "+a.meterKey)
			}
		},
		// The caller's key was good, so it is ours that the meter does not like. Its
		// own words, which may repeat that key, are not for the caller.
		ModifyResponse: func(resp *http.Response) error {
			switch s := resp.StatusCode; {
			case s == http.StatusUnauthorized, s == http.StatusForbidden, s == http.StatusProxyAuthRequired:
				return kgents.Errorf(kgents.CodeMisconfig, "the meter does not let this program in: check OPENMETER_API_KEY")
			case s < 200, s >= 300 && s < 400: // nobody is sent elsewhere, nor handed a raw connection
				return kgents.Errorf(kgents.CodeMisconfig, "the meter points elsewhere: check OPENMETER_BASE_URL")
			}
			kept := http.Header{}
			for _, name := range passedBack {
				if v, ok := resp.Header[name]; ok {
					kept[name] = v
				}
			}
			resp.Header, resp.Trailer = kept, nil
			return leaveOwn(resp)
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if kgents.ErrorCode(err) != kgents.CodeMisconfig {
				err = kgents.Unavailable(5*time.Second, "the meter does not answer: try again later", err)
			}
			receive.WriteProblem(w, r, err)
		},
		ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
	named := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if slug := r.PathValue("slug"); slug != "" && !meterName.MatchString(slug) {
			receive.WriteProblem(w, r, kgents.Errorf(kgents.CodeNotFound, "there is no meter of this name: a name has letters, digits, - and _"))
			return
		}
		proxy.ServeHTTP(w, r)
	})
	for _, route := range []string{"/api/v1/meters", "/api/v1/meters/{slug}", "/api/v1/meters/{slug}/query", "/api/v1/events"} {
		mux.Handle("GET "+route, a.edge.Instrument(route, a.edge.Authenticate(narrow(named))))
	}
}
