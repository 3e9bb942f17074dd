// Package fallback keeps admission going while the shared store of identities is
// away.
//
// It promises that a call fails only when it is cancelled or the store is closed.
// While the shared store is away, at start or later, identities are kept in this
// process's bounded memory; what was committed meanwhile is written to the shared
// store before it is used again. What the shared store knew is unknown meanwhile,
// and so is what other replicas admit: an event may be published twice then, and
// the identity at the meter makes it count once.
//
// The shared store is taken for away from the first call that fails until a probe
// succeeds. One line is logged at each change.
package fallback

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents/admit"
	"github.com/kgents/kgents/admit/memory"
)

const (
	// probeAway is how often a store that is away is looked at, probeHere how
	// often one that is not: health tells the truth also without traffic.
	probeAway = time.Second
	probeHere = 5 * time.Second

	// maxWaiting bounds the identities that wait to be written to the shared store,
	// about 20 MB. Past it the oldest are let go, which kgents_idempotency_unshared_total
	// counts: another replica would publish such an event again.
	maxWaiting = 100_000

	// writeBatch is how many of them go in one call.
	writeBatch = 1_000
)

// Shared is a store that can be away.
type Shared interface {
	admit.Store

	// Ping returns nil when the store can be used.
	Ping(ctx context.Context) error
}

// Status says which store is in use, for health.
type Status struct {
	Away    bool
	Since   time.Time // of the last change; zero if there was none
	Err     error     // why it is away
	Waiting int       // identities to be written when it is back
}

// Store implements admit.Store.
type Store struct {
	shared  Shared
	local   *memory.Store
	log     *slog.Logger
	backend *prometheus.GaugeVec
	lost    prometheus.Counter

	mu      sync.Mutex
	status  Status
	waiting []commit // in the order of their commits
	dropped int      // how many were ever taken from the front of waiting
	closing chan struct{}
	closed  bool
	ended   chan struct{}
}

// commit is an identity that was committed in memory.
type commit struct {
	id    string
	until time.Time
}

var _ admit.Store = (*Store)(nil)

// New returns a store on shared, which it closes when it is closed.
func New(shared Shared, log *slog.Logger, reg prometheus.Registerer) *Store {
	s := &Store{
		shared: shared, local: memory.New(memory.DefaultCapacity), log: log,
		backend: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "kgents_idempotency_backend",
			Help: "1 for the store of identities that is in use, 0 for the other.",
		}, []string{"backend"}),
		lost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kgents_idempotency_unshared_total",
			Help: "Identities committed in memory that were let go before the shared store was back.",
		}),
		closing: make(chan struct{}), ended: make(chan struct{}),
	}
	reg.MustRegister(s.backend, s.lost, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "kgents_idempotency_waiting",
		Help: "Identities committed in memory that wait to be written to the shared store.",
	}, func() float64 { return float64(s.Status().Waiting) }))
	s.show(false)
	go s.watch()
	return s
}

// Status returns which store is in use.
func (s *Store) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := s.status
	status.Waiting = len(s.waiting)
	return status
}

// CheckAndSet implements admit.Store.
func (s *Store) CheckAndSet(ctx context.Context, id string, ttl time.Duration) (isNew bool, err error) {
	here, err := s.try(ctx, func() (err error) { isNew, err = s.shared.CheckAndSet(ctx, id, ttl); return err })
	if here || err != nil {
		return isNew, err
	}
	isNew, err = s.local.CheckAndSet(ctx, id, ttl)
	if isNew {
		s.note([]string{id}, ttl)
	}
	return isNew, err
}

// Claim implements admit.Store.
func (s *Store) Claim(ctx context.Context, owner string, ids []string, lease time.Duration) (states []admit.State, err error) {
	here, err := s.try(ctx, func() (err error) { states, err = s.shared.Claim(ctx, owner, ids, lease); return err })
	if here || err != nil {
		return states, err
	}
	return s.local.Claim(ctx, owner, ids, lease)
}

// Commit implements admit.Store.
func (s *Store) Commit(ctx context.Context, owner string, ids []string, ttl time.Duration) error {
	here, err := s.try(ctx, func() error { return s.shared.Commit(ctx, owner, ids, ttl) })
	if here || err != nil {
		return err
	}
	if err := s.local.Commit(ctx, owner, ids, ttl); err != nil {
		return err
	}
	s.note(ids, ttl)
	return nil
}

