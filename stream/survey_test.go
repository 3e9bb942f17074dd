package stream_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kgents/kgents/stream"
)

// A server that is slow to answer is heard, and where nobody listens that is told, as when
// the user is not the system's.
func TestAskServers(t *testing.T) {
	js, stop := embedded(t, t.TempDir())
	defer stop()
	nc := js.Conn()
	if _, err := nc.Subscribe("slow", func(m *nats.Msg) {
		time.Sleep(1200 * time.Millisecond) // more than what is waited between answers
		_ = m.Respond([]byte("nats-0"))
	}); err != nil {
		t.Fatal(err)
	}
	var heard []string
	hear := func(data []byte) (string, int) {
		heard = append(heard, string(data))
		return string(data), 1
	}
	if err := stream.AskServers(context.Background(), nc, "slow", nil, hear); err != nil || len(heard) != 1 || heard[0] != "nats-0" {
		t.Errorf("heard %q: %v", heard, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	heard = nil
	if err := stream.AskServers(ctx, nc, "nobody", nil, hear); !errors.Is(err, stream.ErrNotSystem) || len(heard) != 0 {
		t.Errorf("heard %q: %v", heard, err)
	}
}
