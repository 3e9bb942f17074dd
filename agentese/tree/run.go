package tree

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/kgents/kgents/agentese"
)

// Run does an expression's steps, each with the output of the one before. It is the
// only way in: who may do what is decided here. Its error is an *agentese.Error, or
// the context's where that has ended before anything was changed. What an error comes
// with is the value of the last step that has changed something, if one has.
func (t *Tree) Run(ctx context.Context, e agentese.Expression, s *Session) (Value, error) {
	return t.RunWith(ctx, e, s, nil)
}

// RunWith is Run with an input for the first step. An empty input is none: it is what
// the identity gives without one. An expression without steps gives its input back.
func (t *Tree) RunWith(ctx context.Context, e agentese.Expression, s *Session, input *Value) (Value, error) {
	if input != nil && input.Empty() {
		input = nil
	}
	// All steps are looked at before the first is done: a pipeline doesn't change half.
	calls := make([]*Call, len(e.Steps))
	affords := make([]*Affordance, len(e.Steps))
	piped := input != nil
	for i, step := range e.Steps {
		c, a, err := t.Resolve(step, s)
		if err != nil {
			return Value{}, err
		}
		if piped && a.Takes == "" {
			return Value{}, &agentese.Error{
				Kind: agentese.KindSyntax, Pos: step.Names[0].Pos, End: step.Aspect.End,
				What: step.Path() + "." + step.Aspect.Text + " takes nothing, and something is piped into it",
				Why:  "what the step before gives would be lost", Try: []string{"concept.identity.manifest takes anything; affordances says what the others take"},
			}
		}
		calls[i], affords[i] = c, a
		piped = piped || !c.identity()
	}
	var out, made Value // made is what the last step that changed something gave
	if input != nil {
		out = *input
	}
	for i, c := range calls {
		c.Input = input
		v, err := t.step(ctx, affords[i], c)
		if err != nil {
			if made.Changed && !v.Changed {
				v = made // what was done, and a secret that is told once, is not lost with it
			}
			return v, at(e.Steps[i], err)
		}
		if err := narrow(&v, c.Args); err != nil {
			if made.Changed {
				v = made
			}
			return v, err
		}
		if v.Changed && !c.identity() {
			made = v
		}
		if c.Args.Flag("minimal_output") {
			v.Notes, v.Next = nil, nil
		}
		if c.Args.Flag("law_check") {
			v.Laws = t.lawsOf(ctx, e.Steps[i], s, input, v)
		}
		if out = v; !v.Empty() {
			input = &v
		}
	}
	out.Changed = out.Changed || made.Changed
	return out, nil
}

// at is the error with the step as its place, if it has none.
func at(s agentese.Step, err error) error {
	e, ok := err.(*agentese.Error)
	if !ok || e.End > 0 || len(s.Names) == 0 {
		return err
	}
	placed := *e // a node may keep its own
	placed.Pos, placed.End = s.Names[0].Pos, s.Aspect.End
	return &placed
}

func (t *Tree) step(ctx context.Context, a *Affordance, c *Call) (Value, error) {
	if err := ctx.Err(); err != nil {
		return Value{}, err
	}
	var v Value
	var err error
	if a.changes(c.Args) {
		v, err = change(ctx, a, c)
		v.Path = c.Text
	} else {
		v, err = a.See(ctx, c)
		err = explain(ctx, err, c)
	}
	// What passes through the identity keeps its own.
	if v.Path == "" && !c.identity() {
		v.Path = c.Text
	}
	if v.Table != nil && len(v.Table.Rows) > MaxRows {
		cut := *v.Table
		cut.Total, cut.Rows = max(cut.Total, len(cut.Rows)), cut.Rows[:MaxRows]
		v.Table = &cut
	}
	return v, err
}

// explain makes the error of what has only read one of the language's, or, where that
// is why it failed, the context's.
func explain(ctx context.Context, err error, c *Call) error {
	if err == nil {
		return nil
	}
	if ended := ctx.Err(); ended != nil && errors.Is(err, ended) {
		return ended
	}
	if e, ok := errors.AsType[*agentese.Error](err); ok {
		return e
	}
	return &agentese.Error{Kind: agentese.KindFailed, What: c.Path + " can't be looked at", Why: err.Error(), Cause: err}
}

