// Package spool keeps messages on local disk while NATS is away.
//
// It promises that Append returns nil only when the message is synced to disk,
// that a message is handed out, in the order of its append, until Done says that
// it has arrived, also across a crash, and that damage is found and told: a write
// that a crash cut off was never acknowledged and is cut; bytes that were changed
// afterwards are logged and counted, their neighbours are handed out, and the file
// is kept under another name for a person to look at.
//
// It is bounded: past MaxBytes Append returns ErrFull. It depends on its disk; an
// Append that fails has not been acknowledged to anybody.
package spool

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents/failpoint"
)

// segmentBytes is where a segment is closed and the next begun. A segment goes
// when all of it has arrived.
const segmentBytes = 16 << 20

// ErrFull is the error of an Append that the bound forbids.
var ErrFull = errors.New("the spool is full")

// Config is what a Spool needs.
type Config struct {
	Dir        string // made if it isn't there
	MaxBytes   int64  // bound of all segments together
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Spool is safe for concurrent use by one process. The caller holds a lock on
// its directory.
type Spool struct {
	Config
	damage prometheus.Counter

	mu       sync.Mutex
	segments []Segment // with records that haven't arrived, oldest first
	file     *os.File  // of the last segment, while it is written to
	next     uint64    // number of the next segment
	bytes    int64     // of all segments
	events   int
	closed   bool
}

// Open reads what a spool in dir holds.
func Open(c Config) (*Spool, error) {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	s := &Spool{Config: c, next: 1, damage: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "kgents_spool_damaged_total",
		Help: "Places in the spool where bytes were not what was written: look at 'kgents spool verify'.",
	})}
	segments, err := Inspect(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	for _, seg := range segments {
		s.next = max(s.next, seg.number+1)
		if seg.Kept {
			continue
		}
		if err := s.adopt(seg); err != nil {
			return nil, fmt.Errorf("spool: %w", err)
		}
	}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	c.Registerer.MustRegister(s.damage,
		gauge("kgents_nats_fallback_queue_depth", "Events on local disk that wait for NATS.", func() float64 { return float64(s.Status().Events) }),
		gauge("kgents_nats_fallback_queue_bytes", "Size of the segments on local disk.", func() float64 { return float64(s.Status().Bytes) }),
		gauge("kgents_nats_fallback_limit_bytes", "Size at which the local disk's queue is full, SPOOL_MAX_BYTES.", func() float64 { return float64(c.MaxBytes) }),
		gauge("kgents_nats_fallback_oldest_age_seconds", "Age of the oldest event on local disk; 0 with none.", func() float64 {
			if oldest := s.Status().Oldest; !oldest.IsZero() {
				return max(0, time.Since(oldest).Seconds())
			}
			return 0
		}))
	return s, nil
}

// adopt takes over a segment of an earlier run.
func (s *Spool) adopt(seg Segment) error {
	for _, d := range seg.Damage {
		s.damage.Inc()
		s.Log.Error("the spool is damaged: bytes are not what was written; the records around them are sound, the file is kept",
			"file", seg.Path, "offset", d.Offset, "bytes", d.Bytes)
	}
	if seg.Torn > 0 {
		s.Log.Info("a write to the spool was cut off by a crash before it was acknowledged", "file", seg.Path, "bytes", seg.Torn)
		if err := os.Truncate(seg.Path, seg.Bytes-seg.Torn); err != nil {
			return err
		}
		seg.Bytes, seg.Torn = seg.Bytes-seg.Torn, 0
	}
	s.bytes += seg.Bytes
	s.events += seg.Events
	s.segments = append(s.segments, seg)
	return s.clear()
}

