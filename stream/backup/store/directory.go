package store

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/kgents/kgents/stream/backup"
)

// directory is a store of directories in a directory, readable by their owner only.
type directory struct{ path string }

func (d directory) String() string { return d.path }

func (d directory) Folders(context.Context) ([]string, error) {
	entries, err := os.ReadDir(d.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var out []string
	for _, e := range entries {
		if e.IsDir() {
			out = append(out, e.Name())
		}
	}
	return out, err
}

func (d directory) Files(_ context.Context, folder string) ([]backup.File, error) {
	entries, err := os.ReadDir(filepath.Join(d.path, folder))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []backup.File
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, os.ErrNotExist) {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, err
		}
		out = append(out, backup.File{Name: e.Name(), Bytes: info.Size()})
	}
	return out, nil
}

// Put writes under another name, syncs, and renames.
func (d directory) Put(ctx context.Context, folder, file string, content io.ReadSeeker, size int64) error {
	dir := filepath.Join(d.path, folder)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	path := filepath.Join(dir, file)
	f, err := os.OpenFile(path+backup.Part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, content)
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	if err := errors.Join(err, ctx.Err(), f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(path+backup.Part))
	}
	if err := os.Rename(path+backup.Part, path); err != nil {
		return err
	}
	return errors.Join(sync(dir), sync(d.path))
}

// sync makes names in a directory durable.
func sync(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (d directory) Open(_ context.Context, folder, file string) (io.ReadCloser, int64, error) {
	f, err := os.Open(filepath.Join(d.path, folder, file))
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

func (d directory) Remove(_ context.Context, folder, file string) error {
	dir := filepath.Join(d.path, folder)
	if err := os.Remove(filepath.Join(dir, file)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	_ = os.Remove(dir) // when it is empty
	return nil
}
