package spool_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/publish/spool"
	"github.com/kgents/kgents/stream"
)

// bed is a spool in a directory of the test's, with what it logs.
type bed struct {
	*testing.T
	*spool.Spool
	dir string
	log bytes.Buffer
	reg *prometheus.Registry
}

func open(t *testing.T, dir string, maxBytes int64) *bed {
	t.Helper()
	b := &bed{T: t, dir: dir, reg: prometheus.NewRegistry()}
	var err error
	b.Spool, err = spool.Open(spool.Config{Dir: dir, MaxBytes: maxBytes, Log: slog.New(slog.NewTextHandler(&b.log, nil)), Registerer: b.reg})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// message carries n events, told apart by id.
func message(id string, n int) *nats.Msg {
	var events []kgents.Event
	for i := range n {
		events = append(events, kgents.Event{Raw: fmt.Appendf(nil, `{"id":"%s-%d"}`, id, i)})
	}
	return stream.Encode(events, time.Now())
}

func (b *bed) append(msgs ...*nats.Msg) {
	b.Helper()
	for _, m := range msgs {
		if err := b.Append(m); err != nil {
			b.Fatal(err)
		}
	}
}

// drain takes out everything and returns the bodies.
func (b *bed) drain() (bodies []string) {
	b.Helper()
	for {
		msg, err := b.Next()
		if err != nil {
			b.Fatal(err)
		}
		if msg == nil {
			return bodies
		}
		bodies = append(bodies, body(b.T, msg))
		if err := b.Done(); err != nil {
			b.Fatal(err)
		}
	}
}

func body(t *testing.T, msg *nats.Msg) string {
	t.Helper()
	b, err := stream.Body(msg.Header, msg.Data)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func segments(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// What comes out is what went in, byte for byte, in its order, also after a
// restart, and the files go with what has arrived.
func TestInOrder(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir, 1<<30)
	first, second := message("a", 3), message("b", 200) // the second is compressed
	b.append(first, second)
	if st := b.Status(); st.Messages != 2 || st.Events != 203 || st.Oldest.IsZero() {
		t.Errorf("status %+v", st)
	}
	b.Close()

	b = open(t, dir, 1<<30)
	b.append(message("c", 1))
	for _, want := range []*nats.Msg{first, second} {
		for range 2 { // the same one until it is done
			got, err := b.Next()
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff([]any{want.Subject, want.Header, want.Data}, []any{got.Subject, got.Header, got.Data}); d != "" {
				t.Errorf("message (-want +got):\n%s", d)
			}
		}
		if err := b.Done(); err != nil {
			t.Fatal(err)
		}
	}
	if got := b.drain(); len(got) != 1 {
		t.Errorf("%d messages left, want one", len(got))
	}
	if st := b.Status(); st != (spool.Status{}) {
		t.Errorf("status of an empty spool: %+v", st)
	}
	if left := segments(t, dir); len(left) != 0 {
		t.Errorf("files left: %v", left)
	}
}

func TestBound(t *testing.T) {
	b := open(t, t.TempDir(), 1000)
	stored := 0
	var err error
	for err == nil {
		if err = b.Append(message("a", 1)); err == nil {
			stored++
		}
	}
	if !errors.Is(err, spool.ErrFull) || stored == 0 || b.Status().Bytes > 1000 {
		t.Errorf("%d messages of %d bytes, then %v", stored, b.Status().Bytes, err)
	}
	if got := b.drain(); len(got) != stored {
		t.Errorf("%d messages came out of the full spool, want %d", len(got), stored)
	}
	b.append(message("b", 1)) // there is room again
}

// A crash can leave any beginning of the last write. It was not acknowledged, so
// it is cut; what was acknowledged is there.
func TestTornTail(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir, 1<<20)
	b.append(message("a", 1), message("b", 1))
	whole := b.Status().Bytes
	b.append(message("c", 1))
	b.Close()
	path := segments(t, dir)[0]
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := whole; cut < int64(len(content)); cut++ {
		for name, tail := range map[string][]byte{"short": nil, "with zeros behind": make([]byte, int64(len(content))-cut)} {
			if name == "with zeros behind" && cut > whole {
				continue // bytes that were never written, behind some that were: told as damage
			}
			if err := os.WriteFile(path, append(bytes.Clone(content[:cut]), tail...), 0o600); err != nil {
				t.Fatal(err)
			}
			b := open(t, dir, 1<<20)
			if st := b.Status(); st.Messages != 2 || st.Bytes != whole {
				t.Fatalf("cut at %d of %d, %s: %+v, want the two messages before", cut, len(content), name, st)
			}
			if strings.Contains(b.log.String(), "level=ERROR") {
				t.Errorf("cut at %d: a torn tail was taken for damage:\n%s", cut, b.log.String())
			}
			b.append(message("d", 1))
			b.Close()
			again := open(t, dir, 1<<20)
			if st := again.Status(); st.Messages != 3 {
				t.Fatalf("cut at %d: %d messages after one more", cut, st.Messages)
			}
			again.Close()
			for _, f := range segments(t, dir) {
				os.Remove(f)
			}
		}
	}
}

// Every single flipped bit is detected: the record it is in is told and kept, its
// neighbours come out, and nothing that comes out is changed.
func TestFlippedBits(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir, 1<<20)
	want := map[string]bool{}
	for _, id := range []string{"a", "b", "c"} {
		m := message(id, 1)
		want[body(t, m)] = true
		b.append(m)
	}
	b.Close()
	path := segments(t, dir)[0]
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for bit := range len(content) * 8 {
		if bit >= 24*8 && bit%7 != 0 {
			continue // all of the first record's header, and some of everything
		}
		flipped := bytes.Clone(content)
		flipped[bit/8] ^= 1 << (bit % 8)
		if err := os.WriteFile(path, flipped, 0o600); err != nil {
			t.Fatal(err)
		}
		b := open(t, dir, 1<<20)
		got := b.drain()
		if len(got) != 2 {
			t.Fatalf("bit %d: %d messages came out, want the two sound ones", bit, len(got))
		}
		for _, g := range got {
			if !want[g] {
				t.Fatalf("bit %d: %q came out, which nobody put in", bit, g)
			}
		}
		if !strings.Contains(b.log.String(), "the spool is damaged") {
			t.Fatalf("bit %d: nothing was said:\n%s", bit, b.log.String())
		}
		b.Close()
		found, err := spool.Inspect(dir)
		if err != nil {
			t.Fatal(err)
		}
		if len(found) != 1 || !found[0].Kept || len(found[0].Damage) != 1 {
			t.Fatalf("bit %d: the damaged file was not kept: %+v", bit, found)
		}
		os.Remove(found[0].Path)
	}
}

