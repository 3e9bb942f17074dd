package tree

import (
	"context"
	"reflect"
	"slices"

	"github.com/kgents/kgents/agentese"
)

// lawsOf looks at the laws of the language with a step that has just given out, from
// input: it is really run again, piped from and into the identity, in both splits. It
// only reads, for only what reads knows [law_check].
func (t *Tree) lawsOf(ctx context.Context, step agentese.Step, s *Session, input *Value, out Value) []Law {
	const left, right, joined = "identity >> f = f", "f >> identity = f", "(identity >> f) >> identity = identity >> (f >> identity)"
	if _, ok := t.lookup[Identity]; !ok {
		why := "there is no " + Identity
		return []Law{{left, Unchecked, why}, {right, Unchecked, why}, {joined, Unchecked, why}}
	}
	step.Clauses = slices.DeleteFunc(slices.Clone(step.Clauses), func(c agentese.Clause) bool { return isLawCheck(c.Key) })
	f := agentese.Expression{Steps: []agentese.Step{step}}
	id := agentese.Expression{Steps: []agentese.Step{agentese.NewStep(agentese.Manifest, "concept", "identity")}}

	var failed error
	run := func(e agentese.Expression, input *Value) Value {
		if failed != nil {
			return Value{}
		}
		v, err := t.RunWith(ctx, e, s, input)
		failed = err
		return v
	}
	before := run(id.Then(f), input)
	behind := run(f.Then(id), input)
	oneWay := run(id, &before)
	between := run(id, input)
	other := run(f.Then(id), &between)
	if failed != nil {
		why := "it could not be looked at again: " + failed.Error()
		return []Law{{left, Unchecked, why}, {right, Unchecked, why}, {joined, Unchecked, why}}
	}
	return []Law{law(left, before, out), law(right, behind, out), law(joined, oneWay, other)}
}

func law(text string, a, b Value) Law {
	a.Path, b.Path, a.Laws, b.Laws = "", "", nil, nil // the one of the step as it is written has the clause
	switch {
	case reflect.DeepEqual(a, b):
		return Law{Law: text, Verdict: Held}
	case reflect.DeepEqual(shape(a), shape(b)):
		return Law{Law: text, Verdict: Moved, Why: "the same fields and columns, with figures that moved between two looks"}
	default:
		return Law{Law: text, Verdict: Broken, Why: "two looks gave different fields or columns"}
	}
}

// shape is a value without its figures, which may move between two looks.
func shape(v Value) []string {
	out := []string{"fields"}
	for _, f := range v.Fields {
		out = append(out, f.Name)
	}
	if v.Table != nil {
		out = append(out, "table")
		for _, c := range v.Table.Columns {
			out = append(out, c.Name)
		}
	}
	return out
}
