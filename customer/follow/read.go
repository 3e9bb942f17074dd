package follow

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/subscription"
)

// stripeSource is how every event from Stripe has its source written, since it is this
// program that writes it. Nobody else can send one: the source is reserved.
var stripeSource = []byte(`"source":"` + kgents.SourceStripe + `"`)

// unattributed is the subject of a Stripe event that names no customer of Stripe's.
const unattributed = "unattributed"

// told is what one Stripe event tells of whom.
type told struct {
	account
	change subscription.Change
}

// read returns what the Stripe events of a message tell, and when it was received. It
// costs one search through the bytes unless there is one.
func (f *Follower) read(m jetstream.Msg) (all []told, received time.Time) {
	body, err := stream.Body(m.Headers(), m.Data())
	if err != nil {
		f.unreadable(m, err)
		return nil, time.Time{}
	}
	if !bytes.Contains(body, stripeSource) {
		return nil, time.Time{}
	}
	var elements []json.RawMessage
	if err := json.Unmarshal(body, &elements); err != nil {
		f.unreadable(m, err)
		return nil, time.Time{}
	}
	for _, element := range elements {
		if !bytes.Contains(element, stripeSource) {
			continue
		}
		t, outcome, err := readEvent(element)
		switch {
		case err != nil:
			f.unreadable(m, err)
		case outcome == "":
			all = append(all, t)
		case outcome != outcomeStranger:
			f.metrics.events.WithLabelValues(outcome).Inc()
		}
	}
	return all, stream.ReadEnvelope(m.Headers()).Received
}

func (f *Follower) unreadable(m jetstream.Msg, err error) {
	f.metrics.events.WithLabelValues(outcomeUnreadable).Inc()
	sequence := uint64(0)
	if meta, err := m.Metadata(); err == nil {
		sequence = meta.Sequence.Stream
	}
	f.Log.Error("a message of the stream can't be read: what it tells of a plan, if anything, is lost to the plan", "sequence", sequence, "error", err)
}

// readEvent reads one event. Outcome says why it tells nothing of a plan, if it doesn't.
func readEvent(element []byte) (_ told, outcome string, _ error) {
	var e struct {
		ID      string          `json:"id"`
		Source  string          `json:"source"`
		Type    string          `json:"type"`
		Subject string          `json:"subject"`
		Time    time.Time       `json:"time"`
		Data    json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(element, &e); err != nil {
		return told{}, "", err
	}
	if e.Source != kgents.SourceStripe {
		return told{}, outcomeStranger, nil // whose data speaks of it
	}
	event := kgents.Event{ID: e.ID, Source: e.Source, Type: e.Type, Subject: e.Subject, Time: e.Time, Data: e.Data}
	c, ok, err := subscription.FromEvent(event)
	if err != nil {
		return told{}, "", err
	}
	ref := subscription.Ref(event)
	switch {
	case !ok:
		return told{}, outcomeIrrelevant, nil
	case e.Subject == unattributed && ref == "":
		return told{}, outcomeUnattributed, nil
	}
	return told{account{e.Subject, ref}, c}, "", nil
}
