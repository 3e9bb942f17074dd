package fallback_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/kgents/kgents/admit"
	"github.com/kgents/kgents/admit/admittest"
	"github.com/kgents/kgents/admit/fallback"
	"github.com/kgents/kgents/admit/memory"
	"github.com/kgents/kgents/admit/redis"
	"github.com/kgents/kgents/admit/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shared is a store that can be switched off.
type shared struct {
	admit.Store
	mu    sync.Mutex
	fault error
	calls int
}

func newShared() *shared { return &shared{Store: memory.New(10_000)} }

func (s *shared) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = err
}

func (s *shared) err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	return s.fault
}

func (s *shared) Ping(context.Context) error { return s.err() }

func (s *shared) CheckAndSet(ctx context.Context, id string, ttl time.Duration) (bool, error) {
	if err := s.err(); err != nil {
		return false, err
	}
	return s.Store.CheckAndSet(ctx, id, ttl)
}

func (s *shared) Claim(ctx context.Context, owner string, ids []string, lease time.Duration) ([]admit.State, error) {
	if err := s.err(); err != nil {
		return nil, err
	}
	return s.Store.Claim(ctx, owner, ids, lease)
}

func (s *shared) Commit(ctx context.Context, owner string, ids []string, ttl time.Duration) error {
	if err := s.err(); err != nil {
		return err
	}
	return s.Store.Commit(ctx, owner, ids, ttl)
}

func (s *shared) Release(ctx context.Context, owner string, ids []string) error {
	if err := s.err(); err != nil {
		return err
	}
	return s.Store.Release(ctx, owner, ids)
}

var errDown = errors.New("connection refused")

// The fallback is a store like any other, with the shared store here and away.
func TestConformance(t *testing.T) {
	for name, fault := range map[string]error{"here": nil, "away": errDown} {
		t.Run(name, func(t *testing.T) {
			admittest.Run(t, admittest.Harness{
				Open: func(*testing.T) admit.Store {
					s := newShared()
					s.fail(fault)
					return fallback.New(s, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
				},
				Advance: time.Sleep,
				Around:  synctest.Test,
				Short:   time.Second,
			})
		})
	}
}

// claim is the state of one id.
func claim(t *testing.T, s admit.Store, owner, id string) admit.State {
	t.Helper()
	states, err := s.Claim(t.Context(), owner, []string{id}, admit.Lease)
	if err != nil {
		t.Fatal(err)
	}
	return states[0]
}

// What was admitted while the shared store was away is written to it when it is
// back; one line is logged at each change, and the metric says which is in use.
func TestAwayAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		reg := prometheus.NewRegistry()
		primary := newShared()
		s := fallback.New(primary, slog.New(slog.NewTextHandler(&log, nil)), reg)
		defer s.Close()
		inUse := func(want string) {
			t.Helper()
			redis, memory := "0", "1"
			if want == "redis" {
				redis, memory = "1", "0"
			}
			text := fmt.Sprintf("# HELP kgents_idempotency_backend 1 for the store of identities that is in use, 0 for the other.\n"+
				"# TYPE kgents_idempotency_backend gauge\n"+
				"kgents_idempotency_backend{backend=\"memory\"} %s\nkgents_idempotency_backend{backend=\"redis\"} %s\n", memory, redis)
			if err := testutil.GatherAndCompare(reg, strings.NewReader(text), "kgents_idempotency_backend"); err != nil {
				t.Error(err)
			}
			if away := s.Status().Away; away != (want == "memory") {
				t.Errorf("status says away: %v", away)
			}
		}
		if got := claim(t, s, "a", "before"); got != admit.Won {
			t.Fatalf("claim: %v", got)
		}
		inUse("redis")

		primary.fail(errDown)
		// Its claim is in the shared store; its commit must not be lost.
		if err := s.Commit(t.Context(), "a", []string{"before"}, time.Hour); err != nil {
			t.Fatal(err)
		}
		inUse("memory")
		const many = 2_500 // more than one write takes
		for i := range many {
			id := fmt.Sprint("while-", i)
			if got := claim(t, s, "a", id); got != admit.Won {
				t.Fatalf("claim of %s: %v", id, got)
			}
			if err := s.Commit(t.Context(), "a", []string{id}, time.Hour); err != nil {
				t.Fatal(err)
			}
			if got := claim(t, s, "b", id); got != admit.Done {
				t.Fatalf("second claim of %s: %v, want it done", id, got)
			}
		}
		if got := s.Status().Waiting; got != many+1 {
			t.Errorf("%d identities wait, want %d", got, many+1)
		}
		// What another replica does is not known meanwhile.
		time.Sleep(10 * time.Second)
		primary.fail(nil)
		time.Sleep(2 * time.Second)
		inUse("redis")
		for _, id := range []string{"before", "while-0", fmt.Sprint("while-", many-1)} {
			if got := claim(t, primary, "another replica", id); got != admit.Done {
				t.Errorf("the shared store says %v of %s, want it done", got, id)
			}
		}
		if s.Status().Waiting != 0 {
			t.Errorf("%d identities still wait", s.Status().Waiting)
		}
		if lines := strings.Count(log.String(), "\n"); lines != 2 {
			t.Errorf("%d log lines, want one for each change:\n%s", lines, log.String())
		}
	})
}

