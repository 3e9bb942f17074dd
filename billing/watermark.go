package billing

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// prefix is of the keys of watermarks in the bucket.
const prefix = "overage."

// watermark is how much of a customer's overage in a period Stripe has been told.
type watermark struct {
	Customer string `json:"customer"`
	Stripe   string `json:"stripe"`
	Feature  string `json:"feature"`
	Start    int64  `json:"start"` // Unix seconds, whole minutes
	End      int64  `json:"end"`
	Limit    int64  `json:"limit"` // of the plan that was in force last
	PerDay   bool   `json:"per_day,omitempty"`

	// Reported is what Stripe has for certain. Pending is what it may have: it is
	// written before it is sent, and sent until Stripe has it.
	Reported int64   `json:"reported"`
	Pending  *intent `json:"pending,omitempty"`
}

// intent is one meter event. It never changes but for Since, and that only when Stripe
// is known not to have it.
type intent struct {
	Identifier string `json:"identifier"`
	Value      int64  `json:"value"`
	At         int64  `json:"at"`    // its timestamp, Unix seconds
	Since      int64  `json:"since"` // before it was sent first, Unix seconds
}

func (m watermark) key() string {
	return prefix + m.Customer + "." + strconv.FormatInt(m.Start, 10) + "." + m.Feature
}

// what is the customer and the feature.
func (m watermark) what() string { return m.Customer + "." + m.Feature }

// ends is when the period ends, which is earlier than it was to when the subscription
// has ended, or another has taken its place.
func (m watermark) ends(current map[string]int64, now time.Time) int64 {
	start, running := current[m.what()]
	switch {
	case running && start == m.Start:
		return m.End
	case running && start > m.Start:
		return min(m.End, start)
	}
	return max(m.Start, min(m.End, minute(now)))
}

func (m watermark) start() time.Time { return time.Unix(m.Start, 0).UTC() }
func (m watermark) end() time.Time   { return time.Unix(m.End, 0).UTC() }

// next is the intent to report value at now.
func (m watermark) next(value int64, now time.Time) *intent {
	// Within the period: what came late, or is reported after the period's end, is of
	// its last second.
	stamp := max(m.Start, min(now.Unix(), m.End-1))
	return &intent{
		Identifier: derived("overage", m.Stripe, m.Customer, strconv.FormatInt(m.Start, 10), m.Feature,
			strconv.FormatInt(m.Reported, 10), strconv.FormatInt(value, 10)),
		Value: value, At: stamp, Since: now.Unix(),
	}
}

// slot is a watermark as it was read.
type slot struct {
	watermark
	kv       jetstream.KeyValue
	revision uint64
}

// errMoved is that another replica has written in between: it is at it.
var errMoved = errors.New("another replica has written this watermark just now")

// read returns nil if there is none.
func read(ctx context.Context, kv jetstream.KeyValue, key string) (*slot, error) {
	ctx, cancel := context.WithTimeout(ctx, natsTimeout)
	defer cancel()
	entry, err := kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s := &slot{kv: kv, revision: entry.Revision()}
	if err := json.Unmarshal(entry.Value(), &s.watermark); err != nil || s.key() != key || s.Reported < 0 || s.Pending != nil && s.Pending.Value <= 0 {
		return nil, fmt.Errorf("%w: key %s", errUnreadable, key)
	}
	return s, nil
}

var errUnreadable = errors.New("what the bucket holds is no watermark: look at what Stripe has of this customer and period, and write it there")

// write replaces what was read by m, or makes it, unless another has done so.
func (s *slot) write(ctx context.Context, m watermark) error {
	ctx, cancel := context.WithTimeout(ctx, natsTimeout)
	defer cancel()
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if s.revision == 0 {
		s.revision, err = s.kv.Create(ctx, m.key(), b)
	} else {
		var revision uint64
		if revision, err = s.kv.Update(ctx, m.key(), b, s.revision); err == nil {
			s.revision = revision
		}
	}
	if errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
		return errMoved
	}
	if err == nil {
		s.watermark = m
	}
	return err
}