// Append makes a message durable. The error is ErrFull or one of the disk.
func (s *Spool) Append(msg *nats.Msg) error {
	now := time.Now()
	b, err := encode(msg, now)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return os.ErrClosed
	case s.bytes+int64(len(b)) > s.MaxBytes:
		return ErrFull
	}
	if s.file == nil || s.segments[len(s.segments)-1].Bytes+int64(len(b)) > segmentBytes {
		if err := s.begin(); err != nil {
			return fmt.Errorf("spool: %w", err)
		}
	}
	seg := &s.segments[len(s.segments)-1]
	_, err = s.file.WriteAt(b, seg.Bytes)
	failpoint.Hit("spool.written")
	if err == nil {
		err = s.file.Sync()
	}
	failpoint.Hit("spool.synced")
	if err != nil {
		// Nobody was told that it is durable. After a failed sync nothing is known
		// of the file's pages, so the next append begins another.
		_ = s.file.Truncate(seg.Bytes)
		s.finish()
		return errors.Join(fmt.Errorf("spool: %w", err), s.clear())
	}
	e, err := decode(b)
	if err != nil {
		return err
	}
	seg.entries = append(seg.entries, place{seg.Bytes, e.size, e.events, now})
	seg.Bytes += e.size
	s.bytes += e.size
	s.events += e.events
	return nil
}

// begin starts a new segment.
func (s *Spool) begin() error {
	s.finish()
	path := filepath.Join(s.Dir, fmt.Sprintf("%016d%s", s.next, suffix))
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := syncDir(s.Dir); err != nil {
		f.Close()
		return err
	}
	s.segments = append(s.segments, Segment{Path: path, number: s.next})
	s.file, s.next = f, s.next+1
	return nil
}

// finish closes the segment that is written to.
func (s *Spool) finish() {
	if s.file != nil {
		_ = s.file.Close() // everything in it was synced
		s.file = nil
	}
}

// Next returns the oldest message that hasn't arrived, or nil. It returns the
// same one until Done is called.
func (s *Spool) Next() (*nats.Msg, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.segments) > 0 && len(s.segments[0].entries) > 0 {
		e, err := read(s.segments[0].Path, s.segments[0].entries[0])
		if err == nil {
			return e.msg, nil
		}
		if !errors.Is(err, errCorrupt) {
			return nil, fmt.Errorf("spool: %w", err) // the disk may answer again
		}
		// It was sound when it was written or opened.
		p := s.segments[0].entries[0]
		s.segments[0].Damage = append(s.segments[0].Damage, Damage{p.offset, p.size})
		s.damage.Inc()
		s.Log.Error("the spool is damaged: a record was changed after it was written; the file is kept", "error", err)
		if err := s.forget(); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// Done says that the message which Next returned has arrived.
func (s *Spool) Done() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.segments) == 0 || len(s.segments[0].entries) == 0 {
		return nil
	}
	return s.forget()
}

// forget takes the first record out.
func (s *Spool) forget() error {
	first := &s.segments[0]
	s.events -= first.entries[0].events
	first.entries = first.entries[1:]
	return s.clear()
}

// clear removes segments of which everything has arrived.
func (s *Spool) clear() error {
	for len(s.segments) > 0 && len(s.segments[0].entries) == 0 {
		first := s.segments[0]
		if len(s.segments) == 1 {
			s.finish()
		}
		var err error
		if len(first.Damage) > 0 {
			err = os.Rename(first.Path, first.Path+damaged)
		} else {
			err = os.Remove(first.Path)
		}
		if err != nil {
			return fmt.Errorf("spool: %w", err)
		}
		s.bytes -= first.Bytes
		s.segments = s.segments[1:]
	}
	return nil
}

// Status is what the spool holds.
type Status struct {
	Messages int
	Events   int
	Bytes    int64
	Oldest   time.Time // of the oldest message; zero with none
}

// Status returns what has not arrived yet.
func (s *Spool) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Status{Events: s.events, Bytes: s.bytes}
	for _, seg := range s.segments {
		st.Messages += len(seg.entries)
	}
	if len(s.segments) > 0 && len(s.segments[0].entries) > 0 {
		st.Oldest = s.segments[0].entries[0].at
	}
	return st
}

// Close closes the files. What has not arrived is there at the next Open.
func (s *Spool) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.finish()
	return nil
}
