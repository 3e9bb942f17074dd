package host

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// hub wakes who waits for news of a town, from one subscription for all of them. A
// wake-up may come without news, and while NATS is away it doesn't come: who waits
// looks once in a while by itself.
type hub struct {
	follow func(ctx context.Context, f func(id string)) error
	log    *slog.Logger

	mu      sync.Mutex
	waiting map[string]map[chan struct{}]struct{} // by town
	wanted  chan struct{}                         // somebody waits
}

func newHub(follow func(context.Context, func(string)) error, log *slog.Logger) *hub {
	return &hub{follow: follow, log: log, waiting: map[string]map[chan struct{}]struct{}{}, wanted: make(chan struct{}, 1)}
}

// run follows the history from when the first waits, until ctx ends.
func (b *hub) run(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-b.wanted:
	}
	for {
		err := b.follow(ctx, b.wake)
		if ctx.Err() != nil {
			return
		}
		b.log.Debug("towns can't be followed at the moment", "error", err)
		if !sleep(ctx, time.Second) {
			return
		}
	}
}

// wait returns a channel that yields after news of a town, and what ends that.
func (b *hub) wait(id string) (news <-chan struct{}, end func()) {
	c := make(chan struct{}, 1)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting[id] == nil {
		b.waiting[id] = map[chan struct{}]struct{}{}
	}
	b.waiting[id][c] = struct{}{}
	select {
	case b.wanted <- struct{}{}:
	default:
	}
	return c, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.waiting[id], c)
		if len(b.waiting[id]) == 0 {
			delete(b.waiting, id)
		}
	}
}

// wake wakes who waits for a town, or for any with everyone.
func (b *hub) wake(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if id == everyone {
		for _, waiting := range b.waiting {
			wakeAll(waiting)
		}
		return
	}
	wakeAll(b.waiting[id])
}

// everyone is no town's id.
const everyone = "*"

func wakeAll(waiting map[chan struct{}]struct{}) {
	for c := range waiting {
		select {
		case c <- struct{}{}:
		default: // it is told already
		}
	}
}
