package history

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents/stream"
)

const (
	// maxValueBytes is of what one replica keeps. Entries past it go, the oldest first.
	maxValueBytes = 128 << 10

	// maxKeys is how many replicas are remembered. Pods get new names with every
	// roll-out: the ones that have written nothing for longest are forgotten.
	maxKeys = 64

	// maxBucketBytes has room for all of them twice.
	maxBucketBytes = 2 * maxKeys * maxValueBytes

	// mergeTries bounds how often a write begins again because another process of the
	// same name was faster.
	mergeTries = 5
)

// bucket keeps entries in a key-value bucket, a key a replica. A key that nothing was
// written to for MaxAge is deleted by the server.
type bucket struct {
	js     jetstream.JetStream
	c      stream.Config
	opened atomic.Pointer[jetstream.KeyValue]
}

func newBucket(js jetstream.JetStream, c stream.Config) *bucket { return &bucket{js: js, c: c} }

// open makes the bucket, or brings the one it finds to these settings, once.
func (b *bucket) open(ctx context.Context) (jetstream.KeyValue, error) {
	if kv := b.opened.Load(); kv != nil {
		return *kv, nil
	}
	kv, err := b.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: b.c.HistoryName(), Description: "What has happened, a key a replica",
		Storage: jetstream.FileStorage, Replicas: b.c.Replicas, TTL: MaxAge, MaxValueSize: maxValueBytes, MaxBytes: maxBucketBytes,
	})
	if err != nil {
		return nil, b.failed(err)
	}
	b.opened.Store(&kv)
	return kv, nil
}

// failed has the bucket looked for again: it may have been lost with a server's disk.
func (b *bucket) failed(err error) error {
	b.opened.Store(nil)
	return fmt.Errorf("bucket %s: %w", b.c.HistoryName(), err)
}

// keyOf is a replica's name as a key can be.
func keyOf(replica string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '/' {
			return r
		}
		return '-'
	}, cmp.Or(replica, "unnamed"))
}

// merge implements store.
func (b *bucket) merge(ctx context.Context, replica string, entries []Entry) error {
	kv, err := b.open(ctx)
	if err != nil {
		return err
	}
	key := keyOf(replica)
	for range mergeTries {
		var was []Entry
		last, err := kv.Get(ctx, key)
		switch {
		case errors.Is(err, jetstream.ErrKeyNotFound):
			b.forget(ctx, kv)
		case err != nil:
			return b.failed(err)
		default:
			_ = json.Unmarshal(last.Value(), &was) // what can't be read is written anew
		}
		value, err := encode(merged(was, entries), time.Now())
		if err != nil {
			return err
		}
		if last == nil {
			_, err = kv.Create(ctx, key, value)
		} else {
			_, err = kv.Update(ctx, key, value, last.Revision())
		}
		if errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
			continue // another process on this host has the same role
		}
		if err != nil {
			return b.failed(err)
		}
		return nil
	}
	return fmt.Errorf("bucket %s: others write to key %s all the time", b.c.HistoryName(), key)
}

// encode makes the value of entries, sorted oldest first, without what is over a bound.
func encode(entries []Entry, now time.Time) ([]byte, error) {
	entries = slices.DeleteFunc(entries, func(e Entry) bool { return now.Sub(e.Time) > MaxAge })
	entries = fit(entries)
	for {
		value, err := json.Marshal(entries)
		if err != nil || len(value) <= maxValueBytes-1024 { // less the server's own share of a message
			return value, err
		}
		entries = entries[1+len(entries)/20:]
	}
}

// all implements store.
func (b *bucket) all(ctx context.Context) ([]Entry, error) {
	kv, err := b.open(ctx)
	if err != nil {
		return nil, err
	}
	var all []Entry
	err = each(ctx, kv, func(e jetstream.KeyValueEntry) {
		var entries []Entry
		if json.Unmarshal(e.Value(), &entries) == nil {
			all = append(all, entries...)
		}
	})
	if err != nil {
		return nil, b.failed(err)
	}
	return all, nil
}

// forget makes room for one more replica. What can't be deleted now is at the next start.
func (b *bucket) forget(ctx context.Context, kv jetstream.KeyValue) {
	type written struct {
		key string
		at  time.Time
	}
	var keys []written
	err := each(ctx, kv, func(e jetstream.KeyValueEntry) { keys = append(keys, written{e.Key(), e.Created()}) }, jetstream.MetaOnly())
	if err != nil {
		return
	}
	slices.SortFunc(keys, func(a, b written) int { return a.at.Compare(b.at) })
	for _, k := range keys[:max(0, len(keys)-maxKeys+1)] {
		_ = kv.Delete(ctx, k.key)
	}
}

// each hands on every key that there is.
func each(ctx context.Context, kv jetstream.KeyValue, take func(jetstream.KeyValueEntry), opts ...jetstream.WatchOpt) error {
	w, err := kv.WatchAll(ctx, append(opts, jetstream.IgnoreDeletes())...)
	if err != nil {
		return err
	}
	defer func() { _ = w.Stop() }()
	for {
		select {
		case e, ok := <-w.Updates():
			if !ok {
				return ctx.Err()
			}
			if e == nil {
				return nil // that was all
			}
			take(e)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
