package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/kgents/kgents/consume/deadletter"
	"github.com/kgents/kgents/term"
)

const (
	// mostEnded is the most letters that one run with --all takes on: their
	// sequences are read first, so that what is refused again meanwhile is not
	// replayed in a circle.
	mostEnded = 100_000

	// mostFailures is how many failures are told one by one.
	mostFailures = 100
)

// ending is how letters end: by replay or by drop.
type ending struct {
	letterFlags
	filter      letterFilter
	all, dryRun bool
	verb, past  string
	end         func(*letters, context.Context, uint64) error
}

// ended is what became of the letters.
type ended struct {
	Action   string          `json:"action"`
	Done     int             `json:"done"`
	Gone     int             `json:"gone"`   // another run was faster; with --all only
	Failed   int             `json:"failed"` // and are still there
	Failures []letterFailure `json:"failures,omitempty"`
	More     bool            `json:"more"`              // there were more than one run takes on
	Stopped  string          `json:"stopped,omitempty"` // why the rest was not tried
}

type letterFailure struct {
	Seq    uint64 `json:"seq"`
	Detail string `json:"detail"`
}

func newDeadLetterReplayCommand() *cobra.Command {
	e := &ending{verb: "replay", past: "replayed", end: (*letters).replay}
	cmd := &cobra.Command{
		Use:   "replay SEQ… | --all",
		Short: "Send the events of dead letters again",
		Long: `Send the events of dead letters to the meter again, byte for byte, under their
own identity: each counts once. A letter goes when its event is durable in the
stream; if the meter refuses the event again, it is a letter again. Malformed
letters hold no event and can't be replayed.`,
		Example: `  kgents deadletter replay 17 18
  kgents deadletter replay --all --dry-run
  kgents deadletter replay --all --reason refused --type agent.tokens --since 24h`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              e.run,
	}
	e.addFlags(cmd)
	return cmd
}

func newDeadLetterDropCommand() *cobra.Command {
	e := &ending{verb: "drop", past: "dropped", end: (*letters).drop}
	yes := false
	cmd := &cobra.Command{
		Use:   "drop SEQ… | --all",
		Short: "Delete dead letters, events and all",
		Long:  `Delete dead letters for ever, with their events: those will never count.`,
		Example: `  kgents deadletter drop 17 --yes
  kgents deadletter drop --all --reason malformed --dry-run
  kgents deadletter drop --all --reason malformed --yes`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := e.checkArgs(args); err != nil {
				return err
			}
			if !yes && !e.dryRun {
				return errors.New("drop deletes letters and their events for ever: add --yes to do so, or --dry-run to see which")
			}
			return e.run(cmd, args)
		},
	}
	e.addFlags(cmd)
	cmd.Flags().BoolVar(&yes, "yes", false, "yes, delete them for ever")
	return cmd
}

func (e *ending) addFlags(cmd *cobra.Command) {
	e.letterFlags.addFlags(cmd)
	e.filter.addFlags(cmd)
	cmd.Flags().BoolVar(&e.all, "all", false, "all letters, or those that --reason, --type, --customer, --since and --until leave")
	cmd.Flags().BoolVar(&e.dryRun, "dry-run", false, "only show which letters are meant")
}

func (e *ending) checkArgs(args []string) error {
	switch {
	case e.all && len(args) > 0:
		return errors.New("--all and the SEQ of letters exclude each other: use one of them")
	case !e.all && len(args) == 0:
		return fmt.Errorf("name what to %s: letters by their SEQ, as 'kgents deadletter list' shows it, or --all", e.verb)
	case !e.all && e.filter.any():
		return errors.New("--reason, --type, --customer, --since and --until go with --all")
	}
	return e.check()
}

func (e *ending) run(cmd *cobra.Command, args []string) error {
	if err := e.checkArgs(args); err != nil {
		return err
	}
	seqs, err := sequences(args)
	if err != nil {
		return err
	}
	query, err := e.filter.query(time.Now())
	if err != nil {
		return err
	}
	client, err := openLetters(&e.target)
	if err != nil {
		return err
	}
	defer client.close()
	ctx := cmd.Context()
	if e.dryRun {
		list, more := []deadletter.Stored{}, false
		if e.all {
			more, err = client.each(ctx, query, mostListed, func(l deadletter.Stored) { list = append(list, l) })
		}
		for _, seq := range seqs {
			var l deadletter.LetterAnswer
			if l, err = client.show(ctx, seq); err != nil {
				break
			}
			list = append(list, l.Stored)
		}
		if err != nil {
			return err
		}
		return e.printDryRun(cmd.OutOrStdout(), list, more)
	}
	more := false
	if e.all {
		if more, err = client.each(ctx, query, mostEnded, func(l deadletter.Stored) { seqs = append(seqs, l.Seq) }); err != nil {
			return err
		}
	}
	r, err := e.endAll(ctx, client, seqs)
	if err != nil {
		return err
	}
	r.More = more
	if err := e.print(cmd.OutOrStdout(), r); err != nil {
		return err
	}
	if r.Failed > 0 || r.Stopped != "" {
		return errReported
	}
	return nil
}

