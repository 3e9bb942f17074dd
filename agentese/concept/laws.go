package concept

import (
	"context"
	"encoding/json"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/tree"
)

func lawsNode() *tree.Node {
	return &tree.Node{
		Name: "laws",
		Line: "the laws of the language: identity, associativity, and that looking changes nothing",
		Doc: "What holds for every expression, so that pipelines can be put together and taken apart without thinking: the identity on either side of a step makes no difference, and how a pipeline is bracketed makes none either. " +
			"The witness aspect checks them now, by running real expressions that read from the program itself, and says for each whether it held. A law that fails is a defect of this program.",
		Synonyms: []string{"rules of the language", "axioms", "identity law", "associativity", "composition", "category laws", "invariants", "algebra", "pipeline rules", "principles"},
		Affords: []tree.Affordance{
			{
				Aspect: agentese.Manifest, Line: "each law in words",
				Asks: []string{
					"what are the laws", "which laws hold", "what does identity mean here", "what is associativity", "rules for pipelines", "how do pipes compose",
					"does the order of brackets matter", "what is guaranteed about >>", "principles of the language", "list the axioms", "does looking change anything", "explain the pipe operator",
				},
				Examples: []tree.Example{{Expr: "concept.laws.manifest", Line: "the laws in words"}},
				See: func(_ context.Context, _ *tree.Call) (tree.Value, error) {
					v := tree.Value{Title: "The laws of the language", Table: &tree.Table{Columns: []tree.Column{{Name: "law"}, {Name: "is"}, {Name: "means"}}}}
					for _, l := range laws {
						v.Table.Rows = append(v.Table.Rows, []any{l.name, l.is, l.means})
					}
					v.Then("concept.laws.witness", "check them now")
					return v, nil
				},
			},
			{
				Aspect: agentese.Witness, Line: "the laws, checked now with real expressions",
				Asks: []string{
					"check the laws", "do the laws hold", "verify identity and associativity", "test the language", "prove that composition works", "run the law check",
					"is the shell consistent", "are the laws still true", "validate the pipelines", "self test of the language", "does the algebra hold on this system", "law check",
				},
				Examples: []tree.Example{{Expr: "concept.laws.witness", Line: "check them now"}},
				See:      checkLaws,
			},
		},
	}
}

// law is one, with the expressions that must give the same.
type law struct {
	name, is, means string
	left, right     func(ctx context.Context, r runner) (tree.Value, error)
}

// runner runs an expression, with an input or with nil.
type runner func(ctx context.Context, text string, input *tree.Value) (tree.Value, error)

// The steps that laws are checked with: one that gives much, the identity, and one that
// takes what the step before gave.
const (
	reads    = "concept.alerts.manifest"
	identity = "concept.identity.manifest"
	narrows  = "concept.identity.manifest[where=severity=critical]"
	sorts    = "concept.identity.manifest[sort=alert][first=5]"
)

var laws = []law{
	{
		"left identity", "identity >> f = f", "what comes before a pipeline and changes nothing can be left out",
		func(ctx context.Context, r runner) (tree.Value, error) {
			seed, err := r(ctx, reads, nil)
			if err != nil {
				return seed, err
			}
			return r(ctx, identity+" >> "+narrows, &seed)
		},
		func(ctx context.Context, r runner) (tree.Value, error) {
			seed, err := r(ctx, reads, nil)
			if err != nil {
				return seed, err
			}
			return r(ctx, narrows, &seed)
		},
	},
	{
		"right identity", "f >> identity = f", "giving an output on unchanged makes no difference",
		func(ctx context.Context, r runner) (tree.Value, error) { return r(ctx, reads+" >> "+identity, nil) },
		func(ctx context.Context, r runner) (tree.Value, error) { return r(ctx, reads, nil) },
	},
	{
		"associativity", "(f >> g) >> h = f >> (g >> h)", "a pipeline can be cut anywhere and put together again",
		func(ctx context.Context, r runner) (tree.Value, error) {
			first, err := r(ctx, reads+" >> "+narrows, nil)
			if err != nil {
				return first, err
			}
			return r(ctx, sorts, &first)
		},
		func(ctx context.Context, r runner) (tree.Value, error) {
			first, err := r(ctx, reads, nil)
			if err != nil {
				return first, err
			}
			return r(ctx, narrows+" >> "+sorts, &first)
		},
	},
	{
		"looking changes nothing", "f; f = f", "what is looked at twice, with nothing done in between, is the same",
		func(ctx context.Context, r runner) (tree.Value, error) {
			if _, err := r(ctx, reads, nil); err != nil {
				return tree.Value{}, err
			}
			return r(ctx, reads, nil)
		},
		func(ctx context.Context, r runner) (tree.Value, error) { return r(ctx, reads, nil) },
	},
	{
		"one spelling", "parse(print(f)) = f", "what an expression is printed as means the same",
		func(ctx context.Context, r runner) (tree.Value, error) {
			e, err := agentese.Parse(`CONCEPT.Alerts.manifest[severity="critical"]`)
			if err != nil {
				return tree.Value{}, err
			}
			return r(ctx, e.String(), nil)
		},
		func(ctx context.Context, r runner) (tree.Value, error) {
			return r(ctx, reads+"[severity=critical]", nil)
		},
	},
}

func checkLaws(ctx context.Context, c *tree.Call) (tree.Value, error) {
	// A session of its own: a check costs no entropy, asks nobody and leaves no line.
	s := &tree.Session{Observer: c.Observer, Clock: c.Session.Clock}
	run := func(ctx context.Context, text string, input *tree.Value) (tree.Value, error) {
		e, err := agentese.Parse(text)
		if err != nil {
			return tree.Value{}, err
		}
		return c.Tree.RunWith(ctx, e, s, input)
	}
	v := tree.Value{Title: "The laws, checked now", State: tree.Well, Table: &tree.Table{Columns: []tree.Column{{Name: "law"}, {Name: "is"}, {Name: "state"}, {Name: "seen"}}}}
	held := int64(0)
	for _, l := range laws {
		state, seen := tree.Well, "both sides are the same, to the byte"
		switch why, err := differ(ctx, l, run); {
		case err != nil:
			state, seen = tree.Unknown, err.Error()
		case why != "":
			state, seen = tree.Bad, why
		default:
			held++
		}
		if state != tree.Well && v.State != tree.Bad {
			v.State = state
		}
		v.Table.Rows = append(v.Table.Rows, []any{l.name, l.is, string(state), seen})
	}
	v.Add("held", held, "").Add("of", int64(len(laws)), "")
	if held < int64(len(laws)) {
		v.Note("A law that does not hold is a defect of this program: please report it with this output.")
	}
	return v, ctx.Err()
}

// differ compares the two sides of a law by what of them is printed as JSON, but for the
// path, which names the steps that were taken.
func differ(ctx context.Context, l law, r runner) (string, error) {
	var sides [2]string
	for i, side := range []func(context.Context, runner) (tree.Value, error){l.left, l.right} {
		v, err := side(ctx, r)
		if err != nil {
			return "", err
		}
		v.Path = ""
		b, err := json.Marshal(v)
		if err != nil {
			return "", err
		}
		sides[i] = string(b)
	}
	if sides[0] != sides[1] {
		return "the sides differ", nil
	}
	return "", nil
}
