package backup

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/stream"
)

// Restored says what became of a backup's messages.
type Restored struct {
	Dir     string           `json:"dir"`  // where the backup is
	Same    bool             `json:"same"` // the target was read back, and has what it should
	Streams []RestoredStream `json:"streams"`
}

// RestoredStream is one stream's part. In the backup there are Stored + Repeated.
type RestoredStream struct {
	Name     string `json:"name"`
	Messages uint64 `json:"messages"` // in the backup
	Stored   uint64 `json:"stored"`   // in the target, as the server acknowledged

	// Repeated have the Nats-Msg-Id, the subject and the body of a message before
	// them. A server keeps two of them when the second came after its duplicate
	// window (2 minutes); a restore is quicker, so it keeps one. Nothing is lost:
	// the events in both are the same.
	Repeated uint64 `json:"repeated"`

	// RepeatedEvents are those in them, as their headers say.
	RepeatedEvents uint64 `json:"repeated_events,omitempty"`

	// Renamed have the Nats-Msg-Id of a message before them but another subject or
	// body, which no program of ours writes. They are stored without the id.
	Renamed uint64 `json:"renamed,omitempty"`

	// Unconditional carried a header that makes storing depend on a sequence of the
	// old stream. They are stored without it.
	Unconditional uint64 `json:"unconditional,omitempty"`

	// Metered are not delivered to the sink, which How asked for. Moved were there
	// before and not finished: they are now behind what was restored, too.
	Metered uint64 `json:"metered,omitempty"`
	Moved   uint64 `json:"moved,omitempty"`

	Difference string `json:"difference,omitempty"` // what reading back found
}

// How says what a Restore may assume of its target and of the meter.
type How struct {
	// Behind lets the streams hold messages, as those that came after a loss: the
	// backup's come behind them. What is in both is there twice, and counts once. So
	// such a Restore may be repeated after an error.
	Behind bool

	// Metered keeps from the sink what the meter has already: of a backup that is
	// younger than MeterRemembers, what the sinks had finished when it began; of an
	// older one all, since what was metered after it began may be forgotten, too.
	// Reconciliation finds what the meter lacks all the same, and sends only that.
	Metered bool
}

// MeterRemembers is how far back a meter is trusted to know an event again:
// OpenMeter's default is 24 hours, less what a restore and the sink may take.
const MeterRemembers = 20 * time.Hour

// Restore publishes a backup into the streams of c, which must be empty or not
// there unless How says else; it makes them with stream.Ensure. No api and no sink may
// run on them until it has returned: what they store would stand between, and Restore
// fails when it meets that. Unless How says else, every message is then delivered to
// the meter again, and counts once by its identity. The age of a message, after which
// its stream drops it, begins anew.
//
// After an error the target holds a part of the backup. A difference that reading
// back finds is no error: it is in the answer.
func Restore(ctx context.Context, js jetstream.JetStream, c stream.Config, from Source, how How, progress Progress) (Restored, error) {
	r := Restored{Dir: from.String(), Same: true}
	// Each message is verified, published and read back.
	found, err := Verify(ctx, from, func(done, total uint64) { progress.tell(done, 3*total) })
	if err != nil {
		return r, err
	}
	if err := found.err(); err != nil {
		return r, err
	}
	if !found.Opened {
		return r, found.Manifest.keyError(from)
	}
	// The stream's name is in subjects and headers, so it can't be another.
	m := found.Manifest
	if len(m.Streams) != 2 || m.Streams[0].Name != c.DeadName() || m.Streams[1].Name != c.Name {
		name := ""
		if n := len(m.Streams); n > 0 {
			name = m.Streams[n-1].Name
		}
		return r, kgents.Errorf(kgents.CodeConflict, "the backup is of the stream %s, not of %s: set NATS_STREAM_NAME to %[1]s", name, c.Name)
	}
	for _, s := range m.Streams {
		if how.Behind {
			break
		}
		if err := empty(ctx, js, s.Name); err != nil {
			return r, err
		}
	}
	streams, err := stream.Ensure(ctx, js, c)
	if err != nil {
		return r, err
	}
	targets := []jetstream.Stream{streams.Dead, streams.Events}
	total, done := 3*m.Messages(), m.Messages()
	step := func() { done++; progress.tell(min(done, total), total) }
	for i, s := range m.Streams {
		p, err := restoreStream(ctx, js, targets[i], from, s, step)
		if err == nil && how.Metered && targets[i] == streams.Events {
			old := time.Since(m.Began) > MeterRemembers
			err = p.position(ctx, streams, old)
		}
		if err != nil && how.Behind {
			return r, fmt.Errorf("restore of stream %s: %w; a part of it is there: try again", s.Name, err)
		}
		if err != nil {
			return r, fmt.Errorf("restore of stream %s: %w; a part of it is there: before you try again, delete the streams %s and %s, or the embedded server's directory", s.Name, err, c.Name, c.DeadName())
		}
		r.Streams = append(r.Streams, p.out)
		r.Same = r.Same && p.out.Difference == ""
	}
	return r, nil
}

