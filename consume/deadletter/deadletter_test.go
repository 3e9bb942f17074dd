package deadletter_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/consume/deadletter"
	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/stream/streamtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const maxDetail = 4 << 10

var (
	first = time.Date(2026, 11, 23, 9, 30, 0, 123_456_789, time.UTC)
	last  = first.Add(42 * time.Minute)
)

// bed is a real server with its streams.
type bed struct {
	js     jetstream.JetStream
	config stream.Config
	dead   jetstream.Stream
	store  *deadletter.Store
	stop   func() // the server goes away
}

func newBed(t *testing.T) *bed {
	t.Helper()
	js, stop := streamtest.Start(t)
	config := stream.Config{Name: "events", Replicas: 1}
	streams, err := stream.Ensure(t.Context(), js, config)
	if err != nil {
		t.Fatal(err)
	}
	return &bed{js: js, config: config, dead: streams.Dead, store: deadletter.NewStore(js, config), stop: stop}
}

// messages is how many letters are kept.
func (b *bed) messages(t *testing.T) uint64 {
	t.Helper()
	info, err := b.dead.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return info.State.Msgs
}

// bury fails the test unless the letter is kept.
func (b *bed) bury(t *testing.T, l deadletter.Letter) {
	t.Helper()
	if err := b.store.Bury(t.Context(), l); err != nil {
		t.Fatal(err)
	}
}

// last reads the letter that was buried last.
func (b *bed) last(t *testing.T, reason deadletter.Reason) deadletter.Letter {
	t.Helper()
	msg, err := b.dead.GetLastMsgForSubject(t.Context(), b.config.DeadSubject(string(reason)))
	if err != nil {
		t.Fatal(err)
	}
	l, err := deadletter.Parse(msg.Header, msg.Data)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// A letter can be replayed under the event's own identity, and tells all that is
// known, whatever the event and the meter's words hold.
func TestRoundTrip(t *testing.T) {
	b := newBed(t)
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	for _, test := range []struct {
		name   string
		event  string
		reason deadletter.Reason
		status int
		detail string
	}{
		{"an event", `{"specversion":"1.0","source":"agent-runner","id":"1","type":"llm","subject":"customer-1","data":{"n":1.0}}`, deadletter.Refused, 400, "data is no object"},
		{"an event with blanks and escapes", " {\"id\" : \"\\u0031\",\r\n\t\"id2\":1e2}\n ", deadletter.Refused, 422, "no"},
		{"an event with names in other alphabets", `{"source":"büro","id":"日本","type":"тип","subject":"😀"}`, deadletter.Refused, 400, "größer als 😀"},
		{"an event with line breaks in its names", `{"source":"a\r\nKgents-Letter: {}","id":"\u0000\u007f","type":"\u2028","subject":"<&>"}`, deadletter.Refused, 400, "one\r\nNats-Msg-Id: two\r\n\r\nthree"},
		{"an event with a broken string", "{\"id\":\"\xff\xfe\",\"data\":\"\xed\xa0\x80\"}", deadletter.Refused, 400, "not UTF-8"},
		{"every byte there is", string(every), deadletter.Malformed, 0, "no batch"},
		{"what looks like a message", "NATS/1.0\r\nKgents-Letter: {}\r\n\r\n", deadletter.Malformed, 0, "no batch"},
		{"nothing", "", deadletter.Malformed, 0, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := deadletter.New([]byte(test.event), test.reason, test.status, test.detail, first, last, 0)
			if want.Reason != test.reason || want.Status != test.status || want.Detail != test.detail || want.Truncated ||
				!want.First.Equal(first) || !want.Last.Equal(last) {
				t.Errorf("New made %+v", want)
			}
			b.bury(t, want)
			got := b.last(t, test.reason)
			if string(got.Event) != test.event {
				t.Errorf("the event came back as %q, want %q", got.Event, test.event)
			}
			got.Event, want.Event = nil, nil
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the letter came back changed (-want +got):\n%s", diff)
			}
		})
	}
}

// Two places that write a time differently mean the same one.
func TestTimesAreUTC(t *testing.T) {
	east := time.FixedZone("UTC+2", 2*60*60)
	l := deadletter.New(nil, deadletter.Malformed, 0, "", first.In(east), last.In(east), 0)
	if diff := cmp.Diff([]string{first.String(), last.String()}, []string{l.First.String(), l.Last.String()}); diff != "" {
		t.Error(diff)
	}
}

