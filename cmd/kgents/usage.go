package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/kgents/kgents/meter"
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
	spark []float64
}

func newUsageCommand() *cobra.Command {
	var (
		t target
		q usageQuery
	)
	cmd := &cobra.Command{
		Use:   "usage",
		Short: "Show what the meter says",
		Long: `Show what the meter has counted: a line for each meter, money by currency, and
on a terminal how it went over the time asked for.`,
		Example: `  kgents usage
  kgents usage --customer cus_demo0001 --since 168h
  kgents usage --meter agent_tokens --group-by model,agent
  kgents usage --output csv`,
		Args: cobra.NoArgs,
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
	fl.DurationVar(&q.since, "since", 24*time.Hour, "how far back")
	fl.StringSliceVar(&q.groupBy, "group-by", nil, "split by these: subject, or the meter's own")
	fl.StringVar(&q.output, "output", "table", "table, json or csv")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json", "csv"}, cobra.ShellCompDirectiveNoFileComp))
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
	}
	now := time.Now()
	var rows []usageRow
	for _, m := range meters {
		query := meter.Query{Meter: m.Slug, From: now.Add(-q.since), GroupBy: q.groupBy}
		if q.customer != "" {
			query.Subjects = []string{q.customer}
		}
		if _, ok := m.GroupBy["currency"]; ok && len(q.groupBy) == 0 {
			query.GroupBy = []string{"currency"} // currencies can't be added up
		}
		result, err := client.Query(ctx, query)
		if err != nil {
			return nil, err
		}
		at := map[string]int{}
		for _, r := range result.Data {
			group := groupOf(r, query.GroupBy)
			at[fmt.Sprint(group)] = len(rows)
			rows = append(rows, usageRow{Meter: m.Slug, Group: group, Value: r.Value})
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
		_ = out.Write([]string{"meter", "group", "value"})
		for _, r := range rows {
			_ = out.Write([]string{r.Meter, r.groupText(), strconv.FormatFloat(r.Value, 'f', -1, 64)})
		}
		out.Flush()
		return out.Error()
	}
	if len(rows) == 0 {
		who := ""
		if q.customer != "" {
			who = " of customer " + q.customer
		}
		fmt.Fprintf(w, "The meter has counted nothing%s in the last %s. Send something: kgents emit usage\n", who, sinceText(q.since))
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
		if currency := r.Group["currency"]; currency != "" && r.Meter == "payments" {
			value = term.Money(r.Value, currency)
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

// groupText is the group's values, in the order of their names.
func (r usageRow) groupText() string {
	var parts []string
	for name, value := range r.Group {
		parts = append(parts, name+"="+value)
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}

// printable keeps what a sender put into an event from moving the cursor of who
// looks at it.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

func sinceText(d time.Duration) string {
	if d%(24*time.Hour) == 0 && d > 24*time.Hour {
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
