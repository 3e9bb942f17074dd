package world

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/term"
)

// figure is one column of a history.
type figure struct {
	name  string // of the metric, as history and Prometheus select it
	title string
	unit  string
	rate  bool   // of a counter: in a second
	over  string // another counter by whose rate this one's is divided: the mean of a histogram
}

// past is how a holon's history is put together.
type past struct {
	title   string
	figures []figure
	kinds   []string                // of entries; none: no entries
	only    func(living.Entry) bool // which of them; nil: all
	events  bool                    // the table is of the entries, not of the figures
	next    []tree.Example
}

// pastParams are the clauses of every witness.
func pastParams() []tree.Param {
	return []tree.Param{
		{Key: "since", Line: "from when on", Kind: tree.Time, Default: "1h"},
		{Key: "step", Line: "time between two rows; without it there are some 60 rows", Kind: tree.Duration, Longest: 24 * time.Hour},
	}
}

// witness makes the history: a line for each figure with a sparkline, lowest, highest
// and last value, a table with the newest first, and what has happened.
func (w *world) witness(p past) func(ctx context.Context, c *tree.Call) (tree.Value, error) {
	return func(ctx context.Context, c *tree.Call) (tree.Value, error) {
		since := c.Args.Time("since")
		if !since.Before(c.Now()) {
			since = c.Now().Add(-time.Hour)
		}
		v := tree.Value{Title: p.title + ", since " + instant(since), Next: p.next}
		var asks []living.Ask
		for _, f := range p.figures {
			asks = append(asks, living.Ask{Name: f.name, Rate: f.rate || f.over != ""})
			if f.over != "" {
				asks = append(asks, living.Ask{Name: f.over, Rate: true})
			}
		}
		var failed error
		var lines []line
		if len(asks) > 0 {
			had, err := w.Series(ctx, since, c.Now(), c.Args.Duration("step"), asks...)
			if failed = err; err == nil {
				lines = p.lines(had.Series)
				v.Note(fmt.Sprintf("Figures are from %s, every %s.", had.From, length(had.Step)))
				if had.Since.Sub(since) > time.Minute {
					v.Note("Nothing older than " + instant(had.Since) + " is kept.")
				}
			}
		}
		entries, kept, err := w.happened(ctx, since, p)
		switch {
		case err != nil && (failed != nil || len(asks) == 0):
			return tree.Value{}, err
		case err != nil:
			unknown(&v, "What has happened", err)
		case failed != nil && len(p.kinds) == 0:
			return tree.Value{}, failed
		case failed != nil:
			unknown(&v, "Figures", failed)
		}
		if kept != "" {
			v.Note(kept)
		}
		for _, l := range lines {
			v.Fields = append(v.Fields, l.field())
		}
		if p.events {
			v.Table = entryTable(entries)
			return v, nil
		}
		v.Table = lineTable(lines)
		v.Text = entryText(entries)
		return v, nil
	}
}

func (w *world) happened(ctx context.Context, since time.Time, p past) ([]living.Entry, string, error) {
	if len(p.kinds) == 0 {
		return nil, "", nil
	}
	all, note, err := w.Entries(ctx, since, p.kinds...)
	if p.only != nil {
		all = slices.DeleteFunc(all, func(e living.Entry) bool { return !p.only(e) })
	}
	return all, note, err
}

// of keeps what is about one of these components of /health/saas, and all of other kinds.
func of(names ...string) func(living.Entry) bool {
	return func(e living.Entry) bool {
		return e.Kind != "health" || slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(e.What, n+" ") })
	}
}

// line is a figure with its points.
type line struct {
	figure
	points []living.Point
}

// lines puts what was asked for together again.
func (p past) lines(had []living.Series) []line {
	var out []line
	i := 0
	for _, f := range p.figures {
		l := line{figure: f}
		if i < len(had) {
			l.points = had[i].Points
		}
		i++
		if f.over != "" {
			if i < len(had) {
				l.points = divided(l.points, had[i].Points)
			}
			i++
		}
		out = append(out, l)
	}
	return out
}

// divided is a over b where both are there and b is not 0.
func divided(a, b []living.Point) []living.Point {
	by := map[int64]float64{}
	for _, p := range b {
		by[p.Time.Unix()] = p.Value
	}
	var out []living.Point
	for _, p := range a {
		if n := by[p.Time.Unix()]; n > 0 {
			out = append(out, living.Point{Time: p.Time, Value: p.Value / n})
		}
	}
	return out
}

// spark is how many columns a sparkline has at most.
const spark = 48

func (l line) field() tree.Field {
	f := tree.Field{Name: l.title}
	if len(l.points) == 0 {
		f.Note = "no value in this time"
		return f
	}
	values := make([]float64, len(l.points))
	for i, p := range l.points {
		values[i] = p.Value
	}
	drawn := values
	if len(values) > spark {
		drawn = make([]float64, spark)
		for i := range drawn {
			drawn[i] = slices.Max(values[i*len(values)/spark : max((i+1)*len(values)/spark, i*len(values)/spark+1)])
		}
	}
	f.Value = term.Sparkline(drawn)
	human := func(n float64) string { return tree.Human(n, l.unit, time.Time{}) }
	f.Note = fmt.Sprintf("min %s, max %s, last %s", human(slices.Min(values)), human(slices.Max(values)), human(values[len(values)-1]))
	return f
}

// instant is a time in text, in UTC, to the second.
func instant(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") + " UTC" }

func lineTable(lines []line) *tree.Table {
	t := &tree.Table{Columns: []tree.Column{{Name: "time"}}}
	rows := map[int64][]any{}
	for i, l := range lines {
		t.Columns = append(t.Columns, tree.Column{Name: l.title, Unit: l.unit})
		for _, p := range l.points {
			row := rows[p.Time.Unix()]
			if row == nil {
				row = make([]any, len(lines)+1)
				row[0] = p.Time
				rows[p.Time.Unix()] = row
			}
			row[i+1] = p.Value
		}
	}
	for _, row := range rows {
		t.Rows = append(t.Rows, row)
	}
	slices.SortFunc(t.Rows, func(a, b []any) int { return b[0].(time.Time).Compare(a[0].(time.Time)) })
	return t
}

func entryTable(entries []living.Entry) *tree.Table {
	t := &tree.Table{Columns: []tree.Column{{Name: "time"}, {Name: "kind"}, {Name: "what"}, {Name: "detail"}, {Name: "who"}, {Name: "replica"}}}
	for _, e := range entries {
		t.Rows = append(t.Rows, []any{e.Time, e.Kind, e.What, e.Detail, e.Who, e.Replica})
	}
	return t
}

// entryText has the newest fifty.
func entryText(entries []living.Entry) string {
	var b strings.Builder
	for _, e := range entries[:min(len(entries), 50)] {
		fmt.Fprintf(&b, "- %s  %s", instant(e.Time), e.What)
		if e.Detail != "" {
			b.WriteString(" (" + e.Detail + ")")
		}
		b.WriteByte('\n')
	}
	return b.String()
}
