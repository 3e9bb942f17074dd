// Package history is the running program's memory of itself: what happened (entries), and
// what its figures were (series).
//
// Entries are few and short: a start, a change of health, what an operator has changed.
// Each replica keeps its newest MaxEntries in memory and writes them to a key of its own
// in a bucket beside the stream of events, about a second after the first that is new.
// Reading merges all replicas' keys. Series are of this process alone, in memory alone,
// for Kept.
//
// It promises nothing to the data path: Add takes a lock for microseconds, and nobody
// waits for the bucket. An entry of the last second may be lost with a process that is
// killed. When NATS is away entries wait in memory and are written when it is back; a
// reader then gets this replica's alone, and is told so.
//
// An entry holds no secret, no payload and no event. Its texts are bounded and printable.
package history

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents/stream"
)

// Kind says what an entry is about.
type Kind string

// The kinds.
const (
	Start          Kind = "start"          // a replica serves
	Stop           Kind = "stop"           // a replica was told to stop; none comes from one that was killed
	Circuit        Kind = "circuit"        // the circuit in front of NATS changed its state
	Health         Kind = "health"         // a component of /health/saas changed its status
	Change         Kind = "change"         // an operator changed something by the API
	Reconciliation Kind = "reconciliation" // a run found a difference
	Backup         Kind = "backup"         // there is a newer backup, or restore drill
)

// Kinds lists them.
func Kinds() []Kind { return []Kind{Start, Stop, Circuit, Health, Change, Reconciliation, Backup} }

const (
	// MaxEntries is how many entries a replica keeps. Past it the oldest goes; the oldest
	// change while changes are more than half, so that a script of an operator's doesn't
	// drive out the night's outage.
	MaxEntries = 500

	// MaxAge is how long an entry is kept.
	MaxAge = 30 * 24 * time.Hour

	// Bounds of an entry's texts, in bytes; what is longer is cut.
	maxWhat   = 200
	maxDetail = 400
	maxWho    = 80

	writeAfter   = time.Second      // entries that come together are written together
	writeAgain   = 5 * time.Second  // after a write that failed
	writeTimeout = 10 * time.Second // of one write
	lastTimeout  = 2 * time.Second  // of the last one, when the program stops
)

// Entry is one thing that happened.
type Entry struct {
	Time    time.Time `json:"time"` // UTC, to the microsecond, by the replica's clock
	Kind    Kind      `json:"kind"`
	What    string    `json:"what"`             // one line
	Detail  string    `json:"detail,omitempty"` // what more there is to say
	Who     string    `json:"who,omitempty"`    // the key that asked for it, by its name; never the key
	Replica string    `json:"replica"`          // role/host
}

// before orders entries by time, and those of one moment in some order that stays.
func before(a, b Entry) int {
	if c := a.Time.Compare(b.Time); c != 0 {
		return c
	}
	return strings.Compare(a.id(), b.id())
}

// id is equal for the same entry, also after it was written and read.
func (e Entry) id() string {
	return e.Time.UTC().Format(time.RFC3339Nano) + "\x00" + string(e.Kind) + "\x00" + e.What + "\x00" + e.Detail + "\x00" + e.Replica
}

// Config is what a Log needs.
type Config struct {
	JetStream jetstream.JetStream
	Stream    stream.Config
	Replica   string // role/host, which names this replica among others
	Log       *slog.Logger
}

// Log keeps entries. It is safe for concurrent use. The nil Log keeps nothing.
type Log struct {
	replica string
	store   store
	log     *slog.Logger

	changed chan struct{}
	cancel  context.CancelFunc
	done    chan struct{}

	mu      sync.Mutex
	entries []Entry // of this process, the oldest first
	added   uint64  // how many there ever were
	written uint64  // how many of them are in the store
}

// store is where replicas' entries are kept.
type store interface {
	// merge adds to what the key holds what it doesn't have yet, within the bounds.
	merge(ctx context.Context, key string, entries []Entry) error
	// all returns the entries of every key, in no order.
	all(ctx context.Context) ([]Entry, error)
}

// New returns a Log, which writes in the background until Close.
func New(c Config) *Log {
	return newLog(c.Replica, newBucket(c.JetStream, c.Stream), c.Log)
}

