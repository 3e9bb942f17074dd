package reconcile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// turnTimeout is how long NATS may take to say whose turn it is, or to take or
	// give a result.
	turnTimeout = 5 * time.Second

	// A bucket holds one value of each key, of a few hundred bytes.
	maxValueBytes  = 4 << 10
	maxBucketBytes = 64 << 10

	keyTurn   = "turn"   // who began the last scheduled run; its age is what counts
	keyResult = "result" // what the last complete run found
)

// turns is what sinks tell each other, in a key-value bucket beside the stream.
type turns struct {
	js       jetstream.JetStream
	bucket   string
	replicas int
	now      func() time.Time
}

func (c Config) turns() turns {
	return turns{js: c.JetStream, bucket: c.Stream.Name + "-reconcile", replicas: c.Stream.Replicas, now: time.Now}
}

// result is what a complete run has found.
type result struct {
	At      time.Time `json:"at"` // when it ended
	Missing int64     `json:"missing"`
}

// open makes the bucket, or brings the one it finds to these settings.
func (t turns) open(ctx context.Context) (jetstream.KeyValue, error) {
	kv, err := t.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: t.bucket, Description: "Whose turn reconciliation is, and what the last one found",
		Storage: jetstream.FileStorage, Replicas: t.replicas, MaxValueSize: maxValueBytes, MaxBytes: maxBucketBytes,
	})
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", t.bucket, err)
	}
	return kv, nil
}

// take says whether it is the caller's turn: nobody's has begun for an interval,
// or a tenth less, and of those who ask at once the caller is the one. If not, rest
// is how long to wait until it may be. A turn needs no giving back: who is killed
// in a run leaves nothing that the next one waits for.
func (t turns) take(ctx context.Context, interval time.Duration) (mine bool, rest time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, turnTimeout)
	defer cancel()
	kv, err := t.open(ctx)
	if err != nil {
		return false, interval, err
	}
	host, _ := os.Hostname() // for who looks into the bucket
	last, err := kv.Get(ctx, keyTurn)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		_, err = kv.Create(ctx, keyTurn, []byte(host))
	case err == nil:
		// The server's time, as that of the messages which a run chooses by it. A
		// replica's clock that is wrong makes it early or late by as much.
		age := max(0, t.now().Sub(last.Created()))
		if age < interval-interval/10 {
			return false, interval - age, nil
		}
		_, err = kv.Update(ctx, keyTurn, []byte(host), last.Revision())
	}
	if errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
		return false, interval, nil // another was faster, just now
	}
	if err != nil {
		return false, interval, fmt.Errorf("bucket %s: %w", t.bucket, err)
	}
	return true, interval, nil
}

// publish tells the others what a run has found.
func (t turns) publish(ctx context.Context, r result) error {
	ctx, cancel := context.WithTimeout(ctx, turnTimeout)
	defer cancel()
	kv, err := t.open(ctx)
	if err != nil {
		return err
	}
	value, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if _, err := kv.Put(ctx, keyResult, value); err != nil {
		return fmt.Errorf("bucket %s: %w", t.bucket, err)
	}
	return nil
}

// result is what was published last, by whichever replica. It is zero before the
// first.
func (t turns) result(ctx context.Context) (r result, err error) {
	ctx, cancel := context.WithTimeout(ctx, turnTimeout)
	defer cancel()
	kv, err := t.js.KeyValue(ctx, t.bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return result{}, nil
	}
	if err != nil {
		return result{}, fmt.Errorf("bucket %s: %w", t.bucket, err)
	}
	entry, err := kv.Get(ctx, keyResult)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return result{}, nil
	}
	if err != nil {
		return result{}, fmt.Errorf("bucket %s: %w", t.bucket, err)
	}
	if err := json.Unmarshal(entry.Value(), &r); err != nil || r.Missing < 0 || r.At.IsZero() {
		return result{}, fmt.Errorf("bucket %s: what key %s holds is no result: delete it, the next run writes it again", t.bucket, keyResult)
	}
	return r, nil
}
