package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kgents/kgents/billing"
	"github.com/kgents/kgents/config"
	"github.com/kgents/kgents/plan"
	"github.com/kgents/kgents/term"
)

func newStripeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stripe",
		Short: "Make at Stripe what the plans are sold by",
		Example: `  kgents stripe setup
  kgents stripe setup --yes`,
		Args: onlyCommands,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newStripeSetupCommand())
	return cmd
}

func newStripeSetupCommand() *cobra.Command {
	var (
		yes, dry bool
		output   string
	)
	cmd := &cobra.Command{
		Use:   "setup",
		Short: "Make the products, prices and billing meters of the plans at Stripe",
		Long: `Compare Stripe with the plans, and with --yes make what isn't there: a product and
its prices for each plan that costs something, found by lookup key; and for each
feature whose overage is billed a billing meter, a product and metered prices.

It may run any number of times. What is as it should be is left alone. A price can't
be changed at Stripe: one that differs is replaced by a new one, which takes its
lookup key, and who subscribes already keeps the old one.

The key is that of STRIPE_API_KEY, the plans are those of PLANS_FILE. Exit code 1
when Stripe is not as the plans say, or could not be asked.`,
		Example: `  kgents stripe setup
  kgents stripe setup --yes
  kgents stripe setup --stripe-api-key-file stripe.key --plans-file plans.yaml --output json`,
		Args: noArgs,
	}
	s := addSettings(cmd, config.RoleAPI)
	cmd.Flags().BoolVar(&yes, "yes", false, "do it; without it nothing is changed")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "say only what would be done, which is the default")
	cmd.Flags().StringVar(&output, "output", "table", "table or json")
	words(cmd, "output", "table", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case output != "table" && output != "json":
			return fmt.Errorf("--output %q is no format: use table or json", output)
		case yes && dry:
			return errors.New("--yes and --dry-run exclude each other")
		}
		c, _, err := s.load(cmd, config.RoleAPI)
		if err != nil {
			return err
		}
		if c.StripeAPIKey == "" {
			return errors.New("there is no key of Stripe's API: set STRIPE_API_KEY or STRIPE_API_KEY_FILE, or name a file with --stripe-api-key-file")
		}
		book, err := plan.Open(plan.Config{File: c.PlansFile, Prices: c.StripePrices, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			return err
		}
		defer book.Close()
		client := billing.NewClient(billing.ClientConfig{Key: c.StripeAPIKey, Base: c.StripeAPIBase})
		defer client.Close()
		report, err := billing.Setup(cmd.Context(), client, book.Current(), yes)
		if err != nil && len(report.Changes) == 0 {
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
			printSetup(w, report, yes, err)
		}
		switch {
		case err != nil:
			return err
		case !report.Clean():
			return errReported
		}
		return nil
	}
	return cmd
}

func printSetup(w io.Writer, r billing.SetupReport, yes bool, err error) {
	s := term.StyleFor(w)
	mode := "test mode: no money moves"
	if r.Live {
		mode = s.Bad("live mode: money moves")
	}
	fmt.Fprintf(w, "Stripe, %s.\n\n", mode)
	marks := map[billing.Action]string{
		billing.Create: s.Good("+ create"), billing.Keep: s.Faint("= as it is"), billing.Differs: s.Bad("! differs"), billing.Blocked: s.Bad("! blocked"),
	}
	var rows [][]string
	for _, c := range r.Changes {
		mark := marks[c.Action]
		if c.Done {
			mark = s.Good("✓ done")
		}
		rows = append(rows, []string{mark, c.Kind, printable(c.Name), printable(c.Text), printable(c.ID)})
	}
	term.Table(w, s, []term.Column{{Title: ""}, {Title: "WHAT"}, {Title: "NAME"}, {Title: "IS"}, {Title: "STRIPE'S ID"}}, rows)
	fmt.Fprintln(w)
	lines := priceLines(r)
	if len(lines) > 0 {
		fmt.Fprintf(w, "The prices of this account and mode; where they are not set, Stripe is asked for them:\n\n")
		for _, line := range lines {
			fmt.Fprintln(w, "  "+line)
		}
		fmt.Fprintln(w)
	}
	switch {
	case err != nil:
		fmt.Fprintf(w, "%s  it ended in the middle: run it again, it goes on where it was\n", s.Bad("✗"))
	case r.Clean():
		fmt.Fprintf(w, "%s  Stripe is as the plans say\n", s.Good("✓"))
	case yes:
		fmt.Fprintf(w, "%s  what is blocked needs a person\n", s.Bad("✗"))
	default:
		fmt.Fprintln(w, "Nothing was changed: run it with --yes to do so.")
	}
}

// priceLines are the settings for the prices that are there, those that have one.
func priceLines(r billing.SetupReport) []string {
	var lines []string
	for _, v := range config.Variables() {
		lookup, ok := strings.CutPrefix(v.Name, "STRIPE_PRICE_")
		if id := r.Prices[strings.ToLower(lookup)]; ok && id != "" {
			lines = append(lines, v.Name+"="+id)
		}
	}
	return lines
}
