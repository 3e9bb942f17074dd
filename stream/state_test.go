package stream_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents/stream"
)

// cluster is three servers that are one.
type cluster struct {
	t       *testing.T
	opts    []*server.Options
	servers []*server.Server
}

// startCluster starts them. They choose a leader meanwhile.
func startCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, servers: make([]*server.Server, 3)}
	var routes []*url.URL
	var ports []int
	var taken []net.Listener // until all ports are chosen
	for range c.servers {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		taken = append(taken, l)
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
		routes = append(routes, &url.URL{Scheme: "nats-route", Host: l.Addr().String()})
	}
	for _, l := range taken {
		l.Close()
	}
	for i, port := range ports {
		c.opts = append(c.opts, &server.Options{
			ServerName: fmt.Sprintf("n%d", i), Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
			Cluster: server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: port}, Routes: routes,
		})
	}
	t.Cleanup(func() {
		for i := range c.servers {
			c.stop(i)
		}
	})
	for i := range c.servers {
		c.start(i)
	}
	return c
}

func (c *cluster) start(i int) {
	c.t.Helper()
	s, err := server.NewServer(c.opts[i].Clone())
	if err != nil {
		c.t.Fatal(err)
	}
	s.Start()
	c.servers[i] = s
	if !s.ReadyForConnections(30 * time.Second) {
		c.t.Fatalf("server %d does not start", i)
	}
}

func (c *cluster) stop(i int) {
	if s := c.servers[i]; s != nil {
		s.Shutdown()
		s.WaitForShutdown()
		c.servers[i] = nil
	}
}

// What the servers say with three copies, with two, and with one, which is no
// majority.
func TestStateOfCluster(t *testing.T) {
	c := startCluster(t)
	nc, err := nats.Connect(c.servers[0].ClientURL(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	config := stream.Config{Name: "events", Replicas: 3, MaxBytes: 1 << 20}
	try := func(what string, ok func(ctx context.Context) bool) {
		t.Helper()
		for deadline := time.Now().Add(2 * time.Minute); ; {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			done := ok(ctx)
			cancel()
			switch {
			case done:
				return
			case time.Now().After(deadline):
				t.Fatalf("two minutes have passed without this: %s", what)
			}
			time.Sleep(20 * time.Millisecond) // between two questions
		}
	}
	try("the streams are made", func(ctx context.Context) bool {
		_, err := stream.Ensure(ctx, js, config)
		return err == nil
	})
	state := func(current int, leader bool) func(context.Context) bool {
		return func(ctx context.Context) bool {
			s, _ := stream.ReadState(ctx, js, config)
			if s.Stream == nil {
				return !leader
			}
			return s.Stream.Leader == leader && (!leader || s.Stream.Current == current && s.Stream.Replicas == 3 && s.Stream.MaxBytes == 1<<20)
		}
	}
	try("three copies", state(3, true))
	c.stop(2)
	try("two copies and a leader", state(2, true))
	c.stop(1)
	try("no leader without a majority", state(0, false))
	if nc.Status() != nats.CONNECTED {
		t.Errorf("the connection is %v: the server that is left takes clients", nc.Status())
	}
	c.start(1)
	try("a leader with two of three", state(2, true))
	c.start(2)
	try("all copies are whole again", state(3, true))
}

// Before there is a sink, all of the stream is backlog.
func TestBacklogWithoutSink(t *testing.T) {
	config := stream.Config{Name: "events", Replicas: 1}
	js, _ := embedded(t, t.TempDir())
	if _, err := stream.ReadState(t.Context(), js, config); err == nil {
		t.Error("a stream that isn't there has a state")
	}
	streams, err := stream.Ensure(t.Context(), js, config)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if _, err := js.PublishMsg(t.Context(), stream.Encode(events(fmt.Sprintf(`{"id":"%d"}`, i)), time.Now())); err != nil {
			t.Fatal(err)
		}
	}
	s, err := stream.ReadState(t.Context(), js, config)
	if err != nil {
		t.Fatal(err)
	}
	if s.Sink != nil || s.Backlog.Messages != 3 || !s.Backlog.Oldest.Equal(s.Stream.Oldest) || s.Backlog.Oldest.IsZero() {
		t.Errorf("the state is %+v with the backlog %+v, want three messages", s.Stream, s.Backlog)
	}
	if _, err := streams.Consumer(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s, err = stream.ReadState(t.Context(), js, config); err != nil || s.Sink == nil || s.Sink.Pending != 3 || s.Backlog.Messages != 3 {
		t.Errorf("with a consumer the state is %+v, %v, want three pending", s.Sink, err)
	}
}

// The newest letter is found also when a later one has gone.
func TestNewestDead(t *testing.T) {
	config := stream.Config{Name: "events", Replicas: 1}
	js, _ := embedded(t, t.TempDir())
	streams, err := stream.Ensure(t.Context(), js, config)
	if err != nil {
		t.Fatal(err)
	}
	newest := func() time.Time {
		t.Helper()
		at, err := stream.ReadNewestDead(t.Context(), js, config)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	if at := newest(); !at.IsZero() {
		t.Errorf("the newest of none is of %v", at)
	}
	var stored []time.Time
	for _, reason := range []string{"refused", "malformed"} {
		if _, err := js.Publish(t.Context(), config.DeadSubject(reason), nil); err != nil {
			t.Fatal(err)
		}
		stored = append(stored, newest())
	}
	if stored[0].IsZero() || !stored[1].After(stored[0]) {
		t.Errorf("stored at %v, want two times", stored)
	}
	if err := streams.Dead.DeleteMsg(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	if at := newest(); !at.Equal(stored[0]) {
		t.Errorf("without the second letter the newest is of %v, want %v", at, stored[0])
	}
}

// The limit of an account is that of a stream with these copies.
func TestAccountLimit(t *testing.T) {
	js, _ := embedded(t, t.TempDir())
	limit, err := stream.ReadAccountLimit(t.Context(), js, 1)
	if err != nil || limit != 0 {
		t.Errorf("an account without limits has %d, %v, want 0", limit, err)
	}
}
