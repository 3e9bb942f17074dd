package tree

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
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
	// It is asked every second until it holds or time is up: that of [rollback], else
	// Within, after which the change stands and its Value says that it was not seen.
	Holds  func(ctx context.Context) error
	Within time.Duration // 0: some seconds

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

// How long a change has to hold for [rollback] alone, how long it may be given, how
// long undoing may take, and how long the effect of what is not undone is waited for.
const (
	defaultRollback = 30 * time.Second
	longestRollback = time.Hour
	undoTimeout     = 30 * time.Second
	lookAfter       = 3 * time.Second // for Holds without [rollback]
)

// readRollback reads the clause's value; 0 is no undoing.
func readRollback(v string) (time.Duration, error) {
	switch strings.ToLower(v) {
	case "", "false":
		return 0, nil
	case "true":
		return defaultRollback, nil
	}
	d, err := ParseDuration(v)
	if err != nil || d > longestRollback {
		return 0, fmt.Errorf("use true, false or a time up to %s", span(longestRollback))
	}
	return d, nil
}

// change plans, shows, asks, writes down, does, checks and undoes.
//
//	outcome   audit lines        what has happened
//	declined  declined           nothing: it was not confirmed
//	done      begun, done        Do has returned and, with [rollback], Holds has, too
//	failed    begun, failed      Do has failed, without [rollback] or because it was refused; or Undo has
//	undone    begun, undone      with [rollback], Do has failed, it didn't hold in time, or it was interrupted; Undo has returned
//
// A dry run, a plan of nothing, and what is refused before it was asked about have no
// audit line. Without the first line nothing is done.
func change(ctx context.Context, a *Affordance, c *Call) (Value, error) {
	plan, err := a.Change(ctx, c)
	if err != nil {
		return Value{}, explain(ctx, err, c)
	}
	if plan.Nothing {
		return Value{Title: "Nothing to do", Notes: plan.Does}, nil
	}
	if len(plan.Does) == 0 || plan.Do == nil {
		return Value{}, &agentese.Error{Kind: agentese.KindFailed, What: c.Path + " doesn't say what it would do", Why: "so nothing was changed"}
	}
	rollback, _ := readRollback(c.Args.Get("rollback")) // checked when it was read
	if rollback > 0 && plan.Undo == nil {
		return Value{}, &agentese.Error{
			Kind: agentese.KindDeclined, What: "this can't be undone, and [rollback] asks for that", Why: plan.Final,
			Try: []string{"leave [rollback] out, and look at it first with [dry_run]"},
		}
	}
	p := Preview{Text: c.Text, Does: plan.Does, Warnings: plan.Warnings, CanUndo: plan.Undo != nil, Final: plan.Final, Rollback: rollback}
	if c.Args.Flag("dry_run") {
		return p.value(), nil
	}
	audit := auditor{session: c.Session, entry: AuditEntry{Observer: c.Observer.String(), Text: c.Text, Span: c.Span, Does: plan.Does}}
	if err := consent(ctx, c, p, &audit); err != nil {
		return Value{}, err
	}
	if err := audit.note("begun", nil); err != nil {
		return Value{}, &agentese.Error{Kind: agentese.KindFailed, What: "the audit line can't be written, so nothing was changed", Why: err.Error(), Cause: err}
	}
	v, err := plan.Do(ctx)
	v.Changed = true
	if err == nil && plan.Holds != nil && rollback > 0 {
		err = hold(ctx, plan.Holds, rollback)
	}
	switch {
	case err == nil:
		if err := audit.note("done", nil); err != nil {
			v.Note("The change is done, but its audit line could not be written: " + err.Error())
		}
		if plan.Holds != nil && rollback == 0 {
			seen := hold(ctx, plan.Holds, cmp.Or(plan.Within, lookAfter))
			held := seen == nil
			if v.Held = &held; !held {
				v.Note("It is done, but its effect was not seen: " + seen.Error())
			}
		}
		return v, nil
	case rollback == 0:
		return v, audit.failed(err)
	case refused(err):
		// Undoing what was never done would undo another's.
		v.Changed = false
		return v, audit.failed(err)
	}
	// Undone also when the shell was interrupted meanwhile.
	undoing, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	if wrong := plan.Undo(undoing); wrong != nil {
		return v, audit.failed(fmt.Errorf("%w; undoing it failed, too: %w", err, wrong))
	}
	v.Changed = false
	return v, audit.unwritten(&agentese.Error{Kind: agentese.KindFailed, What: "it was undone", Why: err.Error(), Cause: err}, audit.note("undone", err))
}

