package load

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/stream/streamtest"
)

func plan() NATSPlan {
	return NATSPlan{Size: 1000, Publishers: 2, Window: 2, Replicas: 1, For: 300 * time.Millisecond, Warm: 50 * time.Millisecond, MaxBytes: 64 << 20}
}

// names are the streams that a server has.
func names(t *testing.T, js jetstream.JetStream) string {
	t.Helper()
	var out []string
	list := js.StreamNames(t.Context())
	for name := range list.Name() {
		out = append(out, name)
	}
	if list.Err() != nil {
		t.Fatal(list.Err())
	}
	return strings.Join(out, " ")
}

// A measurement counts what was acknowledged, and leaves the server as it was.
func TestNATS(t *testing.T) {
	js, _ := streamtest.Start(t)
	ours, err := stream.Ensure(t.Context(), js, stream.Config{Name: "kgent-events", Replicas: 1})
	if err != nil {
		t.Fatal(err)
	}
	before := names(t, js)
	r, err := NATS(t.Context(), js, plan())
	if err != nil {
		t.Fatal(err)
	}
	if r.Messages < 10 || r.Failed != 0 || r.Ack.P50 <= 0 || r.Ack.Max < r.Ack.P50 || r.PerSecond <= 0 || r.MBPerSec != r.PerSecond*1000/1e6 {
		t.Errorf("%+v", r)
	}
	if after := names(t, js); after != before {
		t.Errorf("streams before: %s; after: %s", before, after)
	}
	info, err := ours.Events.Info(t.Context())
	if err != nil || info.State.Msgs != 0 {
		t.Errorf("the stream of events has got messages: %+v, %v", info.State, err)
	}
}

func TestNATSEndsAtItsBound(t *testing.T) {
	js, _ := streamtest.Start(t)
	p := plan()
	p.For, p.Warm, p.MaxBytes = time.Hour, 0, 64*1000
	r, err := NATS(t.Context(), js, p)
	if err != nil || r.Messages != 32 || r.Failed != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

// However short it is, what is under way at the end counts.
func TestNATSCountsWhatIsUnderWay(t *testing.T) {
	js, _ := streamtest.Start(t)
	p := plan()
	p.For, p.Warm = time.Nanosecond, time.Nanosecond
	if r, err := NATS(t.Context(), js, p); err != nil || r.Messages != 4 || r.Failed != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

// A stream that is there is another's: nothing is done to it.
func TestNATSRefusesAStreamThatIsThere(t *testing.T) {
	js, _ := streamtest.Start(t)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: ScratchStream, Subjects: []string{"mine"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := NATS(t.Context(), js, plan()); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("error: %v", err)
	}
	if got := names(t, js); got != ScratchStream {
		t.Errorf("streams: %s", got)
	}
}

// Ctrl-C deletes the stream, too.
func TestNATSInterrupted(t *testing.T) {
	js, _ := streamtest.Start(t)
	ctx, cancel := context.WithCancel(t.Context())
	p := plan()
	p.For = time.Hour
	time.AfterFunc(200*time.Millisecond, cancel)
	if _, err := NATS(ctx, js, p); !errors.Is(err, context.Canceled) {
		t.Errorf("error: %v", err)
	}
	if got := names(t, js); got != "" {
		t.Errorf("streams: %s", got)
	}
}

func TestNATSBounds(t *testing.T) {
	js, _ := streamtest.Start(t)
	for want, change := range map[string]func(*NATSPlan){
		"size":          func(p *NATSPlan) { p.Size = MaxMessage + 1 },
		"publishers":    func(p *NATSPlan) { p.Publishers = 0 },
		"window":        func(p *NATSPlan) { p.Window = MaxWindow + 1 },
		"copies":        func(p *NATSPlan) { p.Replicas = 2 },
		"length":        func(p *NATSPlan) { p.For = 0 },
		"bytes":         func(p *NATSPlan) { p.MaxBytes = 1 },
		"can't be made": func(p *NATSPlan) { p.Replicas = 3 }, // of one server
	} {
		p := plan()
		change(&p)
		if _, err := NATS(t.Context(), js, p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if got := names(t, js); got != "" {
		t.Errorf("streams: %s", got)
	}
}
