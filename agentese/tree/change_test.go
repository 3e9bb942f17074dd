package tree

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/kgents/kgents/agentese"
)

// audited is a session of an admin, and what it has written down.
func audited() (*Session, *[]AuditEntry) {
	var lines []AuditEntry
	s := admin()
	s.Audit = func(e AuditEntry) error { lines = append(lines, e); return nil }
	return s, &lines
}

func outcomes(lines []AuditEntry) string {
	var out []string
	for _, l := range lines {
		if l.Error != "" {
			l.Outcome += "(" + l.Error + ")"
		}
		out = append(out, l.Outcome)
	}
	return strings.Join(out, ", ")
}

// A change is shown, asked about, written down, and done.
func TestChange(t *testing.T) {
	tree, p := small(t)
	s, lines := audited()
	var shown []Preview
	s.Confirm = func(_ context.Context, p Preview) (bool, error) { shown = append(shown, p); return true, nil }
	v, err := tree.Run(t.Context(), parse(t, "world.plant.refine[replicas=3]@span=friday"), s)
	if err != nil {
		t.Fatal(err)
	}
	const text = "world.plant.refine[replicas=3]@span=friday"
	if d := cmp.Diff(Value{Path: text, Title: "scaled", Changed: true}, v); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	does := []string{"scale from 1 to 3"}
	if d := cmp.Diff([]Preview{{Text: text, Does: does, CanUndo: true}}, shown); d != "" {
		t.Errorf("shown (-want +got):\n%s", d)
	}
	entry := AuditEntry{Time: noon, Observer: "admin", Text: text, Span: "friday", Does: does, Outcome: "begun"}
	done := entry
	done.Outcome = "done"
	if d := cmp.Diff([]AuditEntry{entry, done}, *lines); d != "" {
		t.Errorf("audit (-want +got):\n%s", d)
	}
	if p.replicas != 3 {
		t.Errorf("%d replicas", p.replicas)
	}
}

// What a session and its clauses make of the same change.
func TestConsent(t *testing.T) {
	no := func(context.Context, Preview) (bool, error) { return false, nil }
	never := func(context.Context, Preview) (bool, error) { panic("nobody is to be asked") }
	for _, test := range []struct {
		what    string
		clauses string
		confirm func(context.Context, Preview) (bool, error)
		yes     bool

		kind     agentese.Kind // empty: no error
		why      string
		replicas int64
		audit    string
		title    string
	}{
		{"nobody to ask", "", nil, false, agentese.KindDeclined, "it would scale from 1 to 2", 1, "", ""},
		{"no", "", no, false, agentese.KindDeclined, "it was not confirmed", 1, "declined", ""},
		{"yes by clause", "[yes]", never, false, "", "", 2, "begun, done", "scaled"},
		{"not yes by clause", "[yes=false]", no, false, agentese.KindDeclined, "it was not confirmed", 1, "declined", ""},
		{"yes by session", "", never, true, "", "", 2, "begun, done", "scaled"},
		{"dry run", "[dry_run]", never, false, "", "", 1, "", "Dry run: nothing was changed. What it would do:"},
		{"dry run and yes", "[dry_run][yes]", never, true, "", "", 1, "", "Dry run: nothing was changed. What it would do:"},
		{"nothing to do", "[replicas=1]", never, false, "", "", 1, "", "Nothing to do"},
		{"nothing to undo, either", "[replicas=1][rollback]", never, false, "", "", 1, "", "Nothing to do"},
		{"it can't be asked", "", func(context.Context, Preview) (bool, error) { return true, errors.New("no terminal") }, false, agentese.KindFailed, "no terminal", 1, "", ""},
	} {
		tree, p := small(t)
		s, lines := audited()
		s.Confirm, s.Yes = test.confirm, test.yes
		v, err := tree.Run(t.Context(), parse(t, "world.plant.refine"+test.clauses), s)
		if test.kind == "" {
			if err != nil {
				t.Errorf("%s: %v", test.what, err)
			}
		} else if e := language(t, err); e.Kind != test.kind || e.Why != test.why {
			t.Errorf("%s: %v", test.what, err)
		}
		if p.replicas != test.replicas || outcomes(*lines) != test.audit || v.Title != test.title {
			t.Errorf("%s: %d replicas, %q, audit %s", test.what, p.replicas, v.Title, outcomes(*lines))
		}
		if v.Changed != (p.replicas != 1) {
			t.Errorf("%s: changed is %t", test.what, v.Changed)
		}
	}
}

