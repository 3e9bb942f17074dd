// Package streamtest starts real NATS servers within tests. It needs nothing but
// the test's own directory.
package streamtest

import (
	"log/slog"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents/stream"
)

// Start starts an embedded server without streams, with its data in a directory
// of the test's. It ends with the test, or earlier with stop.
func Start(t testing.TB) (js jetstream.JetStream, stop func()) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	server, err := stream.StartEmbedded(t.TempDir(), log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	nc, err := server.Connect("test", log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
	return js, server.Stop
}
