package history

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/consume/deadletter"
	"github.com/kgents/kgents/receive"
)

const (
	// MaxPage is the most entries in one answer, and DefaultPage as many as there are
	// when a request names no limit.
	MaxPage     = 1000
	DefaultPage = 500

	// maxNames is the most figures that one request may name.
	maxNames = 20
)

// Paths of the routes.
const (
	Path       = "/api/v1/history"
	SeriesPath = "/api/v1/history/series"
)

// Answer is what GET /api/v1/history answers.
type Answer struct {
	Entries   []Entry   `json:"entries"`             // newest first
	KeptSince time.Time `json:"kept_since,omitzero"` // of the oldest entry that is kept, whatever was asked for
	More      bool      `json:"more,omitempty"`      // there are older ones past the limit
	Partial   bool      `json:"partial,omitempty"`   // NATS doesn't answer: these are one replica's, since its start
}

// SeriesAnswer is what GET /api/v1/history/series answers.
type SeriesAnswer struct {
	Series    []Line    `json:"series"`          // of the figures that were named
	Names     []Figure  `json:"names,omitempty"` // of all, where none was named
	Every     float64   `json:"every_seconds"`   // from sample to sample
	KeptSince time.Time `json:"kept_since,omitzero"`
	Replica   string    `json:"replica"` // whose figures these are
}

// API serves history over HTTP. It knows no keys: whoever registers it guards it.
type API struct {
	log    *Log
	series *Series
}

// NewAPI returns the API of both.
func NewAPI(log *Log, series *Series) *API { return &API{log, series} }

// Register adds the routes to mux, each wrapped, with its name, in wrap.
func (a *API) Register(mux *http.ServeMux, wrap func(route string, next http.Handler) http.Handler) {
	mux.Handle("GET "+Path, wrap(Path, serve(a.serveEntries)))
	mux.Handle("GET "+SeriesPath, wrap(SeriesPath, serve(a.serveSeries)))
	mux.Handle(Path, receive.Allow(http.MethodGet))
	mux.Handle(SeriesPath, receive.Allow(http.MethodGet))
}

func serve(answer func(r *http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, err := answer(r)
		if err != nil {
			receive.WriteProblem(w, r, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		_ = enc.Encode(v) // a client that has gone misses nothing
	})
}

func (a *API) serveEntries(r *http.Request) (any, error) {
	f := Filter{Limit: DefaultPage}
	err := query(r, func(name, value string) (err error) {
		switch name {
		case "since":
			f.Since, err = deadletter.ParseTime(value, time.Now())
		case "kind":
			if f.Kind = Kind(value); value != "" && !slices.Contains(Kinds(), f.Kind) {
				err = kgents.Errorf(kgents.CodeInvalid, "there is no kind %q: there are %v", Printable(value, 64), Kinds())
			}
		case "limit":
			if f.Limit, err = strconv.Atoi(value); err != nil || f.Limit < 1 || f.Limit > MaxPage {
				err = kgents.Errorf(kgents.CodeInvalid, "limit must be from 1 to %d", MaxPage)
			}
		default:
			err = unknown(name, "since, kind and limit")
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	p := a.log.Read(r.Context(), f)
	if p.Entries == nil {
		p.Entries = []Entry{} // a list that is empty, not null
	}
	return Answer(p), nil
}

func (a *API) serveSeries(r *http.Request) (any, error) {
	now := time.Now()
	since, step := now.Add(-time.Hour), time.Duration(0)
	var names []string
	err := query(r, func(name, value string) (err error) {
		switch name {
		case "name":
			if value != "" {
				names = append(names, value)
			}
		case "since":
			if value != "" {
				since, err = deadletter.ParseTime(value, now)
			}
		case "step":
			if value == "" {
				break
			}
			if step, err = time.ParseDuration(value); err != nil || step < 0 || step > Kept {
				err = kgents.Errorf(kgents.CodeInvalid, "step must be a length of time up to %v, for example 1m", Kept)
			}
		default:
			err = unknown(name, "name, since and step")
		}
		return err
	})
	if err == nil && len(names) > maxNames {
		err = kgents.Errorf(kgents.CodeInvalid, "a request may name %d figures", maxNames)
	}
	if err != nil {
		return nil, err
	}
	out := SeriesAnswer{Series: []Line{}, Every: Every.Seconds(), KeptSince: a.series.KeptSince(), Replica: a.log.replica}
	for _, name := range names {
		lines := a.series.Lines(name, since, step)
		if len(lines) == 0 {
			return nil, kgents.Errorf(kgents.CodeNotFound, "the past of %q is not kept: without a name, this lists what is", Printable(name, 200))
		}
		out.Series = append(out.Series, lines...)
	}
	out.Series = sortLines(out.Series)
	if len(names) == 0 {
		out.Names = Figures()
	}
	return out, nil
}

// query hands on each value of a request's query. Only a name may come twice.
func query(r *http.Request, take func(name, value string) error) error {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return kgents.Errorf(kgents.CodeInvalid, "the query can't be read: encode it as a URL wants it")
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if len(values[name]) > 1 && name != "name" {
			return kgents.Errorf(kgents.CodeInvalid, "%s is given twice: give it once", Printable(name, 64))
		}
		for _, value := range values[name] {
			if err := take(name, value); err != nil {
				return err
			}
		}
	}
	return nil
}

func unknown(name, there string) error {
	return kgents.Errorf(kgents.CodeInvalid, "there is no parameter %q: there are %s", Printable(name, 64), there)
}
