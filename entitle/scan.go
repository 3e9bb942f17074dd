package entitle

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/meter"
)

// tally is a meter made ready for reading events.
type tally struct {
	slug  string
	count bool     // COUNT: an event is 1
	path  []string // in the data, of SUM
	from  int64    // Unix seconds; earlier events don't count
}

// tallies are the meters that a feature is limited by.
type tallies struct {
	byType map[string][]*tally
	bySlug map[string]*tally // those of meters that can't be followed are nil
}

var pathStep = regexp.MustCompile(`^(?:\.([A-Za-z_][A-Za-z0-9_-]*)|\['([^'\\]+)'\]|\["([^"\\]+)"\])`)

// parsePath takes a JSONPath of names alone, which is what meters have.
func parsePath(s string) ([]string, bool) {
	rest, ok := strings.CutPrefix(s, "$")
	var p []string
	for ok && rest != "" {
		m := pathStep.FindStringSubmatch(rest)
		if m == nil {
			return nil, false
		}
		p, rest = append(p, m[1]+m[2]+m[3]), rest[len(m[0]):]
	}
	return p, ok && len(p) > 0
}

// newTallies takes of meters those that features of cat name. The error names what
// can't be counted from the stream; the rest is of use all the same.
func newTallies(cat *kgents.Catalog, meters []meter.Meter) (tallies, error) {
	ts := tallies{byType: map[string][]*tally{}, bySlug: map[string]*tally{}}
	bySlug := map[string]meter.Meter{}
	for _, m := range meters {
		bySlug[m.Slug] = m
	}
	var errs []error
	for _, f := range cat.Features {
		if _, done := ts.bySlug[f.Meter]; done || !f.Metered() {
			continue
		}
		ts.bySlug[f.Meter] = nil
		m, ok := bySlug[f.Meter]
		t := &tally{slug: m.Slug, count: m.Aggregation == meter.Count, from: math.MinInt64}
		switch {
		case !ok:
			errs = append(errs, fmt.Errorf("feature %s: the meter knows no meter %q, so its limit holds nobody", f.ID, f.Meter))
			continue
		case m.Aggregation == meter.Sum:
			if t.path, ok = parsePath(m.ValueProperty); !ok {
				errs = append(errs, fmt.Errorf("meter %s: %.80q is no path of names, so usage shows only at a refresh", m.Slug, m.ValueProperty))
				continue
			}
		case m.Aggregation != meter.Count:
			errs = append(errs, fmt.Errorf("meter %s: only SUM and COUNT can be limited as usage comes, not %s", m.Slug, m.Aggregation))
			continue
		}
		if m.EventFrom != nil {
			t.from = m.EventFrom.Unix()
		}
		ts.bySlug[f.Meter] = t
		ts.byType[m.EventType] = append(ts.byType[m.EventType], t)
	}
	return ts, errors.Join(errs...)
}

// scanner reads batches. It is for one goroutine.
type scanner struct {
	events, data reader
}

// reader is a decoder of a text that is all there.
type reader struct {
	dec  jsontext.Decoder
	buf  bytes.Buffer
	text []byte
}

