package stream

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/nats-io/nats.go"

	"github.com/kgents/kgents"
)

// Headers of a message. Content-Type is that of CloudEvents' batch format, which
// is also what OpenMeter's ingest takes, so the body travels unchanged.
const (
	headerEvents   = "Kgents-Events"   // how many events the body holds
	headerReceived = "Kgents-Received" // when the first of them was received, Unix milliseconds
	headerEncoding = "Content-Encoding"
	contentType    = "application/cloudevents-batch+json"
)

// compressFrom is the size from which a body is compressed (zstd, RFC 8878). A
// batch of events then takes about a ninth of the disk and of the server's
// memory; a single event gains nothing (see docs/benchmarks.md).
const compressFrom = 2048

// MaxBodyBytes is where a batch is cut, before compression. A server takes 1 MiB
// a message by default, headers included.
const MaxBodyBytes = 1_000_000

var _ [MaxBodyBytes - kgents.MaxEventBytes]struct{} // every admitted event fits

// Encode makes the message for events, whose bodies must come to less than
// MaxBodyBytes together. Its Nats-Msg-Id is a hash of its content, so sending the
// same batch again after an unknown outcome is harmless.
func Encode(events []kgents.Event, received time.Time) *nats.Msg {
	size := 1 + len(events)
	for _, e := range events {
		size += len(e.Raw)
	}
	body := make([]byte, 0, size)
	body = append(body, '[')
	for i, e := range events {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, e.Raw...)
	}
	body = append(body, ']')
	sum := sha256.Sum256(body)
	msg := &nats.Msg{
		Subject: Subject,
		Data:    body,
		Header: nats.Header{
			nats.MsgIdHdr:  {base64.RawURLEncoding.EncodeToString(sum[:18])},
			"Content-Type": {contentType},
			headerEvents:   {strconv.Itoa(len(events))},
			headerReceived: {strconv.FormatInt(received.UnixMilli(), 10)},
		},
	}
	if len(body) >= compressFrom {
		msg.Data = encoder.EncodeAll(body, make([]byte, 0, len(body)/4))
		msg.Header.Set(headerEncoding, "zstd")
	}
	return msg
}

// The codecs keep nothing between calls and are safe for concurrent use.
var (
	encoder = newEncoder()
	decoder = must(zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(MaxBodyBytes)))
)

func newEncoder() *zstd.Encoder {
	e := must(zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest)))
	e.EncodeAll([]byte{0}, nil) // makes what it would else make in the first call's goroutine, which may be a test's bubble
	return e
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // the options above are wrong
	}
	return v
}

// Body returns a message's body as it was before Encode compressed it, at most
// MaxBodyBytes of it. The error is ErrEncoding.
func Body(h nats.Header, data []byte) ([]byte, error) {
	switch h.Get(headerEncoding) {
	case "":
		return data, nil
	case "zstd":
		body, err := decoder.DecodeAll(data, nil)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrEncoding, err)
		}
		return body, nil
	default:
		return nil, ErrEncoding
	}
}

// ErrEncoding is the error for a message that can't be decompressed.
var ErrEncoding = errors.New("the message's Content-Encoding is neither absent nor zstd of a batch that we would send")

// Envelope is what a message's headers say. A message of a stranger's may lack
// them: Events is then 1 and Received zero.
type Envelope struct {
	Events   int
	Received time.Time
}

// ReadEnvelope never fails: headers are a help, not the truth.
func ReadEnvelope(h nats.Header) Envelope {
	e := Envelope{Events: 1}
	if n, err := strconv.Atoi(h.Get(headerEvents)); err == nil && n > 0 && n <= MaxBodyBytes {
		e.Events = n
	}
	if ms, err := strconv.ParseInt(h.Get(headerReceived), 10, 64); err == nil && ms > 0 {
		e.Received = time.UnixMilli(ms)
	}
	return e
}

// ErrNoBatch is the error for a message whose body is no JSON array.
var ErrNoBatch = errors.New("the message is no JSON array of events")

// Elements returns what stands between the brackets of a batch, without decoding
// it. It is for joining batches; whether the elements are events is for the meter
// to say.
func Elements(body []byte) ([]byte, error) {
	for len(body) > 0 && isSpace(body[0]) {
		body = body[1:]
	}
	for len(body) > 0 && isSpace(body[len(body)-1]) {
		body = body[:len(body)-1]
	}
	if len(body) < 2 || body[0] != '[' || body[len(body)-1] != ']' {
		return nil, ErrNoBatch
	}
	return body[1 : len(body)-1], nil
}

func isSpace(b byte) bool { return b == ' ' || b == '\n' || b == '\r' || b == '\t' }
