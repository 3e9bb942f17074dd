package backup

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

// SaveSegments is Save with segments of another size.
var SaveSegments = save

// CopyForged is a directory with the segments of a backup and another manifest, whose own
// sum is right.
func CopyForged(t *testing.T, from Source, m Manifest) string {
	t.Helper()
	dir := t.TempDir()
	files, err := from.Store.Files(t.Context(), from.Name)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.Name == manifestName {
			continue
		}
		in, _, err := from.Store.Open(t.Context(), from.Name, f.Name)
		if err != nil {
			t.Fatal(err)
		}
		out, err := os.Create(filepath.Join(dir, f.Name))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := out.ReadFrom(in); err != nil {
			t.Fatal(err)
		}
		if err := out.Close(); err != nil {
			t.Fatal(err)
		}
		if err := in.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.store(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Missed are the subjects that a reading up to after has not come to, in the order in
// which they are added.
func Missed(ctx context.Context, s jetstream.Stream, copied map[string]struct{}, after uint64) (subjects []string, err error) {
	err = missed(ctx, s, copied, after, func(m message) error { subjects = append(subjects, m.subject); return nil })
	return subjects, err
}
