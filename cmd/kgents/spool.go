package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kgents/kgents/config"
	"github.com/kgents/kgents/publish/spool"
	"github.com/kgents/kgents/term"
)

// spoolFlags say which spool is meant.
type spoolFlags struct{ dir, data, output string }

func newSpoolCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "spool",
		Short: "Look at the events on local disk that wait for NATS",
		Long: `Look at the spool: the files on local disk where accepted events wait while NATS
is away. Both commands read only, and may be used while kgents runs.`,
		Example: `  kgents spool list
  kgents spool verify --dir /var/spool/kgents`,
		Args: onlyCommands,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSpoolListCommand(), newSpoolVerifyCommand())
	return cmd
}

func newSpoolListCommand() *cobra.Command {
	var f spoolFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the spool's files and what is in them",
		Long: `List the spool's files. A file goes when all that is in it has reached NATS, so
one that is being emptied still shows all of its messages.`,
		Example: `  kgents spool list
  kgents spool list --dir /var/spool/kgents --output json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := f.read()
			if err != nil {
				return err
			}
			return r.print(cmd.OutOrStdout(), f.output, false)
		},
	}
	f.addFlags(cmd)
	return cmd
}

func newSpoolVerifyCommand() *cobra.Command {
	var f spoolFlags
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check every record of the spool",
		Long: `Check the checksums of every record. Exit code 1 if bytes are not what was
written. A torn tail is no damage: a crash, or a write that is just under way, cut
the last record off before anybody was told that it is safe.`,
		Example: `  kgents spool verify
  kgents spool verify --data ./data --output json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := f.read()
			if err != nil {
				return err
			}
			if err := r.print(cmd.OutOrStdout(), f.output, true); err != nil {
				return err
			}
			if !r.Sound {
				return errReported
			}
			return nil
		},
	}
	f.addFlags(cmd)
	return cmd
}

func (f *spoolFlags) addFlags(cmd *cobra.Command) {
	cmd.Flags().Var((*directory)(&f.dir), "dir", "the spool's directory; else $SPOOL_DIR, else 'spool' in the data directory")
	_ = cmd.MarkFlagDirname("dir")
	addDataFlag(cmd, &f.data)
	cmd.Flags().StringVar(&f.output, "output", "table", "table or json")
	words(cmd, "output", "table", "json")
}

// spoolReport is what is found in a spool.
type spoolReport struct {
	Dir      string          `json:"dir"`
	Sound    bool            `json:"sound"` // no damage
	Messages int             `json:"messages"`
	Events   int             `json:"events"`
	Bytes    int64           `json:"bytes"`
	Segments []spool.Segment `json:"segments"`
}

func (f *spoolFlags) read() (spoolReport, error) {
	if f.output != "table" && f.output != "json" {
		return spoolReport{}, fmt.Errorf("--output %q is no format: use table or json", f.output)
	}
	dir, err := f.find()
	if err != nil {
		return spoolReport{}, err
	}
	found, err := spool.Inspect(dir)
	if err != nil {
		return spoolReport{}, fmt.Errorf("can't read the spool: %w", err)
	}
	r := spoolReport{Dir: dir, Sound: true, Segments: []spool.Segment{}}
	for _, s := range found {
		r.Segments = append(r.Segments, s)
		r.Messages += s.Records
		r.Events += s.Events
		r.Bytes += s.Bytes
		r.Sound = r.Sound && len(s.Damage) == 0
	}
	return r, nil
}

// find returns the directory. Only one that was named must be there: the other is
// made when kgents starts.
func (f *spoolFlags) find() (string, error) {
	if f.dir != "" {
		info, err := os.Stat(f.dir)
		switch {
		case errors.Is(err, os.ErrNotExist):
			return "", fmt.Errorf("there is no directory %s: name the spool's with --dir", f.dir)
		case err != nil:
			return "", fmt.Errorf("can't read the spool: %w", err)
		case !info.IsDir():
			return "", fmt.Errorf("%s is no directory: name the spool's with --dir", f.dir)
		}
		return f.dir, nil
	}
	dotenv, err := config.ReadDotEnv(".env")
	if err != nil {
		return "", err
	}
	c, _, err := config.Load(config.RoleUp, config.Source{Env: os.LookupEnv, DotEnv: dotenv})
	if err != nil {
		return "", err
	}
	if c.SpoolDir != "" {
		return c.SpoolDir, nil
	}
	if f.data == "" {
		return "", errors.New("no home directory to look in: name the spool's with --dir")
	}
	return filepath.Join(f.data, "spool"), nil
}

func (r spoolReport) print(w io.Writer, output string, verify bool) error {
	if output == "json" {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	if len(r.Segments) == 0 {
		fmt.Fprintf(w, "The spool in %s is empty: nothing waits for NATS.\n", printable(r.Dir))
		return nil
	}
	s := term.StyleFor(w)
	columns := []term.Column{{Title: "FILE"}, {Title: "MESSAGES", Right: true}, {Title: "EVENTS", Right: true}, {Title: "BYTES", Right: true}, {Title: "OLDEST"}}
	if verify {
		columns = append(columns, term.Column{Title: "STATE"})
	}
	number := func(n int64) string { return term.Number(float64(n)) }
	var rows [][]string
	for _, seg := range r.Segments {
		oldest := ""
		if !seg.Oldest.IsZero() {
			oldest = seg.Oldest.UTC().Format(time.RFC3339)
		}
		row := []string{printable(filepath.Base(seg.Path)), number(int64(seg.Records)), number(int64(seg.Events)), number(seg.Bytes), oldest}
		if verify {
			row = append(row, segmentState(s, seg))
		}
		rows = append(rows, row)
	}
	term.Table(w, s, columns, rows)
	if !verify {
		return nil
	}
	if r.Sound {
		fmt.Fprintf(w, "%s  every record in %s is what was written\n", s.Good("✓"), printable(r.Dir))
		return nil
	}
	fmt.Fprintf(w, "%s  in %s bytes are not what was written: the records there are lost to kgents, the others are sound.\n", s.Bad("✗"), printable(r.Dir))
	fmt.Fprintln(w, "   A file is kept as *.damaged once the rest of it has reached NATS: see what can be read in it, then move it away.")
	return nil
}

// segmentState says in words what reading the file found.
func segmentState(s term.Style, seg spool.Segment) string {
	var parts []string
	for i, d := range seg.Damage {
		if i == maxDamageShown {
			parts = append(parts, s.Bad(fmt.Sprintf("damaged at %d more places", len(seg.Damage)-i)))
			break
		}
		parts = append(parts, s.Bad(fmt.Sprintf("damaged at byte %d, for %d bytes", d.Offset, d.Bytes)))
	}
	if seg.Torn > 0 {
		parts = append(parts, fmt.Sprintf("torn tail of %d bytes", seg.Torn))
	}
	if len(parts) == 0 {
		return s.Good("sound")
	}
	return strings.Join(parts, ", ")
}

// maxDamageShown bounds a line of the table; JSON has every place.
const maxDamageShown = 3
