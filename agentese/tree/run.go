package tree

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/kgents/kgents/agentese"
)

// Run does an expression's steps, each with the output of the one before. It is the
// only way in: who may do what is decided here. Its error is an *agentese.Error, or
// the context's.
func (t *Tree) Run(ctx context.Context, e agentese.Expression, s *Session) (Value, error) {
	return t.RunWith(ctx, e, s, nil)
}

// RunWith is Run with an input for the first step.
func (t *Tree) RunWith(ctx context.Context, e agentese.Expression, s *Session, input *Value) (Value, error) {
	// All steps are looked at before the first is done: a pipeline doesn't change half.
	calls := make([]*Call, len(e.Steps))
	affords := make([]*Affordance, len(e.Steps))
	for i, step := range e.Steps {
		c, a, err := t.Resolve(step, s)
		if err != nil {
			return Value{}, err
		}
		if (i > 0 || input != nil) && a.Takes == "" {
			return Value{}, &agentese.Error{
				Kind: agentese.KindSyntax, Pos: step.Names[0].Pos, End: step.Aspect.End,
				What: step.Path() + "." + step.Aspect.Text + " takes nothing, and something is piped into it",
				Why:  "what the step before gives would be lost", Try: []string{"concept.identity.manifest takes anything; help >> lists the others"},
			}
		}
		calls[i], affords[i] = c, a
	}
	var out Value
	for i, c := range calls {
		c.Input = input
		v, err := t.step(ctx, affords[i], c)
		if err != nil {
			return v, err
		}
		if err := narrow(&v, c.Args); err != nil {
			return v, err
		}
		if c.Args.Flag("minimal_output") {
			v.Notes, v.Next = nil, nil
		}
		out = v
		input = &out
	}
	return out, nil
}

func (t *Tree) step(ctx context.Context, a *Affordance, c *Call) (Value, error) {
	if a.Change != nil {
		v, err := t.change(ctx, a, c)
		v.Path = c.Text
		return v, t.explain(err, c)
	}
	v, err := a.See(ctx, c)
	if err != nil {
		return v, t.explain(err, c)
	}
	// What passes through the identity keeps its own.
	if v.Path == "" {
		v.Path = c.Text
	}
	if c.Args.Flag("law_check") {
		again, err := a.See(ctx, c)
		same := err == nil && reflect.DeepEqual(shape(v), shape(again))
		v.Add("law_check", fmt.Sprintf("the same twice, as the identity law asks: %t", same), "")
	}
	return v, nil
}

// shape is a value without its figures, which may move between two looks.
func shape(v Value) []string {
	var out []string
	for _, f := range v.Fields {
		out = append(out, f.Name)
	}
	if v.Table != nil {
		for _, c := range v.Table.Columns {
			out = append(out, c.Name)
		}
	}
	return out
}

// explain makes an error one of the language's.
func (t *Tree) explain(err error, c *Call) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	if _, ok := errors.AsType[*agentese.Error](err); ok {
		return err
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
			Why:  "there are " + strings.Join(t.ChildNames(canonical), ", "),
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
	for _, n := range step.Annotations {
		if n.Key != "span" && n.Key != "phase" && n.Key != "note" {
			return nil, nil, &agentese.Error{Kind: agentese.KindAnnotation, Pos: n.Pos, End: n.End, What: "there is no annotation @" + n.Key, Why: "there are @span=, @phase= and @note="}
		}
	}
	c := &Call{Path: agentese.JoinPath(canonical...), Names: live, Args: args, Aspect: aspect, Observer: s.Observer, Session: s, Tree: t, Text: step.String(), Span: args.Get("span")}
	if n, ok := step.Annotation("span"); ok {
		c.Span = n.Value
	}
	return c, a, nil
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
			v := Value{Title: c.Path, Table: &Table{Columns: []Column{{Name: "aspect"}, {Name: "what"}, {Name: "observer"}, {Name: "open"}, {Name: "clauses"}}}}
			for _, a := range p.Node.Aspects() {
				own, ok := p.Node.Affordance(a)
				if !ok {
					own = t.builtin(p, a)
				}
				v.Table.Rows = append(v.Table.Rows, []any{string(a), own.Line, own.Least().String(), c.Observer.May(*own), strings.Join(keys(own.Params), ", ")})
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