func TestWhatTheEventSaysOfItself(t *testing.T) {
	for _, test := range []struct {
		name, event              string
		source, id, typ, subject string
	}{
		{"all of it", `{"source":"s","id":"i","type":"t","subject":"u"}`, "s", "i", "t", "u"},
		{"some of it", `{"id":"i","other":1}`, "", "i", "", ""},
		{"nulls", `{"source":null,"id":"i"}`, "", "i", "", ""},
		{"an id that is no string", `{"source":"s","id":17,"type":"t","subject":"u"}`, "s", "", "t", "u"},
		{"a source that is no string", `{"source":{"id":"x"},"id":"i","type":["t"],"subject":"u"}`, "", "i", "", "u"},
		{"an object that is cut", `{"source":"s","id":"i","type":"t"`, "", "", "", ""},
		{"an object and more", `{"source":"s","id":"i"}x`, "", "", "", ""},
		{"an array", `[{"source":"s","id":"i"}]`, "", "", "", ""},
		{"a string", `"source"`, "", "", "", ""},
		{"null", `null`, "", "", "", ""},
		{"no JSON", "source=s", "", "", "", ""},
		{"nothing", "", "", "", "", ""},
		{"invalid UTF-8", "{\"source\":\"a\xffb\"}", "a\uFFFDb", "", "", ""},
		{
			"names that are too long",
			`{"source":"` + strings.Repeat("s", 9999) + `","id":"` + strings.Repeat("ä", 9999) + `","type":"` + strings.Repeat("x日", 9999) + `","subject":"` + strings.Repeat("u", 9999) + `"}`,
			strings.Repeat("s", kgents.MaxSourceBytes), strings.Repeat("ä", kgents.MaxIDBytes/2), strings.Repeat("x日", kgents.MaxTypeBytes/4), strings.Repeat("u", kgents.MaxSubjectBytes),
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := deadletter.New([]byte(test.event), deadletter.Refused, 400, "", first, last, 0)
			if diff := cmp.Diff([]string{test.source, test.id, test.typ, test.subject}, []string{l.Source, l.ID, l.Type, l.Subject}); diff != "" {
				t.Errorf("source, id, type, subject (-want +got):\n%s", diff)
			}
			if string(l.Event) != test.event || l.Truncated {
				t.Error("the event was changed")
			}
		})
	}
}

// The meter's words are bounded, and no rune is cut in two.
func TestDetailIsCut(t *testing.T) {
	b := newBed(t)
	a := func(n int) string { return strings.Repeat("a", n) }
	for _, test := range []struct{ name, detail, want string }{
		{"as long as is kept", a(maxDetail), a(maxDetail)},
		{"a byte longer", a(maxDetail + 1), a(maxDetail)},
		{"as much as a meter's answer can hold", a(64 << 10), a(maxDetail)},
		{"a rune that ends there", a(maxDetail-2) + "äb", a(maxDetail-2) + "ä"},
		{"a rune of 2 bytes across", a(maxDetail-1) + "ä", a(maxDetail - 1)},
		{"a rune of 3 bytes across", a(maxDetail-2) + "日", a(maxDetail - 2)},
		{"a rune of 4 bytes across", a(maxDetail-3) + "😀", a(maxDetail - 3)},
		{"a rune of 4 bytes across, by its first", a(maxDetail-1) + "😀", a(maxDetail - 1)},
		{"nothing but long runes", strings.Repeat("日", maxDetail), strings.Repeat("日", maxDetail/3)},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := deadletter.New([]byte(test.name), deadletter.Refused, 400, test.detail, first, last, 0)
			if l.Detail != test.want {
				t.Errorf("the detail has %d bytes and ends in %q, want %d", len(l.Detail), l.Detail[max(0, len(l.Detail)-8):], len(test.want))
			}
			b.bury(t, l)
			if got := b.last(t, deadletter.Refused).Detail; got != test.want {
				t.Errorf("the detail came back with %d bytes, want %d", len(got), len(test.want))
			}
		})
	}
}

// Words that are no text are kept as far as they can be read: where no rune
// begins there is none to spare.
func TestDetailOfInvalidUTF8(t *testing.T) {
	b := newBed(t)
	for _, detail := range []string{"a\xffb", strings.Repeat("\x80", 2*maxDetail), "ab" + strings.Repeat("\xbf", maxDetail)} {
		l := deadletter.New([]byte(detail), deadletter.Refused, 400, detail, first, last, 0)
		if len(l.Detail) > maxDetail || len(l.Detail) < min(len(detail), maxDetail-utf8.UTFMax) {
			t.Errorf("of %d bytes %d were kept, want as much as fits in %d", len(detail), len(l.Detail), maxDetail)
		}
		b.bury(t, l)
		if got, want := b.last(t, deadletter.Refused).Detail, string([]rune(l.Detail)); got != want {
			t.Errorf("the detail %.20q… came back as %.20q…, want %.20q…", l.Detail, got, want)
		}
	}
}

// The sink tries again what it isn't sure to have buried, at another time and
// perhaps with another answer: that is the same refusal.
func TestBuryTwice(t *testing.T) {
	b := newBed(t)
	event := []byte(`{"id":"1"}`)
	letter := deadletter.New(event, deadletter.Refused, 400, "the first answer", first, last, 0)
	b.bury(t, letter)
	b.bury(t, letter)
	b.bury(t, deadletter.New(bytes.Clone(event), deadletter.Refused, 422, "another answer", first.Add(time.Second), last.Add(time.Second), 0))
	if n := b.messages(t); n != 1 {
		t.Errorf("%d letters are kept, want 1", n)
	}
	if got := b.last(t, deadletter.Refused); got.Detail != "the first answer" || !got.Last.Equal(last) {
		t.Errorf("kept %+v, want the first letter", got)
	}

	// These are others.
	b.bury(t, deadletter.New([]byte(`{"id":"2"}`), deadletter.Refused, 400, "the first answer", first, last, 0))
	b.bury(t, deadletter.New([]byte(`{"id":"1"} `), deadletter.Refused, 400, "the first answer", first, last, 0))
	b.bury(t, deadletter.New(event, deadletter.Malformed, 400, "the first answer", first, last, 0))
	if n := b.messages(t); n != 4 {
		t.Errorf("%d letters are kept, want 4", n)
	}
}

