package billing

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/invoice"
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
	Spans    []span `json:"spans,omitempty"` // where the limit changed, or the plan had gaps; at most invoice.MaxParts with a limit

	// Reported is what Stripe has for certain. Pending is what it may have: it is
	// written before it is sent, and sent until Stripe has it.
	Reported int64   `json:"reported"`
	Pending  *intent `json:"pending,omitempty"`
}

// span is a part of a period under one limit, Unix seconds.
type span struct {
	From   int64 `json:"from"`
	To     int64 `json:"to"`
	Limit  int64 `json:"limit"`
	PerDay bool  `json:"per_day,omitempty"`
}

// spans are what is measured: those up to the end.
func (m watermark) spans() []invoice.Span {
	spans := m.Spans
	if len(spans) == 0 {
		spans = []span{{m.Start, m.End, m.Limit, m.PerDay}}
	}
	var out []invoice.Span
	for _, s := range spans {
		q := kgents.Quota{Limit: kgents.AtMost(s.Limit), Per: kgents.PerPeriod}
		if s.PerDay {
			q.Per = kgents.PerDay
		}
		if to := min(s.To, m.End); s.From < to {
			out = append(out, invoice.Span{From: time.Unix(s.From, 0), To: time.Unix(to, 0), Quota: q})
		}
	}
	return out
}

// same tells whether both are the same, with the same intent.
func (m watermark) same(o watermark) bool {
	spans := slices.Equal(m.Spans, o.Spans)
	return spans && m.Customer == o.Customer && m.Stripe == o.Stripe && m.Feature == o.Feature && m.Start == o.Start && m.End == o.End &&
		m.Limit == o.Limit && m.PerDay == o.PerDay && m.Reported == o.Reported && m.Pending == o.Pending
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

// ends is when the period ends, given those that there should be. One that isn't among
// them ends where the next begins, or now; one that lies in another, since an event that
// came late has moved the periods, takes no more.
func (m watermark) ends(current map[string][]watermark, now time.Time) int64 {
	end := max(m.Start, min(m.End, minute(now)))
	for _, o := range current[m.what()] {
		switch {
		case o.Start == m.Start:
			return m.End // begin has set it
		case o.Start < m.Start && m.Start < o.End:
			return m.Start
		case m.Start < o.Start:
			end = min(end, o.Start)
		}
	}
	return end
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
