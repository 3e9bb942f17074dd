package consume

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/consume/deadletter"
	"github.com/kgents/kgents/meter"
	"github.com/kgents/kgents/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// message is a jetstream.Msg that remembers its fate.
type message struct {
	*nats.Msg
	mu                 sync.Mutex
	acks, naks, alives int
}

func (m *message) Data() []byte                              { return m.Msg.Data }
func (m *message) Headers() nats.Header                      { return m.Header }
func (m *message) Metadata() (*jetstream.MsgMetadata, error) { return &jetstream.MsgMetadata{}, nil }
func (m *message) Ack() error                                { m.mu.Lock(); defer m.mu.Unlock(); m.acks++; return nil }
func (m *message) NakWithDelay(time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.naks++
	return nil
}
func (m *message) InProgress() error { m.mu.Lock(); defer m.mu.Unlock(); m.alives++; return nil }

func raw(id string) kgents.Event {
	return kgents.Event{Raw: fmt.Appendf(nil, `{"id":%q,"source":"s","type":"t","subject":"c"}`, id)}
}

func batch(ids ...string) *message {
	var evs []kgents.Event
	for _, id := range ids {
		evs = append(evs, raw(id))
	}
	return &message{Msg: stream.Encode(evs, time.Now())}
}

func manyIDs(n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprint(i))
	}
	return ids
}

func foreign(body string) *message {
	return &message{Msg: &nats.Msg{Data: []byte(body)}}
}

// encoded is a message of a stranger's that says how its body is encoded.
func encoded(encoding, body string) *message {
	m := foreign(body)
	m.Header = nats.Header{"Content-Encoding": {encoding}}
	return m
}

// opened are the messages as collect hands them on.
func opened(messages ...*message) []delivery {
	var out []delivery
	for _, m := range messages {
		out = append(out, open(m))
	}
	return out
}

// fakeMeter counts what it takes and refuses what it is told to.
type fakeMeter struct {
	mu      sync.Mutex
	bad     map[string]int // id → status
	answer  func(request int) error
	request int
	taken   map[string]int
	sizes   []int // events in each request that was taken
}

func (f *fakeMeter) Ingest(ctx context.Context, body []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.request++
	if f.answer != nil {
		if err := f.answer(f.request); err != nil {
			return err
		}
	}
	var events []struct{ ID string }
	if err := json.Unmarshal(body, &events); err != nil {
		return &meter.Error{Status: http.StatusBadRequest, Class: meter.Refused, Detail: "no JSON"}
	}
	for _, e := range events {
		if status := f.bad[e.ID]; status != 0 {
			return &meter.Error{Status: status, Class: meter.Refused, Detail: "bad event " + e.ID}
		}
	}
	if f.taken == nil {
		f.taken = map[string]int{}
	}
	for _, e := range events {
		f.taken[e.ID]++
	}
	f.sizes = append(f.sizes, len(events))
	return nil
}

type graveyard struct {
	mu      sync.Mutex
	letters []deadletter.Letter
	fail    int // how many burials fail
}

func (g *graveyard) Bury(_ context.Context, l deadletter.Letter) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fail > 0 {
		g.fail--
		return errors.New("no stream")
	}
	g.letters = append(g.letters, l)
	return nil
}

func (g *graveyard) ids() []string {
	var out []string
	for _, l := range g.letters {
		out = append(out, string(l.Reason)+" "+l.ID)
	}
	slices.Sort(out)
	return out
}

