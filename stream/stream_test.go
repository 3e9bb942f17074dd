package stream_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/kgents/kgents/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// embedded starts a server in dir, which ends with the test or with stop.
func embedded(t *testing.T, dir string) (js jetstream.JetStream, stop func()) {
	t.Helper()
	server, err := stream.StartEmbedded(dir, quiet)
	if err != nil {
		t.Fatal(err)
	}
	nc, err := server.Connect("test", quiet)
	if err != nil {
		t.Fatal(err)
	}
	if js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			nc.Close()
			server.Stop()
		}
	}
	t.Cleanup(stop)
	return js, stop
}

// A stream refuses rather than forgets, whatever somebody had set before.
func TestEnsure(t *testing.T) {
	js, _ := embedded(t, t.TempDir())
	ctx := t.Context()
	config := stream.Config{Name: "events", Replicas: 1}
	weak := jetstream.StreamConfig{Name: "events", Subjects: []string{"kgent.>"}, Storage: jetstream.FileStorage,
		Discard: jetstream.DiscardOld, MaxMsgs: 10, MaxAge: time.Minute}
	if _, err := js.CreateStream(ctx, weak); err != nil {
		t.Fatal(err)
	}
	for range 2 { // it may be called again, by another process for example
		if _, err := stream.Ensure(ctx, js, config); err != nil {
			t.Fatal(err)
		}
	}
	type settings struct {
		Subjects  []string
		Storage   jetstream.StorageType
		Retention jetstream.RetentionPolicy
		Discard   jetstream.DiscardPolicy
		MaxMsgs   int64
		MaxBytes  int64
		MaxAge    time.Duration
	}
	for name, want := range map[string]settings{
		"events":      {[]string{"kgent.>"}, jetstream.FileStorage, jetstream.LimitsPolicy, jetstream.DiscardNew, -1, -1, 30 * 24 * time.Hour},
		"events-dead": {[]string{"kgent-dead.events.>"}, jetstream.FileStorage, jetstream.LimitsPolicy, jetstream.DiscardNew, -1, -1, 0},
	} {
		s, err := js.Stream(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		c := s.CachedInfo().Config
		got := settings{c.Subjects, c.Storage, c.Retention, c.Discard, c.MaxMsgs, c.MaxBytes, c.MaxAge}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("stream %s (-want +got):\n%s", name, d)
		}
	}
	s, err := js.Stream(ctx, "events")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Purge(ctx); err == nil {
		t.Error("the stream of events let itself be purged")
	}
	if err := s.DeleteMsg(ctx, 1); err == nil {
		t.Error("the stream of events let a message be deleted")
	}
}

// A full stream refuses what is new; it never drops what is old.
func TestFullStreamRefuses(t *testing.T) {
	js, _ := embedded(t, t.TempDir())
	ctx := t.Context()
	streams, err := stream.Ensure(ctx, js, stream.Config{Name: "events", Replicas: 1, MaxBytes: 100 << 10})
	if err != nil {
		t.Fatal(err)
	}
	stored := uint64(0)
	for {
		_, err := js.Publish(ctx, stream.Subject, make([]byte, 10<<10))
		if err != nil {
			if api, ok := errors.AsType[*jetstream.APIError](err); !ok || api.ErrorCode != 10077 {
				t.Fatalf("the full stream answered %v, want its error 10077 (maximum bytes exceeded)", err)
			}
			break
		}
		if stored++; stored > 20 {
			t.Fatal("the stream takes more than it may hold")
		}
	}
	info, err := streams.Events.Info(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if info.State.FirstSeq != 1 || info.State.Msgs != stored {
		t.Errorf("it holds %d messages from %d on, want all %d", info.State.Msgs, info.State.FirstSeq, stored)
	}
}

// Backlog is what the consumer hasn't acknowledged, with the age of the oldest,
// also across a restart.
func TestBacklog(t *testing.T) {
	dir := t.TempDir()
	config := stream.Config{Name: "events", Replicas: 1}
	js, stop := embedded(t, dir)
	ctx := t.Context()
	streams, err := stream.Ensure(ctx, js, config)
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := streams.Consumer(ctx)
	if err != nil {
		t.Fatal(err)
	}
	expect := func(js jetstream.JetStream, messages int64) stream.Backlog {
		t.Helper()
		b, err := stream.ReadBacklog(ctx, js, config)
		if err != nil {
			t.Fatal(err)
		}
		if b.Messages != messages || b.Oldest.IsZero() != (messages == 0) {
			t.Errorf("backlog %+v, want %d messages", b, messages)
		}
		return b
	}
	if age := expect(js, 0).Age(time.Now()); age != 0 {
		t.Errorf("an empty backlog is %v old", age)
	}
	for _, id := range []string{"1", "2", "3"} {
		if _, err := js.PublishMsg(ctx, stream.Encode(events(`{"id":"`+id+`"}`), time.Now())); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond) // the messages' times differ
	}
	first := expect(js, 3)
	if age := first.Age(first.Oldest.Add(time.Minute)); age != time.Minute {
		t.Errorf("age is %v, want 1m0s", age)
	}
	batch, err := consumer.Fetch(1)
	if err != nil {
		t.Fatal(err)
	}
	for msg := range batch.Messages() {
		if err := msg.DoubleAck(ctx); err != nil {
			t.Fatal(err)
		}
	}
	second := expect(js, 2)
	if !second.Oldest.After(first.Oldest) {
		t.Errorf("the oldest is of %v, and was of %v before it was acknowledged", second.Oldest, first.Oldest)
	}
	stop()
	js, _ = embedded(t, dir)
	if again := expect(js, 2); !again.Oldest.Equal(second.Oldest) {
		t.Errorf("after the restart the oldest is of %v, want %v", again.Oldest, second.Oldest)
	}
}

// While the server is away, Connect returns at once and a publish fails at once:
// nothing waits in a buffer that would die with the process.
func TestConnectWithoutServer(t *testing.T) {
	began := time.Now()
	nc, err := stream.Connect(stream.Remote{Servers: []string{"nats://127.0.0.1:1"}}, "test", quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("Connect took %v", took)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := js.PublishMsg(ctx, nats.NewMsg(stream.Subject)); err == nil {
		t.Error("a publish without a server succeeded")
	}
	if _, err := stream.Ensure(ctx, js, stream.Config{Name: "events", Replicas: 1}); err == nil {
		t.Error("Ensure without a server succeeded")
	}
}

func TestConnectRefuses(t *testing.T) {
	for name, r := range map[string]stream.Remote{
		"credentials that are not there": {Servers: []string{"nats://127.0.0.1:1"}, Creds: t.TempDir() + "/none"},
		"a CA that is not there":         {Servers: []string{"tls://127.0.0.1:1"}, TLSCA: t.TempDir() + "/none"},
		"a URL that is none":             {Servers: []string{"nats://%zz"}},
	} {
		t.Run(name, func(t *testing.T) {
			nc, err := stream.Connect(r, "test", quiet)
			if err == nil {
				nc.Close()
				t.Error("no error")
			}
		})
	}
}

func TestEmbeddedRefuses(t *testing.T) {
	if _, err := stream.StartEmbedded("/dev/null/streams", quiet); err == nil {
		t.Error("a server started in a directory that can't be made")
	}
}
