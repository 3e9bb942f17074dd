package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/kgents/kgents/reconcile"
	"github.com/kgents/kgents/term"
)

// maxReport bounds the report that is read: 10,000 rows and 100 examples.
const maxReport = 64 << 20

func newReconcileCommand() *cobra.Command {
	var (
		t      target
		since  = reconcile.DefaultSince
		settle = reconcile.DefaultSettle
		fix    bool
		output string
	)
	cmd := &cobra.Command{
		Use:   "reconcile",
		Short: "Compare what was admitted with what the meter lists, and mend it",
		Long: `Compare the events of the stream with those that the meter lists: OpenMeter says
yes before an event is on its disk, so it can lose one. With --fix, what is missing
is sent again; each event counts once, however often it is sent. Events that are
under way, and dead letters, are not missing.

Ask 'kgents up', or in a cluster the sink: the API has no such route. Exit code 1
when events are missing that were not mended.`,
		Example: `  kgents reconcile
  kgents reconcile --since 7d --fix
  kgents reconcile --since 24h --output json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case output != "table" && output != "json":
				return fmt.Errorf("--output %q is no format: use table or json", output)
			case since < time.Second || since > reconcile.MaxPeriod:
				return errors.New("--since must be from 1s to 30d")
			case settle < 0 || settle >= since:
				return errors.New("--settle must not be negative, and less than --since")
			}
			if err := t.resolve(); err != nil {
				return err
			}
			if err := t.needKey(); err != nil {
				return err
			}
			if err := t.reach(); err != nil {
				return err
			}
			query := url.Values{"since": {since.String()}, "settle": {settle.String()}, "fix": {strconv.FormatBool(fix)}}
			report, err := askReconcile(cmd.Context(), t, query)
			if err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			if output == "json" {
				enc := json.NewEncoder(w)
				enc.SetIndent("", "  ")
				if err := enc.Encode(report); err != nil {
					return err
				}
			} else {
				printReconciled(w, report)
			}
			if report.Total.Lost() > 0 {
				return errReported
			}
			return nil
		},
	}
	t.addFlags(cmd)
	fl := cmd.Flags()
	fl.Var((*period)(&since), "since", "how far back, for example 90m, 24h or 7d; 30d at most")
	fl.DurationVar(&settle, "settle", settle, "how long ago the period ends: OpenMeter lists an event some seconds after it took it")
	fl.BoolVar(&fix, "fix", false, "send again what is missing")
	fl.StringVar(&output, "output", "table", "table or json")
	words(cmd, "output", "table", "json")
	return cmd
}

// askReconcile waits for the report for as long as it takes.
func askReconcile(ctx context.Context, t target, query url.Values) (report reconcile.Report, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.URL+"/api/v1/reconcile?"+query.Encode(), nil)
	if err != nil {
		return report, err
	}
	req.Header.Set("Authorization", "Bearer "+t.Key)
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return report, fmt.Errorf("%s went away during the run: %w", t.URL, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxReport))
	if err != nil {
		return report, fmt.Errorf("%s went away during the run: %w", t.URL, err)
	}
	switch resp.StatusCode {
	case http.StatusOK:
		if err := json.Unmarshal(body, &report); err != nil {
			return report, fmt.Errorf("%s answered with something that is no report: it may be of another version", t.URL)
		}
		return report, nil
	case http.StatusUnauthorized:
		return report, t.keyRefused()
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return report, fmt.Errorf("%s does not reconcile: name 'kgents up' or a sink with --url", t.URL)
	}
	var problem struct{ Detail string }
	if json.Unmarshal(body, &problem) != nil || problem.Detail == "" {
		problem.Detail = http.StatusText(resp.StatusCode)
	}
	return report, fmt.Errorf("%s answered %d: %s", t.URL, resp.StatusCode, printable(problem.Detail))
}

// printReconciled writes a table with a line for each type and customer that has
// something to tell, and what it comes to.
func printReconciled(w io.Writer, r reconcile.Report) {
	s := term.StyleFor(w)
	n := func(v int64) string { return term.Number(float64(v)) }
	if !r.Clean() {
		columns := []term.Column{{Title: "TYPE"}, {Title: "CUSTOMER"}}
		for _, title := range []string{"IN STREAM", "IN METER", "MISSING", "MENDED", "SURPLUS", "DIFFERENT"} {
			columns = append(columns, term.Column{Title: title, Right: true})
		}
		var rows [][]string
		for _, row := range r.Rows {
			if row.Missing == 0 && row.Surplus == 0 && row.Different == 0 {
				continue
			}
			missing := n(row.Missing)
			if row.Lost() > 0 {
				missing = s.Bad(missing)
			}
			rows = append(rows, []string{printable(row.Type), printable(row.Customer), n(row.InStream), n(row.InMeter),
				missing, n(row.Mended), n(row.Surplus), n(row.Different)})
		}
		term.Table(w, s, columns, rows)
		fmt.Fprintln(w)
		const shown = 10
		for _, f := range r.Examples[:min(shown, len(r.Examples))] {
			what := string(f.Kind)
			if f.Mended {
				what += ", mended"
			}
			fmt.Fprintf(w, "%s: source %s, id %s\n", what, printable(f.Source), printable(f.ID))
		}
		if r.Total.Missing+r.Total.Surplus+r.Total.Different > shown {
			fmt.Fprintln(w, s.Faint("and more: --output json names 100"))
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "From %s to %s the stream has %s %s.\n", r.Since.Format(time.DateTime), r.Until.Format(time.DateTime+" MST"),
		n(r.Total.InStream), plural(r.Total.InStream, "event"))
	for _, line := range []struct {
		n    int64
		text string
	}{
		{r.Total.DeadLetters, "of them are dead letters"},
		{r.Total.Unchecked, "of them could not be looked up"},
		{r.InFlight, plural(r.InFlight, "message") + " under way, not looked at"},
	} {
		if line.n > 0 {
			fmt.Fprintf(w, "%s %s.\n", n(line.n), line.text)
		}
	}
	switch lost := r.Total.Lost(); {
	case lost > 0 && r.Fix:
		fmt.Fprintf(w, "%s  %s still missing after they were sent again: look at the sink's log and at the meter's\n", s.Bad("✗"), n(lost))
	case lost > 0:
		fmt.Fprintf(w, "%s  %s missing: send them again with --fix\n", s.Bad("✗"), n(lost))
	case r.Total.Missing > 0:
		fmt.Fprintf(w, "%s  %s missing, all mended\n", s.Good("✓"), n(r.Total.Missing))
	default:
		fmt.Fprintf(w, "%s  nothing is missing\n", s.Good("✓"))
	}
}

func plural(n int64, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}
