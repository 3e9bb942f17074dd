package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kgents/kgents/app"
	"github.com/kgents/kgents/config"
	"github.com/kgents/kgents/stream/backup"
	"github.com/kgents/kgents/stream/backup/store"
	"github.com/kgents/kgents/term"
)

func addStoreFlag(cmd *cobra.Command, name string, url *string) {
	cmd.Flags().StringVar(url, name, "", "the store: a directory, or s3://bucket/prefix ($BACKUP_URL)")
}

// openStore is the store at url, by default BACKUP_URL.
func openStore(c config.Config, url string) (backup.Store, error) {
	if url == "" {
		url = c.BackupURL
	}
	return store.Open(store.Settings{
		URL: url, Endpoint: c.BackupS3Endpoint, Region: c.BackupS3Region, AccessKey: c.AWSAccessKeyID, SecretKey: c.AWSSecretKey,
	})
}

// source is the backup that an argument names: one in a store when the store is given,
// or when the argument is a name rather than a path.
func (s *settings) source(cmd *cobra.Command, output, from, arg string) (config.Config, backup.Source, error) {
	if err := checkOutput(output); err != nil {
		return config.Config{}, backup.Source{}, err
	}
	c, _, err := s.load(cmd, config.RoleUp)
	if err != nil {
		return c, backup.Source{}, err
	}
	ids, err := backup.ParseIdentities(c.BackupIdentities)
	if err != nil {
		return c, backup.Source{}, err
	}
	if from == "" && (c.BackupURL == "" || !backup.IsName(arg)) {
		return c, backup.Source{Name: arg, Identities: ids}, nil
	}
	st, err := openStore(c, from)
	if err != nil {
		return c, backup.Source{}, err
	}
	source, err := backup.Find(cmd.Context(), st, c.StreamName, arg, ids)
	return c, source, err
}

// saveBackup puts a backup into a store, and says in r what became of it. What is too
// old goes first, so that a store that is full gets room.
func saveBackup(cmd *cobra.Command, c config.Config, o app.Offline, to backup.Target, r *backup.Report) (err error) {
	if c.BackupKeepDays > 0 {
		if _, err := backup.Prune(cmd.Context(), to.Store, o.Streams.Name, c.BackupKeepDays, time.Now(), false); err != nil {
			fmt.Fprintf(cmd.ErrOrStderr(), "Old backups could not be deleted, see 'kgents stream prune': %v\n", err)
		}
	}
	r.Manifest, err = withBar("copying ", func(p backup.Progress) (m backup.Manifest, err error) {
		r.Backup, m, err = backup.Save(cmd.Context(), o.JetStream, o.Streams, to, p)
		return m, err
	})
	r.Dir, r.Opened = to.Store.String()+"/"+r.Backup, to.Seal.None()
	return err
}

// target is where 'kgents stream backup' puts a backup.
func (s *settings) target(cmd *cobra.Command, output, to string) (backup.Target, error) {
	st, c, err := s.store(cmd, output, to)
	if err != nil {
		return backup.Target{}, err
	}
	seal, err := backup.ParseRecipients(c.BackupRecipients)
	return backup.Target{Store: st, Seal: seal}, err
}

func newStreamListCommand() *cobra.Command {
	var output, from string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the backups in a store",
		Long: `List the backups in a store, oldest first, by their manifests and the sizes of their
files; 'kgents stream verify' reads them. Exit code 1 when one is damaged. One without
a manifest is unfinished: it is being made, or was interrupted.`,
		Example: `  kgents stream list --from s3://backups/kgents
  kgents stream list --from /backups --output json`,
		Args: noArgs,
	}
	s := addStreamFlags(cmd, &output)
	addStoreFlag(cmd, "from", &from)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		st, _, err := s.store(cmd, output, from)
		if err != nil {
			return err
		}
		all, err := backup.List(cmd.Context(), st)
		if err != nil {
			return err
		}
		w := cmd.OutOrStdout()
		if output == "json" {
			err = printJSON(w, all)
		} else if len(all) == 0 {
			fmt.Fprintf(w, "there is no backup in %s\n", printable(st.String()))
		} else {
			printEntries(w, all)
		}
		for _, e := range all {
			if e.State == backup.Damaged && err == nil {
				err = errReported
			}
		}
		return err
	}
	return cmd
}

// store is the one of a command that names no backup.
func (s *settings) store(cmd *cobra.Command, output, from string) (backup.Store, config.Config, error) {
	if err := checkOutput(output); err != nil {
		return nil, config.Config{}, err
	}
	c, _, err := s.load(cmd, config.RoleUp)
	if err != nil {
		return nil, c, err
	}
	st, err := openStore(c, from)
	return st, c, err
}