func newSink(f *fakeMeter, g *graveyard) *Sink {
	return New(Config{
		Meter: f, Dead: g, BatchSize: 100, FlushInterval: time.Second,
		Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
}

func TestFlush(t *testing.T) {
	status := func(code int, class meter.Class) func(int) error {
		return func(n int) error {
			if n <= 3 {
				return &meter.Error{Status: code, Class: class}
			}
			return nil
		}
	}
	for _, c := range []struct {
		name     string
		messages []*message
		bad      map[string]int
		answer   func(int) error
		burials  int // that fail first
		taken    []string
		dead     []string
	}{
		{name: "one message", messages: []*message{batch("1", "2")}, taken: []string{"1", "2"}},
		{name: "several messages go as one request", messages: []*message{batch("1"), batch("2", "3")}, taken: []string{"1", "2", "3"}},
		{name: "an empty batch", messages: []*message{foreign("[]"), batch("1")}, taken: []string{"1"}},
		{name: "a meter that is overloaded is asked again", messages: []*message{batch("1")}, answer: status(503, meter.Retry), taken: []string{"1"}},
		{name: "a wrong key costs no event", messages: []*message{batch("1", "2")}, answer: status(401, meter.Blocked), taken: []string{"1", "2"}},
		{
			name: "a bad event leaves its neighbours alone", messages: []*message{batch("1", "2", "bad"), batch("3", "4")},
			bad: map[string]int{"bad": 400}, taken: []string{"1", "2", "3", "4"}, dead: []string{"refused bad"},
		},
		{
			name: "many bad events", messages: []*message{batch("a", "b", "1", "c", "d"), batch("e")},
			bad: map[string]int{"a": 400, "b": 422, "c": 400, "d": 413, "e": 400}, taken: []string{"1"},
			dead: []string{"refused a", "refused b", "refused c", "refused d", "refused e"},
		},
		{
			name: "the meter fails while a bad event is looked for", messages: []*message{batch("1", "bad", "2")},
			bad: map[string]int{"bad": 400}, taken: []string{"1", "2"}, dead: []string{"refused bad"},
			answer: func(n int) error {
				if n%2 == 0 {
					return &meter.Error{Status: 500, Class: meter.Retry}
				}
				return nil
			},
		},
		{
			name: "a message that is no batch", messages: []*message{batch("1"), foreign(`{"id":"x"}`), batch("2")},
			taken: []string{"1", "2"}, dead: []string{"malformed x"},
		},
		{
			name:     "bodies that can't be decompressed leave their neighbours alone",
			messages: []*message{batch("1"), encoded("zstd", `[{"id":"x"}]`), encoded("br", `[{"id":"y"}]`), batch("2")},
			taken:    []string{"1", "2"}, dead: []string{"malformed ", "malformed "},
		},
		{
			name: "a message that looks like a batch", messages: []*message{batch("1"), foreign(`[1}{2]`), foreign(`[{"id":"3"},]`), batch("2")},
			taken: []string{"1", "2"}, dead: []string{"malformed ", "malformed "},
		},
		{
			name: "a dead letter that can't be kept at once", messages: []*message{batch("bad")},
			bad: map[string]int{"bad": 400}, burials: 3, dead: []string{"refused bad"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, g := &fakeMeter{bad: c.bad, answer: c.answer}, &graveyard{fail: c.burials}
				newSink(f, g).flush(t.Context(), opened(c.messages...))
				var taken []string
				for id := range f.taken {
					taken = append(taken, id)
				}
				slices.Sort(taken)
				if d := cmp.Diff(c.taken, taken); d != "" {
					t.Errorf("metered (-want +got):\n%s", d)
				}
				if d := cmp.Diff(c.dead, g.ids()); d != "" {
					t.Errorf("dead letters (-want +got):\n%s", d)
				}
				for i, m := range c.messages {
					if m.acks != 1 || m.naks != 0 {
						t.Errorf("message %d: %d acks, %d naks, want one ack", i, m.acks, m.naks)
					}
				}
			})
		})
	}
}

