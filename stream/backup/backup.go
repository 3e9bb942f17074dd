// Package backup copies the streams of a live server to files, and back: events and dead
// letters, and what belongs to them and is there: the buckets of customers and their
// keys, of what was reported of usage, and of towns, and the towns' history. The files
// are in a directory of their own (Write), or in a folder of a Store (Save), which is
// a directory of backups or a bucket, sealed to a public key if there is one.
//
// It promises that a backup with a manifest is whole: the manifest is written
// last, by rename, after every other file is synced, and every byte that was
// written is under a SHA-256. Subjects, headers and bodies are kept byte for byte,
// with the sequence and the time that the server gave them. Verify finds any
// change without a server. Restore refuses what Verify doubts, and a target that
// holds anything, and reads back what it has written.
//
// A restored message is a new one to its stream: it has a new sequence, a new time
// of storing, and no sink has acknowledged it. So everything in the stream is
// delivered to the meter again after a restore, and counts once, because the meter
// knows each event by its identity (source and id). A remote OpenMeter must then
// deduplicate as far back as the backup goes. One that remembers for a day, as is its
// default, would count the rest twice: How.Metered is for it.
//
// Of a bucket, a backup has the last value of every key, as it is when the bucket is
// copied. Towns are copied before the stream of events and the rest after it: so what a
// town was to send is in one of the two, and what a customer is may be newer than the
// events. Those are applied again after a restore, which changes nothing that they have
// changed already.
//
// When NATS goes away, Write and Restore fail after about half a minute. What a
// failed Write leaves has no manifest, and Verify says so. What a failed Restore
// leaves must be deleted before the next. When the store goes away, so do Save, Prune
// and whatever reads it, within a bound that its implementation says; a Save that
// failed leaves files without a manifest, which Prune deletes a day later.
//
// It is bounded: a segment has at most 64 MiB, at most one window of 256 messages
// or 8 MiB is under way in a restore, and 64 messages in a backup. Save keeps one
// segment at a time in its scratch directory; a restore keeps none on disk.
package backup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"time"

	"github.com/kgents/kgents"
)

const (
	format       = "kgents-stream-backup/1"
	formatSealed = "kgents-stream-backup/2" // segments are sealed

	// With more than events and dead letters: a program that doesn't know of it must not
	// restore a part.
	formatKept       = "kgents-stream-backup/3"
	formatKeptSealed = "kgents-stream-backup/4"

	manifestName = "manifest.json"

	// maxSegment bounds a file, so that one can be copied again alone.
	maxSegment = 64 << 20
)

// Manifest says what a backup holds.
type Manifest struct {
	Format  string    `json:"format"`
	Began   time.Time `json:"began"`
	Ended   time.Time `json:"ended"`
	Streams []Stream  `json:"streams"` // dead letters, events, then what is kept beside them: the order of a restore

	// Recipients are the public keys that the segments are sealed to, if they are.
	Recipients []string `json:"recipients,omitempty"`

	// SHA256 is of the manifest as it is with this empty.
	SHA256 string `json:"sha256"`
}

// Stream is what a backup holds of one stream.
type Stream struct {
	Name     string `json:"name"`
	Kind     Kind   `json:"kind,omitempty"`
	Messages uint64 `json:"messages"`
	Events   uint64 `json:"events"` // in the messages, as their headers say
	Bytes    int64  `json:"bytes"`  // of the segments

	// First and Last are sequences of the stream that was copied, 0 without
	// messages; Oldest and Newest are when those two were stored.
	First  uint64    `json:"first_sequence"`
	Last   uint64    `json:"last_sequence"`
	Oldest time.Time `json:"oldest,omitzero"`
	Newest time.Time `json:"newest,omitzero"`

	// Metered is the sequence up to which the sinks had finished everything when the
	// backup began: each event was in the meter, or a dead letter. 0 without a sink.
	Metered uint64 `json:"metered_sequence,omitempty"`

	// Config is the stream's, as the server had it. It is for people: a restore
	// makes its streams with stream.Ensure.
	Config json.RawMessage `json:"config"`

	Segments []Segment `json:"segments"`
}