func (r *reader) reset(text []byte) {
	r.text = text
	r.buf = *bytes.NewBuffer(text)
	r.dec.Reset(&r.buf, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}

// value reads the next value. What it returns is a piece of the text, and so stays
// as it is.
func (r *reader) value() ([]byte, error) {
	v, err := r.dec.ReadValue()
	if err != nil {
		return nil, err
	}
	end := r.dec.InputOffset()
	return r.text[end-int64(len(v)) : end], nil
}

// skip passes over the next value and returns where it stands in the text, with
// white space and a separator before it.
func (r *reader) skip() ([]byte, error) {
	start := r.dec.InputOffset()
	if err := r.dec.SkipValue(); err != nil {
		return nil, err
	}
	return r.text[start:r.dec.InputOffset()], nil
}

// scan calls f for each event of a batch that one of ts counts, with what it counts.
// Subject is only good during the call. The error is of a body that is no batch, of
// which the events before the mistake have been told.
func (s *scanner) scan(body []byte, ts tallies, f func(subject []byte, t *tally, minute int64, n float64)) (events int, err error) {
	r := &s.events
	r.reset(body)
	if r.dec.PeekKind() != '[' {
		return 0, errors.New("no batch")
	}
	if _, err := r.dec.ReadToken(); err != nil {
		return 0, err
	}
	for {
		switch r.dec.PeekKind() {
		case ']':
			return events, nil
		case '{':
			if err := s.event(ts, f); err != nil {
				return events, err
			}
			events++
		default:
			if err := r.dec.SkipValue(); err != nil {
				return events, err
			}
		}
	}
}

func (s *scanner) event(ts tallies, f func([]byte, *tally, int64, float64)) error {
	r := &s.events
	if _, err := r.dec.ReadToken(); err != nil {
		return err
	}
	var typ, subject, at, data []byte
	for r.dec.PeekKind() != '}' {
		name, err := r.value()
		if err != nil {
			return err
		}
		var to *[]byte
		switch string(name) {
		case `"type"`:
			to = &typ
		case `"subject"`:
			to = &subject
		case `"time"`:
			to = &at
		case `"data"`:
			if data, err = r.skip(); err != nil {
				return err
			}
			continue
		default:
			if err := r.dec.SkipValue(); err != nil {
				return err
			}
			continue
		}
		if *to, err = r.value(); err != nil {
			return err
		}
	}
	if _, err := r.dec.ReadToken(); err != nil {
		return err
	}
	list := ts.byType[string(unquote(typ))] // without a copy
	if len(list) == 0 {
		return nil
	}
	seconds, ok := parseTime(unquote(at))
	if subject = unquote(subject); !ok || len(subject) == 0 {
		return nil
	}
	for _, t := range list {
		if seconds < t.from {
			continue
		}
		n, ok := 1.0, true
		if !t.count {
			n, ok = s.number(data, t.path)
		}
		if ok && n != 0 {
			f(subject, t, floorDiv(seconds, 60), n)
		}
	}
	return nil
}

// number is what stands at path in data, as the meter takes it.
func (s *scanner) number(data []byte, path []string) (float64, bool) {
	if i := bytes.IndexByte(data, '{'); i >= 0 {
		data = data[i:]
	} else {
		return 0, false
	}
	r := &s.data
	r.reset(data)
	for _, name := range path {
		if r.dec.PeekKind() != '{' {
			return 0, false
		}
		if _, err := r.dec.ReadToken(); err != nil {
			return 0, false
		}
		for {
			if r.dec.PeekKind() != '"' {
				return 0, false
			}
			quoted, err := r.value()
			if err != nil {
				return 0, false
			}
			if string(unquote(quoted)) == name {
				break
			}
			if err := r.dec.SkipValue(); err != nil {
				return 0, false
			}
		}
	}
	switch r.dec.PeekKind() {
	case '0', '"':
	default:
		return 0, false
	}
	v, err := r.value()
	if err != nil {
		return 0, false
	}
	if v[0] == '"' {
		if v = unquote(v); !jsontext.Value(v).IsValid() || jsontext.Value(v).Kind() != '0' {
			return 0, false
		}
		v = bytes.TrimSpace(v)
	}
	if len(v) < 16 { // most are small whole numbers
		if n, ok := whole(v); ok {
			return float64(n), true
		}
	}
	n, err := strconv.ParseFloat(string(v), 64)
	return n, err == nil // out of range: 1e400
}

func whole(v []byte) (n int64, ok bool) {
	for _, c := range v {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, len(v) > 0
}

// unquote is the content of a JSON string; nil of anything else.
func unquote(v []byte) []byte {
	if len(v) < 2 || v[0] != '"' {
		return nil
	}
	if bytes.IndexByte(v, '\\') < 0 {
		return v[1 : len(v)-1]
	}
	out, err := jsontext.AppendUnquote(nil, v)
	if err != nil {
		return nil
	}
	return out
}

// parseTime reads RFC 3339 to the second.
func parseTime(b []byte) (int64, bool) {
	var t time.Time
	err := t.UnmarshalText(b) // without a copy, and stricter
	if err != nil {
		t, err = time.Parse(time.RFC3339, string(b))
	}
	return t.Unix(), err == nil
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// minuteOf is the minute in which t lies.
func minuteOf(t time.Time) int64 { return floorDiv(t.Unix(), 60) }

func minuteTime(m int64) time.Time { return time.Unix(m*60, 0).UTC() }
