package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents/stream"
)

const (
	keyLast = "last"

	// noteTimeout is how long NATS may take to keep or to give a note.
	noteTimeout = 5 * time.Second

	// The bucket holds one value of a few dozen bytes.
	maxNoteBytes   = 1 << 10
	maxBucketBytes = 16 << 10
)

// note is what the servers know of the last backup.
type note struct {
	At time.Time `json:"at"` // the moment that it holds
}

func bucket(c stream.Config) string { return c.Name + "-backup" }

// Note tells the running programs that there is a backup, in a key-value bucket
// beside the streams, so that an alert can say when there is none. The bucket goes
// with the servers that lose the streams: what was restored has no backup of its own
// yet. An error says nothing of the backup itself.
func Note(ctx context.Context, js jetstream.JetStream, c stream.Config, m Manifest) error {
	ctx, cancel := context.WithTimeout(ctx, noteTimeout)
	defer cancel()
	kv, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: bucket(c), Description: "When the streams were backed up last",
		Storage: jetstream.FileStorage, Replicas: c.Replicas, MaxValueSize: maxNoteBytes, MaxBytes: maxBucketBytes,
	})
	if err != nil {
		return fmt.Errorf("bucket %s: %w", bucket(c), err)
	}
	value, err := json.Marshal(note{At: m.Began})
	if err != nil {
		return err
	}
	if _, err := kv.Put(ctx, keyLast, value); err != nil {
		return fmt.Errorf("bucket %s: %w", bucket(c), err)
	}
	return nil
}

// Last is the moment that the last backup holds, and zero when none was ever noted
// here.
func Last(ctx context.Context, js jetstream.JetStream, c stream.Config) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, noteTimeout)
	defer cancel()
	kv, err := js.KeyValue(ctx, bucket(c))
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("bucket %s: %w", bucket(c), err)
	}
	entry, err := kv.Get(ctx, keyLast)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("bucket %s: %w", bucket(c), err)
	}
	var n note
	if err := json.Unmarshal(entry.Value(), &n); err != nil || n.At.IsZero() {
		return time.Time{}, fmt.Errorf("bucket %s: what key %s holds is no note of a backup: make another backup, which writes it again", bucket(c), keyLast)
	}
	return n.At, nil
}
