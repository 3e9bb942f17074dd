package backup

import (
	"bufio"
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

	"github.com/kgents/kgents/stream"
)

// writer writes one stream's segments.
type writer struct {
	dir, kind string
	max       int64 // of a segment
	stream    *Stream

	file *os.File
	buf  *bufio.Writer
	sum  hash.Hash
	seg  Segment
	rec  []byte
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
		w.seg = Segment{File: fmt.Sprintf("%s-%05d.seg", w.kind, len(w.stream.Segments)+1), First: m.sequence}
		if w.file, err = os.OpenFile(filepath.Join(w.dir, w.seg.File), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
			return err
		}
		w.sum = sha256.New()
		w.buf = bufio.NewWriterSize(io.MultiWriter(w.file, w.sum), 64<<10)
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

// count adds a message to the sums.
func (s *Stream) count(m message) {
	if s.Messages == 0 {
		s.First, s.Oldest = m.sequence, m.at
	}
	s.Messages++
	s.Events += uint64(stream.ReadEnvelope(m.header).Events)
	s.Last, s.Newest = m.sequence, m.at
}

// finish makes the segment durable.
func (w *writer) finish() error {
	if w.file == nil {
		return nil
	}
	if err := errors.Join(w.buf.Flush(), w.file.Sync(), w.close()); err != nil {
		return err
	}
	w.seg.SHA256 = hex.EncodeToString(w.sum.Sum(nil))
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

// read calls f with each message of a segment, whose data f must not keep, and
// returns an error when the file is not what was written. The checksum is known
// at the end only: f has then had what a changed file says.
func (seg Segment) read(ctx context.Context, dir string, f func(message) error) error {
	file, err := os.Open(filepath.Join(dir, seg.File))
	if errors.Is(err, os.ErrNotExist) {
		return errors.New("the file is missing")
	}
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if info.Size() != seg.Bytes {
		return fmt.Errorf("the file has %d bytes and should have %d", info.Size(), seg.Bytes)
	}
	sum := sha256.New()
	r := bufio.NewReaderSize(io.TeeReader(file, sum), 64<<10)
	var (
		got    Segment
		buf    []byte
		length [lengthSize]byte
	)
	for left := seg.Bytes; left > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := io.ReadFull(r, length[:]); err != nil {
			return changed(err)
		}
		n := int64(binary.LittleEndian.Uint32(length[:]))
		if left -= lengthSize + n; left < 0 {
			return changed(errRecord)
		}
		if int64(cap(buf)) < n {
			buf = make([]byte, n)
		}
		buf = buf[:n]
		if _, err := io.ReadFull(r, buf); err != nil {
			return changed(err)
		}
		m, err := decodeRecord(buf)
		if err != nil {
			return changed(err)
		}
		if got.Messages == 0 {
			got.First = m.sequence
		} else if m.sequence <= got.Last {
			return changed(errRecord)
		}
		got.Messages++
		got.Last = m.sequence
		if err := f(m); err != nil {
			return err
		}
	}
	if hex.EncodeToString(sum.Sum(nil)) != seg.SHA256 {
		return errors.New("the file was changed after it was written: its SHA-256 is another")
	}
	if got.Messages != seg.Messages || got.First != seg.First || got.Last != seg.Last {
		return fmt.Errorf("the file has %d messages from %d to %d and should have %d from %d to %d", got.Messages, got.First, got.Last, seg.Messages, seg.First, seg.Last)
	}
	return nil
}

func changed(err error) error {
	return fmt.Errorf("the file was changed after it was written: %w", err)
}
