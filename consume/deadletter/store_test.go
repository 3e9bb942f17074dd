package deadletter_test

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/consume/deadletter"
	"github.com/kgents/kgents/stream"
)

// event is one of typ for subject.
func event(id, typ, subject string) string {
	return fmt.Sprintf(`{"specversion":"1.0", "source":"agent-runner","id":%q,"type":%q,"subject":%q,"data":{"n":1.0}}`, id, typ, subject)
}

// refused buries an event that was refused before times before.
func (b *bed) refused(t *testing.T, event string, before int) {
	t.Helper()
	b.bury(t, deadletter.New([]byte(event), deadletter.Refused, 400, "no", first, last, before))
}

// list returns the sequences of all pages of a list.
func (b *bed) list(t *testing.T, f deadletter.Filter, limit int) (seqs []uint64, pages int) {
	t.Helper()
	for after := uint64(0); ; pages++ {
		page, err := b.store.List(t.Context(), f, after, limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range page.Letters {
			if l.Event != nil {
				t.Errorf("letter %d is listed with its event", l.Seq)
			}
			seqs = append(seqs, l.Seq)
		}
		if after = page.Next; after == 0 {
			return seqs, pages + 1
		}
	}
}

// events returns what is in the stream of events, each message as its body.
func (b *bed) events(t *testing.T) (bodies []string, headers []nats.Header) {
	t.Helper()
	s, err := b.js.Stream(t.Context(), b.config.Name)
	if err != nil {
		t.Fatal(err)
	}
	for seq := uint64(1); seq <= s.CachedInfo().State.LastSeq; seq++ {
		msg, err := s.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		body, err := stream.Body(msg.Header, msg.Data)
		if err != nil {
			t.Fatal(err)
		}
		bodies, headers = append(bodies, string(body)), append(headers, msg.Header)
	}
	return bodies, headers
}

func TestListFilters(t *testing.T) {
	b := newBed(t)
	b.refused(t, event("1", "agent.tokens", "customer-1"), 0)
	b.refused(t, event("2", "agent.tokens", "customer-2"), 0)
	b.refused(t, event("3", "api.request", "customer-1"), 0)
	b.bury(t, deadletter.New([]byte("no batch"), deadletter.Malformed, 0, "no batch", first, last, 0))
	stranger := nats.NewMsg(b.config.DeadSubject("refused")) // no letter, but not to be hidden
	stranger.Data = []byte("hello")
	if _, err := b.js.PublishMsg(t.Context(), stranger); err != nil {
		t.Fatal(err)
	}
	page, err := b.store.List(t.Context(), deadletter.Filter{}, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	third := page.Letters[2].Buried
	for _, test := range []struct {
		name   string
		filter deadletter.Filter
		want   []uint64
	}{
		{"all", deadletter.Filter{}, []uint64{1, 2, 3, 4, 5}},
		{"a reason", deadletter.Filter{Reason: deadletter.Refused}, []uint64{1, 2, 3}},
		{"another, and what is no letter", deadletter.Filter{Reason: deadletter.Malformed}, []uint64{4, 5}},
		{"a type", deadletter.Filter{Type: "agent.tokens"}, []uint64{1, 2}},
		{"a customer", deadletter.Filter{Subject: "customer-1"}, []uint64{1, 3}},
		{"a customer and a type", deadletter.Filter{Subject: "customer-1", Type: "api.request"}, []uint64{3}},
		{"the beginning of a type is another", deadletter.Filter{Type: "agent"}, nil},
		{"since", deadletter.Filter{Since: third}, []uint64{3, 4, 5}},
		{"until", deadletter.Filter{Until: third}, []uint64{1, 2}},
		{"from then till then", deadletter.Filter{Since: page.Letters[1].Buried, Until: third}, []uint64{2}},
		{"before there was any", deadletter.Filter{Until: first.AddDate(-10, 0, 0)}, nil},
		{"after the last", deadletter.Filter{Since: time.Now().Add(time.Hour)}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, _ := b.list(t, test.filter, 100)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("sequences (-want +got):\n%s", diff)
			}
		})
	}
	want := deadletter.Stored{Seq: 2, Buried: page.Letters[1].Buried, Bytes: len(event("2", "agent.tokens", "customer-2")), Letter: deadletter.Letter{
		Reason: deadletter.Refused, Status: 400, Detail: "no", Source: "agent-runner", ID: "2", Type: "agent.tokens", Subject: "customer-2",
		First: first, Last: last, Count: 1,
	}}
	if diff := cmp.Diff(want, page.Letters[1]); diff != "" {
		t.Errorf("a letter of a list (-want +got):\n%s", diff)
	}
}

