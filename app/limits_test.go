package app_test

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kgents/kgents/app"
)

// pipes is a listener whose connections are in memory, so that the server's own
// times pass as fast as the test can say so.
type pipes struct {
	accept chan net.Conn
	closed chan struct{}
}

func newPipes() *pipes { return &pipes{make(chan net.Conn), make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accept:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial() net.Conn {
	ours, theirs := net.Pipe()
	p.accept <- theirs
	return ours
}

// serve runs server until the function that it returns is called.
func serve(server *http.Server, l net.Listener) (stop func()) {
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	return func() {
		_ = server.Close()
		<-done
		time.Sleep(time.Second) // a connection whose request was refused lives half a second on
	}
}

// Whoever is slow is let go of, at the time that the documentation says: in the
// headers, in the body, in reading the answer, and between two requests.
func TestSlowClientsAreLetGo(t *testing.T) {
	const head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n"
	for _, test := range []struct {
		name   string
		begin  string        // sent at once
		every  time.Duration // after which a further byte is sent, for ever; 0 = nothing more
		reads  bool          // whether the client reads the answer
		within time.Duration // of which it is let go of
	}{
		{"nothing at all", "", 0, true, 5 * time.Second},
		{"headers that stop", "POST / HTTP/1.1\r\nX-Slow: ", 0, true, 5 * time.Second},
		{"headers byte by byte", "POST / HTTP/1.1\r\nX-Slow: ", time.Second, true, 5 * time.Second},
		{"a body that stops", head + "\r\nx", 0, true, 30 * time.Second},
		{"a body byte by byte", head + "\r\n", time.Second, true, 30 * time.Second},
		{"a body in chunks, byte by byte", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n", time.Second, true, 30 * time.Second},
		{"an answer that is not read", "GET /long HTTP/1.1\r\nHost: x\r\n\r\n", 0, false, 90 * time.Second},
		{"no second request", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 0, true, 2 * time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mux := http.NewServeMux()
				mux.HandleFunc("GET /long", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1<<20)) })
				mux.HandleFunc("/", func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
				server, l := app.NewServer(mux, slog.New(slog.DiscardHandler)), newPipes()
				defer serve(server, app.Bounded(l))()

				conn, began := l.dial(), time.Now()
				defer conn.Close()
				gone := make(chan struct{})
				go func() {
					defer close(gone)
					_, err := io.WriteString(conn, test.begin)
					for err == nil && test.every > 0 {
						time.Sleep(test.every)
						_, err = io.WriteString(conn, "x")
					}
					if !test.reads {
						for err == nil { // asking again and again shows when it is over
							time.Sleep(time.Second)
							_, err = io.WriteString(conn, "x")
						}
					}
				}()
				if test.reads {
					_, _ = io.Copy(io.Discard, conn)
				} else {
					<-gone
				}
				// A connection whose request was refused lives half a second on.
				if took := time.Since(began); took < test.within || took > test.within+2*time.Second {
					t.Errorf("it was let go of after %v, want %v", took, test.within)
				}
				conn.Close()
				<-gone
			})
		})
	}
}

// A client of too many connections waits to be accepted, until another ends.
func TestConnectionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := newPipes()
		l := app.Bounded(inner)
		defer l.Close()
		accepted := make(chan net.Conn)
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				accepted <- c
			}
		}()
		var first net.Conn
		for range app.MaxConnections {
			ours := inner.dial()
			defer ours.Close()
			first = <-accepted
		}
		late := make(chan net.Conn)
		go func() { late <- inner.dial() }()
		synctest.Wait()
		select {
		case <-late:
			t.Fatal("one too many was accepted")
		default:
		}
		first.Close()
		ours := <-late
		defer ours.Close()
		<-accepted
	})
}

// Headers of more than 32 kB, and the 4 kB that net/http grants on top, are refused.
func TestHeadersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, l := app.NewServer(http.NotFoundHandler(), slog.New(slog.DiscardHandler)), newPipes()
		defer serve(server, l)()
		for size, want := range map[int]int{30_000: 404, 40_000: 431} {
			for name, request := range map[string]string{
				"one header":  "GET / HTTP/1.1\r\nHost: x\r\nX-A: " + strings.Repeat("a", size) + "\r\n\r\n",
				"many":        "GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X-A: aaaa\r\n", size/11) + "\r\n",
				"a long path": "GET /" + strings.Repeat("a", size) + " HTTP/1.1\r\nHost: x\r\n\r\n",
			} {
				conn := l.dial()
				sent := make(chan struct{})
				go func() { defer close(sent); _, _ = io.WriteString(conn, request) }()
				resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil || resp.StatusCode != want {
					t.Errorf("%s of %d bytes: got %v %v, want %d", name, size, resp, err, want)
				}
				conn.Close()
				<-sent
			}
		}
	})
}
