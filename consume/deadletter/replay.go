package deadletter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/stream"
)

// Replay publishes a letter's event, byte for byte, to the stream of events, waits
// until it is durable there, and then deletes the letter. An error leaves the
// letter in place or, at worst, both it and the event: replaying it again is
// harmless, since the event counts once. If the meter refuses it again, that
// makes a new letter with a Count one higher.
//
// A letter that holds no whole event is refused with kgents.CodeConflict. All
// errors have a code.
func (s *Store) Replay(ctx context.Context, seq uint64) (Stored, error) {
	dead, l, err := s.get(ctx, seq)
	if err != nil {
		return Stored{}, err
	}
	if err := l.replayable(); err != nil {
		return Stored{}, err
	}
	msg := stream.Encode([]kgents.Event{{Source: l.Source, ID: l.ID, Type: l.Type, Subject: l.Subject, Raw: l.Event}}, time.Now())
	// The event's own message had the id that Encode makes, and JetStream would
	// swallow its repetition within the duplicate window. This id is that of the
	// letter: trying its replay again is still harmless.
	id := fmt.Sprintf("%s-%d-%d", msg.Header.Get(nats.MsgIdHdr), l.Seq, l.Count)
	msg.Header.Set(nats.MsgIdHdr, id)
	msg.Header.Set(headerRefused, strconv.Itoa(l.Count))
	if _, err := s.js.PublishMsg(ctx, msg, jetstream.WithExpectStream(s.stream.Name)); err != nil {
		return Stored{}, kgents.Unavailable(retryAfter, fmt.Sprintf("dead letter %d was not replayed, since the stream of events did not take it: try again later", seq), err)
	}
	if err := remove(ctx, dead, seq); err != nil {
		return Stored{}, kgents.Unavailable(retryAfter, fmt.Sprintf("dead letter %d was replayed but could not be deleted: replay it again later, it counts once", seq), err)
	}
	return l, nil
}

// replayable tells why a letter's event can't be sent again; nil if it can.
func (l Stored) replayable() error {
	why := ""
	switch {
	case l.Reason == Malformed:
		why = "what it holds is no event"
	case l.Truncated:
		why = "it holds the beginning of the event only"
	case len(l.Event)+len("[]") > stream.MaxBodyBytes:
		why = "its event is too large for a message"
	case !json.Valid(l.Event):
		why = "its event is no JSON"
	default:
		return nil
	}
	return kgents.Errorf(kgents.CodeConflict, "dead letter %d can't be replayed: %s; have its sender send the event again, then drop the letter", l.Seq, why)
}

// Drop deletes a letter, event and all, for ever. Errors have a code.
func (s *Store) Drop(ctx context.Context, seq uint64) (Stored, error) {
	dead, l, err := s.get(ctx, seq)
	if err != nil {
		return Stored{}, err
	}
	if err := remove(ctx, dead, seq); err != nil {
		return Stored{}, kgents.Unavailable(retryAfter, fmt.Sprintf("dead letter %d could not be deleted: try again later", seq), err)
	}
	return l, nil
}

// remove deletes a letter; one that has gone in the meantime is none to delete.
func remove(ctx context.Context, dead jetstream.Stream, seq uint64) error {
	err := dead.DeleteMsg(ctx, seq)
	if err == nil {
		return nil
	}
	// The server's answer does not tell this case from others.
	if _, lookErr := dead.GetMsg(ctx, seq); errors.Is(lookErr, jetstream.ErrMsgNotFound) {
		return nil
	}
	return err
}