// Segment is one file.
type Segment struct {
	File     string `json:"file"`
	Bytes    int64  `json:"bytes"`
	Messages uint64 `json:"messages"`
	First    uint64 `json:"first_sequence"`
	Last     uint64 `json:"last_sequence"`
	SHA256   string `json:"sha256"`

	// Sealed is the file as it is stored, where that is not what Bytes and SHA256
	// describe.
	Sealed *Sealed `json:"sealed,omitempty"`
}

// Sealed is what anybody can verify of a sealed file.
type Sealed struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// stored is the size of the file.
func (seg Segment) stored() int64 {
	if seg.Sealed != nil {
		return seg.Sealed.Bytes
	}
	return seg.Bytes
}

var formats = []string{format, formatSealed, formatKept, formatKeptSealed}

func (m Manifest) sealed() bool { return m.Format == formatSealed || m.Format == formatKeptSealed }

// events is the stream of events. Ok is false of what is no backup of one and of its
// dead letters.
func (m Manifest) events() (s Stream, ok bool) {
	if len(m.Streams) < 2 || m.Streams[0].Kind != "" || m.Streams[1].Kind != "" {
		return s, false
	}
	return m.Streams[1], true
}

// Messages is how many there are in all streams.
func (m Manifest) Messages() (n uint64) {
	for _, s := range m.Streams {
		n += s.Messages
	}
	return n
}

// Progress is told how far the work is, in messages, from one goroutine. It may
// be nil.
type Progress func(done, total uint64)

func (p Progress) tell(done, total uint64) {
	if p != nil {
		p(done, total)
	}
}

// encode writes m as its file has it, its own checksum included.
func (m Manifest) encode() ([]byte, error) {
	m.SHA256 = ""
	plain, err := m.text()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(plain)
	m.SHA256 = hex.EncodeToString(sum[:])
	return m.text()
}

func (m Manifest) text() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(m)
	return b.Bytes(), err
}

// ReadManifest is the manifest of the backup in a directory.
func ReadManifest(dir string) (Manifest, error) { return Dir(dir).Manifest(context.Background()) }

// Manifest reads the manifest, and refuses one that is not as it was written: it is
// written again and must come out the same. It looks at no other file.
func (s Source) Manifest(ctx context.Context) (Manifest, error) {
	var m Manifest
	b, err := s.manifest(ctx)
	if gone(err) {
		return m, kgents.Errorf(kgents.CodeInvalid, "%s has no %s: it is no backup, or one that was interrupted; make another", s, manifestName)
	}
	if err != nil {
		return m, err
	}
	where := s.String() + "/" + manifestName
	changed := kgents.Errorf(kgents.CodeInvalid, "%s was changed after it was written", where)
	if err := json.Unmarshal(b, &m); err != nil {
		return m, changed
	}
	known := slices.Contains(formats, m.Format)
	if again, err := m.encode(); err != nil || !bytes.Equal(again, b) {
		if known || m.Format == "" {
			return m, changed
		}
	}
	if !known {
		return m, kgents.Errorf(kgents.CodeInvalid, "%s has the format %q; this program reads %q", where, m.Format, formats)
	}
	for _, st := range m.Streams {
		for _, seg := range st.Segments {
			if !ourFile.MatchString(seg.File) {
				return m, kgents.Errorf(kgents.CodeInvalid, "%s names the file %q, which is none of a backup's", where, seg.File)
			}
			if (seg.Sealed != nil) != m.sealed() {
				return m, changed
			}
		}
	}
	return m, nil
}

// syncDir makes names in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// now has whole seconds: nobody needs more of when a backup was made.
func now() time.Time { return time.Now().UTC().Truncate(time.Second) }
