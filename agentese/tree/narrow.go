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
	for _, key := range []string{"where", "sort", "columns", "first"} {
		if args.Has(key) && v.Table == nil {
			return &agentese.Error{Kind: agentese.KindClause, What: "[" + key + "=…] needs a table, and this gives none"}
		}
	}
	if v.Table == nil {
		return nil
	}
	t := *v.Table // what was given may be kept by others
	v.Table = &t
	if args.Has("where") {
		if err := t.where(args.Get("where")); err != nil {
			return err
		}
	}
	if key, ok := strings.CutPrefix(args.Get("sort"), "-"); args.Has("sort") {
		i, err := t.column(key)
		if err != nil {
			return err
		}
		t.Rows = slices.Clone(t.Rows)
		slices.SortStableFunc(t.Rows, func(a, b []any) int {
			n := compare(a[i], b[i])
			if ok {
				return -n
			}
			return n
		})
	}
	if args.Has("columns") {
		if err := t.only(strings.Split(args.Get("columns"), ",")); err != nil {
			return err
		}
	}
	if n := args.Int("first"); n > 0 && n < len(t.Rows) {
		t.Total = max(t.Total, len(t.Rows))
		t.Rows = t.Rows[:n]
	}
	return nil
}

func (t *Table) column(name string) (int, error) {
	var names []string
	for i, c := range t.Columns {
		if strings.EqualFold(c.Name, strings.TrimSpace(name)) {
			return i, nil
		}
		names = append(names, c.Name)
	}
	return 0, &agentese.Error{Kind: agentese.KindClause, What: fmt.Sprintf("there is no column %q", name), Why: "there are " + join(names, "and")}
}

func (t *Table) only(names []string) error {
	var at []int
	for _, n := range names {
		i, err := t.column(n)
		if err != nil {
			return err
		}
		at = append(at, i)
	}
	pick := func(row []any) []any {
		out := make([]any, len(at))
		for j, i := range at {
			out[j] = row[i]
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
func (t *Table) where(text string) error {
	i := strings.IndexAny(text, "=!~<>")
	if i <= 0 {
		return &agentese.Error{Kind: agentese.KindClause, What: fmt.Sprintf("[where=%s] is no condition", text), Try: []string{`[where="plan=free"]`, `[where="used>100"]`, `[where="name~acme"]`}}
	}
	op := text[i : i+1]
	if i+1 < len(text) && text[i+1] == '=' && op != "=" && op != "~" {
		op += "="
	}
	col, err := t.column(text[:i])
	if err != nil {
		return err
	}
	want := strings.TrimSpace(text[i+len(op):])
	var rows [][]any
	for _, r := range t.Rows {
		have := plain(r[col])
		n := compare(r[col], parseLike(r[col], want))
		ok := map[string]bool{
			"=": strings.EqualFold(have, want) || n == 0, "!=": !strings.EqualFold(have, want) && n != 0,
			"~": strings.Contains(strings.ToLower(have), strings.ToLower(want)),
			">": n > 0, "<": n < 0, ">=": n >= 0, "<=": n <= 0,
		}[op]
		if ok {
			rows = append(rows, r)
		}
	}
	t.Rows, t.Total = rows, 0
	return nil
}

// parseLike reads a text as a value of the other's type.
func parseLike(like any, text string) any {
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
		if at, err := ParseTime(text, time.Now()); err == nil {
			return at
		}
	case bool:
		return strings.EqualFold(text, "true")
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

func compare(a, b any) int {
	x, okx := number(a)
	y, oky := number(b)
	if okx && oky {
		return cmp.Compare(x, y)
	}
	return cmp.Compare(strings.ToLower(plain(a)), strings.ToLower(plain(b)))
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
