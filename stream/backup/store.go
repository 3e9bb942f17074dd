package backup

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/kgents/kgents"
)

// Store keeps backups, each a folder of files. Names have no slash in them.
// Package store has the two: a directory, and a bucket of S3's protocol.
type Store interface {
	// Folders lists the folders, ours and others', by name. A store that was never
	// written to has none.
	Folders(ctx context.Context) ([]string, error)

	// Files lists what is in a folder, by name. A folder that isn't there is empty.
	Files(ctx context.Context, folder string) ([]File, error)

	// Put stores size bytes of content under a name that is not taken. When it
	// returns without an error the file is durable; a file that is there is whole,
	// whatever interrupts Put.
	Put(ctx context.Context, folder, file string, content io.ReadSeeker, size int64) error

	// Open reads a file. The error of one that isn't there is fs.ErrNotExist.
	Open(ctx context.Context, folder, file string) (content io.ReadCloser, size int64, err error)

	// Remove deletes a file, and a directory that is empty then. One that isn't
	// there is no error.
	Remove(ctx context.Context, folder, file string) error

	// String is where the store is, for people: without a credential.
	String() string
}

// File is a file in a store's folder.
type File struct {
	Name  string
	Bytes int64
}

// Latest is the name that stands for the newest backup of a stream.
const Latest = "latest"

// nameTime is the form of a backup's name, up to the part that tells two of one
// millisecond apart. Names sort as their times do.
const nameTime = "20060102T150405.000Z"

var (
	backupName = regexp.MustCompile(`^(\d{8}T\d{6}\.\d{3}Z)-[0-9a-f]{8}$`)
	ourFile    = regexp.MustCompile(`^(manifest\.json|(dead|events|accounts|billing|towns|town)-\d{5}\.seg(\.age)?)$`)
)

// Part is behind the name of a file that is being put, where a store can't do so under
// the name that it will have.
const Part = ".part"

// newName is the name of a backup that holds a moment. No two are the same.
func newName(at time.Time) string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return at.UTC().Format(nameTime) + "-" + hex.EncodeToString(b[:])
}

// timeOf is the moment in a backup's name, and false of any other name.
func timeOf(name string) (time.Time, bool) {
	parts := backupName.FindStringSubmatch(name)
	if parts == nil {
		return time.Time{}, false
	}
	at, err := time.Parse(nameTime, parts[1])
	return at, err == nil
}

// IsName says whether s names a backup in a store, or is Latest.
func IsName(s string) bool {
	_, ok := timeOf(s)
	return ok || s == Latest
}

// Source is one backup to read: a directory, or a folder of a store.
type Source struct {
	// Store holds the backup. Without one, Name is a directory's path.
	Store Store
	Name  string

	// Identities open a sealed backup. Without them it can be verified, not read.
	Identities Identities
}

// Dir is the backup in a directory.
func Dir(path string) Source { return Source{Name: path} }

// String is where the backup is, for people.
func (s Source) String() string {
	if s.Store == nil {
		return s.Name
	}
	return s.Store.String() + "/" + s.Name
}

func (s Source) open(ctx context.Context, file string) (io.ReadCloser, int64, error) {
	if s.Store != nil {
		return s.Store.Open(ctx, s.Name, file)
	}
	f, err := os.Open(filepath.Join(s.Name, file))
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// maxManifest bounds what is read as a manifest: a segment takes about 400 bytes
// in it, so this is one of more than 10 TB.
const maxManifest = 64 << 20

// manifest reads the manifest's file. The error of one that isn't there is
// fs.ErrNotExist.
func (s Source) manifest(ctx context.Context) ([]byte, error) {
	f, size, err := s.open(ctx, manifestName)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size > maxManifest {
		return nil, kgents.Errorf(kgents.CodeInvalid, "%s/%s has %d bytes: no manifest of ours", s, manifestName, size)
	}
	return io.ReadAll(io.LimitReader(f, maxManifest))
}

// Find is the backup of a stream with a name in a store, where Latest is the newest
// that is whole.
func Find(ctx context.Context, store Store, stream, name string, identities Identities) (Source, error) {
	s := Source{Store: store, Name: name, Identities: identities}
	if name != Latest {
		if _, ok := timeOf(name); !ok {
			return s, kgents.Errorf(kgents.CodeInvalid, "%q is no name of a backup: 'kgents stream list' shows them, and %s is the newest", name, Latest)
		}
		return s, nil
	}
	folders, err := names(ctx, store)
	if err != nil {
		return s, err
	}
	for _, name := range slices.Backward(folders) {
		e, err := look(ctx, store, name)
		if err != nil {
			return s, err
		}
		if e.State == Whole && e.Stream == stream {
			s.Name = name
			return s, nil
		}
	}
	return s, kgents.Errorf(kgents.CodeNotFound, "%s holds no whole backup of the stream %s: make one with 'kgents stream backup --to', or look at 'kgents stream list'", store, stream)
}

// CheckLatest refuses to take the newest backup for the one to restore when the stream
// began anew before it: after a loss the next backup, of what little has come since, is
// the newest. Prune keeps the one before.
func CheckLatest(ctx context.Context, store Store, stream string) error {
	all, err := List(ctx, store)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(e Entry) bool { return e.State != Whole || e.Stream != stream })
	for i := len(all) - 1; i > 0 && all[len(all)-1].Began.Sub(all[i].Began) < anewWithin; i-- {
		if before := all[i-1]; all[i].anew(before) {
			return kgents.Errorf(kgents.CodeConflict, "the stream began anew after the backup %s (message %d; %d in %s): if it was lost, restore %[1]s, else name the backup that you want", before.Name, before.Last, all[i].Last, all[i].Name)
		}
	}
	return nil
}

