package local

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/meter"
)

const (
	// maxWindows and maxRows bound one answer.
	maxWindows = 50_000
	maxRows    = 100_000
)

func invalid(format string, args ...any) error {
	return kgents.Errorf(kgents.CodeInvalid, format, args...)
}

// window is a span of whole minutes, its end not included.
type window struct{ start, end int64 }

// Query answers q. Errors are *kgents.Error: CodeNotFound for an unknown meter,
// CodeInvalid for what can't be asked.
func (s *Store) Query(ctx context.Context, q meter.Query) (meter.Result, error) {
	d, err := s.definition(q.Meter)
	if err != nil {
		return meter.Result{}, err
	}
	result := meter.Result{WindowSize: q.WindowSize, Data: []meter.Row{}}
	from, to, err := s.span(ctx, d, q)
	if err != nil {
		return result, err
	}
	if !q.From.IsZero() {
		t := time.Unix(minuteOf(q.From)*60, 0).UTC()
		result.From = &t
	}
	if !q.To.IsZero() {
		t := time.Unix(minuteOf(q.To)*60, 0).UTC()
		result.To = &t
	}
	windows, err := cut(from, to, q.WindowSize, q.TimeZone)
	if err != nil {
		return result, err
	}
	query, args, err := compose(d, q, windows)
	if err != nil {
		return result, err
	}
	if from >= to { // after the checks: a question is wrong or right whatever was counted
		return result, nil
	}
	rows, err := s.read.QueryContext(ctx, query, args...)
	if err != nil {
		return result, err
	}
	defer rows.Close()
	for rows.Next() {
		row, err := scan(rows, d, q)
		if err != nil {
			return result, err
		}
		if len(result.Data) == maxRows {
			return result, invalid("the answer has more than %d rows: ask for a shorter time, larger windows or fewer groups", maxRows)
		}
		result.Data = append(result.Data, row)
	}
	return result, rows.Err()
}

func (s *Store) definition(slugOrID string) (*definition, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if d := s.defs[slugOrID]; d != nil {
		return d, nil
	}
	for _, d := range s.defs {
		if d.ID == slugOrID {
			return d, nil
		}
	}
	return nil, kgents.Errorf(kgents.CodeNotFound, "there is no meter %.80q", slugOrID)
}

// table is where d's readings are.
func (d *definition) table() string {
	if d.Aggregation == meter.UniqueCount {
		return "uniques"
	}
	return "rollup"
}

// span is the time asked for in whole minutes, its open ends closed by what
// there is.
func (s *Store) span(ctx context.Context, d *definition, q meter.Query) (from, to int64, err error) {
	if !q.From.IsZero() && !q.To.IsZero() && !q.From.Before(q.To) {
		return 0, 0, invalid("from must be before to")
	}
	from, to = minuteOf(q.From), minuteOf(q.To)
	if !q.From.IsZero() && !q.To.IsZero() {
		return from, to, nil
	}
	var first, last sql.NullInt64
	if err := s.read.QueryRowContext(ctx, "SELECT (SELECT min(minute) FROM "+d.table()+" WHERE meter = ?1), (SELECT max(minute) FROM "+d.table()+" WHERE meter = ?1)",
		d.key).Scan(&first, &last); err != nil {
		return 0, 0, err
	}
	if !first.Valid {
		return 0, 0, nil
	}
	if q.From.IsZero() {
		from = first.Int64
	}
	if q.To.IsZero() {
		to = last.Int64 + 1
	}
	return from, to, nil
}

// cut returns the windows that from and to lie in. Windows begin as a calendar
// in the time zone has it, so that a day has 23 or 25 hours where the clock
// changes.
func cut(from, to int64, size, zone string) ([]window, error) {
	loc := time.UTC
	if zone != "" {
		var err error
		if loc, err = time.LoadLocation(zone); err != nil || zone == "Local" {
			return nil, invalid("windowTimeZone %.40q is no time zone: use a name such as Europe/Berlin", zone)
		}
	}
	var floor func(time.Time) time.Time
	var next func(time.Time) time.Time
	switch size {
	case "":
		return []window{{from, to}}, nil
	case meter.Minute:
		floor = func(t time.Time) time.Time { return t }
		next = func(t time.Time) time.Time { return t.Add(time.Minute) }
	case meter.Hour:
		// The clock's hour, found without a round trip through local time, in
		// which an hour exists twice when the clock goes back.
		floor = func(t time.Time) time.Time { return t.Add(-time.Duration(t.Minute()) * time.Minute) }
		next = func(t time.Time) time.Time {
			n := t.Add(time.Hour)
			return n.Add(-time.Duration(n.Minute()) * time.Minute)
		}
	case meter.Day:
		floor = func(t time.Time) time.Time { return date(t.Year(), t.Month(), t.Day(), loc) }
		next = func(t time.Time) time.Time { return date(t.Year(), t.Month(), t.Day()+1, loc) }
	case meter.Month:
		floor = func(t time.Time) time.Time { return date(t.Year(), t.Month(), 1, loc) }
		next = func(t time.Time) time.Time { return date(t.Year(), t.Month()+1, 1, loc) }
	default:
		return nil, invalid("windowSize %.40q must be MINUTE, HOUR, DAY or MONTH", size)
	}
	var windows []window
	for at := floor(time.Unix(from*60, 0).In(loc)); minuteOf(at) < to; {
		if len(windows) == maxWindows {
			return nil, invalid("the time asked for has more than %d windows: ask for a shorter time or larger windows", maxWindows)
		}
		end := next(at)
		windows = append(windows, window{minuteOf(at), minuteOf(end)})
		at = end
	}
	return windows, nil
}