// Resolve finds what a step means, and whether this session may do it. Nothing is run.
func (t *Tree) Resolve(step agentese.Step, s *Session) (*Call, *Affordance, error) {
	names := step.Texts()
	place, live, canonical, depth := t.Find(names)
	if depth < len(names) {
		at := step.Names[depth]
		where := "the five contexts"
		if depth > 0 {
			where = agentese.JoinPath(canonical...)
		}
		return nil, nil, &agentese.Error{
			Kind: agentese.KindNotFound, Pos: at.Pos, End: at.End,
			What: fmt.Sprintf("there is no %s in %s", agentese.QuoteName(at.Text), where),
			Why:  t.below(canonical),
		}
	}
	aspect := agentese.Aspect(strings.ToLower(step.Aspect.Text))
	a, ok := place.Node.Affordance(aspect)
	if !ok {
		a = t.builtin(place, aspect)
	}
	if a == nil {
		e := &agentese.Error{
			Kind: agentese.KindNotFound, Pos: step.Aspect.Pos, End: step.Aspect.End,
			What: fmt.Sprintf("%s has no aspect %s", agentese.JoinPath(canonical...), agentese.QuoteName(step.Aspect.Text)),
			Why:  "it has " + join(words(place.Node.Aspects()), "and"),
		}
		if t.has(place.Node, step.Aspect.Text) {
			e.What = fmt.Sprintf("%s.%s has no aspect", agentese.JoinPath(canonical...), agentese.QuoteName(step.Aspect.Text))
			e.Why = "a path ends with what is to be done"
			e.Try = []string{agentese.JoinPath(append(canonical, step.Aspect.Text)...) + ".manifest"}
		}
		return nil, nil, e
	}
	if !s.Observer.May(*a) {
		kind := agentese.KindDenied
		if s.Observer == Default {
			kind = agentese.KindObserver
		}
		return nil, nil, &agentese.Error{
			Kind: kind, Pos: step.Aspect.Pos, End: step.Aspect.End,
			What: fmt.Sprintf("%s.%s is not open to the observer %s", agentese.JoinPath(canonical...), aspect, s.Observer),
			Why:  fmt.Sprintf("it needs %s or more", a.Least()), Try: []string{"/observer " + a.Least().String()},
		}
	}
	args, err := readArgs(step, a, s.now())
	if err != nil {
		return nil, nil, err
	}
	annotated, err := readAnnotations(step)
	if err != nil {
		return nil, nil, err
	}
	c := &Call{
		Path: agentese.JoinPath(canonical...), Names: live, Args: args, Aspect: aspect, Observer: s.Observer, Session: s, Tree: t, Text: step.String(),
		Span: cmp.Or(annotated["span"], args.Get("span")), Entropy: entropyOf(args),
	}
	return c, a, nil
}

// below says what is at a path.
func (t *Tree) below(canonical []string) string {
	if names := t.ChildNames(canonical); len(names) > 0 {
		return "there are " + join(names, "and")
	}
	return "nothing is below it"
}

func words[T ~string](in []T) []string {
	out := make([]string, len(in))
	for i, w := range in {
		out[i] = string(w)
	}
	return out
}

func (t *Tree) has(n *Node, child string) bool {
	for _, c := range n.Children {
		if strings.EqualFold(c.Name, child) {
			return true
		}
	}
	return n.Live != nil
}

// ChildNames are the fixed names below a path, and {what} for live ones.
func (t *Tree) ChildNames(names []string) []string {
	var out []string
	if len(names) == 0 {
		for _, c := range t.Contexts {
			out = append(out, c.Name)
		}
		return out
	}
	p, _, _, depth := t.Find(names)
	if depth < len(names) {
		return nil
	}
	for _, c := range p.Node.Children {
		out = append(out, c.Name)
	}
	if p.Node.Live != nil {
		out = append(out, "{"+p.Node.Live.Node.Name+"}")
	}
	return out
}

// builtin are the aspects that every node has by its documentation.
func (t *Tree) builtin(p Place, a agentese.Aspect) *Affordance {
	switch a {
	case agentese.Define:
		return &Affordance{Aspect: a, Line: "what it is", See: func(_ context.Context, c *Call) (Value, error) {
			return Value{Title: c.Path + ": " + p.Node.Line, Text: p.Node.Doc, Next: examples(p.Node)}, nil
		}}
	case agentese.Affordances:
		return &Affordance{Aspect: a, Line: "what can be done here, and by whom", See: func(_ context.Context, c *Call) (Value, error) {
			v := Value{Title: c.Path, Table: &Table{Columns: []Column{{Name: "aspect"}, {Name: "what"}, {Name: "observer"}, {Name: "open"}, {Name: "clauses"}, {Name: "takes"}}}}
			for _, a := range p.Node.Aspects() {
				own, ok := p.Node.Affordance(a)
				if !ok {
					own = t.builtin(p, a)
				}
				v.Table.Rows = append(v.Table.Rows, []any{string(a), own.Line, own.Least().String(), c.Observer.May(*own), strings.Join(keys(own.Params), ", "), own.Takes})
			}
			return v, nil
		}}
	}
	return nil
}

func examples(n *Node) []Example {
	var out []Example
	for _, a := range n.Affords {
		out = append(out, a.Examples...)
	}
	return out
}
