package reconcile_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/consume/deadletter"
	"github.com/kgents/kgents/meter"
	"github.com/kgents/kgents/reconcile"
)

// A meter that answers 204 and forgets one event of a hundred: a run finds exactly
// those, Fix mends exactly those, and the next run finds nothing.
func TestFindsAndMendsWhatWasForgotten(t *testing.T) {
	for _, test := range []struct {
		name       string
		over       time.Duration // of the events' times
		identities int           // of a window
		crowded    bool
	}{
		{"over half an hour", 30 * time.Minute, 0, false},
		{"in windows of 300", 30 * time.Minute, 300, false},
		{"within two seconds", 2 * time.Second, 0, true},
		{"within one second", time.Second, 400, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBed(t)
			r := rand.New(rand.NewPCG(7, 11))
			b.door.forget = func(string) bool { return r.IntN(100) == 0 }
			const n = 600
			b.many(0, n, test.over)
			b.deliver()
			lost := len(b.door.lost)
			if lost == 0 {
				t.Fatal("nothing was forgotten: the test shows nothing")
			}
			change := func(c *reconcile.Config, _ *reconcile.Options) { c.MaxIdentities = test.identities }

			looked := b.run(false, change)
			want := reconcile.Counts{InStream: n, InMeter: int64(n - lost), Missing: int64(lost)}
			if diff := cmp.Diff(want, looked.Total); diff != "" {
				t.Errorf("a run that only looks (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(b.door.lost, named(looked, reconcile.Missing)); diff != "" {
				t.Errorf("what it names (-want +got):\n%s", diff)
			}
			if got := looked.CrowdedSeconds > 0; got != test.crowded {
				t.Errorf("%d crowded seconds", looked.CrowdedSeconds)
			}

			before := len(b.door.sent)
			mended := b.run(true, change)
			want = reconcile.Counts{InStream: n, InMeter: n, Missing: int64(lost), Mended: int64(lost)}
			if diff := cmp.Diff(want, mended.Total); diff != "" {
				t.Errorf("a run that mends (-want +got):\n%s", diff)
			}
			for _, f := range mended.Examples {
				if !f.Mended {
					t.Errorf("%s is not marked as mended", f.ID)
				}
			}
			for id, times := range b.door.sent {
				if again := times == 2; again != b.door.lost[id] {
					t.Errorf("event %s was sent %d times; forgotten: %v", id, times, b.door.lost[id])
				}
			}
			if len(b.door.sent) != before {
				t.Errorf("%d identities were sent, want %d", len(b.door.sent), before)
			}

			after := b.run(true, change)
			if diff := cmp.Diff(reconcile.Counts{InStream: n, InMeter: n}, after.Total); diff != "" || !after.Clean() {
				t.Errorf("the run after that (-want +got):\n%s", diff)
			}
			t.Logf("%d requests for %d events", after.Requests, n)
		})
	}
}

