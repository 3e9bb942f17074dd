package tree

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kgents/kgents/agentese"
)

// Snapshot is all live names that are known, at a time. It doesn't change.
type Snapshot struct {
	// Names are by the pattern above them: world.customers -> acme, globex. Those
	// below another live name are by its path: world.town.springfield.citizens.
	Names map[string][]Entry
	At    time.Time
	// Generation grows with each change of the names.
	Generation uint64
}

// How long names are not asked for again, whether they came or not, how long a holon
// may take to list them, how many are asked at once, and how many lists below other
// live names are kept: those that were asked for last.
const (
	freshFor    = 15 * time.Second
	listTimeout = 5 * time.Second
	asksAtOnce  = 4
	maxBelow    = 256
)

// Directory keeps the live names of the tree, so that completion and correction never
// wait for a server. It is safe for concurrent use.
//
// It asks as the observer default, so that what is kept never depends on who looks:
// there is nothing in it that any observer may not see. A holon is asked once at a
// time: who comes while an answer is on its way waits for it rather than take older
// names, and no longer than their own context, which gives what was known before. Close
// it, or what is asked outlives it.
type Directory struct {
	tree    *Tree
	session *Session
	gate    chan struct{}

	life context.Context // of all that is asked; ended by Close
	end  context.CancelFunc
	asks sync.WaitGroup

	mu    sync.Mutex
	lists map[string]*list
	now   *Snapshot
}

// list is what one holon has answered.
type list struct {
	names []Entry
	asked time.Time
	under chan struct{} // closed when the answer that is on its way is here; nil without one
	below bool          // another live name
}

// NewDirectory is an empty one. It takes the session's clock and nothing that changes.
func NewDirectory(t *Tree, s *Session) *Directory {
	d := &Directory{
		tree: t, session: &Session{Observer: Default, Clock: s.Clock}, gate: make(chan struct{}, asksAtOnce),
		lists: map[string]*list{}, now: &Snapshot{Names: map[string][]Entry{}},
	}
	d.life, d.end = context.WithCancel(context.Background())
	return d
}

// Close calls off what is being asked and waits until it has ended. What is known stays;
// nothing is asked any more.
func (d *Directory) Close() {
	d.mu.Lock()
	d.end() // under the lock: no ask begins behind it
	d.mu.Unlock()
	d.asks.Wait()
}

// Snapshot is what is known. It never waits.
func (d *Directory) Snapshot() *Snapshot {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.now
}

// Refresh asks all holons whose live names don't depend on another's, several at once,
// where what is known is older than 15 seconds. It returns when all have answered, in
// 5 seconds each at most, or ctx ends. A holon that fails keeps the names that were
// known, and is not asked again before they would be.
func (d *Directory) Refresh(ctx context.Context) {
	var asks sync.WaitGroup
	for _, p := range d.tree.Places() {
		if p.Node.Live != nil && !strings.Contains(p.Pattern, "{") {
			asks.Go(func() { d.list(ctx, p, p.Pattern, map[string]string{}) })
		}
	}
	asks.Wait()
}

// Below are the live names below a path. It asks for them if they aren't known
// freshly; nil if there can't be any, or nothing is known of them.
func (d *Directory) Below(ctx context.Context, names []string) []Entry {
	p, live, canonical, depth := d.tree.Find(names)
	if depth < len(names) || p.Node == nil || p.Node.Live == nil {
		return nil
	}
	return d.list(ctx, p, agentese.JoinPath(canonical...), live)
}

func (d *Directory) list(ctx context.Context, p Place, at string, live map[string]string) []Entry {
	d.mu.Lock()
	l := d.lists[at]
	if l == nil {
		l = &list{below: len(live) > 0}
		d.lists[at] = l
	}
	if l.under == nil && d.life.Err() == nil && (l.asked.IsZero() || time.Since(l.asked) >= freshFor) {
		l.under, l.asked = make(chan struct{}), time.Now()
		// Not with ctx: who has asked first may leave, and others still wait.
		d.asks.Go(func() { d.ask(l, p, at, live) })
	}
	under := l.under
	d.mu.Unlock()
	if under != nil {
		select {
		case <-under:
		case <-ctx.Done():
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return l.names
}

// ask gets one holon's names. It ends with listTimeout or Close, if its node keeps to that.
func (d *Directory) ask(l *list, p Place, at string, live map[string]string) {
	d.gate <- struct{}{}
	ctx, cancel := context.WithTimeout(d.life, listTimeout)
	found, err := p.Node.Live.List(ctx, &Call{Path: at, Names: live, Observer: Default, Session: d.session, Tree: d.tree})
	cancel()
	<-d.gate
	found = slices.DeleteFunc(slices.Clone(found), func(e Entry) bool { return e.Name == "" })
	found = found[:min(len(found), MaxNames)]

	d.mu.Lock()
	defer d.mu.Unlock()
	close(l.under)
	l.under = nil
	gone := d.forget()
	_, known := d.now.Names[at]
	news := err == nil && (!known || !slices.Equal(found, l.names))
	if news {
		l.names = found
	}
	if !news && len(gone) == 0 {
		return
	}
	next := &Snapshot{Names: maps.Clone(d.now.Names), At: time.Now(), Generation: d.now.Generation + 1}
	if news {
		next.Names[at] = found
	}
	for _, at := range gone {
		delete(next.Names, at)
	}
	d.now = next
}

// forget drops the lists below live names that are more than maxBelow, those first
// that were asked for longest ago.
func (d *Directory) forget() []string {
	var below []string
	for at, l := range d.lists {
		if l.below && l.under == nil {
			below = append(below, at)
		}
	}
	if len(below) <= maxBelow {
		return nil
	}
	slices.SortFunc(below, func(a, b string) int {
		return cmp.Or(d.lists[a].asked.Compare(d.lists[b].asked), strings.Compare(a, b))
	})
	below = below[:len(below)-maxBelow]
	for _, at := range below {
		delete(d.lists, at)
	}
	return below
}
