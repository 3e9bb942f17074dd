package stream_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents/stream"
)

// shelf is a server by TCP with a stream of numbered messages, and a line to it.
type shelf struct {
	*testing.T
	dir    string
	server *server.Server
	port   int
	line   *line
	js     jetstream.JetStream // by the line
}

// newShelf makes a stream with n messages of some bytes, every third of which has another
// subject.
func newShelf(t *testing.T, n, bytes int) *shelf {
	t.Helper()
	s := &shelf{T: t, dir: t.TempDir(), port: -1}
	s.start()
	t.Cleanup(func() { s.stop() })
	s.line = newLine(t, fmt.Sprintf("127.0.0.1:%d", s.port))
	nc, err := nats.Connect("nats://"+s.line.addr, nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond), nats.ReconnectJitter(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if s.js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
	if _, err := s.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "shelf", Subjects: []string{"shelf.*"}}); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		subject := "shelf.a"
		if i%3 == 2 {
			subject = "shelf.b"
		}
		if _, err := s.js.PublishAsync(subject, make([]byte, bytes)); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-s.js.PublishAsyncComplete():
	case <-t.Context().Done():
	}
	return s
}

func (s *shelf) start() {
	s.Helper()
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: s.port, JetStream: true, StoreDir: s.dir, NoLog: true, NoSigs: true})
	if err != nil {
		s.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(20 * time.Second) {
		s.Fatal("no server")
	}
	s.server, s.port = srv, srv.Addr().(*net.TCPAddr).Port
}

func (s *shelf) stop() {
	s.server.Shutdown()
	s.server.WaitForShutdown()
}

func (s *shelf) stream() jetstream.Stream {
	s.Helper()
	it, err := s.js.Stream(s.Context(), "shelf")
	if err != nil {
		s.Fatal(err)
	}
	return it
}

// drop deletes messages.
func (s *shelf) drop(seqs ...uint64) {
	s.Helper()
	it := s.stream()
	for _, seq := range seqs {
		if err := it.DeleteMsg(s.Context(), seq); err != nil {
			s.Fatal(err)
		}
	}
}

// tidy fails when a reader has left a consumer.
func (s *shelf) tidy() {
	s.Helper()
	names := s.stream().ConsumerNames(s.Context())
	for name := range names.Name() {
		s.Errorf("consumer %s is left", name)
	}
	if err := names.Err(); err != nil {
		s.Error(err)
	}
}

// line is a way to a server that can be cut or stuck.
type line struct {
	addr string

	mu    sync.Mutex
	open  map[net.Conn]bool
	after int  // bytes from the server after which a connection is cut; 0 = never
	stuck bool // nothing passes
	told  *sync.Cond
}

func newLine(t *testing.T, to string) *line {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &line{addr: l.Addr().String(), open: map[net.Conn]bool{}}
	n.told = sync.NewCond(&n.mu)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			a, err := l.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("tcp", to)
			if err != nil { // the server is away
				a.Close()
				continue
			}
			n.mu.Lock()
			n.open[a], n.open[b] = true, true
			n.mu.Unlock()
			running.Go(func() { n.pass(a, b, false) })
			running.Go(func() { n.pass(b, a, true) })
		}
	})
	t.Cleanup(func() { l.Close(); n.set(0, false); n.cut(); running.Wait() })
	return n
}

func (n *line) pass(from, to net.Conn, down bool) {
	defer from.Close()
	defer to.Close()
	buf, total := make([]byte, 16<<10), 0
	for {
		k, err := from.Read(buf)
		if err != nil {
			return
		}
		total += k
		n.mu.Lock()
		for n.stuck {
			n.told.Wait()
		}
		after := n.after
		n.mu.Unlock()
		if down && after > 0 && total > after {
			return
		}
		if _, err := to.Write(buf[:k]); err != nil {
			return
		}
	}
}

// cut ends the connections that there are.
func (n *line) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.open {
		c.Close()
	}
	clear(n.open)
}

func (n *line) set(after int, stuck bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.after, n.stuck = after, stuck
	n.told.Broadcast()
}

// span is the numbers from one to another, without some.
func span(from, to uint64, without ...uint64) (out []uint64) {
	for i := from; i <= to; i++ {
		out = append(out, i)
		for _, w := range without {
			if w == i {
				out = out[:len(out)-1]
			}
		}
	}
	return out
}

