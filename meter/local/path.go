package local

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/kgents/kgents/meter"
)

// path is a JSONPath that leads from the data to one member: names only, since
// that is what meters use.
type path []string

var pathStep = regexp.MustCompile(`^(?:\.([A-Za-z_][A-Za-z0-9_-]*)|\['([^'\\]+)'\]|\["([^"\\]+)"\])`)

func parsePath(s string) (path, error) {
	rest, ok := strings.CutPrefix(s, "$")
	var p path
	for ok && rest != "" {
		m := pathStep.FindStringSubmatch(rest)
		if m == nil {
			ok = false
			break
		}
		p = append(p, m[1]+m[2]+m[3])
		rest = rest[len(m[0]):]
	}
	if !ok || len(p) == 0 {
		return nil, fmt.Errorf("%.80q is no path that this meter follows: use names, for example $.usage.tokens or $['my key']", s)
	}
	return p, nil
}

// definition is a meter made ready for reading events.
type definition struct {
	meter.Meter
	key    int64    // of its row
	value  path     // nil for COUNT
	groups []string // names in order, the order of stored group values
	paths  []path   // of the groups
}

func define(key int64, m meter.Meter) (*definition, error) {
	d := &definition{Meter: m, key: key}
	if m.ValueProperty != "" {
		p, err := parsePath(m.ValueProperty)
		if err != nil {
			return nil, err
		}
		d.value = p
	}
	for name := range m.GroupBy {
		d.groups = append(d.groups, name)
	}
	slices.Sort(d.groups)
	for _, name := range d.groups {
		p, err := parsePath(m.GroupBy[name])
		if err != nil {
			return nil, err
		}
		d.paths = append(d.paths, p)
	}
	return d, nil
}

// number is a value of an event. Whole numbers that a float64 holds exactly are
// kept apart from the rest, so that sums of money are exact.
type number struct {
	whole   bool
	integer int64
	real    float64
}

func (n number) float() float64 {
	if n.whole {
		return float64(n.integer)
	}
	return n.real
}

const exact = 1 << 53

// parseNumber takes a JSON number, or a string that is one, as OpenMeter does.
func parseNumber(v jsontext.Value) (number, bool) {
	var text string
	switch v.Kind() {
	case '0':
		text = string(v)
	case '"':
		b, err := jsontext.AppendUnquote(nil, v)
		if err != nil || !jsontext.Value(b).IsValid() || jsontext.Value(b).Kind() != '0' {
			return number{}, false
		}
		text = strings.TrimSpace(string(b))
	default:
		return number{}, false
	}
	if i, err := strconv.ParseInt(text, 10, 64); err == nil && -exact <= i && i <= exact {
		return number{whole: true, integer: i}, true
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil { // out of range: 1e400
		return number{}, false
	}
	if f == float64(int64(f)) && -exact < f && f < exact {
		return number{whole: true, integer: int64(f)}, true // 1.0 or 1e3
	}
	return number{real: f}, true
}

// reading is what a meter makes of one event.
type reading struct {
	value  number // SUM, AVG, MIN, MAX, LATEST
	unique string // UNIQUE_COUNT
	groups string // JSON array of group values in the order of definition.groups
}

// read returns what d makes of an event's data, or why it doesn't count.
func (d *definition) read(data []byte) (reading, string) {
	r := reading{groups: "[]"}
	if len(d.paths) > 0 {
		buf := make([]byte, 0, 64)
		buf = append(buf, '[')
		for i, p := range d.paths {
			if i > 0 {
				buf = append(buf, ',')
			}
			buf = appendGroup(buf, find(data, p))
		}
		r.groups = string(append(buf, ']'))
	}
	if d.value == nil {
		return r, ""
	}
	v := find(data, d.value)
	if v == nil || v.Kind() == 'n' {
		return r, fmt.Sprintf("meter %s: event has no value at %s", d.Slug, d.ValueProperty)
	}
	if d.Aggregation == meter.UniqueCount {
		r.unique = textOf(v)
		return r, ""
	}
	n, ok := parseNumber(v)
	if !ok {
		return r, fmt.Sprintf("meter %s: the value at %s is no number", d.Slug, d.ValueProperty)
	}
	r.value = n
	return r, ""
}

// appendGroup appends a group value: its text, or null where there is none.
func appendGroup(buf []byte, v jsontext.Value) []byte {
	switch {
	case v == nil, v.Kind() == 'n':
		return append(buf, "null"...)
	case v.Kind() == '"':
		return append(buf, v...)
	default:
		out, err := jsontext.AppendQuote(buf, textOf(v))
		if err != nil {
			return append(buf, "null"...)
		}
		return out
	}
}

// textOf is a value as text: a string's content, or the JSON of anything else.
func textOf(v jsontext.Value) string {
	if v.Kind() == '"' {
		if b, err := jsontext.AppendUnquote(nil, v); err == nil {
			return string(b)
		}
	}
	return string(v)
}
