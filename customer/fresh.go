package customer

import (
	"context"
	"time"
)

const (
	// freshFor is the longest that a replica waits for what others have written before
	// it says that there is no such customer.
	freshFor = time.Second

	// freshLook is how often it looks meanwhile.
	freshLook = 2 * time.Millisecond
)

// Known tells whether there is a customer, and asks the bucket before it says no: one
// that another replica has made a moment ago, and said so, is not unknown here. It costs
// a request to NATS for an id that nobody has, and none for the others. It doesn't fail:
// while NATS is away memory is all there is.
func (s *Store) Known(ctx context.Context, id string) bool {
	if _, ok := s.Get(id); ok {
		return true
	}
	if !ValidID(id) {
		return false
	}
	s.fresh(ctx)
	_, ok := s.Get(id)
	return ok
}

// fresh waits until memory has everything that was in the bucket when it was called.
// The stream's leader is asked, since another server may be behind.
func (s *Store) fresh(ctx context.Context) {
	if !s.Current() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, freshFor)
	defer cancel()
	info, err := s.info(ctx)
	if err != nil {
		return
	}
	tick := time.NewTicker(freshLook)
	defer tick.Stop()
	for {
		s.mu.RLock()
		seen := s.mem.seen
		s.mu.RUnlock()
		if seen >= info.State.LastSeq {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
