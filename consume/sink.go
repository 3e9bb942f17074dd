// Package consume takes events from the stream and delivers them to the meter.
//
// It promises that a message is acknowledged only when each of its events has
// reached a final state: the meter has taken it, or it is a dead letter. Nothing
// is given up by having been tried too often. Events may be sent to the meter
// more than once, after a crash for example; their identity makes that one
// count.
//
// When the meter is away or overloaded, a flush waits and tries again, for ever;
// the stream holds the rest. An event that the meter refuses is isolated by
// bisection, so that its neighbours are not held up, and kept as a dead letter.
// When NATS is away, the sink waits for it.
//
// It is bounded by flights flushes of about flushBytes each and as much again
// pulled ahead.
package consume

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents/consume/deadletter"
	"github.com/kgents/kgents/stream"
)

const (
	// flights is how many flushes are under way at once: while the meter writes
	// one to its disk it decodes the next.
	flights = 3

	// flushBytes is where a flush is cut however many events it has: two full
	// messages. OpenMeter was measured to take 6.9 MB at once.
	flushBytes = 2 * stream.MaxBodyBytes

	// pulledAhead bounds what is pulled and waits for a flush.
	pulledMessages = 256
	pulledBytes    = 4 << 20

	// reopen is the pause before the consumer is asked for again after an error.
	reopen = time.Second
)

// Ingester is the meter. Its errors are sorted by meter.Classify. A nil error
// means that the meter has taken every event of the batch, a JSON array; an error
// may leave some of them taken.
type Ingester interface {
	Ingest(ctx context.Context, batch []byte) error
}

// DeadLetters keeps what the meter refuses. Bury returns nil when the letter is
// durable.
type DeadLetters interface {
	Bury(ctx context.Context, l deadletter.Letter) error
}

// Message is the part of a jetstream.Msg that a sink needs.
type Message interface {
	Data() []byte
	Headers() nats.Header
	Metadata() (*jetstream.MsgMetadata, error)
	Ack() error
	Nak() error
	InProgress() error
}

// Config is what a Sink needs.
type Config struct {
	// Open returns the consumer; it is called again after an error.
	Open func(context.Context) (jetstream.Consumer, error)

	Meter         Ingester
	Dead          DeadLetters
	BatchSize     int           // events that trigger a flush
	FlushInterval time.Duration // longest wait of an event for a flush
	Log           *slog.Logger
	Registerer    prometheus.Registerer
}

// Sink delivers. Run it once.
type Sink struct {
	Config
	metrics *metrics
	status  status
}

// New returns a Sink that is not running yet.
func New(c Config) *Sink {
	return &Sink{Config: c, metrics: newMetrics(c.Registerer)}
}

// Run delivers until ctx is cancelled. It then pulls nothing more, gives flushes
// under way the time until drain ends, and returns what was not delivered to the
// stream at once, for another sink or the next start.
func (s *Sink) Run(ctx context.Context, drain time.Duration) {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	messages := make(chan Message)
	var pulling, flying sync.WaitGroup
	pulling.Go(func() {
		defer close(messages)
		s.pull(ctx, messages)
	})
	slots := make(chan struct{}, flights)
	s.collect(messages, func(batch []delivery) {
		slots <- struct{}{}
		flying.Go(func() {
			defer func() { <-slots }()
			s.flush(work, batch)
		})
	})
	pulling.Wait()
	landed := make(chan struct{})
	go func() { flying.Wait(); close(landed) }()
	select {
	case <-landed:
	case <-time.After(drain):
		stop()
		<-landed
	}
}

// pull hands on messages until ctx is cancelled, opening the consumer again
// after every error.
func (s *Sink) pull(ctx context.Context, out chan<- Message) {
	for ctx.Err() == nil {
		err := s.pullFrom(ctx, out)
		if ctx.Err() != nil {
			return
		}
		s.Log.Warn("can't read from the stream, trying again", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(reopen):
		}
	}
}

func (s *Sink) pullFrom(ctx context.Context, out chan<- Message) error {
	consumer, err := s.Open(ctx)
	if err != nil {
		return err
	}
	iter, err := consumer.Messages(jetstream.PullMaxMessagesWithBytesLimit(pulledMessages, pulledBytes),
		jetstream.PullHeartbeat(5*time.Second))
	if err != nil {
		return fmt.Errorf("consumer %s: %w", stream.Durable, err)
	}
	stopped := context.AfterFunc(ctx, iter.Stop)
	defer stopped()
	defer iter.Stop()
	for {
		msg, err := iter.Next()
		switch {
		case err == nil:
		case errors.Is(err, jetstream.ErrNoHeartbeat), errors.Is(err, nats.ErrTimeout):
			continue // the connection is being made again; the iterator goes on with it
		default:
			return err
		}
		select {
		case out <- msg:
		case <-ctx.Done():
			return errors.Join(ctx.Err(), msg.Nak())
		}
	}
}

// delivery is a message with its body decompressed.
type delivery struct {
	Message
	body     []byte
	envelope stream.Envelope
	err      error // the body can't be read
}

func open(msg Message) delivery {
	body, err := stream.Body(msg.Headers(), msg.Data())
	return delivery{msg, body, stream.ReadEnvelope(msg.Headers()), err}
}

// collect groups messages into flushes: at BatchSize events, at flushBytes, or
// FlushInterval after the first of them. It returns when in is closed, having
// flushed the rest.
func (s *Sink) collect(in <-chan Message, flush func([]delivery)) {
	var (
		batch         []delivery
		events, bytes int
		due           <-chan time.Time
	)
	send := func() {
		if len(batch) > 0 {
			flush(batch)
		}
		batch, events, bytes, due = nil, 0, 0, nil
	}
	for {
		select {
		case msg, ok := <-in:
			if !ok {
				send()
				return
			}
			d := open(msg)
			if bytes+len(d.body) > flushBytes {
				send()
			}
			if len(batch) == 0 {
				due = time.After(s.FlushInterval)
			}
			batch = append(batch, d)
			events += d.envelope.Events
			bytes += len(d.body)
			s.metrics.buffered.Add(float64(d.envelope.Events))
			if events >= s.BatchSize {
				send()
			}
		case <-due:
			send()
		}
	}
}
