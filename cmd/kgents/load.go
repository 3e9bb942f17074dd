package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kgents/kgents/load"
	"github.com/kgents/kgents/term"
)

func newLoadCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "load",
		Short: "Put a system under a load that is written down, and see whether it holds",
		Long: `Run a load profile: how many events a second for how long, by whose customers,
with what going wrong, and what must hold meanwhile. Latency counts from when a
request was due, and at the end the meter is asked what became of every event.

docs/saas/load-testing.md says what is in a profile and how to read the result.`,
		Example: `  kgents load list
  kgents load run steady --local
  kgents load run redelivery-storm --local --report storm.html`,
		Args: onlyCommands,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newLoadListCommand(), newLoadShowCommand(), newLoadRunCommand(), newLoadNATSCommand())
	return cmd
}

func newLoadListCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the profiles that come with the program",
		Example: `  kgents load list`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			all, err := load.Profiles()
			if err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			if output == "json" {
				return printJSON(w, all)
			}
			var rows [][]string
			for _, p := range all {
				rows = append(rows, []string{p.Name, term.Duration(p.Length()), term.Number(p.Peak()), p.About})
			}
			term.Table(w, term.StyleFor(w), []term.Column{{Title: "PROFILE"}, {Title: "TAKES", Right: true}, {Title: "EVENTS/S", Right: true}, {Title: ""}}, rows)
			return nil
		},
	}
	addOutputFlag(cmd, &output)
	return cmd
}

func newLoadShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "show NAME|FILE",
		Short:             "Print a profile, to read it or to begin one's own",
		Example:           `  kgents load show steady > mine.yaml`,
		Args:              oneProfile,
		ValidArgsFunction: completeProfiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := load.Read(args[0])
			if err != nil {
				return err
			}
			_, err = io.WriteString(cmd.OutOrStdout(), p.Text)
			return err
		},
	}
}

// loadFlags are those of `kgents load run`.
type loadFlags struct {
	target
	local, skipFaults bool
	scale             float64
	length            time.Duration
	output, report    string
}

func newLoadRunCommand() *cobra.Command {
	f := &loadFlags{}
	cmd := &cobra.Command{
		Use:   "run NAME|FILE",
		Short: "Run a profile; exit code 1 when a threshold is crossed",
		Long: `Run a profile that comes with the program, or one in a file (its name has a / or
ends in .yaml). Exit code 1 when a threshold is crossed, or can't be judged.

With --local it starts a system of its own in a temporary directory, and ends it
afterwards. Only there faults are made. Else it loads the system at --url, whose meter
counts what is sent: each run has customers of its own, cus_load_…, but they stay
there. Don't run it against production without having decided to.`,
		Example: `  kgents load run steady --local
  kgents load run redelivery-storm --local --report storm.html
  kgents load run burst --local --scale 0.1 --duration 10s
  kgents load run ./mine.yaml --url https://staging.example.com --key-file key --output json`,
		Args:              oneProfile,
		ValidArgsFunction: completeProfiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := f.profile(args[0])
			if err != nil {
				return err
			}
			return f.run(cmd, p)
		},
	}
	f.target.addFlags(cmd)
	f.addSecretFlag(cmd)
	fl := cmd.Flags()
	fl.BoolVar(&f.local, "local", false, "start a system for it, and end it afterwards")
	fl.BoolVar(&f.skipFaults, "skip-faults", false, "leave out what the profile breaks on purpose")
	fl.Float64Var(&f.scale, "scale", 1, "multiply all rates")
	fl.DurationVar(&f.length, "duration", 0, "shrink or stretch the profile to this length; 0 = as it is")
	fl.StringVar(&f.report, "report", "", "write a page with plots to this file, which may be opened anywhere")
	addOutputFlag(cmd, &f.output)
	return cmd
}

// profile reads and checks everything before anything is started.
func (f *loadFlags) profile(name string) (load.Profile, error) {
	switch {
	case f.scale <= 0 || f.scale > 1000:
		return load.Profile{}, errors.New("--scale must be more than 0, and at most 1000")
	case f.length < 0:
		return load.Profile{}, errors.New("--duration must not be negative")
	case f.local && (f.url != "" || f.keyFile != "" || f.secretFile != ""):
		return load.Profile{}, errors.New("--local is a system of its own: leave out --url, --key-file and --webhook-secret-file")
	}
	if err := checkOutput(f.output); err != nil {
		return load.Profile{}, err
	}
	p, err := load.Read(name)
	if err != nil {
		return p, err
	}
	if p, err = p.Scale(f.scale, f.length); err != nil {
		return p, err
	}
	if p.HasFaults() && !f.local && !f.skipFaults {
		return p, load.ErrFaults
	}
	if f.report != "" { // before minutes of load: it can be written
		file, err := os.OpenFile(f.report, os.O_WRONLY|os.O_CREATE, 0o644)
		if err != nil {
			return p, fmt.Errorf("--report: %w", err)
		}
		return p, file.Close()
	}
	return p, nil
}

func (f *loadFlags) run(cmd *cobra.Command, p load.Profile) error {
	ctx := cmd.Context()
	target, stop, err := f.start(ctx, p)
	if err != nil {
		return err
	}
	defer stop()
	show, clear := loadProgress(os.Stderr)
	r, err := load.Run(ctx, p, target, load.Options{SkipFaults: f.skipFaults, Progress: show})
	clear()
	if err != nil {
		return err
	}
	if f.report != "" {
		if err := writeReport(f.report, r); err != nil {
			return err
		}
	}
	w := cmd.OutOrStdout()
	if f.output == "json" {
		err = printJSON(w, r)
	} else {
		printLoad(w, r)
		if f.report != "" {
			fmt.Fprintf(w, "The plots are in %s.\n", printable(f.report))
		}
	}
	if err == nil && !r.OK {
		return errReported
	}
	return err
}

