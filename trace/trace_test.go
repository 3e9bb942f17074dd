package trace

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/consume/deadletter"
	"github.com/kgents/kgents/meter"
	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/stream/streamtest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server.init.0.func1"))
}

// rows are what a meter lists.
type rows struct {
	list []meter.StoredEvent
	err  error
}

func (r *rows) Events(_ context.Context, f meter.EventFilter) (found []meter.StoredEvent, err error) {
	for _, row := range r.list {
		var h head
		_ = json.Unmarshal(row.Event, &h)
		if strings.Contains(h.ID, f.ID) {
			found = append(found, row)
		}
	}
	return found, r.err
}

// bed is a stream with a sink's consumer, and a meter.
type bed struct {
	t        *testing.T
	js       jetstream.JetStream
	config   stream.Config
	consumer jetstream.Consumer
	meter    *rows
	stop     func()
	*Tracer
}

func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{t: t, config: stream.Config{Name: "kgent-events", Replicas: 1}, meter: &rows{}}
	b.js, b.stop = streamtest.Start(t)
	streams, err := stream.Ensure(t.Context(), b.js, b.config)
	if err != nil {
		t.Fatal(err)
	}
	if b.consumer, err = streams.Consumer(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.Tracer = New(Config{JetStream: b.js, Stream: b.config, Meter: b.meter, Log: slog.New(slog.DiscardHandler)})
	return b
}

func raw(source, id string) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":%q,"type":"agent.tokens","subject":"acme","time":"2026-11-28T12:00:00Z","data":{"secret":1}}`, id, source))
}

// store publishes a message with events of these ids.
func (b *bed) store(source string, ids ...string) {
	b.t.Helper()
	var events []kgents.Event
	for _, id := range ids {
		events = append(events, kgents.Event{ID: id, Source: source, Raw: raw(source, id)})
	}
	msg := stream.Encode(events, time.Now().Add(-time.Second))
	msg.Header.Del(nats.MsgIdHdr) // the same again is another message
	if _, err := b.js.PublishMsg(b.t.Context(), msg); err != nil {
		b.t.Fatal(err)
	}
}

// finish acknowledges n messages.
func (b *bed) finish(n int) {
	b.t.Helper()
	batch, err := b.consumer.Fetch(n, jetstream.FetchMaxWait(5*time.Second))
	if err != nil {
		b.t.Fatal(err)
	}
	for msg := range batch.Messages() {
		if err := msg.DoubleAck(b.t.Context()); err != nil {
			b.t.Fatal(err)
		}
	}
}

func (b *bed) metered(source, id, problem string) {
	b.meter.list = append(b.meter.list, meter.StoredEvent{Event: raw(source, id), IngestedAt: time.Now().Add(-time.Second), StoredAt: time.Now(), ValidationError: problem})
}

func (b *bed) bury(source, id string) {
	b.t.Helper()
	l := deadletter.New(raw(source, id), deadletter.Refused, 400, "the meter's words", time.Now(), time.Now(), 0)
	if err := deadletter.NewStore(b.js, b.config).Bury(b.t.Context(), l); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bed) ask(q Question) Answer {
	b.t.Helper()
	if q.Since.IsZero() {
		q.Since = time.Now().Add(-DefaultSince)
	}
	a, err := b.Ask(b.t.Context(), q)
	if err != nil {
		b.t.Fatal(err)
	}
	return a
}

// states are those of an event's stages.
func states(e Event) (out []string) {
	for _, s := range e.Stages {
		out = append(out, string(s.Name)+" "+string(s.State))
	}
	return out
}

