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

	"github.com/kgents/kgents/notify"
	"github.com/kgents/kgents/term"
)

// mostAlerts is the most that one run lists or replays.
const mostAlerts = 1000

func newAlertsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "alerts",
		Short: "Look at usage alerts, and send those again that nobody took",
		Long: `When a customer reaches a percent of a limit that the plans name (50, 80 and 100 by
default), USAGE_ALERT_URL is told by a signed webhook, once for each customer, period,
feature and percent. One that isn't taken is sent again for three days, and is dead
then: it is kept, and can be replayed.`,
		Example: `  kgents alerts list --state dead
  kgents alerts replay alert:acme:1764547200:tokens:80
  kgents alerts replay --all`,
		Args: onlyCommands,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newAlertsListCommand(), newAlertsReplayCommand())
	return cmd
}

// listedAlerts is an answer of GET /v1/alerts.
type listedAlerts struct {
	Alerts []notify.AlertView `json:"alerts"`
	More   bool               `json:"more"`
}

func newAlertsListCommand() *cobra.Command {
	var (
		v     v1
		state string
		limit int
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List usage alerts, the newest first",
		Long: `List usage alerts, the newest first. One that is pending waits for its next try;
one that is merged was told together with a higher percent.`,
		Example: `  kgents alerts list
  kgents alerts list --state dead --customer acme
  kgents alerts list --output json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 || limit > mostAlerts {
				return fmt.Errorf("--limit must be from 1 to %d", mostAlerts)
			}
			if err := v.begin(); err != nil {
				return err
			}
			defer v.client.CloseIdleConnections()
			query := url.Values{"limit": {strconv.Itoa(limit)}}
			if state != "" {
				query.Set("state", state)
			}
			var got listedAlerts
			if err := v.do(cmd.Context(), http.MethodGet, "/v1/alerts", query, nil, &got); err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			if v.output == "json" {
				enc := json.NewEncoder(w)
				enc.SetIndent("", "  ")
				return enc.Encode(got.Alerts)
			}
			printAlerts(w, got.Alerts)
			if got.More {
				fmt.Fprintf(cmd.ErrOrStderr(), "There are more than these %s: narrow it down, or ask for more with --limit.\n", term.Number(float64(limit)))
			}
			return nil
		},
	}
	v.addFlags(cmd)
	v.addOutput(cmd)
	cmd.Flags().StringVar(&state, "state", "", "only those in this state: pending, delivered, dead or merged")
	cmd.Flags().IntVar(&limit, "limit", 100, "show this many at most")
	words(cmd, "state", string(notify.Pending), string(notify.Delivered), string(notify.Dead), string(notify.Merged))
	return cmd
}

func printAlerts(w io.Writer, alerts []notify.AlertView) {
	if len(alerts) == 0 {
		fmt.Fprintln(w, "There are no such alerts.")
		return
	}
	s := term.StyleFor(w)
	var rows [][]string
	for _, a := range alerts {
		state, what := printable(string(a.State)), ""
		switch a.State {
		case notify.Pending:
			if a.Next != nil {
				what = "next try " + a.Next.UTC().Format("2 Jan 15:04:05")
			}
		case notify.Dead:
			state = s.Bad(state)
		case notify.Delivered:
			state = s.Good(state)
		}
		if a.LastError != "" {
			what = strings.TrimPrefix(what+", "+printable(a.LastError), ", ")
		}
		rows = append(rows, []string{
			printable(a.ID), strconv.Itoa(a.Percent) + " %", term.Number(float64(a.Used)) + " of " + a.Limit.String(),
			a.At.UTC().Format(time.DateTime), state, strconv.Itoa(a.Attempts), what,
		})
	}
	term.Table(w, s, []term.Column{{Title: "ID"}, {Title: "AT", Right: true}, {Title: "USED"}, {Title: "NOTICED"}, {Title: "STATE"}, {Title: "TRIES", Right: true}, {Title: "LAST"}}, rows)
}

func newAlertsReplayCommand() *cobra.Command {
	var (
		v   v1
		all bool
	)
	cmd := &cobra.Command{
		Use:   "replay ID... | --all",
		Short: "Send usage alerts again",
		Long: `Send usage alerts again, now and by the whole schedule if they aren't taken. An alert
keeps its webhook-id, so a receiver that has had it knows it. --all sends those that
are dead.`,
		Example: `  kgents alerts replay alert:acme:1764547200:tokens:80
  kgents alerts replay --all --customer acme`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, ids []string) error {
			if all == (len(ids) > 0) {
				return errors.New("name alerts by their ID, or all that are dead with --all: see 'kgents alerts list'")
			}
			if err := v.begin(); err != nil {
				return err
			}
			defer v.client.CloseIdleConnections()
			if all {
				var got listedAlerts
				query := url.Values{"limit": {strconv.Itoa(mostAlerts)}, "state": {string(notify.Dead)}}
				if err := v.do(cmd.Context(), http.MethodGet, "/v1/alerts", query, nil, &got); err != nil {
					return err
				}
				for _, a := range got.Alerts {
					ids = append(ids, a.ID)
				}
			}
			v.customer = "" // an alert names its own
			for i, id := range ids {
				if err := v.do(cmd.Context(), http.MethodPost, "/v1/alerts/"+url.PathEscape(id)+"/replay", nil, nil, nil); err != nil {
					return fmt.Errorf("%d of %d are sent again, then %s: %w", i, len(ids), printable(id), err)
				}
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s are sent again.\n", term.Number(float64(len(ids))))
			return nil
		},
	}
	v.addFlags(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "all that are dead")
	return cmd
}