func TestRead(t *testing.T) {
	s := newShelf(t, 1_000, 100)
	s.drop(1, 2, 255, 256, 257, 600, 601, 998, 999, 1_000) // the last three are in no range below but as its end
	gone := []uint64{1, 2, 255, 256, 257, 600, 601, 998, 999, 1_000}
	msg, err := s.stream().GetMsg(t.Context(), 500)
	if err != nil {
		t.Fatal(err)
	}
	begin := uint64(500) // the first with its time, or behind it
	for at := msg.Time; ; begin-- {
		before, err := s.stream().GetMsg(t.Context(), begin-1)
		if err != nil {
			t.Fatal(err)
		}
		if before.Time.Before(at) {
			break
		}
	}
	for name, c := range map[string]struct {
		part stream.Range
		want []uint64
	}{
		"all":                           {stream.Range{Last: 1_000}, span(3, 997, gone...)},
		"beyond the end":                {stream.Range{Last: 5_000}, span(3, 997, gone...)},
		"from a message on":             {stream.Range{From: 250, Last: 300}, span(250, 300, gone...)},
		"from one that is gone":         {stream.Range{From: 256, Last: 300}, span(258, 300)},
		"up to one that is gone":        {stream.Range{From: 590, Last: 600}, span(590, 599)},
		"since a time":                  {stream.Range{Since: msg.Time, Last: 1_000}, span(begin, 997, gone...)},
		"since a time, and no further":  {stream.Range{Since: msg.Time, Last: 510}, span(begin, 510)},
		"since a time that is to come":  {stream.Range{Since: time.Now().Add(time.Hour), Last: 1_000}, nil},
		"since a time behind the last":  {stream.Range{Since: msg.Time, Last: 10}, nil},
		"what is gone":                  {stream.Range{From: 255, Last: 257}, nil},
		"behind the end":                {stream.Range{From: 2_000, Last: 3_000}, nil},
		"what is gone at the end":       {stream.Range{From: 998, Last: 1_000}, nil},
		"nothing, of a stream of none":  {stream.Range{}, nil},
		"nothing, since it is reversed": {stream.Range{From: 5, Last: 4}, nil},
		"one":                           {stream.Range{From: 700, Last: 700}, span(700, 700)},
	} {
		t.Run(name, func(t *testing.T) {
			var got []uint64
			err := stream.Read(t.Context(), s.js, "shelf", c.part, func(seq uint64, at time.Time, msg jetstream.Msg) bool {
				if len(msg.Data()) != 100 || at.IsZero() {
					t.Errorf("message %d of %d bytes at %s", seq, len(msg.Data()), at)
				}
				got = append(got, seq)
				return true
			})
			if err != nil {
				t.Error(err)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("messages (-want +got):\n%s", d)
			}
		})
	}
	s.tidy()
}

func TestReadEmpty(t *testing.T) {
	s := newShelf(t, 0, 0)
	for _, part := range []stream.Range{{Last: 10}, {From: 1, Last: 10}, {Since: time.Now(), Last: 10}} {
		if err := stream.Read(t.Context(), s.js, "shelf", part, func(seq uint64, _ time.Time, _ jetstream.Msg) bool {
			t.Errorf("message %d", seq)
			return true
		}); err != nil {
			t.Error(err)
		}
	}
	s.tidy()
}

// Large messages come in several requests, of which none is for more than a few of them.
func TestReadLarge(t *testing.T) {
	s := newShelf(t, 30, 1_000_000)
	got := 0
	if err := stream.Read(t.Context(), s.js, "shelf", stream.Range{Last: 30}, func(uint64, time.Time, jetstream.Msg) bool { got++; return true }); err != nil || got != 30 {
		t.Errorf("%d messages: %v", got, err)
	}
	s.tidy()
}

// Messages that are deleted while they are read are not waited for.
func TestReadWhatGoes(t *testing.T) {
	s := newShelf(t, 300, 100)
	var got []uint64
	if err := stream.Read(t.Context(), s.js, "shelf", stream.Range{Last: 300}, func(seq uint64, _ time.Time, _ jetstream.Msg) bool {
		if got = append(got, seq); seq == 1 {
			s.drop(span(257, 300)...) // none of them is asked for yet
		}
		return true
	}); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff(span(1, 256), got); d != "" {
		t.Errorf("messages (-want +got):\n%s", d)
	}
	s.tidy()
}

// A reader stops when it is told to, and says why.
func TestReadStops(t *testing.T) {
	s := newShelf(t, 1_000, 100)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	gone, leave := context.WithCancel(t.Context())
	leave()
	closed, err := nats.Connect("nats://" + s.line.addr)
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	without, err := jetstream.New(closed)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		ctx  context.Context
		js   jetstream.JetStream
		name string
		take func(seq uint64) bool
		last uint64 // that take was called with
		err  error
	}{
		"take has enough":          {t.Context(), s.js, "shelf", func(seq uint64) bool { return seq < 300 }, 300, nil},
		"take has enough at once":  {t.Context(), s.js, "shelf", func(uint64) bool { return false }, 1, nil},
		"the context ends":         {ctx, s.js, "shelf", func(seq uint64) bool { cancel(); <-ctx.Done(); return seq < 300 }, 0, context.Canceled},
		"the context has ended":    {gone, s.js, "shelf", nil, 0, context.Canceled},
		"no stream":                {t.Context(), s.js, "nothing", nil, 0, jetstream.ErrStreamNotFound},
		"the connection is closed": {t.Context(), without, "shelf", nil, 0, nats.ErrConnectionClosed},
	} {
		t.Run(name, func(t *testing.T) {
			var last uint64
			err := stream.Read(c.ctx, c.js, c.name, stream.Range{Last: 1_000}, func(seq uint64, _ time.Time, _ jetstream.Msg) bool {
				if seq != last+1 {
					t.Errorf("message %d after %d", seq, last)
				}
				last = seq
				return c.take(seq)
			})
			if !errors.Is(err, c.err) {
				t.Errorf("error %v, want %v", err, c.err)
			}
			if c.last > 0 && last != c.last || c.err != nil && last >= 300 {
				t.Errorf("read up to %d, want %d", last, c.last)
			}
		})
	}
	s.tidy()
}

