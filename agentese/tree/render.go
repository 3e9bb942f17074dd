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
// cursor, whatever it came from. width is the terminal's columns, and what is wider is
// cut, but for what is there to be typed or copied and what is there to be read as a text;
// 0 or less is no terminal, and nothing is cut. now is what times are compared with. Its
// error is w's.
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

// whole writes a line that is never cut.
func (r *renderer) whole(text string) { r.b.WriteString(strings.TrimRight(text, " ") + "\n") }

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
	if len(parts) == 0 {
		return
	}
	if text := strings.Join(parts, "  "); r.width <= 0 || term.Width(text) <= r.width {
		r.whole(text)
		return
	}
	for _, part := range parts { // each by itself, and the title read to its end
		if v.Title != "" && part == parts[0] {
			for _, line := range term.Wrap(oneLine(v.Title), r.width) {
				r.whole(r.s.Strong(line))
			}
			continue
		}
		r.line(part)
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
	if r.width > 0 {
		widest = min(widest, r.width/2)
	}
	for _, f := range fields {
		value := Human(f.Value, f.Unit, r.now)
		paint := func(text string) string { return text }
		switch state, is := f.Value.(State); {
		case f.State != "":
			paint = func(text string) string { return r.state(f.State, text) }
		case is:
			paint = func(text string) string { return r.state(state, text) }
		case f.Value == nil:
			paint = r.s.Faint
		}
		r.field(term.Pad(oneLine(f.Name), widest), value, oneLine(f.Note), paint)
	}
}

// field writes a figure with its note, what doesn't fit below it. Neither is cut: a secret
// is shown once, and a reason is read to its end.
func (r *renderer) field(name, value, note string, paint func(string) string) {
	text, behind := paint(value), ""
	if note != "" {
		behind = "  " + r.s.Faint(note)
	}
	room := r.width - term.Width(name) - 4
	if r.width <= 0 || term.Width(text)+term.Width(behind) <= room {
		r.whole("  " + name + "  " + text + behind)
		return
	}
	lead := "  " + name + "  "
	below := strings.Repeat(" ", term.Width(lead))
	put := func(text string, room int, paint func(string) string) {
		for _, line := range term.Wrap(text, max(room, 1)) {
			r.whole(lead + paint(line))
			lead = below
		}
	}
	put(value, room, paint)
	if room < readableCell {
		lead = "      "
		below, room = lead, r.width-len(lead)
	}
	put(note, room, r.s.Faint)
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
	for i, c := range t.Columns {
		columns[i] = term.Column{Title: strings.ToUpper(oneLine(c.Name)), Right: t.figures(i)}
	}
	cells, widths := r.cells(t, columns, false)
	if r.tooWide(widths) > 0 {
		cells, widths = r.cells(t, columns, true)
	}
	r.fit(widths)
	last := len(columns) - 1
	var rows [][]string
	for j, row := range cells {
		below := r.below(row, widths)
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
		rows = append(rows, row)
		for _, text := range below {
			more := make([]string, len(columns))
			more[last] = text
			rows = append(rows, more)
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

// cells are a table's as people read them, and how wide each column is with its title.
// brief writes times without the day where it is today, and without the year.
func (r *renderer) cells(t *Table, columns []term.Column, brief bool) (cells [][]string, widths []int) {
	widths = make([]int, len(columns))
	for i, c := range columns {
		widths[i] = term.Width(c.Title)
	}
	for _, row := range t.Rows {
		texts := make([]string, len(columns))
		for i, c := range t.Columns {
			texts[i] = Human(cell(row, i), c.Unit, r.now)
			if at, ok := cell(row, i).(time.Time); ok && brief {
				texts[i] = short(at, r.now)
			}
			widths[i] = max(widths[i], term.Width(texts[i]))
		}
		cells = append(cells, texts)
	}
	return cells, widths
}

// tooWide is by how much columns are wider than the terminal.
func (r *renderer) tooWide(widths []int) int {
	if r.width <= 0 {
		return 0
	}
	total := 2 * len(widths) // what is before each
	for _, w := range widths {
		total += w
	}
	return max(0, total-r.width)
}

// fit makes the widest columns narrower until the line is in the terminal, or none is
// wider than narrowest. The first is left as it is: it has the names, which are there to
// be typed.
func (r *renderer) fit(widths []int) {
	for over := r.tooWide(widths); over > 0 && len(widths) > 1; over-- {
		widest := 1
		for i, w := range widths[1:] {
			if w > widths[widest] {
				widest = i + 1
			}
		}
		if widths[widest] <= narrowest {
			return
		}
		widths[widest]--
	}
}

// Bounds of a last column that goes on below: how wide it is at least, and how many lines
// it has at most.
const (
	readableCell = 20
	cellLines    = 4
)

// below is what a row's last cell goes on with in the lines below it, where it is a text
// that was made narrower; the cell itself is then its first line.
func (r *renderer) below(row []string, widths []int) []string {
	last := len(row) - 1
	if last < 1 || widths[last] < readableCell || term.Width(row[last]) <= widths[last] {
		return nil
	}
	lines := term.Wrap(row[last], widths[last])
	if len(lines) > cellLines {
		rest := strings.Join(lines[cellLines-1:], " ")
		lines = append(lines[:cellLines-1], term.Cut(rest, widths[last]))
	}
	for i := range lines {
		lines[i] = term.Cut(lines[i], widths[last])
	}
	row[last] = lines[0]
	return lines[1:]
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
		for _, line := range term.Wrap(oneLine(n), r.measure()-2) {
			r.line("  " + r.s.Faint(line))
		}
	}
}

func (r *renderer) next(next []Example) {
	if len(next) == 0 {
		return
	}
	r.gap()
	// An expression that leaves too little room for its line stands alone above it.
	most := 60
	if r.width > 0 {
		most = min(most, r.width/2)
	}
	widest := 0
	for _, e := range next {
		if w := term.Width(oneLine(e.Expr)); w <= most {
			widest = max(widest, w)
		}
	}
	for _, e := range next {
		expr, line := oneLine(e.Expr), r.s.Faint(oneLine(e.Line))
		if term.Width(expr) <= widest {
			r.line("  → " + term.Pad(expr, widest) + "  " + line)
			continue
		}
		r.whole("  → " + expr) // it is there to be typed
		if e.Line != "" {
			r.line(strings.Repeat(" ", widest+6) + line)
		}
	}
}

// oneLine is a text for one line: blanks of any kind are spaces, and what else a
// terminal would obey is shown as U+FFFD.
func oneLine(text string) string {
	return term.Printable(strings.NewReplacer("\r\n", " ", "\n", " ", "\t", " ").Replace(text))
}