// empty refuses a stream that holds anything.
func empty(ctx context.Context, js jetstream.JetStream, name string) error {
	s, err := js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("stream %s: %w", name, err)
	}
	if n := s.CachedInfo().State.Msgs; n > 0 {
		return kgents.Errorf(kgents.CodeConflict, "stream %s is not empty: it holds %d messages, and a restore would mix with them; name another server or data directory, or have it put behind them with --append", name, n)
	}
	return nil
}

func restoreStream(ctx context.Context, js jetstream.JetStream, target jetstream.Stream, from Source, s Stream, step func()) (*publisher, error) {
	info, err := target.Info(ctx)
	if err != nil {
		return nil, err
	}
	p := &publisher{
		js: js, target: target, first: info.State.LastSeq + 1, next: info.State.LastSeq + 1, sum: sha256.New(), step: step,
		out: RestoredStream{Name: s.Name, Messages: s.Messages}, metered: s.Metered,
	}
	for _, seg := range s.Segments {
		if err := seg.read(ctx, from, func(m message) error { return p.add(ctx, m) }); err != nil {
			return p, fmt.Errorf("%s: %w", seg.File, err)
		}
	}
	if err := p.flush(ctx); err != nil {
		return p, err
	}
	return p, p.compare(ctx, p.first)
}

// compare reads back what is in the target.
func (p *publisher) compare(ctx context.Context, first uint64) error {
	if in := p.out.Stored + p.out.Repeated; in != p.out.Messages {
		p.out.Difference = fmt.Sprintf("%d of %d messages are accounted for", in, p.out.Messages)
		return nil
	}
	info, err := p.target.Info(ctx)
	if err != nil {
		return err
	}
	if n := info.State.LastSeq + 1 - first; n != p.out.Stored {
		p.out.Difference = fmt.Sprintf("the server counts %d messages, %d were stored", n, p.out.Stored)
		return nil
	}
	sum, n := sha256.New(), uint64(0)
	info.State.FirstSeq, info.State.Msgs = first, p.out.Stored // those before it are none of ours
	err = read(ctx, p.target, info.State, func(m message) error {
		n++
		p.step()
		hashContent(sum, m)
		return nil
	})
	if err != nil {
		return err
	}
	want, got := hex.EncodeToString(p.sum.Sum(nil)), hex.EncodeToString(sum.Sum(nil))
	if n != p.out.Stored || want != got {
		p.out.Difference = "the messages that were read back are not those that were stored"
	}
	return nil
}

// hashContent adds a message to the sum over a stream.
func hashContent(h hash.Hash, m message) {
	b := appendContent(nil, m)
	h.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(b)))) // tells where one ends
	h.Write(b)
}
