// Package follow brings what Stripe tells from the stream to the customers.
//
// It promises that every Stripe event in the stream is applied at least once, by one of
// the sinks, which share a durable consumer: a message is acknowledged when all of its
// Stripe events are applied, or are none that could be. To apply an event twice, or after
// a later one, changes nothing (see package subscription), so a crash in between is
// mended by the redelivery.
//
// When NATS is away, it waits. When an event can't be applied, its message is given back
// and comes again, later and later up to longestWait, for ever; nothing is given up, and
// the other messages go on. What can't be read is logged, counted and acknowledged: the
// sink makes a dead letter of the same message.
//
// It is bounded by pulledMessages and pulledBytes of messages in memory, and by
// maxAckPending of all sinks together.
package follow

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/failpoint"
	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/subscription"
)

const (
	// Durable is the consumer that all sinks share.
	Durable = "billing"

	// maxAckPending bounds the messages that all sinks together hold unfinished. Most
	// have no Stripe event and are acknowledged at once; when as many as this wait for
	// customers that can't be written, the rest waits in the stream.
	maxAckPending = 1024

	// pulledMessages and pulledBytes bound one request for messages.
	pulledMessages = 256
	pulledBytes    = 4 << 20

	// pullRound is how long one request for messages may take, and pullHeartbeat
	// how often the server says meanwhile that it is there.
	pullRound     = 30 * time.Second
	pullHeartbeat = time.Second

	// onItsWay is how long a stopping follower takes in what the server has already
	// sent it, and giveBack how long the server waits before it delivers that again.
	onItsWay = 100 * time.Millisecond
	giveBack = 250 * time.Millisecond

	// reopen is the pause before the consumer is asked for again after an error.
	reopen = time.Second

	// writers is how many customers are written at once.
	writers = 8
)

// The waits before a message comes again whose events could not be applied: the first,
// then twice as long each time, up to the longest. Half of it is random.
const (
	firstWait   = time.Second
	longestWait = time.Minute
)

// Accounts are the customers. Apply adds what Stripe has told of its customer to the
// customer that it is; ref is the customer's id as the event names it, empty if it names
// none. To apply the same again must change nothing. An error with CodeInvalid says that
// no repetition would help; after any other it is called again.
type Accounts interface {
	Apply(ctx context.Context, stripe, ref string, changes []subscription.Change) error
}

// Config is what a Follower needs.
type Config struct {
	// Open returns the stream of events and its consumer, which Consumer makes. It is
	// called again after an error.
	Open func(context.Context) (jetstream.Stream, jetstream.Consumer, error)

	Accounts   Accounts
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Consumer makes or updates the durable consumer on the stream of events. It begins with
// the oldest message that is there.
func Consumer(ctx context.Context, events jetstream.Stream) (jetstream.Consumer, error) {
	return events.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable:       Durable,
		Description:   "Applies what Stripe tells to the customers",
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       stream.AckWait,
		DeliverPolicy: jetstream.DeliverAllPolicy,
		MaxDeliver:    -1,
		MaxAckPending: maxAckPending,
	})
}

// Follower follows. Run it once.
type Follower struct {
	Config
	metrics *metrics
	source  atomic.Pointer[source]
	oldest  atomic.Int64 // nanoseconds
	failing atomic.Bool  // the stream can't be read
}

// source is where the messages come from at the moment.
type source struct {
	events   jetstream.Stream
	consumer jetstream.Consumer
}

// New returns a Follower that is not running yet.
func New(c Config) *Follower {
	return &Follower{Config: c, metrics: newMetrics(c.Registerer)}
}

// Status is the age of the oldest message that no sink has brought to the customers, as it
// was some seconds ago, and whether this one can read the stream.
func (f *Follower) Status() (oldest time.Duration, reads bool) {
	return time.Duration(f.oldest.Load()), !f.failing.Load()
}

// Run follows until ctx is cancelled, and then returns to the stream at once what was not
// applied.
func (f *Follower) Run(ctx context.Context) {
	var watching sync.WaitGroup
	watching.Go(func() { f.watchLag(ctx) })
	defer watching.Wait()
	failing := false
	for ctx.Err() == nil {
		err := f.follow(ctx, func() {
			if failing {
				f.Log.Info("reading what Stripe tells from the stream again")
			}
			failing = false
			f.failing.Store(false)
		})
		if ctx.Err() != nil {
			return
		}
		if !failing {
			f.Log.Warn("can't read what Stripe tells from the stream, trying until it is back", "error", err)
		}
		failing = true
		f.failing.Store(true)
		select {
		case <-ctx.Done():
		case <-time.After(reopen):
		}
	}
}

