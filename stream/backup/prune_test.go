package backup

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// shelf is a store in memory, which remembers in what order it was emptied.
type shelf struct {
	folders map[string]map[string]string
	removed []string
	breaks  int // after so many removals
}

func (s *shelf) String() string { return "shelf" }

func (s *shelf) Folders(context.Context) ([]string, error) {
	return slices.Sorted(maps.Keys(s.folders)), nil
}

func (s *shelf) Files(_ context.Context, folder string) (out []File, _ error) {
	for _, name := range slices.Sorted(maps.Keys(s.folders[folder])) {
		out = append(out, File{name, int64(len(s.folders[folder][name]))})
	}
	return out, nil
}

func (s *shelf) Put(context.Context, string, string, io.ReadSeeker, int64) error {
	return errors.ErrUnsupported
}

func (s *shelf) Open(_ context.Context, folder, file string) (io.ReadCloser, int64, error) {
	content, ok := s.folders[folder][file]
	if !ok {
		return nil, 0, fs.ErrNotExist
	}
	return io.NopCloser(strings.NewReader(content)), int64(len(content)), nil
}

func (s *shelf) Remove(_ context.Context, folder, file string) error {
	if s.breaks--; s.breaks == 0 {
		return errors.New("the shelf broke")
	}
	s.removed = append(s.removed, folder+"/"+file)
	if delete(s.folders[folder], file); len(s.folders[folder]) == 0 {
		delete(s.folders, folder)
	}
	return nil
}

// shelved puts a whole backup of a moment on the shelf.
func (s *shelf) shelved(t *testing.T, at time.Time, stream string) string {
	t.Helper()
	return s.holding(t, at, stream, uint64(at.Unix()))
}

// holding is shelved, of a stream that ends with a sequence.
func (s *shelf) holding(t *testing.T, at time.Time, stream string, last uint64) string {
	t.Helper()
	m := Manifest{Format: format, Began: at, Ended: at, Streams: []Stream{
		{Name: stream + "-dead", Config: []byte("{}"), Segments: []Segment{}},
		{Name: stream, Messages: 1, First: last, Last: last, Config: []byte("{}"), Segments: []Segment{{File: "events-00001.seg", Bytes: 3, Messages: 1}}},
	}}
	b, err := m.encode()
	if err != nil {
		t.Fatal(err)
	}
	name := newName(at)
	s.folders[name] = map[string]string{manifestName: string(b), "events-00001.seg": "abc"}
	return name
}

func namesOf(all []Entry) (out []string) {
	for _, e := range all {
		out = append(out, e.Name)
	}
	slices.Sort(out)
	return out
}

var noon = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// All of 24 hours, then the last of each day.
func TestPrune(t *testing.T) {
	s := &shelf{folders: map[string]map[string]string{}}
	var keep, drop []string
	for hours := range 24 * 12 {
		at := noon.Add(-time.Duration(hours) * time.Hour)
		name := s.shelved(t, at, "events")
		switch {
		case hours < 24, at.Hour() == 23 && hours < 7*24:
			keep = append(keep, name)
		default:
			drop = append(drop, name)
		}
	}
	slices.Sort(keep)
	slices.Sort(drop)
	dry, err := Prune(t.Context(), s, "events", 7, noon, true)
	if err != nil || len(s.removed) > 0 {
		t.Fatalf("a dry run: %v, removed %v", err, s.removed)
	}
	p, err := Prune(t.Context(), s, "events", 7, noon, false)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([][]string{keep, drop}, [][]string{namesOf(p.Kept), namesOf(p.Deleted)}); d != "" {
		t.Errorf("kept and deleted (-want +got):\n%s", d)
	}
	if d := cmp.Diff(namesOf(p.Deleted), namesOf(dry.Deleted)); d != "" {
		t.Errorf("the dry run said otherwise (-run +dry):\n%s", d)
	}
	if d := cmp.Diff(keep, slices.Sorted(maps.Keys(s.folders))); d != "" {
		t.Errorf("what is left (-want +got):\n%s", d)
	}
	// Nothing changes the second time, nor an hour later but by that hour.
	if p, err := Prune(t.Context(), s, "events", 7, noon, false); err != nil || len(p.Deleted) > 0 {
		t.Errorf("the second time %v were deleted, %v", namesOf(p.Deleted), err)
	}
	if p, err := Prune(t.Context(), s, "events", 0, noon.AddDate(1, 0, 0), false); err != nil || len(p.Deleted) > 0 {
		t.Errorf("0 days keep everything: %v were deleted, %v", namesOf(p.Deleted), err)
	}
}

