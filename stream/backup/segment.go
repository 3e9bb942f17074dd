package backup

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"

	"filippo.io/age"

	"github.com/kgents/kgents/stream"
)

// writer writes one stream's segments.
type writer struct {
	dir, kind string
	max       int64 // of a segment
	stream    *Stream
	seal      Recipients

	// ship takes a finished file that is not to stay in dir. Without it files stay,
	// and are synced.
	ship func(path string, seg Segment) error

	file *os.File
	buf  *bufio.Writer
	sum  hash.Hash // of what the segment holds
	seg  Segment
	rec  []byte

	sealed    io.WriteCloser // nil of a segment that is stored as it is
	sealedSum hash.Hash
}

func (w *writer) add(m message) (err error) {
	if w.rec, err = appendRecord(w.rec[:0], m); err != nil {
		return err
	}
	if w.file != nil && w.seg.Bytes+int64(len(w.rec)) > w.max {
		if err := w.finish(); err != nil {
			return err
		}
	}
	if w.file == nil {
		if err := w.begin(m.sequence); err != nil {
			return err
		}
	}
	if _, err := w.buf.Write(w.rec); err != nil {
		return err
	}
	w.seg.Bytes += int64(len(w.rec))
	w.seg.Messages++
	w.seg.Last = m.sequence
	w.stream.count(m)
	return nil
}

// begin makes the next segment's file.
func (w *writer) begin(first uint64) (err error) {
	w.seg = Segment{File: fmt.Sprintf("%s-%05d.seg", w.kind, len(w.stream.Segments)+1), First: first}
	if !w.seal.None() {
		w.seg.File += sealedSuffix
	}
	if w.file, err = os.OpenFile(filepath.Join(w.dir, w.seg.File), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return err
	}
	w.sum, w.sealed = sha256.New(), nil
	var to io.Writer = w.file
	if !w.seal.None() {
		w.sealedSum = sha256.New()
		if w.sealed, err = age.Encrypt(io.MultiWriter(w.file, w.sealedSum), w.seal.keys...); err != nil {
			return err
		}
		to = w.sealed
	}
	w.buf = bufio.NewWriterSize(io.MultiWriter(to, w.sum), 64<<10)
	return nil
}

// count adds a message to the sums.
func (s *Stream) count(m message) {
	if s.Messages == 0 {
		s.First, s.Oldest = m.sequence, m.at
	}
	s.Messages++
	if s.Kind == "" {
		s.Events += uint64(stream.ReadEnvelope(m.header).Events)
	}
	s.Last, s.Newest = m.sequence, m.at
}

// finish makes the segment durable, here or where it is shipped to.
func (w *writer) finish() error {
	if w.file == nil {
		return nil
	}
	path := w.file.Name()
	err := w.buf.Flush()
	if w.sealed != nil {
		err = errors.Join(err, w.sealed.Close())
	}
	if w.ship == nil {
		err = errors.Join(err, w.file.Sync())
	}
	info, statErr := w.file.Stat()
	if err := errors.Join(err, statErr, w.close()); err != nil {
		return err
	}
	w.seg.SHA256 = hex.EncodeToString(w.sum.Sum(nil))
	if w.sealed != nil {
		w.seg.Sealed = &Sealed{Bytes: info.Size(), SHA256: hex.EncodeToString(w.sealedSum.Sum(nil))}
	}
	if w.ship != nil {
		if err := errors.Join(w.ship(path, w.seg), os.Remove(path)); err != nil {
			return fmt.Errorf("%s: %w", w.seg.File, err)
		}
	}
	w.stream.Segments = append(w.stream.Segments, w.seg)
	w.stream.Bytes += w.seg.Bytes
	return nil
}

// close gives the file back, finished or not.
func (w *writer) close() error {
	if w.file == nil {
		return nil
	}
	f := w.file
	w.file = nil
	return f.Close()
}

// errChanged tells that a file is not what was written.
var errChanged = errors.New("the file was changed after it was written: its SHA-256 is another")

func changed(err error) error {
	return fmt.Errorf("the file was changed after it was written: %w", err)
}

// storedFile is a file that is being read. It remembers why it can't be read on, which
// says nothing of what is in it.
type storedFile struct {
	ctx context.Context
	io.ReadCloser
	err error
}