func TestDryRun(t *testing.T) {
	plan := &Change{Does: []string{"drop 3", "forget them"}, Warnings: []string{"they don't come back"}, Final: "they are gone", Do: func(context.Context) (Value, error) { panic("done") }}
	for _, test := range []struct {
		clauses string
		undo    func(context.Context) error
		note    string
	}{
		{"[dry_run]", nil, "It can't be undone: they are gone"},
		{"[dry_run]", func(context.Context) error { return nil }, "It can be undone: with [rollback] it is if it fails"},
		{"[dry_run][rollback=2m]", func(context.Context) error { return nil }, "It would be undone if it didn't hold within 2m"},
	} {
		tree, p := small(t)
		p.change = plan
		p.change.Undo = test.undo
		v, err := tree.Run(t.Context(), parse(t, "world.plant.refine"+test.clauses), admin())
		want := Value{
			Path: "world.plant.refine" + test.clauses, Title: "Dry run: nothing was changed. What it would do:",
			Text: "- drop 3\n- forget them\n", Notes: []string{"they don't come back", test.note},
		}
		if d := cmp.Diff(want, v); d != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", test.clauses, err, d)
		}
	}
}

// A change sees what is piped into it already when it plans.
func TestChangeOfInput(t *testing.T) {
	tree, _ := small(t)
	s, lines := audited()
	s.Yes = true
	if _, err := tree.Run(t.Context(), parse(t, "world.customers.manifest[where=plan=free] >> world.plant.refine >> world.counter.lens"), s); err != nil {
		t.Fatal(err)
	}
	if len(*lines) != 2 || (*lines)[0].Does[0] != "scale from 1 to 2 for 2 rows" {
		t.Errorf("audit: %+v", *lines)
	}
	v, err := tree.Run(t.Context(), parse(t, "world.customers.manifest >> world.plant.refine[replicas=5][dry_run]"), s)
	if err != nil || v.Text != "- scale from 2 to 5 for 4 rows\n" {
		t.Errorf("dry run: %+v, %v", v, err)
	}
}

// Without its first line in the audit nothing is done; without the last one it is told.
func TestAuditFails(t *testing.T) {
	full := errors.New("the disk is full")
	for _, test := range []struct {
		what     string
		works    int // so many lines can be written
		confirm  bool
		replicas int64
		err      string
		note     string
	}{
		{"the first", 0, true, 1, "failed: the audit line can't be written, so nothing was changed: the disk is full", ""},
		{"the last", 1, true, 2, "", "The change is done, but its audit line could not be written: the disk is full"},
		{"a no", 0, false, 1, "not done: nothing was changed: it was not confirmed; and the audit line could not be written: the disk is full", ""},
	} {
		tree, p := small(t)
		s := admin()
		left := test.works
		s.Audit = func(AuditEntry) error {
			if left--; left < 0 {
				return full
			}
			return nil
		}
		s.Confirm = func(context.Context, Preview) (bool, error) { return test.confirm, nil }
		v, err := tree.Run(t.Context(), parse(t, "world.plant.refine"), s)
		if test.err == "" {
			if err != nil || len(v.Notes) != 1 || v.Notes[0] != test.note {
				t.Errorf("%s: %+v, %v", test.what, v, err)
			}
		} else if err == nil || language(t, err).Error() != test.err || !errors.Is(err, full) {
			t.Errorf("%s: %v", test.what, err)
		}
		if p.replicas != test.replicas {
			t.Errorf("%s: %d replicas", test.what, p.replicas)
		}
	}
}

