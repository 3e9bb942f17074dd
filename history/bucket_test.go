package history

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/stream/streamtest"
)

var config = stream.Config{Name: "events", Replicas: 1}

// Replicas, two processes of one name among them, write without taking from each other.
func TestBucket(t *testing.T) {
	js, _ := streamtest.Start(t)
	now := time.Now().UTC().Truncate(time.Microsecond)
	if all, err := newBucket(js, config).all(t.Context()); err != nil || len(all) != 0 {
		t.Fatalf("an empty bucket has %v, %v", all, err)
	}
	var writers sync.WaitGroup
	for i := range 4 {
		writers.Go(func() {
			b, name := newBucket(js, config), fmt.Sprintf("api/pod.%d", i/2)
			if err := b.merge(t.Context(), name, []Entry{{Time: now, Kind: Start, What: fmt.Sprint("start ", i), Replica: name}}); err != nil {
				t.Error(err)
			}
		})
	}
	writers.Wait()
	all, err := newBucket(js, config).all(t.Context())
	if err != nil || len(all) != 4 {
		t.Errorf("%v, %v, want four entries", all, err)
	}
	kv, err := js.KeyValue(t.Context(), "events-history")
	if err != nil {
		t.Fatal(err)
	}
	status, err := kv.Status(t.Context())
	if err != nil || status.TTL() != MaxAge {
		t.Errorf("keys are kept for %v, %v", status.TTL(), err)
	}
	keys, err := kv.Keys(t.Context())
	if err != nil || len(keys) != 2 {
		t.Errorf("the keys are %v, %v", keys, err)
	}
}

// Of many replicas, those that have written nothing for longest are forgotten.
func TestBucketForgets(t *testing.T) {
	js, _ := streamtest.Start(t)
	b := newBucket(js, config)
	for i := range maxKeys + 3 {
		if err := b.merge(t.Context(), fmt.Sprint("api/pod-", i), []Entry{{Time: time.Now(), Kind: Start, What: fmt.Sprint(i)}}); err != nil {
			t.Fatal(err)
		}
	}
	kv, err := b.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	if err := each(t.Context(), kv, func(e jetstream.KeyValueEntry) { there[e.Key()] = true }, jetstream.MetaOnly()); err != nil {
		t.Fatal(err)
	}
	if len(there) != maxKeys || there["api/pod-0"] || !there[fmt.Sprint("api/pod-", maxKeys+2)] {
		t.Errorf("%d replicas are remembered, the first %v", len(there), there["api/pod-0"])
	}
}

// A bucket that is lost, as with a server's disk, is made again.
func TestBucketLost(t *testing.T) {
	js, stop := streamtest.Start(t)
	b := newBucket(js, config)
	entries := []Entry{{Time: time.Now(), Kind: Start, What: "start"}}
	if err := b.merge(t.Context(), "up/here", entries); err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteKeyValue(t.Context(), config.HistoryName()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for b.merge(ctx, "up/here", entries) != nil {
		if ctx.Err() != nil {
			t.Fatal("it is not made again")
		}
	}
	if all, err := b.all(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("it has %v, %v", all, err)
	}
	stop()
	ctx, cancel = context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := b.merge(ctx, "up/here", entries); err == nil {
		t.Error("a write without a server went well")
	}
	if _, err := b.all(ctx); err == nil {
		t.Error("a look without a server went well")
	}
}
