// Package memory keeps identities in the process. It is the default of a single
// process and the fallback of a shared store.
//
// It promises the semantics of admit.Store within one process and remembers
// nothing across a restart: there the identity at the meter holds. It is
// bounded: past Capacity committed identities it forgets the oldest before
// their time, which Evicted counts. It depends on nothing that could be away.
package memory

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"

	"github.com/kgents/kgents/admit"
)

// DefaultCapacity is how many committed identities are kept: about 30 MB.
const DefaultCapacity = 500_000

// key stands for an identity. 128 bits of SHA-256, since a collision would lose
// an event: among a million identities its chance is below 1e-26.
type key [16]byte

func keyOf(id string) key {
	sum := sha256.Sum256([]byte(id))
	return key(sum[:16])
}

type lease struct {
	owner string
	until time.Time
}

// final is a committed identity in the order of commits.
type final struct {
	key   key
	until int64 // Unix nanoseconds
}

// Store implements admit.Store.
type Store struct {
	capacity int

	mu      sync.Mutex
	closed  bool
	leases  map[key]lease
	finals  map[key]int64 // until, Unix nanoseconds
	order   []final       // ring: the oldest is at head
	head    int
	evicted uint64
}

var _ admit.Store = (*Store)(nil)

// New returns a store that remembers up to capacity committed identities.
func New(capacity int) *Store {
	return &Store{capacity: capacity, leases: make(map[key]lease), finals: make(map[key]int64)}
}

// CheckAndSet implements admit.Store.
func (s *Store) CheckAndSet(ctx context.Context, id string, ttl time.Duration) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return false, err
	}
	k, now := keyOf(id), time.Now()
	if s.done(k, now) {
		return false, nil
	}
	if l, ok := s.leases[k]; ok && now.Before(l.until) {
		return false, nil
	}
	s.finish(k, now, ttl)
	return true, nil
}

// Claim implements admit.Store.
func (s *Store) Claim(ctx context.Context, owner string, ids []string, ttl time.Duration) ([]admit.State, error) {
	keys := keysOf(ids)
	states := make([]admit.State, len(ids))
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	now := time.Now()
	until := now.Add(ttl)
	for i, k := range keys {
		if s.done(k, now) {
			states[i] = admit.Done
			continue
		}
		l, ok := s.leases[k]
		switch {
		case !ok || !now.Before(l.until):
			s.leases[k] = lease{owner: owner, until: until}
			states[i] = admit.Won
		case l.owner == owner:
			states[i] = admit.Mine
		default:
			states[i] = admit.Held
		}
	}
	return states, nil
}

// Commit implements admit.Store.
func (s *Store) Commit(ctx context.Context, _ string, ids []string, ttl time.Duration) error {
	keys := keysOf(ids)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return err
	}
	now := time.Now()
	for _, k := range keys {
		s.finish(k, now, ttl)
	}
	return nil
}

// Release implements admit.Store.
func (s *Store) Release(ctx context.Context, owner string, ids []string) error {
	keys := keysOf(ids)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return err
	}
	for _, k := range keys {
		if l, ok := s.leases[k]; ok && l.owner == owner {
			delete(s.leases, k)
		}
	}
	return nil
}

// Close implements admit.Store.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed, s.leases, s.finals, s.order = true, nil, nil, nil
	return nil
}

// Evicted is how many identities were forgotten before their time for want of
// room.
func (s *Store) Evicted() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.evicted
}

// Len is how many committed identities are kept.
func (s *Store) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.finals)
}

func (s *Store) usable(ctx context.Context) error {
	if s.closed {
		return admit.ErrClosed
	}
	return ctx.Err()
}

func (s *Store) done(k key, now time.Time) bool {
	until, ok := s.finals[k]
	return ok && now.UnixNano() < until
}

func (s *Store) finish(k key, now time.Time, ttl time.Duration) {
	delete(s.leases, k)
	if len(s.order) == s.capacity {
		s.drop(now)
	}
	f := final{key: k, until: now.Add(ttl).UnixNano()}
	s.finals[k] = f.until
	if len(s.order) < s.capacity {
		s.order = append(s.order, f)
		return
	}
	s.order[s.head] = f
	s.head = (s.head + 1) % s.capacity
}

// drop forgets the oldest commit, unless its identity was committed again since.
func (s *Store) drop(now time.Time) {
	oldest := s.order[s.head]
	if s.finals[oldest.key] != oldest.until {
		return
	}
	delete(s.finals, oldest.key)
	if now.UnixNano() < oldest.until {
		s.evicted++
	}
}

func keysOf(ids []string) []key {
	keys := make([]key, len(ids))
	for i, id := range ids {
		keys[i] = keyOf(id)
	}
	return keys
}
