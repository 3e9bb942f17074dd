package backup

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strings"
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

// RestoredStream is one stream's part. In the backup there are Stored + Repeated +
// Superseded + There.
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

	// Superseded are values of a key that the backup has a later one of, which was written
	// while it was made. There are values and histories that the target had already and
	// which were left as they are: How.Behind.
	Superseded uint64 `json:"superseded,omitempty"`
	There      uint64 `json:"there,omitempty"`

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
	//
	// Of keys that are in both, the target's value stays, as do a deletion and a town's
	// history: they are newer. But a customer, and whose Stripe customer is whose, are
	// those of the backup: without them, what came in after the loss has made customers
	// anew, who have nothing. What Stripe has said since is applied to them again from
	// the stream. Once a backup was restored, its second Restore leaves customers as they
	// are, too.
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
	if s, ok := m.events(); !ok || m.Streams[0].Name != c.DeadName() || s.Name != c.Name {
		if n := len(m.Streams); !ok && n > 0 {
			s = m.Streams[n-1]
		}
		return r, kgents.Errorf(kgents.CodeConflict, "the backup is of the stream %s, not of %s: set NATS_STREAM_NAME to %[1]s", s.Name, c.Name)
	}
	for _, s := range m.Streams[2:] {
		if _, ok := known(c, s); !ok {
			return r, kgents.Errorf(kgents.CodeInvalid, "the backup %s has a stream %s, which is none of %s's: nothing was restored", from, s.Name, c.Name)
		}
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
	total, done := 3*m.Messages(), m.Messages()
	step := func() { done++; progress.tell(min(done, total), total) }
	again, err := restoredBefore(ctx, js, c, m)
	if err != nil {
		return r, err
	}
	for i, s := range m.Streams {
		var p *publisher
		switch i {
		case 0:
			p, err = restoreStream(ctx, js, streams.Dead, from, s, step)
		case 1:
			p, err = restoreStream(ctx, js, streams.Events, from, s, step)
			if err == nil && how.Metered {
				old := time.Since(m.Began) > MeterRemembers
				err = p.position(ctx, streams, old)
			}
		default:
			k, _ := known(c, s)
			p, err = k.restore(ctx, js, c, from, s, again, step)
		}
		if err != nil && how.Behind {
			return r, fmt.Errorf("restore of stream %s: %w; a part of it is there: try again", s.Name, err)
		}
		if err != nil {
			return r, fmt.Errorf("restore of stream %s: %w; a part of it is there: before you try again, delete %s, or the embedded server's directory", s.Name, err, m.streamNames())
		}
		r.Streams = append(r.Streams, p.out)
		r.Same = r.Same && p.out.Difference == ""
	}
	if len(m.Streams) > 2 && r.Same {
		err = errors.Join(applyAgain(ctx, js, c), noteRestored(ctx, js, c, m))
	}
	return r, err
}

// streamNames lists the streams for people.
func (m Manifest) streamNames() string {
	var names []string
	for _, s := range m.Streams {
		names = append(names, s.Name)
	}
	slices.Sort(names)
	n := len(names) - 1
	return "the streams " + strings.Join(names[:n], ", ") + " and " + names[n]
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
	return p, p.run(ctx, from, s, func(m message) error { return p.add(ctx, m) })
}

// run gives each of a backup's messages to f, which adds those that are to be stored.
func (p *publisher) run(ctx context.Context, from Source, s Stream, f func(message) error) error {
	if err := s.read(ctx, from, f); err != nil {
		return err
	}
	if err := p.flush(ctx); err != nil {
		return err
	}
	return p.compare(ctx, p.first)
}

// read calls f with each message of a backup's stream.
func (s Stream) read(ctx context.Context, from Source, f func(message) error) error {
	for _, seg := range s.Segments {
		if err := seg.read(ctx, from, f); err != nil {
			return fmt.Errorf("%s: %w", seg.File, err)
		}
	}
	return nil
}

// compare reads back what is in the target.
func (p *publisher) compare(ctx context.Context, first uint64) error {
	if in := p.out.Stored + p.out.Repeated + p.out.Superseded + p.out.There; in != p.out.Messages {
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
