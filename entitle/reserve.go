package entitle

import (
	"context"
	"time"
)

const (
	// maxReleased bounds the reservations that wait for the stream's answer. Past it
	// one ends by its time.
	maxReleased = 4096

	// gather is how long releases are collected before the stream is asked once for
	// all of them.
	gather = 20 * time.Millisecond
)

// released is a reservation and where it stands.
type released struct {
	c *customer
	k *counter
	h *hold
}

// release says that what was reserved is durable, or will never be. The reservation
// lasts until the tail has passed what is in the stream now: then its event is counted.
func (e *Engine) release(r released) {
	r.c.mu.Lock()
	again := r.h.released
	if !again {
		r.h.released = true
		r.h.until = e.now().Add(ReservedFor)
	}
	r.c.mu.Unlock()
	if again {
		return
	}
	select {
	case e.released <- r:
	default:
	}
}

// settle finds out where the stream was when reservations were released, until ctx
// ends.
func (e *Engine) settle(ctx context.Context) {
	var batch []released
	for {
		batch = batch[:0]
		select {
		case <-ctx.Done():
			return
		case r := <-e.released:
			batch = append(batch, r)
		}
		pause(ctx, gather)
		for len(e.released) > 0 {
			batch = append(batch, <-e.released)
		}
		epoch := e.epoch.Load()
		asking, cancel := context.WithTimeout(ctx, ReservedFor)
		s, err := e.c.JetStream.Stream(asking, e.c.Stream.Name)
		cancel()
		if err != nil {
			continue // the time ends them
		}
		last := max(1, s.CachedInfo().State.LastSeq)
		for _, r := range batch {
			r.c.mu.Lock()
			if e.epoch.Load() == epoch && !r.h.joined {
				r.h.after = last
			}
			r.c.mu.Unlock()
		}
	}
}
