package tree

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kgents/kgents/agentese"
)

// turned is an error of who refuses.
type turned struct{ error }

func (turned) Refused() bool { return true }

// What was refused is not undone: that would undo another's change.
func TestRefusedIsNotUndone(t *testing.T) {
	tree, p := small(t)
	s, lines := audited()
	undone := false
	p.change = &Change{
		Does: []string{"it"},
		Do: func(context.Context) (Value, error) {
			return Value{}, &agentese.Error{Kind: agentese.KindFailed, What: "refused", Cause: turned{errors.New("409")}}
		},
		Undo: func(context.Context) error { undone = true; return nil },
	}
	v, err := tree.Run(t.Context(), parse(t, "world.plant.refine[rollback][yes]"), s)
	if err == nil || undone || v.Changed {
		t.Errorf("undone %t, changed %t, %v", undone, v.Changed, err)
	}
	if got := outcomes(*lines); !strings.HasPrefix(got, "begun, failed(") {
		t.Errorf("audit %s", got)
	}
}

// The effect of what is not undone by itself is looked at for some seconds, and told.
func TestHeld(t *testing.T) {
	for after, want := range map[time.Duration]bool{0: true, 2 * time.Second: true, time.Minute: false} {
		synctest.Test(t, func(t *testing.T) {
			tree, p := small(t)
			s, lines := audited()
			begun := time.Now()
			p.change = &Change{
				Does: []string{"it"},
				Do:   func(context.Context) (Value, error) { return Value{Title: "did"}, nil },
				Holds: func(context.Context) error {
					if time.Since(begun) < after {
						return errors.New("not yet")
					}
					return nil
				},
			}
			v, err := tree.Run(t.Context(), parse(t, "world.plant.refine[yes]"), s)
			if err != nil || !v.Changed || v.Held == nil || *v.Held != want || want != (len(v.Notes) == 0) {
				t.Errorf("after %s: %+v, %v", after, v, err)
			}
			if took := time.Since(begun); took != min(after, lookAfter) {
				t.Errorf("after %s: took %s", after, took)
			}
			if got := outcomes(*lines); got != "begun, done" {
				t.Errorf("audit %s", got)
			}
		})
	}
}

// What a step has changed is told also when a step behind it fails, and a value behind it
// says that something was changed.
func TestChangeInPipelineIsTold(t *testing.T) {
	tree, p := small(t)
	s, _ := audited()
	p.change = &Change{Does: []string{"it"}, Do: func(context.Context) (Value, error) { return Value{Title: "the secret, once"}, nil }}
	v, err := tree.Run(t.Context(), parse(t, "world.plant.refine[yes] >> world.counter.lens"), s)
	if err != nil || !v.Changed {
		t.Errorf("%+v, %v", v, err)
	}
	v, err = tree.Run(t.Context(), parse(t, "world.plant.refine[yes] >> world.counter.lens[sort=none]"), s)
	if err == nil || !v.Changed || v.Title != "the secret, once" {
		t.Errorf("%+v, %v", v, err)
	}
}
