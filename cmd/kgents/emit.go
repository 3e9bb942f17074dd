package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/kgents/kgents/emit"
	"github.com/kgents/kgents/term"
)

// emitFlags are what both kinds of events have in common.
type emitFlags struct {
	target
	mix    emit.Mix
	plan   emit.Plan
	output string
}

func newEmitCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "emit",
		Short: "Send events: signed Stripe webhooks, usage, or towns' days",
		Long: `Send events as the outside world does, and report what was said to them.
Every run makes new events, unless --seed repeats one.`,
		Example: `  kgents emit stripe --count 200
  kgents emit usage --count 10000 --batch 100 --concurrency 8
  kgents emit usage --rate 50 --duration 1m --duplicates 0.1
  kgents emit town --citizens 25 --count 1000`,
		Args: onlyCommands,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newEmitStripeCommand(), newEmitUsageCommand(), newEmitTownCommand())
	return cmd
}

func newEmitStripeCommand() *cobra.Command {
	f := &emitFlags{}
	var scenario, customer, plan string
	cmd := &cobra.Command{
		Use:   "stripe",
		Short: "Send signed Stripe webhooks",
		Long: `Send webhooks made from Stripe's own fixtures and signed with the webhook
secret: customers check out, pay every month in their own currency, sometimes
fail to, change their plan, and leave. Invoices come in both shapes that Stripe's
API has had.

With --scenario it is the whole life of one subscription instead, told so that it is
now what the scenario's name says:

` + scenarioList(),
		Example: `  kgents emit stripe --count 200 --over 24h
  kgents emit stripe --count 1000 --duplicates 0.2 --shuffle --concurrency 16
  kgents emit stripe --scenario dunning --customer acme --shuffle --duplicates 0.5`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if scenario == "" {
				if customer != "" || plan != "" {
					return fmt.Errorf("--customer and --plan go with --scenario")
				}
				return f.run(cmd, func() (emit.Source, error) { return emit.Stripe(f.mix) })
			}
			for _, name := range []string{"count", "over"} {
				if cmd.Flags().Changed(name) {
					return fmt.Errorf("--%s doesn't go with --scenario, which has a length of its own", name)
				}
			}
			if !cmd.Flags().Changed("customers") {
				f.mix.Customers = 1
			} else if customer != "" && f.mix.Customers > 1 {
				return fmt.Errorf("--customer is one: leave out --customers")
			}
			f.mix.Count = 0
			return f.run(cmd, func() (emit.Source, error) {
				return emit.Scenario(scenario, emit.Life{Mix: f.mix, Customer: customer, Plan: plan})
			})
		},
	}
	cmd.Flags().StringVar(&scenario, "scenario", "", "play the life of one subscription")
	words(cmd, "scenario", emit.Scenarios()...)
	cmd.Flags().StringVar(&customer, "customer", "", "with --scenario: id of the customer whose subscription it is")
	cmd.Flags().StringVar(&plan, "plan", "", "with --scenario: the plan that it begins with, at the price with the lookup key <plan>_monthly (default pro)")
	words(cmd, "plan")
	f.addEmitFlags(cmd, 50, 1)
	f.addSecretFlag(cmd)
	return cmd
}

// scenarioList is a line for each scenario.
func scenarioList() string {
	var b strings.Builder
	for _, name := range emit.Scenarios() {
		fmt.Fprintf(&b, "  %-16s %s\n", name, emit.ScenarioAbout(name))
	}
	return strings.TrimRight(b.String(), "\n")
}

func newEmitUsageCommand() *cobra.Command {
	f := &emitFlags{}
	usage := emit.UsageMix{}
	cmd := &cobra.Command{
		Use:   "usage",
		Short: "Send usage events",
		Long:  `Send CloudEvents: tokens that agents used, interactions in a town, API requests.`,
		Example: `  kgents emit usage --count 500
  kgents emit usage --type agent.tokens --batch 100 --count 100000 --concurrency 8`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd, func() (emit.Source, error) {
				usage.Mix = f.mix
				return emit.Usage(usage)
			})
		},
	}
	f.addEmitFlags(cmd, 100, 4)
	cmd.Flags().IntVar(&usage.Batch, "batch", 1, "events a request")
	cmd.Flags().StringSliceVar(&usage.Types, "type", nil, "only events of these types")
	words(cmd, "type", emit.UsageTypes...)
	return cmd
}

