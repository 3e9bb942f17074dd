package stream

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// readMessages and readBytes are how much Read asks for at once; a message has 1 MB
	// at most. 20,000 messages of 1 kB came at 240,000 a second from a server beside it, and
	// over 1 ms at 23,000, 70,000 and 130,000 a second by 64, by 256 and by 1,000 at a time.
	readMessages = 256
	readBytes    = 8 << 20

	// readSilence is how long NATS may leave a request without a word before Read asks
	// anew, and readPause is before it does so when the last time brought nothing.
	readSilence = 3 * time.Second
	readPause   = time.Second

	// readAgain is how often a Read may go on with a new consumer.
	readAgain = 20

	// readInactive is after how long the server deletes a consumer that nobody asks.
	readInactive = 30 * time.Second

	// DefaultPatience is how long NATS may bring nothing to a Read.
	DefaultPatience = 30 * time.Second
)

// ErrLost is the error of Read when messages were lost on their way again and again.
var ErrLost = errors.New("messages were lost on their way")

// ErrSilent is the error of Read when NATS has brought nothing for as long as its patience.
var ErrSilent = errors.New("NATS is silent")

// Range is a part of a stream.
type Range struct {
	// From is the sequence of the first message, or 0 for the first that was stored at
	// Since or later.
	From  uint64
	Since time.Time

	// Last is the sequence of the last message. With 0 there is nothing to read.
	Last uint64

	// Patience is how long NATS may bring nothing; 0 = DefaultPatience.
	Patience time.Duration
}

// Read hands on the messages of a part of a stream, in order and each of them once, until
// take returns false. With nil as its error and no false, take has had all of them that the
// stream has: its leader says so. What the stream dropped, for its age or by somebody, is
// no error; what it drops just as it is asked for costs 3 s.
//
// What is lost on its way, as when the connection is made anew or a server stops, is asked
// for again by a new consumer, from the next message on: up to 20 times, then the error is
// ErrLost. When NATS brings nothing for as long as the patience says, to within 3 s, the
// error is ErrSilent. Both come with the reason. The error comes at once when there is no
// such stream, when the connection was closed for good, and when ctx ends.
//
// It asks for 256 messages or 8 MiB at a time, which is what it holds in memory. Its
// consumer is in the server's memory, acknowledges nothing, and is deleted when Read
// returns, for which it takes a second at most; where it can't, the server does so after
// 30 s. A take that lasts that long costs a new consumer. It publishes on
// $JS.API.STREAM.{INFO,MSG.GET} and $JS.API.CONSUMER.{CREATE,MSG.NEXT,DELETE} of the stream.
func Read(ctx context.Context, js jetstream.JetStream, name string, part Range, take func(seq uint64, at time.Time, msg jetstream.Msg) bool) error {
	if part.Last == 0 || part.From > part.Last {
		return nil
	}
	if part.Patience == 0 {
		part.Patience = DefaultPatience
	}
	cut := js.Conn().StatusChanged(nats.RECONNECTING, nats.CLOSED)
	defer js.Conn().RemoveStatusListener(cut)
	r := &reading{js: js, name: name, part: part, take: take, cut: cut, heard: time.Now()}
	defer r.tidy(ctx)
	for {
		before := r.last
		err := r.some(ctx)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("stream %s: %w", name, ctx.Err())
		case hopeless(err):
			return fmt.Errorf("stream %s: %w", name, err)
		case time.Since(r.heard) >= part.Patience:
			return fmt.Errorf("stream %s: %w for %s: %w", name, ErrSilent, part.Patience, err)
		case r.made > readAgain:
			return fmt.Errorf("stream %s: %w %d times: %w", name, ErrLost, r.made, err)
		case r.last > before:
			continue // it may go on at once
		}
		select {
		case <-ctx.Done():
		case <-time.After(readPause):
		}
	}
}

// reading is a Read under way.
type reading struct {
	js   jetstream.JetStream
	name string
	part Range
	take func(seq uint64, at time.Time, msg jetstream.Msg) bool

	cut <-chan nats.Status // says something when the connection is lost

	last  uint64    // sequence of the message that take had last; 0 = none
	heard time.Time // when take was through with it
	made  int       // consumers
	names []string  // of consumers that were made, or may have been
}

var (
	errCut     = errors.New("the connection was lost")
	errGap     = errors.New("a message did not come that was sent")
	errQuiet   = errors.New("no message comes")
	errMissing = errors.New("there is a message that NATS doesn't send")
)