// What comes of a change with and without [rollback], by what goes wrong and when.
func TestRollback(t *testing.T) {
	wrong := errors.New("no room")
	for _, test := range []struct {
		what    string
		clauses string
		do      error
		holds   int // after so many seconds; -1 never; -2 the change has no check
		undo    error
		cancel  time.Duration // the shell is interrupted then
		within  time.Duration // that the change says

		err    string
		audit  string
		undone bool
		took   time.Duration
	}{
		{what: "done, and looked at in vain", holds: -1, took: lookAfter, audit: "begun, done"},
		{what: "done, and looked at in vain for as long as it says", within: time.Minute, holds: -1, took: time.Minute, audit: "begun, done"},
		{what: "done, and holds in the time that it says", within: time.Minute, holds: 20, took: 20 * time.Second, audit: "begun, done"},
		{what: "undone in the time of the clause, whatever it says", within: time.Hour, clauses: "[rollback=5s]", holds: -1, undone: true, took: 5 * time.Second,
			err: "failed: it was undone: it did not hold within 5s: not yet", audit: "begun, undone(it did not hold within 5s: not yet)"},
		{what: "done, with nothing to look at", holds: -2, audit: "begun, done"},
		{what: "done, without a check", clauses: "[rollback]", holds: -2, audit: "begun, done"},
		{what: "holds at once", clauses: "[rollback]", audit: "begun, done"},
		{what: "holds at last", clauses: "[rollback]", holds: 29, audit: "begun, done", took: 29 * time.Second},
		{what: "doesn't hold", clauses: "[rollback]", holds: -1, undone: true, took: 30 * time.Second,
			err:   "failed: it was undone: it did not hold within 30s: not yet",
			audit: "begun, undone(it did not hold within 30s: not yet)"},
		{what: "doesn't hold in its time", clauses: "[rollback=2m]", holds: 121, undone: true, took: 2 * time.Minute,
			err:   "failed: it was undone: it did not hold within 2m: not yet",
			audit: "begun, undone(it did not hold within 2m: not yet)"},
		{what: "holds in a longer time", clauses: "[rollback=2m]", holds: 100, audit: "begun, done", took: 100 * time.Second},
		{what: "not asked for", clauses: "[rollback=false]", do: wrong, audit: "begun, failed(no room)",
			err: "failed: world.plant.refine[rollback=false][yes=true] failed: no room"},
		{what: "fails", do: wrong, audit: "begun, failed(no room)",
			err: "failed: world.plant.refine[yes=true] failed: no room"},
		{what: "fails, and is undone", clauses: "[rollback]", do: wrong, undone: true, audit: "begun, undone(no room)",
			err: "failed: it was undone: no room"},
		{what: "can't be undone when it has to", clauses: "[rollback]", do: wrong, undo: errors.New("stuck"), undone: true,
			err:   "failed: world.plant.refine[rollback][yes=true] failed: no room; undoing it failed, too: stuck",
			audit: "begun, failed(no room; undoing it failed, too: stuck)"},
		{what: "interrupted while it is looked at", clauses: "[rollback]", holds: -1, cancel: 4500 * time.Millisecond, undone: true, took: 4500 * time.Millisecond,
			err:   "failed: it was undone: it was interrupted before it held: context canceled",
			audit: "begun, undone(it was interrupted before it held: context canceled)"},
	} {
		synctest.Test(t, func(t *testing.T) {
			tree, p := small(t)
			s, lines := audited()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if test.cancel > 0 {
				time.AfterFunc(test.cancel, cancel)
			}
			undone := false
			begun := time.Now()
			p.change = &Change{
				Does: []string{"it"}, Within: test.within,
				Do: func(context.Context) (Value, error) { return Value{Title: "did"}, test.do },
				Undo: func(ctx context.Context) error {
					undone = true
					if ctx.Err() != nil {
						t.Errorf("%s: undone with a context that has ended", test.what)
					}
					if at, ok := ctx.Deadline(); !ok || time.Until(at) > undoTimeout {
						t.Errorf("%s: undoing may take for ever", test.what)
					}
					return test.undo
				},
			}
			if test.holds != -2 {
				p.change.Holds = func(context.Context) error {
					if test.holds >= 0 && time.Since(begun) >= time.Duration(test.holds)*time.Second {
						return nil
					}
					return errors.New("not yet")
				}
			}
			v, err := tree.Run(ctx, parse(t, "world.plant.refine"+test.clauses+"[yes=true]"), s)
			switch {
			case test.err == "" && err != nil:
				t.Errorf("%s: %v", test.what, err)
			case test.err != "" && (err == nil || language(t, err).Error() != test.err):
				t.Errorf("%s: %v, want %s", test.what, err, test.err)
			}
			if got := outcomes(*lines); got != test.audit {
				t.Errorf("%s: audit %s, want %s", test.what, got, test.audit)
			}
			if undone != test.undone {
				t.Errorf("%s: undone is %t", test.what, undone)
			}
			if took := time.Since(begun); took != test.took {
				t.Errorf("%s: took %s, want %s", test.what, took, test.took)
			}
			if want := test.undo != nil || !test.undone; v.Changed != want {
				t.Errorf("%s: changed is %t", test.what, v.Changed)
			}
			if test.do != nil && !errors.Is(err, wrong) {
				t.Errorf("%s: the cause is lost: %v", test.what, err)
			}
		})
	}
}

// What is done when the shell is interrupted is failed, not unknown: the audit has it.
func TestInterruptedWhileDoing(t *testing.T) {
	tree, p := small(t)
	s, lines := audited()
	ctx, cancel := context.WithCancel(t.Context())
	p.change = &Change{Does: []string{"it"}, Do: func(ctx context.Context) (Value, error) { cancel(); return Value{}, ctx.Err() }}
	_, err := tree.Run(ctx, parse(t, "world.plant.refine[yes]"), s)
	if e := language(t, err); e.Kind != agentese.KindFailed || !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if got := outcomes(*lines); got != "begun, failed(context canceled)" {
		t.Errorf("audit %s", got)
	}
}

