package deadletter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/receive"
)

const (
	// patience is how long NATS may take over one request.
	patience = 15 * time.Second

	// DefaultPage is the letters in a page when a request names no limit.
	DefaultPage = 100
)

// API serves the letters over HTTP. It knows no keys: whoever registers it guards
// it.
type API struct {
	store *Store
	log   *slog.Logger
}

// NewAPI returns the API of a store.
func NewAPI(store *Store, log *slog.Logger) *API { return &API{store, log} }

// ListAnswer is what GET /api/v1/deadletters answers.
type ListAnswer struct {
	Letters []Stored `json:"letters"`
	Next    uint64   `json:"next,omitempty"` // the next page's after; absent at the end
}

// LetterAnswer is what GET /api/v1/deadletters/{seq} answers: the letter with its
// event, as JSON if it is that, else in base64.
type LetterAnswer struct {
	Stored
	Event       json.RawMessage `json:"event,omitempty"`
	EventBase64 []byte          `json:"event_base64,omitempty"`
}

// Register adds the routes to mux, each wrapped, with its name, in wrap.
func (a *API) Register(mux *http.ServeMux, wrap func(route string, next http.Handler) http.Handler) {
	const all, one, replay = "/api/v1/deadletters", "/api/v1/deadletters/{seq}", "/api/v1/deadletters/{seq}/replay"
	add := func(method, route string, h handler) { mux.Handle(method+" "+route, wrap(route, a.serve(h))) }
	add(http.MethodGet, all, a.list)
	add(http.MethodGet, one, a.show)
	add(http.MethodDelete, one, a.drop)
	add(http.MethodPost, replay, a.replay)
	// Outside of wrap: a method is whatever a stranger sends, and no label.
	mux.Handle(all, allow("GET"))
	mux.Handle(one, allow("DELETE", "GET"))
	mux.Handle(replay, allow("POST"))
}

// handler answers, or returns an error to be answered.
type handler func(http.ResponseWriter, *http.Request) error

func (a *API) serve(handle handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// What was begun is done, also for a client that has gone.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), patience)
		defer cancel()
		if err := handle(w, r.WithContext(ctx)); err != nil {
			if e, ok := errors.AsType[*kgents.Error](err); !ok || e.Err != nil {
				a.log.Warn("a request for dead letters failed", "method", r.Method, "path", r.URL.Path, "error", err)
			}
			receive.WriteProblem(w, r, err)
		}
	})
}

// allow answers what comes with another method.
func allow(methods ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", strings.Join(methods, ", "))
		receive.WriteProblem(w, r, kgents.Errorf(kgents.CodeMethod, "use %s here", strings.Join(methods, " or ")))
	})
}

func (a *API) list(w http.ResponseWriter, r *http.Request) error {
	f, after, limit, err := question(r.URL.RawQuery, time.Now())
	if err != nil {
		return err
	}
	page, err := a.store.List(r.Context(), f, after, limit)
	if err != nil {
		return err
	}
	if page.Letters == nil {
		page.Letters = []Stored{} // a list that is empty, not null
	}
	return answer(w, ListAnswer(page))
}

func (a *API) show(w http.ResponseWriter, r *http.Request) error {
	seq, err := sequence(r)
	if err != nil {
		return err
	}
	l, err := a.store.Get(r.Context(), seq)
	if err != nil {
		return err
	}
	full := LetterAnswer{Stored: l}
	if json.Valid(l.Event) && utf8.Valid(l.Event) {
		full.Event = l.Event
	} else {
		full.EventBase64 = l.Event
	}
	return answer(w, full)
}

func (a *API) replay(w http.ResponseWriter, r *http.Request) error {
	return a.end(w, r, "dead letter replayed", a.store.Replay)
}

func (a *API) drop(w http.ResponseWriter, r *http.Request) error {
	return a.end(w, r, "dead letter dropped", a.store.Drop)
}

// end is the end of a letter, one way or the other.
func (a *API) end(w http.ResponseWriter, r *http.Request, what string, do func(context.Context, uint64) (Stored, error)) error {
	seq, err := sequence(r)
	if err != nil {
		return err
	}
	l, err := do(r.Context(), seq)
	if err != nil {
		return err
	}
	a.log.Info(what, "seq", l.Seq, "source", l.Source, "id", l.ID, "type", l.Type, "reason", l.Reason, "refused", l.Count)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func sequence(r *http.Request) (uint64, error) {
	seq, err := strconv.ParseUint(r.PathValue("seq"), 10, 64)
	if err != nil || seq == 0 {
		return 0, kgents.Errorf(kgents.CodeInvalid, "a dead letter is named by its sequence, a whole number from 1, as GET /api/v1/deadletters lists it")
	}
	return seq, nil
}

// question reads the query of a list. A parameter that isn't known is refused: a
// filter with a typing mistake would else list everything.
func question(query string, now time.Time) (f Filter, after uint64, limit int, err error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return f, 0, 0, kgents.Errorf(kgents.CodeInvalid, "the query can't be read: encode it as a URL wants it")
	}
	limit = DefaultPage
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if len(values[name]) > 1 {
			return f, 0, 0, kgents.Errorf(kgents.CodeInvalid, "%s is given twice: give it once", name)
		}
		value := values.Get(name)
		var err error
		switch name {
		case "reason":
			f.Reason = Reason(value)
		case "type":
			f.Type = value
		case "customer":
			f.Subject = value
		case "since":
			f.Since, err = ParseTime(value, now)
		case "until":
			f.Until, err = ParseTime(value, now)
		case "limit":
			if limit, err = strconv.Atoi(value); err != nil {
				err = kgents.Errorf(kgents.CodeInvalid, "it must be from 1 to %d", MaxPage)
			}
		case "after":
			if after, err = strconv.ParseUint(value, 10, 64); err != nil {
				err = kgents.Errorf(kgents.CodeInvalid, "it must be the 'next' of the page before")
			}
		default:
			return f, 0, 0, kgents.Errorf(kgents.CodeInvalid, "there is no parameter %q: use reason, type, customer, since, until, limit or after", name)
		}
		if err != nil {
			return f, 0, 0, kgents.Errorf(kgents.CodeInvalid, "%s %q is wrong: %v", name, value, err)
		}
	}
	return f, after, limit, nil
}

// ParseTime reads a point in time: RFC 3339, or how long before now, for example
// 90m, 24h or 7d. An empty text is the zero time. The error has a code.
func ParseTime(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	number, days := strings.CutSuffix(text, "d")
	if n, err := strconv.ParseUint(number, 10, 16); days && err == nil {
		return now.Add(-time.Duration(n) * 24 * time.Hour), nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	return time.Time{}, kgents.Errorf(kgents.CodeInvalid, "use a time as in 2026-11-23T09:30:00Z, or how long ago, as in 90m, 24h or 7d")
}

func answer(w http.ResponseWriter, v any) error {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false) // an event is shown as it is
	if err := enc.Encode(v); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(body.Bytes()) // a client that has gone misses nothing
	return nil
}