// The invariant of the sink: whatever the meter answers, every event ends in
// exactly one final state, and every message is acknowledged once.
func TestOneFinalState(t *testing.T) {
	for seed := range uint64(100) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			var in []*message
			bad := map[string]int{}
			total := 0
			for range 1 + r.IntN(6) {
				var ids []string
				for range 1 + r.IntN(20) {
					id := fmt.Sprint(total)
					total++
					ids = append(ids, id)
					if r.IntN(8) == 0 {
						bad[id] = []int{400, 413, 422, 451}[r.IntN(4)]
					}
				}
				in = append(in, batch(ids...))
			}
			f := &fakeMeter{bad: bad, answer: func(int) error {
				switch r.IntN(6) {
				case 0:
					return &meter.Error{Status: 503, Class: meter.Retry, RetryAfter: time.Minute}
				case 1:
					return &meter.Error{Status: 401, Class: meter.Blocked}
				case 2:
					return context.DeadlineExceeded // no answer
				}
				return nil
			}}
			g := &graveyard{fail: r.IntN(3)}
			newSink(f, g).flush(t.Context(), opened(in...))
			for n := range total {
				id := fmt.Sprint(n)
				dead := 0
				for _, l := range g.letters {
					if l.ID == id {
						dead++
					}
				}
				if _, isBad := bad[id]; isBad && (dead != 1 || f.taken[id] != 0) || !isBad && (dead != 0 || f.taken[id] != 1) {
					t.Errorf("seed %d: event %s (bad: %v) was metered %d times and buried %d times", seed, id, isBad, f.taken[id], dead)
				}
			}
			for _, m := range in {
				if m.acks != 1 || m.naks != 0 {
					t.Errorf("seed %d: %d acks, %d naks", seed, m.acks, m.naks)
				}
			}
		})
	}
}

func TestWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		began := time.Now()
		f := &fakeMeter{answer: func(n int) error {
			at = append(at, time.Since(began))
			switch {
			case n == 1:
				return &meter.Error{Status: 429, Class: meter.Retry, RetryAfter: 42 * time.Second}
			case n < 20:
				return &meter.Error{Status: 500, Class: meter.Retry}
			}
			return nil
		}}
		m := batch("1")
		stop := stream.KeepAlive(t.Context(), opened(m))
		newSink(f, &graveyard{}).flush(t.Context(), opened(m))
		stop()
		if first := at[1] - at[0]; first < 42*time.Second {
			t.Errorf("asked again after %v, the meter said 42s", first)
		}
		for i := 2; i < len(at); i++ {
			if wait := at[i] - at[i-1]; wait > longestWait {
				t.Errorf("wait %d is %v, more than %v", i, wait, longestWait)
			}
		}
		last := at[len(at)-1] - at[len(at)-2]
		if last < longestWait/2 {
			t.Errorf("the last wait is %v, want it to have grown to at least %v", last, longestWait/2)
		}
		if want := int(at[len(at)-1] / stream.Heartbeat); m.alives < want-1 {
			t.Errorf("%d signs of life in %v, want one every %v", m.alives, at[len(at)-1], stream.Heartbeat)
		}
	})
}

// A stop in the middle gives the messages back at once.
func TestStopGivesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeMeter{answer: func(int) error { return &meter.Error{Status: 503, Class: meter.Retry} }}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		m := batch("1")
		newSink(f, &graveyard{}).flush(ctx, opened(m))
		if m.acks != 0 || m.naks != 1 {
			t.Errorf("%d acks, %d naks, want the message given back", m.acks, m.naks)
		}
	})
}

