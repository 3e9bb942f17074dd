//go:build linux

package chaos

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// openMeter is OpenMeter's ingest as it was measured to behave, deduplicating by
// source and id, with a fault to misbehave by.
type openMeter struct {
	addr string
	mu   sync.Mutex
	// fault answers instead of the meter; true means that it did. Counted says
	// that the batch has been counted before.
	fault      func(w http.ResponseWriter, r *http.Request, count func()) bool
	counted    map[string]string // source and id → data
	deliveries int
}

type event struct {
	Source, ID string
	Data       json.RawMessage
}

func newOpenMeter(t *testing.T) *openMeter {
	t.Helper()
	o := &openMeter{counted: map[string]string{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o.addr = l.Addr().String()
	server := &http.Server{Handler: o}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close() })
	return o
}

// misbehave sets the fault; nil heals it.
func (o *openMeter) misbehave(fault func(w http.ResponseWriter, r *http.Request, count func()) bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fault = fault
}

func (o *openMeter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	o.mu.Lock()
	fault := o.fault
	o.mu.Unlock()
	if r.Method != http.MethodPost {
		if fault == nil || !fault(w, r, func() {}) {
			_, _ = io.WriteString(w, "[]")
		}
		return
	}
	var events []event
	if err := json.Unmarshal(body, &events); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	for _, e := range events {
		if e.ID == poison {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"title":"Bad Request","status":400,"detail":"this event is refused"}`)
			return
		}
	}
	count := func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		for _, e := range events {
			o.deliveries++
			o.counted[e.Source+" "+e.ID] = string(e.Data)
		}
	}
	if fault != nil && fault(w, r, count) {
		return
	}
	count()
	w.WriteHeader(http.StatusNoContent)
}

// status answers with a status, and a header or none.
func status(code int, header ...string) func(http.ResponseWriter, *http.Request, func()) bool {
	return func(w http.ResponseWriter, _ *http.Request, _ func()) bool {
		if len(header) == 2 {
			w.Header().Set(header[0], header[1])
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"title":"fault","status":%d}`, code)
		return true
	}
}

// silence answers nothing for a while.
func silence(d time.Duration) func(http.ResponseWriter, *http.Request, func()) bool {
	return func(_ http.ResponseWriter, r *http.Request, _ func()) bool {
		select {
		case <-time.After(d):
		case <-r.Context().Done():
		}
		panic(http.ErrAbortHandler)
	}
}

// brokenBody counts, and answers 200 with half a JSON body.
func brokenBody(w http.ResponseWriter, r *http.Request, count func()) bool {
	if r.Method != http.MethodPost {
		return false
	}
	count()
	_, _ = io.WriteString(w, `{"ok":`)
	return true
}

// halfAnswer counts, and ends the connection in the middle of the answer.
func halfAnswer(w http.ResponseWriter, r *http.Request, count func()) bool {
	if r.Method != http.MethodPost {
		return false
	}
	count()
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		_, _ = io.WriteString(conn, "HTTP/1.1 204 No Con")
		conn.Close()
	}
	return true
}