func newLog(replica string, s store, log *slog.Logger) *Log {
	l := &Log{replica: replica, store: s, log: log, changed: make(chan struct{}, 1), done: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	go l.run(ctx)
	return l
}

// Add keeps an entry. Time and Replica are filled in if they are empty.
func (l *Log) Add(e Entry) {
	if l == nil {
		return
	}
	if e.Replica == "" {
		e.Replica = l.replica
	}
	e.What, e.Detail, e.Who = Printable(e.What, maxWhat), Printable(e.Detail, maxDetail), Printable(e.Who, maxWho)
	l.mu.Lock()
	if e.Time.IsZero() {
		e.Time = time.Now().Truncate(time.Microsecond)
		if n := len(l.entries); n > 0 && !e.Time.After(l.entries[n-1].Time) {
			e.Time = l.entries[n-1].Time.Add(time.Microsecond) // so that the order stays, whatever the clock does
		}
	}
	e.Time = e.Time.UTC().Truncate(time.Microsecond)
	l.entries = fit(append(l.entries, e))
	l.added++
	l.mu.Unlock()
	select {
	case l.changed <- struct{}{}:
	default: // it will be seen with what came before
	}
}

// Printable is s without what can't be printed, cut at n bytes.
func Printable(s string, n int) string {
	var out strings.Builder
	for _, r := range s {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			continue
		}
		if out.Len()+len(string(r)) > n {
			break
		}
		out.WriteRune(r)
	}
	return out.String()
}

// fit drops entries, sorted oldest first, until there are MaxEntries.
func fit(entries []Entry) []Entry {
	for len(entries) > MaxEntries {
		drop, changes := 0, 0
		for _, e := range entries {
			if e.Kind == Change {
				changes++
			}
		}
		if changes > MaxEntries/2 {
			drop = slices.IndexFunc(entries, func(e Entry) bool { return e.Kind == Change })
		}
		entries = slices.Delete(entries, drop, drop+1)
	}
	return entries
}

// run writes what was added, together with what comes within writeAfter.
func (l *Log) run(ctx context.Context) {
	defer close(l.done)
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.changed:
		}
		told := false
		for wait := writeAfter; pause(ctx, wait); wait = writeAgain {
			err := l.write(ctx, writeTimeout)
			if err == nil || ctx.Err() != nil {
				break
			}
			if !told { // once for each outage
				l.log.Warn("the history of this replica waits in memory until it can be written", "error", err)
				told = true
			}
		}
	}
}

// pause returns false when ctx ends before d has passed.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// write brings the store what it doesn't have.
func (l *Log) write(ctx context.Context, timeout time.Duration) error {
	l.mu.Lock()
	entries, added := slices.Clone(l.entries), l.added
	written := l.written
	l.mu.Unlock()
	if added == written {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := l.store.merge(ctx, l.replica, entries); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.written = added
	return nil
}

// Close writes what is not written yet, for lastTimeout at most, and ends. Nothing may
// be added after it.
func (l *Log) Close() {
	l.cancel()
	<-l.done
	if err := l.write(context.Background(), lastTimeout); err != nil {
		l.log.Warn("the last entries of this replica's history are lost", "error", err)
	}
}

// Filter says which entries are wanted. A zero field wants all.
type Filter struct {
	Since time.Time
	Kind  Kind
	Limit int // the newest so many
}

// Page is what Read returns.
type Page struct {
	Entries []Entry // newest first

	// KeptSince is the time of the oldest entry that is kept, whatever was asked for:
	// what happened before is forgotten. Zero while nothing is kept.
	KeptSince time.Time

	More bool // there are older ones, past Limit

	// Partial says that the other replicas' entries, and those from before this
	// process's start, could not be read.
	Partial bool
}

// readTimeout is how long the bucket may take to answer. Without it, what this process
// knows is the answer.
const readTimeout = 3 * time.Second

// Read returns entries of all replicas.
func (l *Log) Read(ctx context.Context, f Filter) Page {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	stored, err := l.store.all(ctx)
	l.mu.Lock()
	own := slices.Clone(l.entries)
	l.mu.Unlock()
	all := merged(stored, own)
	p := Page{Partial: err != nil}
	if len(all) > 0 {
		p.KeptSince = all[0].Time
	}
	slices.Reverse(all)
	for _, e := range all {
		if f.Kind != "" && e.Kind != f.Kind || e.Time.Before(f.Since) {
			continue
		}
		if f.Limit > 0 && len(p.Entries) == f.Limit {
			p.More = true
			break
		}
		p.Entries = append(p.Entries, e)
	}
	return p
}

// merged is both, each entry once, oldest first. A backup, which every replica notices,
// is one entry.
func merged(a, b []Entry) []Entry {
	all := slices.Concat(a, b)
	slices.SortFunc(all, before)
	seen := map[string]bool{}
	return slices.DeleteFunc(all, func(e Entry) bool {
		id := e.id()
		if e.Kind == Backup {
			id = e.What + "\x00" + e.Detail
		}
		was := seen[id]
		seen[id] = true
		return was
	})
}
