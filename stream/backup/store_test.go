package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/stream/backup"
	"github.com/kgents/kgents/stream/backup/store"
	"github.com/kgents/kgents/stream/backup/store/storetest"
	"github.com/kgents/kgents/stream/streamtest"
)

var streams = stream.Config{Name: "events", Replicas: 1}

// filled is a server with n messages of events, of one event more each, and three
// dead letters.
func filled(t *testing.T, n int) (js jetstream.JetStream, events uint64) {
	t.Helper()
	js, _ = streamtest.Start(t)
	if _, err := stream.Ensure(t.Context(), js, streams); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		var batch []kgents.Event
		for j := range 1 + i%80 { // some are compressed
			batch = append(batch, kgents.Event{Raw: fmt.Appendf(nil, `{"id":"%d-%d","source":"test","type":"t"}`, i, j)})
		}
		events += uint64(len(batch))
		if _, err := js.PublishMsg(t.Context(), stream.Encode(batch, time.Now())); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		if _, err := js.PublishMsg(t.Context(), &nats.Msg{Subject: streams.DeadSubject("refused"), Data: fmt.Appendf(nil, "letter %d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	return js, events + 3
}

func pair(t *testing.T) (identity, recipient string) {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id.String(), id.Recipient().String()
}

// keys are a pair, as a program reads them.
func keys(t *testing.T) (backup.Recipients, backup.Identities) {
	t.Helper()
	identity, recipient := pair(t)
	to, err := backup.ParseRecipients(recipient)
	if err != nil {
		t.Fatal(err)
	}
	with, err := backup.ParseIdentities("# made for a test, as age-keygen does,and kept\n" + identity + "\n")
	if err != nil {
		t.Fatal(err)
	}
	return to, with
}

func directory(t *testing.T) (string, backup.Store) {
	t.Helper()
	dir := t.TempDir()
	s, err := store.Open(store.Settings{URL: dir})
	if err != nil {
		t.Fatal(err)
	}
	return dir, s
}

// save puts a backup of small segments into a store.
func save(t *testing.T, js jetstream.JetStream, s backup.Store, seal backup.Recipients) (string, backup.Manifest) {
	t.Helper()
	scratch := t.TempDir()
	name, m, err := backup.SaveSegments(t.Context(), js, streams, backup.Target{Store: s, Seal: seal, Scratch: scratch}, nil, 8<<10)
	if err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(scratch); err != nil || len(left) > 0 {
		t.Errorf("in the scratch directory is left %v, %v", left, err)
	}
	return name, m
}

// Into a store and back, sealed and not, in both kinds of store.
func TestStoreThereAndBack(t *testing.T) {
	js, events := filled(t, 100)
	to, with := keys(t)
	_, dir := directory(t)
	for name, s := range map[string]backup.Store{"directory": dir, "bucket": storetest.Start(t).Open(t)} {
		for _, seal := range []backup.Recipients{{}, to} {
			t.Run(fmt.Sprint(name, ", sealed: ", !seal.None()), func(t *testing.T) {
				id, m := save(t, js, s, seal)
				if len(m.Streams[1].Segments) < 3 || m.Messages() != 103 {
					t.Errorf("%d messages in %d segments", m.Messages(), len(m.Streams[1].Segments))
				}
				source, err := backup.Find(t.Context(), s, "events", backup.Latest, with)
				if err != nil || source.Name != id {
					t.Fatalf("the newest is %v, %v, want %s", source, err, id)
				}
				r, err := backup.Verify(t.Context(), source, nil)
				if err != nil || !r.Sound || !r.Opened || r.Backup != id {
					t.Fatalf("verify: %v, %+v", err, r)
				}
				if d := cmp.Diff(m, r.Manifest); d != "" {
					t.Errorf("manifest (-saved +read):\n%s", d)
				}
				target, _ := streamtest.Start(t)
				restored, err := backup.Restore(t.Context(), target, streams, source, backup.How{}, nil)
				if err != nil || !restored.Same || restored.Streams[1].Stored != 100 {
					t.Errorf("restore: %v, %+v", err, restored)
				}
				drill, err := backup.Drill(t.Context(), source, t.TempDir(), nil)
				if err != nil || !drill.Sound() || drill.Messages != 103 || drill.Events != events {
					t.Errorf("drill: %v, %+v, want %d events", err, drill, events)
				}
				all, err := backup.List(t.Context(), s)
				if err != nil {
					t.Fatal(err)
				}
				e := all[len(all)-1]
				if e.Name != id || e.State != backup.Whole || e.Messages != 103 || e.Events != events || e.Stream != "events" || (len(e.Recipients) == 1) == seal.None() {
					t.Errorf("listed as %+v", e)
				}
			})
		}
	}
}

// What is stored says nothing of what is in the events, and who has no identity can
// tell all the same that it is what was written.
func TestSealed(t *testing.T) {
	js, _ := filled(t, 30)
	to, with := keys(t)
	_, others := keys(t)
	path, s := directory(t)
	id, m := save(t, js, s, to)
	err := filepath.WalkDir(path, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		if bytes.Contains(b, []byte(`"source"`)) || bytes.Contains(b, []byte("letter 1")) {
			t.Errorf("%s can be read", p)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	source := func(ids backup.Identities) backup.Source {
		return backup.Source{Store: s, Name: id, Identities: ids}
	}
	if r, err := backup.Verify(t.Context(), source(backup.Identities{}), nil); err != nil || !r.Sound || r.Opened {
		t.Errorf("without an identity: %v, %+v", err, r)
	}
	// By hand, as a directory.
	if r, err := backup.Verify(t.Context(), backup.Source{Name: filepath.Join(path, id), Identities: with}, nil); err != nil || !r.Sound || !r.Opened {
		t.Errorf("as a directory: %v, %+v", err, r)
	}
	for name, test := range map[string]struct {
		ids  backup.Identities
		said string
	}{
		"no identity":      {backup.Identities{}, "set BACKUP_IDENTITY_FILE"},
		"another identity": {others, "BACKUP_IDENTITY is of another key"},
	} {
		target, _ := streamtest.Start(t)
		_, restored := backup.Restore(t.Context(), target, streams, source(test.ids), backup.How{}, nil)
		_, drilled := backup.Drill(t.Context(), source(test.ids), t.TempDir(), nil)
		for _, err := range []error{restored, drilled} {
			if kgents.ErrorCode(err) != kgents.CodeMisconfig || !strings.Contains(err.Error(), test.said) || !strings.Contains(err.Error(), m.Recipients[0]) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := target.Stream(t.Context(), "events"); !errors.Is(err, jetstream.ErrStreamNotFound) {
			t.Errorf("%s: the target was touched: %v", name, err)
		}
	}
	if _, err := backup.Verify(t.Context(), source(others), nil); kgents.ErrorCode(err) != kgents.CodeMisconfig {
		t.Errorf("verify with another identity: %v", err)
	}
	if said := fmt.Sprintf("%v %+v %#v %s", with, source(with), with, with); strings.Contains(strings.ToUpper(said), "SECRET") {
		t.Errorf("an identity is printed as %s", said)
	}
}

// Two keys open one backup, each alone.
func TestTwoRecipients(t *testing.T) {
	js, _ := filled(t, 5)
	one, first := pair(t)
	two, second := pair(t)
	to, err := backup.ParseRecipients(first + "," + second)
	if err != nil {
		t.Fatal(err)
	}
	_, s := directory(t)
	id, _ := save(t, js, s, to)
	for _, key := range []string{one, two} {
		with, err := backup.ParseIdentities(key)
		if err != nil {
			t.Fatal(err)
		}
		if r, err := backup.Verify(t.Context(), backup.Source{Store: s, Name: id, Identities: with}, nil); err != nil || !r.Sound {
			t.Errorf("%v, %+v", err, r)
		}
	}
	for _, wrong := range []string{one, "age1nonsense", "x"} {
		if _, err := backup.ParseRecipients(wrong); kgents.ErrorCode(err) != kgents.CodeMisconfig || strings.Contains(err.Error(), wrong) {
			t.Errorf("of a wrong recipient the error is %v", err)
		}
	}
	for _, wrong := range []string{first, "AGE-SECRET-KEY-1NONSENSE"} {
		if _, err := backup.ParseIdentities(wrong); kgents.ErrorCode(err) != kgents.CodeMisconfig || strings.Contains(err.Error(), wrong) {
			t.Errorf("of a wrong identity the error is %v", err)
		}
	}
}

// Whatever becomes of a sealed backup is found, with the identity and without.
func TestSealedDamage(t *testing.T) {
	js, _ := filled(t, 100)
	to, with := keys(t)
	whole, s := directory(t)
	id, m := save(t, js, s, to)
	other, _ := save(t, js, s, to)
	if len(m.Streams[1].Segments) < 3 {
		t.Fatalf("%d segments, the test wants several", len(m.Streams[1].Segments))
	}
	edit := func(name string, f func([]byte) []byte) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			path := filepath.Join(dir, id, name)
			b, err := os.ReadFile(path)
			if err == nil {
				err = os.WriteFile(path, f(b), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	flip := func(at int) func([]byte) []byte {
		return func(c []byte) []byte { c[(at+len(c))%len(c)] ^= 0x20; return c }
	}
	const one, two = "events-00001.seg.age", "events-00002.seg.age"
	target, _ := streamtest.Start(t)
	tests := map[string]struct {
		change func(t *testing.T, dir string)
		said   string
	}{
		"a flipped bit in age's header": {edit(two, flip(3)), two + ": the file was changed"},
		"in what is for the recipient":  {edit(two, flip(60)), two + ": the file was changed"},
		"in what is encrypted":          {edit(two, flip(300)), two + ": the file was changed"},
		"in the last byte":              {edit(two, flip(-1)), two + ": the file was changed"},
		"a truncated object":            {edit(one, func(c []byte) []byte { return c[:len(c)-1] }), one + ": the file has"},
		"a longer object":               {edit(one, func(c []byte) []byte { return append(c, 0) }), one + ": the file has"},
		"an empty object":               {edit(one, func([]byte) []byte { return nil }), one + ": the file has 0 bytes"},
		"a bit in the manifest":         {edit("manifest.json", flip(80)), "was changed"},
		"a missing object": {func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, id, two)); err != nil {
				t.Fatal(err)
			}
		}, two + ": the file is missing"},
		"a missing manifest": {func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, id, "manifest.json")); err != nil {
				t.Fatal(err)
			}
		}, "has no manifest.json"},
		"two segments changed places": {func(t *testing.T, dir string) {
			a, b := filepath.Join(dir, id, one), filepath.Join(dir, id, two)
			if err := errors.Join(os.Rename(a, a+"x"), os.Rename(b, a), os.Rename(a+"x", b)); err != nil {
				t.Fatal(err)
			}
		}, one},
		"a segment of another backup, sealed to the same key": {func(t *testing.T, dir string) {
			if err := os.Rename(filepath.Join(dir, other, one), filepath.Join(dir, id, one)); err != nil {
				t.Fatal(err)
			}
		}, one + ": the file was changed"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "copy")
			if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			test.change(t, dir)
			s, err := store.Open(store.Settings{URL: dir})
			if err != nil {
				t.Fatal(err)
			}
			for _, ids := range []backup.Identities{{}, with} {
				r, err := backup.Verify(t.Context(), backup.Source{Store: s, Name: id, Identities: ids}, nil)
				said := fmt.Sprint(err)
				for _, p := range r.Problems {
					said += "\n" + p.File + ": " + p.What
				}
				if r.Sound || !strings.Contains(said, test.said) {
					t.Errorf("with identity: %t: Verify found %q, want %q", !ids.None(), said, test.said)
				}
			}
			_, err = backup.Restore(t.Context(), target, streams, backup.Source{Store: s, Name: id, Identities: with}, backup.How{}, nil)
			if kgents.ErrorCode(err) != kgents.CodeInvalid || !strings.Contains(err.Error(), test.said) {
				t.Errorf("Restore said %v, want %q", err, test.said)
			}
			if _, err := target.Stream(t.Context(), "events"); !errors.Is(err, jetstream.ErrStreamNotFound) {
				t.Errorf("Restore made the stream all the same: %v", err)
			}
		})
	}
}