// start finds the system, or starts one.
func (f *loadFlags) start(ctx context.Context, p load.Profile) (load.Target, func(), error) {
	nothing := func() {}
	if f.local {
		self, err := os.Executable()
		if err != nil {
			return load.Target{}, nothing, err
		}
		system, err := load.StartLocal(ctx, self)
		if err != nil {
			return load.Target{}, nothing, err
		}
		return system.Target(), system.Stop, nil
	}
	if err := f.resolve(); err != nil {
		return load.Target{}, nothing, err
	}
	if err := f.needKey(); err != nil {
		return load.Target{}, nothing, err
	}
	if p.Events.Stripe > 0 {
		if err := f.needSecret(); err != nil {
			return load.Target{}, nothing, err
		}
	}
	return load.Target{URL: f.URL, APIKey: f.Key, WebhookSecret: f.Secret}, nothing, f.reach()
}

// writeReport replaces the file in one step.
func writeReport(path string, r load.Report) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".load-*")
	if err != nil {
		return fmt.Errorf("--report: %w", err)
	}
	defer os.Remove(tmp.Name())
	err = errors.Join(r.HTML(tmp), tmp.Chmod(0o644), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("--report: %w", err)
	}
	return nil
}

// loadProgress draws one line on a terminal, and returns what removes it.
func loadProgress(w *os.File) (show func(load.Progress), clear func()) {
	if !term.IsTerminal(w) {
		return nil, func() {}
	}
	return func(p load.Progress) {
		where := "counting: asking the meter"
		if !p.Counting {
			where = fmt.Sprintf("%s  %s of %s", p.Phase, p.At.Round(time.Second), p.Total.Round(time.Second))
		}
		fmt.Fprintf(w, "\r\x1b[K%s  %s events due, %s accepted, %s under way, p99 %s", where,
			term.Number(float64(p.Due)), term.Number(float64(p.Accepted)), term.Number(float64(p.UnderWay)), term.Duration(p.P99))
		if p.Failed > 0 {
			fmt.Fprintf(w, ", %s failed", term.Number(float64(p.Failed)))
		}
	}, func() { fmt.Fprint(w, "\r\x1b[K") }
}

func printLoad(w io.Writer, r load.Report) {
	s := term.StyleFor(w)
	number := func(n int) string { return term.Number(float64(n)) }
	columns := []term.Column{{Title: "PHASE"}, {Title: "REQUESTS", Right: true}, {Title: "ACCEPTED", Right: true}, {Title: "EVENTS/S", Right: true},
		{Title: "P50", Right: true}, {Title: "P95", Right: true}, {Title: "P99", Right: true}, {Title: "P99.9", Right: true}, {Title: "LONGEST", Right: true}, {Title: "LATE", Right: true}, {Title: ""}}
	var rows [][]string
	parts := r.Phases
	if len(parts) > 1 {
		parts = append(append([]load.Part{}, parts...), r.Total)
	}
	for _, p := range parts {
		l := p.Latency
		fault := p.Fault
		if fault != "" && r.FaultsSkipped {
			fault += " skipped"
		}
		rows = append(rows, []string{p.Name, number(p.Requests), number(p.Accepted), term.Number(float64(int(float64(p.Events) / p.For.Seconds()))),
			term.Duration(l.P50), term.Duration(l.P95), term.Duration(l.P99), term.Duration(l.P999), term.Duration(l.Max), number(p.Late), s.Faint(fault)})
	}
	term.Table(w, s, columns, rows)
	fmt.Fprintln(w)
	rows = nil
	for _, v := range r.Verdicts {
		mark := s.Good("✓")
		if !v.OK {
			mark = s.Bad("✗")
		}
		what := v.Metric
		if v.Phase != "" {
			what += " of " + v.Phase
		}
		rows = append(rows, []string{mark, what, v.Shown, v.Bound, s.Faint(v.Means)})
	}
	if len(rows) > 0 {
		term.Table(w, s, []term.Column{{}, {Title: "THRESHOLD"}, {Title: "MEASURED", Right: true}, {Title: "WANTED"}, {}}, rows)
		fmt.Fprintln(w)
	}
	for _, line := range r.Notes() {
		fmt.Fprintln(w, line)
	}
	for _, f := range r.Failures {
		status := fmt.Sprintf("%d %s", f.Status, http.StatusText(f.Status))
		if f.Status == 0 {
			status = "no answer"
		}
		fmt.Fprintf(w, "%s × %s: %s\n", number(f.Count), s.Bad(status), printable(f.Detail))
	}
	if r.OK {
		fmt.Fprintf(w, "%s  %s: it holds\n", s.Good("✓"), r.Profile.Name)
	} else {
		fmt.Fprintf(w, "%s  %s: it does not hold\n", s.Bad("✗"), r.Profile.Name)
	}
}

func oneProfile(cmd *cobra.Command, args []string) error {
	if len(args) == 1 {
		return nil
	}
	return fmt.Errorf("'%s' takes one profile, by its name or file: see 'kgents load list'", cmd.CommandPath())
}

func completeProfiles(_ *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	all, err := load.Profiles()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for _, p := range all {
		if strings.HasPrefix(p.Name, toComplete) {
			out = append(out, p.Name+"\t"+p.About)
		}
	}
	return out, cobra.ShellCompDirectiveDefault
}