// Pages meet without a gap or a repetition, also where letters have gone, and
// none looks at more than a bounded number of letters.
func TestListPages(t *testing.T) {
	b := newBed(t)
	const n = 1100 // more than a page looks at
	var want []uint64
	for i := range n {
		typ := "common"
		if i == n-1 {
			typ = "rare"
		}
		b.refused(t, event(fmt.Sprint(i), typ, "c"), 0)
		want = append(want, uint64(i+1))
	}
	for _, seq := range []uint64{1, 500, 501} {
		if _, err := b.store.Drop(t.Context(), seq); err != nil {
			t.Fatal(err)
		}
	}
	want = append(want[1:499:499], want[501:]...)
	for limit, pages := range map[int]int{1000: 2, 300: 4} {
		got, gotPages := b.list(t, deadletter.Filter{}, limit)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("limit %d (-want +got):\n%s", limit, diff)
		}
		if gotPages != pages {
			t.Errorf("limit %d: %d pages, want %d", limit, gotPages, pages)
		}
	}
	page, err := b.store.List(t.Context(), deadletter.Filter{Type: "rare"}, 0, 10)
	if err != nil || len(page.Letters) != 0 || page.Next == 0 {
		t.Errorf("a first page of what is rare: %d letters, next %d, %v, want none and where to go on", len(page.Letters), page.Next, err)
	}
	if got, _ := b.list(t, deadletter.Filter{Type: "rare"}, 10); len(got) != 1 || got[0] != n {
		t.Errorf("what is rare: %v, want %d", got, n)
	}
	for _, after := range []uint64{n, n + 1, math.MaxUint64} {
		if page, err := b.store.List(t.Context(), deadletter.Filter{}, after, 10); err != nil || len(page.Letters) != 0 || page.Next != 0 {
			t.Errorf("after %d: %+v, %v, want the end", after, page, err)
		}
	}
}

func TestListRefuses(t *testing.T) {
	b := newBed(t)
	now := time.Now()
	for name, test := range map[string]struct {
		filter deadletter.Filter
		limit  int
	}{
		"a reason that is none": {deadletter.Filter{Reason: "*"}, 1},
		"an empty period":       {deadletter.Filter{Since: now, Until: now}, 1},
		"no letters":            {deadletter.Filter{}, 0},
		"too many letters":      {deadletter.Filter{}, deadletter.MaxPage + 1},
	} {
		if _, err := b.store.List(t.Context(), test.filter, 0, test.limit); kgents.ErrorCode(err) != kgents.CodeInvalid {
			t.Errorf("%s: the error is %v, want it to say that the question is wrong", name, err)
		}
	}
}

// A replay is the event as it was, in a message that sinks know, under an id that
// JetStream does not take for the event's first message.
func TestReplay(t *testing.T) {
	b := newBed(t)
	for _, test := range []struct{ name, event string }{
		{"a small one", event("1", "t", "c")},
		{"blanks, escapes and numbers that a decoder would change", `{ "id" : "\u0031",` + "\r\n\t" + `"n":1.0e2,"n2":12345678901234567890, "<&>":"\u2028" }`},
		{"one that is compressed", event("2", "t", strings.Repeat("c", 5000))},
		{"one as large as is admitted", event("3", "t", strings.Repeat("c", kgents.MaxEventBytes-200))},
	} {
		t.Run(test.name, func(t *testing.T) {
			// The event's first message, a moment ago.
			admitted := stream.Encode([]kgents.Event{{Raw: []byte(test.event)}}, time.Now())
			if _, err := b.js.PublishMsg(t.Context(), admitted); err != nil {
				t.Fatal(err)
			}
			b.refused(t, test.event, 0)
			seqs, _ := b.list(t, deadletter.Filter{}, 10)
			seq := seqs[0]
			l, err := b.store.Replay(t.Context(), seq)
			if err != nil {
				t.Fatal(err)
			}
			if l.Seq != seq || string(l.Event) != test.event {
				t.Errorf("replayed letter %d, want %d with its event", l.Seq, seq)
			}
			bodies, headers := b.events(t)
			got, h := bodies[len(bodies)-1], headers[len(headers)-1]
			if got != "["+test.event+"]" {
				t.Errorf("replayed %.200q, want the event byte for byte", got)
			}
			if e := stream.ReadEnvelope(h); e.Events != 1 || time.Since(e.Received) > time.Minute {
				t.Errorf("the message says %+v, want one event of now", e)
			}
			if n := deadletter.Refusals(h); n != 1 {
				t.Errorf("the message says that the event was refused %d times, want 1", n)
			}
			if n := b.messages(t); n != 0 {
				t.Errorf("%d letters are left", n)
			}
			_, err = b.store.Replay(t.Context(), seq)
			if kgents.ErrorCode(err) != kgents.CodeNotFound {
				t.Errorf("replayed again: the error is %v, want that it is not there", err)
			}
			if again, _ := b.events(t); len(again) != len(bodies) {
				t.Errorf("%d messages after all, want %d", len(again), len(bodies))
			}
		})
	}
}

