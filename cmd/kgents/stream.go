package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/kgents/kgents/app"
	"github.com/kgents/kgents/config"
	"github.com/kgents/kgents/stream/backup"
	"github.com/kgents/kgents/telemetry"
	"github.com/kgents/kgents/term"
)

func newStreamCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stream",
		Short: "Back up and restore the stream",
		Long: `Copy the streams of events and of dead letters to files, check the files, and put
them into an empty server.

The server is that of NATS_SERVERS. Without it, it is the embedded one of the data
directory, which must not be running then.

A backup is a directory of its own, or one of many in a store: --to and --from name
the store, by default BACKUP_URL, a directory or s3://bucket/prefix. There each has a
name by its time, and 'latest' is the newest that is whole. With BACKUP_RECIPIENT, an
age public key, what goes into a store is sealed: who makes backups can't read them.`,
		Example: `  kgents stream backup /backups/2026-11-30
  kgents stream verify /backups/2026-11-30
  kgents stream restore /backups/2026-11-30 --data ./new
  kgents stream backup --to s3://backups/kgents
  kgents stream drill --from s3://backups/kgents --backup-identity-file identity.txt`,
		Args: onlyCommands,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newStreamBackupCommand(), newStreamRestoreCommand(), newStreamVerifyCommand(),
		newStreamListCommand(), newStreamPruneCommand(), newStreamDrillCommand())
	return cmd
}

func newStreamBackupCommand() *cobra.Command {
	var output, to string
	cmd := &cobra.Command{
		Use:   "backup [DIR]",
		Short: "Copy the streams into a new directory or a store",
		Long: `Copy what the streams hold at the beginning, and customers, their keys, towns and what
was reported of usage, where there are any: headers and bodies byte for byte, with
a SHA-256 of each file. With NATS_SERVERS everything may go on meanwhile. It is a
backup when it has a manifest.json, which is written last.

Into DIR, which must be empty or not there, unencrypted: it holds customers' data.
Or into a store, --to or BACKUP_URL, under a name that is printed, and sealed to
BACKUP_RECIPIENT if that is set. There, backups that BACKUP_KEEP doesn't keep are
deleted before. On this machine a store needs 70 MiB in TMPDIR, however big the
streams are.

The servers note when it was made, for kgents_backup_last_success_timestamp_seconds.`,
		Example: `  kgents stream backup /backups/2026-11-30
  NATS_SERVERS=nats://nats:4222 kgents stream backup --to s3://backups/kgents --output json`,
		Args: cobra.MaximumNArgs(1),
	}
	s := addStreamFlags(cmd, &output)
	addStoreFlag(cmd, "to", &to)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 && to != "" {
			return errors.New("a directory and --to are two places: leave one out")
		}
		var target backup.Target
		if len(args) == 0 {
			var err error
			if target, err = s.target(cmd, output, to); err != nil {
				return err
			}
		}
		return s.open(cmd, app.Backup, output, false, func(c config.Config, o app.Offline) error {
			r := backup.Report{Sound: true, Problems: []backup.Problem{}}
			var err error
			if len(args) == 1 {
				r.Dir, r.Opened = args[0], true
				r.Manifest, err = withBar("copying ", func(p backup.Progress) (backup.Manifest, error) {
					return backup.Write(cmd.Context(), o.JetStream, o.Streams, args[0], p)
				})
			} else {
				err = saveBackup(cmd, c, o, target, &r)
			}
			if err != nil {
				return err
			}
			if err := backup.Note(cmd.Context(), o.JetStream, o.Streams, r.Manifest); err != nil {
				// The backup is whole all the same.
				fmt.Fprintf(cmd.ErrOrStderr(), "The servers could not note that there is a backup, so the alert BackupMissing doesn't know of it: %v\n", err)
			}
			return printBackup(cmd.OutOrStdout(), output, "written and synced", r)
		})
	}
	return cmd
}

func newStreamVerifyCommand() *cobra.Command {
	var output, from string
	cmd := &cobra.Command{
		Use:   "verify DIR | NAME | latest",
		Short: "Check a backup, without a server",
		Long: `Read all of a backup and compare it with its manifest. Exit code 1 when anything is
missing or is not what was written. A backup in a store is named as 'kgents stream
list' does, or 'latest'. Of a sealed one every byte that is stored is checked without
the identity; what is in it only with BACKUP_IDENTITY.`,
		Example: `  kgents stream verify /backups/2026-11-30
  kgents stream verify latest --from s3://backups/kgents --output json`,
		Args: oneBackup,
	}
	s := addStreamFlags(cmd, &output)
	addStoreFlag(cmd, "from", &from)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		_, source, err := s.source(cmd, output, from, args[0])
		if err != nil {
			return err
		}
		r, err := withBar("checking ", func(p backup.Progress) (backup.Report, error) {
			return backup.Verify(cmd.Context(), source, p)
		})
		if err != nil {
			return err
		}
		if err := printBackup(cmd.OutOrStdout(), output, "as it was written", r); err != nil {
			return err
		}
		if !r.Sound {
			return errReported
		}
		return nil
	}
	return cmd
}

