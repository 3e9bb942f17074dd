package tree

import (
	"bytes"
	"encoding/json"
	"math"
	"time"
)

// The JSON of a Value is a contract. A figure is as Field says, with these: a duration
// is seconds, a time is RFC 3339 in UTC, the zero time and a number that is none are
// null, as is what is not known.

// MarshalJSON writes the figure. A duration without a unit has seconds.
func (f Field) MarshalJSON() ([]byte, error) {
	type plain Field // without this method
	if _, is := f.Value.(time.Duration); is && f.Unit == "" {
		f.Unit = "seconds"
	}
	f.Value = figure(f.Value)
	return unescaped(plain(f))
}

// MarshalJSON writes columns and rows, a row as an object with the columns' names, in
// their order; of columns of the same name the last counts.
func (t Table) MarshalJSON() ([]byte, error) {
	out := struct {
		Columns []Column          `json:"columns"`
		Rows    []json.RawMessage `json:"rows"`
		Total   int               `json:"total,omitempty"`
	}{t.Columns, make([]json.RawMessage, len(t.Rows)), t.Total}
	if out.Columns == nil {
		out.Columns = []Column{}
	}
	names := make([][]byte, len(t.Columns))
	for i, c := range t.Columns {
		names[i], _ = unescaped(c.Name) // a string always can
	}
	for j, row := range t.Rows {
		var b bytes.Buffer
		b.WriteByte('{')
		for i := range t.Columns {
			if i > 0 {
				b.WriteByte(',')
			}
			b.Write(names[i])
			b.WriteByte(':')
			value, err := unescaped(figure(cell(row, i)))
			if err != nil {
				return nil, err
			}
			b.Write(value)
		}
		b.WriteByte('}')
		out.Rows[j] = b.Bytes()
	}
	return unescaped(out)
}

// unescaped leaves <, > and & to the encoder that this is for: expressions have >>.
func unescaped(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// figure is a value as JSON has it.
func figure(v any) any {
	switch x := v.(type) {
	case time.Duration:
		return x.Seconds()
	case time.Time:
		if x.IsZero() {
			return nil
		}
		return x.UTC()
	case float64:
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return nil
		}
	}
	return v
}
