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

// position is where reading begins: a sequence, or a time while seq is 0.
type position struct {
	seq uint64
	at  time.Time
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
	return stream.Read(ctx, r.JetStream, r.Stream.DeadName(), stream.Range{Since: w.begin, Last: last}, func(_ uint64, _ time.Time, msg jetstream.Msg) bool {
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
	return stream.Read(ctx, r.JetStream, r.Stream.Name, stream.Range{From: r.floor + 1, Last: last}, func(_ uint64, _ time.Time, msg jetstream.Msg) bool {
		for _, e := range open(msg.Headers(), msg.Data()) {
			if i, ok := w.index[e.identity()]; ok && w.entries[i].open() {
				w.entries[i].unchecked = true
			}
		}
		return true
	})
}
