package entitle

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/kgents/kgents"
)

// learnt is what the meter counts, for a catalog.
type learnt struct {
	tallies
	of *kgents.Catalog
	at time.Time
	ok bool // everything that is limited can be counted
}

// learn asks the meter what it counts: once, when what is sold has changed, and every
// minute while something of it can't be counted.
func (e *Engine) learn(ctx context.Context) error {
	e.learning.Lock()
	defer e.learning.Unlock()
	cat, now := e.c.Catalog(), e.now()
	before := e.learnt.Load()
	if before != nil && before.of == cat && (before.ok || now.Sub(before.at) < every) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	meters, err := e.c.Meter.Meters(ctx)
	if err != nil {
		return fmt.Errorf("the meter doesn't say what it counts: %w", err)
	}
	l := &learnt{of: cat, at: now}
	l.tallies, err = newTallies(cat, meters)
	l.ok = err == nil
	if err != nil && (before == nil || before.of != cat) {
		e.c.Log.Error("the plans limit something that can't be counted", "error", err)
	}
	e.learnt.Store(l)
	if before == nil {
		return nil // the tail has read nothing yet
	}
	// Of a meter that the tail has not looked for until now it has missed what was used.
	e.mu.RLock()
	defer e.mu.RUnlock()
	for _, c := range e.customers {
		c.mu.Lock()
		for _, k := range c.counters {
			if before.bySlug[k.meter] == nil && l.bySlug[k.meter] != nil {
				k.since, k.due = max(k.since, e.reading.Load()), time.Time{}
			}
		}
		c.mu.Unlock()
		e.touch(c)
	}
	return nil
}

// fit gives c a counter for each metered feature that is sold. The caller holds c.mu.
func (e *Engine) fit(c *customer) {
	cat := e.c.Catalog()
	if c.of == cat {
		return
	}
	c.of = cat
	c.counters = slices.DeleteFunc(c.counters, func(k *counter) bool {
		f, ok := cat.Feature(k.feature)
		return !ok || f.Meter != k.meter
	})
	for _, f := range cat.Features {
		if f.Metered() && c.counter(f.ID) == nil {
			// What the tail is at it may have passed this counter with.
			c.counters = append(c.counters, &counter{feature: f.ID, meter: f.Meter, since: e.reading.Load(), next: noAlert})
		}
	}
}

// customer is the one with this id, from now on if there was none.
func (e *Engine) customer(id string) *customer {
	e.mu.RLock()
	c := e.customers[id]
	e.mu.RUnlock()
	if c != nil {
		return c
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if c = e.customers[id]; c == nil {
		c = &customer{id: id}
		e.customers[id] = c
		c.mu.Lock()
		e.fit(c)
		c.mu.Unlock()
	}
	return c
}

// forget drops a customer who is no more.
func (e *Engine) forget(c *customer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.customers, c.id)
}

// touch makes sure that it is looked at what the meter is to be asked about c.
func (e *Engine) touch(c *customer) {
	if c.queued.Swap(true) {
		return
	}
	e.activeMu.Lock()
	e.active = append(e.active, c)
	e.activeMu.Unlock()
}
