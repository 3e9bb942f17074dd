package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kgents/kgents/term"
	"github.com/kgents/kgents/town"
	"github.com/kgents/kgents/town/host"
)

func newTownCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "town",
		Short: "Agent Town: found a town, let it live, watch it, see what it costs",
		Long: `Agent Town is a small society of agents whose interactions cost tokens: the
first product that is sold here, and one to see the billing work with.

A TOWN is named by its id or its name. Who has one town only needn't name it. With
an operator's key --customer tells whose town it is.`,
		Example: `  kgents town new --citizens 7 --name Millbrook --customer harbour-labs
  kgents town step Millbrook --cycles 4 --customer harbour-labs
  kgents town watch --customer harbour-labs`,
		Args: onlyCommands,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newTownNewCommand(), newTownListCommand(), newTownShowCommand(), newTownCitizensCommand(),
		newTownStepCommand(), newTownWatchCommand(), newTownUsageCommand(), newTownDeleteCommand())
	return cmd
}

// townCommand is a command about one town, which its argument names.
func townCommand(v *v1, cmd *cobra.Command, run func(ctx context.Context, w io.Writer, t host.Town) error) *cobra.Command {
	cmd.Use += " [TOWN]"
	cmd.ValidArgsFunction = cobra.NoFileCompletions
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 1 {
			return fmt.Errorf("'%s' takes one town, not %d: see '%[1]s --help'", cmd.CommandPath(), len(args))
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := v.begin(); err != nil {
			return err
		}
		t, err := v.town(cmd.Context(), strings.Join(args, ""))
		if err != nil {
			return err
		}
		return run(cmd.Context(), cmd.OutOrStdout(), t)
	}
	v.addFlags(cmd)
	v.addOutput(cmd)
	return cmd
}

// townURL is the path of a town, and of what is behind it.
func townURL(t host.Town, rest ...string) string {
	path := "/v1/town/" + url.PathEscape(t.ID)
	for _, part := range rest {
		path += "/" + url.PathEscape(part)
	}
	return path
}

// town finds a town by id or name, or the only one there is.
func (v *v1) town(ctx context.Context, name string) (host.Town, error) {
	towns, err := v.towns(ctx)
	if err != nil {
		return host.Town{}, err
	}
	var found []host.Town
	for _, t := range towns {
		if t.ID == name {
			return t, nil
		}
		if name == "" || strings.EqualFold(t.Name, name) {
			found = append(found, t)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(towns) == 0:
		return host.Town{}, fmt.Errorf("there is no town yet: found one with 'kgents town new'")
	case len(found) > 1:
		return host.Town{}, fmt.Errorf("there are %d towns: name one by its id: %s", len(found), ids(found))
	}
	return host.Town{}, fmt.Errorf("there is no town %q: choose from %s", name, ids(towns))
}

func ids(towns []host.Town) string {
	var out []string
	for _, t := range towns {
		out = append(out, fmt.Sprintf("%s (%s)", t.ID, printable(t.Name)))
	}
	return strings.Join(out, ", ")
}

func (v *v1) towns(ctx context.Context) ([]host.Town, error) {
	var all []host.Town
	query := url.Values{}
	for {
		var page struct {
			Towns []host.Town
			Next  string
		}
		if err := v.do(ctx, http.MethodGet, "/v1/town", query, nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Towns...)
		if page.Next == "" {
			return all, nil
		}
		query.Set("after", page.Next)
	}
}

func newTownNewCommand() *cobra.Command {
	v := &v1{}
	var (
		citizens int
		name     string
		seed     uint64
		model    bool
		pace     = period(0)
	)
	cmd := &cobra.Command{
		Use:   "new",
		Short: "Found a town",
		Long: `Found a town of 3, 7, 10 or 25 citizens, if the plan allows one more of that size.
With --pace it lives by itself, else only when told by 'kgents town step'.`,
		Example: `  kgents town new --citizens 7 --name Millbrook --customer harbour-labs
  kgents town new --seed 42 --pace 2s`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := v.begin(); err != nil {
				return err
			}
			body := map[string]any{"citizens": citizens, "name": name, "model": model, "pace": float64(pace) / 1e9}
			if seed != 0 {
				body["seed"] = strconv.FormatUint(seed, 10)
			}
			var t host.Town
			if err := v.do(cmd.Context(), http.MethodPost, "/v1/town", nil, body, &t); err != nil {
				return err
			}
			if v.output == "json" {
				return printJSON(cmd.OutOrStdout(), t)
			}
			printTown(cmd.OutOrStdout(), t)
			return nil
		},
	}
	v.addFlags(cmd)
	v.addOutput(cmd)
	cmd.Flags().IntVar(&citizens, "citizens", 3, "how many live in it: 3, 7, 10 or 25")
	cmd.Flags().StringVar(&name, "name", "", "a name for people")
	cmd.Flags().Uint64Var(&seed, "seed", 0, "of its random numbers: the same seed lives the same days; 0 = any")
	cmd.Flags().BoolVar(&model, "model", false, "let a language model decide, if the operator has one")
	cmd.Flags().Var(&pace, "pace", "from phase to phase when it lives by itself, at least 1s; 0 = only when told")
	words(cmd, "citizens", "3", "7", "10", "25")
	return cmd
}

