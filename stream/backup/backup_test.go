package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents"
)

// A backup is taken while a publisher goes on. What was there when it began comes
// out of a restore byte for byte and in its order; what came later may not.
func TestThereAndBack(t *testing.T) {
	b := newBed(t).ensure()
	b.publish(
		raw("kgent.events", "", "A", "1", "A", "2", "b", " \u00fc\xff", "Empty", ""),
		raw("kgent.events", "\x00\r\n\r\nno headers\xff"),
		raw("kgent.other.subject", strings.Repeat("x", 900_000)), // more than a segment of this test
		raw("kgent.events", "", "Nats-Expected-Stream", "events"))
	for i := range 120 {
		b.publish(batch(fmt.Sprint("before-", i), 1+i%90))
	}
	for i := range 30 {
		b.publish(raw(b.config.DeadSubject("refused"), fmt.Sprint("letter ", i), "Kgents-Letter", `{"reason":"refused"}`, "Nats-Msg-Id", fmt.Sprint(i)))
	}
	before, dead := b.all("events"), b.all("events-dead")

	ctx, stop := context.WithCancel(t.Context())
	done := make(chan int)
	go func() {
		n := 0
		for ; ctx.Err() == nil; n++ {
			if _, err := b.js.PublishMsg(context.WithoutCancel(ctx), batch(fmt.Sprint("while-", n), 1)); err != nil {
				t.Error(err)
				break
			}
		}
		done <- n
	}()
	dir := filepath.Join(t.TempDir(), "new", "backup")
	var told []uint64
	m, err := write(t.Context(), b.js, b.config, dir, func(done, total uint64) { told = append(told, done); _ = total }, 16<<10)
	stop()
	if meanwhile := <-done; meanwhile == 0 {
		t.Error("the publisher did not go on")
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(told) == 0 || !slices.IsSorted(told) {
		t.Errorf("progress was told as %v", told)
	}
	if d := cmp.Diff(m, sound(t, dir)); d != "" {
		t.Errorf("Write's manifest and the one that was read (-write +read):\n%s", d)
	}
	if n := len(m.Streams[1].Segments); n < 3 {
		t.Errorf("%d segments, the test wants several", n)
	}
	if m.Streams[0].Messages != 30 || m.Streams[1].Messages < uint64(len(before)) {
		t.Errorf("%d and %d messages, want 30 and at least %d", m.Streams[0].Messages, m.Streams[1].Messages, len(before))
	}

	to := newBed(t) // without streams
	r := to.restore(dir)
	if !r.Same || r.Streams[1].Stored != m.Streams[1].Messages || r.Streams[1].Repeated != 0 || r.Streams[0].Stored != 30 {
		t.Errorf("restored: %+v", r)
	}
	after := to.all("events")
	if d := cmp.Diff(before, after[:min(len(before), len(after))]); d != "" {
		t.Errorf("events (-before +after):\n%.2000s", d)
	}
	if d := cmp.Diff(b.all("events")[:len(after)], after); d != "" {
		t.Errorf("events (-server +restored):\n%.2000s", d)
	}
	if d := cmp.Diff(dead, to.all("events-dead")); d != "" {
		t.Errorf("dead letters (-before +after):\n%.2000s", d)
	}
	// A backup of the copy is the same again, but for its times.
	again := to.backup(filepath.Join(t.TempDir(), "again"))
	if again.Messages() != m.Messages() || again.Streams[1].Events != m.Streams[1].Events {
		t.Errorf("a backup of the copy has %d messages, want %d", again.Messages(), m.Messages())
	}
}

// Empty streams are a backup, too.
func TestEmpty(t *testing.T) {
	dir := t.TempDir()
	newBed(t).ensure().backup(dir)
	if m := sound(t, dir); m.Messages() != 0 {
		t.Errorf("%d messages of empty streams", m.Messages())
	}
	if r := newBed(t).ensure().restore(dir); !r.Same || len(r.Streams) != 2 {
		t.Errorf("restored: %+v", r)
	}
}

// Messages that went before the backup leave holes: at the beginning, within, and
// at the end, where the sequence says that there is one more.
func TestHoles(t *testing.T) {
	b := newBed(t).ensure()
	for i := range 6 {
		b.publish(raw(b.config.DeadSubject("refused"), fmt.Sprint(i)))
	}
	s, err := b.js.Stream(t.Context(), b.config.DeadName())
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []uint64{1, 3, 6} {
		if err := s.DeleteMsg(t.Context(), at); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	if m := b.backup(dir); m.Streams[0].Messages != 3 || m.Streams[0].First != 2 || m.Streams[0].Last != 5 {
		t.Errorf("the manifest has %+v", m.Streams[0])
	}
	to := newBed(t)
	if r := to.restore(dir); !r.Same || r.Streams[0].Stored != 3 {
		t.Errorf("restored: %+v", r)
	}
	if d := cmp.Diff(b.all("events-dead"), to.all("events-dead")); d != "" {
		t.Errorf("(-before +after):\n%s", d)
	}
}

// A server keeps two messages of one id when its duplicate window lies between
// them; a restore is quicker than the window. Both are accounted for, and content
// that only shares an id is never dropped.
func TestRepeatedIDs(t *testing.T) {
	b := newBed(t)
	for _, c := range []jetstream.StreamConfig{
		{Name: "events", Subjects: []string{"kgent.>"}, Duplicates: 100 * time.Millisecond},
		{Name: "events-dead", Subjects: []string{"kgent-dead.>"}},
	} {
		if _, err := b.js.CreateStream(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	stored := func(m *nats.Msg) { // when the window has gone by
		for b.publish(m).Duplicate {
			time.Sleep(20 * time.Millisecond)
		}
	}
	stored(raw("kgent.events", "one", "Nats-Msg-Id", "a"))
	stored(raw("kgent.events", "two", "Nats-Msg-Id", "b"))
	stored(raw("kgent.events", "one", "Nats-Msg-Id", "a", "Kgents-Received", "1")) // a repetition, under way twice
	stored(raw("kgent.events", "other", "Nats-Msg-Id", "b", "X", "y"))             // a stranger's
	stored(raw("kgent.events", "three", "Nats-Expected-Last-Sequence", "4", "X", "z"))
	stored(raw("kgent.events", "one", "Nats-Msg-Id", "a"))
	dir := t.TempDir()
	b.backup(dir)
	to := newBed(t)
	to.ensure()
	r := to.restore(dir)
	want := RestoredStream{Name: "events", Messages: 6, Stored: 4, Repeated: 2, RepeatedEvents: 2, Renamed: 1, Unconditional: 1}
	if d := cmp.Diff(want, r.Streams[1]); d != "" || !r.Same {
		t.Errorf("same: %v (-want +got):\n%s", r.Same, d)
	}
	got := map[string]nats.Header{}
	for _, k := range to.all("events") {
		got[k.Data] = k.Header
	}
	if d := cmp.Diff(map[string]nats.Header{
		"one": {"Nats-Msg-Id": {"a"}}, "two": {"Nats-Msg-Id": {"b"}}, "other": {"X": {"y"}}, "three": {"X": {"z"}},
	}, got); d != "" {
		t.Errorf("messages (-want +got):\n%s", d)
	}
}

// Whatever is changed in a backup is found by Verify, and Restore does not touch
// its target then.
func TestDamage(t *testing.T) {
	b := newBed(t).ensure()
	for i := range 400 {
		b.publish(batch(fmt.Sprint(i), 1))
	}
	whole := t.TempDir()
	m := b.backup(whole)
	if len(m.Streams[1].Segments) < 3 {
		t.Fatalf("%d segments, the test wants several", len(m.Streams[1].Segments))
	}
	edit := func(name string, f func([]byte) []byte) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			path := filepath.Join(dir, name)
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, f(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	remove := func(name string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	flip := func(at int) func([]byte) []byte {
		return func(c []byte) []byte { c[(at+len(c))%len(c)] ^= 0x20; return c }
	}
	tests := map[string]struct {
		change func(t *testing.T, dir string)
		said   string
	}{
		"a flipped bit in a length":     {edit("events-00002.seg", flip(0)), "events-00002.seg: the file was changed"},
		"in a high byte of a length":    {edit("events-00002.seg", flip(3)), "events-00002.seg: the file was changed"},
		"in a sequence":                 {edit("events-00002.seg", flip(5)), "events-00002.seg: the file was changed"},
		"in a time":                     {edit("events-00002.seg", flip(14)), "SHA-256"},
		"in a subject":                  {edit("events-00002.seg", flip(26)), "SHA-256"},
		"in the last body":              {edit("events-00003.seg", flip(-2)), "SHA-256"},
		"a cut file":                    {edit("events-00001.seg", func(c []byte) []byte { return c[:len(c)-1] }), "events-00001.seg: the file has"},
		"a longer file":                 {edit("events-00001.seg", func(c []byte) []byte { return append(c, 0) }), "events-00001.seg: the file has"},
		"an empty file":                 {edit("events-00001.seg", func([]byte) []byte { return nil }), "events-00001.seg: the file has 0 bytes"},
		"a file filled with zeros":      {edit("events-00001.seg", func(c []byte) []byte { return make([]byte, len(c)) }), "events-00001.seg: the file was changed"},
		"a missing file":                {remove("events-00002.seg"), "events-00002.seg: the file is missing"},
		"a missing manifest":            {remove(manifestName), "has no manifest.json"},
		"an empty manifest":             {edit(manifestName, func([]byte) []byte { return nil }), "was changed"},
		"a flipped bit in the manifest": {edit(manifestName, flip(40)), "was changed"},
		"a number in the manifest": {edit(manifestName, func(c []byte) []byte {
			return bytes.Replace(c, []byte(`"messages": 400`), []byte(`"messages": 399`), 1)
		}), "was changed"},
		"a name's case in the manifest": {edit(manifestName, func(c []byte) []byte { return bytes.Replace(c, []byte(`"oldest"`), []byte(`"Oldest"`), 1) }), "was changed"},
		"a space in the manifest":       {edit(manifestName, func(c []byte) []byte { return append(c, ' ') }), "was changed"},
		"a format of the future":        {edit(manifestName, func(c []byte) []byte { return bytes.Replace(c, []byte("backup/1"), []byte("backup/9"), 1) }), "this program reads"},
		"two files changed places": {func(t *testing.T, dir string) {
			one, two := filepath.Join(dir, "events-00001.seg"), filepath.Join(dir, "events-00002.seg")
			if err := errors.Join(os.Rename(one, one+"x"), os.Rename(two, one), os.Rename(one+"x", two)); err != nil {
				t.Fatal(err)
			}
		}, "events-00001.seg"},
	}
	to := newBed(t)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "copy")
			if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			sound(t, dir)
			test.change(t, dir)
			r, err := Verify(t.Context(), Dir(dir), nil)
			said := fmt.Sprint(err)
			for _, p := range r.Problems {
				said += "\n" + p.File + ": " + p.What
			}
			if r.Sound || !strings.Contains(said, test.said) {
				t.Errorf("Verify found %q, want %q", said, test.said)
			}
			_, err = Restore(t.Context(), to.js, to.config, Dir(dir), How{}, nil)
			if kgents.ErrorCode(err) != kgents.CodeInvalid || !strings.Contains(err.Error(), test.said) {
				t.Errorf("Restore said %v, want %q", err, test.said)
			}
			if _, err := to.js.Stream(t.Context(), "events"); !errors.Is(err, jetstream.ErrStreamNotFound) {
				t.Errorf("Restore made the stream all the same: %v", err)
			}
		})
	}
}

// Each bit of a small segment counts, and of its manifest.
func TestEveryBit(t *testing.T) {
	b := newBed(t).ensure()
	b.publish(raw("kgent.events", "body", "Name", "value"))
	dir := t.TempDir()
	b.backup(dir)
	for _, name := range []string{"events-00001.seg", manifestName} {
		path := filepath.Join(dir, name)
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for bit := range len(content) * 8 {
			if name == manifestName && bit%13 != 0 {
				continue // some of each kind of byte
			}
			flipped := bytes.Clone(content)
			flipped[bit/8] ^= 1 << (bit % 8)
			if err := os.WriteFile(path, flipped, 0o600); err != nil {
				t.Fatal(err)
			}
			if r, err := Verify(t.Context(), Dir(dir), nil); err == nil && r.Sound {
				t.Errorf("%s: bit %d of byte %d was flipped and not found", name, bit%8, bit/8)
			}
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		sound(t, dir)
	}
}

// A backup that was interrupted, at whatever message, is none.
func TestInterrupted(t *testing.T) {
	b := newBed(t).ensure()
	for i := range 50 {
		b.publish(batch(fmt.Sprint(i), 1))
	}
	for _, at := range []uint64{1, 25, 49} {
		dir := t.TempDir()
		ctx, cancel := context.WithCancel(t.Context())
		_, err := write(ctx, b.js, b.config, dir, func(done, _ uint64) {
			if done == at {
				cancel()
			}
		}, 16<<10)
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("interrupted at %d: %v", at, err)
		}
		if _, err := Verify(t.Context(), Dir(dir), nil); err == nil || !strings.Contains(err.Error(), "interrupted") {
			t.Errorf("Verify said %v", err)
		}
		if _, err := Restore(t.Context(), b.js, b.config, Dir(dir), How{}, nil); err == nil || !strings.Contains(err.Error(), "interrupted") {
			t.Errorf("Restore said %v", err)
		}
		if _, err := Write(t.Context(), b.js, b.config, dir, nil); kgents.ErrorCode(err) != kgents.CodeConflict {
			t.Errorf("a second backup into the same directory: %v", err)
		}
	}
}

// What a restore may not write to, it does not write to.
func TestRefusedTargets(t *testing.T) {
	b := newBed(t).ensure()
	b.publish(batch("a", 1), raw(b.config.DeadSubject("refused"), "letter"))
	dir := t.TempDir()
	b.backup(dir)
	for name, test := range map[string]struct {
		fill *nats.Msg
		name string
		said string
	}{
		"an event is there":       {batch("b", 1), "events", "stream events is not empty: it holds 1 messages"},
		"a dead letter is there":  {raw("kgent-dead.events.refused", "x"), "events", "stream events-dead is not empty"},
		"a stream of other names": {nil, "others", "set NATS_STREAM_NAME to events"},
	} {
		t.Run(name, func(t *testing.T) {
			to := newBed(t)
			to.config.Name = test.name
			to.ensure()
			n := 0
			if test.fill != nil {
				n = 1
				to.publish(test.fill)
			}
			_, err := Restore(t.Context(), to.js, to.config, Dir(dir), How{}, nil)
			if kgents.ErrorCode(err) != kgents.CodeConflict || !strings.Contains(err.Error(), test.said) {
				t.Errorf("Restore said %v, want %q", err, test.said)
			}
			if got := len(to.all(to.config.Name)) + len(to.all(to.config.DeadName())); got != n {
				t.Errorf("%d messages are there, want %d", got, n)
			}
		})
	}
	if _, err := Write(t.Context(), newBed(t).js, b.config, t.TempDir(), nil); kgents.ErrorCode(err) != kgents.CodeMisconfig {
		t.Errorf("a backup of a server without streams: %v", err)
	}
}

// Somebody who stores messages meanwhile is noticed.
func TestIntruder(t *testing.T) {
	b := newBed(t).ensure()
	for i := range 600 { // more than a window
		b.publish(batch(fmt.Sprint(i), 1))
	}
	dir := t.TempDir()
	b.backup(dir)
	to := newBed(t)
	_, err := Restore(t.Context(), to.js, to.config, Dir(dir), How{}, func(done, _ uint64) {
		if done == 700 { // a hundred are stored
			to.publish(batch("intruder", 1))
		}
	})
	if !errors.Is(err, errOrder) || !strings.Contains(err.Error(), "delete the streams events and events-dead") {
		t.Errorf("Restore said %v", err)
	}
}

// FuzzRecord reads whatever a file may hold.
func FuzzRecord(f *testing.F) {
	b, err := appendRecord(nil, message{sequence: 7, at: time.Unix(1, 2), subject: "kgent.events", header: nats.Header{"A": {"1", "2"}, "B": {""}}, data: []byte("body")})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b[lengthSize:])
	f.Add(b[lengthSize : len(b)-6])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeRecord(b)
		if err != nil {
			return
		}
		again, err := appendRecord(nil, m)
		if err != nil {
			t.Fatal(err)
		}
		back, err := decodeRecord(again[lengthSize:])
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([]any{m.sequence, m.at, m.subject, m.header, m.data}, []any{back.sequence, back.at, back.subject, back.header, back.data}); d != "" {
			t.Errorf("(-first +second):\n%s", d)
		}
	})
}

// What came in after a loss stays, and what is restored comes behind it; a second time
// does no harm.
func TestAppend(t *testing.T) {
	b := newBed(t).ensure()
	for i := range 20 {
		b.publish(batch(fmt.Sprint(i), 1))
	}
	b.publish(raw(b.config.DeadSubject("refused"), "letter"))
	dir := t.TempDir()
	b.backup(dir)
	to := newBed(t).ensure()
	to.publish(batch("after the loss", 1), batch("19", 1))
	want := append(to.all("events"), b.all("events")[:19]...) // the last is there already
	for range 2 {
		r, err := Restore(t.Context(), to.js, to.config, Dir(dir), How{Behind: true}, nil)
		if err != nil || !r.Same || r.Streams[1].Stored+r.Streams[1].Repeated != 20 {
			t.Fatalf("%v, %+v", err, r)
		}
		if d := cmp.Diff(contents(want), contents(to.all("events"))); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	}
	if n := len(to.all("events-dead")); n != 2 { // a letter has no id here
		t.Errorf("%d letters", n)
	}
}

func contents(all []kept) (out []string) {
	for _, k := range all {
		out = append(out, k.Data)
	}
	return out
}
