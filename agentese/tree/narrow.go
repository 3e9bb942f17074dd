package tree

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kgents/kgents/agentese"
)

// narrow does what the common clauses where, sort, columns and first ask of a table.
func narrow(v *Value, args Args) error {
	for _, p := range narrowing {
		if !args.Has(p.Key) {
			continue
		}
		if v.Table == nil {
			return args.wrong(p.Key, "it needs a table, and this gives none", "")
		}
		t := *v.Table // what was given may be kept by others
		if p.Key == "where" && t.Total > len(t.Rows) {
			v.Note(fmt.Sprintf("where looked at the %d rows that are here, of %d", len(t.Rows), t.Total))
		}
		if err := t.narrow(p.Key, args); err != nil {
			return err
		}
		v.Table = &t
	}
	return nil
}

// narrow does what one of the clauses asks. Rows and Columns of t are not written to.
func (t *Table) narrow(key string, args Args) error {
	text := args.Get(key)
	switch key {
	case "where":
		return t.where(text, args)
	case "sort":
		name, down := strings.CutPrefix(text, "-")
		i, err := t.column(name, key, args)
		if err != nil {
			return err
		}
		t.Rows = slices.Clone(t.Rows)
		slices.SortStableFunc(t.Rows, func(a, b []any) int { return order(cell(a, i), cell(b, i), down) })
	case "columns":
		return t.only(strings.Split(text, ","), args)
	case "first":
		if n := args.Int(key); n < len(t.Rows) {
			t.Total = max(t.Total, len(t.Rows))
			t.Rows = t.Rows[:n]
		}
	}
	return nil
}

// wrong is the error of a clause that was given.
func (a Args) wrong(key, what, why string, try ...string) *agentese.Error {
	c := a.at[key]
	return &agentese.Error{Kind: agentese.KindClause, Pos: c.Pos, End: c.End, What: c.String() + ": " + what, Why: why, Try: try}
}

func (t *Table) column(name, key string, args Args) (int, error) {
	var names []string
	for i, c := range t.Columns {
		if strings.EqualFold(c.Name, strings.TrimSpace(name)) {
			return i, nil
		}
		names = append(names, c.Name)
	}
	return 0, args.wrong(key, fmt.Sprintf("there is no column %q", name), "there are "+join(names, "and"))
}

func (t *Table) only(names []string, args Args) error {
	var at []int
	for _, n := range names {
		i, err := t.column(n, "columns", args)
		if err != nil {
			return err
		}
		at = append(at, i)
	}
	pick := func(row []any) []any {
		out := make([]any, len(at))
		for j, i := range at {
			out[j] = cell(row, i)
		}
		return out
	}
	rows := make([][]any, len(t.Rows))
	for i, r := range t.Rows {
		rows[i] = pick(r)
	}
	columns := make([]Column, len(at))
	for j, i := range at {
		columns[j] = t.Columns[i]
	}
	t.Rows, t.Columns = rows, columns
	return nil
}

// where keeps the rows that are so: column, then one of = != ~ > < >= <=, then a value.
// What is unknown is only equal to nothing, and different from everything else.
func (t *Table) where(text string, args Args) error {
	name, op, want := condition(text)
	if op == "" {
		return args.wrong("where", "this is no condition", "it is a column, one of = != ~ > < >= <=, and a value", "[where=plan=free]", "[where=used>100]", "[where=name~acme]")
	}
	col, err := t.column(name, "where", args)
	if err != nil {
		return err
	}
	rows := [][]any{}
	for _, r := range t.Rows {
		if meets(cell(r, col), op, want, args.now) {
			rows = append(rows, r)
		}
	}
	t.Rows, t.Total = rows, 0
	return nil
}

// condition takes one apart; op is empty if it is none.
func condition(text string) (name, op, want string) {
	i := strings.IndexAny(text, "=!~<>")
	if i <= 0 {
		return "", "", ""
	}
	for _, op := range []string{"!=", ">=", "<=", "=", "~", ">", "<"} {
		if rest, ok := strings.CutPrefix(text[i:], op); ok {
			return strings.TrimSpace(text[:i]), op, strings.TrimSpace(rest)
		}
	}
	return "", "", ""
}

func meets(have any, op, want string, now time.Time) bool {
	if have == nil {
		return op == "=" && want == "" || op == "!=" && want != ""
	}
	text, like := plain(have), parseLike(have, want, now)
	n := order(have, like, false)
	switch op {
	case "=":
		return n == 0 || strings.EqualFold(text, want)
	case "!=":
		return n != 0 && !strings.EqualFold(text, want)
	case "~":
		return strings.Contains(strings.ToLower(text), strings.ToLower(want))
	}
	if _, is := number(have); is {
		if _, is := number(like); !is {
			return false // a number is neither more nor less than a word
		}
	}
	switch op {
	case ">":
		return n > 0
	case "<":
		return n < 0
	case ">=":
		return n >= 0
	default:
		return n <= 0
	}
}

// parseLike reads a text as a value of the other's type.
func parseLike(like any, text string, now time.Time) any {
	switch like.(type) {
	case int64, int, float64, uint64:
		if f, err := strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64); err == nil {
			return f
		}
	case time.Duration:
		if d, err := ParseDuration(text); err == nil {
			return d
		}
	case time.Time:
		if at, err := ParseTime(text, now); err == nil {
			return at
		}
	case bool:
		if flag, err := (Param{Kind: Flag}).Check(text, now); err == nil {
			return flag == "true"
		}
	}
	return text
}

func number(v any) (float64, bool) {
	switch n := v.(type) {
	case int:
		return float64(n), true
	case int64:
		return float64(n), true
	case uint64:
		return float64(n), true
	case float64:
		return n, true
	case time.Duration:
		return float64(n), true
	case time.Time:
		return float64(n.UnixNano()), true
	case bool:
		if n {
			return 1, true
		}
		return 0, true
	}
	return 0, false
}

// order compares two cells: numbers before words, and what is unknown behind both,
// also when it goes down.
func order(a, b any, down bool) int {
	if a == nil || b == nil {
		return cmp.Compare(unknown(a), unknown(b))
	}
	x, isx := number(a)
	y, isy := number(b)
	var n int
	switch {
	case isx && isy:
		n = cmp.Compare(x, y)
	case isx:
		n = -1
	case isy:
		n = 1
	default:
		n = cmp.Compare(strings.ToLower(plain(a)), strings.ToLower(plain(b)))
	}
	if down {
		return -n
	}
	return n
}

func unknown(v any) int {
	if v == nil {
		return 1
	}
	return 0
}

// plain is a value as text, without units.
func plain(v any) string {
	switch x := v.(type) {
	case nil:
		return ""
	case time.Time:
		return x.UTC().Format(time.RFC3339)
	default:
		return fmt.Sprint(x)
	}
}
