package spool

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	suffix  = ".seg"
	damaged = ".damaged" // behind the name of a segment that is kept for a person to look at
)

// Damage is a place in a segment where bytes are not what was written.
type Damage struct {
	Offset int64 `json:"offset"`
	Bytes  int64 `json:"bytes"` // up to the next sound record, or the end
}

// Segment is what reading one file of the spool found.
type Segment struct {
	Path    string    `json:"path"`
	Bytes   int64     `json:"bytes"`
	Records int       `json:"records"` // messages
	Events  int       `json:"events"`
	Oldest  time.Time `json:"oldest,omitzero"`
	Torn    int64     `json:"torn_bytes,omitempty"` // at the end, of a write that a crash cut off
	Damage  []Damage  `json:"damage,omitempty"`
	Kept    bool      `json:"kept,omitempty"` // damaged, drained as far as it goes, and kept

	number  uint64
	entries []place
}

// place is a sound record's.
type place struct {
	offset, size int64
	events       int
	at           time.Time
}

// Inspect reads all segments in dir without changing anything, also while a
// program uses them. A directory that isn't there has none.
func Inspect(dir string) ([]Segment, error) {
	files, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var segments []Segment
	for _, f := range files {
		name := strings.TrimSuffix(f.Name(), damaged)
		number, err := strconv.ParseUint(strings.TrimSuffix(name, suffix), 10, 64)
		if err != nil || !strings.HasSuffix(name, suffix) {
			continue
		}
		path := filepath.Join(dir, f.Name())
		s, err := scan(path)
		if errors.Is(err, os.ErrNotExist) { // a program that runs has emptied it
			path += damaged
			if s, err = scan(path); errors.Is(err, os.ErrNotExist) {
				continue
			}
		}
		if err != nil {
			return nil, err
		}
		s.number, s.Kept = number, strings.HasSuffix(path, damaged)
		segments = append(segments, s)
	}
	slices.SortFunc(segments, func(a, b Segment) int { return cmp.Compare(a.number, b.number) })
	return segments, nil
}

// scan reads one segment from end to end. Where bytes are not what was written
// it looks for the next sound record, so that one flipped bit costs one record
// and is never passed over in silence.
func scan(path string) (Segment, error) {
	b, err := os.ReadFile(path) // at most segmentBytes and a record
	if err != nil {
		return Segment{}, err
	}
	s := Segment{Path: path, Bytes: int64(len(b))}
	for at := int64(0); at < int64(len(b)); {
		e, err := decode(b[at:])
		switch {
		case err == nil:
			if s.Oldest.IsZero() {
				s.Oldest = e.at
			}
			s.entries = append(s.entries, place{at, e.size, e.events, e.at})
			s.Records++
			s.Events += e.events
			at += e.size
		case errors.Is(err, errTorn):
			s.Torn = int64(len(b)) - at
			at = int64(len(b))
		default:
			next := at + 1
			for next < int64(len(b)) {
				i := bytes.Index(b[next:], []byte(magic))
				if i < 0 {
					next = int64(len(b))
					break
				}
				next += int64(i)
				if _, err := decode(b[next:]); err == nil {
					break
				}
				next++
			}
			s.Damage = append(s.Damage, Damage{at, next - at})
			at = next
		}
	}
	return s, nil
}

// read returns the record at p.
func read(path string, p place) (entry, error) {
	f, err := os.Open(path)
	if err != nil {
		return entry{}, err
	}
	defer f.Close()
	b := make([]byte, p.size)
	if _, err := f.ReadAt(b, p.offset); err != nil {
		return entry{}, fmt.Errorf("%s at %d: %w", path, p.offset, err)
	}
	e, err := decode(b)
	if err != nil {
		return entry{}, fmt.Errorf("%s at %d: %w", path, p.offset, err)
	}
	return e, nil
}

// syncDir makes names in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
