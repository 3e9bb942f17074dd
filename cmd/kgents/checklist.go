package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/kgents/kgents/checklist"
	"github.com/kgents/kgents/checklist/checks"
	"github.com/kgents/kgents/term"
)

// productionSignOffs is where people's words are kept: with what is deployed.
const productionSignOffs = "infra/k8s/overlays/production/sign-offs.yaml"

// checklistFlags are those of `kgents checklist`.
type checklistFlags struct {
	system     systemFlags
	categories []string
	only       string
	automatic  bool
	output     string
	signOffs   string
	timeout    time.Duration
}

func newChecklistCommand() *cobra.Command {
	f := &checklistFlags{}
	cmd := &cobra.Command{
		Use:   "checklist",
		Short: "Look whether all is ready for production",
		Long: `Look at the running system for everything that must be true in production, and try
what must not work. An item passes only on what was seen; what can't be looked at is
"cannot tell", with what to set. Items for people are open until 'kgents checklist
sign' has recorded who looked, when, and at what.

It leaves the system as it was, but for canaries that no customer pays for and a test
alert that resolves itself.

Exit code 0 when every blocking item passes or is signed, else 1.`,
		Example: `  kgents checklist
  kgents checklist --target kubernetes --context staging --namespace kgents-staging
  kgents checklist --only blocking --category durability --category billing
  kgents checklist --automatic --output junit > checklist.xml`,
		Args: onlyCommands,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	fl := cmd.Flags()
	f.system.add(cmd)
	fl.StringSliceVar(&f.categories, "category", nil, "look at this category only; may be repeated")
	fl.StringVar(&f.only, "only", "", "'blocking' leaves out what doesn't block the launch")
	fl.BoolVar(&f.automatic, "automatic", false, "leave out what a person looks at")
	fl.StringVar(&f.output, "output", "table", "table, json, markdown or junit")
	fl.StringVar(&f.signOffs, "sign-offs", productionSignOffs, "file of 'kgents checklist sign'")
	fl.DurationVar(&f.timeout, "timeout", 5*time.Minute, "longest time for all checks")
	words(cmd, "category", categories()...)
	words(cmd, "only", "blocking")
	words(cmd, "output", "table", "json", "markdown", "junit")
	words(cmd, "timeout")
	cmd.AddCommand(newChecklistListCommand(), newChecklistSignCommand())
	return cmd
}

func categories() (ids []string) {
	l, err := checklist.Default()
	if err != nil {
		return nil // the tests say so
	}
	for _, c := range l.Categories {
		ids = append(ids, c.ID)
	}
	return ids
}

func (f *checklistFlags) run(cmd *cobra.Command) error {
	if err := oneOf("--output", f.output, "table", "json", "markdown", "junit"); err != nil {
		return err
	}
	if f.only != "" && f.only != "blocking" {
		return fmt.Errorf("--only takes 'blocking', not %q", f.only)
	}
	if f.timeout <= 0 {
		return errors.New("--timeout must be longer than nothing: use for example 5m")
	}
	l, err := checklist.Default()
	if err != nil {
		return err
	}
	signs, err := checklist.ReadSignOffs(f.signOffs, l)
	if err != nil {
		return err
	}
	if f.automatic {
		l = l.Automatic()
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), f.timeout)
	defer cancel()
	s, done, err := f.system.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	told, finish := progressLine("checking ")
	report, err := checklist.Run(ctx, l, checks.All(s), checklist.Options{
		Target: s.Target, Categories: f.categories, Blocking: f.only == "blocking", SignOffs: signs, Progress: told,
	})
	finish()
	if err != nil {
		return err
	}
	if err := cmd.Context().Err(); err != nil {
		return fmt.Errorf("interrupted: %w", err)
	}
	w := cmd.OutOrStdout()
	switch f.output {
	case "json":
		err = report.JSON(w)
	case "markdown":
		err = report.Markdown(w)
	case "junit":
		err = report.JUnit(w)
	default:
		printChecklist(w, report)
	}
	if err == nil && !report.OK {
		err = errReported
	}
	return err
}

