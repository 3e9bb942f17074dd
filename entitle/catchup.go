package entitle

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// CatchUpFor is the longest that CatchUp waits. The tail is milliseconds behind, and
	// one that is further has said so by Answer.Stale.
	CatchUpFor = 50 * time.Millisecond

	// maxWaiters bounds who waits. Past it CatchUp returns at once.
	maxWaiters = 4096
)

// CatchUp waits until the tail has read message seq, so that who has just sent usage
// and asks this replica next finds it counted. It gives up after CatchUpFor, with ctx,
// and at once while the tail reads nothing: what is late shows a moment later.
func (e *Engine) CatchUp(ctx context.Context, seq uint64) {
	if e.at.Load() >= seq || !e.live.Load() {
		return
	}
	w := &waiter{seq: seq, done: make(chan struct{})}
	if !e.caught.add(w) {
		return
	}
	defer e.caught.remove(w)
	if e.at.Load() >= seq { // meanwhile, before it was told to us
		return
	}
	t := time.NewTimer(CatchUpFor)
	defer t.Stop()
	select {
	case <-w.done:
	case <-t.C:
	case <-ctx.Done():
	}
}

// waiter waits for the tail to read message seq.
type waiter struct {
	seq  uint64
	done chan struct{}
	told bool
}

// waiters are all of them. The zero value has none.
type waiters struct {
	n  atomic.Int64 // so that a tail without waiters takes no lock
	mu sync.Mutex
	in map[*waiter]struct{}
}

func (w *waiters) add(one *waiter) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.in) >= maxWaiters {
		return false
	}
	if w.in == nil {
		w.in = map[*waiter]struct{}{}
	}
	w.in[one] = struct{}{}
	w.n.Store(int64(len(w.in)))
	return true
}

func (w *waiters) remove(one *waiter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.in, one)
	w.n.Store(int64(len(w.in)))
}

// tell wakes who waits for message seq or one before it.
func (w *waiters) tell(seq uint64) {
	if w.n.Load() == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for one := range w.in {
		if one.seq <= seq && !one.told {
			one.told = true
			close(one.done)
		}
	}
}
