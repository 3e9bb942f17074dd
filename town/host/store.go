package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/town"
)

const (
	// maxValueBytes is the largest value: a town of 25 with a full outbox takes about
	// 30 kB. maxPlainBytes is the same before compression; what comes to more is
	// damaged.
	maxValueBytes = 900_000
	maxPlainBytes = 16 << 20
)

// record is everything that is known of a town.
type record struct {
	Customer string        `json:"customer"`
	Epoch    time.Time     `json:"customer_created,omitzero"` // of the customer: one made later with the same id is another
	Name     string        `json:"name,omitempty"`
	Citizens int           `json:"citizens"`
	Seed     uint64        `json:"seed,string"`
	Created  time.Time     `json:"created"`
	Model    bool          `json:"model,omitempty"` // decisions by a language model
	Pace     time.Duration `json:"pace,omitempty"`  // of its living by itself; 0 = only when told
	Stepped  time.Time     `json:"stepped,omitzero"`
	Lease    time.Time     `json:"lease,omitzero"` // until when somebody is at a step with a model
	Limited  string        `json:"limited,omitempty"`
	Town     *town.Town    `json:"town"`

	// Outbox are the events that led to this state, and haven't been seen to be out.
	Outbox []town.Event `json:"outbox,omitempty"`
}

// roster is which towns a customer has, the oldest first.
type roster struct {
	Towns []listed `json:"towns"`
}

type listed struct {
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
}

// pace is how fast a town lives by itself.
type pace struct {
	Customer string        `json:"customer"`
	Every    time.Duration `json:"every"`
}

func townKey(id string) string      { return "town." + id }
func ownKey(customer string) string { return "own." + customer }
func paceKey(id string) string      { return "pace." + id }

// errConflict is the error for a value that has changed since it was read.
var errConflict = errors.New("it has changed meanwhile")

// store is the bucket.
type store struct {
	js     jetstream.JetStream
	c      stream.Config
	opened atomic.Pointer[jetstream.KeyValue]
}

// open makes the bucket, or brings the one it finds to these settings, once.
func (s *store) open(ctx context.Context) (jetstream.KeyValue, error) {
	if kv := s.opened.Load(); kv != nil {
		return *kv, nil
	}
	ctx, cancel := context.WithTimeout(ctx, ioTimeout)
	defer cancel()
	kv, err := s.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: s.c.TownsName(), Description: "Agent Town: towns, and whose they are",
		Storage: jetstream.FileStorage, Replicas: s.c.Replicas, MaxValueSize: maxValueBytes,
	})
	if err != nil {
		return nil, unavailable(fmt.Errorf("bucket %s: %w", s.c.TownsName(), err))
	}
	s.opened.Store(&kv)
	return kv, nil
}

// get reads a value and decodes it into v. Revision 0 means that there is none.
func (s *store) get(ctx context.Context, key string, v any) (revision uint64, err error) {
	kv, err := s.open(ctx)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, ioTimeout)
	defer cancel()
	entry, err := kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, s.failed(err)
	}
	if err := decode(entry.Value(), v); err != nil {
		return 0, fmt.Errorf("bucket %s: what key %s holds can't be read: %w", s.c.TownsName(), key, err)
	}
	return entry.Revision(), nil
}

// owners lists the customers who have, or had, towns, in the order of their ids. It reads
// the keys alone.
func (s *store) owners(ctx context.Context) ([]string, error) {
	kv, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, ioTimeout)
	defer cancel()
	watch, err := kv.Watch(ctx, ownKey("*"), jetstream.MetaOnly(), jetstream.IgnoreDeletes())
	if err != nil {
		return nil, s.failed(err)
	}
	defer watch.Stop()
	var owners []string
	for {
		select {
		case <-ctx.Done():
			return nil, unavailable(ctx.Err())
		case entry := <-watch.Updates():
			if entry == nil { // that was all
				slices.Sort(owners)
				return owners, nil
			}
			owners = append(owners, strings.TrimPrefix(entry.Key(), ownKey("")))
		}
	}
}

// put writes v if the value still has the revision, 0 meaning that there is none, and
// returns the new one. The error is errConflict if it hasn't. After any other error
// the value may have been written.
func (s *store) put(ctx context.Context, key string, v any, revision uint64) (uint64, error) {
	kv, err := s.open(ctx)
	if err != nil {
		return 0, err
	}
	value, err := encode(v)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, ioTimeout)
	defer cancel()
	if revision == 0 {
		revision, err = kv.Create(ctx, key, value)
	} else {
		revision, err = kv.Update(ctx, key, value, revision)
	}
	return revision, s.written(err)
}

// remove deletes a value that still has the revision.
func (s *store) remove(ctx context.Context, key string, revision uint64) error {
	kv, err := s.open(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, ioTimeout)
	defer cancel()
	return s.written(kv.Delete(ctx, key, jetstream.LastRevision(revision)))
}

func (s *store) written(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jetstream.ErrKeyExists), errors.Is(err, jetstream.ErrKeyRevisionMismatch):
		return errConflict
	}
	return s.failed(err)
}

// failed has the bucket looked for again: it may have been lost, or restored.
func (s *store) failed(err error) error {
	if lost(err) {
		s.opened.Store(nil)
	}
	return unavailable(fmt.Errorf("bucket %s: %w", s.c.TownsName(), err))
}

// change replaces a value by what f makes of it, again whenever another was faster.
// F gets a zero value where there is none; if it returns false nothing is written.
func change[T any](ctx context.Context, s *store, key string, f func(*T) (bool, error)) error {
	for range conflicts {
		var v T
		revision, err := s.get(ctx, key, &v)
		if err != nil {
			return err
		}
		write, err := f(&v)
		if err != nil || !write {
			return err
		}
		if _, err = s.put(ctx, key, v, revision); !errors.Is(err, errConflict) {
			return err
		}
		if !sleep(ctx, 5*time.Millisecond) {
			return unavailable(ctx.Err())
		}
	}
	return kgents.Unavailable(time.Second, "others change the same at this moment: try again", errConflict)
}

// lost tells whether err says that nobody serves the stream, rather than that it took too
// long: looking for it costs the servers more than a read.
func lost(err error) bool {
	for _, gone := range []error{jetstream.ErrStreamNotFound, jetstream.ErrBucketNotFound, jetstream.ErrNoStreamResponse, nats.ErrNoResponders} {
		if errors.Is(err, gone) {
			return true
		}
	}
	return false
}

func encode(v any) ([]byte, error) {
	plain, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return encoder.EncodeAll(plain, nil), nil
}

func decode(value []byte, v any) error {
	plain, err := decoder.DecodeAll(value, nil)
	if err != nil {
		return err
	}
	return json.Unmarshal(plain, v)
}

// The codecs keep nothing between calls and are safe for concurrent use.
var (
	encoder = must(zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest)))
	decoder = must(zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxPlainBytes)))
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // the options above are wrong
	}
	return v
}