// A record that is changed while the program runs is found when its turn comes.
func TestChangedWhileRunning(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir, 1<<20)
	b.append(message("a", 1), message("b", 1))
	path := segments(t, dir)[0]
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("x"), 60); err != nil {
		t.Fatal(err)
	}
	if got := b.drain(); len(got) != 1 || !strings.Contains(got[0], "b-0") {
		t.Errorf("came out: %q, want b alone", got)
	}
	n, err := testutil.GatherAndCount(b.reg, "kgents_spool_damaged_total")
	if err != nil || n != 1 || !strings.Contains(b.log.String(), "the spool is damaged") {
		t.Errorf("the damage was not told: %v, %s", err, b.log.String())
	}
}

// A disk that fails: the append is refused, and what was acknowledged stays.
func TestDiskFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	b := open(t, dir, 1<<30)
	b.append(message("a", 1))
	b.Close()
	b = open(t, dir, 1<<30)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := b.Append(message("b", 1)); err == nil {
		t.Error("an append without a directory was acknowledged")
	}
	if _, err := spool.Open(spool.Config{Dir: "/dev/null/x", MaxBytes: 1, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()}); err == nil {
		t.Error("a spool was opened where none can be")
	}
}

// Whatever the order of appends, arrivals and crashes: what was acknowledged and
// hasn't arrived is there, in its order, and nothing else.
func TestModel(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 1))
		dir := t.TempDir()
		b := open(t, dir, 1<<30)
		var model []string
		for step := range 200 {
			switch n := r.IntN(20); {
			case n < 10:
				size := 1 + r.IntN(3)
				if r.IntN(40) == 0 {
					size = 20_000 // fills segments
				}
				m := message(fmt.Sprint(seed, "-", step), size)
				b.append(m)
				model = append(model, body(t, m))
			case n < 18:
				msg, err := b.Next()
				if err != nil {
					t.Fatal(err)
				}
				if (msg == nil) != (len(model) == 0) || msg != nil && body(t, msg) != model[0] {
					t.Fatalf("seed %d, step %d: another message than the model's %d", seed, step, len(model))
				}
				if msg != nil && r.IntN(4) > 0 {
					if err := b.Done(); err != nil {
						t.Fatal(err)
					}
					model = model[1:]
				}
			default: // a crash: what had arrived from the first file comes again
				b = open(t, dir, 1<<30)
				var again []string
				for {
					msg, err := b.Next()
					if err != nil {
						t.Fatal(err)
					}
					if msg == nil {
						break
					}
					again = append(again, body(t, msg))
					if err := b.Done(); err != nil {
						t.Fatal(err)
					}
				}
				if len(again) < len(model) {
					t.Fatalf("seed %d, step %d: %d messages after a crash, %d had not arrived", seed, step, len(again), len(model))
				}
				if d := cmp.Diff(strings.Join(model, "\n"), strings.Join(again[len(again)-len(model):], "\n")); d != "" {
					t.Fatalf("seed %d, step %d: not the last of what was appended", seed, step)
				}
				model = nil
			}
		}
		b.Close()
	}
}

