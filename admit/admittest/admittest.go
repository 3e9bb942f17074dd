// Package admittest is the suite that every admit.Store must pass. It needs
// nothing but the store under test.
package admittest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/admit"
)

// Harness is how the suite gets its stores and makes time pass.
type Harness struct {
	// Open returns a connected, empty store. The suite closes it.
	Open func(t *testing.T) admit.Store

	// Advance makes at least d pass for the store: a sleep in a synctest bubble,
	// or a real one for a store with a clock of its own.
	Advance func(d time.Duration)

	// Around runs one case, for example in a synctest bubble. Nil runs it as is.
	Around func(t *testing.T, run func(t *testing.T))

	// Short is a time to live that the store can tell from nothing.
	Short time.Duration
}

type suite struct {
	*testing.T
	Harness
	store admit.Store
}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	for _, c := range []struct {
		name string
		run  func(s *suite)
	}{
		{"check and set: new is true, again is false", checkAndSet},
		{"check and set: different ids are independent", independent},
		{"check and set: an entry expires and is new again", expiry},
		{"check and set: a claimed id is not new", checkClaimed},
		{"claim: one owner wins, others see it held", claim},
		{"claim: the same id twice in one call is won once", claimTwice},
		{"claim: a lease that ends is free again", leaseEnds},
		{"claim: a committed id is done, for its time to live", commitExpires},
		{"commit: is final without a lease, or with another's", commitAnyway},
		{"release: frees the id at once", release},
		{"release: only by its owner", releaseForeign},
		{"release: leaves a committed id alone", releaseCommitted},
		{"claim: nothing asked, nothing answered", empty},
		{"claim: hostile ids stay apart", hostile},
		{"race: exactly one owner wins each id", race},
		{"close: twice is fine, use after it a clear error", closed},
		{"a cancelled context is an error", cancelled},
	} {
		t.Run(c.name, func(t *testing.T) {
			around := h.Around
			if around == nil {
				around = func(t *testing.T, run func(*testing.T)) { run(t) }
			}
			around(t, func(t *testing.T) {
				store := h.Open(t)
				defer store.Close()
				c.run(&suite{T: t, Harness: h, store: store})
			})
		})
	}
}

func (s *suite) check(id string, ttl time.Duration, want bool) {
	s.Helper()
	got, err := s.store.CheckAndSet(s.Context(), id, ttl)
	if err != nil || got != want {
		s.Fatalf("CheckAndSet(%q) = %v, %v, want %v", id, got, err, want)
	}
}

func (s *suite) claim(owner string, ids []string, lease time.Duration, want ...admit.State) {
	s.Helper()
	got, err := s.store.Claim(s.Context(), owner, ids, lease)
	if err != nil {
		s.Fatalf("Claim(%q, %q): %v", owner, ids, err)
	}
	if d := cmp.Diff(want, got); d != "" {
		s.Fatalf("Claim(%q, %q) (-want +got):\n%s", owner, ids, d)
	}
}

func (s *suite) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func checkAndSet(s *suite) {
	s.check("evt_1", time.Minute, true)
	s.check("evt_1", time.Minute, false)
	s.check("evt_1", time.Minute, false)
}

func independent(s *suite) {
	s.check("evt_1", time.Minute, true)
	s.check("evt_2", time.Minute, true)
	s.check("evt_1", time.Minute, false)
}

func expiry(s *suite) {
	s.check("evt_1", s.Short, true)
	s.Advance(s.Short)
	s.check("evt_1", time.Minute, true)
	s.check("evt_1", time.Minute, false)
}

func checkClaimed(s *suite) {
	s.claim("a", []string{"evt_1"}, time.Minute, admit.Won)
	s.check("evt_1", time.Minute, false)
}

func claim(s *suite) {
	s.claim("a", []string{"1", "2"}, time.Minute, admit.Won, admit.Won)
	s.claim("b", []string{"2", "3"}, time.Minute, admit.Held, admit.Won)
	s.claim("a", []string{"1"}, time.Minute, admit.Mine)
}

func claimTwice(s *suite) {
	s.claim("a", []string{"1", "1", "2", "1"}, time.Minute, admit.Won, admit.Mine, admit.Won, admit.Mine)
}

func leaseEnds(s *suite) {
	s.claim("a", []string{"1"}, s.Short, admit.Won)
	s.claim("b", []string{"1"}, s.Short, admit.Held)
	s.Advance(s.Short)
	s.claim("b", []string{"1"}, time.Minute, admit.Won)
	s.must(s.store.Release(s.Context(), "a", []string{"1"})) // too late: it isn't a's any more
	s.claim("c", []string{"1"}, time.Minute, admit.Held)
}

