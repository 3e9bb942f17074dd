package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/kgents/kgents/app"
	"github.com/kgents/kgents/config"
	"github.com/kgents/kgents/load"
	"github.com/kgents/kgents/term"
)

// natsFlags are those of `kgents load nats`.
type natsFlags struct {
	settings *settings
	plan     load.NATSPlan
	sizes    []int
	windows  []int
	megabyte int64
	dir      string
	output   string
}

func newLoadNATSCommand() *cobra.Command {
	f := &natsFlags{}
	cmd := &cobra.Command{
		Use:   "nats",
		Short: "Measure how fast NATS acknowledges messages",
		Long: `Publish messages to a stream of its own and measure how fast they are
acknowledged, by size. The stream, ` + load.ScratchStream + `, is made for that and deleted
afterwards; no other is touched, and one of that name that is there already is an
error. It shares disks and network with what runs there.

The servers are those of NATS_SERVERS, by the operator's NATS_CREDS. Without them it is
an embedded server, as that of 'kgents up', in a temporary directory: set --dir to
measure another disk. The embedded server syncs before it acknowledges; of others it is
their own sync_interval.

By default a publisher has one message under way, as each replica of 'kgents api' has.`,
		Example: `  kgents load nats
  kgents load nats --size 1000,100000 --publishers 3 --output markdown
  NATS_SERVERS=nats://127.0.0.1:4222 NATS_CREDS=operator.nk kgents load nats --nats-replicas 3`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	f.settings = addSettings(cmd, config.RoleAPI)
	fl := cmd.Flags()
	fl.IntSliceVar(&f.sizes, "size", []int{1_000, 10_000, 100_000}, "bytes of a message; several are measured one after the other")
	fl.IntSliceVar(&f.windows, "window", []int{1}, "messages under way, of each publisher")
	fl.IntVar(&f.plan.Publishers, "publishers", 1, "publishers, as replicas of 'kgents api'")
	fl.DurationVar(&f.plan.For, "duration", 10*time.Second, "length of each measurement, after a second to warm up")
	fl.Int64Var(&f.megabyte, "max-mb", 2048, "most that a measurement may store on each server, in MB")
	fl.Var((*directory)(&f.dir), "dir", "directory of the embedded server's data, removed afterwards; else a temporary one")
	_ = cmd.MarkFlagDirname("dir")
	fl.StringVar(&f.output, "output", "table", "table, json or markdown")
	words(cmd, "output", "table", "json", "markdown")
	return cmd
}

func (f *natsFlags) run(cmd *cobra.Command) error {
	if f.output != "table" && f.output != "json" && f.output != "markdown" {
		return fmt.Errorf("--output %q is no format: use table, json or markdown", f.output)
	}
	if f.megabyte < 1 || f.megabyte > load.MaxScratch/1_000_000 {
		return fmt.Errorf("--max-mb must be from 1 to %d", load.MaxScratch/1_000_000)
	}
	f.plan.MaxBytes, f.plan.Warm = f.megabyte*1_000_000, min(time.Second, f.plan.For/4)
	c, _, err := f.settings.load(cmd, config.RoleAPI)
	if err != nil {
		return err
	}
	machine := load.ReadEnvironment() // its load average is that from before ours
	js, where, closeAll, err := f.open(cmd.Context(), &c)
	if err != nil {
		return err
	}
	defer closeAll()
	f.plan.Replicas = c.Replicas
	var results []load.NATSResult
	for _, size := range f.sizes {
		for _, window := range f.windows {
			p := f.plan
			p.Size, p.Window = size, window
			if term.IsTerminal(os.Stderr) {
				fmt.Fprintf(os.Stderr, "\r\x1b[Kmeasuring messages of %s bytes, %d under way …", term.Number(float64(size)), window*p.Publishers)
			}
			r, err := load.NATS(cmd.Context(), js, p)
			if term.IsTerminal(os.Stderr) {
				fmt.Fprint(os.Stderr, "\r\x1b[K")
			}
			if errors.Is(err, context.Canceled) {
				return fmt.Errorf("interrupted; the stream is deleted: %w", err)
			}
			if err != nil {
				return err
			}
			results = append(results, r)
		}
	}
	w := cmd.OutOrStdout()
	switch f.output {
	case "json":
		return printJSON(w, struct {
			Where       string            `json:"where"`
			Environment load.Environment  `json:"environment"`
			Results     []load.NATSResult `json:"results"`
		}{where, machine, results})
	case "markdown":
		markdownNATS(w, where, machine, results)
	default:
		printNATS(w, where, machine, results)
	}
	return nil
}

// open connects to NATS_SERVERS, or starts a server. Its replicas are then one.
func (f *natsFlags) open(ctx context.Context, c *config.Config) (js jetstream.JetStream, where string, closeAll func(), err error) {
	closeAll = func() {}
	where = "the NATS servers of NATS_SERVERS"
	if c.EmbeddedNATS() {
		c.DataDir, err = os.MkdirTemp(f.dir, "kgents-load-nats-")
		if err != nil {
			return nil, "", closeAll, err
		}
		closeAll = func() { _ = os.RemoveAll(c.DataDir) }
		where, c.Replicas = "the embedded server", 1
	} else if f.dir != "" {
		return nil, "", closeAll, errors.New("--dir is for the embedded server, and NATS_SERVERS is set: leave one out")
	}
	o, err := app.OpenOffline(ctx, *c, app.Operator, true, slog.New(slog.DiscardHandler))
	if err != nil {
		closeAll()
		return nil, "", closeAll, err
	}
	removeData := closeAll
	return o.JetStream, where, func() { o.Close(); removeData() }, nil
}

func natsRow(r load.NATSResult) []string {
	return []string{term.Number(float64(r.Size)), fmt.Sprint(r.Replicas), fmt.Sprintf("%d × %d", r.Publishers, r.Window),
		term.Number(float64(int(r.PerSecond))), fmt.Sprintf("%.1f", r.MBPerSec),
		term.Duration(r.Ack.P50), term.Duration(r.Ack.P99), term.Duration(r.Ack.P999), term.Duration(r.Ack.Max)}
}

func printNATS(w io.Writer, where string, e load.Environment, results []load.NATSResult) {
	s := term.StyleFor(w)
	var rows [][]string
	for _, r := range results {
		rows = append(rows, natsRow(r))
	}
	term.Table(w, s, []term.Column{{Title: "BYTES", Right: true}, {Title: "COPIES", Right: true}, {Title: "UNDER WAY", Right: true}, {Title: "MESSAGES/S", Right: true}, {Title: "MB/S", Right: true},
		{Title: "ACK P50", Right: true}, {Title: "P99", Right: true}, {Title: "P99.9", Right: true}, {Title: "LONGEST", Right: true}}, rows)
	for _, r := range results {
		if r.Failed > 0 {
			fmt.Fprintf(w, "%s  %s messages of %s bytes were not acknowledged: %s\n", s.Bad("✗"), term.Number(float64(r.Failed)), term.Number(float64(r.Size)), printable(r.Reason))
		}
	}
	fmt.Fprintf(w, "Measured against %s, from %s with %d CPUs, load average %s before.\n", where, e.System, e.CPUs, e.Load)
}

// markdownNATS is the table as docs/benchmarks.md has it.
func markdownNATS(w io.Writer, where string, e load.Environment, results []load.NATSResult) {
	fmt.Fprintf(w, "Measured on %s against %s, from %s with %d CPUs (%s); load average before the run %s.\n\n", time.Now().UTC().Format(time.DateOnly), where, e.System, e.CPUs, e.CPU, e.Load)
	fmt.Fprintln(w, "| bytes | copies | publishers × under way | messages/s | MB/s | ack p50 | p99 | p99.9 | longest | not acknowledged |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|---|---|")
	for _, r := range results {
		for _, cell := range natsRow(r) {
			fmt.Fprintf(w, "| %s ", cell)
		}
		fmt.Fprintf(w, "| %d |\n", r.Failed)
	}
}
