package tree

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// lister is a tree whose live names are those that list gives.
func lister(t *testing.T, list func(ctx context.Context, c *Call) ([]Entry, error), more ...string) *Tree {
	t.Helper()
	world := place("world")
	for _, name := range append([]string{"things"}, more...) {
		n := place(name)
		below := place("thing")
		parts := place("parts")
		parts.Live = &Live{Node: place("part"), List: list}
		below.Children = []*Node{parts}
		n.Live = &Live{Node: below, List: list}
		world.Children = append(world.Children, n)
	}
	tree, err := New(world)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// Names are asked for again after 15 seconds; a holon that fails keeps those that were
// known, and is left alone as long.
func TestDirectoryFreshness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked int
		var fails error
		names := []Entry{{"a", "first"}}
		d := NewDirectory(lister(t, func(context.Context, *Call) ([]Entry, error) { asked++; return names, fails }), admin())
		expect := func(what string, wantAsked int, generation uint64, want ...Entry) {
			t.Helper()
			s := d.Snapshot()
			if asked != wantAsked || s.Generation != generation {
				t.Errorf("%s: asked %d times, generation %d; want %d and %d", what, asked, s.Generation, wantAsked, generation)
			}
			if diff := cmp.Diff(want, s.Names["world.things"]); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
		}
		expect("before", 0, 0)
		first := d.Snapshot()
		d.Refresh(t.Context())
		expect("asked", 1, 1, Entry{"a", "first"})
		time.Sleep(freshFor - time.Nanosecond)
		d.Refresh(t.Context())
		expect("still fresh", 1, 1, Entry{"a", "first"})
		time.Sleep(time.Nanosecond)
		d.Refresh(t.Context())
		expect("the same again", 2, 1, Entry{"a", "first"})
		names = []Entry{{"a", "first"}, {"", "no name"}, {"b", "second"}}
		time.Sleep(freshFor)
		d.Refresh(t.Context())
		expect("another", 3, 2, Entry{"a", "first"}, Entry{"b", "second"})
		at := d.Snapshot().At
		fails = errors.New("away")
		time.Sleep(freshFor)
		d.Refresh(t.Context())
		d.Refresh(t.Context())
		expect("away", 4, 2, Entry{"a", "first"}, Entry{"b", "second"})
		fails, names = nil, nil
		time.Sleep(freshFor)
		d.Refresh(t.Context())
		expect("none any more", 5, 3)
		time.Sleep(freshFor)
		d.Refresh(t.Context())
		expect("still none", 6, 3)
		if len(first.Names) != 0 || !at.Before(d.Snapshot().At) {
			t.Error("a snapshot has changed")
		}
	})
}

// However many come while an answer is on its way, the holon is asked once, and all
// get that answer; who leaves gets what was known, and takes it from nobody.
func TestDirectoryAsksOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		d := NewDirectory(lister(t, func(context.Context, *Call) ([]Entry, error) {
			time.Sleep(3 * time.Second)
			return []Entry{{Name: fmt.Sprint("answer", asked.Add(1))}}, nil
		}), admin())
		path := []string{"world", "things"}
		if got := d.Below(t.Context(), path); len(got) != 1 {
			t.Fatalf("got %v", got)
		}
		time.Sleep(freshFor)
		var all sync.WaitGroup
		all.Go(func() { // the first, who doesn't wait
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if got := d.Below(ctx, path); len(got) != 1 || got[0].Name != "answer1" {
				t.Errorf("who left got %v", got)
			}
		})
		synctest.Wait()
		for range 10 {
			all.Go(func() {
				if got := d.Below(t.Context(), path); len(got) != 1 || got[0].Name != "answer2" {
					t.Errorf("who waited got %v", got)
				}
			})
		}
		if got := d.Snapshot().Names["world.things"]; len(got) != 1 || got[0].Name != "answer1" {
			t.Errorf("meanwhile %v is known", got)
		}
		all.Wait()
		if asked.Load() != 2 {
			t.Errorf("asked %d times", asked.Load())
		}
	})
}

