package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kgents/kgents/consume/deadletter"
	"github.com/kgents/kgents/term"
)

// mostListed is the most letters that one run shows.
const mostListed = 10_000

// letterFilter is which letters are meant.
type letterFilter struct {
	reason, typ, customer, since, until string
}

func (f *letterFilter) addFlags(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.reason, "reason", "", "only letters with this reason: refused or malformed")
	fl.StringVar(&f.typ, "type", "", "only events of this type")
	fl.StringVar(&f.customer, "customer", "", "only this customer's events")
	fl.StringVar(&f.since, "since", "", "only letters of this time or later: RFC 3339, or how long ago, for example 90m, 24h or 7d")
	fl.StringVar(&f.until, "until", "", "only letters from before this time, given like --since")
	words(cmd, "reason", string(deadletter.Refused), string(deadletter.Malformed))
	for _, flag := range []string{"type", "customer", "since", "until"} {
		words(cmd, flag)
	}
}

func (f letterFilter) any() bool { return f != letterFilter{} }

// query is the filter as the API takes it. What is relative to now is so to one
// now, however many pages are asked for.
func (f letterFilter) query(now time.Time) (url.Values, error) {
	q := url.Values{}
	set := func(name, value string) {
		if value != "" {
			q.Set(name, value)
		}
	}
	set("reason", f.reason)
	set("type", f.typ)
	set("customer", f.customer)
	filter := deadletter.Filter{Reason: deadletter.Reason(f.reason)}
	for _, at := range []struct {
		name, text string
		time       *time.Time
	}{{"since", f.since, &filter.Since}, {"until", f.until, &filter.Until}} {
		t, err := deadletter.ParseTime(at.text, now)
		if err != nil {
			return nil, fmt.Errorf("--%s %q is no time: %w", at.name, at.text, err)
		}
		if *at.time = t; !t.IsZero() {
			q.Set(at.name, t.Format(time.RFC3339Nano))
		}
	}
	return q, filter.Check()
}

func newDeadLetterCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "deadletter",
		Short: "Look at events that the meter refused, send them again, or drop them",
		Long: `An event that the meter refuses for its own sake is kept, byte for byte and with
the meter's answer, as a dead letter. Mend what was wrong, in the meter's
configuration for example, and replay the letters: each event counts once, however
often it is replayed. What is refused again is a letter again.`,
		Example: `  kgents deadletter list --since 24h
  kgents deadletter show 17
  kgents deadletter replay --all --type agent.tokens --dry-run
  kgents deadletter drop 17 --yes`,
		Args: onlyCommands,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newDeadLetterListCommand(), newDeadLetterShowCommand(), newDeadLetterReplayCommand(), newDeadLetterDropCommand())
	return cmd
}

// letterFlags are what all four commands have.
type letterFlags struct {
	target
	output string
}

func (f *letterFlags) addFlags(cmd *cobra.Command) {
	f.target.addFlags(cmd)
	cmd.Flags().StringVar(&f.output, "output", "table", "table or json")
	words(cmd, "output", "table", "json")
}

func (f *letterFlags) check() error {
	if f.output != "table" && f.output != "json" {
		return fmt.Errorf("--output %q is no format: use table or json", f.output)
	}
	return nil
}

