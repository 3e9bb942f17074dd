package entitle

import (
	"context"
	"testing"
	"time"
)

// Who sends one by one and asks in between is refused exactly at the limit, though it
// only asks and reserves nothing.
func TestWhoAsksAfterItsUsage(t *testing.T) {
	b := newBed(t)
	b.people.put("acme", "free")
	b.sink()
	e := b.engine(nil)
	b.says(e, "acme", 0)
	for sent := int64(0); ; sent += 100 {
		a, err := e.Check("acme", "tokens", 100, nil)
		if err != nil {
			t.Fatal(err)
		}
		if a.Used != sent {
			t.Fatalf("after %d tokens were sent, %d are used", sent, a.Used)
		}
		if !a.Allowed {
			if sent != 1000 {
				t.Errorf("refused at %d, want 1000", sent)
			}
			return
		}
		ack, err := b.js.PublishMsg(t.Context(), encode(tokens("acme", 100)))
		if err != nil {
			t.Fatal(err)
		}
		e.CatchUp(t.Context(), ack.Sequence)
	}
}

// Nobody waits for what doesn't come.
func TestCatchUpIsBounded(t *testing.T) {
	b := newBed(t)
	b.sink()
	e := b.engine(nil)
	b.eventually("the stream is followed", e.live.Load)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct {
		name    string
		ctx     context.Context
		seq     uint64
		at, end time.Duration
	}{
		{"a message that is read", t.Context(), e.at.Load(), 0, CatchUpFor / 2},
		{"a message that never comes", t.Context(), 1 << 40, CatchUpFor, time.Minute},
		{"a caller that has gone", ended, 1 << 40, 0, CatchUpFor / 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			best := time.Hour // of several: the machine may be busy
			for range 5 {
				began := time.Now()
				e.CatchUp(test.ctx, test.seq)
				best = min(best, time.Since(began))
			}
			if best < test.at || best > test.end {
				t.Errorf("it took %v, want %v to %v", best, test.at, test.end)
			}
		})
	}
	if n := e.caught.n.Load(); n != 0 {
		t.Errorf("%d wait still", n)
	}
	e.live.Store(false)
	began := time.Now()
	e.CatchUp(t.Context(), 1<<40)
	if took := time.Since(began); took > CatchUpFor/2 {
		t.Errorf("with a tail that reads nothing it took %v", took)
	}
}
