package trace

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/consume/deadletter"
	"github.com/kgents/kgents/receive"
)

// Path is the route.
const Path = "/api/v1/trace/{id}"

// ServeHTTP answers GET /api/v1/trace/{id} with an Answer. It reads the parameters `source`
// and `since` (a time, or how long ago: 72h, 7d). It knows no keys: whoever registers it
// guards it.
func (t *Tracer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q, err := question(r, time.Now())
	var a Answer
	if err == nil {
		a, err = t.Ask(r.Context(), q)
	}
	if err != nil {
		if e, ok := err.(*kgents.Error); ok && e.Err != nil && r.Context().Err() == nil {
			t.Log.Warn("an event could not be looked for", "error", err)
		}
		receive.WriteProblem(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(a) // a client that has gone misses nothing
}

// question reads a request. A parameter that isn't known is refused, since a mistyped
// source would find too much.
func question(r *http.Request, now time.Time) (q Question, err error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return q, kgents.Errorf(kgents.CodeInvalid, "the query can't be read: encode it as a URL wants it")
	}
	q = Question{ID: r.PathValue("id"), Source: values.Get("source"), Since: now.Add(-DefaultSince)}
	if q.ID == "" || len(q.ID) > kgents.MaxIDBytes {
		return q, kgents.Errorf(kgents.CodeInvalid, "an event's id has 1 to %d bytes", kgents.MaxIDBytes)
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		switch {
		case len(values[name]) > 1:
			return q, kgents.Errorf(kgents.CodeInvalid, "%q is given twice: give it once", cut(name, 64))
		case name == "source":
		case name == "since" && values.Get(name) != "":
			if q.Since, err = deadletter.ParseTime(values.Get(name), now); err != nil {
				return q, err
			}
		case name == "since":
		default:
			return q, kgents.Errorf(kgents.CodeInvalid, "there is no parameter %q: there are source and since", cut(name, 64))
		}
	}
	if q.Since.After(now) || now.Sub(q.Since) > MaxSince {
		return q, kgents.Errorf(kgents.CodeInvalid, "since must lie in the last 30 days, for example 72h")
	}
	return q, nil
}
