// Package admit makes an event count once on its way in: it claims the event's
// identity, has the event made durable, and only then commits the claim.
//
// It promises that Admit returns nil only when every event of the request is
// durable, by this call or an earlier one. It never treats a claim as a
// duplicate: a claim says that somebody is at work, and that somebody may die. A
// claim that isn't committed ends with its lease, and the next delivery of the
// event is new again.
//
// The store of identities is the first line, which saves work and protects
// meters that don't deduplicate. The second line is the identity that travels
// with the event to the meter. So when the store is away, Admit goes on without
// it (it fails open) and counts that in kgents_idempotency_errors_total. When
// nothing durable can take the event, the claims are released and the error has
// the code kgents.CodeUnavailable.
package admit

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/failpoint"
	"github.com/kgents/kgents/telemetry"
)

const (
	// DefaultTTL is how long a committed identity is remembered.
	DefaultTTL = 24 * time.Hour

	// Lease is how long a claim lasts without a commit. It is longer than any
	// publish may take (see package receive's deadlines), so that a claim doesn't
	// end under the hands of a living owner.
	Lease = 15 * time.Second

	// heldWait is how long Admit waits for another owner's claim to be decided
	// before it asks the client to come again.
	heldWait = 2 * time.Second

	// cleanup bounds the release or commit of claims once a caller's own
	// deadline has passed.
	cleanup = 2 * time.Second
)

// State is what a store says of one identity.
type State uint8

// The states. Only Done is a duplicate of something durable.
const (
	Won  State = iota + 1 // the caller has the claim now
	Mine                  // the caller had it already: the same event twice in one request
	Held                  // another owner has the claim; it may still fail
	Done                  // committed before: the event is durable
)

// Store remembers identities. All methods are safe for concurrent use. After
// Close, and before a store is connected, every method returns ErrClosed.
//
// An error means that the store could not tell; the caller then has no claim
// that it may rely on.
type Store interface {
	// CheckAndSet returns true and remembers id for ttl if it is new, false if it
	// is remembered or claimed.
	CheckAndSet(ctx context.Context, id string, ttl time.Duration) (bool, error)

	// Claim tries to take each id for owner until the lease ends and returns a
	// state for each, in order.
	Claim(ctx context.Context, owner string, ids []string, lease time.Duration) ([]State, error)

	// Commit makes ids final for ttl, whoever holds their claims: the caller
	// says that the events are durable.
	Commit(ctx context.Context, owner string, ids []string, ttl time.Duration) error

	// Release gives up those claims on ids that owner still has.
	Release(ctx context.Context, owner string, ids []string) error

	// Close frees what the store holds. It may be called twice.
	Close() error
}

// ErrClosed is the error of a store that is closed or was never connected.
var ErrClosed = errors.New("the idempotency store is not connected")

// Publisher makes events durable: nil means that all of them are synced to disk.
// With an error, any of them may still have become durable; publishing them
// again must be harmless.
type Publisher interface {
	Publish(ctx context.Context, events []kgents.Event) error
}

// Gate admits events. It is safe for concurrent use.
type Gate struct {
	store  Store
	pub    Publisher
	log    *slog.Logger
	prefix string
	calls  atomic.Uint64
	errors *prometheus.CounterVec
}

// New returns a Gate that registers its metrics with reg.
func New(store Store, pub Publisher, log *slog.Logger, reg prometheus.Registerer) *Gate {
	g := &Gate{
		store: store, pub: pub, log: log,
		prefix: rand.Text() + ".", // owners are unique over all replicas
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kgents_idempotency_errors_total",
			Help: "Calls of the idempotency store that failed; admission went on without it.",
		}, []string{"operation"}),
	}
	for _, op := range []string{"claim", "commit", "release"} {
		g.errors.WithLabelValues(op)
	}
	reg.MustRegister(g.errors)
	return g
}

