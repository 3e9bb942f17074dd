package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents/consume/deadletter"
	"github.com/kgents/kgents/stream"
)

const (
	// readAhead is how many messages are on their way from NATS at once, of 1 MB
	// at most.
	readAhead = 16

	// readPatience is how long NATS may take for the next message.
	readPatience = 30 * time.Second
)

// position is where reading begins: a sequence, or a time while seq is 0.
type position struct {
	seq uint64
	at  time.Time
}

// read hands on the messages of a stream up to the sequence last, in order, until
// take returns false.
func read(ctx context.Context, js jetstream.JetStream, name string, from position, last uint64,
	take func(seq uint64, at time.Time, msg jetstream.Msg) bool) error {
	c := jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &from.at, InactiveThreshold: readPatience}
	if from.seq > 0 {
		c.DeliverPolicy, c.OptStartSeq, c.OptStartTime = jetstream.DeliverByStartSequencePolicy, from.seq, nil
	}
	consumer, err := js.OrderedConsumer(ctx, name, c)
	if err != nil {
		return fmt.Errorf("stream %s: %w", name, err)
	}
	info, err := consumer.Info(ctx)
	if err != nil {
		return fmt.Errorf("stream %s: %w", name, err)
	}
	if info.NumPending == 0 {
		return nil
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(readAhead))
	if err != nil {
		return fmt.Errorf("stream %s: %w", name, err)
	}
	defer messages.Stop()
	for {
		msg, err := next(ctx, messages)
		if err != nil {
			return fmt.Errorf("stream %s: %w", name, err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return fmt.Errorf("stream %s: %w", name, err)
		}
		seq := meta.Sequence.Stream
		if seq > last || !take(seq, meta.Timestamp, msg) || seq == last || meta.NumPending == 0 {
			return nil
		}
	}
}

func next(ctx context.Context, messages jetstream.MessagesContext) (jetstream.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, readPatience)
	defer cancel()
	return messages.Next(jetstream.NextContext(ctx))
}

// extent is how far the stream goes at the begin of a run.
type extent struct {
	first time.Time // of what the stream holds still; zero if it has forgotten nothing
	floor uint64    // up to here the sinks have acknowledged everything
	last  uint64
}

func (r *run) extent(ctx context.Context) (extent, error) {
	s, err := r.JetStream.Stream(ctx, r.Stream.Name)
	if err != nil {
		return extent{}, fmt.Errorf("stream %s: %w", r.Stream.Name, err)
	}
	consumer, err := s.Consumer(ctx, stream.Durable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return extent{last: s.CachedInfo().State.LastSeq}, nil // no sink has run yet: all is on its way
	}
	if err != nil {
		return extent{}, fmt.Errorf("consumer %s: %w", stream.Durable, err)
	}
	state := s.CachedInfo().State
	e := extent{floor: consumer.CachedInfo().AckFloor.Stream, last: state.LastSeq}
	if state.FirstSeq > 1 {
		e.first = state.FirstTime
	}
	return e, nil
}

// fetch reads again the messages that hold the given entries of the window, and
// hands on each entry with its event. A message that has aged out meanwhile is
// left out.
func (r *run) fetch(ctx context.Context, w *window, entries []int32, take func(i int32, e element) error) error {
	wanted := map[uint64]map[identity]int32{}
	var order []uint64
	for _, i := range entries {
		e := &w.entries[i]
		if wanted[e.seq] == nil {
			wanted[e.seq] = map[identity]int32{}
			order = append(order, e.seq)
		}
		wanted[e.seq][e.id] = i
	}
	s, err := r.JetStream.Stream(ctx, r.Stream.Name)
	if err != nil {
		return fmt.Errorf("stream %s: %w", r.Stream.Name, err)
	}
	for _, seq := range order {
		msg, err := s.GetMsg(ctx, seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("stream %s: %w", r.Stream.Name, err)
		}
		for _, e := range open(msg.Header, msg.Data) {
			i, ok := wanted[seq][e.identity()]
			if !ok {
				continue
			}
			delete(wanted[seq], e.identity()) // the first of its identity is the one
			if err := take(i, e); err != nil {
				return err
			}
		}
	}
	return nil
}

// markDead marks what is a dead letter. A letter is written after its event, so
// the letters since the window's begin are all there are.
func (r *run) markDead(ctx context.Context, w *window) error {
	s, err := r.JetStream.Stream(ctx, r.Stream.DeadName())
	if err != nil {
		return fmt.Errorf("stream %s: %w", r.Stream.DeadName(), err)
	}
	last := s.CachedInfo().State.LastSeq
	if last == 0 {
		return nil
	}
	return read(ctx, r.JetStream, r.Stream.DeadName(), position{at: w.begin}, last, func(_ uint64, _ time.Time, msg jetstream.Msg) bool {
		letter, err := deadletter.Parse(msg.Headers(), msg.Data())
		if err != nil {
			return true
		}
		if i, ok := w.index[identify(letter.Source, letter.ID)]; ok {
			w.entries[i].dead = true
		}
		return true
	})
}

// markInFlight marks what is in the stream a second time and under way there: a
// dead letter that was replayed a moment ago, for example.
func (r *run) markInFlight(ctx context.Context, w *window) error {
	s, err := r.JetStream.Stream(ctx, r.Stream.Name)
	if err != nil {
		return fmt.Errorf("stream %s: %w", r.Stream.Name, err)
	}
	last := s.CachedInfo().State.LastSeq
	if last <= r.floor {
		return nil
	}
	return read(ctx, r.JetStream, r.Stream.Name, position{seq: r.floor + 1}, last, func(_ uint64, _ time.Time, msg jetstream.Msg) bool {
		for _, e := range open(msg.Headers(), msg.Data()) {
			if i, ok := w.index[e.identity()]; ok && w.entries[i].open() {
				w.entries[i].unchecked = true
			}
		}
		return true
	})
}