func newEmitTownCommand() *cobra.Command {
	f := &emitFlags{}
	mix := emit.TownMix{}
	cmd := &cobra.Command{
		Use:   "town",
		Short: "Send what towns use in their days",
		Long: `Send the usage of Agent Town as a client of the API would: towns, one for each
customer, live their days, and each interaction is sent with the tokens of everybody
who took part. Their sums agree. For a town that is kept, see 'kgents town'.`,
		Example: `  kgents emit town --count 500
  kgents emit town --citizens 25 --customers 100 --count 100000 --batch 100 --concurrency 8`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd, func() (emit.Source, error) {
				mix.Mix = f.mix
				return emit.Town(mix)
			})
		},
	}
	f.addEmitFlags(cmd, 100, 4)
	cmd.Flags().IntVar(&mix.Batch, "batch", 10, "events a request")
	cmd.Flags().IntVar(&mix.Citizens, "citizens", 7, "citizens of each town: 3, 7, 10 or 25")
	words(cmd, "citizens", "3", "7", "10", "25")
	return cmd
}

func (f *emitFlags) addEmitFlags(cmd *cobra.Command, count, concurrency int) {
	f.addFlags(cmd)
	fl := cmd.Flags()
	fl.IntVar(&f.mix.Count, "count", count, "events to send; 0 = until --duration or Ctrl-C")
	fl.IntVar(&f.mix.Customers, "customers", 10, "customers they are spread over")
	fl.Float64Var(&f.mix.Duplicates, "duplicates", 0, "share of requests sent a second time, 0 to 1")
	fl.BoolVar(&f.mix.Shuffle, "shuffle", false, "mix up the order")
	fl.DurationVar(&f.mix.Over, "over", 0, "spread the events' times this far back, for example 24h")
	fl.Uint64Var(&f.mix.Seed, "seed", 0, "repeat the events of this number; 0 = new ones")
	fl.Float64Var(&f.plan.Rate, "rate", 0, "requests a second; 0 = as fast as it goes")
	fl.IntVar(&f.plan.Concurrency, "concurrency", concurrency, "requests under way at once")
	fl.DurationVar(&f.plan.Duration, "duration", 0, "stop after this time")
	fl.DurationVar(&f.plan.Timeout, "timeout", 15*time.Second, "longest wait for an answer")
	fl.IntVar(&f.plan.Retries, "retries", 3, "times a request is sent again after 429, 503 or no answer")
	fl.StringVar(&f.output, "output", "table", "table or json")
	words(cmd, "output", "table", "json")
}

func (f *emitFlags) check(cmd *cobra.Command) error {
	switch {
	case f.output != "table" && f.output != "json":
		return fmt.Errorf("--output %q is no format: use table or json", f.output)
	case f.mix.Count < 0:
		return fmt.Errorf("--count must not be negative")
	case f.mix.Duplicates < 0 || f.mix.Duplicates > 1:
		return fmt.Errorf("--duplicates is a share, from 0 to 1")
	case f.mix.Customers < 1 || f.mix.Customers > 1_000_000:
		return fmt.Errorf("--customers must be from 1 to 1000000")
	case f.plan.Concurrency < 1 || f.plan.Concurrency > 1024:
		return fmt.Errorf("--concurrency must be from 1 to 1024")
	case f.plan.Timeout <= 0:
		return fmt.Errorf("--timeout must be more than 0, for example 15s")
	case f.plan.Duration < 0:
		return fmt.Errorf("--duration must not be negative")
	case f.plan.Rate < 0:
		return fmt.Errorf("--rate must not be negative")
	case f.plan.Retries < 0:
		return fmt.Errorf("--retries must not be negative")
	case f.mix.Over < 0:
		return fmt.Errorf("--over must not be negative")
	}
	if batch := cmd.Flags().Lookup("batch"); batch != nil {
		if n, err := strconv.Atoi(batch.Value.String()); err != nil || n < 1 || n > 10_000 {
			return fmt.Errorf("--batch must be from 1 to 10000")
		}
	}
	return nil
}