// Refused again at once, an event is a new letter each time, though all of that
// happens within JetStream's duplicate window.
func TestReplayRefusedAgain(t *testing.T) {
	b := newBed(t)
	b.refused(t, event("1", "t", "c"), 0)
	for count := 1; count <= 4; count++ {
		page, err := b.store.List(t.Context(), deadletter.Filter{}, 0, 10)
		if err != nil || len(page.Letters) != 1 {
			t.Fatalf("refused %d times: %d letters, %v, want 1", count, len(page.Letters), err)
		}
		l := page.Letters[0]
		if l.Count != count || l.ID != "1" {
			t.Errorf("the letter is %+v, want event 1 refused %d times", l, count)
		}
		if _, err := b.store.Replay(t.Context(), l.Seq); err != nil {
			t.Fatal(err)
		}
		bodies, headers := b.events(t)
		if len(bodies) != count {
			t.Fatalf("%d messages after %d replays", len(bodies), count)
		}
		before := deadletter.Refusals(headers[count-1])
		b.refused(t, strings.Trim(bodies[count-1], "[]"), before)
		b.refused(t, strings.Trim(bodies[count-1], "[]"), before) // a sink that wasn't sure
	}
}

// Bury says that a letter is kept only when it is, also when the same one was
// there a moment ago.
func TestBuryAgainAfterDrop(t *testing.T) {
	b := newBed(t)
	for range 3 {
		b.refused(t, event("1", "t", "c"), 0)
		b.refused(t, event("1", "t", "c"), 0)
		seqs, _ := b.list(t, deadletter.Filter{}, 10)
		if len(seqs) != 1 {
			t.Fatalf("letters %v, want one", seqs)
		}
		if _, err := b.store.Drop(t.Context(), seqs[0]); err != nil {
			t.Fatal(err)
		}
	}
	if bodies, _ := b.events(t); len(bodies) != 0 {
		t.Errorf("dropped letters were published: %q", bodies)
	}
}

func TestNotReplayable(t *testing.T) {
	b := newBed(t)
	large := `"` + strings.Repeat("d", stream.MaxBodyBytes) + `"`
	for _, test := range []struct {
		name   string
		letter deadletter.Letter
		says   string
	}{
		{"no event", deadletter.New([]byte(event("1", "t", "c")), deadletter.Malformed, 0, "no batch", first, last, 0), "is no event"},
		{"the beginning of one", deadletter.New([]byte(large), deadletter.Refused, 400, "no", first, last, 0), "the beginning"},
		{"one too large for a batch", deadletter.New([]byte(large[:stream.MaxBodyBytes-1]+`"`), deadletter.Refused, 400, "no", first, last, 0), "too large"},
		{"two for one", deadletter.New([]byte(`{"id":"1"},{"id":"2"}`), deadletter.Refused, 400, "no", first, last, 0), "no JSON"},
		{"nothing", deadletter.New(nil, deadletter.Refused, 400, "no", first, last, 0), "no JSON"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b.bury(t, test.letter)
			seqs, _ := b.list(t, deadletter.Filter{}, 100)
			seq := seqs[len(seqs)-1]
			_, err := b.store.Replay(t.Context(), seq)
			if kgents.ErrorCode(err) != kgents.CodeConflict || !strings.Contains(err.Error(), test.says) {
				t.Errorf("the error is %v, want that %q", err, test.says)
			}
			if l, err := b.store.Get(t.Context(), seq); err != nil || string(l.Event) != string(test.letter.Event) {
				t.Errorf("the letter is no longer there: %v", err)
			}
		})
	}
	if bodies, _ := b.events(t); len(bodies) != 0 {
		t.Errorf("%d messages were published", len(bodies))
	}
}