func newStreamRestoreCommand() *cobra.Command {
	var (
		output, from string
		how          backup.How
	)
	cmd := &cobra.Command{
		Use:   "restore DIR | NAME | latest",
		Short: "Put a backup into an empty server, and read it back",
		Long: `Check a backup, publish all of it into streams that are empty or not there, and
read them back. Exit code 1 on any difference. Stop 'kgents api' and 'kgents sink'
until it is done. A backup in a store is named as 'kgents stream list' does, or
'latest'; a sealed one needs BACKUP_IDENTITY. 'latest' is refused when the stream began
anew since an older backup, as after a loss: it is not the one that you want then.

With --append the streams may hold messages, such as what came in after the loss. What
is restored comes behind them.

The meter then gets everything again and counts each event once, by its source and
id. A remote OpenMeter must deduplicate as far back as the backup goes. It forgets after
a day by default: use --metered with such a one that is not lost itself. The sink then
begins behind what was metered when the backup was made, and behind all of a backup that
is older than 20 hours; reconciliation sends what the meter lacks.`,
		Example: `  kgents stream restore /backups/2026-11-30 --data ./new
  NATS_SERVERS=nats://nats:4222 kgents stream restore latest --from s3://backups/kgents`,
		Args: oneBackup,
	}
	s := addStreamFlags(cmd, &output)
	addStoreFlag(cmd, "from", &from)
	cmd.Flags().BoolVar(&how.Behind, "append", false, "put it behind what the streams hold")
	cmd.Flags().BoolVar(&how.Metered, "metered", false, "don't send the meter what it had when the backup was made")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		// Before a data directory is made for it.
		c, source, err := s.source(cmd, output, from, args[0])
		if err != nil {
			return err
		}
		if _, err := source.Manifest(cmd.Context()); err != nil {
			return err
		}
		if source.Store != nil && args[0] == backup.Latest {
			if err := backup.CheckLatest(cmd.Context(), source.Store, c.StreamName); err != nil {
				return err
			}
		}
		return s.open(cmd, app.Operator, output, true, func(_ config.Config, o app.Offline) error {
			r, err := withBar("restoring ", func(p backup.Progress) (backup.Restored, error) {
				return backup.Restore(cmd.Context(), o.JetStream, o.Streams, source, how, p)
			})
			if err != nil {
				return err
			}
			if err := printRestored(cmd.OutOrStdout(), output, r); err != nil {
				return err
			}
			if !r.Same {
				return errReported
			}
			return nil
		})
	}
	return cmd
}

func oneBackup(cmd *cobra.Command, args []string) error {
	if len(args) != 1 || args[0] == "" {
		return fmt.Errorf("'%s' takes one backup, a directory or a name: see '%[1]s --help'", cmd.CommandPath())
	}
	return nil
}

func addOutputFlag(cmd *cobra.Command, output *string) {
	cmd.Flags().StringVar(output, "output", "table", "table or json")
	words(cmd, "output", "table", "json")
}

func checkOutput(output string) error {
	if output != "table" && output != "json" {
		return fmt.Errorf("--output %q is no format: use table or json", output)
	}
	return nil
}

// addStreamFlags gives cmd the settings of NATS and of backups alone.
func addStreamFlags(cmd *cobra.Command, output *string) *settings {
	s := &settings{flags: pflag.NewFlagSet("settings", pflag.ContinueOnError)}
	for _, v := range config.Variables() {
		if !strings.HasPrefix(v.Name, "NATS_") && !strings.HasPrefix(v.Name, "BACKUP_") && !strings.HasPrefix(v.Name, "AWS_") {
			continue
		}
		s.flags.String(v.Flag(), "", v.Help+" ($"+v.Name+")")
		if v.Secret {
			s.flags.String(v.Flag()+"-file", "", "file to read it from ($"+v.Name+"_FILE)")
		}
	}
	cmd.Flags().AddFlagSet(s.flags)
	addDataFlag(cmd, &s.data)
	addOutputFlag(cmd, output)
	return s
}

// open connects for as long as f works. Create makes a data directory that isn't
// there.
func (s *settings) open(cmd *cobra.Command, as app.User, output string, create bool, f func(config.Config, app.Offline) error) error {
	if err := checkOutput(output); err != nil {
		return err
	}
	c, _, err := s.load(cmd, config.RoleUp)
	if err == nil && !c.EmbeddedNATS() {
		c, _, err = s.load(cmd, config.RoleAPI) // with a cluster's defaults
	} else if err == nil {
		err = c.Validate(config.RoleUp)
	}
	if err != nil {
		return err
	}
	log := telemetry.NewLogger(os.Stderr, max(c.LogLevel, slog.LevelWarn), logFormat(c.LogFormat, os.Stderr))
	o, err := app.OpenOffline(cmd.Context(), c, as, create, log)
	if err != nil {
		return err
	}
	defer o.Close()
	return f(c, o)
}

