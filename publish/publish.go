// Package publish makes admitted events durable in JetStream.
//
// It promises that Publish returns nil only when the server has acknowledged
// every event of the call, which with `sync_interval: always` means synced to
// disk, in a cluster by a quorum. It is a group commit: what is synced is a
// message, so calls that arrive while a sync is under way share the next
// message. A call waits for one sync under way and then its own.
//
// When NATS is away, messages go to the spool on local disk, if there is one, and
// from there to NATS when it is back, under the same Nats-Msg-Id. Without a spool,
// or past its bound, calls fail with kgents.CodeUnavailable: after the time of an
// attempt at first, at once when the circuit breaker is open. An event of a failed
// call may still have become durable; its identity and the message's Nats-Msg-Id
// make sending it again harmless.
package publish

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/failpoint"
	"github.com/kgents/kgents/publish/spool"
	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/telemetry"
)

const (
	// attempt is how long one try to publish a message may take, and patience
	// how long all tries together, which have the same Nats-Msg-Id. It stays below
	// the ten seconds after which Stripe gives up on an answer.
	attempt  = 3 * time.Second
	patience = 7 * time.Second

	// maxQueued bounds the bytes of events that wait for a message. Past it calls
	// are refused.
	maxQueued = 64 << 20

	// overhead is room for a message's headers within the server's payload limit.
	overhead = 1024
)

// pauses between the tries of one message. The breaker's five failures take at
// least 3.5 s, so that the election of a new stream leader is a pause to callers
// and not a refusal.
var pauses = [...]time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second}

// Sender is the part of jetstream.JetStream that publishing needs. An error
// leaves it unknown whether the message was stored.
type Sender interface {
	PublishMsg(ctx context.Context, msg *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error)
}

// Config is what a Publisher needs.
type Config struct {
	Sender     Sender
	Stream     string       // the stream that must take the messages
	MaxPayload func() int64 // the server's limit, 0 or less while unknown
	Spool      *spool.Spool // nil: calls fail while NATS is away
	Log        *slog.Logger
	Registerer prometheus.Registerer
	Tracer     trace.Tracer // nil: no traces

	// Circuit is told of each change of the circuit's state, if it is not nil. It must
	// return at once, and not ask for the state.
	Circuit func(from, to State)
}

// Publisher is safe for concurrent use. Close it when no call is under way.
type Publisher struct {
	sender     Sender
	stream     string
	maxPayload func() int64
	log        *slog.Logger
	metrics    *metrics
	breaker    *Breaker
	tracer     trace.Tracer // nil: no traces
	spool      *spooler     // nil without a spool

	last atomic.Uint64 // see Last

	mu     sync.Mutex
	ready  sync.Cond // parts is not empty, or closed
	parts  []part
	queued int // bytes in parts
	closed bool
	ended  chan struct{} // the loop has
}

// call is one Publish, waiting for its parts.
type call struct {
	ctx      context.Context
	received time.Time

	mu      sync.Mutex
	left    int
	err     error
	settled chan struct{}
}

// part is a run of a call's events that fits into one message.
type part struct {
	call   *call
	events []kgents.Event
	size   int // bytes in a message: events and commas
}

// New starts a Publisher's loop.
func New(c Config) *Publisher {
	p := &Publisher{
		sender: c.Sender, stream: c.Stream, maxPayload: c.MaxPayload, log: c.Log,
		metrics: newMetrics(c.Registerer),
		breaker: newBreaker(c.Log, c.Registerer, c.Circuit),
		tracer:  c.Tracer,
		ended:   make(chan struct{}),
	}
	if c.Spool != nil {
		p.spool = startSpooler(p, c.Spool)
	}
	p.ready.L = &p.mu
	go p.loop()
	return p
}

// Spooling tells whether there is a spool to fall back on.
func (p *Publisher) Spooling() bool { return p.spool != nil }

// Breaker is the circuit breaker in front of NATS, for health.
func (p *Publisher) Breaker() *Breaker { return p.breaker }

// Last is the sequence in the stream up to which this process has had messages
// acknowledged: what a call of Publish that has returned nil has stored is there or
// before, but for what the spool has taken.
func (p *Publisher) Last() uint64 { return p.last.Load() }

// Publish returns nil when all events are durable. Any other answer is an
// *kgents.Error: CodeUnavailable with the time to come again, or CodeTooLarge
// for an event that the server's payload limit can't carry.
func (p *Publisher) Publish(ctx context.Context, events []kgents.Event) error {
	if len(events) == 0 {
		return nil
	}
	if wait, open := p.breaker.Open(); open && p.spool == nil {
		p.metrics.refused.WithLabelValues("circuit_open").Inc()
		return kgents.Unavailable(wait, "the event store can't be reached: send it again later", nil)
	}
	c := &call{ctx: ctx, received: time.Now(), settled: make(chan struct{})}
	parts, size, err := split(c, events, p.limit())
	if err != nil {
		return err
	}
	if err := p.enqueue(parts, size); err != nil {
		return err
	}
	select {
	case <-c.settled:
		return c.err
	case <-ctx.Done():
		// Parts that are in no message yet are skipped; of the others the outcome is
		// unknown.
		return kgents.Unavailable(time.Second, "the event store is too slow: send it again", ctx.Err())
	}
}

