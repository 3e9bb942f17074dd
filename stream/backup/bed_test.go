package backup

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/stream/streamtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bed is a real server, with or without its streams.
type bed struct {
	*testing.T
	js     jetstream.JetStream
	config stream.Config
}

func newBed(t *testing.T) *bed {
	t.Helper()
	js, _ := streamtest.Start(t)
	return &bed{T: t, js: js, config: stream.Config{Name: "events", Replicas: 1}}
}

// ensure makes the streams.
func (b *bed) ensure() *bed {
	b.Helper()
	if _, err := stream.Ensure(b.Context(), b.js, b.config); err != nil {
		b.Fatal(err)
	}
	return b
}

// publish stores msgs and returns the acknowledgement of the last.
func (b *bed) publish(msgs ...*nats.Msg) (ack *jetstream.PubAck) {
	b.Helper()
	for _, m := range msgs {
		var err error
		if ack, err = b.js.PublishMsg(b.Context(), m); err != nil {
			b.Fatal(err)
		}
	}
	return ack
}

// batch is a message as publish makes it, with n events; from about 60 it is
// compressed.
func batch(name string, n int) *nats.Msg {
	var events []kgents.Event
	for i := range n {
		events = append(events, kgents.Event{Raw: fmt.Appendf(nil, `{"id":"%s-%d","source":"test","type":"t"}`, name, i)})
	}
	return stream.Encode(events, time.Now())
}

// raw is a message of anybody's.
func raw(subject, body string, headers ...string) *nats.Msg {
	m := &nats.Msg{Subject: subject, Data: []byte(body)}
	for i := 0; i < len(headers); i += 2 {
		if m.Header == nil {
			m.Header = nats.Header{}
		}
		m.Header[headers[i]] = append(m.Header[headers[i]], headers[i+1])
	}
	return m
}

// kept is what a stream's message is, apart from its place.
type kept struct {
	Subject string
	Header  nats.Header
	Data    string
}

// all reads every message of a stream one by one, by another way than a backup
// does.
func (b *bed) all(name string) (out []kept) {
	b.Helper()
	s, err := b.js.Stream(b.Context(), name)
	if err != nil {
		b.Fatal(err)
	}
	state := s.CachedInfo().State
	for at := state.FirstSeq; at <= state.LastSeq && state.Msgs > 0; at++ {
		m, err := s.GetMsg(b.Context(), at)
		if err != nil {
			continue // deleted
		}
		k := kept{m.Subject, m.Header, string(m.Data)}
		if len(k.Header) == 0 {
			k.Header = nil
		}
		out = append(out, k)
	}
	return out
}

// backup writes one of small segments and fails the test when it can't.
func (b *bed) backup(dir string) Manifest {
	b.Helper()
	m, err := write(b.Context(), b.js, b.config, dir, nil, 16<<10)
	if err != nil {
		b.Fatal(err)
	}
	return m
}

func (b *bed) restore(dir string) Restored {
	b.Helper()
	r, err := Restore(b.Context(), b.js, b.config, Dir(dir), How{}, nil)
	if err != nil {
		b.Fatal(err)
	}
	return r
}

// sound verifies a backup that must be.
func sound(t *testing.T, dir string) Manifest {
	t.Helper()
	r, err := Verify(context.Background(), Dir(dir), nil)
	if err != nil || !r.Sound {
		t.Fatalf("the backup is not sound: %v, %+v", err, r.Problems)
	}
	return r.Manifest
}