// endAll ends one letter after the other. What fails for a reason of its own
// doesn't hinder the rest; when the server can't go on, neither does this.
func (e *ending) endAll(ctx context.Context, client *letters, seqs []uint64) (ended, error) {
	r := ended{Action: e.verb}
	step, finish := e.progress(len(seqs))
	defer finish()
	for i, seq := range seqs {
		err := e.end(client, ctx, seq)
		switch {
		case err == nil:
			r.Done++
		case gone(err) && e.all:
			r.Gone++
		case gone(err), refusedWith(err, http.StatusConflict):
			r.Failed++
			if len(r.Failures) < mostFailures {
				r.Failures = append(r.Failures, letterFailure{seq, err.Error()})
			}
		case i == 0 && ctx.Err() == nil:
			return r, err
		default:
			r.Stopped = err.Error()
			if ctx.Err() != nil {
				r.Stopped = "interrupted"
			}
			return r, nil
		}
		step()
	}
	return r, nil
}

// progress draws a bar on a terminal, and returns what moves and what ends it.
func (e *ending) progress(total int) (step, finish func()) {
	if !term.IsTerminal(os.Stderr) || total < 2 {
		return func() {}, func() {}
	}
	p := mpb.New(mpb.WithOutput(os.Stderr), mpb.WithWidth(40), mpb.WithRefreshRate(100*time.Millisecond))
	bar := p.AddBar(int64(total),
		mpb.PrependDecorators(decor.Name(e.verb+" "), decor.CountersNoUnit("%d / %d")),
		mpb.AppendDecorators(decor.Percentage(), decor.Name("  "), decor.AverageSpeed(0, "%.0f/s")),
		mpb.BarRemoveOnComplete())
	return bar.Increment, func() {
		bar.Abort(true)
		p.Wait()
	}
}

func (e *ending) printDryRun(w io.Writer, list []deadletter.Stored, more bool) error {
	if e.output == "json" {
		return printLetters(w, e.output, list)
	}
	if len(list) > 0 {
		if err := printLetters(w, e.output, list); err != nil {
			return err
		}
	}
	can := 0
	for _, l := range list {
		if e.verb == "drop" || l.Reason != deadletter.Malformed && !l.Truncated {
			can++
		}
	}
	atLeast := ""
	if more {
		atLeast = "at least "
	}
	fmt.Fprintf(w, "%s%s would be %s", atLeast, countLetters(can), e.past)
	if can < len(list) {
		fmt.Fprintf(w, ", %s can't be", term.Number(float64(len(list)-can)))
	}
	fmt.Fprintln(w, "; nothing was done.")
	return nil
}

func (e *ending) print(w io.Writer, r ended) error {
	if e.output == "json" {
		return writeIndented(w, r)
	}
	s := term.StyleFor(w)
	fmt.Fprintf(w, "%s %s.\n", countLetters(r.Done), e.past)
	if r.Gone > 0 {
		fmt.Fprintf(w, "%s had gone in the meantime.\n", countLetters(r.Gone))
	}
	for _, f := range r.Failures {
		fmt.Fprintf(w, "%s %s\n", s.Bad("✗"), printable(f.Detail))
	}
	if rest := r.Failed - len(r.Failures); rest > 0 {
		fmt.Fprintf(w, "%s and %s more like these\n", s.Bad("✗"), term.Number(float64(rest)))
	}
	if r.Stopped != "" {
		fmt.Fprintf(w, "%s stopped: %s. The rest is still there: run this again.\n", s.Bad("✗"), printable(r.Stopped))
	}
	if r.More {
		fmt.Fprintln(w, "There are more: run this again.")
	}
	return nil
}

func countLetters(n int) string {
	if n == 1 {
		return "1 dead letter"
	}
	return term.Number(float64(n)) + " dead letters"
}