func (f *storedFile) Read(p []byte) (n int, err error) {
	if err = f.ctx.Err(); err == nil {
		n, err = f.ReadCloser.Read(p)
	}
	if err != nil && err != io.EOF {
		f.err = fmt.Errorf("the file can't be read: %w", err)
	}
	return n, err
}

// open begins to read the file, whose size is right.
func (seg Segment) open(ctx context.Context, from Source) (*storedFile, error) {
	file, size, err := from.open(ctx, seg.File)
	if gone(err) {
		return nil, errors.New("the file is missing")
	}
	if err != nil {
		return nil, err
	}
	if size != seg.stored() {
		return nil, errors.Join(fmt.Errorf("the file has %d bytes and should have %d", size, seg.stored()), file.Close())
	}
	return &storedFile{ctx: ctx, ReadCloser: file}, nil
}

// check compares the file with its sum, without looking into it.
func (seg Segment) check(ctx context.Context, from Source) error {
	file, err := seg.open(ctx, from)
	if err != nil {
		return err
	}
	defer file.Close()
	sum, want := sha256.New(), seg.SHA256
	if seg.Sealed != nil {
		want = seg.Sealed.SHA256
	}
	if _, err := io.Copy(sum, file); err != nil {
		return cmp.Or(file.err, err)
	}
	if hex.EncodeToString(sum.Sum(nil)) != want {
		return errChanged
	}
	return nil
}

// read calls f with each message of a segment, whose data f must not keep, and
// returns an error when the file is not what was written. The checksum is known
// at the end only: f has then had what a changed file says. Of a sealed one f gets
// nothing that was changed.
func (seg Segment) read(ctx context.Context, from Source, f func(message) error) error {
	file, err := seg.open(ctx, from)
	if err != nil {
		return err
	}
	defer file.Close()
	err = seg.readFrom(ctx, file, from.Identities, f)
	return cmp.Or(file.err, err)
}

func (seg Segment) readFrom(ctx context.Context, file io.Reader, ids Identities, f func(message) error) error {
	sum, sealedSum := sha256.New(), sha256.New()
	var in io.Reader = file
	if seg.Sealed != nil {
		plain, err := ids.unseal(io.TeeReader(file, sealedSum))
		if errors.Is(err, errKey) {
			return err
		}
		if err != nil {
			return changed(err)
		}
		in = plain
	}
	r := bufio.NewReaderSize(io.TeeReader(in, sum), 64<<10)
	got, err := seg.records(ctx, r, f)
	if err != nil {
		return err
	}
	if _, err := r.ReadByte(); err != io.EOF {
		return changed(cmp.Or(err, errRecord))
	}
	if hex.EncodeToString(sum.Sum(nil)) != seg.SHA256 || seg.Sealed != nil && hex.EncodeToString(sealedSum.Sum(nil)) != seg.Sealed.SHA256 {
		return errChanged
	}
	if got.Messages != seg.Messages || got.First != seg.First || got.Last != seg.Last {
		return fmt.Errorf("the file has %d messages from %d to %d and should have %d from %d to %d", got.Messages, got.First, got.Last, seg.Messages, seg.First, seg.Last)
	}
	return nil
}

// records reads the bytes that a segment should have.
func (seg Segment) records(ctx context.Context, r io.Reader, f func(message) error) (got Segment, err error) {
	var (
		buf    []byte
		length [lengthSize]byte
	)
	for left := seg.Bytes; left > 0; {
		if err := ctx.Err(); err != nil {
			return got, err
		}
		if _, err := io.ReadFull(r, length[:]); err != nil {
			return got, changed(err)
		}
		n := int64(binary.LittleEndian.Uint32(length[:]))
		if left -= lengthSize + n; left < 0 {
			return got, changed(errRecord)
		}
		if int64(cap(buf)) < n {
			buf = make([]byte, n)
		}
		buf = buf[:n]
		if _, err := io.ReadFull(r, buf); err != nil {
			return got, changed(err)
		}
		m, err := decodeRecord(buf)
		if err != nil {
			return got, changed(err)
		}
		if got.Messages == 0 {
			got.First = m.sequence
		} else if m.sequence <= got.Last {
			return got, changed(errRecord)
		}
		got.Messages++
		got.Last = m.sequence
		if err := f(m); err != nil {
			return got, err
		}
	}
	return got, nil
}