func TestStages(t *testing.T) {
	b := newBed(t)
	b.store("runner", "x-metered", "another")
	b.store("runner", "x-invalid")
	b.store("runner", "x-dead")
	b.store("runner", "x-recent")
	b.finish(4)
	b.store("runner", "x-waiting")
	b.metered("runner", "x-metered", "")
	b.metered("runner", "x-invalid", "no usable value")
	b.metered("runner", "x-listed", "")
	b.bury("runner", "x-dead")
	for id, want := range map[string]struct {
		states  []string
		verdict string
	}{
		"x-metered": {[]string{"received done", "stream done", "delivered done", "metered done", "deadletter absent"}, IsMetered},
		"x-invalid": {[]string{"received done", "stream done", "delivered done", "metered done", "deadletter absent"}, IsNotCounted},
		"x-dead":    {[]string{"received done", "stream done", "delivered done", "metered absent", "deadletter done"}, IsDead},
		"x-recent":  {[]string{"received done", "stream done", "delivered done", "metered waiting", "deadletter absent"}, IsWaiting},
		"x-waiting": {[]string{"received done", "stream done", "delivered waiting", "metered waiting", "deadletter absent"}, IsWaiting},
		"x-listed":  {[]string{"received absent", "stream absent", "delivered done", "metered done", "deadletter absent"}, IsMetered},
	} {
		t.Run(id, func(t *testing.T) {
			a := b.ask(Question{ID: id})
			if len(a.Events) != 1 || a.Verdict != want.verdict || !a.Looked.Whole || a.Looked.Messages != 5 || a.Looked.Letters != 1 || !a.Looked.Meter {
				t.Fatalf("%+v", a)
			}
			if d := cmp.Diff(want.states, states(a.Events[0])); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if e := a.Events[0]; e.Source != "runner" || e.Type != "agent.tokens" || e.Subject != "acme" {
				t.Errorf("the event is %+v", e)
			}
		})
	}
	if a := b.ask(Question{ID: "x-metered"}); a.Events[0].Stages[1].Detail["batch_size"] != 2 || a.Events[0].Stages[1].Detail["seq"] != uint64(1) {
		t.Errorf("the stream's detail is %v", a.Events[0].Stages[1].Detail)
	}
	if a := b.ask(Question{ID: "x-"}); len(a.Events) != 0 || a.Verdict != "not found in the last 72h" {
		t.Errorf("a part of an id is %+v", a)
	}
}

// What is long acknowledged and nowhere is missing. It is not called so when the meter
// can't be asked.
func TestMissing(t *testing.T) {
	f := &finding{head: head{Source: "s", ID: "1"}, hits: []hit{{seq: 1, at: time.Now().Add(-time.Hour)}}}
	through := place{first: 1, last: 9, sink: true, floor: 9, sent: 9}
	for name, c := range map[string]struct {
		place  place
		looked Looked
		want   string
	}{
		"missing":                    {through, Looked{Whole: true, Meter: true}, IsMissing},
		"without the meter":          {through, Looked{Whole: true}, IsUnknown},
		"perhaps a dead letter":      {through, Looked{Meter: true}, IsUnknown},
		"a sink is at it":            {place{sink: true, floor: 0, sent: 5}, Looked{Whole: true, Meter: true}, IsWaiting},
		"there was never a sink":     {place{}, Looked{Whole: true, Meter: true}, IsWaiting},
		"waiting, without the meter": {place{sink: true}, Looked{Whole: true}, IsWaiting},
	} {
		if e := f.event(c.place, c.looked, time.Now()); e.Verdict != c.want {
			t.Errorf("%s: %s, want %s", name, e.Verdict, c.want)
		}
	}
}

// One id of several sources is several events.
func TestSources(t *testing.T) {
	b := newBed(t)
	b.store("a", "1")
	b.store("b", "1", "2")
	b.store("a", "1")
	b.metered("c", "1", "")
	a := b.ask(Question{ID: "1"})
	if d := cmp.Diff([]string{"a", "b", "c"}, a.Sources); d != "" || len(a.Events) != 3 || a.Verdict != "found with 3 sources" {
		t.Errorf("%s (-want +got):\n%s", a.Verdict, d)
	}
	if detail := a.Events[0].Stages[1].Detail; detail["copies"] != 2 || detail["seq"] != uint64(1) || detail["last_seq"] != uint64(3) {
		t.Errorf("twice in the stream is %v", detail)
	}
	if a = b.ask(Question{ID: "1", Source: "b"}); len(a.Events) != 1 || a.Events[0].Source != "b" {
		t.Errorf("of one source there is %+v", a)
	}
}

