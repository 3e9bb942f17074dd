package history

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// memory is a store that can be away.
type memory struct {
	mu     sync.Mutex
	away   bool
	keys   map[string][]Entry
	merges int
}

func (m *memory) merge(_ context.Context, key string, entries []Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.away {
		return errors.New("away")
	}
	if m.keys == nil {
		m.keys = map[string][]Entry{}
	}
	m.keys[key] = merged(m.keys[key], entries)
	m.merges++
	return nil
}

func (m *memory) all(context.Context) (all []Entry, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.away {
		return nil, errors.New("away")
	}
	for _, entries := range m.keys {
		all = append(all, entries...)
	}
	return all, nil
}

func (m *memory) set(away bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away = away
}

func (m *memory) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.merges
}

func whats(p Page) (out []string) {
	for _, e := range p.Entries {
		out = append(out, e.What)
	}
	return out
}

// What comes together is written together, a second later; what the store doesn't take
// is written when it is back.
func TestWriting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		l := newLog("api/a", m, quiet)
		l.Add(Entry{Kind: Start, What: "one"})
		l.Add(Entry{Kind: Health, What: "two"})
		time.Sleep(writeAfter - time.Millisecond)
		synctest.Wait()
		if n := m.count(); n != 0 {
			t.Errorf("written %d times within a second", n)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if n := m.count(); n != 1 {
			t.Errorf("written %d times after a second, want once", n)
		}

		m.set(true)
		l.Add(Entry{Kind: Circuit, What: "three"})
		time.Sleep(time.Minute)
		p := l.Read(t.Context(), Filter{})
		if d := cmp.Diff([]string{"three", "two", "one"}, whats(p)); d != "" || !p.Partial {
			t.Errorf("without the store, partial %v (-want +got):\n%s", p.Partial, d)
		}
		m.set(false)
		time.Sleep(writeAgain)
		synctest.Wait()
		if n := m.count(); n != 2 {
			t.Errorf("written %d times once it was back, want twice", n)
		}

		l.Add(Entry{Kind: Stop, What: "four"})
		l.Close()
		again := newLog("api/a", m, quiet)
		p = again.Read(t.Context(), Filter{})
		if d := cmp.Diff([]string{"four", "three", "two", "one"}, whats(p)); d != "" || p.Partial {
			t.Errorf("after a restart, partial %v (-want +got):\n%s", p.Partial, d)
		}
		again.Close()
		(*Log)(nil).Add(Entry{}) // of a role without history
	})
}

func TestRead(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	at := func(minutes int) time.Time { return now.Add(time.Duration(minutes) * time.Minute) }
	m := &memory{keys: map[string][]Entry{
		"api/b": {
			{Time: at(0), Kind: Start, What: "b starts", Replica: "api/b"},
			{Time: at(3), Kind: Backup, What: "a backup was made", Detail: "of 11:59", Replica: "api/b"},
		},
		"api/a": {{Time: at(1), Kind: Start, What: "a starts", Replica: "api/a"}},
	}}
	l := newLog("api/a", m, quiet)
	defer l.Close()
	l.Add(Entry{Time: at(1), Kind: Start, What: "a starts"}) // is in the store already
	l.Add(Entry{Time: at(2), Kind: Change, What: "changed", Who: "API_KEYS 1"})
	l.Add(Entry{Time: at(4), Kind: Backup, What: "a backup was made", Detail: "of 11:59"})
	for name, c := range map[string]struct {
		filter Filter
		want   []string
		more   bool
	}{
		"all":         {Filter{}, []string{"a backup was made", "changed", "a starts", "b starts"}, false},
		"since":       {Filter{Since: at(2)}, []string{"a backup was made", "changed"}, false},
		"one kind":    {Filter{Kind: Start}, []string{"a starts", "b starts"}, false},
		"the newest":  {Filter{Limit: 1}, []string{"a backup was made"}, true},
		"all by name": {Filter{Limit: 4}, []string{"a backup was made", "changed", "a starts", "b starts"}, false},
		"none":        {Filter{Kind: Circuit}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := l.Read(t.Context(), c.filter)
			if d := cmp.Diff(c.want, whats(p)); d != "" || p.More != c.more || !p.KeptSince.Equal(at(0)) {
				t.Errorf("more %v, kept since %v (-want +got):\n%s", p.More, p.KeptSince, d)
			}
		})
	}
}

// Past the bound the oldest go, but changes don't drive out the rest.
func TestFit(t *testing.T) {
	var entries []Entry
	for i := range 10 {
		entries = append(entries, Entry{Kind: Circuit, What: fmt.Sprint("circuit ", i)})
	}
	for i := range 2 * MaxEntries {
		entries = fit(append(entries, Entry{Kind: Change, What: fmt.Sprint("change ", i)}))
	}
	if len(entries) != MaxEntries || entries[0].What != "circuit 0" || entries[MaxEntries-1].What != fmt.Sprint("change ", 2*MaxEntries-1) {
		t.Errorf("%d entries, from %q to %q", len(entries), entries[0].What, entries[len(entries)-1].What)
	}
	for range MaxEntries {
		entries = fit(append(entries, Entry{Kind: Health}))
	}
	changes := slices.ContainsFunc(entries, func(e Entry) bool { return e.Kind == Change })
	if len(entries) != MaxEntries || entries[0].Kind != Change && changes {
		t.Errorf("%d entries, with changes %v", len(entries), changes)
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"self.key":          "self.key",
		"a\nb\x1b[31mc\x00": "ab[31mc",
		"Zürich":            "Zürich",
		"1234567ü":          "1234567", // the rune has two bytes
		"\xff1":             "1",
		"123456789":         "12345678",
	} {
		if got := Printable(in, 8); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}

// A value has its bound, whatever the entries hold, and nothing that is too old.
func TestEncode(t *testing.T) {
	now := time.Now()
	var entries []Entry
	for i := range MaxEntries {
		entries = append(entries, Entry{Time: now.Add(time.Duration(i-MaxEntries) * time.Second), Kind: Change, What: strings.Repeat("w", maxWhat), Detail: strings.Repeat(`"`, maxDetail), Who: strings.Repeat("k", maxWho)})
	}
	entries[0].Time = now.Add(-MaxAge - time.Second)
	value, err := encode(slices.Clone(entries), now)
	if err != nil || len(value) > maxValueBytes || len(value) < maxValueBytes/2 {
		t.Errorf("a full value has %d bytes, %v", len(value), err)
	}
	value, err = encode(entries[:1:1], now)
	if err != nil || string(value) != "[]" {
		t.Errorf("what is too old is %s, %v", value, err)
	}
}
