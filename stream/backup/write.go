package backup

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/stream"
)

// Write copies what the streams hold at its beginning into dir, which it makes,
// or which is empty. Publishers and sinks may go on; what they store meanwhile is
// not in the backup. A message that the server drops for its age meanwhile may be
// missing.
func Write(ctx context.Context, js jetstream.JetStream, c stream.Config, dir string, progress Progress) (Manifest, error) {
	return write(ctx, js, c, dir, progress, maxSegment)
}

func write(ctx context.Context, js jetstream.JetStream, c stream.Config, dir string, progress Progress, segment int64) (Manifest, error) {
	found, err := find(ctx, js, c)
	if err != nil {
		return Manifest{}, err
	}
	if err := makeEmpty(dir); err != nil {
		return Manifest{}, err
	}
	m, err := found.copy(ctx, js, writer{dir: dir, max: segment}, progress)
	if err != nil {
		return m, err
	}
	return m, m.store(dir)
}

// moment is what the servers say of the streams at the beginning.
type moment struct {
	at       time.Time
	parts    []part // in the manifest's order
	messages uint64
	metered  uint64
}

// part is a stream that is to be copied.
type part struct {
	copied
	info *jetstream.StreamInfo
}

// find looks at all before the first is copied, so that the copy is of one moment,
// or nearly.
func find(ctx context.Context, js jetstream.JetStream, c stream.Config) (moment, error) {
	found := moment{at: now()}
	// Asked first: what was finished by then is in the copy of the streams, a dead
	// letter included.
	sink, err := js.Consumer(ctx, c.Name, stream.Durable)
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound), errors.Is(err, jetstream.ErrStreamNotFound): // there was no sink yet
	case err != nil:
		return found, fmt.Errorf("consumer %s: %w", stream.Durable, err)
	default:
		found.metered = sink.CachedInfo().AckFloor.Stream
	}
	for _, k := range all(c) {
		s, err := js.Stream(ctx, k.name)
		if errors.Is(err, jetstream.ErrStreamNotFound) && k.kind != "" {
			continue // nobody has needed it yet
		}
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return found, kgents.Errorf(kgents.CodeMisconfig, "the server has no stream %s: look at NATS_STREAM_NAME, or start kgents once", k.name)
		}
		if err != nil {
			return found, fmt.Errorf("stream %s: %w", k.name, err)
		}
		found.parts = append(found.parts, part{k, s.CachedInfo()})
		found.messages += s.CachedInfo().State.Msgs
	}
	return found, nil
}

// copy writes the segments of all streams, each by a writer like to.
func (found moment) copy(ctx context.Context, js jetstream.JetStream, to writer, progress Progress) (Manifest, error) {
	m := Manifest{Format: format, Began: found.at, Recipients: to.seal.names, Streams: make([]Stream, len(found.parts))}
	kept := len(found.parts) > 2
	switch {
	case kept && !to.seal.None():
		m.Format = formatKeptSealed
	case kept:
		m.Format = formatKept
	case !to.seal.None():
		m.Format = formatSealed
	}
	var done uint64
	step := func() { done++; progress.tell(min(done, found.messages), found.messages) }
	for _, first := range []bool{true, false} {
		for i, p := range found.parts {
			if p.first != first {
				continue
			}
			w := to
			w.kind, w.stream = p.file, &m.Streams[i]
			if err := p.copy(ctx, js, &w, step); err != nil {
				_ = w.close()
				return m, fmt.Errorf("backup of stream %s: %w", p.name, err)
			}
			if p.file == fileEvents {
				m.Streams[i].Metered = found.metered
			}
		}
	}
	m.Ended = now()
	return m, nil
}

func (p part) copy(ctx context.Context, js jetstream.JetStream, w *writer, step func()) error {
	out := w.stream
	*out = Stream{Name: p.name, Kind: p.kind, Segments: []Segment{}}
	s, err := js.Stream(ctx, p.name)
	if err != nil {
		return err
	}
	if out.Config, err = plain(p.info.Config); err != nil {
		return err
	}
	state := p.info.State
	if p.kind == Bucket {
		// What is written meanwhile takes the place of what was there, which is gone then:
		// it is copied, too, until nothing is left.
		state.LastSeq = math.MaxUint64
	}
	copied := map[string]struct{}{} // subjects, of a bucket
	add := func(msg message) error {
		step()
		if p.kind == Bucket {
			copied[msg.subject] = struct{}{}
		}
		return w.add(msg)
	}
	if err := read(ctx, s, state, add); err != nil {
		return err
	}
	if p.kind == Bucket {
		if err := missed(ctx, s, copied, out.Last, add); err != nil {
			return err
		}
	}
	if err := w.finish(); err != nil {
		return err
	}
	last := p.info.State.LastSeq
	if p.kind == Bucket {
		last = max(last, out.Last)
	}
	return complete(ctx, s, last, out.Messages)
}