// breaking is a store that fails from its nth Put on.
type breaking struct {
	backup.Store
	left    int
	removes bool
}

var errBroken = errors.New("the store broke")

func (b *breaking) Put(ctx context.Context, folder, file string, content io.ReadSeeker, size int64) error {
	if b.left--; b.left < 0 {
		return errBroken
	}
	return b.Store.Put(ctx, folder, file, content, size)
}

func (b *breaking) Remove(ctx context.Context, folder, file string) error {
	if !b.removes {
		return errBroken
	}
	return b.Store.Remove(ctx, folder, file)
}

// An upload that is interrupted, at whatever file, is no backup, and is cleared away
// if the store lets it.
func TestInterruptedUpload(t *testing.T) {
	js, _ := filled(t, 60)
	_, s := directory(t)
	for n := range 4 {
		for _, removes := range []bool{true, false} {
			b := &breaking{s, n, removes}
			if n == 3 {
				b.left = 1 << 20
			}
			ctx, cancel := context.WithCancel(t.Context())
			name, _, err := backup.SaveSegments(ctx, js, streams, backup.Target{Store: b, Scratch: t.TempDir()}, func(done, _ uint64) {
				if n == 3 && done == 50 {
					cancel()
				}
			}, 8<<10)
			cancel()
			if !errors.Is(err, errBroken) && !errors.Is(err, context.Canceled) {
				t.Fatalf("interrupted at %d: %v", n, err)
			}
			if _, err := backup.Verify(t.Context(), backup.Source{Store: s, Name: name}, nil); err == nil || !strings.Contains(err.Error(), "has no manifest.json") {
				t.Errorf("Verify said %v", err)
			}
			files, err := s.Files(t.Context(), name)
			if err != nil || removes && len(files) > 0 || !removes && n > 0 && len(files) == 0 {
				t.Errorf("%v is left, %v", files, err)
			}
		}
	}
	if _, err := backup.Find(t.Context(), s, "events", backup.Latest, backup.Identities{}); kgents.ErrorCode(err) != kgents.CodeNotFound {
		t.Errorf("the newest: %v", err)
	}
	if all, err := backup.List(t.Context(), s); err != nil || len(all) != 3 || all[0].State != backup.Unfinished {
		t.Errorf("listed %+v, %v", all, err)
	}
}

// A drill finds what no sum can: that the manifest's own counts are not what is in the
// messages.
func TestDrillCounts(t *testing.T) {
	js, _ := filled(t, 3)
	m := stream.Encode([]kgents.Event{{Raw: []byte(`{"id":"a"}`)}, {Raw: []byte(`{"id":"b"}`)}}, time.Now())
	m.Header.Set("Kgents-Events", "3")
	if _, err := js.PublishMsg(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	_, s := directory(t)
	id, _ := save(t, js, s, backup.Recipients{})
	scratch := t.TempDir()
	r, err := backup.Drill(t.Context(), backup.Source{Store: s, Name: id}, scratch, nil)
	if err != nil || r.Sound() || !strings.Contains(r.Problem, "4 messages with 8 events were counted, the manifest says 4 with 9") {
		t.Errorf("%v, %+v", err, r)
	}
	if left, _ := os.ReadDir(scratch); len(left) != 0 {
		t.Errorf("%v is left", left)
	}
}