func TestNotThere(t *testing.T) {
	b := newBed(t)
	b.refused(t, event("1", "t", "c"), 0)
	if _, err := b.store.Drop(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	for _, seq := range []uint64{0, 1, 2, math.MaxUint64} {
		_, getErr := b.store.Get(t.Context(), seq)
		_, replayErr := b.store.Replay(t.Context(), seq)
		_, dropErr := b.store.Drop(t.Context(), seq)
		for what, err := range map[string]error{"get": getErr, "replay": replayErr, "drop": dropErr} {
			if kgents.ErrorCode(err) != kgents.CodeNotFound || !strings.Contains(err.Error(), fmt.Sprint("no dead letter ", seq)) {
				t.Errorf("%s %d: the error is %v, want that it is not there", what, seq, err)
			}
		}
	}
}

// A replay that published the event but could not delete the letter is tried
// again: the stream of events holds it once.
func TestReplayCutShort(t *testing.T) {
	b := newBed(t)
	b.refused(t, event("1", "t", "c"), 0)
	c := b.dead.CachedInfo().Config
	c.DenyDelete = true
	if _, err := b.js.UpdateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err := b.store.Replay(t.Context(), 1)
		if kgents.ErrorCode(err) != kgents.CodeUnavailable || !strings.Contains(err.Error(), "was replayed but could not be deleted") {
			t.Errorf("the error is %v, want it to say how far it came", err)
		}
		if bodies, _ := b.events(t); len(bodies) != 1 {
			t.Errorf("%d messages, want 1", len(bodies))
		}
	}
	if _, err := b.store.Drop(t.Context(), 1); kgents.ErrorCode(err) != kgents.CodeUnavailable {
		t.Errorf("dropped what can't be: %v", err)
	}
	if n := b.messages(t); n != 1 {
		t.Errorf("%d letters are left, want 1", n)
	}
}

// Without its streams or its server, nothing is done and the error says so.
func TestUnavailable(t *testing.T) {
	b := newBed(t)
	b.refused(t, event("1", "t", "c"), 0)
	elsewhere := deadletter.NewStore(b.js, stream.Config{Name: "nowhere"})
	if _, err := elsewhere.List(t.Context(), deadletter.Filter{}, 0, 1); kgents.ErrorCode(err) != kgents.CodeUnavailable {
		t.Errorf("a list without a stream: %v", err)
	}
	b.stop()
	for what, f := range map[string]func() error{
		"list":   func() error { _, err := b.store.List(t.Context(), deadletter.Filter{}, 0, 1); return err },
		"get":    func() error { _, err := b.store.Get(t.Context(), 1); return err },
		"replay": func() error { _, err := b.store.Replay(t.Context(), 1); return err },
		"drop":   func() error { _, err := b.store.Drop(t.Context(), 1); return err },
	} {
		if err := f(); kgents.ErrorCode(err) != kgents.CodeUnavailable {
			t.Errorf("%s without a server: %v, want that it is unavailable", what, err)
		}
	}
}

// A letter from before there was a count was refused once.
func TestOldLetter(t *testing.T) {
	l, err := deadletter.Parse(nats.Header{"Kgents-Letter": {`{"reason":"refused"}`}}, nil)
	if err != nil || l.Count != 1 {
		t.Errorf("count %d, %v, want 1", l.Count, err)
	}
}

func TestRefusals(t *testing.T) {
	for header, want := range map[string]int{"": 0, "1": 1, "17": 17, "-1": 0, "x": 0, "1.5": 0, "99999999999999999999": 0, "2000000": 1_000_000} {
		if got := deadletter.Refusals(nats.Header{"Kgents-Refused": {header}}); got != want {
			t.Errorf("%q is read as %d, want %d", header, got, want)
		}
	}
	if got := deadletter.Refusals(nil); got != 0 {
		t.Errorf("no headers are read as %d", got)
	}
}

// What a letter looks like to scripts.
func TestStoredJSON(t *testing.T) {
	l := deadletter.Stored{Seq: 7, Buried: last, Bytes: 2, Letter: deadletter.New([]byte(`{}`), deadletter.Refused, 400, "no", first, last, 1)}
	got, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"seq":7,"buried_at":"2026-11-23T10:12:00.123456789Z","bytes":2,"reason":"refused","status":400,"detail":"no",` +
		`"first_attempt":"2026-11-23T09:30:00.123456789Z","last_attempt":"2026-11-23T10:12:00.123456789Z","count":2}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
