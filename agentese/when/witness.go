package when

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/tree"
)

func (w *view) witness() *tree.Node {
	return &tree.Node{
		Name: "witness",
		Line: "the history of any holon, by its path",
		Doc: "Shows what the witness of a holon shows, for whoever would rather name the time first: time.witness.manifest[of=world.nats] is world.nats.witness. " +
			"It needs the same observer. A holon without a witness of its own is looked for in the history of what has happened, by its name. Without a path it lists which holons have a witness, " +
			"which is what can be known of the past: figures of six hours from the program's memory, or as many days as Prometheus keeps, and what has happened in 30 days.",
		Synonyms: []string{"history of", "track record", "trend", "graph", "chart", "past values", "look back", "over the last hours", "time series", "curve", "how it developed", "log of changes"},
		Affords: []tree.Affordance{{
			Aspect: agentese.Manifest, Line: "the history of a holon, or which holons have one",
			Asks: []string{
				"show the history of a part", "how did it develop", "plot the last hours of something", "what has a history", "which parts can i look back at", "graph of the last six hours",
				"show me the trend of a holon", "historical values", "how has this changed over time", "give me the curve", "what did this look like over the day", "past figures of one component",
			},
			Params: []tree.Param{
				{Key: "of", Line: "whose: the path of a holon", Paths: true},
				{Key: "since", Line: "from when on", Kind: tree.Time, Default: "6h"},
			},
			Examples: []tree.Example{
				{Expr: "time.witness.manifest", Line: "which holons have a history"},
				{Expr: "time.witness.manifest[of=world.nats.circuit][since=6h]", Line: "when the circuit opened and closed in six hours"},
			},
			See: w.seeWitness,
		}},
	}
}

func (w *view) seeWitness(ctx context.Context, c *tree.Call) (tree.Value, error) {
	of := c.Args.Get("of")
	if of == "" {
		return witnesses(c), nil
	}
	step, place, err := stepOf(c, of)
	if err != nil {
		return tree.Value{}, err
	}
	own, ok := place.Node.Affordance(agentese.Witness)
	if !ok {
		return w.named(ctx, c, step, since(c, 6*time.Hour))
	}
	takes := slices.ContainsFunc(own.Params, func(p tree.Param) bool { return p.Key == "since" })
	if takes {
		step = step.With("since", c.Args.Get("since"))
	}
	v, err := c.Tree.Run(ctx, agentese.Expression{Steps: []agentese.Step{step}}, c.Session)
	if err != nil {
		return v, unplaced(err)
	}
	if v.Path = ""; !takes {
		v.Note("This is all that is kept: its history can't be asked for since a time.")
	}
	return v, nil
}

// stepOf reads a path as the witness of what is there.
func stepOf(c *tree.Call, of string) (agentese.Step, tree.Place, error) {
	wrong := func(why string) error {
		return &agentese.Error{Kind: agentese.KindClause, What: agentese.QuoteName(of) + " is not the path of a holon", Why: why, Try: []string{"time.witness.manifest"}}
	}
	e, err := agentese.Parse(strings.TrimSuffix(of, ".witness") + ".witness")
	if err != nil {
		return agentese.Step{}, tree.Place{}, wrong("a path is names with dots between them: world.nats")
	}
	if len(e.Steps) != 1 || len(e.Steps[0].Clauses) > 0 || len(e.Steps[0].Annotations) > 0 {
		return agentese.Step{}, tree.Place{}, wrong("it has to be one path, without clauses")
	}
	step := e.Steps[0]
	place, _, canonical, depth := c.Tree.Find(step.Texts())
	if depth < len(step.Names) || place.Node == nil {
		why := "there is nothing of that name"
		if depth > 0 {
			why = "there is nothing of that name in " + agentese.JoinPath(canonical...)
		}
		return step, place, wrong(why)
	}
	return step, place, nil
}

// unplaced is an error of another expression, without its place in that.
func unplaced(err error) error {
	e, ok := err.(*agentese.Error)
	if !ok {
		return err
	}
	moved := *e
	moved.Pos, moved.End = 0, 0
	return &moved
}

// witnesses lists which holons have one.
func witnesses(c *tree.Call) tree.Value {
	v := tree.Value{Title: "What has a history", Table: &tree.Table{Columns: []tree.Column{{Name: "path"}, {Name: "what"}, {Name: "open"}}}}
	for _, p := range c.Tree.Places() {
		if own, ok := p.Node.Affordance(agentese.Witness); ok {
			v.Table.Rows = append(v.Table.Rows, []any{p.Pattern, own.Line, c.Observer.May(*own)})
		}
	}
	v.Note("A name in braces stands for a live one.")
	v.Then("time.witness.manifest[of=world.nats][since=6h]", "for example NATS")
	v.Then("time.incident.manifest", "what has happened to all of them")
	return v
}

// kinds of what has happened belong to holons of other names.
var kinds = map[string][]string{"schedule": {"backup", "reconciliation"}, "capabilities": {"change"}, "pods": {"start", "stop"}, "deployments": {"start", "stop"}, "kubernetes": {"start", "stop"}}

// named is what the program's history has with a holon's name in it.
func (w *view) named(ctx context.Context, c *tree.Call, step agentese.Step, from time.Time) (tree.Value, error) {
	all, note, err := w.Entries(ctx, from)
	if err != nil {
		return tree.Value{}, err
	}
	name := step.Names[len(step.Names)-1].Text
	if _, live, _, _ := c.Tree.Find(step.Texts()); len(live) > 0 {
		for _, n := range step.Names { // the last one that is no word of the tree
			for _, l := range live {
				if n.Text == l {
					name = l
				}
			}
		}
	}
	v := tree.Value{Title: "What has happened to " + step.Path() + ", since " + stamp(from), Table: &tree.Table{Columns: []tree.Column{{Name: "time"}, {Name: "kind"}, {Name: "what"}, {Name: "detail"}, {Name: "who"}}}}
	for _, e := range all {
		if e.Kind == name || slices.Contains(kinds[name], e.Kind) || mentions(e.What, name) || mentions(e.Detail, name) {
			v.Table.Rows = append(v.Table.Rows, []any{e.Time, e.Kind, e.What, e.Detail, e.Who})
		}
	}
	if len(v.Table.Rows) == 0 {
		var have []string
		for _, p := range c.Tree.Places() {
			if _, ok := p.Node.Affordance(agentese.Witness); ok {
				have = append(have, p.Pattern)
			}
		}
		return v, &agentese.Error{
			Kind: agentese.KindNotFound, What: step.Path() + " has no history",
			Why: fmt.Sprintf("it has no witness, and nothing that has happened since %s names it; these have one: %s", stamp(from), strings.Join(have, ", ")),
			Try: []string{"time.witness.manifest"},
		}
	}
	v.Note(fmt.Sprintf("It has no witness of its own: this is what has happened with %s in it.", agentese.QuoteName(name)))
	if note != "" {
		v.Note(note)
	}
	return v, nil
}

// mentions says whether a name stands in a text as a word of its own, in any case.
func mentions(in, name string) bool {
	in, name = strings.ToLower(in), strings.ToLower(name)
	letter := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '_' }
	for from := 0; name != ""; {
		i := strings.Index(in[from:], name)
		if i < 0 {
			return false
		}
		before, after := in[:from+i], in[from+i+len(name):]
		if strings.TrimRightFunc(before, letter) == before && strings.TrimLeftFunc(after, letter) == after {
			return true
		}
		from += i + 1
	}
	return false
}
