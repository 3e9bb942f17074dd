package e2e

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents/meter/local"
	"github.com/kgents/kgents/reconcile"
)

// forgetful is the embedded meter as another process would serve it, which answers
// 204 and forgets one event of a hundred the first time that it comes, as OpenMeter
// does when it dies with events in its producer.
type forgetful struct {
	meter http.Handler

	mu   sync.Mutex
	rand *rand.Rand
	sent map[string]int
	lost map[string]bool
}

func newForgetful(t *testing.T) (*forgetful, string) {
	t.Helper()
	store, err := local.Open(t.Context(), local.Config{
		Path: filepath.Join(t.TempDir(), "meter.db"), Meters: local.DefaultMeters(),
		Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	f := &forgetful{meter: store.Handler(), rand: rand.New(rand.NewPCG(3, 5)), sent: map[string]int{}, lost: map[string]bool{}}
	web := httptest.NewServer(f)
	t.Cleanup(web.Close)
	return f, web.URL
}

func (f *forgetful) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		f.meter.ServeHTTP(w, r)
		return
	}
	var events, kept []json.RawMessage
	if err := json.NewDecoder(r.Body).Decode(&events); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	for _, raw := range events {
		var e struct{ ID string }
		_ = json.Unmarshal(raw, &e)
		f.sent[e.ID]++
		if f.sent[e.ID] == 1 && f.rand.IntN(100) == 0 {
			f.lost[e.ID] = true
			continue
		}
		kept = append(kept, raw)
	}
	f.mu.Unlock()
	if len(kept) == 0 {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	body, _ := json.Marshal(kept)
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	f.meter.ServeHTTP(w, r)
}

// An OpenMeter that loses events after its 204: `kgents reconcile` names them,
// mends them with --fix, and every customer's count is then right.
func TestReconcile(t *testing.T) {
	f, url := newForgetful(t)
	dir := t.TempDir()
	p := launch(t, environ("OPENMETER_BASE_URL="+url), dir, "up", "--data", dir, "--api-port", "0")
	want := 0.0
	const n = 2000
	for first := 0; first < n; first += 50 {
		r := usage(first, 50)
		p.send(r)
		for _, number := range r.numbers {
			want += float64(number)
		}
	}
	eventually(t, time.Minute, func() (bool, any) {
		f.mu.Lock()
		defer f.mu.Unlock()
		backlog := p.metric("kgents_backlog_messages")
		return len(f.sent) == n && backlog == "0", backlog
	})
	if got := p.total("agent_tokens"); got == want || len(f.lost) == 0 {
		t.Fatal("nothing was forgotten: the test shows nothing")
	}

	command := func(args ...string) (reconcile.Report, int) {
		t.Helper()
		var report reconcile.Report
		// The backlog may be zero a moment before the last acknowledgement is known.
		for range 100 {
			stdout, stderr, code := run(t, environ("KGENTS_URL="+p.url),
				append([]string{"reconcile", "--since", "1h", "--settle", "0", "--output", "json"}, args...)...)
			if err := json.Unmarshal([]byte(stdout), &report); err != nil {
				t.Fatalf("%v: %s%s", err, stdout, stderr)
			}
			if report.InFlight == 0 {
				return report, code
			}
		}
		t.Fatal("messages are under way for ever")
		return report, 0
	}
	lost := int64(len(f.lost))
	report, code := command()
	if diff := cmp.Diff(reconcile.Counts{InStream: n, InMeter: n - lost, Missing: lost}, report.Total); diff != "" || code != 1 {
		t.Errorf("code %d; a look (-want +got):\n%s", code, diff)
	}
	for _, found := range report.Examples {
		if !f.lost[found.ID] {
			t.Errorf("%s is called %s", found.ID, found.Kind)
		}
	}
	report, code = command("--fix")
	if diff := cmp.Diff(reconcile.Counts{InStream: n, InMeter: n, Missing: lost, Mended: lost}, report.Total); diff != "" || code != 0 {
		t.Errorf("code %d; mending (-want +got):\n%s", code, diff)
	}
	report, code = command("--fix")
	if diff := cmp.Diff(reconcile.Counts{InStream: n, InMeter: n}, report.Total); diff != "" || code != 0 {
		t.Errorf("code %d; after that (-want +got):\n%s", code, diff)
	}
	if got := p.total("agent_tokens"); got != want {
		t.Errorf("the meter counts %v tokens, want %v", got, want)
	}
	for id, times := range f.sent {
		if (times == 2) != f.lost[id] {
			t.Errorf("%s was sent %d times; forgotten: %v", id, times, f.lost[id])
		}
	}
	if got := p.metric("kgents_reconcile_missing_events"); got != "0" {
		t.Errorf("kgents_reconcile_missing_events is %s", got)
	}
	resp, err := http.Post(p.url+"/api/v1/reconcile", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a key the answer is %d", resp.StatusCode)
	}
	if !strings.Contains(p.log(), "the meter and the stream differ") {
		t.Error("the log says nothing of it")
	}
	p.stop()
}