// An answer that comes after the interruption is none.
func TestInterruptedWhileAsked(t *testing.T) {
	tree, p := small(t)
	s, lines := audited()
	ctx, cancel := context.WithCancel(t.Context())
	s.Confirm = func(context.Context, Preview) (bool, error) { cancel(); return true, nil }
	if _, err := tree.Run(ctx, parse(t, "world.plant.refine"), s); err != context.Canceled {
		t.Errorf("%v", err)
	}
	if p.replicas != 1 || len(*lines) != 0 {
		t.Errorf("%d replicas, audit %s", p.replicas, outcomes(*lines))
	}
}

// What can't be undone is refused with [rollback], before anybody is asked.
func TestFinal(t *testing.T) {
	tree, p := small(t)
	s, lines := audited()
	s.Confirm = func(context.Context, Preview) (bool, error) { panic("asked") }
	p.change = &Change{Does: []string{"drop it"}, Final: "it is gone then", Do: func(context.Context) (Value, error) { panic("done") }}
	_, err := tree.Run(t.Context(), parse(t, "world.plant.refine[rollback=5s]"), s)
	if e := language(t, err); e.Kind != agentese.KindDeclined || e.Why != "it is gone then" || e.End == 0 {
		t.Errorf("%+v", e)
	}
	if len(*lines) != 0 {
		t.Errorf("audit %s", outcomes(*lines))
	}
}

// A plan that doesn't say what it does isn't done.
func TestPlanOfNothing(t *testing.T) {
	tree, p := small(t)
	s, lines := audited()
	for _, plan := range []*Change{
		{Do: func(context.Context) (Value, error) { panic("done") }},
		{Does: []string{"it"}},
	} {
		p.change = plan
		_, err := tree.Run(t.Context(), parse(t, "world.plant.refine[yes]"), s)
		if e := language(t, err); e.Kind != agentese.KindFailed || e.What != "world.plant doesn't say what it would do" {
			t.Errorf("%v", err)
		}
	}
	if len(*lines) != 0 {
		t.Errorf("audit %s", outcomes(*lines))
	}
}

// A node's own error keeps its kind, and isn't written to.
func TestChangeKeepsTheKind(t *testing.T) {
	tree, p := small(t)
	own := &agentese.Error{Kind: agentese.KindAway, What: "the cluster is away"}
	p.change = &Change{Does: []string{"it"}, Do: func(context.Context) (Value, error) { return Value{}, own }}
	s := admin()
	written := 0
	s.Audit = func(AuditEntry) error {
		if written++; written > 1 {
			return errors.New("full")
		}
		return nil
	}
	_, err := tree.Run(t.Context(), parse(t, "world.plant.refine[yes]"), s)
	if e := language(t, err); e.Kind != agentese.KindAway || !strings.Contains(e.Why, "full") || own.Why != "" {
		t.Errorf("%+v, %+v", e, own)
	}
}

// An aspect that both sees and changes does what its clauses say: to look asks nobody
// and leaves no line.
func TestEither(t *testing.T) {
	does := 0
	context := &Node{Name: "void", Line: "chance", Doc: strings.Repeat("Chance is drawn from here. ", 3), Synonyms: []string{"chance"}, Affords: []Affordance{{
		Aspect: agentese.Sip, Line: "draw", Examples: []Example{{Expr: "void.sip", Line: "draw"}},
		Params: []Param{{Key: "of", Line: "what", Values: []string{"events", "fault"}, Default: "events"}},
		See:    func(context.Context, *Call) (Value, error) { return Value{Title: "seen"}, nil },
		Change: func(context.Context, *Call) (*Change, error) {
			return &Change{Does: []string{"break one"}, Final: "gone", Do: func(context.Context) (Value, error) { does++; return Value{Title: "broken"}, nil }}, nil
		},
		Changes: func(a Args) bool { return a.Get("of") == "fault" },
	}}}
	tree, err := New(context)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		expr, title, outcomes string
		does                  int
	}{
		{"void.sip", "seen", "", 0},
		{"void.sip[of=events][yes]", "seen", "", 0},
		{"void.sip[of=fault][yes]", "broken", "begun, done", 1},
	} {
		s, lines := audited()
		v, err := tree.Run(t.Context(), parse(t, test.expr), s)
		if err != nil || v.Title != test.title || v.Changed != (test.does > 0) || outcomes(*lines) != test.outcomes || does != test.does {
			t.Errorf("%s gives %+v, %v with the lines %q, and %d were done", test.expr, v, err, outcomes(*lines), does)
		}
	}
	s, _ := audited()
	if _, err := tree.Run(t.Context(), parse(t, "void.sip[of=fault]"), s); err == nil || does != 1 {
		t.Errorf("it was done without being asked about: %v, %d", err, does)
	}
}
