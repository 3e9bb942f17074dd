package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// State is what the servers say of the stream of events and of the sinks' place in
// it. What they didn't say is nil.
type State struct {
	Stream  *Info
	Sink    *Lag // nil too while there was never a sink
	Backlog *Backlog
}

// Info is what the servers say of a stream.
type Info struct {
	Account  string    `json:"account,omitempty"` // only where all accounts are seen
	Name     string    `json:"name"`
	Messages uint64    `json:"messages"`
	Bytes    uint64    `json:"bytes"` // of one copy
	First    uint64    `json:"first_sequence"`
	Last     uint64    `json:"last_sequence"`
	Oldest   time.Time `json:"oldest,omitzero"` // when the first message was stored; zero without one
	MaxBytes int64     `json:"max_bytes"`       // 0 when the stream has no bound of its own

	Replicas int  `json:"replicas"`         // copies that there should be
	Current  int  `json:"replicas_current"` // copies that have everything, the leader's included
	Leader   bool `json:"has_leader"`       // a majority of the copies agrees on a leader, so that it can be written to

	Storage    string        `json:"storage"` // file or memory
	Discard    string        `json:"discard"` // new or old
	MaxAge     time.Duration `json:"max_age_ns"`
	DenyDelete bool          `json:"deny_delete"` // by the server, for ever
	DenyPurge  bool          `json:"deny_purge"`
	Unsynced   bool          `json:"unsynced,omitempty"` // its mode is to acknowledge before it writes

	Now time.Time `json:"now,omitzero"` // when the leader has said so, by its clock
}

// Lag is how far the sinks are.
type Lag struct {
	Pending     uint64 // messages that no sink has been sent
	AckPending  int    // messages that a sink has and has not finished
	Redelivered int    // those of them that were sent more than once
}

// ReadInfo asks the servers, with one request. Without a majority of the copies
// there is no answer, or one without a leader.
func ReadInfo(ctx context.Context, js jetstream.JetStream, name string) (Info, error) {
	s, err := js.Stream(ctx, name)
	if err != nil {
		return Info{}, err
	}
	return info(s.CachedInfo()), nil
}

func info(si *jetstream.StreamInfo) Info {
	i := Info{
		Name: si.Config.Name, Storage: "file", Discard: "old", MaxAge: si.Config.MaxAge,
		DenyDelete: si.Config.DenyDelete, DenyPurge: si.Config.DenyPurge, Unsynced: si.Config.PersistMode == jetstream.AsyncPersistMode, Now: si.TimeStamp,
		Messages: si.State.Msgs, Bytes: si.State.Bytes, First: si.State.FirstSeq, Last: si.State.LastSeq,
		MaxBytes: max(0, si.Config.MaxBytes), Replicas: si.Config.Replicas, Current: 1, Leader: true,
	}
	if si.Config.Storage == jetstream.MemoryStorage {
		i.Storage = "memory"
	}
	if si.Config.Discard == jetstream.DiscardNew {
		i.Discard = "new"
	}
	if i.Messages > 0 {
		i.Oldest = si.State.FirstTime
	}
	if si.Cluster == nil {
		return i // a server that is alone
	}
	if si.Cluster.Leader == "" {
		i.Current, i.Leader = 0, false
	}
	for _, r := range si.Cluster.Replicas {
		if r.Current && !r.Offline && !r.Pending {
			i.Current++
		}
	}
	return i
}

// ReadState asks the servers, with three requests at most. With an error, the state
// has what was answered before it.
func ReadState(ctx context.Context, js jetstream.JetStream, c Config) (s State, err error) {
	events, err := js.Stream(ctx, c.Name)
	if err != nil {
		return s, err
	}
	i := info(events.CachedInfo())
	s.Stream = &i
	consumer, err := events.Consumer(ctx, Durable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		s.Backlog = &Backlog{Messages: int64(i.Messages), Oldest: i.Oldest} // the first sink gets all of it
		return s, nil
	}
	if err != nil {
		return s, err
	}
	ci := consumer.CachedInfo()
	s.Sink = &Lag{Pending: ci.NumPending, AckPending: ci.NumAckPending, Redelivered: ci.NumRedelivered}
	s.Backlog = &Backlog{Messages: int64(ci.NumPending) + int64(ci.NumAckPending)}
	if s.Backlog.Messages == 0 {
		return s, nil
	}
	// Everything up to the acknowledgement floor is done, so the message after it
	// is the oldest that isn't.
	msg, err := events.GetMsg(ctx, ci.AckFloor.Stream+1, jetstream.WithGetMsgSubject(subjects))
	if err != nil {
		return s, nil // acknowledged or aged out in between: the count stands
	}
	s.Backlog.Oldest = msg.Time
	return s, nil
}

// Measure is how many bytes an event takes on disk, of one copy, over the n newest
// messages. It is 0 without any. It costs n requests at most.
func Measure(ctx context.Context, js jetstream.JetStream, i Info, n int) (float64, error) {
	s, err := js.Stream(ctx, i.Name)
	if err != nil {
		return 0, err
	}
	bytes, events := 0, 0
	for seq := i.Last; n > 0 && seq >= max(1, i.First); n, seq = n-1, seq-1 {
		msg, err := s.GetMsg(ctx, seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue // aged out in between
		}
		if err != nil {
			return 0, err
		}
		bytes += msgOverhead + len(msg.Subject) + len(msg.Data)
		for name, values := range msg.Header {
			for _, v := range values {
				bytes += len(name) + len(v) + len(": \r\n")
			}
		}
		events += max(1, ReadEnvelope(msg.Header).Events)
	}
	if events == 0 {
		return 0, nil
	}
	return float64(bytes) / float64(events), nil
}

// msgOverhead is what a file of nats-server 2.15 has for a message beside what is in
// it: lengths, sequence, time and checksum, and the first line of its headers.
const msgOverhead = 22 + 4 + 8 + 12

// ReadNewestDead is when the newest dead letter that is still there was stored. It is
// zero without one.
func ReadNewestDead(ctx context.Context, js jetstream.JetStream, c Config) (time.Time, error) {
	s, err := js.Stream(ctx, c.DeadName())
	if err != nil {
		return time.Time{}, err
	}
	// Asked for ">", nats-server 2.15.2 finds nothing once the last message is gone.
	msg, err := s.GetLastMsgForSubject(ctx, c.DeadSubject(">"))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	return msg.Time, nil
}

// ReadAccountLimit is how many bytes a stream with this many copies may have on
// disk by the limits of the account, and 0 where there is none. It says nothing of
// the servers' disks.
func ReadAccountLimit(ctx context.Context, js jetstream.JetStream, replicas int) (int64, error) {
	account, err := js.AccountInfo(ctx)
	if err != nil {
		return 0, err
	}
	if tier, ok := account.Tiers[fmt.Sprintf("R%d", replicas)]; ok {
		return max(0, tier.Limits.MaxStore), nil // each copy has room of its own
	}
	return max(0, account.Limits.MaxStore) / int64(max(1, replicas)), nil
}
