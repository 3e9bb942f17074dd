package reconcile

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/stream/streamtest"
)

func turnsOn(js jetstream.JetStream) turns {
	return Config{JetStream: js, Stream: stream.Config{Name: "events", Replicas: 1}}.turns()
}

func bucket(t *testing.T, js jetstream.JetStream) jetstream.KeyValue {
	t.Helper()
	kv, err := js.KeyValue(t.Context(), "events-reconcile")
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

// A turn comes once an interval, whoever had the last one and whatever became of
// them.
func TestTake(t *testing.T) {
	js, _ := streamtest.Start(t)
	turns := turnsOn(js)
	began := time.Now()
	for _, step := range []struct {
		name   string
		before func()
		now    time.Duration // since the test began
		mine   bool
		rest   time.Duration // to the minute
	}{
		{"the first", nil, 0, true, time.Hour},
		{"at once again", nil, 0, false, time.Hour},
		{"after a while", nil, 20 * time.Minute, false, 40 * time.Minute},
		{"a little early", nil, 55 * time.Minute, true, time.Hour}, // so the bucket says that a turn has begun at 0
		{"with a clock that is behind", nil, -3 * time.Hour, false, time.Hour},
		{"much later", nil, 100 * time.Hour, true, time.Hour},
		{"after the key was deleted", func() {
			if err := bucket(t, js).Delete(t.Context(), keyTurn); err != nil {
				t.Fatal(err)
			}
		}, 0, true, time.Hour},
		{"after the bucket was deleted", func() {
			if err := js.DeleteKeyValue(t.Context(), "events-reconcile"); err != nil {
				t.Fatal(err)
			}
		}, 0, true, time.Hour},
		{"and again", nil, 0, false, time.Hour},
	} {
		if step.before != nil {
			step.before()
		}
		turns.now = func() time.Time { return began.Add(step.now) }
		mine, rest, err := turns.take(t.Context(), time.Hour)
		if err != nil || mine != step.mine || (rest-step.rest).Abs() > time.Minute {
			t.Errorf("%s: mine is %v, rest %v, error %v; want %v, %v", step.name, mine, rest, err, step.mine, step.rest)
		}
	}
}

// Of those who ask at once, one has the turn, the first time and later.
func TestTakeAtOnce(t *testing.T) {
	js, _ := streamtest.Start(t)
	turns := turnsOn(js)
	if _, err := turns.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	for round := range 5 {
		// A turn that began before now is long enough ago, and one that begins now isn't.
		began, interval := time.Now(), time.Duration(round+1)*time.Hour
		turns.now = func() time.Time { return began.Add(interval - interval/10) }
		var winners atomic.Int64
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				mine, _, err := turns.take(t.Context(), interval)
				if err != nil {
					t.Error(err)
				}
				if mine {
					winners.Add(1)
				}
			})
		}
		all.Wait()
		if got := winners.Load(); got != 1 {
			t.Errorf("round %d: %d have the turn, want 1", round, got)
		}
	}
}