// Admit makes events durable, each identity once, and returns how many were new.
// The order of events is kept within what is published.
func (g *Gate) Admit(ctx context.Context, events []kgents.Event) (fresh int, err error) {
	ctx, span := telemetry.Child(ctx, "admit", trace.SpanKindInternal)
	if !span.IsRecording() {
		return g.admit(ctx, events)
	}
	span.SetAttributes(append(telemetry.EventAttributes(events), telemetry.StageKey.String("admit"))...)
	fresh, err = g.admit(ctx, events)
	span.SetAttributes(attribute.Int("kgents.events.fresh", fresh))
	telemetry.End(span, err)
	return fresh, err
}

func (g *Gate) admit(ctx context.Context, events []kgents.Event) (fresh int, err error) {
	owner := g.prefix + strconv.FormatUint(g.calls.Add(1), 36)
	deadline := time.Now().Add(heldWait)
	pause := 2 * time.Millisecond
	for {
		won, held, err := g.round(ctx, owner, events)
		if err != nil {
			return fresh, err
		}
		fresh += won
		if len(held) == 0 {
			return fresh, nil
		}
		// What this request claimed is durable by now, so two requests that hold
		// parts of each other's events don't wait for each other for ever.
		if time.Now().Add(pause).After(deadline) {
			return fresh, kgents.Unavailable(time.Second, "the same event is being taken by another request: send it again", nil)
		}
		select {
		case <-ctx.Done():
			return fresh, kgents.Unavailable(time.Second, "the request ran out of time: send it again", ctx.Err())
		case <-time.After(pause):
		}
		pause = min(2*pause, 100*time.Millisecond)
		events = held
	}
}

// round claims events, publishes those it won, and returns those that another
// owner holds.
func (g *Gate) round(ctx context.Context, owner string, events []kgents.Event) (won int, held []kgents.Event, err error) {
	ids := identities(events)
	states, err := g.store.Claim(ctx, owner, ids, Lease)
	if err != nil {
		g.failed(ctx, "claim", err)
		if err := g.pub.Publish(ctx, events); err != nil {
			return 0, nil, err
		}
		return len(events), nil, nil
	}
	mine := events
	if !all(states, Won) {
		mine = nil
		var mineIDs []string
		for i, s := range states {
			switch s {
			case Won:
				mine, mineIDs = append(mine, events[i]), append(mineIDs, ids[i])
			case Held:
				held = append(held, events[i])
			}
		}
		ids = mineIDs
	}
	if len(mine) == 0 {
		return 0, held, nil
	}
	failpoint.Hit("admit.claimed")
	mark(ctx, "claimed")
	published := g.pub.Publish(ctx, mine)
	failpoint.Hit("admit.published")
	mark(ctx, "published")

	// The caller may be out of time; its claims must be settled all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanup)
	defer cancel()
	if published != nil {
		if err := g.store.Release(ctx, owner, ids); err != nil {
			g.failed(ctx, "release", err) // the lease ends by itself
		}
		return 0, nil, published
	}
	if err := g.store.Commit(ctx, owner, ids, DefaultTTL); err != nil {
		g.failed(ctx, "commit", err) // durable all the same: a later delivery meets the second line
	}
	return len(mine), held, nil
}

// mark notes a moment in the admission's span, if there is one.
func mark(ctx context.Context, what string) {
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.AddEvent(what)
	}
}

func (g *Gate) failed(ctx context.Context, op string, err error) {
	g.errors.WithLabelValues(op).Inc()
	g.log.WarnContext(ctx, "idempotency store failed, going on without it", "operation", op, "error", err)
}

func all(states []State, want State) bool {
	for _, s := range states {
		if s != want {
			return false
		}
	}
	return true
}

// identities returns every event's Identity, cut from one string.
func identities(events []kgents.Event) []string {
	ids := make([]string, len(events))
	if len(events) == 1 {
		ids[0] = events[0].Identity()
		return ids
	}
	size := 0
	for _, e := range events {
		size += len(e.Source) + 1 + len(e.ID)
	}
	buf := make([]byte, 0, size)
	for _, e := range events {
		buf = append(buf, e.Source...)
		buf = append(buf, ' ')
		buf = append(buf, e.ID...)
	}
	joined := string(buf)
	for i, e := range events {
		n := len(e.Source) + 1 + len(e.ID)
		ids[i], joined = joined[:n], joined[n:]
	}
	return ids
}
