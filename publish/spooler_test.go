package publish_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/publish"
	"github.com/kgents/kgents/publish/spool"
)

// startSpooled starts a publisher with a spool in dir.
func startSpooled(t *testing.T, s publish.Sender, dir string, maxBytes int64) (p *publish.Publisher, disk *spool.Spool, log *bytes.Buffer) {
	t.Helper()
	log = &bytes.Buffer{}
	reg, logger := prometheus.NewRegistry(), slog.New(slog.NewTextHandler(log, nil))
	disk, err := spool.Open(spool.Config{Dir: dir, MaxBytes: maxBytes, Log: logger, Registerer: reg})
	if err != nil {
		t.Fatal(err)
	}
	p = publish.New(publish.Config{
		Sender: s, Stream: "events", MaxPayload: func() int64 { return 0 }, Spool: disk, Log: logger, Registerer: reg,
	})
	t.Cleanup(func() { p.Close(); disk.Close() })
	return p, disk, log
}

// While NATS is away events are taken by the local disk; when it is back they
// reach it in their order under the ids they had, and new ones don't wait.
func TestSpool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var away atomic.Bool
		away.Store(true)
		s := &sender{fail: func(int) error {
			if away.Load() {
				return errors.New("no answer")
			}
			return nil
		}}
		p, disk, log := startSpooled(t, s, t.TempDir(), 1<<20)
		var want []string
		for i := range 20 {
			e := event(fmt.Sprintf(`{"id":"%d"}`, i))
			if err := p.Publish(t.Context(), []kgents.Event{e}); err != nil {
				t.Fatalf("event %d: %v", i, err)
			}
			want = append(want, "["+string(e.Raw)+"]")
		}
		synctest.Wait()
		if len(s.bodies) != 0 || disk.Status().Messages != 20 || p.Breaker().State() != publish.Open {
			t.Fatalf("%d messages in NATS, %d on disk, circuit %v", len(s.bodies), disk.Status().Messages, p.Breaker().State())
		}
		firstID := s.ids[0]
		s.mu.Lock()
		s.ids = nil
		s.mu.Unlock()
		away.Store(false)
		time.Sleep(35 * time.Second) // the breaker's 30 s, and the pauses around them
		synctest.Wait()
		if d := cmp.Diff(want, s.bodies); d != "" {
			t.Errorf("messages (-want +got):\n%s", d)
		}
		if s.ids[0] != firstID {
			t.Errorf("the first message had the id %s and now %s", firstID, s.ids[0])
		}
		if st := disk.Status(); st.Messages != 0 || st.Bytes != 0 {
			t.Errorf("on disk still: %+v", st)
		}
		if p.Breaker().State() != publish.Closed {
			t.Errorf("circuit %v", p.Breaker().State())
		}
		for _, line := range []string{"events go to local disk", "the spool is empty again"} {
			if n := strings.Count(log.String(), line); n != 1 {
				t.Errorf("%q was logged %d times, want once", line, n)
			}
		}
		p.Close()
	})
}

// A spool that is full or fails leaves the answer that there is without one.
func TestSpoolFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sender{fail: func(int) error { return errors.New("no answer") }}
		p, disk, _ := startSpooled(t, s, t.TempDir(), 600)
		var codes []kgents.Code
		for i := range 6 {
			codes = append(codes, kgents.ErrorCode(p.Publish(t.Context(), []kgents.Event{event(fmt.Sprintf(`{"id":"%d"}`, i))})))
		}
		full := slices.Index(codes, kgents.CodeUnavailable)
		if full < 1 || slices.Contains(codes[full:], "") {
			t.Errorf("answers %q, want some taken and all after them refused", codes)
		}
		if disk.Status().Messages != full {
			t.Errorf("%d on disk, %d acknowledged", disk.Status().Messages, full)
		}
		p.Close()
	})
}

// What was on disk at a stop is published after the next start.
func TestSpoolOutlivesRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		away := &sender{fail: func(int) error { return errors.New("no answer") }}
		p, disk, _ := startSpooled(t, away, dir, 1<<20)
		if err := p.Publish(t.Context(), []kgents.Event{event("1")}); err != nil {
			t.Fatal(err)
		}
		p.Close()
		disk.Close()
		back := &sender{}
		p, disk, _ = startSpooled(t, back, dir, 1<<20)
		time.Sleep(time.Second)
		synctest.Wait()
		if d := cmp.Diff([]string{"[1]"}, back.bodies); d != "" {
			t.Errorf("messages (-want +got):\n%s", d)
		}
		if disk.Status().Messages != 0 {
			t.Error("it is still on disk")
		}
		p.Close()
	})
}