// Release implements admit.Store.
func (s *Store) Release(ctx context.Context, owner string, ids []string) error {
	// The claim may have been made in either store, and a claim in a store that is
	// away ends by itself.
	if _, err := s.try(ctx, func() error { return s.shared.Release(ctx, owner, ids) }); err != nil {
		return err
	}
	return s.local.Release(ctx, owner, ids)
}

// Close implements admit.Store.
func (s *Store) Close() error {
	s.mu.Lock()
	again := s.closed
	if !again {
		s.closed = true
		close(s.closing)
	}
	s.mu.Unlock()
	<-s.ended
	if again {
		return nil
	}
	return errors.Join(s.shared.Close(), s.local.Close())
}

// try calls the shared store unless it is away. Here says that its answer
// counts; the error is one that no other store would mend.
func (s *Store) try(ctx context.Context, call func() error) (here bool, err error) {
	s.mu.Lock()
	away, closed := s.status.Away, s.closed
	s.mu.Unlock()
	switch {
	case closed:
		return false, admit.ErrClosed
	case ctx.Err() != nil:
		return false, ctx.Err()
	case away:
		return false, nil
	}
	switch err := call(); {
	case err == nil:
		return true, nil
	case ctx.Err() != nil:
		return false, ctx.Err()
	case errors.Is(err, admit.ErrClosed):
		return false, err
	default:
		s.away(err)
		return false, nil
	}
}

// away turns to memory.
func (s *Store) away(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status.Away {
		return
	}
	s.status = Status{Away: true, Since: time.Now(), Err: err}
	s.show(true)
	s.log.Warn("the shared store of identities is away: they are kept in memory until it is back", "error", err)
}

func (s *Store) show(away bool) {
	memory, redis := 0.0, 1.0
	if away {
		memory, redis = 1, 0
	}
	s.backend.WithLabelValues("memory").Set(memory)
	s.backend.WithLabelValues("redis").Set(redis)
}

// note remembers commits for the shared store.
func (s *Store) note(ids []string, ttl time.Duration) {
	until := time.Now().Add(ttl)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		s.waiting = append(s.waiting, commit{id, until})
	}
	if over := len(s.waiting) - maxWaiting; over > 0 {
		s.lost.Add(float64(over))
		s.drop(over)
	}
}

// drop takes n commits from the front of waiting.
func (s *Store) drop(n int) {
	s.waiting = slices.Delete(s.waiting, 0, n)
	s.dropped += n
}

// watch looks at the shared store from time to time and returns to it.
func (s *Store) watch() {
	defer close(s.ended)
	for {
		ctx, cancel := context.WithTimeout(context.Background(), probeHere)
		err := s.shared.Ping(ctx)
		switch away := s.Status().Away; {
		case err != nil:
			s.away(err)
		case away:
			s.back(ctx)
		}
		cancel()
		pause := probeHere
		if s.Status().Away {
			pause = probeAway
		}
		select {
		case <-s.closing:
			return
		case <-time.After(pause):
		}
	}
}

// back writes what was committed meanwhile and returns to the shared store. When
// that fails it stays away, and what is left waits for the next probe.
func (s *Store) back(ctx context.Context) {
	for written := 0; ; {
		s.mu.Lock()
		batch := s.waiting[:min(writeBatch, len(s.waiting))]
		if len(batch) == 0 {
			s.log.Info("the shared store of identities is back", "after", time.Since(s.status.Since), "written", written)
			s.status, s.waiting = Status{Since: time.Now()}, nil
			s.show(false)
			s.mu.Unlock()
			return
		}
		batch, end := slices.Clone(batch), s.dropped+len(batch)
		s.mu.Unlock()

		ids, ttl := make([]string, len(batch)), time.Duration(0)
		for i, c := range batch {
			ids[i], ttl = c.id, max(ttl, time.Until(c.until))
		}
		if ttl > 0 {
			if err := s.shared.Commit(ctx, "", ids, ttl); err != nil {
				return
			}
		}
		written += len(batch)
		s.mu.Lock()
		s.drop(max(0, end-s.dropped)) // an overflow may have taken some already
		s.mu.Unlock()
	}
}
