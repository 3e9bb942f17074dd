package backup

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents/stream"
)

// Target is where Save puts a backup.
type Target struct {
	Store Store
	Seal  Recipients // none: the segments are stored as they are

	// Scratch is a directory in which one segment at a time, of at most 64 MiB and
	// sealed if backups are, waits to be stored. Empty is the system's.
	Scratch string
}

// cleanupTimeout is how long a Save that failed may take to remove what it has stored.
const cleanupTimeout = 30 * time.Second

// Save does what Write does, into a new folder of a store, and returns its name. The
// manifest is stored last, so what an interrupted Save leaves is no backup. One that
// fails removes what it has stored, if the store lets it.
func Save(ctx context.Context, js jetstream.JetStream, c stream.Config, to Target, progress Progress) (string, Manifest, error) {
	return save(ctx, js, c, to, progress, maxSegment)
}

func save(ctx context.Context, js jetstream.JetStream, c stream.Config, to Target, progress Progress, segment int64) (name string, m Manifest, err error) {
	found, err := find(ctx, js, c)
	if err != nil {
		return "", m, err
	}
	scratch, err := os.MkdirTemp(to.Scratch, "kgents-backup-")
	if err != nil {
		return "", m, fmt.Errorf("no place for a segment before it is stored: %w; set TMPDIR to a directory with 100 MiB free", err)
	}
	defer os.RemoveAll(scratch)
	name = newName(time.Now())
	var stored []string
	defer func() {
		if err == nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
		defer cancel()
		for _, file := range stored {
			if to.Store.Remove(ctx, name, file) != nil {
				return // Prune will
			}
		}
	}()
	w := writer{dir: scratch, max: segment, seal: to.Seal, ship: func(path string, seg Segment) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		stored = append(stored, seg.File)
		return to.Store.Put(ctx, name, seg.File, f, seg.stored())
	}}
	if m, err = found.copy(ctx, js, w, progress); err != nil {
		return name, m, err
	}
	b, err := m.encode()
	if err != nil {
		return name, m, err
	}
	if err := to.Store.Put(ctx, name, manifestName, bytes.NewReader(b), int64(len(b))); err != nil {
		return name, m, err
	}
	return name, m, json.Unmarshal(b, &m) // with its checksum
}
