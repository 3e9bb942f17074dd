package backup

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents/stream"
)

// Bounds of what is published before its acknowledgements are waited for, and of
// the patience with a server.
const (
	windowMessages = 256
	windowBytes    = 8 << 20

	ackWait = 10 * time.Second
	retries = 30 // of a window in which nothing was acknowledged, a second apart
)

// publisher stores messages in order and knows the sequence that each must get:
// any other tells that somebody else writes to the stream, or that the order is
// lost.
type publisher struct {
	js     jetstream.JetStream
	target jetstream.Stream
	first  uint64    // the sequence of the first message that is stored
	next   uint64    // the sequence of the next
	sum    hash.Hash // over what was stored, in its order
	out    RestoredStream
	step   func()

	window []*nats.Msg
	bytes  int
	ids    map[string]bool // in the window

	kept    bool   // beside the streams of events and dead letters
	metered uint64 // up to which sequence of the stream that was copied
	passed  uint64 // the first sequence after those, 0 as long as there is none
}

// conditions are headers that name a place in the stream that was copied.
var conditions = []string{
	jetstream.ExpectedLastSeqHeader, jetstream.ExpectedLastSubjSeqHeader, jetstream.ExpectedLastSubjSeqSubjHeader, jetstream.ExpectedLastMsgIDHeader,
}

func (p *publisher) add(ctx context.Context, m message) error {
	if m.sequence > p.metered && p.passed == 0 {
		if err := p.flush(ctx); err != nil {
			return err
		}
		p.passed = p.next
	}
	msg := &nats.Msg{Subject: m.subject, Header: m.header, Data: bytes.Clone(m.data)}
	dropped := false
	for _, name := range conditions {
		if _, ok := msg.Header[name]; ok {
			delete(msg.Header, name)
			dropped = true
		}
	}
	if dropped && !p.kept {
		p.out.Unconditional++ // a key's value has one whenever it depended on the one before
	}
	// Two with one id are never under way together, so that the answer to the
	// second says which sequence the first has got.
	id := msg.Header.Get(nats.MsgIdHdr)
	if len(p.window) >= windowMessages || p.bytes+msg.Size() > windowBytes || id != "" && p.ids[id] {
		if err := p.flush(ctx); err != nil {
			return err
		}
	}
	if p.ids == nil {
		p.ids = map[string]bool{}
	}
	p.ids[id] = true
	p.window = append(p.window, msg)
	p.bytes += msg.Size()
	return nil
}

// flush stores the window. What an unknown outcome may have stored is sent again:
// its id, and the sequence it must have, tell whether it was.
func (p *publisher) flush(ctx context.Context) error {
	window := p.window
	var again []*nats.Msg // to be stored without their ids, which others have
	for failures := 0; len(window) > 0; {
		done, same, err := p.send(ctx, window)
		again = append(again, same...)
		window = window[done:]
		if err == nil {
			continue
		}
		if final(err) || ctx.Err() != nil {
			return err
		}
		if failures++; done > 0 {
			failures = 1
		}
		if failures > retries {
			return fmt.Errorf("the server does not acknowledge: %w", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
	p.window, p.bytes = p.window[:0], 0
	clear(p.ids)
	if len(again) == 0 {
		return nil
	}
	for _, msg := range again {
		delete(msg.Header, nats.MsgIdHdr)
		p.out.Renamed++
	}
	p.window = slices.Clone(again)
	return p.flush(ctx)
}

var errOrder = errors.New("the order is lost: stop every 'kgents api' and 'kgents sink' of this server, and wait until its cluster is well")

// final tells that sending again is no use.
func final(err error) bool {
	if e, ok := errors.AsType[*jetstream.APIError](err); ok {
		// 503 is a cluster that is not ready. The other: what was sent before is
		// still on its way to the replicas.
		return e.Code != http.StatusServiceUnavailable && e.ErrorCode != duplicateUnderWay
	}
	return errors.Is(err, errOrder)
}

// duplicateUnderWay is nats-server's JSStreamDuplicateMessageConflict.
const duplicateUnderWay jetstream.ErrorCode = 10158

// send publishes a window and takes its acknowledgements in order. Done is how
// many it has; renamed are those among them whose id another message has.
func (p *publisher) send(ctx context.Context, window []*nats.Msg) (done int, renamed []*nats.Msg, err error) {
	futures := make([]jetstream.PubAckFuture, 0, len(window))
	for _, msg := range window {
		// The client's own second attempts would come out of order.
		f, err := p.js.PublishMsgAsync(&nats.Msg{Subject: msg.Subject, Header: msg.Header, Data: msg.Data}, jetstream.WithRetryAttempts(0))
		if err != nil {
			if len(futures) == 0 {
				return 0, nil, err
			}
			break // first those that are on their way
		}
		futures = append(futures, f)
	}
	timeout := time.NewTimer(ackWait)
	defer timeout.Stop()
	for i, f := range futures {
		select {
		case ack := <-f.Ok():
			if err != nil && !final(err) {
				err = fmt.Errorf("message %d was stored after one that was not (%v): %w", ack.Sequence, err, errOrder)
			}
			if err != nil {
				return done, renamed, err
			}
			same, err := p.acknowledged(ctx, window[i], ack)
			if err != nil {
				return done, renamed, err
			}
			if !same {
				renamed = append(renamed, window[i])
			}
			done++
		case failed := <-f.Err():
			// What was sent behind it must have its answer before anything is sent again.
			err = cmp.Or(err, failed)
		case <-timeout.C:
			return done, renamed, cmp.Or(err, fmt.Errorf("no answer within %v", ackWait))
		case <-ctx.Done():
			return done, renamed, ctx.Err()
		}
	}
	return done, renamed, err
}

// acknowledged counts one message. It is false for one that was not stored
// because another has its id.
func (p *publisher) acknowledged(ctx context.Context, msg *nats.Msg, ack *jetstream.PubAck) (bool, error) {
	switch name := p.target.CachedInfo().Config.Name; {
	case ack.Stream != name:
		return false, fmt.Errorf("subject %s belongs to the stream %s, not to %s", msg.Subject, ack.Stream, name)
	case ack.Sequence == p.next: // or a duplicate of our own, after an unknown outcome
		hashContent(p.sum, message{subject: msg.Subject, header: msg.Header, data: msg.Data})
		p.out.Stored++
		p.next++
		p.step()
		return true, nil
	case ack.Duplicate && ack.Sequence < p.next:
		first, err := p.target.GetMsg(ctx, ack.Sequence)
		if err != nil {
			return false, err
		}
		if first.Subject != msg.Subject || !bytes.Equal(first.Data, msg.Data) {
			return false, nil
		}
		p.out.Repeated++
		p.out.RepeatedEvents += uint64(stream.ReadEnvelope(msg.Header).Events)
		p.step()
		p.step() // it is not read back
		return true, nil
	default:
		return false, fmt.Errorf("message %d was expected and %d acknowledged: %w", p.next, ack.Sequence, errOrder)
	}
}