// A stranger's message can be as large as the server takes. Its letter must be
// taken too, or the sink would be stuck on it for ever.
func TestLargeEvents(t *testing.T) {
	b := newBed(t)
	// What takes the most room in a letter: bytes that JSON writes as six.
	name := func(n int) string { return strings.Repeat(`\u0001`, n) }
	head := `{"source":"` + name(kgents.MaxSourceBytes) + `","id":"` + name(kgents.MaxIDBytes) + `","type":"` + name(kgents.MaxTypeBytes) +
		`","subject":"` + name(kgents.MaxSubjectBytes) + `","data":"`
	for _, test := range []struct {
		name      string
		bytes     int
		truncated bool
	}{
		{"as large as ours can be", stream.MaxBodyBytes, false},
		{"a byte larger", stream.MaxBodyBytes + 1, true},
		{"as large as the server takes", 1 << 20, true},
		{"larger than the server takes", 5 << 20, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			event := head + test.name + strings.Repeat("d", test.bytes-len(head)-len(test.name)-2) + `"}`
			l := deadletter.New([]byte(event), deadletter.Malformed, 400, strings.Repeat("\x01", maxDetail), first, last, 0)
			b.bury(t, l)

			got := b.last(t, deadletter.Malformed)
			if got.Truncated != test.truncated {
				t.Errorf("truncated is %t, want %t", got.Truncated, test.truncated)
			}
			if want := min(test.bytes, stream.MaxBodyBytes); len(got.Event) != want || string(got.Event) != event[:want] {
				t.Errorf("%d bytes of the event are kept, want the first %d", len(got.Event), want)
			}
			if want := strings.Repeat("\x01", kgents.MaxIDBytes); got.ID != want || len(got.Detail) != maxDetail {
				t.Errorf("the id has %d bytes and the detail %d, want %d and %d", len(got.ID), len(got.Detail), len(want), maxDetail)
			}
		})
	}
}

func TestParseForeignMessages(t *testing.T) {
	for name, h := range map[string]nats.Header{
		"no headers":            nil,
		"empty headers":         {},
		"other headers":         {"Nats-Msg-Id": {"1"}, "Content-Type": {"application/json"}},
		"an empty letter":       {"Kgents-Letter": {""}},
		"no JSON":               {"Kgents-Letter": {"refused"}},
		"JSON that is cut":      {"Kgents-Letter": {`{"reason":"refused"`}},
		"JSON of another shape": {"Kgents-Letter": {`["refused"]`}},
		"fields of other types": {"Kgents-Letter": {`{"reason":"refused","status":"400"}`}},
		"a bad time":            {"Kgents-Letter": {`{"reason":"refused","first_attempt":"yesterday"}`}},
		"null":                  {"Kgents-Letter": {`null`}},
		"no reason":             {"Kgents-Letter": {`{}`}},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := deadletter.Parse(h, []byte(`{"id":"1"}`))
			if err == nil || !strings.Contains(err.Error(), "no dead letter") {
				t.Errorf("the error is %v, want it to say that this is no dead letter", err)
			}
			if diff := cmp.Diff(deadletter.Letter{}, l); diff != "" {
				t.Errorf("came with a letter (-want +got):\n%s", diff)
			}
		})
	}
}

// The caller keeps the event for as long as Bury fails, so it must not say that
// a letter is kept when it isn't.
func TestBuryFails(t *testing.T) {
	b := newBed(t)
	letter := deadletter.New([]byte(`{"id":"1"}`), deadletter.Refused, 400, "no", first, last, 0)

	t.Run("no such stream", func(t *testing.T) {
		if err := deadletter.NewStore(b.js, stream.Config{Name: "none"}).Bury(t.Context(), letter); err == nil {
			t.Error("buried in a stream that isn't there")
		}
	})
	t.Run("a stream of a stranger's", func(t *testing.T) {
		other := stream.Config{Name: "other"}
		if _, err := b.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "stranger", Subjects: []string{other.DeadSubject(">")}}); err != nil {
			t.Fatal(err)
		}
		if err := deadletter.NewStore(b.js, other).Bury(t.Context(), letter); err == nil {
			t.Error("buried in a stream that is another's")
		}
	})
	t.Run("a context that is over", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := b.store.Bury(ctx, letter); err == nil {
			t.Error("buried without waiting for the server")
		}
	})
	t.Run("a server that is away", func(t *testing.T) {
		b.stop()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := b.store.Bury(ctx, letter); err == nil {
			t.Error("buried in a server that is away")
		}
	})
}
