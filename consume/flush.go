package consume

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http/httptrace"
	"time"

	"github.com/kgents/kgents/consume/deadletter"
	"github.com/kgents/kgents/failpoint"
	"github.com/kgents/kgents/meter"
	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/telemetry"
)

// The waits between tries of one flush. A wait is halved at random, so that
// replicas don't come in step; the meter's own Retry-After wins when it is longer.
//
//	answer                           class    first   longest  for how long
//	none, 408, 425, 429, 5xx         Retry    0.25 s  30 s     for ever
//	401, 402, 403, 404, 405, 407     Blocked  1 s     30 s     for ever, logged as an error
//	other 4xx                        Refused  bisected at once until the event stands alone
const (
	firstRetry   = 250 * time.Millisecond
	firstBlocked = time.Second
	longestWait  = 30 * time.Second
)

// flush brings a batch to its final state and acknowledges it. When ctx ends
// before that, it gives the messages back.
func (s *Sink) flush(ctx context.Context, batch []delivery) {
	events := 0
	for _, d := range batch {
		events += d.envelope.Events
	}
	defer s.metrics.buffered.Sub(float64(events))
	ctx, span := s.startSpan(ctx, batch, events)
	defer span.End()
	if err := s.settle(ctx, batch, events); err != nil {
		span.AddEvent("given back")
		for _, d := range batch {
			_ = d.NakWithDelay(giveBack) // if it fails, the message comes back after stream.AckWait
		}
		return
	}
	now := time.Now()
	for _, d := range batch {
		failpoint.Hit("flush.acknowledging")
		s.observe(d.envelope, now)
		if err := d.Ack(); err != nil {
			// It will be delivered again, and count once by its identity.
			s.Log.WarnContext(ctx, "an acknowledgement failed, the message will come again", "error", err)
		}
	}
}

// settle returns nil when every event of the batch is in a final state, and
// ctx's error if it ended before.
func (s *Sink) settle(ctx context.Context, batch []delivery, events int) error {
	first := time.Now()
	body, err := join(batch)
	if err == nil {
		var refusal *meter.Error
		if refusal, err = s.deliver(ctx, body, events); err != nil || refusal == nil {
			return err
		}
	}
	// The meter won't take the batch as it is, or a message is no batch at all:
	// from here on one event at a time counts.
	for _, d := range batch {
		before := deadletter.Refusals(d.Headers())
		elements, err := split(d)
		if err != nil {
			if err := s.bury(ctx, d.Data(), deadletter.Malformed, first, &meter.Error{Detail: err.Error()}, before); err != nil {
				return err
			}
			continue
		}
		if err := s.bisect(ctx, elements, first, before); err != nil {
			return err
		}
	}
	return nil
}

// bisect delivers elements, halving what the meter refuses until the event that
// it refuses stands alone. It costs about 2·log2(n) requests a bad event. The
// events were refused before times before.
func (s *Sink) bisect(ctx context.Context, elements [][]byte, first time.Time, before int) error {
	if len(elements) == 0 {
		return nil
	}
	refusal, err := s.deliver(ctx, array(elements), len(elements))
	if err != nil || refusal == nil {
		return err
	}
	if len(elements) == 1 {
		return s.bury(ctx, elements[0], deadletter.Refused, first, refusal, before)
	}
	note(ctx, "refused, halved", telemetry.EventsKey.Int(len(elements)))
	middle := len(elements) / 2
	if err := s.bisect(ctx, elements[:middle], first, before); err != nil {
		return err
	}
	return s.bisect(ctx, elements[middle:], first, before)
}