// withBar draws a bar on a terminal while f works.
func withBar[T any](what string, f func(backup.Progress) (T, error)) (v T, err error) {
	defer func() {
		if errors.Is(err, context.Canceled) {
			err = fmt.Errorf("interrupted: %w", err)
		}
	}()
	if !term.IsTerminal(os.Stderr) {
		return f(nil)
	}
	p := mpb.New(mpb.WithOutput(os.Stderr), mpb.WithWidth(40), mpb.WithRefreshRate(100*time.Millisecond))
	bar := p.AddBar(1,
		mpb.PrependDecorators(decor.Name(what)),
		mpb.AppendDecorators(decor.Percentage(), decor.Name("  "), decor.AverageETA(decor.ET_STYLE_GO)),
		mpb.BarRemoveOnComplete())
	v, err = f(func(done, total uint64) {
		bar.SetTotal(int64(total)+1, false) // never complete: Abort takes it away
		bar.SetCurrent(int64(done))
	})
	bar.Abort(true)
	p.Wait()
	return v, err
}

func printBackup(w io.Writer, output, good string, r backup.Report) error {
	if output == "json" {
		return printJSON(w, r)
	}
	s := term.StyleFor(w)
	columns := []term.Column{{Title: "STREAM"}, {Title: "MESSAGES", Right: true}, {Title: "EVENTS", Right: true}, {Title: "BYTES", Right: true},
		{Title: "FILES", Right: true}, {Title: "OLDEST"}, {Title: "NEWEST"}}
	at := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format(time.RFC3339)
	}
	var rows [][]string
	for _, st := range r.Manifest.Streams {
		rows = append(rows, []string{st.Name, term.Number(float64(st.Messages)), term.Number(float64(st.Events)), term.Number(float64(st.Bytes)),
			term.Number(float64(len(st.Segments))), at(st.Oldest), at(st.Newest)})
	}
	term.Table(w, s, columns, rows)
	if r.Sound {
		fmt.Fprintf(w, "%s  the backup %s is %s\n", s.Good("✓"), printable(r.Dir), good)
		if len(r.Manifest.Recipients) > 0 {
			fmt.Fprintf(w, "   It is sealed to %s", printable(strings.Join(r.Manifest.Recipients, ", ")))
			if r.Opened {
				fmt.Fprintln(w, ", and was opened.")
			} else {
				fmt.Fprintln(w, ": without the identity, what is stored was checked and its messages were not read.")
			}
		}
		return nil
	}
	for _, p := range r.Problems {
		fmt.Fprintf(w, "%s  %s: %s\n", s.Bad("✗"), printable(p.File), p.What)
	}
	fmt.Fprintf(w, "   The backup %s can't be restored: copy these files again, or make another.\n", printable(r.Dir))
	return nil
}

func printRestored(w io.Writer, output string, r backup.Restored) error {
	if output == "json" {
		return printJSON(w, r)
	}
	s := term.StyleFor(w)
	columns := []term.Column{{Title: "STREAM"}, {Title: "IN THE BACKUP", Right: true}, {Title: "STORED", Right: true}, {Title: "REPEATED", Right: true}, {Title: ""}}
	var rows [][]string
	for _, st := range r.Streams {
		state := s.Good("read back, the same")
		if st.Difference != "" {
			state = s.Bad(st.Difference)
		}
		rows = append(rows, []string{st.Name, term.Number(float64(st.Messages)), term.Number(float64(st.Stored)), term.Number(float64(st.Repeated)), state})
	}
	term.Table(w, s, columns, rows)
	for _, st := range r.Streams {
		if st.Renamed > 0 {
			fmt.Fprintf(w, "   %s: %s messages are stored without their Nats-Msg-Id, which other messages have.\n", st.Name, term.Number(float64(st.Renamed)))
		}
		if st.Unconditional > 0 {
			fmt.Fprintf(w, "   %s: %s messages are stored without the headers that named a place in the old stream.\n", st.Name, term.Number(float64(st.Unconditional)))
		}
	}
	if r.Same {
		again := "the meter gets all of it again and counts each event once"
		for _, st := range r.Streams {
			if st.Metered > 0 {
				again = fmt.Sprintf("the meter had %s of the messages and gets the rest again", term.Number(float64(st.Metered)))
			}
			if st.Moved > 0 {
				again += fmt.Sprintf(", with %s that were there and not finished", term.Number(float64(st.Moved)))
			}
		}
		fmt.Fprintf(w, "%s  restored; %s\n", s.Good("✓"), again)
		return nil
	}
	fmt.Fprintf(w, "%s  what is in the streams is not what is in the backup: delete them and try again\n", s.Bad("✗"))
	return nil
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
