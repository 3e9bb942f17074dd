package follow_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/customer/follow"
	"github.com/kgents/kgents/stream"
)

// message is one that was never sent.
type message struct {
	jetstream.Msg
	sent *nats.Msg
}

func (m message) Data() []byte         { return m.sent.Data }
func (m message) Headers() nats.Header { return m.sent.Header }

// BenchmarkRead is what a message costs, with and without Stripe's events in it.
func BenchmarkRead(b *testing.B) {
	batch := func(n int) (events []kgents.Event) {
		for i := range n {
			events = append(events, usage(i))
		}
		return events
	}
	for _, c := range []struct {
		name   string
		events []kgents.Event
		found  int
	}{
		{"1 of usage", batch(1), 0},
		{"100 of usage", batch(100), 0},
		{"5000 of usage", batch(5000), 0},
		{"1 of Stripe's", life("cus_1", "", 0)[:1], 1},
		{"99 of usage and 1 of Stripe's", append(batch(99), life("cus_1", "", 0)[0]), 1},
	} {
		b.Run(c.name, func(b *testing.B) {
			read, sent := follow.Reader(), message{sent: stream.Encode(c.events, time.Now())}
			for b.Loop() {
				if n := read(sent); n != c.found {
					b.Fatalf("%d changes, want %d", n, c.found)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(c.events)), "ns/event")
		})
	}
}