func (f *emitFlags) run(cmd *cobra.Command, source func() (emit.Source, error)) error {
	if err := f.check(cmd); err != nil {
		return err
	}
	src, err := source()
	if err != nil {
		return err
	}
	if err := f.resolve(); err != nil {
		return err
	}
	need := f.needKey
	if cmd.Name() == "stripe" {
		need = f.needSecret
	}
	if err := need(); err != nil {
		return err
	}
	if err := f.reach(); err != nil {
		return err
	}
	f.plan.URL, f.plan.APIKey, f.plan.WebhookSecret, f.plan.Source = f.URL, f.Key, f.Secret, src
	finish := f.progress()
	report := emit.Run(cmd.Context(), f.plan)
	finish()
	if err := printReport(cmd.OutOrStdout(), f.output, report); err != nil {
		return err
	}
	if report.OK() {
		return nil
	}
	for _, r := range report.Refusals {
		if r.Status == http.StatusUnauthorized {
			return f.keyRefused()
		}
	}
	return errReported
}

// progress draws a bar on a terminal, and returns what ends it.
func (f *emitFlags) progress() (finish func()) {
	if !term.IsTerminal(os.Stderr) {
		return func() {}
	}
	p := mpb.New(mpb.WithOutput(os.Stderr), mpb.WithWidth(40), mpb.WithRefreshRate(100*time.Millisecond))
	bar := p.AddBar(int64(f.mix.Count),
		mpb.PrependDecorators(decor.Name("sending "), decor.CountersNoUnit("%d / %d")),
		mpb.AppendDecorators(decor.Percentage(), decor.Name("  "), decor.AverageSpeed(0, "%.0f/s")),
		mpb.BarRemoveOnComplete())
	f.plan.Progress = func(events int) { bar.SetCurrent(min(int64(events), max(0, int64(f.mix.Count)-1))) }
	return func() {
		bar.Abort(true)
		p.Wait()
	}
}

func printReport(w io.Writer, output string, r emit.Report) error {
	if output == "json" {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	s := term.StyleFor(w)
	verdict := s.Good("all accepted")
	switch {
	case r.Requests == 0:
		verdict = s.Bad("nothing was sent")
	case !r.OK():
		verdict = s.Bad(fmt.Sprintf("%s refused, %s without an answer", term.Number(float64(r.Refused)), term.Number(float64(r.Failed))))
	}
	number := func(n int) string { return term.Number(float64(n)) }
	different := ""
	if r.Events > 0 {
		different = fmt.Sprintf("%s different, %s sent twice on purpose", number(r.Distinct()), number(r.Duplicates))
	}
	rows := [][]string{
		{"requests", number(r.Requests), verdict},
		{"events accepted", number(r.Events), different},
		{"sent again", number(r.Retried), "after 429, 503 or no answer"},
		{"events a second", term.Number(float64(int(r.Rate))), "over " + term.Duration(r.Elapsed)},
	}
	if r.Latency.Max > 0 { // something was answered
		rows = append(rows,
			[]string{"latency p50", term.Duration(r.Latency.P50), ""},
			[]string{"latency p90", term.Duration(r.Latency.P90), ""},
			[]string{"latency p99", term.Duration(r.Latency.P99), "longest " + term.Duration(r.Latency.Max)})
	}
	term.Table(w, s, []term.Column{{Title: "SENT"}, {Title: "", Right: true}, {Title: ""}}, rows)
	for _, refusal := range r.Refusals {
		status := fmt.Sprint(refusal.Status)
		if refusal.Status == 0 {
			status = "no answer"
		}
		fmt.Fprintf(w, "%s × %s: %s\n", number(refusal.Count), s.Bad(status), refusal.Detail)
	}
	if r.Stopped {
		fmt.Fprintln(w, "Interrupted; this is what was sent until then.")
	}
	return nil
}
