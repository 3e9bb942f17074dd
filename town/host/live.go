package host

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents"
)

// sweeps looks for what crashes have left, soon after the start and then every minute.
// Replicas do it at different moments, and what two of them send counts once.
func (h *Host) sweeps(ctx context.Context) {
	for wait := 2 * time.Second; sleep(ctx, wait); wait = sweepEvery {
		if err := h.sweep(ctx, sweepAge); err != nil && ctx.Err() == nil {
			h.Log.Debug("towns can't be looked through at the moment", "error", err)
		}
	}
}

// Sweep sends now what stands in outboxes, however young: what another replica is at is
// sent twice then, and counts once.
func (h *Host) Sweep(ctx context.Context) error { return h.sweep(ctx, 0) }

// sweep sends what stands in outboxes that are as old as age, and empties them. It
// reads the keys alone, and of a town that hasn't changed since it was seen with an
// empty outbox nothing more.
func (h *Host) sweep(ctx context.Context, age time.Duration) error {
	kv, err := h.store.open(ctx)
	if err != nil {
		return err
	}
	watch, err := kv.Watch(ctx, townKey("*"), jetstream.MetaOnly(), jetstream.IgnoreDeletes())
	if err != nil {
		return err
	}
	defer watch.Stop()
	var tasks sync.WaitGroup
	defer tasks.Wait()
	slots := make(chan struct{}, workers)
	all := h.orphaned.due(time.Now())
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(ioTimeout):
			return unavailable(errors.New("the keys don't come"))
		case entry := <-watch.Updates():
			if entry == nil { // that was all
				return nil
			}
			id := strings.TrimPrefix(entry.Key(), townKey(""))
			if !all && h.clean.is(id, entry.Revision()) || time.Since(entry.Created()) < age {
				continue
			}
			slots <- struct{}{}
			tasks.Go(func() {
				defer func() { <-slots }()
				if err := h.mend(ctx, id); err != nil && !errors.Is(err, errConflict) && ctx.Err() == nil {
					h.Log.Warn("a town's outbox can't go out at the moment: it is kept", "town", id, "error", err)
				}
			})
		}
	}
}

// mend sends and empties the outbox of one town.
func (h *Host) mend(ctx context.Context, id string) error {
	var rec record
	revision, err := h.store.get(ctx, townKey(id), &rec)
	if err != nil || revision == 0 {
		return err
	}
	is, taken, sure := h.orphan(&rec)
	gone := h.orphaned.note(id, is && sure, time.Now())
	if is && (taken || !sure) {
		if gone >= orphanAge {
			return h.bury(ctx, id, rec, revision)
		}
		return nil // nobody pays for what is in its outbox, or not for sure
	}
	if len(rec.Outbox) > 0 {
		if !h.settled.is(id, revision) {
			if err := h.send(ctx, id, rec, revision); err != nil {
				return err
			}
			if !h.settled.is(id, revision) {
				return nil // the usage is out, the history isn't
			}
			h.metrics.mended.Inc()
		}
		rec.Outbox = nil
		if revision, err = h.store.put(ctx, townKey(id), rec, revision); err != nil {
			return err // who was faster has seen to it
		}
	}
	if gone >= orphanAge {
		return h.bury(ctx, id, rec, revision)
	}
	h.clean.put(id, revision)
	return nil
}

// paced lets towns live by themselves. Each replica knows all of them, and whoever is
// first at a phase lives it: the others see that it isn't due any more.
func (h *Host) paced(ctx context.Context) {
	for {
		if err := h.live(ctx); err != nil && ctx.Err() == nil {
			h.Log.Debug("towns don't live by themselves at the moment", "error", err)
		}
		if !sleep(ctx, time.Second) {
			return
		}
	}
}

// rewatchEvery is how often all paces are read again. Tests have less.
var rewatchEvery = 5 * time.Minute

// lookAgain is the longest until a town is looked at again that could not live.
const lookAgain = 15 * time.Second

// paceTick is how exact a pace is.
const paceTick = 100 * time.Millisecond

// turn is when a town is due next.
type turn struct {
	pace
	written time.Time
	next    time.Time
	busy    bool
}

func (h *Host) live(ctx context.Context) error {
	kv, err := h.store.open(ctx)
	if err != nil {
		return err
	}
	watch, err := kv.Watch(ctx, paceKey("*"))
	if err != nil {
		return err
	}
	defer watch.Stop()
	var (
		mu    sync.Mutex
		turns = map[string]*turn{}
		tasks sync.WaitGroup
		slots = make(chan struct{}, workers)
		tick  = time.NewTicker(paceTick)
	)
	defer tasks.Wait()
	defer tick.Stop()
	again := time.NewTimer(h.rewatch)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-again.C: // the bucket may be another by now, as after a restore
			return nil
		case entry, ok := <-watch.Updates():
			if !ok {
				return errors.New("the watch has ended")
			}
			if entry == nil {
				continue // that was what was there
			}
			id := strings.TrimPrefix(entry.Key(), paceKey(""))
			mu.Lock()
			delete(turns, id)
			t := &turn{written: entry.Created()}
			if entry.Operation() == jetstream.KeyValuePut && decode(entry.Value(), &t.pace) == nil && t.Every >= MinPace {
				turns[id] = t
			}
			mu.Unlock()
		case now := <-tick.C:
			mu.Lock()
			for id, t := range turns {
				if t.busy || now.Before(t.next) {
					continue
				}
				select {
				case slots <- struct{}{}:
				default:
					continue // all are at work: it is late
				}
				t.busy = true
				tasks.Go(func() {
					next := h.turn(ctx, id, *t)
					mu.Lock()
					defer mu.Unlock()
					t.busy, t.next = false, next
					<-slots
				})
			}
			mu.Unlock()
		}
	}
}

// turn lives a phase of a town if it is due, and returns when to look again.
func (h *Host) turn(ctx context.Context, id string, t turn) time.Time {
	var next time.Time
	stands := false // the record says that it doesn't live by itself
	_, err := h.advance(ctx, t.Customer, id, 1, func(r *record) bool {
		stands = r.Pace == 0
		if next = r.Stepped.Add(r.Pace); stands || time.Now().Before(next) {
			return false
		}
		next = time.Now().Add(r.Pace)
		return true
	})
	now := time.Now()
	switch code := kgents.ErrorCode(err); {
	case (stands || code == kgents.CodeNotFound) && now.Sub(t.written) > unfinished:
		h.unpace(ctx, id)
		return now.Add(unfinished)
	case stands, code == kgents.CodeNotFound:
		return now.Add(time.Second)
	case err != nil: // told by the metrics and the edge; the next look is soon enough
		return now.Add(min(t.Every, lookAgain))
	}
	return next
}