func TestCollect(t *testing.T) {
	type flush struct {
		at     time.Duration
		events int
	}
	many := func(n int) *message { return batch(manyIDs(n)...) }
	big := func() *message {
		return foreign("[" + strings.Repeat(" ", stream.MaxBodyBytes-2) + "]")
	}
	type arrival struct {
		after time.Duration
		msg   *message
	}
	for _, c := range []struct {
		name string
		in   []arrival
		want []flush
	}{
		{name: "nothing, no flush"},
		{
			name: "a hundred events trigger a flush",
			in:   []arrival{{0, many(60)}, {0, many(39)}, {0, many(1)}},
			want: []flush{{0, 100}},
		},
		{
			name: "a large message goes whole",
			in:   []arrival{{0, many(250)}},
			want: []flush{{0, 250}},
		},
		{
			name: "a lone event waits for the interval and no longer",
			in:   []arrival{{0, many(1)}, {400 * time.Millisecond, many(2)}, {2 * time.Second, many(1)}, {5 * time.Second, nil}},
			want: []flush{{time.Second, 3}, {3400 * time.Millisecond, 1}},
		},
		{
			name: "two full messages are enough for one flush",
			in:   []arrival{{0, big()}, {0, big()}, {0, big()}},
			want: []flush{{0, 2}, {0, 1}},
		},
		{
			name: "the end flushes the rest",
			in:   []arrival{{0, many(7)}},
			want: []flush{{0, 7}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				in := make(chan Message)
				go func() {
					defer close(in)
					for _, a := range c.in {
						time.Sleep(a.after)
						if a.msg != nil {
							in <- a.msg
						}
					}
				}()
				var got []flush
				newSink(&fakeMeter{}, &graveyard{}).collect(in, func(batch []delivery) {
					events := 0
					for _, d := range batch {
						events += d.envelope.Events
					}
					got = append(got, flush{time.Since(began), events})
				})
				if d := cmp.Diff(c.want, got, cmp.AllowUnexported(flush{})); d != "" {
					t.Errorf("flushes (-want +got):\n%s", d)
				}
			})
		})
	}
}

func TestStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failing := true
		f := &fakeMeter{answer: func(int) error {
			if failing {
				return &meter.Error{Status: 401, Class: meter.Blocked}
			}
			return nil
		}}
		s := newSink(f, &graveyard{})
		done := make(chan struct{})
		go func() { defer close(done); s.flush(t.Context(), opened(batch("1"))) }()
		synctest.Wait()
		if st := s.Status(); st.Failing.IsZero() || st.Class != meter.Blocked || st.Err == nil {
			t.Errorf("status while the key is wrong: %+v", st)
		}
		f.mu.Lock()
		failing = false
		f.mu.Unlock()
		<-done
		if st := s.Status(); !st.Failing.IsZero() || st.Taken.IsZero() || st.Err != nil {
			t.Errorf("status after it was mended: %+v", st)
		}
	})
}

// FuzzMessage feeds the decoders of stream messages whatever a stranger might
// publish: a message is delivered or buried, and always ends.
func FuzzMessage(f *testing.F) {
	for _, s := range []string{`[]`, `[{}]`, `{}`, ``, `[`, `[1,2]`, " [ {\"id\":\"1\"} ]\n", `[}{]`, "[\xff]", `[[[[]]]]`, `null`, `[null]`} {
		f.Add("", []byte(s), []byte(`[{"id":"ok"}]`))
	}
	compressed := batch(manyIDs(100)...).Msg.Data
	f.Add("zstd", compressed, []byte(`[]`))
	f.Add("zstd", compressed[:len(compressed)/2], []byte(`[]`))
	f.Add("br", []byte(`[]`), []byte(`[]`))
	f.Fuzz(func(t *testing.T, encoding string, a, b []byte) {
		fm, g := &fakeMeter{}, &graveyard{}
		in := []*message{encoded(encoding, string(a)), foreign(string(b))}
		deliveries := opened(in...)
		newSink(fm, g).flush(t.Context(), deliveries)
		for i, m := range in {
			if m.acks != 1 {
				t.Errorf("message %d was acknowledged %d times", i, m.acks)
			}
		}
		elements, err := split(deliveries[0])
		if err != nil {
			return
		}
		again, err := split(delivery{body: array(elements)})
		if err != nil || len(again) != len(elements) {
			t.Errorf("split and joined again: %d elements, %v, want %d", len(again), err, len(elements))
		}
	})
}