// What Prune may not touch, it does not.
func TestPruneLeavesAlone(t *testing.T) {
	old := noon.AddDate(0, 0, -100)
	s := &shelf{folders: map[string]map[string]string{
		"photos":                        {"manifest.json": "{}"},
		"20260101T000000.000Z":          {"events-00001.seg": "abc"}, // nearly a name of ours
		"20260101T000000.000Z-xxxxxxxx": {"events-00001.seg": "abc"},
		"20269999T000000.000Z-00000000": {"events-00001.seg": "abc"}, // no time
	}}
	newest := s.shelved(t, old, "events") // of whole ones
	damaged := s.shelved(t, old.AddDate(0, 0, 1), "events")
	s.folders[damaged]["events-00001.seg"] = "ab"
	changed := s.shelved(t, old.AddDate(0, 0, 2), "events")
	s.folders[changed][manifestName] += " "
	others := s.shelved(t, old.AddDate(0, 0, 3), "others")
	strange := s.shelved(t, old.AddDate(0, 0, -1), "events")
	s.folders[strange]["notes.txt"] = "mine"
	deeper := newName(old)
	s.folders[deeper] = map[string]string{"sub/events-00001.seg": "abc"}
	underWay := newName(noon.Add(-23 * time.Hour))
	s.folders[underWay] = map[string]string{"events-00001.seg": "abc"}
	abandoned := newName(noon.Add(-25 * time.Hour))
	s.folders[abandoned] = map[string]string{"dead-00001.seg.age": "a", "events-00001.seg.age.part": "abc"}
	older := s.shelved(t, old.AddDate(0, 0, -2), "events")
	before := len(s.folders)
	p, err := Prune(t.Context(), s, "events", 7, noon, false)
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{{older, abandoned}, {newest, underWay}, {strange, deeper, damaged, changed, others}}
	for _, w := range want {
		slices.Sort(w)
	}
	if d := cmp.Diff(want, [][]string{namesOf(p.Deleted), namesOf(p.Kept), namesOf(p.Strange)}); d != "" {
		t.Errorf("deleted, kept, strange (-want +got):\n%s", d)
	}
	if len(s.folders) != before-2 {
		t.Errorf("%v are left", slices.Sorted(maps.Keys(s.folders)))
	}
}

// After a loss the backups of the new stream don't push out the last one of the old, and
// 'latest' is not taken for the one to restore.
func TestLoss(t *testing.T) {
	s := &shelf{folders: map[string]map[string]string{}}
	s.holding(t, noon.Add(-50*time.Hour), "events", 900)
	before := s.holding(t, noon.Add(-49*time.Hour), "events", 1000)
	s.holding(t, noon.Add(-48*time.Hour), "events", 3)
	newest := s.holding(t, noon, "events", 50)
	p, err := Prune(t.Context(), s, "events", 1, noon, false)
	if d := cmp.Diff([]string{before, newest}, namesOf(p.Kept)); d != "" || err != nil {
		t.Errorf("kept (-want +got), %v:\n%s", err, d)
	}
	if err := CheckLatest(t.Context(), s, "events"); err == nil || !strings.Contains(err.Error(), "restore "+before) {
		t.Errorf("the newest is taken: %v", err)
	}
	// Of others, and long after it, all is well.
	if err := CheckLatest(t.Context(), s, "others"); err != nil {
		t.Error(err)
	}
	s.holding(t, noon.AddDate(0, 0, 10), "events", 60)
	s.holding(t, noon.AddDate(0, 0, 10), "events", 60)
	if err := CheckLatest(t.Context(), s, "events"); err != nil {
		t.Error(err)
	}
}

// A Prune that breaks off leaves no half backup that looks like one.
func TestPruneInterrupted(t *testing.T) {
	s := &shelf{folders: map[string]map[string]string{}, breaks: 2}
	old := s.shelved(t, noon.AddDate(0, 0, -100), "events")
	s.shelved(t, noon, "events")
	if _, err := Prune(t.Context(), s, "events", 7, noon, false); err == nil || !strings.Contains(err.Error(), "the shelf broke") {
		t.Errorf("the error is %v", err)
	}
	if d := cmp.Diff([]string{old + "/" + manifestName}, s.removed); d != "" {
		t.Errorf("removed (-want +got):\n%s", d)
	}
	if e, err := look(t.Context(), s, old); err != nil || e.State != Unfinished {
		t.Errorf("what is left is %+v, %v", e, err)
	}
	if p, err := Prune(t.Context(), s, "events", 7, noon, false); err != nil || len(p.Deleted) != 1 || len(s.folders) != 1 {
		t.Errorf("the next goes on: %v, %+v", err, p)
	}
}

// A stored manifest that names what is not a backup's file is not believed.
func TestManifestNames(t *testing.T) {
	for _, file := range []string{"../../etc/passwd", "events-1.seg", "manifest.json/x", ""} {
		m := Manifest{Format: format, Streams: []Stream{{Config: []byte("{}"), Segments: []Segment{{File: file}}}}}
		b, err := m.encode()
		if err != nil {
			t.Fatal(err)
		}
		s := &shelf{folders: map[string]map[string]string{"x": {manifestName: string(bytes.Clone(b))}}}
		if _, err := (Source{Store: s, Name: "x"}).Manifest(t.Context()); err == nil || !strings.Contains(err.Error(), "which is none of a backup's") {
			t.Errorf("%q: %v", file, err)
		}
	}
}