// knower is a JetStream that knows of each consumer before it is made.
type knower struct {
	jetstream.JetStream
	making func(*jetstream.ConsumerConfig)
}

func (k *knower) CreateConsumer(ctx context.Context, name string, c jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	k.making(&c)
	return k.JetStream.CreateConsumer(ctx, name, c)
}

// Whatever happens to the connection, each message comes once and in order.
func TestReadGoesOn(t *testing.T) {
	for name, happens := range map[string]func(s *shelf, seq uint64){
		"the connection is cut": func(s *shelf, seq uint64) {
			if seq == 300 {
				s.line.cut()
			}
		},
		"the connection is cut again and again": func(s *shelf, seq uint64) {
			if seq == 1 {
				s.line.set(300_000, false)
				s.line.cut()
			}
		},
		"the server stops and comes back": func(s *shelf, seq uint64) {
			if seq == 300 {
				s.stop()
				s.start()
			}
		},
		"nothing passes for a while": func(s *shelf, seq uint64) {
			if seq == 1 {
				s.line.set(0, true) // until it is asked again
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShelf(t, 1_500, 1_000)
			made := 0
			js := &knower{s.js, func(*jetstream.ConsumerConfig) {
				if made++; made == 2 {
					s.line.set(s.line.after, false)
				}
			}}
			var got []uint64
			err := stream.Read(t.Context(), js, "shelf", stream.Range{Last: 1_500}, func(seq uint64, _ time.Time, _ jetstream.Msg) bool {
				got = append(got, seq)
				happens(s, seq)
				return true
			})
			if err != nil {
				t.Error(err)
			}
			if d := cmp.Diff(span(1, 1_500), got); d != "" {
				t.Errorf("messages (-want +got):\n%s", d)
			}
			s.line.set(0, false)
			s.tidy()
		})
	}
}

// A reader gives up when each connection is cut before it has brought much.
func TestReadLost(t *testing.T) {
	s := newShelf(t, 3_000, 1_000)
	s.line.set(50_000, false)
	s.line.cut()
	var last uint64
	err := stream.Read(t.Context(), s.js, "shelf", stream.Range{Last: 3_000}, func(seq uint64, _ time.Time, _ jetstream.Msg) bool {
		if seq != last+1 {
			t.Errorf("message %d after %d", seq, last)
		}
		last = seq
		return true
	})
	if !errors.Is(err, stream.ErrLost) || last == 0 || last == 3_000 {
		t.Errorf("read up to %d: %v", last, err)
	}
}

// A reader gives up when nothing comes any more.
func TestReadSilent(t *testing.T) {
	s := newShelf(t, 1_000, 100)
	var last uint64
	err := stream.Read(t.Context(), s.js, "shelf", stream.Range{Last: 1_000, Patience: 200 * time.Millisecond}, func(seq uint64, _ time.Time, _ jetstream.Msg) bool {
		s.line.set(0, true)
		last = seq
		return true
	})
	if !errors.Is(err, stream.ErrSilent) || last == 0 || last == 1_000 {
		t.Errorf("read up to %d: %v", last, err)
	}
}

// That there is no more is for the stream to say, not for a consumer, which may be at a
// server that the others are ahead of.
func TestReadFromOneBehind(t *testing.T) {
	for name, c := range map[string]struct {
		subject string
		part    stream.Range
	}{
		"it has nothing":                   {"shelf.c", stream.Range{From: 1, Last: 3}},
		"it has nothing since then":        {"shelf.c", stream.Range{Last: 3}},
		"it does not have the last":        {"shelf.a", stream.Range{Last: 3}},
		"the last of what is asked for":    {"shelf.a", stream.Range{From: 1, Last: 3}},
		"the last, and more is asked for":  {"shelf.a", stream.Range{From: 1, Last: 9}},
		"the last, since a time, and more": {"shelf.a", stream.Range{Since: time.Now().Add(-time.Hour), Last: 9}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShelf(t, 3, 100)
			var got []uint64
			made := 0
			js := &knower{s.js, func(config *jetstream.ConsumerConfig) {
				if made++; made == 1 {
					config.FilterSubject = c.subject
				}
			}}
			if err := stream.Read(t.Context(), js, "shelf", c.part, func(seq uint64, _ time.Time, _ jetstream.Msg) bool {
				got = append(got, seq)
				return true
			}); err != nil {
				t.Error(err)
			}
			if d := cmp.Diff(span(1, 3), got); d != "" || made != 2 {
				t.Errorf("by %d consumers (-want +got):\n%s", made, d)
			}
			s.tidy()
		})
	}
}
