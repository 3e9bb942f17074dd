package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	root "github.com/kgents/kgents"
	"github.com/kgents/kgents/invoice"
	"github.com/kgents/kgents/term"
)

func newInvoiceCommand() *cobra.Command {
	var (
		v      v1
		at     string
		output string
	)
	cmd := &cobra.Command{
		Use:   "invoice",
		Short: "Preview a customer's invoice",
		Long: `Show what a customer pays for the period that is under way, or for the one that
--at lies in: the plan's price, what of its limits was used, and the price of what is
past them. Amounts are rounded once a line, half up. Tax is not computed.

--output csv is for spreadsheets; amounts there are whole numbers of the currency's
minor unit, so 1908 is 19.08 USD.`,
		Example: `  kgents invoice
  kgents invoice --customer acme --at 2026-11-01
  kgents invoice --customer acme --output csv`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			query := url.Values{}
			switch output {
			case "table", "json":
			case "csv":
				query.Set("format", "csv")
			default:
				return fmt.Errorf("--output %q is no format: use table, json or csv", output)
			}
			if at != "" {
				query.Set("at", at)
			}
			if err := v.begin(); err != nil {
				return err
			}
			var body json.RawMessage
			if err := v.do(cmd.Context(), http.MethodGet, "/v1/invoice", query, nil, &body); err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			if output == "csv" {
				_, err := w.Write(body)
				return err
			}
			var inv invoice.Invoice
			if err := json.Unmarshal(body, &inv); err != nil {
				return fmt.Errorf("%s answered with something that is no invoice: it may be of another version", v.URL)
			}
			if output == "json" {
				enc := json.NewEncoder(w)
				enc.SetIndent("", "  ")
				return enc.Encode(inv)
			}
			printInvoice(w, inv)
			return nil
		},
	}
	v.addFlags(cmd)
	fl := cmd.Flags()
	fl.StringVar(&at, "at", "", "a time in the period, RFC 3339 or a date; without it now")
	fl.StringVar(&output, "output", "table", "table, json or csv")
	words(cmd, "output", "table", "json", "csv")
	words(cmd, "at")
	return cmd
}

func printInvoice(w io.Writer, inv invoice.Invoice) {
	s := term.StyleFor(w)
	const layout = "2 Jan 2006"
	fmt.Fprintf(w, "%s, plan %s, %s to %s", s.Strong(printable(inv.Customer)), printable(inv.Plan), inv.From.Format(layout), inv.To.Format(layout))
	if inv.Complete {
		fmt.Fprintln(w)
	} else {
		fmt.Fprintf(w, ", counted to %s\n", inv.CountedTo.UTC().Format("2 Jan 15:04 UTC"))
	}
	fmt.Fprintln(w)
	months := false // a year has lines of several
	for _, l := range inv.Lines {
		months = months || l.Kind != invoice.KindPlan && !(l.From.Equal(inv.From) && l.To.Equal(inv.To))
	}
	columns := []term.Column{{Title: "WHAT"}, {Title: "QUANTITY", Right: true}, {Title: "PRICE", Right: true}, {Title: "AMOUNT", Right: true}}
	var rows [][]string
	for _, l := range inv.Lines {
		what, price := printable(l.Text), ""
		if months && l.Kind != invoice.KindPlan {
			what += " from " + l.From.Format(layout)
		}
		quantity := amount(l.Quantity)
		switch {
		case l.Kind == invoice.KindIncluded && !l.Limit.Unlimited():
			if l.LimitPer == root.PerDay {
				quantity += " (" + amount(l.Limit.N()) + " a day)"
			} else {
				quantity += " of " + amount(l.Limit.N())
			}
			price = s.Faint("included")
		case l.Kind == invoice.KindIncluded:
			price = s.Faint("included")
		case l.Per > 1:
			price = term.Money(float64(l.Price), inv.Currency) + " for " + amount(l.Per)
		default:
			price = term.Money(float64(l.Price), inv.Currency)
		}
		rows = append(rows, []string{what, quantity, price, term.Money(float64(l.Amount), inv.Currency)})
	}
	rows = append(rows, []string{s.Strong("Total without tax"), "", "", s.Strong(term.Money(float64(inv.Total), inv.Currency))})
	term.Table(w, s, columns, rows)
	fmt.Fprintln(w)
	for _, n := range inv.Notes {
		fmt.Fprintln(w, s.Faint(printable(strings.TrimSpace(n))))
	}
}
