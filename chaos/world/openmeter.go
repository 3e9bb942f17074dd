//go:build linux

package world

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kgents/kgents/meter"
	"github.com/kgents/kgents/meter/local"
)

// Poison is the id of an event that the meter refuses.
const Poison = "poison"

// OpenMeter is OpenMeter's ingest as it was measured to behave, deduplicating by
// source and id, with a fault to misbehave by.
type OpenMeter struct {
	Addr string
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

func newOpenMeter(t *testing.T) *OpenMeter {
	t.Helper()
	o := &OpenMeter{counted: map[string]string{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o.Addr = l.Addr().String()
	server := &http.Server{Handler: o}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close() })
	return o
}

// Misbehave sets the fault; nil heals it.
func (o *OpenMeter) Misbehave(fault func(w http.ResponseWriter, r *http.Request, count func()) bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fault = fault
}

// View shows what is counted: source and id → data. Nothing is counted meanwhile.
func (o *OpenMeter) View(f func(counted map[string]string)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f(o.counted)
}

// ServeHTTP implements http.Handler.
func (o *OpenMeter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	o.mu.Lock()
	fault := o.fault
	o.mu.Unlock()
	if r.Method != http.MethodPost {
		if fault == nil || !fault(w, r, func() {}) {
			o.read(w, r)
		}
		return
	}
	var events []event
	if err := json.Unmarshal(body, &events); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	for _, e := range events {
		if e.ID == Poison {
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

// read answers what isn't ingest: the meters, sums of none, which leaves the rest to
// what the program has seen itself, and no events.
func (o *OpenMeter) read(w http.ResponseWriter, r *http.Request) {
	var answer any = []any{}
	switch {
	case r.URL.Path == "/api/v1/meters":
		answer = local.DefaultMeters()
	case strings.HasSuffix(r.URL.Path, "/query"):
		answer = meter.Result{Data: []meter.Row{}}
	}
	_ = json.NewEncoder(w).Encode(answer)
}

// Status answers with a status, and a header or none.
func Status(code int, header ...string) func(http.ResponseWriter, *http.Request, func()) bool {
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

// Silence answers nothing for a while.
func Silence(d time.Duration) func(http.ResponseWriter, *http.Request, func()) bool {
	return func(_ http.ResponseWriter, r *http.Request, _ func()) bool {
		select {
		case <-time.After(d):
		case <-r.Context().Done():
		}
		panic(http.ErrAbortHandler)
	}
}

// BrokenBody counts, and answers 200 with half a JSON body.
func BrokenBody(w http.ResponseWriter, r *http.Request, count func()) bool {
	if r.Method != http.MethodPost {
		return false
	}
	count()
	_, _ = io.WriteString(w, `{"ok":`)
	return true
}

// HalfAnswer counts, and ends the connection in the middle of the answer.
func HalfAnswer(w http.ResponseWriter, r *http.Request, count func()) bool {
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