func newStreamPruneCommand() *cobra.Command {
	var (
		output, from string
		dry          bool
	)
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Delete the backups in a store that are not to be kept",
		Long: `Delete backups of this stream from a store. BACKUP_KEEP (--backup-keep) says for how
many days the last one of each day is kept; all of the last 24 hours are kept, too.
What has no manifest is deleted when it is a day old. The newest whole backup is never
deleted, nor is anything that is damaged, of another stream, or no backup at all: what
looks strange is listed, for you to judge.`,
		Example: `  kgents stream prune --from s3://backups/kgents --backup-keep 7 --dry-run
  kgents stream prune --backup-keep 7`,
		Args: noArgs,
	}
	s := addStreamFlags(cmd, &output)
	addStoreFlag(cmd, "from", &from)
	cmd.Flags().BoolVar(&dry, "dry-run", false, "say what would be deleted, delete nothing")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		st, c, err := s.store(cmd, output, from)
		if err != nil {
			return err
		}
		if c.BackupKeepDays == 0 {
			return fmt.Errorf("every backup is to be kept: say for how many days with --backup-keep or BACKUP_KEEP")
		}
		p, err := backup.Prune(cmd.Context(), st, c.StreamName, c.BackupKeepDays, time.Now(), dry)
		if err != nil {
			return err
		}
		w := cmd.OutOrStdout()
		if output == "json" {
			return printJSON(w, p)
		}
		if len(p.Deleted) > 0 {
			printEntries(w, p.Deleted)
		}
		did := "deleted"
		if dry {
			did = "would be deleted"
		}
		fmt.Fprintf(w, "%d %s, %d kept\n", len(p.Deleted), did, len(p.Kept))
		for _, e := range p.Strange {
			fmt.Fprintf(w, "left alone: %s, %s %s\n", e.Name, e.State, printable(strings.TrimSpace(e.Stream+" "+e.Problem)))
		}
		return nil
	}
	return cmd
}

func printEntries(w io.Writer, all []backup.Entry) {
	s := term.StyleFor(w)
	var rows [][]string
	for _, e := range all {
		state := string(e.State)
		switch e.State {
		case backup.Whole:
			state = s.Good(state)
		case backup.Damaged:
			state = s.Bad(state + ": " + printable(e.Problem))
		}
		sealed := ""
		if len(e.Recipients) > 0 {
			sealed = "sealed"
		}
		rows = append(rows, []string{e.Name, printable(e.Stream), term.Number(float64(e.Messages)), term.Number(float64(e.Events)), term.Number(float64(e.Bytes)), sealed, state})
	}
	term.Table(w, s, []term.Column{{Title: "BACKUP"}, {Title: "STREAM"}, {Title: "MESSAGES", Right: true}, {Title: "EVENTS", Right: true},
		{Title: "BYTES", Right: true}, {Title: ""}, {Title: "STATE"}}, rows)
}

func newStreamDrillCommand() *cobra.Command {
	var output, from, scratch string
	cmd := &cobra.Command{
		Use:   "drill [NAME]",
		Short: "Prove that a backup can be restored",
		Long: `Restore a backup from a store, the newest unless named, into a NATS server in this
process that nobody else reaches; read it back, unpack each message and count the
events; compare with the manifest; delete the server's files. Nothing else is changed.
Exit code 1 on any difference. --scratch needs as much room as the streams take.

With NATS_SERVERS the servers note when it was, for
kgents_backup_last_drill_timestamp_seconds and 'kgents checklist'.`,
		Example: `  kgents stream drill --from /backups
  kgents stream drill --from s3://backups/kgents --backup-identity-file identity.txt --scratch /var/tmp`,
		Args: cobra.MaximumNArgs(1),
	}
	s := addStreamFlags(cmd, &output)
	addStoreFlag(cmd, "from", &from)
	cmd.Flags().StringVar(&scratch, "scratch", "", "directory for the scratch server (default: $TMPDIR)")
	_ = cmd.MarkFlagDirname("scratch")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name := backup.Latest
		if len(args) == 1 {
			name = args[0]
		}
		if from == "" {
			if _, _, err := s.store(cmd, output, from); err != nil {
				return err
			}
		}
		c, source, err := s.source(cmd, output, from, name)
		if err != nil {
			return err
		}
		r, err := withBar("drilling ", func(p backup.Progress) (backup.DrillReport, error) {
			return backup.Drill(cmd.Context(), source, scratch, p)
		})
		if err != nil {
			return err
		}
		if r.Sound() && !c.EmbeddedNATS() {
			err := s.open(cmd, app.Backup, output, false, func(_ config.Config, o app.Offline) error {
				return backup.NoteDrill(cmd.Context(), o.JetStream, o.Streams, r)
			})
			if err != nil {
				fmt.Fprintf(cmd.ErrOrStderr(), "The servers could not note the drill: %v\n", err)
			}
		}
		if err := printDrill(cmd.OutOrStdout(), output, r); err != nil {
			return err
		}
		if !r.Sound() {
			return errReported
		}
		return nil
	}
	return cmd
}

func printDrill(w io.Writer, output string, r backup.DrillReport) error {
	if output == "json" {
		return printJSON(w, r)
	}
	s := term.StyleFor(w)
	if !r.Sound() {
		fmt.Fprintf(w, "%s  the backup %s can't be trusted: %s\n   Make another, and look at what 'kgents stream verify' says of both.\n", s.Bad("✗"), printable(r.From), r.Problem)
		return nil
	}
	fmt.Fprintf(w, "%s  the backup %s can be restored: %s messages with %s events, as its manifest says, in %s\n",
		s.Good("✓"), printable(r.From), term.Number(float64(r.Messages)), term.Number(float64(r.Events)), time.Duration(r.Took*float64(time.Second)).Round(10*time.Millisecond))
	fmt.Fprintf(w, "   It holds the moment %s.\n", r.Holds.UTC().Format(time.RFC3339))
	return nil
}