// Many messages are looked at in several goes; what is older than asked for isn't.
func TestWindows(t *testing.T) {
	b := newBed(t)
	b.store("s", "first")
	for i := range 2*window + 10 {
		if _, err := b.js.PublishMsgAsync(stream.Encode([]kgents.Event{{ID: fmt.Sprint(i), Source: "s", Raw: raw("s", fmt.Sprint(i))}}, time.Now()), jetstream.WithStallWait(10*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	<-b.js.PublishAsyncComplete()
	if a := b.ask(Question{ID: "first"}); len(a.Events) != 1 || a.Looked.Messages != 2*window+11 || !a.Looked.Whole {
		t.Errorf("looked at %+v, found %d", a.Looked, len(a.Events))
	}
	since := time.Now()
	b.store("s", "last")
	if a := b.ask(Question{ID: "first", Since: since}); len(a.Events) != 0 || a.Looked.Messages != 1 || !a.Looked.Whole || a.Looked.From.Before(since) {
		t.Errorf("of the last moment %+v, found %d", a.Looked, len(a.Events))
	}
	b.metered("s", "first", "")
	p, err := b.place(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if l, err := b.around(t.Context(), Question{ID: "first"}, p, time.Now()); err != nil || len(l.hits) != 1 || l.messages != 1 {
		t.Errorf("around its time there are %d in %d, %v", len(l.hits), l.messages, err)
	}
}

// Whatever is away is said, and nothing is concluded from it.
func TestAway(t *testing.T) {
	b := newBed(t)
	b.store("s", "1")
	b.finish(1)
	b.meter.err = errors.New("away")
	a := b.ask(Question{ID: "1"})
	if a.Looked.Meter || a.Events[0].Stages[3].State != Unknown {
		t.Errorf("without the meter %+v", a)
	}
	b.Spooled = func() int { return 3 }
	if a := b.ask(Question{ID: "none"}); a.Verdict != "not found; 3 events wait on this replica's disk for NATS" {
		t.Errorf("with a spool it is %q", a.Verdict)
	}
	b.stop()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := b.Ask(ctx, Question{ID: "1", Since: time.Now().Add(-time.Hour)}); kgents.ErrorCode(err) != kgents.CodeUnavailable {
		t.Errorf("without NATS the error is %v", err)
	}
}

func TestFind(t *testing.T) {
	for name, c := range map[string]struct {
		id, body string
		want     int
	}{
		"plain":           {"evt_1", `[{"id":"evt_1","source":"stripe"}]`, 1},
		"another's part":  {"evt_1", `[{"id":"evt_11"},{"id":"2","data":"evt_1"}]`, 0},
		"written escaped": {"evt_1", `[{"id":"\u0065vt_1"}]`, 1},
		"a slash":         {"a/b", `[{"id":"a\/b"}]`, 1},
		"a quote":         {`a"b`, `[{"id":"a\"b"}]`, 1},
		"no batch":        {"evt_1", `"evt_1"`, 0},
		"a bad type":      {"evt_1", `[{"id":"evt_1","subject":7}]`, 1},
	} {
		if got := find(c.id, nil, []byte(c.body)); len(got) != c.want {
			t.Errorf("%s: found %v", name, got)
		}
	}
}

func TestRoute(t *testing.T) {
	b := newBed(t)
	b.store("acme/runner", "evt/1")
	mux := http.NewServeMux()
	mux.Handle("GET "+Path, b)
	for name, c := range map[string]struct {
		path   string
		status int
		has    string
	}{
		"found":             {"/api/v1/trace/evt%2F1?source=" + url.QueryEscape("acme/runner") + "&since=1h", 200, `"verdict":"waiting"`},
		"not found":         {"/api/v1/trace/nothing?since=1h", 200, `"events":[],"verdict":"not found in the last 1h"`},
		"too long ago":      {"/api/v1/trace/1?since=31d", 400, "last 30 days"},
		"no time":           {"/api/v1/trace/1?since=x", 400, "as in 90m"},
		"mistyped":          {"/api/v1/trace/1?sourse=x", 400, "there is no parameter"},
		"twice":             {"/api/v1/trace/1?source=x&source=y", 400, "given twice"},
		"no id that can be": {"/api/v1/trace/" + strings.Repeat("x", kgents.MaxIDBytes+1), 400, "1 to"},
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, httptest.NewRequest("GET", c.path, nil))
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.has) || strings.Contains(w.Body.String(), "secret") {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
}
