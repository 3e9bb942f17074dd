package local

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/meter"
	"github.com/kgents/kgents/receive"
	"github.com/kgents/kgents/receive/cloudevents"
)

// maxBody bounds a batch. A sink's flush has 2 MB at most.
const maxBody = 16 << 20

// Handler serves OpenMeter's routes, without authentication: the caller guards
// them.
func (s *Store) Handler() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, serve func(http.ResponseWriter, *http.Request) error) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := serve(w, r); err != nil {
				if kgents.ErrorCode(err) == kgents.CodeInternal {
					s.log.Error("the meter could not answer", "path", r.URL.Path, "error", err)
				}
				receive.WriteProblem(w, r, err)
			}
		})
	}
	handle("POST /api/v1/events", s.postEvents)
	handle("GET /api/v1/events", s.getEvents)
	handle("GET /api/v1/meters", s.getMeters)
	handle("POST /api/v1/meters", s.postMeter)
	handle("GET /api/v1/meters/{meter}", s.getMeter)
	handle("GET /api/v1/meters/{meter}/query", s.getQuery)
	handle("/", func(http.ResponseWriter, *http.Request) error {
		return kgents.Errorf(kgents.CodeNotFound, "the meter has nothing at this path")
	})
	return mux
}

func (s *Store) postEvents(w http.ResponseWriter, r *http.Request) error {
	body, err := readBody(w, r)
	if err != nil {
		return err
	}
	events, err := cloudevents.Decode(r.Header.Get("Content-Type"), body, time.Now())
	if err != nil {
		return err
	}
	if err := s.writer.add(r.Context(), events); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.ContentLength > maxBody {
		return nil, kgents.Errorf(kgents.CodeTooLarge, "the body has more than %d bytes", maxBody)
	}
	var body []byte
	var err error
	if r.ContentLength >= 0 {
		body = make([]byte, r.ContentLength)
		_, err = io.ReadFull(r.Body, body)
	} else {
		body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	}
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, kgents.Errorf(kgents.CodeTooLarge, "the body has more than %d bytes", maxBody)
	}
	if err != nil {
		return nil, &kgents.Error{Code: kgents.CodeInvalid, Message: "the body was cut short", Err: err}
	}
	return body, nil
}

func (s *Store) getEvents(w http.ResponseWriter, r *http.Request) error {
	v := r.URL.Query()
	f := meter.EventFilter{ID: v.Get("id"), Subject: v.Get("subject")}
	var err error
	if f.From, err = timeParam(v, "from"); err != nil {
		return err
	}
	if f.To, err = timeParam(v, "to"); err != nil {
		return err
	}
	if limit := v.Get("limit"); limit != "" {
		if f.Limit, err = strconv.Atoi(limit); err != nil || f.Limit == 0 {
			return invalid("limit must be from 1 to %d", listLimit)
		}
	}
	events, err := s.Events(r.Context(), f)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, events)
}

func (s *Store) getMeters(w http.ResponseWriter, _ *http.Request) error {
	meters := s.Meters()
	slices.SortFunc(meters, func(a, b meter.Meter) int { return strings.Compare(a.Slug, b.Slug) })
	return writeJSON(w, http.StatusOK, meters)
}

func (s *Store) getMeter(w http.ResponseWriter, r *http.Request) error {
	d, err := s.definition(r.PathValue("meter"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, d.Meter)
}

func (s *Store) postMeter(w http.ResponseWriter, r *http.Request) error {
	body, err := readBody(w, r)
	if err != nil {
		return err
	}
	var m meter.Meter
	if err := json.Unmarshal(body, &m); err != nil {
		return invalid("the body is no meter in JSON")
	}
	if err := check(m); err != nil {
		return invalid("%s", err)
	}
	if _, err := s.definition(m.Slug); err == nil {
		return kgents.Errorf(kgents.CodeConflict, "a meter %s is there already", m.Slug)
	}
	if err := s.putMeter(r.Context(), m); err != nil {
		return err
	}
	d, err := s.definition(m.Slug)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, d.Meter)
}

func (s *Store) getQuery(w http.ResponseWriter, r *http.Request) error {
	v := r.URL.Query()
	q := meter.Query{
		Meter: r.PathValue("meter"), WindowSize: v.Get("windowSize"), TimeZone: v.Get("windowTimeZone"),
		Subjects: v["subject"], GroupBy: distinct(v["groupBy"]),
	}
	var err error
	if q.From, err = timeParam(v, "from"); err != nil {
		return err
	}
	if q.To, err = timeParam(v, "to"); err != nil {
		return err
	}
	for key, values := range v {
		name, ok := strings.CutPrefix(key, "filterGroupBy[")
		if !ok || !strings.HasSuffix(name, "]") {
			continue
		}
		if q.FilterGroupBy == nil {
			q.FilterGroupBy = map[string][]string{}
		}
		name = strings.TrimSuffix(name, "]")
		for _, value := range values {
			q.FilterGroupBy[name] = append(q.FilterGroupBy[name], strings.Split(value, ",")...)
		}
	}
	result, err := s.Query(r.Context(), q)
	if err != nil {
		return err
	}
	if strings.HasPrefix(r.Header.Get("Accept"), "text/csv") {
		return writeCSV(w, q, result)
	}
	return writeJSON(w, http.StatusOK, result)
}

// distinct drops what stands in names again: an answer of SQLite has 2,000 columns at most.
func distinct(names []string) []string {
	seen := map[string]bool{}
	return slices.DeleteFunc(names, func(name string) bool {
		again := seen[name]
		seen[name] = true
		return again
	})
}

func timeParam(v url.Values, name string) (time.Time, error) {
	text := v.Get(name)
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, invalid("%s must be a time as in RFC 3339, for example 2026-01-31T09:30:00Z", name)
	}
	if !writable(t) {
		return time.Time{}, invalid("%s must lie from the year 0 to 9999 in UTC", name)
	}
	return t, nil
}

// writable tells whether RFC 3339 can write t in UTC. A time that it could read
// may lie beyond, by its offset.
func writable(t time.Time) bool {
	year := t.UTC().Year()
	return 0 <= year && year <= 9999
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
	return nil
}

// writeCSV writes the rows with a column for each group.
func writeCSV(w http.ResponseWriter, q meter.Query, result meter.Result) error {
	w.Header().Set("Content-Type", "text/csv")
	out := csv.NewWriter(w)
	_ = out.Write(append([]string{"window_start", "window_end", "value"}, q.GroupBy...))
	for _, row := range result.Data {
		line := []string{row.WindowStart.Format(time.RFC3339), row.WindowEnd.Format(time.RFC3339), strconv.FormatFloat(row.Value, 'f', -1, 64)}
		for _, name := range q.GroupBy {
			value := row.GroupBy[name]
			if name == "subject" {
				value = row.Subject
			}
			if value == nil {
				line = append(line, "")
			} else {
				line = append(line, *value)
			}
		}
		_ = out.Write(line)
	}
	out.Flush()
	return nil
}
