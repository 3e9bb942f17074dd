package app

import (
	"cmp"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/agentese/mask"
	"github.com/kgents/kgents/history"
	"github.com/kgents/kgents/receive"
)

// Headers by which a shell says for whom, and by what words, it asks. They are noted and
// mean nothing else.
const (
	headerObserver   = "X-Kgents-Observer"
	headerExpression = "X-Kgents-Expression"
)

// Bounds of what is noted of a request, in bytes; what is longer is cut.
const (
	maxObserver   = 32
	maxExpression = 300
	maxNoted      = 200 // of a path or a customer
)

// unaudited are the requests that send events rather than change something. There are
// thousands a second.
var unaudited = map[string]bool{"POST /api/v1/events": true, "POST /api/v1/canaries": true}

// mayChange says whether a request changes something, if it is allowed. A comparison of
// stream and meter does so only where it is to mend what it finds.
func mayChange(r *http.Request) bool {
	switch {
	case r.Method == http.MethodGet, r.Method == http.MethodHead, unaudited[r.Method+" "+r.URL.Path]:
		return false
	case r.URL.Path == "/api/v1/reconcile":
		fix, _ := strconv.ParseBool(r.URL.Query().Get("fix"))
		return fix
	}
	return true
}

// audit notes what an operator's key changes, or tries to: a line in the log, and, unless
// it was refused for its sender's fault and so has changed nothing, an entry in the
// history. It notes no body and no query, where secrets could be. It goes within what
// finds the caller, and all routes with a key have it.
func (a *App) audit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller := receive.Caller(r.Context())
		if !caller.Operator() || !mayChange(r) {
			next.ServeHTTP(w, r)
			return
		}
		answered := &statusOf{ResponseWriter: w}
		began := time.Now()
		defer func() { // also when it panics
			a.note(r, caller, answered.status, time.Since(began))
		}()
		next.ServeHTTP(answered, r)
		answered.status = cmp.Or(answered.status, http.StatusOK) // as the server has it
	})
}

// note writes down a request that was answered with status, 0 if not at all.
func (a *App) note(r *http.Request, caller kgents.Principal, status int, took time.Duration) {
	method, path, customer := history.Printable(r.Method, 16), history.Printable(r.URL.Path, maxNoted), history.Printable(named(r), maxNoted)
	args := []any{"method", method, "route", r.Pattern, "path", path, "customer", customer,
		"key", caller.Key, "status", status, "duration", took.Round(time.Microsecond)}
	detail := []string{cmp.Or(http.StatusText(status), "no answer") + " (" + strconv.Itoa(status) + ")"}
	if customer != "" {
		detail = append(detail, "for "+customer)
	}
	if v := history.Printable(r.Header.Get(headerObserver), maxObserver); v != "" {
		args, detail = append(args, "observer", v), append(detail, "as "+v)
	}
	if v := history.Printable(mask.Secrets(r.Header.Get(headerExpression)), maxExpression); v != "" {
		args, detail = append(args, "expression", v), append(detail, v)
	}
	a.log.InfoContext(r.Context(), "audit", args...)
	if status >= 400 && status < 500 {
		return
	}
	a.past.Add(history.Entry{Kind: history.Change, What: method + " " + path, Detail: strings.Join(detail, ", "), Who: caller.Key})
}

// statusOf remembers the status of an answer.
type statusOf struct {
	http.ResponseWriter
	status int
}

func (s *statusOf) WriteHeader(status int) {
	if s.status == 0 || s.status < 200 {
		s.status = status
	}
	s.ResponseWriter.WriteHeader(status)
}

func (s *statusOf) Write(b []byte) (int, error) {
	if s.status == 0 {
		s.status = http.StatusOK
	}
	return s.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (s *statusOf) Unwrap() http.ResponseWriter { return s.ResponseWriter }