func newTownListCommand() *cobra.Command {
	v := &v1{}
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the customer's towns",
		Example: `  kgents town list --customer harbour-labs`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := v.begin(); err != nil {
				return err
			}
			towns, err := v.towns(cmd.Context())
			if err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			if v.output == "json" {
				if towns == nil {
					towns = []host.Town{}
				}
				return printJSON(w, towns)
			}
			if len(towns) == 0 {
				fmt.Fprintln(w, "There is no town yet. Found one: kgents town new")
				return nil
			}
			var rows [][]string
			for _, t := range towns {
				pace := "when told"
				if t.Pace > 0 {
					pace = fmt.Sprintf("every %gs", t.Pace)
				}
				rows = append(rows, []string{
					t.ID, printable(t.Name), strconv.Itoa(t.Citizens), fmt.Sprintf("day %d, %s", t.Day, t.Phase), pace,
					term.Number(float64(t.Interactions)), term.Number(float64(t.Tokens)), printable(limitedText(t)),
				})
			}
			term.Table(w, term.StyleFor(w), []term.Column{
				{Title: "ID"}, {Title: "NAME"}, {Title: "CITIZENS", Right: true}, {Title: "AT"}, {Title: "LIVES"},
				{Title: "INTERACTIONS", Right: true}, {Title: "TOKENS", Right: true}, {Title: ""},
			}, rows)
			return nil
		},
	}
	v.addFlags(cmd)
	v.addOutput(cmd)
	return cmd
}

func limitedText(t host.Town) string {
	if t.Limited == "" {
		return ""
	}
	return "at its limit"
}

func newTownShowCommand() *cobra.Command {
	v, citizen, lod := &v1{}, "", 3
	cmd := townCommand(v, &cobra.Command{
		Use:   "show",
		Short: "Show a town, or one of its citizens",
		Long: `Show where a town is in its day, who is where, and its figures. With --citizen one
citizen, as closely as one looks: --lod 0 is name, region and phase, 1 archetype and
mood, 2 philosophy and metaphor, 3 traits and relationships, 4 surplus and id, 5 what
remains opaque.`,
		Example: `  kgents town show Millbrook --customer harbour-labs
  kgents town show Millbrook --citizen Alice --lod 5 --customer harbour-labs`,
	}, func(ctx context.Context, w io.Writer, t host.Town) error {
		if citizen == "" {
			if v.output == "json" {
				return printJSON(w, t)
			}
			printTown(w, t)
			return nil
		}
		var c town.View
		if err := v.do(ctx, http.MethodGet, townURL(t, "citizens", citizen), url.Values{"lod": {strconv.Itoa(lod)}}, nil, &c); err != nil {
			return err
		}
		if v.output == "json" {
			return printJSON(w, c)
		}
		printCitizen(w, c)
		return nil
	})
	cmd.Flags().StringVar(&citizen, "citizen", "", "show this citizen")
	cmd.Flags().IntVar(&lod, "lod", lod, "level of detail of a citizen, 0 to 5")
	words(cmd, "lod", "0", "1", "2", "3", "4", "5")
	words(cmd, "citizen")
	return cmd
}

