package entitle

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents/stream"
)

const (
	// pulledMessages and pulledBytes bound what is pulled and waits to be read.
	pulledMessages = 256
	pulledBytes    = 4 << 20

	// pullRound is how long one request for messages may take, and pullHeartbeat how
	// often the server says meanwhile that it is there.
	pullRound     = 30 * time.Second
	pullHeartbeat = time.Second

	// reopen is the pause before the stream is read again after an error.
	reopen = time.Second

	// forgotten is how long the server keeps our place after the last request for
	// messages. Nothing is lost with it: the next one begins where we are.
	forgotten = time.Minute

	// behind is how old a message may be, with others behind it, before what is said
	// from the tail is called stale.
	behind = 5 * time.Second

	// askTimeout bounds a question to NATS or the meter about itself.
	askTimeout = 10 * time.Second
)

// follow reads the stream until ctx ends, from where the sink is: what the sink has
// acknowledged, the meter has.
func (e *Engine) follow(ctx context.Context) {
	failing := false
	for ctx.Err() == nil {
		err := e.followOnce(ctx, func() {
			if failing {
				e.c.Log.Info("entitlements follow the stream again")
			}
			failing = false
		})
		e.live.Store(false)
		if ctx.Err() != nil {
			return
		}
		if !failing {
			e.c.Log.Warn("entitlements can't follow the stream: they are answered from what is known, until it is back", "error", err)
		}
		failing = true
		pause(ctx, reopen)
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// followOnce opens the stream at the tail's place and reads until something fails.
func (e *Engine) followOnce(ctx context.Context, alive func()) error {
	if err := e.learn(ctx); err != nil {
		return err
	}
	s, last, err := e.open(ctx)
	if err != nil {
		return err
	}
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	consumer, err := s.CreateConsumer(asking, jetstream.ConsumerConfig{
		Name:              "entitle-" + uuid.NewString(),
		Description:       "What customers use, for their limits",
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       e.at.Load() + 1,
		AckPolicy:         jetstream.AckNonePolicy,
		InactiveThreshold: forgotten,
		MemoryStorage:     true,
		Replicas:          1,
	})
	if err != nil {
		return fmt.Errorf("stream %s: %w", e.c.Stream.Name, err)
	}
	e.delivered = 0
	defer func() { // as a courtesy: the server forgets it by itself
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = s.DeleteConsumer(ctx, consumer.CachedInfo().Name)
	}()
	if e.at.Load() >= last {
		e.live.Store(true)
	}
	for {
		if err := e.fetch(ctx, consumer); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		alive()
	}
}

// open finds the stream, and the tail's place in it: where it was, or where the sink
// is when it has none or that is gone.
func (e *Engine) open(ctx context.Context) (s jetstream.Stream, last uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if !e.c.JetStream.Conn().IsConnected() {
		return nil, 0, errAway
	}
	if s, err = e.c.JetStream.Stream(ctx, e.c.Stream.Name); err != nil {
		return nil, 0, fmt.Errorf("stream %s: %w", e.c.Stream.Name, err)
	}
	state, at := s.CachedInfo().State, e.at.Load()
	if e.placed && at <= state.LastSeq && (state.Msgs == 0 && at == state.LastSeq || state.Msgs > 0 && at+1 >= state.FirstSeq) {
		return s, state.LastSeq, nil
	}
	if e.placed {
		e.c.Log.Warn("the stream is not the one that entitlements have followed, or has lost messages since: they begin anew")
	}
	floor, err := ackFloor(ctx, s)
	if err != nil {
		return nil, 0, err
	}
	if state.Msgs > 0 {
		floor = max(floor, state.FirstSeq-1) // older messages have aged out, metered long ago
	} else {
		floor = state.LastSeq
	}
	e.begin(floor)
	return s, state.LastSeq, nil
}

var errAway = errors.New("NATS does not answer")

// ackFloor is the message up to which the sink has acknowledged all.
func ackFloor(ctx context.Context, s jetstream.Stream) (uint64, error) {
	c, err := s.Consumer(ctx, stream.Durable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return 0, nil // there was never a sink
	}
	if err != nil {
		return 0, fmt.Errorf("consumer %s: %w", stream.Durable, err)
	}
	return c.CachedInfo().AckFloor.Stream, nil
}

// begin puts the tail behind message floor and everything that was known in doubt.
func (e *Engine) begin(floor uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.placed = true
	e.epoch.Add(1)
	e.at.Store(floor)
	e.reading.Store(floor)
	now := e.now()
	e.places = []place{{now, floor}}
	e.sure = now.Add(e.c.Settle)
	for _, c := range e.customers {
		c.mu.Lock()
		for _, k := range c.counters {
			k.known, k.deltas, k.tail, k.floor, k.since, k.due = false, nil, 0, floor, floor, time.Time{}
			for _, h := range k.holds {
				h.after = 0 // of another stream, maybe: the time ends it
			}
		}
		c.mu.Unlock()
		e.touch(c)
	}
}

// fetch makes one request and reads what it brings, in order.
func (e *Engine) fetch(ctx context.Context, consumer jetstream.Consumer) error {
	round, cancel := context.WithTimeout(ctx, pullRound)
	defer cancel()
	batch, err := consumer.Fetch(pulledMessages, jetstream.FetchMaxBytes(pulledBytes),
		jetstream.FetchContext(round), jetstream.FetchHeartbeat(pullHeartbeat))
	if err != nil {
		return err
	}
	var failed error
	for msg := range batch.Messages() {
		if failed != nil {
			continue // to the end, so that the library lets go
		}
		if failed = e.read(msg); failed != nil {
			cancel()
		}
	}
	if failed != nil {
		return failed
	}
	if err := batch.Error(); round.Err() == nil {
		return err
	}
	return nil // the round's time is over, or the program stops
}

// errGap says that the server has left out a message. The stream is opened again at
// the tail's place: what is there is then read, and what isn't has aged out.
var errGap = errors.New("a message was left out")

// read counts a message.
func (e *Engine) read(msg jetstream.Msg) error {
	meta, err := msg.Metadata()
	if err != nil {
		return err
	}
	seq, before := meta.Sequence.Stream, e.delivered
	e.delivered = meta.Sequence.Consumer
	switch at := e.at.Load(); {
	case seq <= at:
		return nil // seen already
	case seq != at+1 && meta.Sequence.Consumer != before+1:
		return errGap // else the stream hasn't got it any more
	}
	e.reading.Store(seq)
	body, err := stream.Body(msg.Headers(), msg.Data())
	if err == nil {
		var n int
		n, err = e.scan.scan(body, e.learnt.Load().tallies, func(subject []byte, t *tally, minute int64, n float64) {
			e.count(subject, t, minute, n, seq)
		})
		e.metrics.events.Add(float64(n))
	}
	if err != nil {
		e.c.Log.Warn("a message of the stream is no batch of events: the meter will say what counts", "sequence", seq)
	}
	e.at.Store(seq)
	e.caught.tell(seq)
	lag := max(0, e.now().Sub(meta.Timestamp))
	e.metrics.lag.Set(lag.Seconds())
	if meta.NumPending == 0 || lag < behind {
		e.live.Store(true)
	} else {
		e.live.Store(false)
	}
	return nil
}

// count adds what an event has used to the counters of its subject.
func (e *Engine) count(subject []byte, t *tally, minute int64, n float64, seq uint64) {
	e.mu.RLock()
	c := e.customers[string(subject)]
	e.mu.RUnlock()
	if c == nil {
		account, ok := e.c.Accounts.Account(string(subject))
		if !ok {
			return // nobody's, or somebody's who has no limits
		}
		c = e.customer(account.ID)
	}
	now := e.now()
	c.mu.Lock()
	e.fit(c)
	c.seen = now
	for _, k := range c.counters {
		if k.meter != t.slug {
			continue
		}
		if k.add(seq, minute, n) {
			k.due = sooner(k.due, now.Add(soon))
		}
		if k.pause == 0 && len(k.deltas) > 0 {
			k.pause, k.due = soon, sooner(k.due, now.Add(e.lull))
		}
	}
	c.mu.Unlock()
	e.touch(c)
}

func sooner(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
