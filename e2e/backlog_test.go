package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// openMeter is OpenMeter's ingest as it was measured to behave: it takes a batch
// as a whole or refuses it as a whole, deduplicates by source and id, and can be
// away. It is a fake since the real one is a cloud service.
type openMeter struct {
	*httptest.Server
	mu         sync.Mutex
	status     int  // what it answers; 0 = it works
	healed     bool // it takes poison
	counted    map[string]int
	deliveries int // events, repeated ones included
}

func newOpenMeter(t *testing.T) *openMeter {
	o := &openMeter{counted: map[string]int{}}
	o.Server = httptest.NewServer(o)
	t.Cleanup(o.Close)
	return o
}

func (o *openMeter) answer(status int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.status = status
}

// heal makes it take what it has refused.
func (o *openMeter) heal() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.healed = true
}

func (o *openMeter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.status != 0 {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(o.status)
		fmt.Fprintf(w, `{"title":"not now","status":%d}`, o.status)
		return
	}
	if r.Method != http.MethodPost || r.URL.Path != "/api/v1/events" || r.Header.Get("Authorization") != "Bearer om_key" {
		_, _ = io.WriteString(w, "[]")
		return
	}
	var events []struct {
		Source, ID string
		Data       struct{ Agent string }
	}
	if err := json.NewDecoder(r.Body).Decode(&events); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	for _, e := range events {
		if e.Data.Agent == "poison" && !o.healed {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"title":"Bad Request","status":400,"detail":"this event is refused"}`)
			return
		}
	}
	for _, e := range events {
		o.deliveries++
		o.counted[e.Source+" "+e.ID]++
	}
	w.WriteHeader(http.StatusNoContent)
}

func (o *openMeter) events() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.counted)
}

// withMeter starts `kgents up` with a remote meter.
func withMeter(t *testing.T, o *openMeter, dir string) *process {
	return launch(t, environ("OPENMETER_BASE_URL="+o.URL, "OPENMETER_API_KEY=om_key"), dir, "up", "--data", dir, "--api-port", "0")
}

func (p *process) send(r request) {
	p.t.Helper()
	if status, err := r.send(http.DefaultClient, p.url); err != nil || status != http.StatusNoContent {
		p.t.Fatalf("answered %d, %v", status, err)
	}
}

// metric returns the value of a sample, named with its labels.
func (p *process) metric(name string) string {
	_, text := p.get("/metrics")
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return "absent"
}

// A backlog that builds up while the meter is away is counted once when it is
// back, whatever happens to the program in between; an event that the meter
// refuses takes none of its neighbours with it.
func TestBacklog(t *testing.T) {
	o := newOpenMeter(t)
	dir := t.TempDir()
	o.answer(http.StatusServiceUnavailable)

	p := withMeter(t, o, dir)
	for n := 0; n < 2000; n += 50 {
		p.send(usage(n, 50))
	}
	poison := usage(2000, 3)
	poison.body = []byte(strings.Replace(string(poison.body), `"agent":"a"`, `"agent":"poison"`, 1))
	p.send(poison)
	eventually(t, 30*time.Second, func() (bool, any) {
		_, health := p.get("/health/saas")
		backlog := p.metric("kgents_backlog_messages")
		return strings.Contains(health, `"degraded"`) && backlog != "0" && backlog != "absent", health + backlog
	})
	p.stop() // while the meter is away and everything waits

	p = withMeter(t, o, dir)
	p.send(usage(2003, 7)) // a backlog hinders nobody
	p.kill()

	o.answer(http.StatusUnauthorized) // the key is refused: the events aren't to blame
	p = withMeter(t, o, dir)
	eventually(t, 30*time.Second, func() (bool, any) {
		v := p.metric(`kgents_openmeter_flush_errors_total{class="blocked"}`)
		return v != "0" && v != "absent", v
	})
	o.answer(0)
	eventually(t, time.Minute, func() (bool, any) { return o.events() == 2009, o.events() })
	eventually(t, time.Minute, func() (bool, any) {
		backlog, dead := p.metric("kgents_backlog_messages"), p.metric(`kgents_deadletters_total{reason="refused"}`)
		return backlog == "0" && dead == "1", fmt.Sprintf("backlog %s, dead letters %s", backlog, dead)
	})
	for n := range 2010 {
		want := 1
		if n == 2000 {
			want = 0 // the poison
		}
		if got := min(1, o.counted[fmt.Sprint("e2e evt-", n)]); got != want {
			t.Errorf("event %d: counted %d times, want %d", n, got, want)
		}
	}
	t.Logf("%d events in %d deliveries", o.events(), o.deliveries)
	if _, body := p.get("/health"); !strings.Contains(body, `"ok"`) {
		t.Errorf("health after all: %s", body)
	}
	p.stop()
}

// The embedded meter counts a backlog once too: requests that were acknowledged
// right before a kill, again and again.
func TestRestarts(t *testing.T) {
	dir := t.TempDir()
	want, next := 0.0, 0
	for range 5 {
		p := up(t, dir)
		for range 20 {
			r := usage(next, 10)
			p.send(r)
			p.send(r) // a client that didn't get the answer
			for _, n := range r.numbers {
				want += float64(n)
			}
			next += 10
		}
		p.kill()
	}
	p := up(t, dir)
	p.send(usage(0, 10)) // from before five restarts: memory has forgotten it, the meter hasn't
	eventually(t, time.Minute, func() (bool, any) {
		got := p.total("agent_tokens")
		return got == want && p.metric("kgents_backlog_messages") == "0", fmt.Sprintf("tokens %v, want %v", got, want)
	})
	p.stop()
}