func newDeadLetterListCommand() *cobra.Command {
	var (
		f      letterFlags
		filter letterFilter
		limit  int
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List dead letters, oldest first",
		Long: `List dead letters, oldest first. SEQ names a letter in the other commands, and
REFUSED is how often its event was refused. A replay makes a new letter, with a
new SEQ, if the event is refused again.`,
		Example: `  kgents deadletter list
  kgents deadletter list --reason refused --type agent.tokens --since 24h
  kgents deadletter list --customer cus_demo0001 --output json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			if limit < 1 || limit > mostListed {
				return fmt.Errorf("--limit must be from 1 to %d", mostListed)
			}
			query, err := filter.query(time.Now())
			if err != nil {
				return err
			}
			client, err := openLetters(&f.target)
			if err != nil {
				return err
			}
			defer client.close()
			list := []deadletter.Stored{}
			more, err := client.each(cmd.Context(), query, limit, func(l deadletter.Stored) { list = append(list, l) })
			if err != nil {
				return err
			}
			if len(list) == 0 && f.output == "table" {
				which := "There are no dead letters."
				if filter.any() {
					which = "There are no dead letters like that."
				}
				fmt.Fprintln(cmd.OutOrStdout(), which)
				return nil
			}
			if err := printLetters(cmd.OutOrStdout(), f.output, list); err != nil {
				return err
			}
			if more {
				fmt.Fprintf(cmd.ErrOrStderr(), "There are more than these %s: narrow it down, or ask for more with --limit.\n", term.Number(float64(limit)))
			}
			return nil
		},
	}
	f.addFlags(cmd)
	filter.addFlags(cmd)
	cmd.Flags().IntVar(&limit, "limit", 100, "show this many at most")
	return cmd
}

func newDeadLetterShowCommand() *cobra.Command {
	var f letterFlags
	cmd := &cobra.Command{
		Use:   "show SEQ",
		Short: "Show one dead letter with its event",
		Long:  `Show one dead letter: what the meter said, and the event.`,
		Example: `  kgents deadletter show 17
  kgents deadletter show 17 --output json`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(); err != nil {
				return err
			}
			seqs, err := sequences(args)
			if err != nil {
				return err
			}
			if len(seqs) != 1 {
				return errors.New("name one letter by its SEQ: see 'kgents deadletter list'")
			}
			client, err := openLetters(&f.target)
			if err != nil {
				return err
			}
			defer client.close()
			l, err := client.show(cmd.Context(), seqs[0])
			if err != nil {
				return err
			}
			return printLetter(cmd.OutOrStdout(), f.output, l)
		},
	}
	f.addFlags(cmd)
	return cmd
}

// sequences reads the names of letters.
func sequences(args []string) ([]uint64, error) {
	var out []uint64
	for _, arg := range args {
		seq, err := strconv.ParseUint(arg, 10, 64)
		if err != nil || seq == 0 {
			return nil, fmt.Errorf("%q names no letter: use its SEQ, as 'kgents deadletter list' shows it", arg)
		}
		out = append(out, seq)
	}
	return out, nil
}

// printLetters writes a list. What senders and the meter wrote is cut and made
// harmless.
func printLetters(w io.Writer, output string, list []deadletter.Stored) error {
	if output == "json" {
		return writeIndented(w, list)
	}
	s := term.StyleFor(w)
	columns := []term.Column{{Title: "SEQ", Right: true}, {Title: "BURIED (UTC)"}, {Title: "REASON"}, {Title: "REFUSED", Right: true},
		{Title: "TYPE"}, {Title: "CUSTOMER"}, {Title: "ID"}, {Title: "DETAIL"}}
	var rows [][]string
	for _, l := range list {
		rows = append(rows, []string{
			strconv.FormatUint(l.Seq, 10), l.Buried.UTC().Format(time.DateTime), reasonText(l.Letter), strconv.Itoa(l.Count),
			short(l.Type, 30), short(l.Subject, 30), short(l.ID, 40), short(l.Detail, 60),
		})
	}
	term.Table(w, s, columns, rows)
	return nil
}

func reasonText(l deadletter.Letter) string {
	if l.Status == 0 {
		return short(string(l.Reason), 30)
	}
	return fmt.Sprintf("%s %d", short(string(l.Reason), 30), l.Status)
}

// short is text in one line of at most n runes.
func short(text string, n int) string {
	runes := []rune(printable(text))
	if len(runes) > n {
		return string(runes[:n-1]) + "…"
	}
	return string(runes)
}

func printLetter(w io.Writer, output string, l deadletter.LetterAnswer) error {
	if output == "json" {
		return writeIndented(w, l)
	}
	at := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	for _, line := range [][2]string{
		{"letter", strconv.FormatUint(l.Seq, 10)},
		{"reason", reasonText(l.Letter)},
		{"detail", printable(l.Detail)},
		{"refused", fmt.Sprintf("%d ×, last from %s to %s", l.Count, at(l.First), at(l.Last))},
		{"source", printable(l.Source)}, {"id", printable(l.ID)}, {"type", printable(l.Type)}, {"customer", printable(l.Subject)},
		{"bytes", term.Number(float64(l.Bytes))},
	} {
		fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("%-8s  %s", line[0], line[1]), " "))
	}
	if l.Truncated {
		fmt.Fprintln(w, "\nOnly the beginning of the event is kept:")
	} else {
		fmt.Fprintln(w, "\nThe event:")
	}
	if l.Event == nil {
		fmt.Fprintf(w, "%q\n", l.EventBase64)
		return nil
	}
	pretty, err := json.MarshalIndent(l.Event, "", "  ")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(pretty)) {
		fmt.Fprintln(w, printable(strings.TrimSuffix(line, "\n")))
	}
	return nil
}

func writeIndented(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// gone tells whether a letter was no longer there.
func gone(err error) bool { return refusedWith(err, http.StatusNotFound) }