// The report counts by type and customer, and its sums are the totals.
func TestReportsByTypeAndCustomer(t *testing.T) {
	b := newBed(t)
	b.door.forget = func(id string) bool { return id == "lost-1" || id == "lost-2" }
	b.publish(
		b.event("kept", "api.request", "a", time.Minute, `{}`),
		b.event("lost-1", "api.request", "a", time.Minute, `{}`),
		b.event("lost-2", "agent.tokens", "b", 2*time.Minute, `{"tokens":1}`),
	)
	b.deliver()
	got := b.run(false, nil)
	want := []reconcile.Row{
		{Type: "agent.tokens", Customer: "b", Counts: reconcile.Counts{InStream: 1, Missing: 1}},
		{Type: "api.request", Customer: "a", Counts: reconcile.Counts{InStream: 2, InMeter: 1, Missing: 1}},
	}
	if diff := cmp.Diff(want, got.Rows); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// An event of the meter that went past the stream is surplus; one with the same
// identity and other contents is different.
func TestSurplusAndDifferent(t *testing.T) {
	const minute = time.Minute
	for _, test := range []struct {
		name          string
		stream, meter func(b *bed) kgents.Event // nil for none
		want          reconcile.Counts
	}{
		{
			name:  "only in the meter",
			meter: func(b *bed) kgents.Event { return b.event("x", "t", "c", minute, `{}`) },
			want:  reconcile.Counts{InMeter: 1, Surplus: 1},
		},
		{
			name:  "only in the meter, before the period",
			meter: func(b *bed) kgents.Event { return b.event("x", "t", "c", 61*minute, `{}`) },
		},
		{
			name:   "another type",
			stream: func(b *bed) kgents.Event { return b.event("x", "t", "c", minute, `{}`) },
			meter:  func(b *bed) kgents.Event { return b.event("x", "other", "c", minute, `{}`) },
			want:   reconcile.Counts{InStream: 1, InMeter: 1, Different: 1},
		},
		{
			name:   "another customer",
			stream: func(b *bed) kgents.Event { return b.event("x", "t", "c", minute, `{}`) },
			meter:  func(b *bed) kgents.Event { return b.event("x", "t", "other", minute, `{}`) },
			want:   reconcile.Counts{InStream: 1, InMeter: 1, Different: 1},
		},
		{
			name:   "another time",
			stream: func(b *bed) kgents.Event { return b.event("x", "t", "c", minute, `{}`) },
			meter:  func(b *bed) kgents.Event { return b.event("x", "t", "c", 3*minute, `{}`) },
			want:   reconcile.Counts{InStream: 1, InMeter: 1, Different: 1},
		},
		{
			name:   "another time, far from the period",
			stream: func(b *bed) kgents.Event { return b.event("x", "t", "c", minute, `{}`) },
			meter:  func(b *bed) kgents.Event { return b.event("x", "t", "c", 20*24*time.Hour, `{}`) },
			want:   reconcile.Counts{InStream: 1, InMeter: 1, Different: 1},
		},
		{
			name:   "other data",
			stream: func(b *bed) kgents.Event { return b.event("x", "t", "c", minute, `{"tokens":1}`) },
			meter:  func(b *bed) kgents.Event { return b.event("x", "t", "c", minute, `{"tokens":2}`) },
			want:   reconcile.Counts{InStream: 1, InMeter: 1, Different: 1},
		},
		{
			name:   "the same data, written otherwise",
			stream: func(b *bed) kgents.Event { return b.event("x", "t", "c", minute, `{"a":1.0,"b":{"c":null,"d":"é"}}`) },
			meter: func(b *bed) kgents.Event {
				return b.event("x", "t", "c", minute, ` { "b" : {"d":"\u00e9","c":null}, "a":1 }`)
			},
			want: reconcile.Counts{InStream: 1, InMeter: 1},
		},
		{
			name: "a time cut to seconds, as OpenMeter stores it",
			stream: func(b *bed) kgents.Event {
				return b.event("x", "t", "c", minute-987*time.Millisecond, `{}`)
			},
			meter: func(b *bed) kgents.Event { return b.event("x", "t", "c", minute, `{}`) },
			want:  reconcile.Counts{InStream: 1, InMeter: 1},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBed(t)
			if test.meter != nil {
				b.ingest(test.meter(b))
			}
			if test.stream != nil {
				b.publish(test.stream(b))
				b.deliver() // the meter has the identity already and keeps what it has
			}
			got := b.run(true, nil)
			if diff := cmp.Diff(test.want, got.Total); diff != "" {
				t.Errorf("totals (-want +got):\n%s", diff)
			}
			if named := len(got.Examples); named != int(test.want.Surplus+test.want.Different) {
				t.Errorf("%d events are named: %v", named, got.Examples)
			}
		})
	}
}

