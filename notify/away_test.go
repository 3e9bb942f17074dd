package notify

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// faulty is a NATS that is away while it is told to be.
type faulty struct {
	jetstream.JetStream
	away atomic.Bool
}

func (f *faulty) CreateOrUpdateKeyValue(ctx context.Context, c jetstream.KeyValueConfig) (jetstream.KeyValue, error) {
	if f.away.Load() {
		return nil, errors.New("NATS is away")
	}
	return f.JetStream.CreateOrUpdateKeyValue(ctx, c)
}

// While NATS is away alerts wait in memory, boundedly; when it is back they are recorded
// and told.
func TestNATSAway(t *testing.T) {
	b := newBed(t)
	js := &faulty{JetStream: b.js}
	js.away.Store(true)
	s := b.service(func(c *Config) { c.JetStream = js })
	s.Record()
	s.Deliver()
	s.Crossed(crossing(80))
	b.eventually("it is logged", func() bool { return strings.Contains(b.log.String(), "can't be recorded") })
	for i := range maxWaiting + 10 {
		c := crossing(50)
		c.Customer = fmt.Sprint("c", i)
		s.Crossed(c)
	}
	if n := testutil.ToFloat64(s.dropped); n < 10 || n > 11 { // one may have been taken out
		t.Errorf("%v were dropped, want 10", n)
	}
	for len(s.waiting) > 0 { // the test needs no thousands of messages
		<-s.waiting
	}
	js.away.Store(false)
	b.eventually("it is told", func() bool { return b.at.got()[id(80)] == 1 })
}
