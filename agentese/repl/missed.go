package repl

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/match"
	"github.com/kgents/kgents/agentese/tree"
)

// namesWithin is how long is waited for live names when one that was written isn't there.
const namesWithin = 2 * time.Second

// tried is what becomes of an expression that was tried as it stands. A live name that is
// mistyped (a customer, an alert, the value of a clause) comes to light only then: the
// step is not found, or has nothing to show. It is mended like any other mistake.
func (s *Shell) tried(ctx context.Context, line string, out outcome) outcome {
	e, failed := errors.AsType[*agentese.Error](out.err)
	missed := failed && out.value == nil && (e.Kind == agentese.KindNotFound || e.Kind == agentese.KindClause)
	bare := out.err == nil && !out.value.Changed && out.value.Table != nil && len(out.value.Table.Rows) == 0
	if !missed && !bare {
		return out
	}
	x, err := agentese.Parse(out.expr)
	if err != nil || bare && !byName(s.tree, x) {
		return out
	}
	s.nameAll(ctx, x)
	c := s.match.Correct(line, s.Place(), s.session.Observer)
	if c.Verdict == match.Exact || c.Verdict == match.None {
		return out
	}
	if !s.strict && c.Verdict == match.Sure && !shorter(c.Candidates[0].Expr, x) {
		best := c.Candidates[0]
		if e, err := agentese.Parse(best.Expr); err == nil && !s.changes(e) {
			done := s.run(ctx, e)
			done.said = []string{corrected(best)}
			return done
		}
	}
	if bare {
		return s.doubted(out, c)
	}
	if s.strict || s.ask == nil || shorter(c.Candidates[0].Expr, x) {
		return s.hinted(ctx, out, e, line)
	}
	return s.pick(ctx, line, distinct(offersOf(s, c)), "", out)
}

// doubted is an answer without a row, to a clause with a name that isn't there: nothing
// is not said of who may have been meant.
func (s *Shell) doubted(out outcome, c match.Correction) outcome {
	best := c.Candidates[0]
	v := *out.value
	v.Note("A clause has a name that is not there (" + best.Why + "?), so this says nothing of what it was written for.")
	for _, x := range c.Candidates[:min(len(c.Candidates), 2)] {
		v.Then(x.Expr, x.Why)
	}
	out.value = &v
	return out
}

// shorter says whether a correction has left a name out: then it is none of that name.
func shorter(expr string, than agentese.Expression) bool {
	e, err := agentese.Parse(expr)
	if err != nil || len(e.Steps) != len(than.Steps) {
		return true
	}
	for i, step := range e.Steps {
		if len(step.Names) < len(than.Steps[i].Names) {
			return true
		}
	}
	return false
}

// byName says whether a clause of an expression has a live name for its value.
func byName(t *tree.Tree, e agentese.Expression) bool {
	all := &tree.Session{Observer: tree.Admin}
	for _, step := range e.Steps {
		_, a, err := t.Resolve(step, all)
		if err != nil {
			return false
		}
		for _, p := range tree.ParamsOf(a) {
			for _, c := range step.Clauses {
				if p.Of != "" && strings.EqualFold(c.Key, p.Key) {
					return true
				}
			}
		}
	}
	return false
}

// nameAll finds the live names that an expression goes by, those too that are below
// another live name.
func (s *Shell) nameAll(ctx context.Context, e agentese.Expression) {
	ctx, cancel := context.WithTimeout(ctx, namesWithin)
	defer cancel()
	s.names.Refresh(ctx)
	for _, step := range e.Steps {
		names := step.Texts()
		for i := 2; i < len(names); i++ {
			s.names.Below(ctx, names[:i])
		}
	}
	s.know()
}
