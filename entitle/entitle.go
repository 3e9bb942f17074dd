// Package entitle answers whether a customer may use more of what its plan limits, and
// bounds its requests by the plan's rate.
//
// An Engine answers from memory, in about a microsecond, and asks nobody meanwhile.
// What a customer has used is what the meter has said (the base, asked again every
// minute while the customer uses something) and what the stream of events has shown
// since: each replica reads the stream by itself, from the message up to which the sink
// has acknowledged everything, so usage shows on every replica as soon as it is durable
// and has travelled, well within a second.
//
// # How far over a hard limit
//
// A replica refuses what doesn't fit beside what it has seen and what it has granted
// itself (Take). It can't know what others have granted a moment ago. With N replicas,
// of which each grants at most g units in λ, what is granted in total is at most
//
//	limit + (N−1) × g
//
// where λ is the time from a grant until the other replicas have read its event: the
// caller's own work, the write to the stream, and the tail's latency, which is
// milliseconds. That is less than one flush interval's worth, in which λ fits many
// times. One replica alone grants exactly the limit. It holds for callers who Take what
// they use and release when that is durable, within ReservedFor; who only asks (Check)
// adds what it lets through in λ, and nothing who sends its usage through this replica
// one by one and asks it: what is durable by then counts (CatchUp). Nor can a limit hold
// back what a customer sends as usage by itself: usage that has happened is never
// refused.
//
// It errs to the other side, refusing early, by what was under way at a refresh: the
// meter may have counted messages that the sink has not acknowledged, and these count
// twice until the next refresh, a second later at first. That too is one flush
// interval's worth at most, and with an OpenMeter that counts asynchronously what it
// counts in Config.Settle. So do duplicates in the stream, and events that the meter
// refuses. A reservation and its event count twice for the some 20 ms in which it is
// found out that the tail has passed it. A customer who has been quiet for the lull of
// 15 s is asked of the meter again: then every replica says exactly what the meter says.
//
// # When something is away
//
// While the meter is away, answers come from its last word and the stream: exact but
// for duplicates. While NATS is, from what is known: nothing new becomes durable then,
// but for what publishers keep in their spool, which shows when it is drained. Before
// the meter has spoken at all nothing counts as used: entitlements fail open, since a
// customer who has paid must not stand still because of us. Each such answer is Stale,
// and kgents_entitlement_stale is 1 while they are; the tail goes on where it was, so
// nothing is left out. A late event counts in the period of its time, and not in the
// one that is now.
//
// # Bounds
//
// A counter of some 200 bytes for each customer and metered feature, up to maxDeltas
// messages of it since the last refresh, and up to maxHolds reservations. What the
// tail has pulled and not read is at most 4 MiB.
package entitle

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/meter"
	"github.com/kgents/kgents/stream"
)

// Account is a customer as far as limits go.
type Account struct {
	ID                     string
	Plan                   kgents.Plan // in force now
	PeriodStart, PeriodEnd time.Time   // of the subscription; the calendar month in UTC without one
	Subscribed             bool        // has a subscription, which is changed and not bought again
}

// Accounts are the customers. They answer from memory.
type Accounts interface {
	// Account returns the customer with this id as it is now.
	Account(id string) (Account, bool)

	// Each calls f with every customer.
	Each(f func(Account))
}

// Meter is the truth of what was used. *meter.Client is one.
type Meter interface {
	Meters(ctx context.Context) ([]meter.Meter, error)
	Query(ctx context.Context, q meter.Query) (meter.Result, error)
}

// Config is what an Engine needs.
type Config struct {
	Accounts   Accounts
	Catalog    func() *kgents.Catalog
	Meter      Meter
	JetStream  jetstream.JetStream
	Stream     stream.Config
	Log        *slog.Logger
	Registerer prometheus.Registerer

	// Settle is how long after the sink's acknowledgement the meter may not have
	// counted an event yet: 0 for the embedded meter, SettleRemote for OpenMeter, which
	// counts asynchronously.
	Settle time.Duration

	// Checkout returns a page where the customer, who has no subscription, can buy the
	// plan, or "". It must ask nobody. It may be nil.
	Checkout func(customer, plan string) string

	// Crossed is told when the meter has counted a percent of a limit that is in
	// Catalog.AlertAt, by every replica and again after a restart. It must not block. It
	// may be nil.
	Crossed func(Crossing)
}

// SettleRemote is the Settle of an OpenMeter that is not the embedded one.
const SettleRemote = 10 * time.Second

// Crossing is a percent of a limit that a customer's usage has reached.
type Crossing struct {
	Customer, Plan         string
	Feature                kgents.Feature
	Percent                int // the highest that is reached
	Used                   int64
	Limit                  int64
	Over                   kgents.Over
	PeriodStart, PeriodEnd time.Time
}

// Engine answers from memory. It is safe for concurrent use. Close it.
type Engine struct {
	c       Config
	now     func() time.Time
	lull    time.Duration
	metrics *metrics

	// live says that the tail has read all there is, or nearly; failing that the meter
	// can't be asked.
	live, failing atomic.Bool

	epoch     atomic.Uint64 // how often the tail began anew; 0 before the first time
	at        atomic.Uint64 // the tail has read everything up to this message
	reading   atomic.Uint64 // the message that it is at, or at
	placed    bool          // at means something; the tail's own
	delivered uint64        // by the tail's consumer; the tail's own
	scan      scanner       // the tail's own

	learning sync.Mutex
	learnt   atomic.Pointer[learnt]

	mu        sync.RWMutex // before a customer's
	customers map[string]*customer
	places    []place   // of the sink, for Settle
	sure      time.Time // see certain

	activeMu sync.Mutex // after all others
	active   []*customer

	released chan released
	caught   waiters

	stop func()
	done sync.WaitGroup
}

// New returns an Engine that begins to read in the background. It needs neither NATS
// nor the meter to be there.
func New(c Config) *Engine {
	e := newEngine(c)
	e.start()
	return e
}

func (e *Engine) start() {
	ctx, cancel := context.WithCancel(context.Background())
	e.stop = cancel
	e.done.Go(func() { e.follow(ctx) })
	e.done.Go(func() { e.keep(ctx) })
	e.done.Go(func() { e.settle(ctx) })
}

func newEngine(c Config) *Engine {
	e := &Engine{c: c, now: time.Now, lull: lull, customers: map[string]*customer{}, released: make(chan released, maxReleased), stop: func() {}}
	e.metrics = newMetrics(c.Registerer, e)
	return e
}

// Close ends what runs in the background. The engine goes on answering from what it
// knows.
func (e *Engine) Close() {
	e.stop()
	e.done.Wait()
}

// Away tells what an answer can't rest on now: the stream, which isn't read, or the meter,
// which can't be asked.
func (e *Engine) Away() (stream, meter bool) { return !e.live.Load(), e.failing.Load() }

// Changed says that something about a customer may be different: its plan or its
// period. It is for Accounts that can tell; answers are by the new plan at once without
// it, and alerts within a minute.
func (e *Engine) Changed(customer string) {
	if _, ok := e.c.Accounts.Account(customer); !ok {
		e.mu.RLock()
		c := e.customers[customer]
		e.mu.RUnlock()
		if c != nil {
			e.touch(c) // who is then let go
		}
		return
	}
	c := e.customer(customer)
	c.mu.Lock()
	for _, k := range c.counters {
		k.due = time.Time{}
	}
	c.mu.Unlock()
	e.touch(c)
}