// The clocks of clients are wrong, and windows cut anywhere: nothing that is in
// the stream is called surplus, and what is lost is found wherever it says it is.
func TestClocksThatAreWrong(t *testing.T) {
	b := newBed(t)
	b.door.forget = func(id string) bool { return len(id) > 5 && id[:5] == "lost-" }
	want := map[string]bool{}
	for i, ago := range []time.Duration{0, time.Second, -time.Second, -30 * time.Minute, 40 * time.Minute, 3 * time.Hour, 25 * 24 * time.Hour, -365 * 24 * time.Hour, 5 * 365 * 24 * time.Hour} {
		b.publish(b.event(fmt.Sprint("lost-", i), "t", "c", ago, `{}`), b.event(fmt.Sprint("kept-", i), "t", "c", ago, `{}`))
		want[fmt.Sprint("lost-", i)] = true
	}
	b.deliver()
	for _, identities := range []int{0, 2, 4} {
		got := b.run(false, func(c *reconcile.Config, _ *reconcile.Options) { c.MaxIdentities = identities })
		if diff := cmp.Diff(reconcile.Counts{InStream: 18, InMeter: 9, Missing: 9}, got.Total); diff != "" {
			t.Errorf("in windows of %d (-want +got):\n%s", identities, diff)
		}
		if diff := cmp.Diff(want, named(got, reconcile.Missing)); diff != "" {
			t.Errorf("in windows of %d, named (-want +got):\n%s", identities, diff)
		}
	}
}