// anewWithin is how far back CheckLatest looks for a loss.
const anewWithin = 7 * day

// anew says whether the stream was lost, or restored, between a backup and the one
// before it: its sequences begin again.
func (e Entry) anew(before Entry) bool { return e.Last < before.Last }

// names lists the folders that are named as our backups are, oldest first.
func names(ctx context.Context, store Store) ([]string, error) {
	folders, err := store.Folders(ctx)
	if err != nil {
		return nil, err
	}
	folders = slices.DeleteFunc(folders, func(f string) bool { _, ok := timeOf(f); return !ok })
	slices.Sort(folders)
	return folders, nil
}

// State is what a look at the names and sizes of a backup's files tells.
type State string

// The states of a backup in a store.
const (
	Whole      State = "whole"      // a manifest that can be believed, and every file with its size
	Unfinished State = "unfinished" // no manifest: under way, or interrupted
	Damaged    State = "damaged"    // anything else
)

// Entry is a backup in a store.
type Entry struct {
	Name       string    `json:"name"`
	State      State     `json:"state"`
	Problem    string    `json:"problem,omitempty"` // of one that is damaged
	Began      time.Time `json:"began"`             // the moment that it holds
	Stream     string    `json:"stream,omitempty"`
	Messages   uint64    `json:"messages"`
	Events     uint64    `json:"events"`
	Bytes      int64     `json:"bytes"` // of all its files
	Recipients []string  `json:"recipients,omitempty"`

	// Last is the sequence of the newest event's message, 0 without one.
	Last uint64 `json:"last_sequence"`

	files []File
}

// List describes the backups in a store, oldest first, by names, sizes and
// manifests: it reads no segment. Folders that are no backup of ours are left out.
func List(ctx context.Context, store Store) ([]Entry, error) {
	folders, err := names(ctx, store)
	if err != nil {
		return nil, err
	}
	out := []Entry{}
	for _, name := range folders {
		e, err := look(ctx, store, name)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// look describes one backup. The error is the store's; what is wrong with the
// backup is its state.
func look(ctx context.Context, store Store, name string) (Entry, error) {
	at, _ := timeOf(name)
	e := Entry{Name: name, Began: at, State: Whole}
	var err error
	if e.files, err = store.Files(ctx, name); err != nil {
		return e, err
	}
	sizes := map[string]int64{}
	for _, f := range e.files {
		sizes[f.Name] = f.Bytes
		e.Bytes += f.Bytes
	}
	if _, ok := sizes[manifestName]; !ok {
		e.State = Unfinished
		return e, nil
	}
	m, err := Source{Store: store, Name: name}.Manifest(ctx)
	if err != nil {
		if kgents.ErrorCode(err) != kgents.CodeInvalid {
			return e, err
		}
		e.State, e.Problem = Damaged, err.Error()
		return e, nil
	}
	e.Began, e.Messages, e.Recipients = m.Began, m.Messages(), m.Recipients
	if s, ok := m.events(); ok {
		e.Stream, e.Last = s.Name, s.Last
	}
	for _, s := range m.Streams {
		e.Events += s.Events
		for _, seg := range s.Segments {
			size, ok := sizes[seg.File]
			switch {
			case !ok:
				e.State, e.Problem = Damaged, seg.File+" is missing"
			case size != seg.stored():
				e.State, e.Problem = Damaged, fmt.Sprintf("%s has %d bytes and should have %d", seg.File, size, seg.stored())
			}
		}
	}
	return e, nil
}

// gone says whether a store's error is of a file that isn't there.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) }