// What one publishes the others read, and nothing else.
func TestResult(t *testing.T) {
	js, stop := streamtest.Start(t)
	turns := turnsOn(js)
	if r, err := turns.result(t.Context()); err != nil || r != (result{}) {
		t.Errorf("without a bucket: %+v, %v", r, err)
	}
	if _, err := turns.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r, err := turns.result(t.Context()); err != nil || r != (result{}) {
		t.Errorf("before the first run: %+v, %v", r, err)
	}
	want := result{At: time.Now().UTC().Round(0), Missing: 7}
	if err := turns.publish(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if r, err := turns.result(t.Context()); err != nil || r != want {
		t.Errorf("read %+v, %v; want %+v", r, err, want)
	}
	for _, bad := range []string{"", "x", "{}", `{"at":"yesterday"}`, `{"at":"2026-01-01T00:00:00Z","missing":-1}`} {
		if _, err := bucket(t, js).PutString(t.Context(), keyResult, bad); err != nil {
			t.Fatal(err)
		}
		if r, err := turns.result(t.Context()); err == nil || r != (result{}) || !strings.Contains(err.Error(), "delete it") {
			t.Errorf("%q is read as %+v, %v", bad, r, err)
		}
	}
	stop()
	if _, err := turns.result(t.Context()); err == nil {
		t.Error("without NATS there is a result")
	}
}

func TestMetrics(t *testing.T) {
	at := func(minute int) time.Time { return time.Unix(int64(minute)*60, 0).UTC() }
	const help = "# HELP kgents_reconcile_missing_events Events that the last complete reconciliation did not find in the meter and did not mend.\n" +
		"# TYPE kgents_reconcile_missing_events gauge\n"
	for _, test := range []struct {
		name    string
		do      func(m *metrics)
		missing string // "" = absent
		success string
	}{
		{"nothing known", func(*metrics) {}, "", "0"},
		{"nobody has run", func(m *metrics) { m.read(result{}) }, "", "0"},
		{"its own run", func(m *metrics) { m.ran(result{at(1), 3}) }, "3", "60"},
		{"another's run", func(m *metrics) { m.read(result{at(1), 3}) }, "3", "60"},
		{"another's after its own", func(m *metrics) { m.ran(result{at(1), 3}); m.read(result{at(2), 0}) }, "0", "120"},
		{"its own, which it could not publish", func(m *metrics) { m.ran(result{at(2), 3}); m.read(result{at(1), 0}) }, "3", "120"},
		{"its own, and the bucket has gone", func(m *metrics) { m.ran(result{at(2), 3}); m.read(result{}) }, "3", "120"},
		{"NATS away for a while", func(m *metrics) { m.read(result{at(1), 3}); time.Sleep(4 * time.Minute); m.unread() }, "3", "60"},
		{"NATS away for long", func(m *metrics) { m.read(result{at(1), 3}); time.Sleep(followStale); m.unread() }, "", "60"},
		{"NATS away after its own run", func(m *metrics) { m.ran(result{at(1), 3}); time.Sleep(followStale); m.unread() }, "", "60"},
		{"NATS back", func(m *metrics) {
			m.read(result{at(1), 3})
			time.Sleep(followStale)
			m.unread()
			m.read(result{at(1), 3})
		}, "3", "60"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				reg := prometheus.NewPedanticRegistry()
				m := newMetrics(reg)
				test.do(m)
				want := "# HELP kgents_reconcile_last_success_timestamp_seconds When a reconciliation last came to its end; 0 before the first.\n" +
					"# TYPE kgents_reconcile_last_success_timestamp_seconds gauge\nkgents_reconcile_last_success_timestamp_seconds " + test.success + "\n"
				if test.missing != "" {
					want += help + "kgents_reconcile_missing_events " + test.missing + "\n"
				}
				if err := testutil.GatherAndCompare(reg, strings.NewReader(want),
					"kgents_reconcile_missing_events", "kgents_reconcile_last_success_timestamp_seconds"); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// These subjects, beside those of the stream itself, are what the role sink must be
// allowed to publish on in NATS.
func TestPermissions(t *testing.T) {
	allowed := []string{
		"$JS.API.INFO",
		"$JS.API.STREAM.INFO.KV_events-reconcile",
		"$JS.API.STREAM.CREATE.KV_events-reconcile",
		"$JS.API.STREAM.UPDATE.KV_events-reconcile",
		"$JS.API.DIRECT.GET.KV_events-reconcile.>",
		"$KV.events-reconcile.*",
	}
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), SyncAlways: true, NoSigs: true, NoLog: true,
		Users: []*server.User{{Username: "sink", Password: "sink", Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: allowed},
			Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.kgents-sink.>"}},
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(30 * time.Second) {
		t.Fatal("the NATS server does not start")
	}
	var refused atomic.Value
	nc, err := nats.Connect(s.ClientURL(), nats.UserInfo("sink", "sink"), nats.CustomInboxPrefix("_INBOX.kgents-sink"),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused.CompareAndSwap(nil, err.Error()) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	turns := turnsOn(js)
	for want := true; ; want = false { // with a new bucket, and with one that is there
		if mine, _, err := turns.take(t.Context(), time.Hour); err != nil || mine != want {
			t.Errorf("take: %v, %v; NATS refused %v", mine, err, refused.Load())
		}
		if err := turns.publish(t.Context(), result{At: time.Now()}); err != nil {
			t.Errorf("publish: %v; NATS refused %v", err, refused.Load())
		}
		if _, err := turns.result(t.Context()); err != nil {
			t.Errorf("result: %v; NATS refused %v", err, refused.Load())
		}
		if !want {
			break
		}
	}
	if mine, _, err := turns.take(t.Context(), time.Nanosecond); err != nil || !mine {
		t.Errorf("take again: %v, %v; NATS refused %v", mine, err, refused.Load())
	}
}
