package host

import (
	"context"
	"sync"
	"time"

	"github.com/kgents/kgents"
)

const (
	// lookEvery is how often the sweep looks whose every town is, also of towns in which
	// nothing has happened, and orphanAge how long a town must have been seen without its
	// customer before it ends: a bucket of customers that was restored from before the
	// customer was made may yet be restored again.
	lookEvery = 15 * time.Minute
	orphanAge = time.Hour
)

// Owners are the customers, as far as towns ask for them. They answer from memory.
type Owners interface {
	// Since is when the customer with an id was made. There is false when there is none.
	// Sure is false when there may be another by now.
	Since(id string) (since time.Time, there, sure bool)
}

// epoch is when a customer was made who is to get a town. It is zero without Owners.
func (h *Host) epoch(customer string) (time.Time, error) {
	if h.Owners == nil {
		return time.Time{}, nil
	}
	since, there, sure := h.Owners.Since(customer)
	switch {
	case there:
		return since, nil
	case sure:
		return time.Time{}, kgents.Errorf(kgents.CodeNotFound, "there is no such customer")
	}
	return time.Time{}, errOwner
}

var errOwner = kgents.Unavailable(2*time.Second, "whose town this is can't be told at the moment: try again", nil)

// orphan tells whether a town's customer is no more, and whether another has its id by
// now. A town from before customers were looked at is whoever's has the id.
func (h *Host) orphan(r *record) (is, taken, sure bool) {
	if h.Owners == nil {
		return false, false, true
	}
	since, there, sure := h.Owners.Since(r.Customer)
	switch {
	case !there:
		return true, false, sure
	case r.Epoch.IsZero() || r.Epoch.Equal(since):
		return false, false, true
	}
	return true, true, sure
}

// orphans are the towns without a customer, and since when each is known to be one.
type orphans struct {
	mu     sync.Mutex
	since  map[string]time.Time // by town; as many as there are
	looked time.Time            // when all towns were looked at last
}

// due tells whether all towns are to be looked at, not only those that have changed.
func (o *orphans) due(now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now.Sub(o.looked) < lookEvery {
		return false
	}
	o.looked = now
	return true
}

// note returns for how long a town is known to be an orphan.
func (o *orphans) note(id string, is bool, now time.Time) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !is {
		delete(o.since, id)
		return 0
	}
	if o.since[id].IsZero() {
		o.since[id] = now
	}
	return now.Sub(o.since[id])
}

// bury ends a town whose customer has been gone for long. What it used has gone out,
// unless the customer's id is another's by now: that one must not pay for it.
func (h *Host) bury(ctx context.Context, id string, rec record, revision uint64) error {
	if err := h.store.remove(ctx, townKey(id), revision); err != nil {
		return err
	}
	h.orphaned.note(id, false, time.Time{})
	h.ended(ctx, rec.Customer, id)
	h.Log.Info("a town has ended because its customer is no more", "town", id, "customer", rec.Customer)
	return nil
}