func commitExpires(s *suite) {
	s.claim("a", []string{"1"}, time.Minute, admit.Won)
	s.must(s.store.Commit(s.Context(), "a", []string{"1"}, s.Short))
	s.claim("a", []string{"1"}, time.Minute, admit.Done)
	s.claim("b", []string{"1"}, time.Minute, admit.Done)
	s.Advance(s.Short)
	s.claim("b", []string{"1"}, time.Minute, admit.Won)
}

func commitAnyway(s *suite) {
	s.must(s.store.Commit(s.Context(), "a", []string{"1"}, time.Minute))
	s.claim("b", []string{"1"}, time.Minute, admit.Done)
	s.claim("b", []string{"2"}, time.Minute, admit.Won)
	s.must(s.store.Commit(s.Context(), "a", []string{"2"}, time.Minute))
	s.must(s.store.Release(s.Context(), "b", []string{"2"}))
	s.claim("c", []string{"2"}, time.Minute, admit.Done)
}

func release(s *suite) {
	s.claim("a", []string{"1", "2"}, time.Minute, admit.Won, admit.Won)
	s.must(s.store.Release(s.Context(), "a", []string{"1"}))
	s.claim("b", []string{"1", "2"}, time.Minute, admit.Won, admit.Held)
}

func releaseForeign(s *suite) {
	s.claim("a", []string{"1"}, time.Minute, admit.Won)
	s.must(s.store.Release(s.Context(), "b", []string{"1", "never seen"}))
	s.claim("b", []string{"1"}, time.Minute, admit.Held)
}

func releaseCommitted(s *suite) {
	s.claim("a", []string{"1"}, time.Minute, admit.Won)
	s.must(s.store.Commit(s.Context(), "a", []string{"1"}, time.Minute))
	s.must(s.store.Release(s.Context(), "a", []string{"1"}))
	s.claim("b", []string{"1"}, time.Minute, admit.Done)
}

func empty(s *suite) {
	got, err := s.store.Claim(s.Context(), "a", nil, time.Minute)
	if err != nil || len(got) != 0 {
		s.Fatalf("Claim of nothing = %v, %v", got, err)
	}
	s.must(s.store.Commit(s.Context(), "a", nil, time.Minute))
	s.must(s.store.Release(s.Context(), "a", nil))
}

func hostile(s *suite) {
	ids := []string{"", " ", "a b", "a  b", "a\x00b", "a\nb", "a*", "a?", "{a}b", "{a}c", "é", "e\u0301", string(make([]byte, 10_000))}
	want := make([]admit.State, len(ids))
	for i := range want {
		want[i] = admit.Won
	}
	s.claim("a", ids, time.Minute, want...)
	s.must(s.store.Commit(s.Context(), "a", ids, time.Minute))
	for i := range want {
		want[i] = admit.Done
	}
	s.claim("b", ids, time.Minute, want...)
}

// race has many owners want the same ids, in batches and different orders.
func race(s *suite) {
	const owners, total, batch = 8, 2_000, 50
	won := make([]atomic.Int32, total)
	var wg sync.WaitGroup
	errs := make(chan error, owners)
	for o := range owners {
		wg.Go(func() {
			owner := fmt.Sprintf("owner-%d", o)
			for at := range total / batch {
				ids, nums := make([]string, batch), make([]int, batch)
				for i := range batch {
					nums[i] = (at*batch + i + o*batch*5) % total
					ids[i] = fmt.Sprintf("evt_%d", nums[i])
				}
				states, err := s.store.Claim(s.Context(), owner, ids, time.Minute)
				if err != nil {
					errs <- err
					return
				}
				for i, state := range states {
					if state == admit.Won {
						won[nums[i]].Add(1)
					}
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		s.Fatal(err)
	}
	for i := range won {
		if n := won[i].Load(); n != 1 {
			s.Fatalf("evt_%d was won %d times, want once", i, n)
		}
	}
}

func closed(s *suite) {
	s.must(s.store.Close())
	s.must(s.store.Close())
	_, checkErr := s.store.CheckAndSet(s.Context(), "1", time.Minute)
	_, claimErr := s.store.Claim(s.Context(), "a", []string{"1"}, time.Minute)
	for name, err := range map[string]error{
		"CheckAndSet": checkErr,
		"Claim":       claimErr,
		"Commit":      s.store.Commit(s.Context(), "a", []string{"1"}, time.Minute),
		"Release":     s.store.Release(s.Context(), "a", []string{"1"}),
	} {
		if !errors.Is(err, admit.ErrClosed) {
			s.Errorf("%s after Close: %v, want ErrClosed", name, err)
		}
	}
}

func cancelled(s *suite) {
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	if _, err := s.store.Claim(ctx, "a", []string{"1"}, time.Minute); !errors.Is(err, context.Canceled) {
		s.Errorf("Claim with a cancelled context: %v, want context.Canceled", err)
	}
	s.claim("b", []string{"1"}, time.Minute, admit.Won)
}
