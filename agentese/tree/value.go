package tree

import "time"

// State says how something is. It colours a view and decides a script's checks.
type State string

// The states, from good to bad. Unknown is what could not be looked at.
const (
	Well    State = "ok"
	Warn    State = "degraded"
	Bad     State = "error"
	Unknown State = "unknown"
)

// Value is what a step gives: what is shown, piped and, with --output json, printed.
// Its JSON is a contract: names don't change their meaning.
type Value struct {
	Path    string    `json:"path,omitempty"` // the step that gave it
	Title   string    `json:"title,omitempty"`
	State   State     `json:"state,omitempty"`
	Fields  []Field   `json:"fields,omitempty"`
	Table   *Table    `json:"table,omitempty"`
	Text    string    `json:"text,omitempty"`  // paragraphs; Markdown where Kind says so
	Notes   []string  `json:"notes,omitempty"` // what to know about it: how far it looked, what is missing
	Next    []Example `json:"next,omitempty"`  // where one would look from here
	Laws    []Law     `json:"laws,omitempty"`  // what [law_check] has found
	Changed bool      `json:"changed,omitempty"`
	Held    *bool     `json:"held,omitempty"` // of a change whose effect was looked at: it was seen
}

// Empty says that there is nothing in it: what the identity gives without an input.
func (v Value) Empty() bool {
	return v.Path == "" && v.Title == "" && v.State == "" && v.Text == "" && v.Table == nil && !v.Changed &&
		len(v.Fields) == 0 && len(v.Notes) == 0 && len(v.Next) == 0 && len(v.Laws) == 0
}

// Verdict is what came of looking at a law.
type Verdict string

// The verdicts. Moved is what a living system gives that was looked at twice: the same
// fields and columns, other figures in them.
const (
	Held      Verdict = "held"
	Moved     Verdict = "moved"
	Broken    Verdict = "broken"
	Unchecked Verdict = "not checked"
)

// Law is one of the language's, looked at with a real step.
type Law struct {
	Law     string  `json:"law"` // identity >> f = f
	Verdict Verdict `json:"verdict"`
	Why     string  `json:"why,omitempty"`
}

// Field is one figure with its name. Value is a string, bool, int64, float64,
// time.Time, time.Duration or nil, which is shown as unknown.
type Field struct {
	Name  string `json:"name"`
	Value any    `json:"value"`
	Unit  string `json:"unit,omitempty"` // bytes, seconds, percent, "1/s", or a currency as money:usd, in minor units
	State State  `json:"state,omitempty"`
	Note  string `json:"note,omitempty"`
}

// Table has a row for each thing of a list.
type Table struct {
	Columns []Column `json:"columns"`
	Rows    [][]any  `json:"rows"`            // values as in Field; in JSON objects by the columns' names
	Total   int      `json:"total,omitempty"` // how many there are, if more than Rows
}

// Column names what stands in it. A column named state holds a State or a word.
type Column struct {
	Name string `json:"name"`
	Unit string `json:"unit,omitempty"`
	Link string `json:"link,omitempty"` // pattern that a cell leads to, its name for the {}: world.customers.{}
}

// Add appends a figure.
func (v *Value) Add(name string, value any, unit string) *Value {
	v.Fields = append(v.Fields, Field{Name: name, Value: value, Unit: unit})
	return v
}

// Note appends one.
func (v *Value) Note(text string) { v.Notes = append(v.Notes, text) }

// Then appends where one would look next.
func (v *Value) Then(expr, why string) { v.Next = append(v.Next, Example{Expr: expr, Line: why}) }

// Ago is how long before now t was; nil for a zero time.
func Ago(t, now time.Time) any {
	if t.IsZero() {
		return nil
	}
	return now.Sub(t)
}
