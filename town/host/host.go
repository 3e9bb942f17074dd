// Package host keeps the towns of customers: it lets them live, bills what they do,
// and tells what happened in them.
//
// It promises that usage counted is interactions that happened. A step writes the
// town's new state and the events that led to it in one value, by compare and swap,
// before anything is published; then the events go out, as usage through the same gate
// as anybody's and as history into a stream of their own; the next write takes them out
// of the value. What a crash leaves in a town's outbox goes out when the town is touched
// next, and by a sweep at the start and every minute. Identities are derived from the
// town and the event's number, so what goes out twice counts once. A town whose outbox
// can't go out takes no further step, and says 503.
//
// Everything stands in JetStream, so each replica serves each town: bucket
// <stream>-towns with the keys town.<id>, own.<customer> (which towns a customer has)
// and pace.<id> (which towns live by themselves), and stream <stream>-town with the
// history. While NATS is away every method answers with kgents.CodeUnavailable, and
// the host comes back with it. History is bounded (30 days, 256 MiB, 10,000 steps a
// town) and forgets its oldest: it is to look at, and the money is not in it.
//
// A town belongs to the customer that it was founded for. When that one is deleted, the
// town lives no more from then on, is shown to nobody, and ends some hour later; a
// customer that is made with the same id doesn't get it.
package host

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/api"
	"github.com/kgents/kgents/entitle"
	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/town"
)

const (
	// MaxTowns is how many towns one customer may have, whatever the plan says: the
	// list of them is one value. Past it a new one is refused.
	MaxTowns = 1_000

	// townsPerHour is how many towns a customer's keys found at a replica, past MaxTowns at
	// once: a deleted town's names stay in the bucket.
	townsPerHour = 60

	// MaxPhases is the longest step that may be asked for at once.
	MaxPhases = 100

	// stepBudget is how long a step goes on beginning phases; then it answers with
	// what was done. A phase with a language model takes seconds.
	stepBudget = 20 * time.Second

	// maxOutbox is the number of events, and maxUnsent the time, from which a longer
	// step is written and sent before it goes on: a value stays far below a message's
	// 1 MB, and what entitlements hold in reserve for it (5 s) doesn't run out.
	maxOutbox = 100
	maxUnsent = 2 * time.Second

	// conflicts is how often a step that another replica was faster than begins again.
	conflicts = 20

	// mindBudget is how long a step waits for a language model, all in all. What isn't
	// decided by then is decided by rules.
	mindBudget = 30 * time.Second

	// lease is how long one replica may be at a step with a language model before
	// another may begin: decisions cost money, and only one of two would count.
	lease = 90 * time.Second

	// ioTimeout bounds one request to NATS.
	ioTimeout = 5 * time.Second

	// sweepEvery is the time between two looks for outboxes that a crash has left,
	// sweepAge how old one has to be: whoever wrote it is likely still at it.
	sweepEvery = time.Minute
	sweepAge   = 10 * time.Second

	// workers bounds the towns that one replica mends, or lets live by themselves,
	// at the same time.
	workers = 8
)

// Admitter makes usage durable: admit.Gate. Nil means that all of it is.
type Admitter interface {
	Admit(ctx context.Context, events []kgents.Event) (fresh int, err error)
}

// Limits is what plans allow: entitle.Engine. Both answer from memory.
type Limits interface {
	// Require is nil if the customer may have more of a feature of which there are
	// existing already, else an *kgents.Error with CodePayment.
	Require(customer, feature string, more int64, existing *int64) error

	// Take sets n of a metered feature aside for the customer if the answer allows
	// it, until release is called, which is when it is durable or won't be.
	Take(customer, feature string, n int64) (release func(), a entitle.Answer, err error)
}

// The features of the catalog that towns ask for.
const (
	FeatureTowns        = "towns"
	FeatureCitizens     = "citizens"
	FeatureTokens       = "tokens"
	FeatureInteractions = "interactions"
)

// Config is what a Host needs.
type Config struct {
	JetStream jetstream.JetStream
	Stream    stream.Config
	Admitter  Admitter
	Limits    Limits
	Mind      town.Decider // nil: every town lives by rules
	Owners    Owners       // nil: every customer is there, and always was

	// Good tells whether the key that a client has a stream open with opens it still. It
	// is asked every heartbeat. Nil: it does.
	Good func(kgents.Principal) bool

	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Host serves the towns of all customers. It is safe for concurrent use.
type Host struct {
	Config
	store    store
	history  history
	hub      *hub
	settled  settled // written outboxes that are out
	clean    settled // written towns whose outbox is empty
	metrics  *metrics
	streams  *streams
	orphaned orphans
	often    api.Often // towns that a customer founds

	stop  context.CancelFunc
	tasks sync.WaitGroup

	// crash, in tests, ends a step at a place as the end of the process would.
	crash   func(place string) error
	beat    time.Duration // heartbeat
	rewatch time.Duration // how often all paces are read again
}

// New returns a Host that sweeps, and lets towns live, until Close.
func New(c Config) *Host {
	h := &Host{
		Config:   c,
		store:    store{js: c.JetStream, c: c.Stream},
		history:  history{js: c.JetStream, c: c.Stream},
		settled:  settled{at: map[string]uint64{}},
		clean:    settled{at: map[string]uint64{}},
		metrics:  newMetrics(c.Registerer),
		streams:  newStreams(),
		orphaned: orphans{since: map[string]time.Time{}},
		often:    api.Often{PerHour: townsPerHour, AtOnce: MaxTowns},
		crash:    func(string) error { return nil },
		beat:     heartbeat,
		rewatch:  rewatchEvery,
	}
	ctx, stop := context.WithCancel(context.Background())
	h.stop = stop
	h.hub = newHub(h.history.follow, c.Log)
	h.tasks.Go(func() { h.hub.run(ctx) })
	h.tasks.Go(func() { h.sweeps(ctx) })
	h.tasks.Go(func() { h.paced(ctx) })
	return h
}

// EndStreams ends the event streams that clients have open, and takes no new ones. A
// server that drains would wait for them.
func (h *Host) EndStreams() { h.streams.end() }

// Close ends what runs in the background. Steps under way are the callers'.
func (h *Host) Close() {
	h.streams.end()
	h.stop()
	h.tasks.Wait()
}

// unavailable is the error for NATS being away.
func unavailable(err error) error {
	return kgents.Unavailable(time.Second, "towns can't be reached at the moment: try again", err)
}

// sleep waits for d, give or take a quarter. It is false when ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d*3/4 + rand.N(d/2+1))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// settled remembers which written outboxes are out, so that the next step of the same
// replica needn't send them again. Forgetting costs a repetition.
type settled struct {
	mu sync.Mutex
	at map[string]uint64 // revision by town
}

// maxSettled bounds it; past it some are forgotten.
const maxSettled = 100_000

func (s *settled) put(id string, revision uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for other := range s.at {
		if len(s.at) < maxSettled {
			break
		}
		delete(s.at, other)
	}
	s.at[id] = revision
}

func (s *settled) is(id string, revision uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at[id] == revision
}

func (s *settled) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.at, id)
}