// refused says that nothing was done, since whoever was asked has refused it.
func refused(err error) bool {
	r, ok := errors.AsType[interface {
		error
		Refused() bool
	}](err)
	return ok && r.Refused()
}

// consent is nil if the change is agreed to.
func consent(ctx context.Context, c *Call, p Preview, audit *auditor) error {
	if c.Session.Yes || c.Args.Flag("yes") {
		return nil
	}
	if c.Session.Confirm == nil {
		return &agentese.Error{
			Kind: agentese.KindDeclined, What: "this changes something, and there is nobody to ask",
			Why: "it would " + p.Does[0], Try: []string{"add [yes] to do it, or [dry_run] to see all of it"},
		}
	}
	ok, err := c.Session.Confirm(ctx, p)
	if err == nil {
		err = ctx.Err() // an answer that came too late is none
	}
	if err != nil {
		return explain(ctx, err, c)
	}
	if !ok {
		return audit.unwritten(&agentese.Error{Kind: agentese.KindDeclined, What: "nothing was changed", Why: "it was not confirmed"}, audit.note("declined", nil))
	}
	return nil
}

// value is the preview as a dry run gives it.
func (p Preview) value() Value {
	v := Value{Title: "Dry run: nothing was changed. What it would do:"}
	for _, line := range p.Does {
		v.Text += "- " + line + "\n"
	}
	v.Notes = append(v.Notes, p.Warnings...)
	switch {
	case p.Rollback > 0:
		v.Note("It would be undone if it didn't hold within " + span(p.Rollback))
	case p.CanUndo:
		v.Note("It can be undone: with [rollback] it is if it fails")
	case p.Final != "":
		v.Note("It can't be undone: " + p.Final)
	}
	return v
}

// auditor writes the lines of one change.
type auditor struct {
	session *Session
	entry   AuditEntry
}

func (a *auditor) note(outcome string, err error) error {
	if a.session.Audit == nil {
		return nil
	}
	a.entry.Time, a.entry.Outcome, a.entry.Error = a.session.now().UTC(), outcome, ""
	if err != nil {
		a.entry.Error = err.Error()
	}
	return a.session.Audit(a.entry)
}

// failed writes down that the change has failed, and is its error.
func (a *auditor) failed(err error) error {
	e := &agentese.Error{Kind: agentese.KindFailed, What: a.entry.Text + " failed", Why: err.Error(), Cause: err}
	if own, ok := err.(*agentese.Error); ok {
		copied := *own // a node may keep its own
		e = &copied
	}
	return a.unwritten(e, a.note("failed", err))
}

// unwritten is e, which also says it if its audit line could not be written.
func (a *auditor) unwritten(e *agentese.Error, err error) error {
	if err != nil {
		e.Why += "; and the audit line could not be written: " + err.Error()
		e.Cause = errors.Join(e.Cause, err)
	}
	return e
}

// hold asks until the change holds; its error is the last one when time is up. An answer
// that the end of the time has cut says nothing, where there was one before.
func hold(ctx context.Context, holds func(context.Context) error, within time.Duration) error {
	asking, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var last error
	for {
		err := holds(asking)
		if err == nil {
			return nil
		}
		if asking.Err() == nil || last == nil {
			last = err
		}
		select {
		case <-asking.Done():
		case <-tick.C:
			if asking.Err() == nil {
				continue
			}
		}
		if ended := ctx.Err(); ended != nil {
			return fmt.Errorf("it was interrupted before it held: %w", ended)
		}
		return fmt.Errorf("it did not hold within %s: %w", span(within), last)
	}
}