// A holon has 5 seconds, four are asked at once, and Refresh ends with its context.
func TestDirectoryIsBoundedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int32
		tree := lister(t, func(ctx context.Context, _ *Call) ([]Entry, error) {
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			<-ctx.Done()
			return nil, ctx.Err()
		}, "b", "c", "d", "e", "f")
		begun := time.Now()
		NewDirectory(tree, admin()).Refresh(t.Context())
		if took := time.Since(begun); took != 2*listTimeout || most.Load() != asksAtOnce {
			t.Errorf("six took %s, %d at once", took, most.Load())
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun = time.Now()
		NewDirectory(tree, admin()).Refresh(ctx)
		if took := time.Since(begun); took != time.Second {
			t.Errorf("it took %s after its context", took)
		}
		time.Sleep(2 * listTimeout) // what was asked ends by itself
	})
}

// It asks as who may see least, whoever's session it is, and with the names above.
func TestDirectoryAsksAsDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls []string
		s := admin()
		d := NewDirectory(lister(t, func(_ context.Context, c *Call) ([]Entry, error) {
			calls = append(calls, fmt.Sprintf("%s %s %s %v %t", c.Path, c.Observer, c.Session.Observer, c.Names, c.Now().Equal(noon)))
			return []Entry{{Name: "x"}}, nil
		}), s)
		d.Refresh(t.Context())
		d.Below(t.Context(), []string{"World", "Things", "a.b", "PARTS"})
		want := []string{"world.things default default map[] true", `world.things."a.b".parts default default map[thing:a.b] true`}
		if diff := cmp.Diff(want, calls); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		names := d.Snapshot().Names
		if len(names) != 2 || len(names[`world.things."a.b".parts`]) != 1 {
			t.Errorf("known: %v", names)
		}
		for _, path := range [][]string{nil, {"world"}, {"moon"}, {"world", "things", "x"}, {"world", "nothing"}} {
			if got := d.Below(t.Context(), path); got != nil {
				t.Errorf("below %v is %v", path, got)
			}
		}
	})
}

// It keeps so many names of a holon, and so many lists below other names.
func TestDirectoryIsBoundedInSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := NewDirectory(lister(t, func(_ context.Context, c *Call) ([]Entry, error) {
			if c.Name("thing") == "away" {
				return nil, errors.New("away")
			}
			if len(c.Names) > 0 {
				return []Entry{{Name: "p"}}, nil
			}
			out := make([]Entry, MaxNames+1)
			for i := range out {
				out[i].Name = fmt.Sprint(i)
			}
			return out, nil
		}), admin())
		if got := d.Below(t.Context(), []string{"world", "things"}); len(got) != MaxNames {
			t.Errorf("%d names", len(got))
		}
		for i := range maxBelow + 10 {
			d.Below(t.Context(), []string{"world", "things", fmt.Sprint(i), "parts"})
			time.Sleep(time.Millisecond)
		}
		d.Below(t.Context(), []string{"world", "things", "away", "parts"})
		names := d.Snapshot().Names
		// The one that is away has taken the place of another list.
		if len(names) != maxBelow || len(d.lists) != maxBelow+1 {
			t.Errorf("%d lists are known, %d kept", len(names), len(d.lists))
		}
		if names["world.things"] == nil || names["world.things.10.parts"] != nil || names["world.things.11.parts"] == nil {
			t.Error("others were forgotten than those that were asked for longest ago")
		}
	})
}

// Close calls off what is being asked, waits for it, and nothing is asked behind it.
func TestDirectoryCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, ended := 0, false
		d := NewDirectory(lister(t, func(ctx context.Context, _ *Call) ([]Entry, error) {
			asked++
			<-ctx.Done()
			ended = true
			return []Entry{{Name: "late"}}, ctx.Err()
		}), admin())
		go d.Refresh(t.Context())
		synctest.Wait()
		began := time.Now()
		d.Close()
		if !ended || time.Since(began) > 0 {
			t.Errorf("ended: %t, after %v", ended, time.Since(began))
		}
		time.Sleep(freshFor)
		d.Refresh(t.Context())
		if names := d.Snapshot().Names; asked != 1 || len(names) > 0 {
			t.Errorf("asked %d times; known: %v", asked, names)
		}
	})
}
