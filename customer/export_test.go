package customer

import (
	"context"
	"time"
)

// SetClock makes now the time of s. Nothing else may use s meanwhile.
func (s *Store) SetClock(now func() time.Time) { s.now = now }

// WriteUses is a round of writing last uses.
func (s *Store) WriteUses(every time.Duration) { s.writeUses(context.Background(), every) }

// UseEvery is how precisely a last use is kept.
const UseEvery = useEvery

// KnownUse is when a key was used last as far as the bucket says, Unix seconds.
func (s *Store) KnownUse(prefix string) int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.mem.uses[prefix]
}
