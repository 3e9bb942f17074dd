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
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

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

	// pullRound is how long one request for messages may take, and pullHeartbeat
	// how often the server says meanwhile that it is there.
	pullRound     = 30 * time.Second
	pullHeartbeat = time.Second

	// onItsWay is how long a stopping sink takes in what the server has already
	// sent it, and giveBack how long the server waits before it delivers again what
	// the sink gives back. That must be longer, or the server would answer the
	// sink's own last request with it.
	onItsWay = 100 * time.Millisecond
	giveBack = 250 * time.Millisecond

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
	NakWithDelay(delay time.Duration) error
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
	Tracer        trace.Tracer // nil: no traces
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
	// The clock of the drain runs from the cancellation on, also while collect
	// waits for a flush that a meter that is away holds up.
	defer context.AfterFunc(ctx, func() { time.AfterFunc(drain, stop) })()
	messages := make(chan Message)
	var pulling sync.WaitGroup
	pulling.Go(func() {
		defer close(messages)
		s.pull(ctx, messages)
	})
	s.work(work, messages)
	pulling.Wait()
}

// work flushes what comes until messages is closed, and returns when everything is
// acknowledged or given back. However long the meter or a limit holds a message up,
// the server is told that it is at work on it.
func (s *Sink) work(ctx context.Context, messages <-chan Message) {
	var flying sync.WaitGroup
	slots := make(chan struct{}, flights)
	s.collect(messages, func(batch []delivery) {
		stop := stream.KeepAlive(ctx, batch)
		slots <- struct{}{}
		flying.Go(func() {
			defer func() { <-slots }()
			defer stop()
			s.flush(ctx, batch)
		})
	})
	flying.Wait()
}

// pull hands on messages until ctx is cancelled, opening the consumer again
// after every error. It logs when that begins and when it is over.
func (s *Sink) pull(ctx context.Context, out chan<- Message) {
	failing := false
	for ctx.Err() == nil {
		err := s.pullFrom(ctx, out, func() {
			if failing {
				s.Log.Info("reading from the stream again")
			}
			failing = false
		})
		if ctx.Err() != nil {
			return
		}
		if !failing {
			s.Log.Warn("can't read from the stream, trying until it is back", "error", err)
		}
		failing = true
		select {
		case <-ctx.Done():
		case <-time.After(reopen):
		}
	}
}

// pullFrom fetches in rounds of their own, so that nothing is asked for that
// isn't waited for: what a slow meter leaves waiting stays in the stream, where
// another sink can take it. It calls alive whenever the server has answered.
func (s *Sink) pullFrom(ctx context.Context, out chan<- Message, alive func()) error {
	consumer, err := s.Open(ctx)
	if err != nil {
		return err
	}
	for {
		if err := fetch(ctx, consumer, out); err != nil {
			return fmt.Errorf("consumer %s: %w", stream.Durable, err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		alive()
	}
}

// fetch makes one request and hands on what it brings. What waits to be handed on
// is kept alive. When ctx ends, it is given back, with what is still on its way.
func fetch(ctx context.Context, consumer jetstream.Consumer, out chan<- Message) error {
	round, cancel := context.WithTimeout(context.WithoutCancel(ctx), pullRound)
	defer cancel()
	batch, err := consumer.Fetch(pulledMessages, jetstream.FetchMaxBytes(pulledBytes),
		jetstream.FetchContext(round), jetstream.FetchHeartbeat(pullHeartbeat))
	if err != nil {
		return err
	}
	var (
		in      = batch.Messages()
		waiting []jetstream.Msg
		stop    = ctx.Done()
		tick    = time.NewTicker(stream.Heartbeat)
	)
	defer tick.Stop()
	for in != nil || len(waiting) > 0 {
		next, first := out, Message(nil)
		if len(waiting) == 0 {
			next = nil
		} else {
			first = waiting[0]
		}
		select {
		case msg, ok := <-in:
			switch {
			case !ok:
				in = nil
			case stop == nil:
				_ = msg.NakWithDelay(giveBack) // if it fails, the message comes back after stream.AckWait
			default:
				waiting = append(waiting, msg)
			}
		case next <- first:
			waiting = waiting[1:]
		case <-tick.C:
			for _, msg := range waiting {
				_ = msg.InProgress() // the next one comes soon enough
			}
		case <-stop:
			stop = nil
			for _, msg := range waiting {
				_ = msg.NakWithDelay(giveBack)
			}
			waiting = nil
			time.AfterFunc(onItsWay, cancel)
		}
	}
	if err := batch.Error(); round.Err() == nil {
		return err
	}
	return nil // the round's time is over, or the program stops
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
				// It is in no batch yet, and those before it may be held up for long.
				stop := stream.KeepAlive(context.Background(), []delivery{d})
				send()
				stop()
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
