package deadletter

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents"
)

const (
	// MaxPage is the most letters in one page of a list. Their events are left out,
	// so a page takes at most about 6 MB.
	MaxPage = 1000

	// scanned and scannedBytes bound what one page looks at, so that a filter that
	// matches little answers in about a second: the page is then short, and Next
	// says where to go on. A letter is read whole, event and all.
	scanned      = 1000
	scannedBytes = 32 << 20
)

// Stored is a letter that is kept.
type Stored struct {
	Seq    uint64    `json:"seq"`       // its place in the stream, which names it
	Buried time.Time `json:"buried_at"` // when it was stored
	Bytes  int       `json:"bytes"`     // of the event
	Letter
}

// Filter says which letters are wanted. A zero field wants all.
type Filter struct {
	Reason  Reason
	Type    string
	Subject string

	// Since is the first time of burial that is wanted, Until the first that no
	// longer is.
	Since, Until time.Time
}

// Check refuses a filter that can't match. The error has a code.
func (f Filter) Check() error {
	switch {
	case f.Reason != "" && f.Reason != Refused && f.Reason != Malformed:
		return kgents.Errorf(kgents.CodeInvalid, "there is no reason %q: use %s or %s", f.Reason, Refused, Malformed)
	case !f.Since.IsZero() && !f.Until.IsZero() && !f.Since.Before(f.Until):
		return kgents.Errorf(kgents.CodeInvalid, "since must be before until")
	}
	return nil
}

func (f Filter) wants(l Stored) bool {
	return (f.Reason == "" || l.Reason == f.Reason) &&
		(f.Type == "" || l.Type == f.Type) &&
		(f.Subject == "" || l.Subject == f.Subject) &&
		!l.Buried.Before(f.Since) &&
		(f.Until.IsZero() || l.Buried.Before(f.Until))
}

// Page is a part of a list.
type Page struct {
	Letters []Stored // without their events, oldest first

	// Next is what to pass as after for the next page; 0 at the end. A page can be
	// short, even empty, and not be the last.
	Next uint64
}

// List returns the letters that f wants behind the sequence after, at most limit
// of them, from 1 to MaxPage. Errors have a code.
func (s *Store) List(ctx context.Context, f Filter, after uint64, limit int) (Page, error) {
	if err := f.Check(); err != nil {
		return Page{}, err
	}
	if limit < 1 || limit > MaxPage {
		return Page{}, kgents.Errorf(kgents.CodeInvalid, "limit must be from 1 to %d", MaxPage)
	}
	dead, err := s.js.Stream(ctx, s.stream.DeadName())
	if err != nil {
		return Page{}, unavailable(err)
	}
	var page Page
	for looked, size := 0, 0; ; looked++ {
		if after == math.MaxUint64 {
			page.Next = 0
			return page, nil
		}
		if looked == scanned || size >= scannedBytes || len(page.Letters) == limit {
			page.Next = after
			return page, nil
		}
		// This is the first letter at or behind the sequence. The subject is every
		// letter's: a stranger's may stand at another reason's than its own.
		msg, err := dead.GetMsg(ctx, after+1, jetstream.WithGetMsgSubject(s.stream.DeadSubject(">")))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return page, nil
		}
		if err != nil {
			return Page{}, unavailable(err)
		}
		after = msg.Sequence
		size += len(msg.Data)
		if l := stored(msg); f.wants(l) {
			l.Event = nil
			page.Letters = append(page.Letters, l)
		}
	}
}

// Get returns a letter with its event. Errors have a code, kgents.CodeNotFound
// among them.
func (s *Store) Get(ctx context.Context, seq uint64) (Stored, error) {
	_, l, err := s.get(ctx, seq)
	return l, err
}

func (s *Store) get(ctx context.Context, seq uint64) (jetstream.Stream, Stored, error) {
	if seq == 0 {
		return nil, Stored{}, notFound(seq)
	}
	dead, err := s.js.Stream(ctx, s.stream.DeadName())
	if err != nil {
		return nil, Stored{}, unavailable(err)
	}
	msg, err := dead.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, Stored{}, notFound(seq)
	}
	if err != nil {
		return nil, Stored{}, unavailable(err)
	}
	return dead, stored(msg), nil
}

// stored reads a letter. A message that is none is shown as what it is, so that
// it can be seen and dropped.
func stored(msg *jetstream.RawStreamMsg) Stored {
	l, err := Parse(msg.Header, msg.Data)
	if err != nil {
		l = New(msg.Data, Malformed, 0, err.Error(), msg.Time, msg.Time, 0)
	}
	return Stored{Seq: msg.Sequence, Buried: msg.Time.UTC(), Bytes: len(msg.Data), Letter: l}
}

func notFound(seq uint64) error {
	return kgents.Errorf(kgents.CodeNotFound, "there is no dead letter %d: it was replayed or dropped, or never was", seq)
}

// retryAfter is how long NATS needs for a new leader or to be reached again.
const retryAfter = 5 * time.Second

func unavailable(err error) error {
	return kgents.Unavailable(retryAfter, "the dead letters can't be reached, since NATS does not answer: try again later", err)
}
