package reconcile

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/stream"
)

// identity is a hash of source and id: what a run keeps of an event must be
// small. Two of a million events have the same one with a chance of 10^-27.
type identity [16]byte

func identify(source, id string) identity {
	sum := sha256.Sum256([]byte(kgents.Event{Source: source, ID: id}.Identity()))
	return identity(sum[:16])
}

// event is what is compared.
type event struct {
	Source, ID, Type, Subject string

	Time time.Time
	Data json.RawMessage
}

func (e event) identity() identity { return identify(e.Source, e.ID) }

// content is a hash of what must be equal besides the time. Data is compared as
// values: OpenMeter may have written its members in another order and its
// numbers in another form. A number beyond 2^53 is compared as OpenMeter
// computes with it, as a double.
func (e event) content() [16]byte {
	h := sha256.New()
	for _, s := range []string{e.Type, e.Subject} {
		h.Write([]byte(s))
		h.Write([]byte{0})
	}
	h.Write(canonical(e.Data))
	return [16]byte(h.Sum(nil)[:16])
}

// canonical writes a JSON value in one way only. Null is no data.
func canonical(data []byte) []byte {
	var v any
	if json.Unmarshal(data, &v) != nil || v == nil {
		if bytes.Equal(bytes.TrimSpace(data), []byte("null")) {
			return nil
		}
		return data // a number too large for a double, or nothing
	}
	out, err := json.Marshal(v)
	if err != nil {
		return data
	}
	return out
}

// element is an event with the bytes that were admitted.
type element struct {
	event
	raw json.RawMessage
}

// open reads a message of the stream. What is no event is left out: the sink has
// made a dead letter of it.
func open(h nats.Header, data []byte) []element {
	body, err := stream.Body(h, data)
	if err != nil {
		return nil
	}
	var raws []json.RawMessage
	if json.Unmarshal(body, &raws) != nil {
		return nil
	}
	out := make([]element, 0, len(raws))
	for _, raw := range raws {
		e := element{raw: raw}
		if json.Unmarshal(raw, &e.event) == nil && e.ID != "" {
			out = append(out, e)
		}
	}
	return out
}
