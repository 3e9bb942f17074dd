package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/kgents/kgents/checklist"
	"github.com/kgents/kgents/term"
)

func newChecklistListCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show the items, without looking",
		Example: `  kgents checklist list
  kgents checklist list --output json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("--output", output, "table", "json", "markdown"); err != nil {
				return err
			}
			l, err := checklist.Default()
			if err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			switch output {
			case "json":
				return printJSON(w, l)
			case "markdown":
				_, err := w.Write(l.Page())
				return err
			}
			s := term.StyleFor(w)
			var rows [][]string
			for _, i := range l.Items() {
				how, when := "program", i.Due
				if !i.Automatic {
					how = "person"
				}
				if i.Blocking {
					when = "blocking"
				}
				rows = append(rows, []string{i.Category, i.ID, how, when, i.Owner, i.Title})
			}
			term.Table(w, s, []term.Column{{Title: "CATEGORY"}, {Title: "ITEM"}, {Title: "LOOKS"}, {Title: "DUE"}, {Title: "OWNER"}, {Title: "WHAT"}}, rows)
			return nil
		},
	}
	cmd.Flags().StringVar(&output, "output", "table", "table, json or markdown (the page)")
	words(cmd, "output", "table", "json", "markdown")
	return cmd
}

func newChecklistSignCommand() *cobra.Command {
	var (
		by, evidence, file string
		until              string
	)
	cmd := &cobra.Command{
		Use:   "sign ITEM",
		Short: "Record that a person has done an item",
		Long: `Record who did the steps of an item, when, and what was kept of it, in a file to
commit. Items that the program looks at can't be signed.`,
		Example: `  kgents checklist sign on-call --by 'Ada Lovelace' --evidence 'rota and drill notes in the wiki, 2026-11-24'
  kgents checklist sign dependencies --by Ada --evidence 'run 4711' --until 2027-02-24`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("'%s' takes one item: 'kgents checklist list' shows them", cmd.CommandPath())
			}
			return nil
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return signable(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := checklist.Default()
			if err != nil {
				return err
			}
			word := checklist.SignOff{Item: args[0], By: by, Evidence: evidence, At: time.Now().UTC().Truncate(time.Second)}
			if until != "" {
				if word.Until, err = time.Parse(time.DateOnly, until); err != nil {
					return fmt.Errorf("--until %q is no day: write it as 2027-02-24", until)
				}
			}
			if err := word.Add(file, l); err != nil {
				if errors.Is(err, os.ErrNotExist) {
					return fmt.Errorf("the directory of %s is not there: run it in the project's root, or name a file with --sign-offs", file)
				}
				return err
			}
			item, _ := l.Item(word.Item)
			fmt.Fprintf(cmd.OutOrStdout(), "signed: %s\n%s holds it: commit the file\n", item.Title, file)
			return nil
		},
	}
	cmd.Flags().StringVar(&by, "by", "", "who did it")
	cmd.Flags().StringVar(&evidence, "evidence", "", "what was kept, and where")
	cmd.Flags().StringVar(&until, "until", "", "day on which it must be done again, as 2027-02-24; empty = never")
	cmd.Flags().StringVar(&file, "sign-offs", productionSignOffs, "file to write to")
	words(cmd, "by")
	words(cmd, "evidence")
	words(cmd, "until")
	return cmd
}

// signable are the items that a person signs.
func signable() (ids []string) {
	l, err := checklist.Default()
	if err != nil {
		return nil // the tests say so
	}
	for _, i := range l.Items() {
		if !i.Automatic {
			ids = append(ids, i.ID)
		}
	}
	return ids
}