func newTownCitizensCommand() *cobra.Command {
	v := &v1{}
	return townCommand(v, &cobra.Command{
		Use:     "citizens",
		Short:   "List who lives in a town",
		Example: `  kgents town citizens Millbrook --customer harbour-labs`,
	}, func(ctx context.Context, w io.Writer, t host.Town) error {
		var all struct {
			Citizens []town.View `json:"citizens"`
		}
		if err := v.do(ctx, http.MethodGet, townURL(t, "citizens"), url.Values{"lod": {"4"}}, nil, &all); err != nil {
			return err
		}
		if v.output == "json" {
			return printJSON(w, all.Citizens)
		}
		printCitizens(w, all.Citizens)
		return nil
	})
}

func newTownStepCommand() *cobra.Command {
	v, cycles := &v1{}, 1
	cmd := townCommand(v, &cobra.Command{
		Use:   "step",
		Short: "Let a town live on",
		Long: `Let a town live on for some phases of its day: morning, afternoon, evening, night.
What it used is on disk when this ends well. Over the plan's limit the town lives on
without spending, and tells why.`,
		Example: `  kgents town step Millbrook --cycles 4 --customer harbour-labs`,
	}, func(ctx context.Context, w io.Writer, t host.Town) error {
		out := host.Stepped{Town: t, Events: []town.Event{}}
		for out.Phases < cycles { // the server does as many at a time as its time allows
			var part host.Stepped
			n := min(cycles-out.Phases, host.MaxPhases)
			if err := v.do(ctx, http.MethodPost, townURL(t, "step"), url.Values{"cycles": {strconv.Itoa(n)}}, nil, &part); err != nil {
				return err
			}
			out.Town, out.Phases, out.Events = part.Town, out.Phases+max(1, part.Phases), append(out.Events, part.Events...)
		}
		if v.output == "json" {
			return printJSON(w, out)
		}
		printStep(w, out)
		return nil
	})
	cmd.Flags().IntVar(&cycles, "cycles", cycles, "phases of the day, 1 to 100")
	before := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if cycles < 1 || cycles > host.MaxPhases {
			return fmt.Errorf("--cycles must be from 1 to %d", host.MaxPhases)
		}
		return before(cmd, args)
	}
	return cmd
}

func newTownUsageCommand() *cobra.Command {
	v := &v1{}
	return townCommand(v, &cobra.Command{
		Use:   "usage",
		Short: "Show what a town did, and what it costs",
		Long: `Show what a town did since it was founded, by operation, and how its customer stands:
what is used of the plan, and what is past it. The customer's figures are of the
period, over all of its towns.`,
		Example: `  kgents town usage Millbrook --customer harbour-labs`,
	}, func(ctx context.Context, w io.Writer, t host.Town) error {
		var f host.Figures
		if err := v.do(ctx, http.MethodGet, townURL(t, "metrics"), nil, nil, &f); err != nil {
			return err
		}
		a := v.account(ctx)
		if v.output == "json" {
			return printJSON(w, struct {
				Town    host.Figures `json:"town"`
				Account account      `json:"account"`
			}{f, a})
		}
		printTownUsage(w, t, f, a)
		return nil
	})
}

func newTownDeleteCommand() *cobra.Command {
	v := &v1{}
	var yes bool
	cmd := townCommand(v, &cobra.Command{
		Use:     "delete",
		Short:   "End a town; what it used stays billed",
		Example: `  kgents town delete Millbrook --yes --customer harbour-labs`,
	}, func(ctx context.Context, w io.Writer, t host.Town) error {
		if !yes {
			return fmt.Errorf("%s (%s) would end with all of its history: add --yes if it shall", t.ID, printable(t.Name))
		}
		if err := v.do(ctx, http.MethodDelete, townURL(t), nil, nil, nil); err != nil {
			return err
		}
		if v.output == "json" {
			return printJSON(w, map[string]string{"deleted": t.ID})
		}
		fmt.Fprintf(w, "%s (%s) has ended. What it used stays counted: %s tokens.\n", t.ID, printable(t.Name), term.Number(float64(t.Tokens)))
		return nil
	})
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	return cmd
}
