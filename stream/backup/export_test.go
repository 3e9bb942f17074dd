package backup

import (
	"os"
	"path/filepath"
	"testing"
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
