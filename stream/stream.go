// Package stream is what publish and consume must agree on: how to reach NATS,
// which streams there are and with what settings, and what a message looks like.
//
// It promises that a stream refuses rather than forgets: file storage, limits
// retention with an age far beyond any outage, `discard: new`. A stream found
// with weaker settings is put right at start. What its embedded server
// acknowledges is synced to disk.
//
// When NATS is away, Connect returns at once with a connection that keeps trying
// for as long as the process lives, and Ensure fails until it is back.
package stream

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// Subject is where batches of admitted events are published. The stream takes
	// all of `kgent.>`, so that a later partition by subject needs no new stream
	// definition.
	Subject = "kgent.events"

	subjects = "kgent.>"

	// Durable is the consumer that all sinks share.
	Durable = "sink"

	// maxAge is far beyond any outage: what is older than this was metered or is
	// a dead letter, or nobody has looked at an alert for a month.
	maxAge = 30 * 24 * time.Hour

	// duplicates is the window in which JetStream itself refuses a repeated
	// Nats-Msg-Id. It covers a publisher's own retries; the identity of events is
	// the meter's business. The server keeps every id of the window in memory.
	duplicates = 2 * time.Minute

	// AckWait is how long a message may go without a sign of life from its sink
	// before another sink gets it, and so how late its events are after a sink was
	// killed. A flush may take longer: its sink says every Heartbeat that it is
	// still at it.
	AckWait   = 20 * time.Second
	Heartbeat = 5 * time.Second

	// maxAckPending bounds the messages that all sinks together hold unfinished,
	// and so the work repeated after all of them are killed.
	maxAckPending = 512
)

// Config names the streams and says how many copies they have.
type Config struct {
	Name     string // the stream of events
	Replicas int
	MaxBytes int64 // bound on disk of the stream of events; 0 = the server's own limit
}

// DeadName is the stream of dead letters.
func (c Config) DeadName() string { return c.Name + "-dead" }

// DeadSubject is where a dead letter with this reason is published. It lies
// outside the stream of events.
func (c Config) DeadSubject(reason string) string { return "kgent-dead." + c.Name + "." + reason }

// Streams are the two streams, ready for use.
type Streams struct {
	Events jetstream.Stream
	Dead   jetstream.Stream
}

// Ensure makes both streams, or brings those it finds to these settings. It is
// safe to call from many processes at once.
func Ensure(ctx context.Context, js jetstream.JetStream, c Config) (Streams, error) {
	maxBytes := c.MaxBytes
	if maxBytes == 0 {
		maxBytes = -1
	}
	events, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:        c.Name,
		Description: "Admitted events on their way to the meter",
		Subjects:    []string{subjects},
		Storage:     jetstream.FileStorage,
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardNew,
		MaxAge:      maxAge,
		MaxBytes:    maxBytes,
		MaxMsgs:     -1,
		Duplicates:  duplicates,
		Replicas:    c.Replicas,
		DenyDelete:  true,
		DenyPurge:   true,
	})
	if err != nil {
		return Streams{}, fmt.Errorf("stream %s: %w", c.Name, err)
	}
	dead, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:        c.DeadName(),
		Description: "Events that the meter refused, each with the reason",
		Subjects:    []string{c.DeadSubject(">")},
		Storage:     jetstream.FileStorage,
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardNew,
		MaxBytes:    -1,
		MaxMsgs:     -1,
		Duplicates:  duplicates,
		Replicas:    c.Replicas,
	})
	if err != nil {
		return Streams{}, fmt.Errorf("stream %s: %w", c.DeadName(), err)
	}
	return Streams{Events: events, Dead: dead}, nil
}

// Consumer makes or updates the durable pull consumer that all sinks share.
// Nothing limits how often a message is delivered: an event leaves the stream
// by being metered or dead-lettered, never by being tried too often.
func (s Streams) Consumer(ctx context.Context) (jetstream.Consumer, error) {
	return s.Events.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable:       Durable,
		Description:   "Delivers events to the meter",
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       AckWait,
		DeliverPolicy: jetstream.DeliverAllPolicy,
		MaxDeliver:    -1,
		MaxAckPending: maxAckPending,
	})
}

// Backlog is what has been made durable and isn't metered yet.
type Backlog struct {
	Messages int64     // batches of events
	Oldest   time.Time // when the oldest of them was stored; zero if there is none
}

// Age is how long the oldest unmetered message has waited at the time now.
func (b Backlog) Age(now time.Time) time.Duration {
	if b.Oldest.IsZero() {
		return 0
	}
	return max(0, now.Sub(b.Oldest))
}

// ReadBacklog asks the server. It costs three requests at most.
func ReadBacklog(ctx context.Context, js jetstream.JetStream, c Config) (Backlog, error) {
	s, err := ReadState(ctx, js, c)
	if err != nil {
		return Backlog{}, err
	}
	return *s.Backlog, nil
}