// FuzzSegment opens whatever stands in a segment's file.
func FuzzSegment(f *testing.F) {
	dir := f.TempDir()
	s, err := spool.Open(spool.Config{Dir: dir, MaxBytes: 1 << 20, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	if err != nil {
		f.Fatal(err)
	}
	for _, id := range []string{"a", "b"} {
		if err := s.Append(message(id, 1)); err != nil {
			f.Fatal(err)
		}
	}
	s.Close()
	files, _ := filepath.Glob(filepath.Join(dir, "*.seg"))
	whole, err := os.ReadFile(files[0])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)-3])
	f.Add([]byte("KgS1"))
	f.Add(make([]byte, 100))
	f.Fuzz(func(t *testing.T, content []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "0000000000000001.seg"), content, 0o600); err != nil {
			t.Fatal(err)
		}
		b := open(t, dir, 1<<30)
		st := b.Status()
		n := 0
		for {
			msg, err := b.Next()
			if err != nil {
				t.Fatal(err)
			}
			if msg == nil {
				break
			}
			n++
			if err := b.Done(); err != nil {
				t.Fatal(err)
			}
		}
		if n != st.Messages {
			t.Errorf("%d messages came out, the status said %d", n, st.Messages)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	s, err := spool.Open(spool.Config{Dir: b.TempDir(), MaxBytes: 1 << 40, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	m := message("a", 1000)
	m.Data = bytes.Repeat([]byte("0123456789abcdef"), 64<<10/16)
	b.Run("spool", func(b *testing.B) {
		b.SetBytes(int64(len(m.Data)))
		for b.Loop() {
			if err := s.Append(m); err != nil {
				b.Fatal(err)
			}
		}
	})
	// What the disk does at best: the same bytes appended and synced.
	b.Run("raw", func(b *testing.B) {
		f, err := os.Create(filepath.Join(b.TempDir(), "raw"))
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		b.SetBytes(int64(len(m.Data)))
		for b.Loop() {
			if _, err := f.Write(m.Data); err != nil {
				b.Fatal(err)
			}
			if err := f.Sync(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