// Close waits for what is queued and ends the loop. It may be called twice.
func (p *Publisher) Close() {
	p.mu.Lock()
	p.closed = true
	p.ready.Signal()
	p.mu.Unlock()
	<-p.ended
	if p.spool != nil {
		p.spool.stop()
	}
}

// limit is how many bytes a message's body may have.
func (p *Publisher) limit() int {
	if server := int(p.maxPayload()); server > 0 {
		return min(stream.MaxBodyBytes, server-overhead)
	}
	return stream.MaxBodyBytes
}

// split cuts events into runs that fit into a message each.
func split(c *call, events []kgents.Event, limit int) (parts []part, total int, err error) {
	limit -= 2 // the brackets
	start, size := 0, 0
	for i, e := range events {
		n := len(e.Raw) + 1
		if n > limit {
			return nil, 0, kgents.Errorf(kgents.CodeTooLarge,
				"event %d has %d bytes, more than the event store takes in one message (%d)", i, len(e.Raw), limit)
		}
		if size+n > limit {
			parts = append(parts, part{c, events[start:i], size})
			total += size
			start, size = i, 0
		}
		size += n
	}
	parts = append(parts, part{c, events[start:], size})
	c.left = len(parts)
	return parts, total + size, nil
}

func (p *Publisher) enqueue(parts []part, size int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return kgents.Unavailable(time.Second, "the program is stopping: send it again", nil)
	case p.queued+size > maxQueued:
		p.metrics.refused.WithLabelValues("queue_full").Inc()
		return kgents.Unavailable(time.Second, "too much is waiting for the event store: send it again", nil)
	}
	p.parts = append(p.parts, parts...)
	p.queued += size
	p.ready.Signal()
	return nil
}

// loop publishes one message after the other. Two under way at once were measured
// to be slower: the server syncs one at a time, and the batches are smaller (see
// docs/benchmarks.md).
func (p *Publisher) loop() {
	defer close(p.ended)
	for {
		batch, events, ok := p.take()
		if !ok {
			return
		}
		if len(events) == 0 { // every caller has gone
			continue
		}
		msg := stream.Encode(events, batch[0].call.received)
		ctx, span := p.startSpan(batch, events, msg)
		err := p.send(ctx, msg, len(events))
		if err != nil && p.spool != nil {
			if err = p.spool.take(ctx, msg, err); err == nil {
				span.AddEvent("spooled")
			}
		}
		telemetry.End(span, err)
		for _, part := range batch {
			part.call.done(err)
		}
	}
}

// take waits for parts and returns as many as one message carries, in order of
// arrival. Callers that have gone are dropped.
func (p *Publisher) take() (batch []part, events []kgents.Event, ok bool) {
	limit := p.limit() - 2
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.parts) == 0 {
		if p.closed {
			return nil, nil, false
		}
		p.ready.Wait()
	}
	n, size := 0, 0
	for n < len(p.parts) && (n == 0 || size+p.parts[n].size <= limit) {
		next := p.parts[n]
		n++
		p.queued -= next.size
		if err := next.call.ctx.Err(); err != nil {
			next.call.done(err)
			continue
		}
		size += next.size
		batch = append(batch, next)
	}
	p.parts = slices.Delete(p.parts, 0, n)
	count := 0
	for _, part := range batch {
		count += len(part.events)
	}
	events = make([]kgents.Event, 0, count)
	for _, part := range batch {
		events = append(events, part.events...)
	}
	return batch, events, true
}

// done settles one part.
func (c *call) done(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil && c.err == nil {
		c.err = err
	}
	if c.left--; c.left == 0 {
		close(c.settled)
	}
}

// send publishes one message through the breaker.
func (p *Publisher) send(ctx context.Context, msg *nats.Msg, events int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for tried := 0; ; tried++ {
		start := time.Now()
		err := p.breaker.do(func() error { return p.try(ctx, msg) })
		if err == nil {
			telemetry.Observe(ctx, p.metrics.latency, time.Since(start).Seconds())
			p.metrics.messages.Inc()
			p.metrics.events.Add(float64(events))
			p.metrics.batch.Observe(float64(events))
			return nil
		}
		if wait, open := p.breaker.Open(); open {
			return kgents.Unavailable(wait, "the event store can't be reached: send it again later", err)
		}
		if tried == len(pauses) || ctx.Err() != nil {
			return kgents.Unavailable(time.Second, "the event store did not take it: send it again", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pauses[tried]):
		}
	}
}

func (p *Publisher) try(ctx context.Context, msg *nats.Msg) error {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	failpoint.Hit("publish.before")
	ack, err := p.sender.PublishMsg(ctx, msg, jetstream.WithExpectStream(p.stream), jetstream.WithRetryAttempts(0))
	if err != nil {
		why := reason(err)
		p.metrics.errors.WithLabelValues(why).Inc()
		noteFailure(ctx, why)
		return err
	}
	failpoint.Hit("publish.acknowledged")
	for last := p.last.Load(); ack.Sequence > last && !p.last.CompareAndSwap(last, ack.Sequence); last = p.last.Load() {
	}
	if ack.Duplicate {
		p.metrics.repeated.Inc()
	}
	return nil
}

// reason is a metric label for a failed attempt.
func reason(err error) string {
	var api *jetstream.APIError
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return "timeout"
	case errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, nats.ErrNoResponders):
		return "no_stream"
	case errors.As(err, &api):
		return "refused" // for example a full stream
	default:
		return "connection"
	}
}