// deliver sends one body until the meter takes it or refuses it. The error is
// only ever ctx's.
func (s *Sink) deliver(ctx context.Context, body []byte, events int) (refusal *meter.Error, err error) {
	retry, blocked := firstRetry, firstBlocked
	for {
		start := time.Now()
		failpoint.Hit("flush.before")
		// A request that waits for a limit has not begun.
		sent := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GetConn: func(string) { start = time.Now() }})
		err := s.Meter.Ingest(sent, body)
		failpoint.Hit("flush.after")
		if err == nil {
			telemetry.Observe(ctx, s.metrics.latency, time.Since(start).Seconds())
			s.metrics.sent.Add(float64(events))
			s.metrics.canaries.taken(body, time.Now())
			s.status.taken(time.Now())
			return nil, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		class := meter.Classify(err)
		s.metrics.errors.WithLabelValues(class.String()).Inc()
		detail, _ := errors.AsType[*meter.Error](err)
		if detail == nil {
			detail = &meter.Error{Class: class, Err: err}
		}
		var wait time.Duration
		switch class {
		case meter.Refused:
			// The meter answers, so it is well.
			s.status.answered(time.Now())
			return detail, nil
		case meter.Blocked:
			wait, blocked = jitter(blocked), min(2*blocked, longestWait)
			s.Log.ErrorContext(ctx, "the meter refuses us, not the events: check OPENMETER_API_KEY and OPENMETER_BASE_URL; nothing is lost, trying again",
				"status", detail.Status, "in", wait, "error", err)
		default:
			wait, retry = jitter(retry), min(2*retry, longestWait)
			s.Log.WarnContext(ctx, "the meter did not take a batch, trying again", "status", detail.Status, "events", events, "in", max(wait, detail.RetryAfter), "error", err)
		}
		s.status.failed(time.Now(), class, err)
		note(ctx, "not taken, waiting", classKey.String(class.String()))
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(max(wait, detail.RetryAfter)):
		}
	}
}

// bury keeps an event that can't be metered, trying until that is durable.
func (s *Sink) bury(ctx context.Context, event []byte, reason deadletter.Reason, first time.Time, refusal *meter.Error, before int) error {
	letter := deadletter.New(event, reason, refusal.Status, refusal.Detail, first, time.Now(), before)
	ctx, span := startBury(ctx, letter)
	defer span.End()
	for wait := firstRetry; ; wait = min(2*wait, longestWait) {
		err := s.Dead.Bury(ctx, letter)
		if err == nil {
			s.metrics.dead.WithLabelValues(string(reason)).Inc()
			s.Log.WarnContext(ctx, "event is a dead letter", "source", letter.Source, "id", letter.ID, "type", letter.Type,
				"reason", reason, "status", refusal.Status, "detail", refusal.Words(), "refused", letter.Count)
			return nil
		}
		s.Log.ErrorContext(ctx, "a dead letter could not be kept, trying again", "in", wait, "error", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(jitter(wait)):
		}
	}
}

// observe records how long the events of a metered message took from their
// receipt.
func (s *Sink) observe(e stream.Envelope, now time.Time) {
	if e.Received.IsZero() {
		return
	}
	seconds := max(0, now.Sub(e.Received).Seconds())
	for range e.Events {
		s.metrics.metered.Observe(seconds)
	}
}

func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2) }

// join makes one array of the messages' arrays, without decoding them. The error
// is stream.ErrNoBatch or stream.ErrEncoding.
func join(batch []delivery) ([]byte, error) {
	size := 2
	for _, d := range batch {
		size += len(d.body)
	}
	body := make([]byte, 1, size)
	body[0] = '['
	for _, d := range batch {
		if d.err != nil {
			return nil, d.err
		}
		elements, err := stream.Elements(d.body)
		if err != nil {
			return nil, err
		}
		if len(batch) == 1 {
			return d.body, nil
		}
		if len(elements) == 0 {
			continue
		}
		if len(body) > 1 {
			body = append(body, ',')
		}
		body = append(body, elements...)
	}
	return append(body, ']'), nil
}

// split decodes a message's body into its elements. It accepts whatever is a
// JSON array; whether the elements are events is for the meter to say.
func split(d delivery) ([][]byte, error) {
	if d.err != nil {
		return nil, d.err
	}
	var elements []json.RawMessage
	if err := json.Unmarshal(d.body, &elements); err != nil || elements == nil {
		return nil, stream.ErrNoBatch
	}
	out := make([][]byte, len(elements))
	for i, e := range elements {
		out[i] = e
	}
	return out, nil
}

func array(elements [][]byte) []byte {
	return append(append([]byte{'['}, bytes.Join(elements, []byte{','})...), ']')
}