// date is midnight, or the first moment after it where the clock leaps over
// midnight, or over the whole day, as west of the date line in 2011.
func date(y int, m time.Month, d int, loc *time.Location) time.Time {
	t := time.Date(y, m, d, 0, 0, 0, 0, loc)
	day := time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
	if day.Before(time.Date(y, m, d, 0, 0, 0, 0, time.UTC)) { // time.Date took the side before the leap
		_, t = t.ZoneBounds()
	}
	return t
}

// values is how an aggregation comes out of the rows of a group. The whole
// numbers' sum is taken in two halves, which can't overflow.
func (d *definition) values() string {
	const sums = "sum(r.sum_int >> 32), sum(r.sum_int & 4294967295), total(r.sum_real)"
	switch d.Aggregation {
	case meter.Count:
		return "sum(r.n), 0, 0.0, 1"
	case meter.UniqueCount:
		return "count(DISTINCT r.value), 0, 0.0, 1"
	case meter.Sum:
		return sums + ", 1"
	case meter.Avg:
		return sums + ", sum(r.n)"
	case meter.Min:
		return "0, 0, min(r.min), 1"
	case meter.Max:
		return "0, 0, max(r.max), 1"
	default: // LATEST: with max(), SQLite takes the other columns from the row that has it
		return "max(r.latest_at), 0, r.latest, 1"
	}
}

// compose makes the SQL: what is the client's is always an argument.
func compose(d *definition, q meter.Query, windows []window) (string, []any, error) {
	group := func(name string) (string, error) {
		i, ok := slices.BinarySearch(d.groups, name)
		if !ok {
			return "", invalid("meter %s has no groupBy %.80q: it has subject and %q", d.Slug, name, d.groups)
		}
		return "json_extract(r.groups, '$[" + strconv.Itoa(i) + "]')", nil
	}
	pairs := make([][2]int64, len(windows))
	for i, w := range windows {
		pairs[i] = [2]int64{w.start, w.end}
	}
	spans, err := json.Marshal(pairs)
	if err != nil {
		return "", nil, err
	}
	columns, groupBy := []string{"w.s", "w.e", d.values()}, []string{"w.s"}
	for _, name := range q.GroupBy {
		column := "r.subject"
		if name != "subject" {
			if column, err = group(name); err != nil {
				return "", nil, err
			}
		}
		columns, groupBy = append(columns, column), append(groupBy, column)
	}
	where := []string{}
	args := []any{string(spans), d.key}
	if q.WindowSize == "" { // the one window's edges are the query's
	} else {
		first, last := minuteOf(q.From), minuteOf(q.To)
		if !q.From.IsZero() {
			where, args = append(where, "r.minute >= ?"), append(args, first)
		}
		if !q.To.IsZero() {
			where, args = append(where, "r.minute < ?"), append(args, last)
		}
	}
	in := func(column string, values []string) {
		where = append(where, column+" IN (SELECT value FROM json_each(?))")
		list, _ := json.Marshal(values) // strings always marshal
		args = append(args, string(list))
	}
	if len(q.Subjects) > 0 {
		in("r.subject", q.Subjects)
	}
	for _, name := range sortedKeys(q.FilterGroupBy) {
		column, err := group(name)
		if err != nil {
			return "", nil, err
		}
		in(column, q.FilterGroupBy[name])
	}
	condition := ""
	if len(where) > 0 {
		condition = " AND " + strings.Join(where, " AND ")
	}
	// CROSS JOIN keeps the windows outside: each is one range of the primary key.
	return fmt.Sprintf(`WITH w AS MATERIALIZED (SELECT value ->> 0 AS s, value ->> 1 AS e FROM json_each(?))
SELECT %s FROM w CROSS JOIN %s r ON r.meter = ? AND r.minute >= w.s AND r.minute < w.e%s
GROUP BY %s ORDER BY %[4]s`, strings.Join(columns, ", "), d.table(), condition, strings.Join(groupBy, ", ")), args, nil
}

func sortedKeys(m map[string][]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func scan(rows *sql.Rows, d *definition, q meter.Query) (meter.Row, error) {
	var (
		start, end, high, low, n int64
		real                     float64
		groups                   = make([]sql.NullString, len(q.GroupBy))
	)
	into := []any{&start, &end, &high, &low, &real, &n}
	for i := range groups {
		into = append(into, &groups[i])
	}
	if err := rows.Scan(into...); err != nil {
		return meter.Row{}, err
	}
	row := meter.Row{
		WindowStart: time.Unix(start*60, 0).UTC(), WindowEnd: time.Unix(end*60, 0).UTC(),
		GroupBy: map[string]*string{},
	}
	switch d.Aggregation {
	case meter.Count, meter.UniqueCount:
		row.Value = float64(high)
	case meter.Sum:
		row.Value = total(high, low, real)
	case meter.Avg:
		row.Value = total(high, low, real) / float64(max(1, n))
	default:
		row.Value = real
	}
	for i, name := range q.GroupBy {
		var value *string
		if groups[i].Valid {
			value = &groups[i].String
		}
		if name == "subject" {
			row.Subject = value
		} else {
			row.GroupBy[name] = value
		}
	}
	return row, nil
}

// total puts a sum together. A sum of whole numbers is exact as far as a float64
// goes; one with fractions is rounded to 15 digits, so that ten times 0.1 is 1.
func total(high, low int64, real float64) float64 {
	whole := float64(high)*(1<<32) + float64(low)
	if real == 0 {
		return whole
	}
	sum := whole + real
	if math.IsInf(sum, 0) {
		return math.Copysign(math.MaxFloat64, sum) // JSON has no infinity
	}
	if math.Abs(sum) >= 1e15 { // no digits are left behind the point
		return sum
	}
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(sum, 'g', 15, 64), 64)
	if err != nil {
		return sum
	}
	return rounded
}
