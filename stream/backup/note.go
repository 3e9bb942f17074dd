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
	keyLast  = "last"
	keyDrill = "drill"

	// noteTimeout is how long NATS may take to keep or to give a note.
	noteTimeout = 5 * time.Second

	// The bucket holds two values of a few hundred bytes.
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
	return put(ctx, js, c, keyLast, note{At: m.Began})
}

// NoteDrill tells them of a drill that went well, as Note does of a backup.
func NoteDrill(ctx context.Context, js jetstream.JetStream, c stream.Config, r DrillReport) error {
	return put(ctx, js, c, keyDrill, r)
}

func put(ctx context.Context, js jetstream.JetStream, c stream.Config, key string, v any) error {
	ctx, cancel := context.WithTimeout(ctx, noteTimeout)
	defer cancel()
	kv, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: bucket(c), Description: "When the streams were backed up last",
		Storage: jetstream.FileStorage, Replicas: c.Replicas, MaxValueSize: maxNoteBytes, MaxBytes: maxBucketBytes,
	})
	if err != nil {
		return fmt.Errorf("bucket %s: %w", bucket(c), err)
	}
	value, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if _, err := kv.Put(ctx, key, value); err != nil {
		return fmt.Errorf("bucket %s: %w", bucket(c), err)
	}
	return nil
}

// Last is the moment that the last backup holds, and zero when none was ever noted
// here.
func Last(ctx context.Context, js jetstream.JetStream, c stream.Config) (time.Time, error) {
	var n note
	found, err := get(ctx, js, c, keyLast, &n)
	if found && n.At.IsZero() {
		err = fmt.Errorf("bucket %s: what key %s holds is no note of a backup: make another backup, which writes it again", bucket(c), keyLast)
	}
	return n.At, err
}

// LastDrill is the last drill that went well, and zero when none was ever noted here.
func LastDrill(ctx context.Context, js jetstream.JetStream, c stream.Config) (DrillReport, error) {
	var r DrillReport
	found, err := get(ctx, js, c, keyDrill, &r)
	if found && r.At.IsZero() {
		err = fmt.Errorf("bucket %s: what key %s holds is no note of a drill: make another with 'kgents stream drill', which writes it again", bucket(c), keyDrill)
	}
	return r, err
}

// get reads a key's value. What can't be read as v leaves it as it is.
func get(ctx context.Context, js jetstream.JetStream, c stream.Config, key string, v any) (found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, noteTimeout)
	defer cancel()
	kv, err := js.KeyValue(ctx, bucket(c))
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("bucket %s: %w", bucket(c), err)
	}
	entry, err := kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("bucket %s: %w", bucket(c), err)
	}
	_ = json.Unmarshal(entry.Value(), v)
	return true, nil
}