// follow returns after an error, or when ctx ends. It calls alive whenever the server has
// answered.
func (f *Follower) follow(ctx context.Context, alive func()) error {
	events, consumer, err := f.Open(ctx)
	if err != nil {
		return err
	}
	f.source.Store(&source{events, consumer})
	for ctx.Err() == nil {
		if err := f.round(ctx, consumer); err != nil {
			return err
		}
		alive()
	}
	return ctx.Err()
}

// round makes one request for messages and takes what it brings, as it comes.
func (f *Follower) round(ctx context.Context, consumer jetstream.Consumer) error {
	round, cancel := context.WithTimeout(context.WithoutCancel(ctx), pullRound)
	defer cancel()
	batch, err := consumer.Fetch(pulledMessages, jetstream.FetchMaxBytes(pulledBytes),
		jetstream.FetchContext(round), jetstream.FetchHeartbeat(pullHeartbeat))
	if err != nil {
		return err
	}
	for in := batch.Messages(); ; {
		select {
		case <-ctx.Done():
			time.AfterFunc(onItsWay, cancel)
			for m := range in {
				_ = m.NakWithDelay(giveBack) // if it fails, the message comes back after stream.AckWait
			}
			return nil
		case m, ok := <-in:
			if !ok {
				if err := batch.Error(); round.Err() == nil {
					return err
				}
				return nil // the round's time is over
			}
			f.take(ctx, waiting(in, []jetstream.Msg{m}))
		}
	}
}

// waiting adds to messages what else has come already.
func waiting(in <-chan jetstream.Msg, messages []jetstream.Msg) []jetstream.Msg {
	for len(messages) < pulledMessages {
		select {
		case m, ok := <-in:
			if !ok {
				return messages
			}
			messages = append(messages, m)
		default:
			return messages
		}
	}
	return messages
}

// account is of whom a Stripe event tells.
type account struct{ stripe, ref string }

// news is what some messages tell of one account.
type news struct {
	changes []subscription.Change
	from    []int // indexes of the messages
	failed  error
}

// take brings each message to its end: acknowledged, or given back.
func (f *Follower) take(ctx context.Context, messages []jetstream.Msg) {
	var (
		all      = map[account]*news{}
		open     []jetstream.Msg
		received []time.Time
	)
	for _, m := range messages {
		told, at := f.read(m)
		if len(told) == 0 {
			f.settle(m, nil)
			continue
		}
		for _, t := range told {
			n := all[t.account]
			if n == nil {
				n = &news{}
				all[t.account] = n
			}
			n.changes, n.from = append(n.changes, t.change), append(n.from, len(open))
		}
		open, received = append(open, m), append(received, at)
	}
	if len(open) == 0 {
		return
	}
	stop := stream.KeepAlive(ctx, open)
	var (
		writing sync.WaitGroup
		slots   = make(chan struct{}, writers)
	)
	for who, n := range all {
		slots <- struct{}{}
		writing.Go(func() {
			defer func() { <-slots }()
			n.failed = f.apply(ctx, who, n.changes)
		})
	}
	writing.Wait()
	stop()
	failpoint.Hit("follow.applied")
	failures := make([]error, len(open))
	for _, n := range all {
		for _, i := range n.from {
			if n.failed != nil {
				failures[i] = n.failed
			}
		}
	}
	for i, m := range open {
		f.settle(m, failures[i])
		if failures[i] == nil && !received[i].IsZero() {
			f.metrics.applied.Observe(max(0, time.Since(received[i]).Seconds()))
		}
	}
}

// apply is nil when the changes are applied, or can't ever be.
func (f *Follower) apply(ctx context.Context, who account, changes []subscription.Change) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	err := f.Accounts.Apply(ctx, who.stripe, who.ref, changes)
	switch {
	case err == nil:
		f.metrics.events.WithLabelValues(outcomeApplied).Add(float64(len(changes)))
	case ctx.Err() != nil:
	case kgents.ErrorCode(err) == kgents.CodeInvalid:
		f.metrics.events.WithLabelValues(outcomeRefused).Add(float64(len(changes)))
		f.Log.Error("a Stripe event names nobody who could be a customer, and counts for nobody's plan", "event", changes[0].ID, "error", err)
		return nil
	default:
		f.metrics.errors.Inc()
		f.Log.Warn("what Stripe tells of a customer can't be applied, trying again later", "event", changes[0].ID, "error", err)
	}
	return err
}

// settle acknowledges a message, or gives it back for later.
func (f *Follower) settle(m jetstream.Msg, failed error) {
	if failed == nil {
		_ = m.Ack() // if it fails, the message comes back and changes nothing
		return
	}
	wait := firstWait
	if meta, err := m.Metadata(); err == nil {
		wait = min(longestWait, firstWait<<min(10, max(1, meta.NumDelivered)-1))
	}
	_ = m.NakWithDelay(wait/2 + rand.N(wait/2))
}
