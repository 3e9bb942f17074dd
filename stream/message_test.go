package stream_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/nats-io/nats.go"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/stream"
)

func events(raws ...string) (out []kgents.Event) {
	for _, r := range raws {
		out = append(out, kgents.Event{Raw: []byte(r)})
	}
	return out
}

// random is n bytes in a JSON string that don't compress.
func random(n int) string {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n-2)
	for i := range b {
		b[i] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"[r.IntN(64)]
	}
	return `"` + string(b) + `"`
}

// What Encode makes, ReadEnvelope, Body and Elements read back.
func TestRoundTrip(t *testing.T) {
	received := time.UnixMilli(1_795_456_016_252)
	many := make([]string, 2000)
	for i := range many {
		many[i] = fmt.Sprintf(`{"id":"%d","source":"agent-runner","type":"agent.tokens"}`, i)
	}
	for _, c := range []struct {
		name       string
		events     []string
		compressed bool
	}{
		{name: "one", events: []string{`{"id":"1"}`}},
		{name: "several", events: []string{`{"id":"1"}`, `{"id":"2"}`, `{"id":"3"}`}},
		{name: "a full message", events: many, compressed: true},
		{name: "the largest event, which doesn't compress", events: []string{random(kgents.MaxEventBytes)}, compressed: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			msg := stream.Encode(events(c.events...), received)
			if got := msg.Header.Get("Content-Encoding") == "zstd"; got != c.compressed {
				t.Errorf("compressed: %v, want %v", got, c.compressed)
			}
			if len(msg.Data) > stream.MaxBodyBytes {
				t.Errorf("the message has %d bytes, more than MaxBodyBytes", len(msg.Data))
			}
			if d := cmp.Diff(stream.Envelope{Events: len(c.events), Received: received}, stream.ReadEnvelope(msg.Header)); d != "" {
				t.Errorf("envelope (-want +got):\n%s", d)
			}
			body, err := stream.Body(msg.Header, msg.Data)
			if err != nil {
				t.Fatal(err)
			}
			elements, err := stream.Elements(body)
			if err != nil {
				t.Fatal(err)
			}
			if want := strings.Join(c.events, ","); string(elements) != want {
				t.Errorf("%d bytes of elements, want the %d that went in", len(elements), len(want))
			}
		})
	}
}

// The same events make the same Nats-Msg-Id whenever they are sent; other events
// another.
func TestMessageID(t *testing.T) {
	id := func(received time.Time, raws ...string) string {
		return stream.Encode(events(raws...), received).Header.Get(nats.MsgIdHdr)
	}
	a := id(time.Unix(1, 0), `{"id":"1"}`, `{"id":"2"}`)
	if b := id(time.Unix(2, 0), `{"id":"1"}`, `{"id":"2"}`); a != b {
		t.Errorf("ids of the same batch: %s and %s", a, b)
	}
	if b := id(time.Unix(1, 0), `{"id":"2"}`, `{"id":"1"}`); a == b {
		t.Error("another order has the same id")
	}
	if len(a) < 20 {
		t.Errorf("id %q is too short to tell batches apart", a)
	}
}

func TestBody(t *testing.T) {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	zip := func(s string) []byte { return w.EncodeAll([]byte(s), nil) }
	for _, c := range []struct {
		name     string
		encoding string
		data     []byte
		want     string
		err      error
	}{
		{name: "plain", data: []byte("[1]"), want: "[1]"},
		{name: "compressed", encoding: "zstd", data: zip("[1]"), want: "[1]"},
		{name: "cut short", encoding: "zstd", data: zip(strings.Repeat("[1]", 1000))[:20], err: stream.ErrEncoding},
		{name: "not compressed at all", encoding: "zstd", data: []byte("[1]"), err: stream.ErrEncoding},
		{name: "of an encoding that we don't write", encoding: "gzip", data: []byte("[1]"), err: stream.ErrEncoding},
		{name: "a bomb", encoding: "zstd", data: zip(strings.Repeat(" ", 100<<20)), err: stream.ErrEncoding},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := nats.Header{}
			if c.encoding != "" {
				h.Set("Content-Encoding", c.encoding)
			}
			got, err := stream.Body(h, c.data)
			if !errors.Is(err, c.err) || string(got) != c.want {
				t.Errorf("Body = %d bytes, %v; want %q, %v", len(got), err, c.want, c.err)
			}
		})
	}
}

func TestElements(t *testing.T) {
	for body, want := range map[string]string{
		`[]`: "", `[1]`: "1", " [1,2]\n": "1,2", `[ ]`: " ",
		``: "error", `[`: "error", `]`: "error", `{}`: "error", `null`: "error", `[1`: "error",
	} {
		got, err := stream.Elements([]byte(body))
		if err != nil {
			got = []byte("error")
		}
		if string(got) != want {
			t.Errorf("Elements(%q) = %q, want %q", body, got, want)
		}
	}
}

// Headers of a stranger's are a help and not the truth.
func TestReadEnvelope(t *testing.T) {
	for _, c := range []struct {
		events, received string
		want             stream.Envelope
	}{
		{"", "", stream.Envelope{Events: 1}},
		{"7", "1000", stream.Envelope{Events: 7, Received: time.UnixMilli(1000)}},
		{"-7", "-1000", stream.Envelope{Events: 1}},
		{"99999999999999999999", "soon", stream.Envelope{Events: 1}},
		{"2000000000", "1e9", stream.Envelope{Events: 1}},
	} {
		h := nats.Header{"Kgents-Events": {c.events}, "Kgents-Received": {c.received}}
		if d := cmp.Diff(c.want, stream.ReadEnvelope(h)); d != "" {
			t.Errorf("%q, %q (-want +got):\n%s", c.events, c.received, d)
		}
	}
}

// FuzzBody holds the decoders of a stream message to their word: an error, or
// what can be encoded again.
func FuzzBody(f *testing.F) {
	full := stream.Encode(events(strings.Repeat(`{"id":"1"},`, 300)+`{"id":"2"}`), time.Now())
	f.Add(full.Header.Get("Content-Encoding"), full.Data)
	f.Add("", []byte(` [{"id":"1"}] `))
	f.Add("zstd", []byte("(\xb5/\xfd"))
	f.Fuzz(func(t *testing.T, encoding string, data []byte) {
		body, err := stream.Body(nats.Header{"Content-Encoding": {encoding}}, data)
		if err != nil {
			return
		}
		if encoding != "" && len(body) > stream.MaxBodyBytes {
			t.Fatalf("%d bytes decompressed", len(body))
		}
		elements, err := stream.Elements(body)
		if err != nil || !json.Valid(body) || len(bytes.TrimSpace(elements)) == 0 || len(elements) > stream.MaxBodyBytes-2 {
			return
		}
		msg := stream.Encode(events(string(elements)), time.Now())
		again, err := stream.Body(msg.Header, msg.Data)
		if err != nil || !bytes.Equal(again, []byte("["+string(elements)+"]")) {
			t.Errorf("encoded again: %d bytes, %v", len(again), err)
		}
	})
}
