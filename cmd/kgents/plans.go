package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	root "github.com/kgents/kgents"
	"github.com/kgents/kgents/config"
	"github.com/kgents/kgents/meter"
	"github.com/kgents/kgents/meter/local"
	"github.com/kgents/kgents/plan"
	"github.com/kgents/kgents/term"
)

func newPlansCommand() *cobra.Command {
	var file, validate, meters, output string
	cmd := &cobra.Command{
		Use:   "plans",
		Short: "Show what is sold, or check a file of plans",
		Long: `Show the plans of a file side by side: what they cost, what they limit, and what
happens past a limit. Without --file it is the one that PLANS_FILE names, and without
that the plans that come with the program.

With --validate nothing is shown but what is wrong with a file, each mistake with its
line, and the exit code is 1 if anything is: run it before a file goes into use. With
--meters-file, the meters that the plans name are looked for there too; 'default' is
the embedded meter's own set.

Begin a file of your own with: kgents plans --output yaml > plans.yaml`,
		Example: `  kgents plans
  kgents plans --file plans.yaml --output json
  kgents plans --validate plans.yaml --meters-file default`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch output {
			case "table", "json", "yaml":
			default:
				return fmt.Errorf("--output %q is no format: use table, json or yaml", output)
			}
			known, err := plansMeters(meters)
			if err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			if cmd.Flags().Changed("validate") {
				_, c, err := readPlans(validate, known)
				if err != nil {
					return err
				}
				fmt.Fprintf(w, "%s is valid: %d plans, %d features.\n", validate, len(c.Plans), len(c.Features))
				return nil
			}
			if file == "" {
				if file, err = plansFile(); err != nil {
					return err
				}
			}
			source, c, err := plan.Source(), plan.Default(), error(nil)
			if file != "" {
				source, c, err = readPlans(file, known)
			}
			if err != nil {
				return err
			}
			switch output {
			case "yaml":
				_, err := w.Write(source)
				return err
			case "json":
				enc := json.NewEncoder(w)
				enc.SetIndent("", "  ")
				return enc.Encode(plan.ViewOf(c))
			}
			printPlans(w, c)
			return nil
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&file, "file", "", "YAML file of plans; else $PLANS_FILE, else the plans that come with the program")
	fl.StringVar(&validate, "validate", "", "check this file and say only what is wrong")
	fl.StringVar(&meters, "meters-file", "", "YAML file of the meters that must count what plans limit, or 'default'")
	fl.StringVar(&output, "output", "table", "table, json or yaml")
	words(cmd, "output", "table", "json", "yaml")
	cmd.MarkFlagsMutuallyExclusive("file", "validate")
	return cmd
}

// plansFile is the file that the settings name.
func plansFile() (string, error) {
	dotenv, err := config.ReadDotEnv(".env")
	if err != nil {
		return "", err
	}
	if file := os.Getenv("PLANS_FILE"); file != "" {
		return file, nil
	}
	return dotenv["PLANS_FILE"], nil
}

func plansMeters(file string) ([]meter.Meter, error) {
	switch file {
	case "":
		return nil, nil
	case "default":
		return local.DefaultMeters(), nil
	}
	source, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	meters, err := local.LoadMeters(source)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return meters, nil
}

func readPlans(file string, meters []meter.Meter) ([]byte, *root.Catalog, error) {
	source, err := plan.ReadFile(file)
	if err != nil {
		return nil, nil, err
	}
	c, err := plan.Load(source, meters...)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	return source, c, nil
}

// printPlans writes a column for each plan.
func printPlans(w io.Writer, c *root.Catalog) {
	s := term.StyleFor(w)
	columns := []term.Column{{Title: ""}}
	for _, p := range c.Plans {
		columns = append(columns, term.Column{Title: strings.ToUpper(p.Name)})
	}
	var rows [][]string
	row := func(title string, cell func(root.Plan) string) {
		line, any := []string{s.Faint(title)}, false
		for _, p := range c.Plans {
			text := cell(p)
			any = any || text != ""
			line = append(line, text)
		}
		if any {
			rows = append(rows, line)
		}
	}
	row("id", func(p root.Plan) string { return p.ID })
	for _, interval := range []string{"month", "year"} {
		row("price a "+interval, func(p root.Plan) string {
			for _, price := range p.Prices {
				if price.Interval == interval {
					return term.Money(float64(price.Amount), c.Currency)
				}
			}
			if len(p.Prices) == 0 && interval == "month" {
				return "free"
			}
			return ""
		})
	}
	row("requests a minute", func(p root.Plan) string {
		if p.Rate.PerMinute.Unlimited() {
			return root.Unlimited
		}
		return fmt.Sprintf("%s, %s at once", amount(p.Rate.PerMinute.N()), amount(p.Rate.Burst))
	})
	for _, f := range c.Features {
		row(f.Name, func(p root.Plan) string {
			if q, ok := p.Quotas[f.ID]; ok {
				return planLimit(q, c.Currency)
			}
			return "–"
		})
	}
	most := 0
	for _, p := range c.Plans {
		most = max(most, len(p.Perks))
	}
	for i := range most {
		title := ""
		if i == 0 {
			title = "besides"
		}
		row(title, func(p root.Plan) string {
			if i < len(p.Perks) {
				return p.Perks[i]
			}
			return ""
		})
	}
	term.Table(w, s, columns, rows)
	const day = 24
	fmt.Fprintf(w, "\nWho has paid for no plan has %s. ", c.Default)
	if c.Trial > 0 {
		fmt.Fprintf(w, "A trial has %.0f days. ", c.Trial.Hours()/day)
	}
	if c.Grace > 0 {
		fmt.Fprintf(w, "A failed payment has a grace of %.0f days.\n", c.Grace.Hours()/day)
	} else {
		fmt.Fprintln(w, "A failed payment has no grace.")
	}
	if len(c.AlertAt) > 0 {
		var percents []string
		for _, p := range c.AlertAt {
			percents = append(percents, fmt.Sprint(p, " %"))
		}
		fmt.Fprintf(w, "The operator is told at %s of a limit.\n", strings.Join(percents, ", "))
	}
}

func planLimit(q root.Quota, currency string) string {
	text := root.Unlimited
	if !q.Limit.Unlimited() {
		text = amount(q.Limit.N())
	}
	switch {
	case q.Per == root.PerDay:
		text += " a day"
	case q.Per == root.PerPeriod && !q.Limit.Unlimited():
		text += " a month"
	}
	if q.Over == root.OverBill {
		text += fmt.Sprintf(", then %s for %s", term.Money(float64(q.Overage.Amount), currency), amount(q.Overage.Per))
	}
	return text
}

func amount(n int64) string { return term.Number(float64(n)) }