// progressLine shows on a terminal how many checks are done.
func progressLine(what string) (told func(id string, done, total int), finish func()) {
	if !term.IsTerminal(os.Stderr) {
		return nil, func() {}
	}
	p := mpb.New(mpb.WithOutput(os.Stderr), mpb.WithWidth(40), mpb.WithRefreshRate(100*time.Millisecond))
	bar := p.AddBar(1,
		mpb.PrependDecorators(decor.Name(what)),
		mpb.AppendDecorators(decor.CountersNoUnit("%d of %d")),
		mpb.BarRemoveOnComplete())
	told = func(_ string, done, total int) {
		bar.SetTotal(int64(total), false)
		bar.SetCurrent(int64(done))
	}
	return told, func() {
		bar.Abort(true)
		p.Wait()
	}
}

// printChecklist writes a table for each category; what to do stands below its line.
func printChecklist(w io.Writer, r checklist.Report) {
	s := term.StyleFor(w)
	marks := map[checklist.Verdict]string{
		checklist.Pass: s.Good("✓ pass"), checklist.Fail: s.Bad("✗ fail"), checklist.Warn: s.Strong("! warn"),
		checklist.Unknown: s.Strong("? cannot tell"), checklist.Signed: s.Good("✓ signed"), checklist.Open: s.Faint("○ open"),
	}
	var rows [][]string
	category, before := "", ""
	for _, res := range r.Results {
		if res.Category != category {
			if category != "" {
				rows = append(rows, []string{"", "", ""})
			}
			category, before = res.Category, ""
			rows = append(rows, []string{s.Strong(strings.ToUpper(category)), "", ""})
		}
		id := res.ID
		if res.Blocking && !res.Ready() {
			id += s.Bad(" *")
		}
		first := []string{marks[res.Verdict], id}
		evidence := res.Evidence
		if res.Verdict == checklist.Open {
			evidence = res.Title + ": " + evidence
		}
		for _, text := range wrap(printable(evidence), evidenceWidth) {
			rows = append(rows, append(first, text))
			first = []string{"", ""}
		}
		next := res.Next
		switch {
		case res.Verdict == checklist.Open:
			next = "" // the same for all; said once below
		case next == before && next != "":
			next = "as above"
		default:
			before = next
		}
		for i, text := range wrap(printable(next), evidenceWidth-2) {
			lead := "  "
			if i == 0 {
				lead = "→ "
			}
			rows = append(rows, []string{"", "", s.Faint(lead + text)})
		}
	}
	term.Table(w, s, []term.Column{{Title: "VERDICT"}, {Title: "ITEM"}, {Title: "EVIDENCE"}}, rows)
	fmt.Fprintln(w)
	printSum(w, s, r)
}

// printSum writes what it all comes to.
func printSum(w io.Writer, s term.Style, r checklist.Report) {
	var counts []string
	for _, v := range []struct {
		is   checklist.Verdict
		word string
	}{
		{checklist.Pass, "pass"}, {checklist.Warn, "warn"}, {checklist.Fail, "fail"}, {checklist.Unknown, "cannot tell"},
		{checklist.Signed, "signed"}, {checklist.Open, "open"},
	} {
		if n := r.Counts[string(v.is)]; n > 0 {
			counts = append(counts, fmt.Sprintf("%d %s", n, v.word))
		}
	}
	blocks := 0
	for _, res := range r.Results {
		if !res.Ready() {
			blocks++
		}
	}
	sum := fmt.Sprintf("%s, in %s", strings.Join(counts, ", "), term.Duration(r.Took))
	if r.OK {
		fmt.Fprintf(w, "%s  nothing blocks: %s\n", s.Good("✓"), sum)
	} else {
		fmt.Fprintf(w, "%s  %d block the launch (*): %s\n", s.Bad("✗"), blocks, sum)
	}
	if r.Counts[string(checklist.Open)] > 0 {
		fmt.Fprintln(w, s.Faint("   open: the steps are in docs/saas/production-checklist.md; then 'kgents checklist sign ITEM --by NAME --evidence WHERE'"))
	}
	if r.Left > 0 {
		fmt.Fprintln(w, s.Faint(fmt.Sprintf("   %d items are left out: they are for %s", r.Left, other(r.Target))))
	}
}

func other(t checklist.Target) string {
	if t == checklist.Local {
		return "--target kubernetes"
	}
	return "--target local"
}

// oneOf refuses a flag's value that is none of the words.
func oneOf(flag, value string, words ...string) error {
	if slices.Contains(words, value) {
		return nil
	}
	return fmt.Errorf("%s takes %s, not %q", flag, strings.Join(words, ", "), value)
}