// A store that fails again while it is written to stays away, and nothing that
// waits is lost.
func TestBackInPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		primary := newShared()
		primary.fail(errDown)
		s := fallback.New(primary, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		defer s.Close()
		for i := range 50 {
			if err := s.Commit(t.Context(), "a", []string{fmt.Sprint(i)}, time.Hour); err != nil {
				t.Fatal(err)
			}
			primary.fail([]error{nil, errDown}[i%2])
			time.Sleep(700 * time.Millisecond)
		}
		primary.fail(nil)
		time.Sleep(10 * time.Second)
		for i := range 50 {
			if got := claim(t, primary, "b", fmt.Sprint(i)); got != admit.Done {
				t.Errorf("the shared store says %v of %d, want it done", got, i)
			}
		}
	})
}

// A shared store that is away at the start is found when it comes, and costs no
// call anything meanwhile.
func TestAwayAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		primary := newShared()
		primary.fail(errDown)
		s := fallback.New(primary, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		defer s.Close()
		synctest.Wait()
		if st := s.Status(); !st.Away || !errors.Is(st.Err, errDown) {
			t.Errorf("status without any traffic: %+v", st)
		}
		calls := primary.calls
		for i := range 100 {
			claim(t, s, "a", fmt.Sprint(i))
		}
		if primary.calls != calls {
			t.Errorf("%d calls of a store that is known to be away", primary.calls-calls)
		}
		primary.fail(nil)
		time.Sleep(2 * time.Second)
		if s.Status().Away {
			t.Error("still away")
		}
	})
}

// Memory is bounded: past maxWaiting identities the oldest are not shared.
func TestWaitingIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		primary := newShared()
		primary.fail(errDown)
		s := fallback.New(primary, slog.New(slog.DiscardHandler), reg)
		defer s.Close()
		for at := 0; at < 101_000; at += 1_000 {
			ids := make([]string, 1_000)
			for i := range ids {
				ids[i] = fmt.Sprint(at + i)
			}
			if err := s.Commit(t.Context(), "a", ids, time.Hour); err != nil {
				t.Fatal(err)
			}
		}
		if got := s.Status().Waiting; got != 100_000 {
			t.Errorf("%d wait, want 100000", got)
		}
		want := "# HELP kgents_idempotency_unshared_total Identities committed in memory that were let go before the shared store was back.\n" +
			"# TYPE kgents_idempotency_unshared_total counter\nkgents_idempotency_unshared_total 1000\n"
		if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "kgents_idempotency_unshared_total"); err != nil {
			t.Error(err)
		}
	})
}

// The same with a real server that is killed, frozen and started again.
func TestRealServer(t *testing.T) {
	server := redistest.Start(t)
	store, err := redis.New(server.URL(), 0)
	if err != nil {
		t.Fatal(err)
	}
	s := fallback.New(store, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	defer s.Close()
	until := func(away bool) {
		t.Helper()
		for deadline := time.Now().Add(15 * time.Second); s.Status().Away != away; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("after 15 s still not away = %v: %+v", away, s.Status())
			}
		}
	}
	for name, fault := range map[string]struct{ harm, heal func() }{
		"killed": {server.Kill, func() { server.Restart() }},
		"frozen": {server.Freeze, server.Thaw},
	} {
		fault.harm()
		began := time.Now()
		if got := claim(t, s, "a", name); got != admit.Won {
			t.Errorf("%s: claim: %v", name, got)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("%s: the first claim took %v, want little more than %v", name, took, redis.DefaultTimeout)
		}
		if err := s.Commit(t.Context(), "a", []string{name}, time.Hour); err != nil {
			t.Fatal(err)
		}
		until(true)
		fault.heal()
		until(false)
		if got := claim(t, store, "another replica", name); got != admit.Done {
			t.Errorf("%s: after it is back Redis says %v of what was admitted meanwhile, want done", name, got)
		}
	}
}
