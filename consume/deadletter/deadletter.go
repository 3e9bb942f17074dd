// Package deadletter keeps the events that can't be metered, with the reason, in
// a stream of its own.
//
// It promises that a letter is durable when Bury returns nil, and that the event
// in it is byte for byte the one that was refused, so that it can be replayed
// under its own identity. When NATS is away, Bury fails and the caller keeps the
// event in the stream of events.
package deadletter

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
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

	First time.Time `json:"first_attempt"`
	Last  time.Time `json:"last_attempt"`

	// Truncated says that Event is the beginning only. That happens to a message
	// of a stranger's alone: ours are shorter than stream.MaxBodyBytes.
	Truncated bool `json:"truncated,omitempty"`

	Event []byte `json:"-"` // what was refused
}

// New makes a letter of what was refused.
func New(event []byte, reason Reason, status int, detail string, first, last time.Time) Letter {
	l := Letter{Reason: reason, Status: status, Detail: cut(detail, maxDetail), First: first.UTC(), Last: last.UTC(), Event: event}
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
// duplicate window keeps one.
func (s *Store) Bury(ctx context.Context, l Letter) error {
	about, err := json.Marshal(l)
	if err != nil {
		return err
	}
	sum := sha256.New()
	sum.Write([]byte(l.Reason))
	sum.Write(l.Event)
	msg := nats.NewMsg(s.stream.DeadSubject(string(l.Reason)))
	msg.Data = l.Event
	msg.Header.Set(nats.MsgIdHdr, base64.RawURLEncoding.EncodeToString(sum.Sum(nil)[:18]))
	msg.Header.Set(header, string(about))
	_, err = s.js.PublishMsg(ctx, msg, jetstream.WithExpectStream(s.stream.DeadName()))
	return err
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
	l.Event = event
	return l, nil
}
