package consume

import (
	"testing"

	"github.com/kgents/kgents/consume/deadletter"
)

// What is replayed while the meter still refuses it is a letter again, with a
// higher count, though JetStream has seen the same a moment ago; once the meter
// takes it, it is metered once.
func TestReplayThroughSink(t *testing.T) {
	b := newBed(t)
	f := &fakeMeter{bad: map[string]int{"1": 400}}
	store := deadletter.NewStore(b.js, b.config)
	b.publish(0, 1, 3)
	b.sink(f, nil)
	b.eventually("its neighbours are metered", f.has(2))

	letters := func() []deadletter.Stored {
		page, err := store.List(t.Context(), deadletter.Filter{}, 0, 10)
		if err != nil {
			t.Fatal(err)
		}
		return page.Letters
	}
	for count := 1; count <= 3; count++ {
		b.eventually("the event is a letter", func() bool { return len(letters()) == 1 })
		l := letters()[0]
		if l.ID != "1" || l.Count != count {
			t.Errorf("the letter is %+v, want event 1 refused %d times", l, count)
		}
		if count == 3 {
			f.mu.Lock()
			f.bad = nil
			f.mu.Unlock()
		}
		if _, err := store.Replay(t.Context(), l.Seq); err != nil {
			t.Fatal(err)
		}
	}
	b.eventually("the event is metered", f.has(3))
	b.eventually("everything is acknowledged", b.noBacklog)
	b.once(f, 3)
	if l := letters(); len(l) != 0 {
		t.Errorf("%d letters are left", len(l))
	}
}
