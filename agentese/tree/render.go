package tree

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/kgents/kgents/term"
)

// Render writes a value for people: its title and state, its figures, its table, its
// text, what to know about it and where to look from here. Nothing of it moves the
// cursor, whatever it came from. width is the terminal's columns; 0 or less is no
// terminal, and nothing is cut. now is what times are compared with. Its error is w's.
func Render(w io.Writer, v Value, s term.Style, width int, now time.Time) error {
	r := renderer{s: s, width: width, now: now}
	r.title(v)
	r.fields(v.Fields)
	r.table(v.Table)
	r.text(v.Text)
	r.laws(v.Laws)
	r.notes(v.Notes)
	r.next(v.Next)
	if r.b.Len() == 0 {
		r.line(s.Faint("(nothing)"))
	}
	_, err := io.WriteString(w, r.b.String())
	return err
}

type renderer struct {
	b     strings.Builder
	s     term.Style
	width int
	now   time.Time
}

func (r *renderer) line(text string) {
	text = strings.TrimRight(text, " ")
	if r.width > 0 {
		text = term.Cut(text, r.width)
	}
	r.b.WriteString(text + "\n")
}

// gap is an empty line between two parts.
func (r *renderer) gap() {
	if r.b.Len() > 0 {
		r.b.WriteByte('\n')
	}
}

func (r *renderer) title(v Value) {
	var parts []string
	if v.Title != "" {
		parts = append(parts, r.s.Strong(oneLine(v.Title)))
	}
	if v.State != "" {
		parts = append(parts, r.state(v.State, "● "+oneLine(string(v.State))))
	}
	if v.Changed {
		parts = append(parts, r.s.Good("✓ done"))
	}
	if len(parts) > 0 {
		r.line(strings.Join(parts, "  "))
	}
}

// state colours text as the state asks.
func (r *renderer) state(state State, text string) string {
	switch state {
	case Well:
		return r.s.Good(text)
	case Warn:
		return r.s.Warn(text)
	case Bad:
		return r.s.Bad(text)
	case Unknown:
		return r.s.Faint(text)
	}
	return text
}

func (r *renderer) fields(fields []Field) {
	widest := 0
	for _, f := range fields {
		widest = max(widest, term.Width(oneLine(f.Name)))
	}
	widest = min(widest, 40)
	for _, f := range fields {
		value := Human(f.Value, f.Unit, r.now)
		switch state, is := f.Value.(State); {
		case f.State != "":
			value = r.state(f.State, value)
		case is:
			value = r.state(state, value)
		case f.Value == nil:
			value = r.s.Faint(value)
		}
		if f.Note != "" {
			value += "  " + r.s.Faint(oneLine(f.Note))
		}
		r.line("  " + term.Pad(oneLine(f.Name), widest) + "  " + value)
	}
}

// narrowest is how far a column is cut before the line is.
const narrowest = 8

func (r *renderer) table(t *Table) {
	if t == nil {
		return
	}
	r.gap()
	if len(t.Rows) == 0 {
		r.line("  " + r.s.Faint("none"))
		return
	}
	columns := make([]term.Column, len(t.Columns))
	widths := make([]int, len(t.Columns))
	for i, c := range t.Columns {
		columns[i] = term.Column{Title: strings.ToUpper(oneLine(c.Name)), Right: t.figures(i)}
		widths[i] = term.Width(columns[i].Title)
	}
	rows := make([][]string, len(t.Rows))
	for j, row := range t.Rows {
		rows[j] = make([]string, len(t.Columns))
		for i, c := range t.Columns {
			rows[j][i] = Human(cell(row, i), c.Unit, r.now)
			widths[i] = max(widths[i], term.Width(rows[j][i]))
		}
	}
	r.fit(widths)
	for j, row := range rows {
		for i := range row {
			row[i] = term.Cut(row[i], widths[i])
			switch value := cell(t.Rows[j], i).(type) {
			case nil:
				row[i] = r.s.Faint(row[i])
			case State:
				row[i] = r.state(value, row[i])
			case string:
				if strings.EqualFold(t.Columns[i].Name, "state") {
					row[i] = r.state(State(value), row[i])
				}
			}
		}
	}
	for i := range columns {
		columns[i].Title = term.Cut(columns[i].Title, widths[i])
	}
	var b strings.Builder
	term.Table(&b, r.s, columns, rows)
	for line := range strings.Lines(b.String()) {
		r.line("  " + strings.TrimSuffix(line, "\n"))
	}
	if more := t.Total - len(t.Rows); more > 0 {
		r.line("  " + r.s.Faint(fmt.Sprintf("… and %s more, of %s", term.Number(float64(more)), term.Number(float64(t.Total)))))
	}
}

// fit makes the widest columns narrower until the line is in the terminal, or none is
// wider than narrowest.
func (r *renderer) fit(widths []int) {
	if r.width <= 0 {
		return
	}
	total := 2 * len(widths) // what is before each
	for _, w := range widths {
		total += w
	}
	for ; total > r.width; total-- {
		widest := 0
		for i, w := range widths {
			if w > widths[widest] {
				widest = i
			}
		}
		if widths[widest] <= narrowest {
			return
		}
		widths[widest]--
	}
}

// figures says whether a column has nothing but numbers.
func (t *Table) figures(column int) bool {
	some := false
	for _, row := range t.Rows {
		switch v := cell(row, column).(type) {
		case nil:
		case bool, time.Time:
			return false
		default:
			if _, ok := number(v); !ok {
				return false
			}
			some = true
		}
	}
	return some
}

// cell is a row's value, or nil where the row is too short.
func cell(row []any, i int) any {
	if i >= len(row) {
		return nil
	}
	return row[i]
}

func (r *renderer) laws(laws []Law) {
	if len(laws) == 0 {
		return
	}
	r.gap()
	for _, l := range laws {
		text := oneLine(l.Law) + ": " + oneLine(string(l.Verdict))
		if l.Why != "" {
			text += ", " + oneLine(l.Why)
		}
		switch l.Verdict {
		case Held:
			text = r.s.Good("✓ ") + text
		case Broken:
			text = r.s.Bad("✗ ") + text
		default:
			text = r.s.Faint("· " + text)
		}
		r.line("  " + text)
	}
}

func (r *renderer) notes(notes []string) {
	if len(notes) == 0 {
		return
	}
	r.gap()
	for _, n := range notes {
		for _, line := range wrap(oneLine(n), r.measure()-2) {
			r.line("  " + r.s.Faint(line))
		}
	}
}

func (r *renderer) next(next []Example) {
	if len(next) == 0 {
		return
	}
	r.gap()
	widest := 0
	for _, e := range next {
		widest = max(widest, term.Width(oneLine(e.Expr)))
	}
	widest = min(widest, 60)
	for _, e := range next {
		if expr := oneLine(e.Expr); term.Width(expr) > widest { // it is there to be typed: never cut
			r.line("  → " + expr)
			if e.Line != "" {
				r.line(strings.Repeat(" ", widest+6) + r.s.Faint(oneLine(e.Line)))
			}
			continue
		}
		r.line("  → " + term.Pad(oneLine(e.Expr), widest) + "  " + r.s.Faint(oneLine(e.Line)))
	}
}

// oneLine is a text for one line: blanks of any kind are spaces, and what else a
// terminal would obey is shown as U+FFFD.
func oneLine(text string) string {
	return term.Printable(strings.NewReplacer("\r\n", " ", "\n", " ", "\t", " ").Replace(text))
}