// makeEmpty makes dir and refuses one with anything in it.
func makeEmpty(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("can't make the backup's directory: %w", err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if len(files) > 0 {
		return kgents.Errorf(kgents.CodeConflict, "%s is not empty: name a new directory for each backup", dir)
	}
	return syncDir(filepath.Dir(filepath.Clean(dir)))
}

// plain is v as JSON, as a person would write it.
func plain(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSpace(b.Bytes()), err
}

// store writes the manifest, which makes the backup one.
func (m *Manifest) store(dir string) error {
	b, err := m.encode()
	if err != nil {
		return err
	}
	if err := syncDir(dir); err != nil {
		return err
	}
	path := filepath.Join(dir, manifestName)
	f, err := os.OpenFile(path+".part", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".part", path); err != nil {
		return err
	}
	if err := syncDir(dir); err != nil {
		return err
	}
	*m, err = ReadManifest(dir) // with its checksum
	return err
}

// missed adds the keys that were there and that the reading did not come to: one that is
// written all the while has its new value behind the last that was read, and the server's
// word that there is no more may fall between the two. After is the last sequence that
// was read.
func missed(ctx context.Context, s jetstream.Stream, copied map[string]struct{}, after uint64, add func(message) error) error {
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(">"))
	if err != nil {
		return err
	}
	var found []message
	for subject := range info.State.Subjects {
		if _, ok := copied[subject]; ok {
			continue
		}
		msg, err := s.GetLastMsgForSubject(ctx, subject)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue // gone for its age since
		}
		if err != nil {
			return err
		}
		if msg.Sequence > after {
			found = append(found, message{sequence: msg.Sequence, at: msg.Time.UTC(), subject: msg.Subject, header: msg.Header, data: msg.Data})
		}
	}
	slices.SortFunc(found, func(a, b message) int { return cmp.Compare(a.sequence, b.sequence) })
	for _, msg := range found {
		if err := add(msg); err != nil {
			return err
		}
	}
	return nil
}

const (
	idle   = 2 * time.Second // after which read asks whether anything is left
	resets = 5               // times the client makes its consumer again, in about half a minute
)

// read calls f with each message of a state, in order. F may keep nothing. A state without
// an end, with the last sequence of all, is read until the server has nothing more.
func read(ctx context.Context, s jetstream.Stream, state jetstream.StreamState, f func(message) error) error {
	if state.Msgs == 0 {
		return nil
	}
	consumer, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: state.FirstSeq, MaxResetAttempts: resets,
	})
	if err != nil {
		return err
	}
	it, err := consumer.Messages(jetstream.PullMaxMessages(64))
	if err != nil {
		return err
	}
	defer it.Stop()
	for last := state.FirstSeq - 1; last < state.LastSeq; {
		if err := ctx.Err(); err != nil {
			return err
		}
		msg, err := it.Next(jetstream.NextMaxWait(idle))
		if errors.Is(err, nats.ErrTimeout) {
			if left, err := more(ctx, s, last, state.LastSeq); err != nil || !left {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		meta, err := msg.Metadata()
		if err != nil {
			return err
		}
		at := meta.Sequence.Stream
		if at <= last {
			return fmt.Errorf("the server delivered message %d after %d", at, last)
		}
		if at > state.LastSeq {
			return nil
		}
		last = at
		if err := f(message{sequence: at, at: meta.Timestamp.UTC(), subject: msg.Subject(), header: msg.Headers(), data: msg.Data()}); err != nil {
			return err
		}
		if state.LastSeq == math.MaxUint64 && meta.NumPending == 0 {
			return nil
		}
	}
	return nil
}

// more tells whether the stream has a message after one and up to another: those
// that were there may have been dropped for their age.
func more(ctx context.Context, s jetstream.Stream, after, upTo uint64) (bool, error) {
	msg, err := s.GetMsg(ctx, after+1, jetstream.WithGetMsgSubject(">"))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return msg.Sequence <= upTo, nil
}

// complete fails when the server still has more messages up to last than were
// read. Each of those after last has a sequence of its own, so there are at most
// as many as sequences.
func complete(ctx context.Context, s jetstream.Stream, last, read uint64) error {
	info, err := s.Info(ctx)
	if err != nil {
		return err
	}
	if has, later := info.State.Msgs, info.State.LastSeq-last; has > later && has-later > read {
		return fmt.Errorf("the server has %d messages and delivered %d: try again", has-later, read)
	}
	return nil
}
