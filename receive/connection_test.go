package receive_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// serve is a real server with the rig behind it.
func serve(t *testing.T, handler http.Handler, readTimeout time.Duration) string {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	s.Config.ReadTimeout = readTimeout
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// dial sends the bytes of a request over a connection of its own.
func dial(t *testing.T, address, request string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

// requests are good ones as they stand on the wire, up to the body, which is said
// to have some bytes more than it has.
func requests(more int) map[string]string {
	return map[string]string{
		hooks: fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nStripe-Signature: %s\r\nContent-Length: %d\r\n\r\n%s",
			hooks, signature(payment, secret, time.Now()), len(payment)+more, payment),
		events: fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
			events, key, len(usage)+more, usage),
	}
}

// TestEdgeCutBody: the JSON is whole, yet the client said that there is more.
func TestEdgeCutBody(t *testing.T) {
	for _, more := range []int{1, 100_000} { // less and more than is read at first
		for path, request := range requests(more) {
			t.Run(fmt.Sprint(path, more), func(t *testing.T) {
				r := newRig(t, &admitter{}, secret)
				conn := dial(t, serve(t, r, 0), request)
				if err := conn.CloseWrite(); err != nil {
					t.Fatal(err)
				}
				res, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Fatal(err)
				}
				wantProblem(t, res, http.StatusBadRequest)
				if got := r.admitter.identities(); got != nil {
					t.Errorf("admission got %q", got)
				}
			})
		}
	}
}

// TestEdgeSlowClient: a client that stops sending is answered with 408 or cut off
// when the server's time for reading is over.
func TestEdgeSlowClient(t *testing.T) {
	slow := map[string]string{"headers": "POST " + events + " HTTP/1.1\r\nHost: x\r\nX-Slow: "}
	for path, request := range requests(1) {
		slow[path] = request
	}
	for path, request := range requests(100_000) {
		slow[path+" large"] = request
	}
	for name, request := range slow {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, &admitter{}, secret)
			conn := dial(t, serve(t, r, 100*time.Millisecond), request)
			answer, _ := io.ReadAll(conn) // ends when the server closes
			if len(answer) > 0 {
				res, err := http.ReadResponse(bufio.NewReader(strings.NewReader(string(answer))), nil)
				if err != nil {
					t.Fatal(err)
				}
				wantProblem(t, res, http.StatusRequestTimeout)
			}
			if got := r.admitter.identities(); got != nil {
				t.Errorf("admission got %q", got)
			}
		})
	}
}

// TestEdgeClientGoesAway: what has begun to become durable is not given up
// because nobody waits for the answer. It has an end all the same.
func TestEdgeClientGoesAway(t *testing.T) {
	for path, request := range requests(0) {
		t.Run(path, func(t *testing.T) {
			var client context.Context
			begun, done := make(chan struct{}), make(chan struct{})
			a := &admitter{during: func(ctx context.Context) {
				defer close(done)
				close(begun)
				<-client.Done() // the server has seen the client go
				if err := ctx.Err(); err != nil {
					t.Errorf("admission is given up: %v", err)
				}
				if _, ok := ctx.Deadline(); !ok {
					t.Error("admission has no deadline")
				}
			}}
			r := newRig(t, a, secret)
			conn := dial(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				client = req.Context()
				r.ServeHTTP(w, req)
			}), 0), request)
			<-begun
			if err := conn.Close(); err != nil {
				t.Fatal(err)
			}
			<-done
		})
	}
}