// What a sink has not acknowledged is under way, and so is what lies behind it.
func TestInFlightIsNotMissing(t *testing.T) {
	b := newBed(t)
	b.publish(b.event("1", "t", "c", time.Minute, `{}`))
	b.deliver()
	b.publish(b.event("2", "t", "c", time.Minute, `{}`))
	b.publish(b.event("3", "t", "c", time.Minute, `{}`))
	b.publish(b.event("4", "t", "c", time.Minute, `{}`))
	held := b.acknowledge(2, false) // a sink has 2 and 3
	if err := held[1].DoubleAck(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := b.run(true, nil)
	if diff := cmp.Diff(reconcile.Counts{InStream: 1, InMeter: 1}, got.Total); diff != "" || got.InFlight != 3 {
		t.Errorf("%d messages are under way, want 3; totals (-want +got):\n%s", got.InFlight, diff)
	}
	b.ingest(b.event("4", "t", "c", time.Minute, `{}`)) // the sink is a moment before its acknowledgement
	if got := b.run(true, nil); !got.Clean() {
		t.Errorf("what the meter has before its acknowledgement is called %+v", got.Total)
	}
	if err := held[0].DoubleAck(t.Context()); err != nil {
		t.Fatal(err)
	}
	got = b.run(false, nil)
	want := reconcile.Counts{InStream: 3, InMeter: 1, Missing: 2}
	if diff := cmp.Diff(want, got.Total); diff != "" || got.InFlight != 1 {
		t.Errorf("acknowledged though never delivered: %d under way, (-want +got):\n%s", got.InFlight, diff)
	}
}

// Before the first sink there is nothing to compare.
func TestNoSinkYet(t *testing.T) {
	b := newBed(t)
	if err := b.streams.Events.DeleteConsumer(t.Context(), "sink"); err != nil {
		t.Fatal(err)
	}
	b.publish(b.event("1", "t", "c", time.Minute, `{}`))
	if got := b.run(true, nil); got.Total != (reconcile.Counts{}) || got.InFlight != 1 {
		t.Errorf("%+v", got)
	}
}

func TestDeadLettersAreNotMissing(t *testing.T) {
	b := newBed(t)
	b.door.refuse["bad"] = true
	b.door.forget = func(id string) bool { return id == "lost" }
	b.publish(b.event("good", "t", "c", time.Minute, `{}`), b.event("bad", "t", "c", time.Minute, `{}`), b.event("lost", "t", "c", time.Minute, `{}`))
	b.deliver()
	got := b.run(true, nil)
	want := reconcile.Counts{InStream: 3, InMeter: 2, Missing: 1, Mended: 1, DeadLetters: 1}
	if diff := cmp.Diff(want, got.Total); diff != "" {
		t.Errorf("totals (-want +got):\n%s", diff)
	}
}

// A dead letter that is being replayed is under way again, and not missing.
func TestReplayedIsInFlight(t *testing.T) {
	b := newBed(t)
	b.door.refuse["bad"] = true
	b.publish(b.event("good", "t", "c", time.Minute, `{}`), b.event("bad", "t", "c", time.Minute, `{}`))
	b.deliver()
	if _, err := deadletter.NewStore(b.js, b.config).Replay(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	got := b.run(true, nil)
	if diff := cmp.Diff(reconcile.Counts{InStream: 2, InMeter: 1, Unchecked: 1}, got.Total); diff != "" || got.InFlight != 1 {
		t.Errorf("%d under way; totals (-want +got):\n%s", got.InFlight, diff)
	}
	delete(b.door.refuse, "bad")
	b.deliver()
	got = b.run(true, nil)
	if diff := cmp.Diff(reconcile.Counts{InStream: 2, InMeter: 2}, got.Total); diff != "" {
		t.Errorf("after it has arrived (-want +got):\n%s", diff)
	}
}

// An event that the meter refuses now, though it answered 204 before, stays
// missing, and its neighbours are mended.
func TestRefusedWhenSentAgain(t *testing.T) {
	b := newBed(t)
	b.door.forget = func(string) bool { return true }
	b.many(0, 20, 10*time.Minute)
	b.deliver()
	b.door.refuse["evt-000007"] = true
	got := b.run(true, func(c *reconcile.Config, _ *reconcile.Options) { c.Patience = 300 * time.Millisecond })
	want := reconcile.Counts{InStream: 20, InMeter: 19, Missing: 20, Mended: 19}
	if diff := cmp.Diff(want, got.Total); diff != "" || got.Total.Lost() != 1 {
		t.Errorf("totals (-want +got):\n%s", diff)
	}
}

// A meter that is away for a moment costs a wait; one that stays away ends the
// run with an error, and nothing is called missing.
func TestMeterAway(t *testing.T) {
	b := newBed(t)
	b.many(0, 100, 10*time.Minute)
	b.deliver()
	b.door.away = 1
	if got := b.run(true, nil); !got.Clean() {
		t.Errorf("%+v", got.Total)
	}
	b.door.away = 1 << 30
	o := reconcile.Options{Since: time.Now().Add(-time.Hour), Until: time.Now(), Fix: true}
	got, err := reconcile.Run(t.Context(), b.reconciler(), o)
	if meter.Classify(err) != meter.Retry || err == nil || !got.Clean() {
		t.Errorf("%+v, %v", got.Total, err)
	}
}

// The period chooses what the stream stored in it.
func TestPeriod(t *testing.T) {
	b := newBed(t)
	b.door.forget = func(string) bool { return true }
	b.publish(b.event("before", "t", "c", 0, `{}`))
	time.Sleep(20 * time.Millisecond)
	from := time.Now()
	b.publish(b.event("in", "t", "c", 0, `{}`))
	time.Sleep(20 * time.Millisecond)
	to := time.Now()
	b.publish(b.event("after", "t", "c", 0, `{}`))
	b.deliver()
	got := b.run(false, func(_ *reconcile.Config, o *reconcile.Options) { o.Since, o.Until = from, to })
	if diff := cmp.Diff(map[string]bool{"in": true}, named(got, reconcile.Missing)); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
	_, err := reconcile.Run(t.Context(), b.reconciler(), reconcile.Options{Since: to, Until: from})
	if kgents.ErrorCode(err) != kgents.CodeInvalid {
		t.Errorf("an empty period: %v", err)
	}
}
