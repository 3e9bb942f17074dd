// Package deadletter keeps the events that can't be metered, with the reason, in
// a stream of its own.
//
// It promises that a letter is durable when Bury returns nil, and that the event
// in it is byte for byte the one that was refused, so that it can be replayed
// under its own identity. A replay deletes the letter only once the event is
// durable in the stream of events: a crash in between replays it twice, which
// counts once.
//
// When NATS is away, Bury fails and the caller keeps the event in the stream of
// events; looking, replaying and dropping fail with kgents.CodeUnavailable. The
// stream of letters has no bound but the server's disk. A page of a list holds
// MaxPage letters at most and looks at scanned of them.
package deadletter

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/stream"
)

// Reason says why an event became a dead letter.
type Reason string

// The reasons.
const (
	Refused   Reason = "refused"   // the meter answered 4xx to the event alone
	Malformed Reason = "malformed" // the stream held a message that is no batch of events
)

const (
	// maxDetail bounds the meter's answer in a letter, in bytes.
	maxDetail = 4 << 10

	// header carries what is known of the event, as JSON, so that the message's
	// body is the event alone, byte for byte.
	header = "Kgents-Letter"

	// headerRefused stands on the message of a replay: how often its event was
	// refused before. maxRefused is what is believed of it, since a stranger's
	// message may have it too.
	headerRefused = "Kgents-Refused"
	maxRefused    = 1_000_000
)

// Letter is one dead letter.
type Letter struct {
	Reason Reason `json:"reason"`
	Status int    `json:"status,omitempty"` // the meter's HTTP status
	Detail string `json:"detail"`           // the meter's words, cut at 4 KiB

	// What the event says of itself; empty where it can't be read.
	Source  string `json:"source,omitempty"`
	ID      string `json:"id,omitempty"`
	Type    string `json:"type,omitempty"`
	Subject string `json:"subject,omitempty"`

	// The attempts of this delivery; a replay begins another.
	First time.Time `json:"first_attempt"`
	Last  time.Time `json:"last_attempt"`

	// Count is how often the event was refused, replays included; 1 at first.
	Count int `json:"count"`

	// Truncated says that Event is the beginning only. That happens to a message
	// of a stranger's alone: ours are shorter than stream.MaxBodyBytes.
	Truncated bool `json:"truncated,omitempty"`

	Event []byte `json:"-"` // what was refused
}

// New makes a letter of what was refused now, and before times before (see
// Refusals).
func New(event []byte, reason Reason, status int, detail string, first, last time.Time, before int) Letter {
	l := Letter{Reason: reason, Status: status, Detail: cut(detail, maxDetail), First: first.UTC(), Last: last.UTC(), Count: before + 1, Event: event}
	if len(event) > stream.MaxBodyBytes {
		l.Event, l.Truncated = event[:stream.MaxBodyBytes], true
	}
	var head struct{ Source, ID, Type, Subject string }
	_ = json.Unmarshal(event, &head) // one name of the wrong type doesn't hide the others
	l.Source, l.ID = cut(head.Source, kgents.MaxSourceBytes), cut(head.ID, kgents.MaxIDBytes)
	l.Type, l.Subject = cut(head.Type, kgents.MaxTypeBytes), cut(head.Subject, kgents.MaxSubjectBytes)
	return l
}

// cut returns the first n bytes of s, less a rune that would be cut in two.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for i := n; i > n-utf8.UTFMax; i-- {
		if utf8.RuneStart(s[i]) {
			return s[:i]
		}
	}
	return s[:n] // no UTF-8, so there is no rune to spare
}

// Store is the stream of dead letters.
type Store struct {
	js     jetstream.JetStream
	stream stream.Config
}

// NewStore returns the store. The streams must exist (stream.Ensure).
func NewStore(js jetstream.JetStream, c stream.Config) *Store { return &Store{js: js, stream: c} }

// Bury keeps a letter. Burying the same refusal again within the stream's
// duplicate window keeps one. The same event refused again after a replay is
// another refusal, told by Count. So is one whose letter has gone in the
// meantime: nothing is taken for kept that isn't there.
func (s *Store) Bury(ctx context.Context, l Letter) error {
	about, err := json.Marshal(l)
	if err != nil {
		return err
	}
	id := l.msgID()
	msg := nats.NewMsg(s.stream.DeadSubject(string(l.Reason)))
	msg.Data = l.Event
	msg.Header.Set(header, string(about))
	for {
		msg.Header.Set(nats.MsgIdHdr, id)
		ack, err := s.js.PublishMsg(ctx, msg, jetstream.WithExpectStream(s.stream.DeadName()))
		if err != nil || !ack.Duplicate {
			return err
		}
		there, err := s.has(ctx, ack.Sequence)
		if err != nil || there {
			return err
		}
		// Each turn meets a later letter that has gone, so this ends.
		id = fmt.Sprintf("%s-%d", l.msgID(), ack.Sequence)
	}
}

// msgID is equal for what is the same refusal.
func (l Letter) msgID() string {
	sum := sha256.New()
	fmt.Fprintf(sum, "%s %d ", l.Reason, l.Count)
	sum.Write(l.Event)
	return base64.RawURLEncoding.EncodeToString(sum.Sum(nil)[:18])
}

// has tells whether the letter with this sequence is still there.
func (s *Store) has(ctx context.Context, seq uint64) (bool, error) {
	dead, err := s.js.Stream(ctx, s.stream.DeadName())
	if err != nil {
		return false, err
	}
	_, err = dead.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Parse reads a letter from its message.
func Parse(h nats.Header, event []byte) (Letter, error) {
	var l Letter
	if err := json.Unmarshal([]byte(h.Get(header)), &l); err != nil {
		return Letter{}, fmt.Errorf("the message is no dead letter: %w", err)
	}
	if l.Reason == "" {
		return Letter{}, errors.New("the message is no dead letter: it gives no reason")
	}
	l.Count = max(1, l.Count) // a letter from before there was a count
	l.Event = event
	return l, nil
}

// Refusals reads from the headers of an event's message how often it was refused
// before: 0 unless it is a replay's.
func Refusals(h nats.Header) int {
	n, err := strconv.Atoi(h.Get(headerRefused))
	if err != nil || n < 0 {
		return 0
	}
	return min(n, maxRefused)
}
