package app

import (
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// lingerMost is how long a stopping api waits for its clients to let go of their
	// connections. It covers a client's pause between two requests, and with 5 s of
	// preStop before it and requestDrain after it stays far below the 60 s after
	// which Kubernetes kills.
	lingerMost = 5 * time.Second

	// lingerQuiet is how long no connection may have been open before the wait is
	// over early: a client that was told to come back on a new connection finds
	// somebody there.
	lingerQuiet = 500 * time.Millisecond
)

// linger lets HTTP end without cutting off a request. A server that closes an idle
// connection may do so just as the client sends its next POST on it, which the
// client then can't know to be taken or not. So the connection is ended by the
// answer to a request, with `Connection: close`, and only what has been silent for
// lingerMost is closed without one.
type linger struct {
	mu      sync.Mutex
	open    map[net.Conn]struct{}
	changed chan struct{} // closed at the next change of open

	telling atomic.Bool // clients are told to let go
}

func newLinger() *linger {
	return &linger{open: map[net.Conn]struct{}{}, changed: make(chan struct{})}
}

// track is the server's ConnState.
func (l *linger) track(c net.Conn, s http.ConnState) {
	switch s {
	case http.StateNew, http.StateClosed, http.StateHijacked:
	default:
		return // active and idle come with every request
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if s == http.StateNew {
		l.open[c] = struct{}{}
	} else {
		delete(l.open, c)
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// wait tells clients to let go, and returns when no connection has been open for
// lingerQuiet, or after lingerMost.
func (l *linger) wait() {
	l.telling.Store(true)
	most := time.NewTimer(lingerMost)
	defer most.Stop()
	for {
		l.mu.Lock()
		open, changed := len(l.open), l.changed
		l.mu.Unlock()
		var quiet <-chan time.Time // never, while a connection is open
		if open == 0 {
			quiet = time.After(lingerQuiet)
		}
		select {
		case <-quiet:
			return
		case <-most.C:
			return
		case <-changed:
		}
	}
}

// handler is next, whose answers end their connections while wait tells so.
func (l *linger) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := closing{ResponseWriter: w, linger: l}
		next.ServeHTTP(c, r)
		c.tell() // an answer without a body may not have been begun
	})
}

// closing is asked when the answer begins, not when the request came: a request
// that was under way when the stop began ends its connection too.
type closing struct {
	http.ResponseWriter
	linger *linger
}

func (c closing) tell() {
	if c.linger.telling.Load() {
		c.Header().Set("Connection", "close")
	}
}

// WriteHeader implements http.ResponseWriter.
func (c closing) WriteHeader(status int) {
	if status >= http.StatusOK {
		c.tell()
	}
	c.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (c closing) Write(b []byte) (int, error) {
	c.tell()
	return c.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (c closing) Unwrap() http.ResponseWriter { return c.ResponseWriter }
