package tree

import (
	"context"
	"sync"
	"time"
)

// Snapshot is all live names that are known, at a time. It doesn't change.
type Snapshot struct {
	// Names are by the pattern above them: world.customers -> acme, globex. Those
	// below another live name are by its path: world.town.springfield.citizens.
	Names map[string][]Entry
	At    time.Time
	// Generation grows with each change.
	Generation uint64
}

// freshFor is how long names are not asked for again, listTimeout how long a holon may
// take to list them.
const (
	freshFor    = 15 * time.Second
	listTimeout = 5 * time.Second
)

// Directory keeps the live names of the tree, so that completion and correction never
// wait for a server. It is safe for concurrent use.
type Directory struct {
	tree    *Tree
	session *Session

	mu    sync.Mutex
	names map[string][]Entry
	asked map[string]time.Time
	now   *Snapshot
}

// NewDirectory is an empty one.
func NewDirectory(t *Tree, s *Session) *Directory {
	return &Directory{tree: t, session: s, names: map[string][]Entry{}, asked: map[string]time.Time{}, now: &Snapshot{Names: map[string][]Entry{}}}
}

// Snapshot is what is known. It never waits.
func (d *Directory) Snapshot() *Snapshot {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.now
}

// Refresh asks all holons whose live names don't depend on another's, several at once,
// where what is known is older than freshFor. It returns when all have answered or
// ctx ends. A holon that fails keeps the names that were known.
func (d *Directory) Refresh(ctx context.Context) {
	var asks sync.WaitGroup
	gate := make(chan struct{}, 4)
	for _, p := range d.tree.Places() {
		if p.Node.Live == nil || isLive(p.Pattern) {
			continue
		}
		asks.Go(func() {
			gate <- struct{}{}
			defer func() { <-gate }()
			d.list(ctx, p, p.Pattern, map[string]string{})
		})
	}
	asks.Wait()
}

// Below asks for the live names below a path, if they aren't known freshly.
func (d *Directory) Below(ctx context.Context, names []string) []Entry {
	p, live, canonical, depth := d.tree.Find(names)
	if depth < len(names) || p.Node == nil || p.Node.Live == nil {
		return nil
	}
	return d.list(ctx, p, joinDots(canonical), live)
}

func (d *Directory) list(ctx context.Context, p Place, at string, live map[string]string) []Entry {
	d.mu.Lock()
	known, fresh := d.names[at], time.Since(d.asked[at]) < freshFor
	if !fresh {
		d.asked[at] = time.Now()
	}
	d.mu.Unlock()
	if fresh {
		return known
	}
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	found, err := p.Node.Live.List(ctx, &Call{Path: at, Names: live, Observer: d.session.Observer, Session: d.session, Tree: d.tree})
	if err != nil {
		return known
	}
	if len(found) > MaxNames {
		found = found[:MaxNames]
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.names[at] = found
	next := &Snapshot{Names: make(map[string][]Entry, len(d.names)), At: time.Now(), Generation: d.now.Generation + 1}
	for k, v := range d.names {
		next.Names[k] = v
	}
	d.now = next
	return found
}

func isLive(pattern string) bool {
	for _, r := range pattern {
		if r == '{' {
			return true
		}
	}
	return false
}

func joinDots(names []string) string {
	var b []byte
	for i, n := range names {
		if i > 0 {
			b = append(b, '.')
		}
		b = append(b, n...)
	}
	return string(b)
}
