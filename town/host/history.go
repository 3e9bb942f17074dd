package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/town"
)

// Bounds of the history. At each of them the oldest is forgotten.
const (
	historyAge   = 30 * 24 * time.Hour
	historyBytes = 256 << 20
	historySteps = 10_000 // messages of one town, each the events of a step

	// historyRepeats is how long a step that is told again is told once. Readers go by
	// the events' numbers, and leave out what comes again after it.
	historyRepeats = 2 * time.Minute
)

// history is the stream.
type history struct {
	js     jetstream.JetStream
	c      stream.Config
	opened atomic.Pointer[jetstream.Stream]
}

func (l *history) open(ctx context.Context) (jetstream.Stream, error) {
	if s := l.opened.Load(); s != nil {
		return *s, nil
	}
	ctx, cancel := context.WithTimeout(ctx, ioTimeout)
	defer cancel()
	s, err := l.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: l.c.TownName(), Description: "Agent Town: what happened, to look at",
		Subjects: []string{l.c.TownSubject("*")},
		Storage:  jetstream.FileStorage, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld,
		MaxAge: historyAge, MaxBytes: historyBytes, MaxMsgs: -1, MaxMsgsPerSubject: historySteps,
		Duplicates: historyRepeats, Replicas: l.c.Replicas,
	})
	if err != nil {
		return nil, unavailable(fmt.Errorf("stream %s: %w", l.c.TownName(), err))
	}
	l.opened.Store(&s)
	return s, nil
}

// add tells the events of one outbox, as one message: they are there together or not
// at all, and once within historyRepeats.
func (l *history) add(ctx context.Context, id string, events []town.Event) error {
	if len(events) == 0 {
		return nil
	}
	if _, err := l.open(ctx); err != nil {
		return err
	}
	body, err := json.Marshal(events)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, ioTimeout)
	defer cancel()
	msg := &nats.Msg{Subject: l.c.TownSubject(id), Data: encoder.EncodeAll(body, nil), Header: nats.Header{
		nats.MsgIdHdr: {events[0].ID + "-" + events[len(events)-1].ID},
	}}
	if _, err = l.js.PublishMsg(ctx, msg); err != nil {
		return l.failed(err)
	}
	return nil
}

// failed has the stream looked for again: it may have been lost, or restored.
func (l *history) failed(err error) error {
	if lost(err) {
		l.opened.Store(nil)
	}
	return unavailable(fmt.Errorf("stream %s: %w", l.c.TownName(), err))
}

// forget removes a town's events.
func (l *history) forget(ctx context.Context, id string) error {
	s, err := l.open(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, ioTimeout)
	defer cancel()
	return s.Purge(ctx, jetstream.WithPurgeSubject(l.c.TownSubject(id)))
}

// reader reads the events of one town with numbers past after, in order and each once.
type reader struct {
	log   *history
	id    string
	after uint64 // the last event that was read
	from  uint64 // the place in the stream to go on at; 0 = not found yet
}

// next returns the events of the next step, none when there are no further ones yet.
func (r *reader) next(ctx context.Context) ([]town.Event, error) {
	s, err := r.log.open(ctx)
	if err != nil {
		return nil, err
	}
	if r.from == 0 {
		if r.from, err = r.seek(ctx, s); err != nil {
			return nil, err
		}
	}
	for {
		events, at, err := r.read(ctx, s, r.from)
		if err != nil || at == 0 {
			return nil, err
		}
		r.from = at + 1
		for i, e := range events {
			if e.Seq > r.after {
				r.after = events[len(events)-1].Seq
				return events[i:], nil
			}
		}
	}
}

// read returns the first message of the town at from or behind it, and its place; 0
// when there is none.
func (r *reader) read(ctx context.Context, s jetstream.Stream, from uint64) ([]town.Event, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, ioTimeout)
	defer cancel()
	msg, err := s.GetMsg(ctx, from, jetstream.WithGetMsgSubject(r.log.c.TownSubject(r.id)))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, r.log.failed(err)
	}
	var events []town.Event
	if err := decode(msg.Data, &events); err != nil || len(events) == 0 {
		return nil, 0, fmt.Errorf("stream %s: message %d is none of a town: %w", r.log.c.TownName(), msg.Sequence, err)
	}
	return events, msg.Sequence, nil
}

// seek finds a place in the stream that no event past r.after is before. It halves the
// stream: some twenty reads at most, however long it is.
func (r *reader) seek(ctx context.Context, s jetstream.Stream) (uint64, error) {
	c, cancel := context.WithTimeout(ctx, ioTimeout)
	defer cancel()
	info, err := s.Info(c)
	if err != nil {
		return 0, r.log.failed(err)
	}
	low, high := max(1, info.State.FirstSeq), info.State.LastSeq+1
	if r.after == 0 {
		return low, nil
	}
	for low < high {
		middle := low + (high-low)/2
		events, at, err := r.read(ctx, s, middle)
		switch {
		case err != nil:
			return 0, err
		case at == 0 || events[len(events)-1].Seq > r.after:
			high = middle
		default:
			low = at + 1
		}
	}
	return low, nil
}

// follow calls f with the id of each town of which something is told from now on,
// until ctx ends or it can't go on, and once with everyone when it has begun.
func (l *history) follow(ctx context.Context, f func(id string)) error {
	if _, err := l.open(ctx); err != nil {
		return err
	}
	c, cancel := context.WithTimeout(ctx, ioTimeout)
	defer cancel()
	consumer, err := l.js.OrderedConsumer(c, l.c.TownName(), jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverNewPolicy, HeadersOnly: true, InactiveThreshold: time.Minute,
	})
	if err != nil {
		return l.failed(err)
	}
	prefix := l.c.TownSubject("")
	consuming, err := consumer.Consume(func(msg jetstream.Msg) { f(strings.TrimPrefix(msg.Subject(), prefix)) })
	if err != nil {
		return err
	}
	f(everyone)
	select {
	case <-ctx.Done():
		consuming.Stop()
		<-consuming.Closed()
	case <-consuming.Closed():
	}
	return ctx.Err()
}
