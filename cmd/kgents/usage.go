package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kgents/kgents/meter"
	"github.com/kgents/kgents/meter/local"
	"github.com/kgents/kgents/term"
)

// bars is the number of a sparkline's bars.
const bars = 24

// usageQuery is what the user asked for.
type usageQuery struct {
	customer, meter string
	since           time.Duration
	groupBy         []string
	output          string
}

// usageRow is one line of the answer.
type usageRow struct {
	Meter string            `json:"meter"`
	Group map[string]string `json:"group,omitempty"`
	Value float64           `json:"value"`
	Unit  string            `json:"unit,omitempty"` // minor: the minor unit of the group's currency
	From  time.Time         `json:"from"`
	To    time.Time         `json:"to"`
	by    []string          // the names of Group, in the order asked for
	spark []float64
}

// minor is the unit of money.
const minor = "minor"

func newUsageCommand() *cobra.Command {
	var (
		t target
		q usageQuery
	)
	cmd := &cobra.Command{
		Use:   "usage",
		Short: "Show what the meter says",
		Long: `Show what the meter has counted: a line for each meter, money by currency, and
on a terminal how it went over the time asked for.

Scripts read --output csv or json. A value there is a plain number: where unit is
"minor" it is money in the minor unit of its currency, so 4900 is 49.00 EUR or
4900 JPY; else it is a count or a sum. from and to are the period, in UTC.`,
		Example: `  kgents usage
  kgents usage --customer cus_demo0001 --since 7d
  kgents usage --meter agent_tokens --group-by model,agent
  kgents usage --output csv`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case !slices.Contains([]string{"table", "json", "csv"}, q.output):
				return fmt.Errorf("--output %q is no format: use table, json or csv", q.output)
			case q.since < time.Minute:
				return errors.New("--since must be at least 1m")
			case len(q.groupBy) > 0 && q.meter == "":
				return errors.New("--group-by needs --meter: group-bys differ from meter to meter")
			}
			if err := t.resolve(); err != nil {
				return err
			}
			if err := t.needKey(); err != nil {
				return err
			}
			client, err := meter.NewClient(t.URL, t.Key)
			if err != nil {
				return err
			}
			defer client.Close()
			if err := t.reach(); err != nil {
				return err
			}
			rows, err := collectUsage(cmd.Context(), client, q, term.IsTerminal(cmd.OutOrStdout()))
			if e, ok := errors.AsType[*meter.Error](err); ok && e.Status == http.StatusUnauthorized {
				return t.keyRefused()
			}
			if err != nil {
				return err
			}
			return printUsage(cmd.OutOrStdout(), q, rows)
		},
	}
	t.addFlags(cmd)
	fl := cmd.Flags()
	fl.StringVar(&q.customer, "customer", "", "only this customer's")
	fl.StringVar(&q.meter, "meter", "", "only this meter")
	q.since = day
	fl.Var((*period)(&q.since), "since", "how far back, for example 90m, 24h or 7d")
	fl.StringSliceVar(&q.groupBy, "group-by", nil, "split by these: subject, or the meter's own; money always by currency too")
	fl.StringVar(&q.output, "output", "table", "table, json or csv")
	words(cmd, "output", "table", "json", "csv")
	words(cmd, "customer")
	// A meter of the user's own is not among them: asking for it takes a key.
	slugs, groups := []string{}, []string{"subject"}
	for _, m := range local.DefaultMeters() {
		slugs = append(slugs, m.Slug)
		groups = append(groups, groupBys(m)...)
	}
	slices.Sort(groups)
	words(cmd, "meter", slugs...)
	words(cmd, "group-by", slices.Compact(groups)...)
	return cmd
}

