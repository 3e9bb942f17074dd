package backup

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents/stream"
)

// sink is the consumer of the streams as they are.
func (b *bed) sink() jetstream.Consumer {
	b.Helper()
	s, err := stream.Ensure(b.Context(), b.js, b.config)
	if err != nil {
		b.Fatal(err)
	}
	c, err := s.Consumer(b.Context()) // as a sink makes it at its start
	if err != nil {
		b.Fatal(err)
	}
	return c
}

// finish takes and acknowledges n messages, or all that come if n is 0, and returns
// their bodies.
func (b *bed) finish(n int) (out []string) {
	b.Helper()
	c := b.sink()
	for {
		fetch := func() (jetstream.MessageBatch, error) { return c.FetchNoWait(500) }
		if n > 0 {
			fetch = func() (jetstream.MessageBatch, error) { return c.Fetch(n, jetstream.FetchMaxWait(5*time.Second)) }
		}
		batch, err := fetch()
		if err != nil {
			b.Fatal(err)
		}
		before := len(out)
		for msg := range batch.Messages() {
			if err := msg.DoubleAck(b.Context()); err != nil {
				b.Fatal(err)
			}
			out = append(out, string(msg.Data()))
		}
		if n > 0 || len(out) == before {
			return out
		}
	}
}

// After a restore for a meter that remembers, the sink gets what was not finished, and
// nothing else; a backup that is too old for that is left to reconciliation.
func TestMetered(t *testing.T) {
	b := newBed(t).ensure()
	var bodies []string
	for i := range 600 { // several windows
		m := batch(fmt.Sprint(i), 1)
		bodies = append(bodies, string(m.Data))
		b.publish(m)
	}
	b.finish(300)
	young, old := t.TempDir(), t.TempDir()
	m := b.backup(young)
	if m.Streams[1].Metered != 300 || m.Streams[0].Metered != 0 {
		t.Fatalf("the manifest has %d and %d as metered, want 300 and 0", m.Streams[1].Metered, m.Streams[0].Metered)
	}
	if err := os.CopyFS(old, os.DirFS(young)); err != nil {
		t.Fatal(err)
	}
	m.Began = m.Began.Add(-MeterRemembers - time.Minute)
	text, err := m.encode()
	if err == nil {
		err = os.WriteFile(filepath.Join(old, manifestName), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	after := func(i int) string { return string(batch(fmt.Sprint("after the loss ", i), 1).Data) }
	for name, test := range map[string]struct {
		dir   string
		how   How
		want  []string
		skips uint64
	}{
		"everything":            {young, How{Behind: true}, append([]string{after(1), after(2)}, bodies...), 0},
		"what was not metered":  {young, How{Behind: true, Metered: true}, slices.Concat(bodies[300:], []string{after(1), after(2)}), 300},
		"nothing of an old one": {old, How{Behind: true, Metered: true}, []string{after(1), after(2)}, 600},
	} {
		t.Run(name, func(t *testing.T) {
			to := newBed(t).ensure()
			for i := range 3 {
				to.publish(batch(fmt.Sprint("after the loss ", i), 1))
			}
			to.finish(1)
			r, err := Restore(t.Context(), to.js, to.config, Dir(test.dir), test.how, nil)
			if err != nil || !r.Same || r.Streams[1].Stored != 600 || r.Streams[1].Metered != test.skips {
				t.Fatalf("%v, %+v", err, r)
			}
			if d := cmp.Diff(test.want, to.finish(0)); d != "" {
				t.Errorf("the sink got (-want +got):\n%.1000s", d)
			}
		})
	}
	// Into servers that have nothing, of a stream whose every message was metered.
	b.finish(300)
	all := t.TempDir()
	b.backup(all)
	to := newBed(t)
	if r, err := Restore(t.Context(), to.js, to.config, Dir(all), How{Metered: true}, nil); err != nil || !r.Same || r.Streams[1].Metered != 600 || r.Streams[1].Moved != 0 {
		t.Errorf("%v, %+v", err, r)
	}
	to.publish(batch("new", 1))
	if d := cmp.Diff([]string{string(batch("new", 1).Data)}, to.finish(0)); d != "" {
		t.Errorf("the sink got (-want +got):\n%.1000s", d)
	}
}