// some reads by one consumer. With nil as its error there is no more to read.
func (r *reading) some(ctx context.Context) error {
	c := jetstream.ConsumerConfig{
		Name: "read-" + rand.Text(), Description: "Reads a part of the stream once", AckPolicy: jetstream.AckNonePolicy,
		MemoryStorage: true, Replicas: 1, InactiveThreshold: readInactive,
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: max(r.part.From, r.last+1),
	}
	if r.byTime() {
		c.DeliverPolicy, c.OptStartSeq, c.OptStartTime = jetstream.DeliverByStartTimePolicy, 0, &r.part.Since
	}
	for len(r.cut) > 0 { // a connection before
		<-r.cut
	}
	r.names = append(r.names, c.Name)
	asked, cancel := context.WithTimeout(ctx, r.silence())
	defer cancel()
	consumer, err := r.js.CreateConsumer(asked, r.name, c)
	if err != nil {
		return err
	}
	r.made++
	b := batches{Consumer: consumer, pending: consumer.CachedInfo().NumPending}
	for b.pending > 0 {
		if more, err := r.batch(ctx, &b); err != nil || !more {
			return err
		}
	}
	return r.end(ctx)
}

// tidy deletes the consumers.
func (r *reading) tidy(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	for _, name := range r.names {
		_ = r.js.DeleteConsumer(ctx, r.name, name) // else the server does
	}
}

// batches are what one consumer brings.
type batches struct {
	jetstream.Consumer
	count   uint64 // of messages: each says which it is, and none comes twice
	pending uint64 // messages that the consumer has still to send
}

// batch makes one request and takes what it brings. With more it has not come to the end.
func (r *reading) batch(ctx context.Context, b *batches) (more bool, err error) {
	asked, cancel := context.WithCancel(ctx)
	defer cancel()
	n := min(readMessages, b.pending, r.part.Last-r.last)
	batch, err := b.Fetch(int(n), jetstream.FetchContext(asked), jetstream.FetchMaxBytes(readBytes))
	if err != nil {
		return false, err
	}
	silence := time.NewTimer(r.silence())
	defer silence.Stop()
	cut := false
	for in, got := batch.Messages(), 0; ; got++ {
		select {
		case msg, ok := <-in:
			switch {
			case !ok && cut:
				return false, errCut
			case !ok && batch.Error() == nil && got == 0:
				return false, errQuiet
			case !ok:
				return batch.Error() == nil, batch.Error()
			}
			if more, err = r.one(b, msg); err != nil || !more || b.pending == 0 {
				return more, err // with none pending, some that were asked for are gone since
			}
			silence.Reset(r.silence())
		case <-r.cut:
			cut = true
			cancel() // after what has come
		case <-silence.C:
			return false, errQuiet
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

// one hands on a message.
func (r *reading) one(b *batches, msg jetstream.Msg) (more bool, err error) {
	meta, err := msg.Metadata()
	if err != nil {
		return false, err
	}
	if meta.Sequence.Consumer != b.count+1 {
		return false, errGap
	}
	b.count, b.pending = meta.Sequence.Consumer, meta.NumPending
	seq := meta.Sequence.Stream
	if seq > r.part.Last || !r.take(seq, meta.Timestamp, msg) || seq == r.part.Last {
		return false, nil
	}
	r.last, r.heard = seq, time.Now()
	return true, nil
}

// end asks the stream's leader whether it has more to read. A consumer may be at a server
// that doesn't have the newest messages yet, and what it sent last may be lost.
func (r *reading) end(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.silence())
	defer cancel()
	s, err := r.js.Stream(ctx, r.name)
	if err != nil {
		return err
	}
	seq, how := max(r.part.From, r.last+1), []jetstream.GetMsgOpt{jetstream.WithGetMsgSubject(">")} // the first from there on
	if r.byTime() {
		seq, how = r.part.Last, nil
	}
	msg, err := s.GetMsg(ctx, seq, how...)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return nil
	case err != nil:
		return err
	case msg.Sequence > r.part.Last || r.byTime() && msg.Time.Before(r.part.Since):
		return nil
	}
	return errMissing
}

// byTime tells whether the first message is looked for by its time.
func (r *reading) byTime() bool { return r.part.From == 0 && r.last == 0 }

func (r *reading) silence() time.Duration { return min(readSilence, r.part.Patience) }

// hopeless tells whether asking again would be in vain.
func hopeless(err error) bool {
	if refused, ok := errors.AsType[jetstream.JetStreamError](err); ok && refused.APIError() != nil {
		code := refused.APIError().Code
		return code >= http.StatusBadRequest && code < http.StatusInternalServerError
	}
	return errors.Is(err, nats.ErrConnectionClosed)
}
