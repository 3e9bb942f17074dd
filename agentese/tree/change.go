package tree

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kgents/kgents/agentese"
)

// Change is a plan, made by reading alone.
type Change struct {
	Does     []string // what would be done, a line each, with counts and names
	Warnings []string // what to think of before
	Affects  int      // how many things; 0 with Nothing
	Nothing  bool     // there is nothing to do: no question, no audit line

	Do func(ctx context.Context) (Value, error)

	// Holds says whether the change had its effect; nil: it has when Do returns.
	// It is asked every second until it holds or time is up.
	Holds func(ctx context.Context) error

	// Undo takes it back; nil if that can't be, with Final saying why.
	Undo  func(ctx context.Context) error
	Final string
}

// Preview is a plan as it is shown.
type Preview struct {
	Text     string // the step
	Does     []string
	Warnings []string
	CanUndo  bool
	Final    string
	Rollback time.Duration // 0: no undoing by itself
}

// AuditEntry is one line of the audit.
type AuditEntry struct {
	Time     time.Time `json:"time"`
	Observer string    `json:"observer"`
	Text     string    `json:"expression"`
	Span     string    `json:"span,omitempty"`
	Does     []string  `json:"does"`
	Outcome  string    `json:"outcome"` // begun, done, failed, undone, declined
	Error    string    `json:"error,omitempty"`
}

// defaultRollback is what [rollback] alone means.
const defaultRollback = 30 * time.Second

func rollbackOf(args Args) (time.Duration, error) {
	switch v := args.Get("rollback"); v {
	case "", "false":
		return 0, nil
	case "true":
		return defaultRollback, nil
	default:
		d, err := ParseDuration(v)
		if err != nil || d > time.Hour {
			return 0, &agentese.Error{Kind: agentese.KindClause, What: "[rollback=" + v + "]: use true, false or a time up to 1h", Try: []string{"[rollback=2m]"}}
		}
		return d, nil
	}
}

// change plans, shows, asks, writes down, does, checks and undoes.
func (t *Tree) change(ctx context.Context, a *Affordance, c *Call) (Value, error) {
	s := c.Session
	rollback, err := rollbackOf(c.Args)
	if err != nil {
		return Value{}, err
	}
	plan, err := a.Change(ctx, c)
	if err != nil {
		return Value{}, err
	}
	if plan.Nothing {
		return Value{Title: "Nothing to do", Notes: plan.Does}, nil
	}
	if rollback > 0 && plan.Undo == nil {
		return Value{}, &agentese.Error{
			Kind: agentese.KindDeclined, What: "this can't be undone, and [rollback] asks for that", Why: plan.Final,
			Try: []string{"leave [rollback] out, or look at it first with [dry_run=true]"},
		}
	}
	p := Preview{Text: c.Text, Does: plan.Does, Warnings: plan.Warnings, CanUndo: plan.Undo != nil, Final: plan.Final, Rollback: rollback}
	if c.Args.Flag("dry_run") {
		v := Value{Title: "Dry run: nothing was changed", Notes: plan.Warnings}
		for _, line := range plan.Does {
			v.Text += "would " + line + "\n"
		}
		return v, nil
	}
	entry := AuditEntry{Observer: s.Observer.String(), Text: c.Text, Span: c.Span, Does: plan.Does}
	note := func(outcome string, err error) error {
		if s.Audit == nil {
			return nil
		}
		entry.Time, entry.Outcome, entry.Error = s.now().UTC(), outcome, ""
		if err != nil {
			entry.Error = err.Error()
		}
		return s.Audit(entry)
	}
	if !s.Yes && !c.Args.Flag("yes") {
		if s.Confirm == nil {
			return Value{}, &agentese.Error{
				Kind: agentese.KindDeclined, What: "this changes something, and there is nobody to ask",
				Why: "it would " + plan.Does[0], Try: []string{"add [yes] to do it, or [dry_run=true] to see all of it"},
			}
		}
		ok, err := s.Confirm(ctx, p)
		if err != nil {
			return Value{}, err
		}
		if !ok {
			return Value{}, errors.Join(&agentese.Error{Kind: agentese.KindDeclined, What: "nothing was changed", Why: "it was not confirmed"}, note("declined", nil))
		}
	}
	if err := note("begun", nil); err != nil {
		return Value{}, &agentese.Error{Kind: agentese.KindFailed, What: "the audit line can't be written, so nothing was changed", Why: err.Error(), Cause: err}
	}
	v, err := plan.Do(ctx)
	v.Changed = true
	if err == nil && plan.Holds != nil && rollback > 0 {
		err = hold(ctx, plan.Holds, rollback)
	}
	if err != nil && rollback > 0 {
		// Undone also when the shell was interrupted meanwhile.
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		if failed := plan.Undo(undo); failed != nil {
			err = fmt.Errorf("%w; undoing it failed, too: %w", err, failed)
			return v, errors.Join(failedTo(c, err), note("failed", err))
		}
		return v, errors.Join(&agentese.Error{Kind: agentese.KindFailed, What: "it was undone", Why: err.Error(), Cause: err}, note("undone", err))
	}
	if err != nil {
		return v, errors.Join(failedTo(c, err), note("failed", err))
	}
	if err := note("done", nil); err != nil {
		v.Note("The change is done, but its audit line could not be written: " + err.Error())
	}
	return v, nil
}

func failedTo(c *Call, err error) error {
	if e, ok := errors.AsType[*agentese.Error](err); ok && e == err {
		return e
	}
	return &agentese.Error{Kind: agentese.KindFailed, What: c.Text + " failed", Why: err.Error(), Cause: err}
}

// hold asks until the change holds; its error is the last one when time is up.
func hold(ctx context.Context, holds func(context.Context) error, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		err := holds(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it did not hold within %s: %w", within, err)
		case <-tick.C:
		}
	}
}