// collectUsage asks the meter, twice a meter when sparklines are wanted.
func collectUsage(ctx context.Context, client *meter.Client, q usageQuery, sparklines bool) ([]usageRow, error) {
	meters, err := client.Meters(ctx)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(meters, func(a, b meter.Meter) int { return strings.Compare(a.Slug, b.Slug) })
	if q.meter != "" {
		all := meters
		meters = slices.DeleteFunc(slices.Clone(meters), func(m meter.Meter) bool { return m.Slug != q.meter })
		if len(meters) == 0 {
			var slugs []string
			for _, m := range all {
				slugs = append(slugs, m.Slug)
			}
			return nil, fmt.Errorf("there is no meter %q: choose from %s", q.meter, strings.Join(slugs, ", "))
		}
		known := append([]string{"subject"}, groupBys(meters[0])...)
		for _, name := range q.groupBy {
			if !slices.Contains(known, name) {
				return nil, fmt.Errorf("meter %s can't be grouped by %q: choose from %s", q.meter, name, strings.Join(known, ", "))
			}
		}
	}
	now := time.Now().UTC().Truncate(time.Second)
	var rows []usageRow
	for _, m := range meters {
		query := meter.Query{Meter: m.Slug, From: now.Add(-q.since), GroupBy: slices.Clone(q.groupBy)}
		if q.customer != "" {
			query.Subjects = []string{q.customer}
		}
		if _, ok := m.GroupBy["currency"]; ok && !slices.Contains(q.groupBy, "currency") {
			query.GroupBy = append(query.GroupBy, "currency") // currencies can't be added up
		}
		result, err := client.Query(ctx, query)
		if err != nil {
			return nil, err
		}
		first := len(rows)
		for _, r := range result.Data {
			row := usageRow{Meter: m.Slug, Group: groupOf(r, query.GroupBy), Value: r.Value, From: query.From, To: now, by: query.GroupBy}
			if m.Slug == "payments" && row.Group["currency"] != "" {
				row.Unit = minor
			}
			rows = append(rows, row)
		}
		slices.SortStableFunc(rows[first:], compareGroups)
		at := map[string]int{}
		for i := first; i < len(rows); i++ {
			at[fmt.Sprint(rows[i].Group)] = i
		}
		if !sparklines || len(result.Data) == 0 {
			continue
		}
		query.WindowSize = meter.Hour
		if q.since <= 3*time.Hour {
			query.WindowSize = meter.Minute
		} else if q.since > 45*24*time.Hour {
			query.WindowSize = meter.Day
		}
		result, err = client.Query(ctx, query)
		if err != nil {
			return nil, err
		}
		for _, r := range result.Data {
			i, ok := at[fmt.Sprint(groupOf(r, query.GroupBy))]
			if !ok {
				continue
			}
			if rows[i].spark == nil {
				rows[i].spark = make([]float64, bars)
			}
			bar := int(float64(bars) * r.WindowStart.Sub(query.From).Seconds() / q.since.Seconds())
			rows[i].spark[min(max(bar, 0), bars-1)] += r.Value
		}
	}
	return rows, nil
}

// groupBys are the names that m can be split by, besides the subject.
func groupBys(m meter.Meter) []string { return slices.Sorted(maps.Keys(m.GroupBy)) }

// compareGroups sorts a meter's rows by the first name asked for, then by the next.
func compareGroups(a, b usageRow) int {
	for _, name := range a.by {
		if c := strings.Compare(a.Group[name], b.Group[name]); c != 0 {
			return c
		}
	}
	return 0
}

func groupOf(r meter.Row, names []string) map[string]string {
	group := map[string]string{}
	for _, name := range names {
		value := r.GroupBy[name]
		if name == "subject" {
			value = r.Subject
		}
		if value == nil {
			group[name] = "none"
		} else {
			group[name] = *value
		}
	}
	return group
}

func printUsage(w io.Writer, q usageQuery, rows []usageRow) error {
	switch q.output {
	case "json":
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		if rows == nil {
			rows = []usageRow{}
		}
		return enc.Encode(rows)
	case "csv":
		out := csv.NewWriter(w)
		_ = out.Write([]string{"meter", "group", "value", "unit", "from", "to"})
		for _, r := range rows {
			_ = out.Write([]string{r.Meter, r.groupText(), strconv.FormatFloat(r.Value, 'f', -1, 64), r.Unit, r.From.Format(time.RFC3339), r.To.Format(time.RFC3339)})
		}
		out.Flush()
		return out.Error()
	}
	if len(rows) == 0 {
		if q.customer != "" {
			fmt.Fprintf(w, "In the last %s the meters have counted nothing of customer %s.\n", sinceText(q.since), q.customer)
			return nil
		}
		fmt.Fprintf(w, "In the last %s the meters have counted nothing. Send something: kgents emit usage\n", sinceText(q.since))
		return nil
	}
	s := term.StyleFor(w)
	columns := []term.Column{{Title: "METER"}, {Title: "GROUP"}, {Title: "LAST " + strings.ToUpper(sinceText(q.since)), Right: true}}
	sparklines := slices.ContainsFunc(rows, func(r usageRow) bool { return r.spark != nil })
	if sparklines {
		columns = append(columns, term.Column{Title: "OVER TIME"})
	}
	var table [][]string
	last := ""
	for _, r := range rows {
		name := r.Meter
		if name == last {
			name = ""
		}
		last = r.Meter
		value := term.Number(r.Value)
		if r.Unit == minor {
			value = term.Money(r.Value, r.Group["currency"])
		}
		line := []string{name, printable(r.groupText()), value}
		if sparklines {
			line = append(line, s.Good(term.Sparkline(r.spark)))
		}
		table = append(table, line)
	}
	term.Table(w, s, columns, table)
	return nil
}

// groupText is the group's values, in the order asked for.
func (r usageRow) groupText() string {
	var parts []string
	for _, name := range r.by {
		parts = append(parts, name+"="+r.Group[name])
	}
	return strings.Join(parts, " ")
}

// printable is term.Printable, by the name that it has in every command.
func printable(text string) string { return term.Printable(text) }

// sinceText is d in words: an M would be a minute to some and a month to others.
func sinceText(d time.Duration) string {
	var parts []string
	for _, u := range []struct {
		length time.Duration
		name   string
	}{{day, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}, {time.Second, "second"}} {
		n := d / u.length
		if n == 0 || u.length == day && n == 1 { // 24 hours is what people say, and 36
			continue
		}
		d -= n * u.length
		name := u.name
		if n > 1 {
			name += "s"
		}
		parts = append(parts, term.Number(float64(n))+" "+name)
	}
	return strings.Join(parts, " ")
}
