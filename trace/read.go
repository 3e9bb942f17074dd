package trace

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents/consume/deadletter"
	"github.com/kgents/kgents/stream"
)

const (
	// window is how many messages are read in one go; goes are made from the newest to
	// the oldest.
	window = 2_000

	// before is how long before the meter got an event it is looked for in the stream.
	before = 10 * time.Minute

	// streamPatience bounds the reading of the stream, so that an answer is left to give.
	streamPatience = 8 * time.Second
)

// hit is an event in a message of the stream.
type hit struct {
	head
	seq      uint64
	at       time.Time // when it was stored
	received time.Time // when the first event of its message was received; zero if it doesn't say
	batch    int       // events in the message
	bytes    int       // of the message, as it is stored
}

// look is what reading the stream has found.
type look struct {
	hits     []hit
	messages int
	bytes    int
	from     time.Time // of the oldest message that was looked at
	whole    bool      // nothing since the question's Since was left out
}

// place is how far the stream and the sinks are.
type place struct {
	first, last uint64
	oldest      time.Time // of the first message

	sink  bool   // there was a sink once
	floor uint64 // up to here the sinks have acknowledged everything
	sent  uint64 // up to here messages were delivered
}

func (t *Tracer) place(ctx context.Context) (p place, err error) {
	s, err := t.JetStream.Stream(ctx, t.Stream.Name)
	if err != nil {
		return p, err
	}
	state := s.CachedInfo().State
	p.first, p.last, p.oldest = state.FirstSeq, state.LastSeq, state.FirstTime
	consumer, err := s.Consumer(ctx, stream.Durable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return p, nil
	}
	if err != nil {
		return p, err
	}
	info := consumer.CachedInfo()
	p.sink, p.floor, p.sent = true, info.AckFloor.Stream, info.Delivered.Stream
	return p, nil
}

// delivered says how far the sinks are with a message.
func (p place) delivered(seq uint64) Stage {
	s := Stage{Name: Delivered, State: Waiting, Detail: map[string]any{"ack_floor": p.floor}}
	switch {
	case p.sink && seq <= p.floor:
		s.State = Done
	case p.sink && seq <= p.sent:
		s.Detail["in_flight"] = true // a sink is at it, or is through with it and not with one before
	default:
		s.Detail["behind"] = seq - p.sent // messages that come first, with this one
	}
	return s
}

// newest looks through the stream from its newest message on, until Since or a bound.
func (t *Tracer) newest(ctx context.Context, q Question, p place) (l look, err error) {
	ctx, cancel := context.WithTimeout(ctx, streamPatience)
	defer cancel()
	l.from = time.Now()
	for high := p.last; ; {
		if high < p.first || high == 0 {
			l.whole = true
			return l, nil
		}
		if l.messages >= MaxMessages || l.bytes >= MaxBytes || ctx.Err() != nil {
			return l, nil
		}
		low := max(p.first, 1)
		if high >= low+window {
			low = high - window + 1
		}
		oldest := l.from
		part := look{from: l.from}
		err := stream.Read(ctx, t.JetStream, t.Stream.Name, stream.Range{From: low, Last: high}, func(seq uint64, at time.Time, msg jetstream.Msg) bool {
			if at.Before(oldest) {
				oldest = at
			}
			if !at.Before(q.Since) {
				part.take(q.ID, seq, at, msg)
			}
			return true
		})
		l.hits, l.messages, l.bytes = append(l.hits, part.hits...), l.messages+part.messages, l.bytes+part.bytes
		if err != nil {
			if ctx.Err() != nil && l.messages > 0 {
				return l, nil // a part of the window is left out: from stays where it was
			}
			return l, err
		}
		l.from = part.from
		if oldest.Before(q.Since) {
			l.whole = true
			return l, nil
		}
		if low <= max(p.first, 1) {
			l.whole = true
			return l, nil
		}
		high = low - 1
	}
}

// around looks at a window of messages from some time before the meter got an event.
func (t *Tracer) around(ctx context.Context, q Question, p place, at time.Time) (l look, err error) {
	ctx, cancel := context.WithTimeout(ctx, streamPatience)
	defer cancel()
	err = stream.Read(ctx, t.JetStream, t.Stream.Name, stream.Range{Since: at.Add(-before), Last: p.last}, func(seq uint64, stored time.Time, msg jetstream.Msg) bool {
		l.take(q.ID, seq, stored, msg)
		return l.messages < MaxMessages && l.bytes < MaxBytes && !stored.After(at) && len(l.hits) == 0
	})
	return l, err
}

// take looks at one message.
func (l *look) take(id string, seq uint64, at time.Time, msg jetstream.Msg) {
	l.messages++
	l.bytes += len(msg.Data())
	if l.from.IsZero() || at.Before(l.from) {
		l.from = at
	}
	for _, h := range find(id, msg.Headers(), msg.Data()) {
		envelope := stream.ReadEnvelope(msg.Headers())
		l.hits = append(l.hits, hit{head: h, seq: seq, at: at, received: envelope.Received, batch: envelope.Events, bytes: len(msg.Data())})
	}
}

// find returns the events of a message that have the id.
func find(id string, h nats.Header, data []byte) (found []head) {
	body, err := stream.Body(h, data)
	if err != nil || !mayHave(id, body) {
		return nil
	}
	var raws []json.RawMessage
	if json.Unmarshal(body, &raws) != nil {
		return nil
	}
	for _, raw := range raws {
		var e head
		_ = json.Unmarshal(raw, &e) // one name of the wrong type doesn't hide the others
		if e.ID == id {
			found = append(found, e)
		}
	}
	return found
}

// mayHave tells, faster than decoding, whether a body may have the id. A client may write
// any letter as an escape.
func mayHave(id string, body []byte) bool {
	plain := !strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' })
	return !plain || bytes.Contains(body, []byte(`"`+id+`"`)) || bytes.Contains(body, []byte(`\u00`)) ||
		strings.Contains(id, "/") && bytes.Contains(body, []byte(`\/`))
}

// readLetters returns the letters of an id, and how many were looked at. All is false when
// there are more than MaxLetters since the question's Since.
func (t *Tracer) readLetters(ctx context.Context, q Question) (found []deadletter.Stored, looked int, all bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, streamPatience)
	defer cancel()
	for after := uint64(0); looked < MaxLetters; {
		page, err := t.letters.List(ctx, deadletter.Filter{Since: q.Since}, after, deadletter.MaxPage)
		if err != nil {
			return found, looked, false, err
		}
		looked += len(page.Letters)
		for _, l := range page.Letters {
			if l.ID == q.ID {
				found = append(found, l)
			}
		}
		if after = page.Next; after == 0 || after == math.MaxUint64 {
			return found, looked, true, nil
		}
	}
	return found, looked, false, nil
}
