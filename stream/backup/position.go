package backup

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents/stream"
)

// position sets the sink behind those of the restored messages that were metered; all
// says that every one is taken for it. What was in the stream before and is not
// finished is stored once more, behind, since the sink goes only forward from its place.
func (p *publisher) position(ctx context.Context, streams stream.Streams, all bool) error {
	sink, err := streams.Consumer(ctx)
	if err != nil {
		return fmt.Errorf("consumer %s: %w", stream.Durable, err)
	}
	at := p.passed
	if all || at == 0 {
		at = p.next
	}
	if floor := sink.CachedInfo().AckFloor.Stream; floor+1 < p.first {
		if err := p.move(ctx, floor+1); err != nil {
			return fmt.Errorf("what the sink has not finished: %w", err)
		}
	}
	answer, err := p.js.ResetConsumerToSequence(ctx, p.out.Name, stream.Durable, at)
	if err != nil {
		return fmt.Errorf("consumer %s: it can't be set to message %d: %w", stream.Durable, at, err)
	}
	if answer.ResetSeq != at {
		return fmt.Errorf("consumer %s was set to message %d instead of %d", stream.Durable, answer.ResetSeq, at)
	}
	p.out.Metered = at - p.first
	return nil
}

// move stores again what is between a sequence and the first that was restored.
func (p *publisher) move(ctx context.Context, from uint64) error {
	info, err := p.target.Info(ctx)
	if err != nil {
		return err
	}
	state := info.State
	state.FirstSeq, state.LastSeq = max(from, state.FirstSeq), p.first-1
	if state.FirstSeq > state.LastSeq {
		return nil
	}
	state.Msgs = state.LastSeq - state.FirstSeq + 1
	return read(ctx, p.target, state, func(m message) error {
		delete(m.header, nats.MsgIdHdr) // the server would drop what it has just had
		_, err := p.js.PublishMsg(ctx, &nats.Msg{Subject: m.subject, Header: m.header, Data: m.data}, jetstream.WithExpectStream(p.out.Name))
		if err == nil {
			p.out.Moved++
		}
		return err
	})
}
