package app

import (
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

// The wait ends once no connection was open for a while, and in any case.
func TestLingerWait(t *testing.T) {
	type step struct {
		after time.Duration // the step before
		conn  int
		state http.ConnState
	}
	const ms = time.Millisecond
	for _, test := range []struct {
		name  string
		steps []step // before the wait while after is 0
		want  time.Duration
	}{
		{"nobody is there", nil, lingerQuiet},
		{"one never lets go", []step{{0, 1, http.StateNew}}, lingerMost},
		{"one lets go", []step{{0, 1, http.StateNew}, {2000 * ms, 1, http.StateClosed}}, 2*time.Second + lingerQuiet},
		{"one of two lets go", []step{{0, 1, http.StateNew}, {0, 2, http.StateNew}, {1000 * ms, 1, http.StateClosed}}, lingerMost},
		{"one comes back on a new connection", []step{
			{0, 1, http.StateNew},
			{1000 * ms, 1, http.StateClosed},
			{300 * ms, 2, http.StateNew},
			{0, 2, http.StateActive},
			{200 * ms, 2, http.StateClosed},
		}, 1500*ms + lingerQuiet},
		{"one comes again and again", []step{
			{0, 1, http.StateNew},
			{1500 * ms, 1, http.StateClosed},
			{400 * ms, 2, http.StateNew},
			{1500 * ms, 2, http.StateClosed},
			{400 * ms, 3, http.StateNew},
		}, lingerMost},
		{"requests on a kept connection", []step{
			{0, 1, http.StateNew},
			{1000 * ms, 1, http.StateActive},
			{100 * ms, 1, http.StateIdle},
			{900 * ms, 1, http.StateClosed},
		}, 2*time.Second + lingerQuiet},
		{"one is hijacked", []step{{0, 1, http.StateNew}, {0, 1, http.StateHijacked}}, lingerQuiet},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLinger()
				conns := map[int]net.Conn{}
				do := func(s step) {
					if conns[s.conn] == nil {
						in, out := net.Pipe()
						defer out.Close()
						conns[s.conn] = in
					}
					l.track(conns[s.conn], s.state)
				}
				steps := test.steps
				for len(steps) > 0 && steps[0].after == 0 {
					do(steps[0])
					steps = steps[1:]
				}
				began := time.Now()
				go func() {
					for _, s := range steps {
						time.Sleep(s.after)
						do(s)
					}
				}()
				l.wait()
				if got := time.Since(began); got != test.want {
					t.Errorf("the wait took %v, want %v", got, test.want)
				}
			})
		})
	}
}

// Whatever form an answer has, it ends its connection from the stop's begin on,
// also when its request came before.
func TestLingerTells(t *testing.T) {
	for _, test := range []struct {
		name  string
		serve func(w http.ResponseWriter, stop func())
		want  string
	}{
		{"no stop", func(w http.ResponseWriter, _ func()) { w.WriteHeader(http.StatusNoContent) }, ""},
		{"a status", func(w http.ResponseWriter, stop func()) { stop(); w.WriteHeader(http.StatusNoContent) }, "close"},
		{"a body", func(w http.ResponseWriter, stop func()) { stop(); _, _ = w.Write([]byte("ok")) }, "close"},
		{"nothing at all", func(_ http.ResponseWriter, stop func()) { stop() }, "close"},
		{"begun before the stop", func(w http.ResponseWriter, stop func()) { _, _ = w.Write([]byte("o")); stop() }, ""},
		{"a controller", func(w http.ResponseWriter, stop func()) {
			stop()
			w.WriteHeader(http.StatusOK)
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
		}, "close"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newLinger()
			rec := httptest.NewRecorder()
			l.handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				test.serve(w, func() { l.telling.Store(true) })
			})).ServeHTTP(rec, httptest.NewRequest(http.MethodPost, "/", nil))
			if got := rec.Result().Header.Get("Connection"); got != test.want {
				t.Errorf("Connection is %q, want %q", got, test.want)
			}
		})
	}
}
