package customer

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// retryWait is between two attempts to watch, and up to as much again.
	retryWait = 250 * time.Millisecond

	// checkEvery is how often the watch is held against the bucket. What was written
	// before one check and isn't here at the next has been missed.
	checkEvery = 5 * time.Second

	// openTimeout bounds the requests that begin a watch.
	openTimeout = 5 * time.Second
)

// Why a watch ends.
var (
	errAway   = errors.New("NATS does not answer")
	errLost   = errors.New("the connection to NATS was lost")
	errEnded  = errors.New("NATS has ended the watch")
	errMissed = errors.New("the watch has missed a change")
	errOther  = errors.New("the bucket is another one than before")
)

// watch keeps memory like the bucket until ctx ends.
func (s *Store) watch(ctx context.Context) {
	last := ""
	for ctx.Err() == nil {
		read, err := s.follow(ctx)
		s.synced.Store(false)
		s.mu.Lock()
		s.filling = nil
		s.mu.Unlock()
		if ctx.Err() != nil {
			return
		}
		if read {
			last = ""
			s.restarts.Inc()
		}
		if why := err.Error(); why != last { // once for each reason of each outage
			last = why
			s.config.Log.Warn("customers and API keys are not followed, trying until they are; those that are known go on to work", "error", err)
		}
		select {
		case <-time.After(retryWait + rand.N(retryWait)):
		case <-ctx.Done():
		}
	}
}

// follow reads everything and then each change, until something is wrong with it. Read
// tells whether it has got to the changes.
func (s *Store) follow(ctx context.Context) (read bool, err error) {
	nc := s.config.JetStream.Conn()
	changes := nc.StatusChanged(nats.CONNECTED, nats.RECONNECTING, nats.DISCONNECTED, nats.CLOSED)
	defer nc.RemoveStatusListener(changes)
	connection := nc.Stats().Reconnects // before anything is asked: a later connection is another
	if !nc.IsConnected() {
		return false, errAway
	}
	began, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	kv, err := s.open(began)
	if err != nil {
		return false, err
	}
	info, err := s.info(began)
	if err != nil {
		return false, err
	}
	entries, err := kv.WatchAll(ctx)
	if err != nil {
		return false, err
	}
	defer end(entries)
	s.kv.Store(&kv)
	s.mu.Lock()
	s.filling = newMemory()
	s.mu.Unlock()
	seen, due := uint64(0), info.State.LastSeq // due is what must be seen by the next check
	check := time.NewTicker(checkEvery)
	defer check.Stop()
	for {
		select {
		case <-ctx.Done():
			return read, ctx.Err()
		case <-changes:
			return read, errLost
		case e, ok := <-entries.Updates():
			switch {
			case !ok:
				return read, errEnded
			case e == nil:
				read, seen = true, max(seen, due) // of what was there before, all that is left has come
				s.complete(connection, seen)
			default:
				seen = e.Revision()
				s.take(e)
			}
		case <-check.C:
			asked, cancel := context.WithTimeout(ctx, openTimeout)
			now, err := s.info(asked)
			cancel()
			switch {
			case err != nil: // without a quorum nothing changes; without a connection we are told
			case !now.Created.Equal(info.Created) || read && now.State.LastSeq < seen:
				return read, errOther
			case seen < due && read:
				return read, errMissed
			default:
				due = now.State.LastSeq
			}
		}
	}
}

// open returns the bucket, made or brought to our settings if need be.
func (s *Store) open(ctx context.Context) (jetstream.KeyValue, error) {
	want := jetstream.KeyValueConfig{
		Bucket: s.config.bucket(), Description: "Customers, their API keys and their subscriptions",
		Storage: jetstream.FileStorage, Replicas: s.config.Stream.Replicas, MaxValueSize: maxValueBytes,
	}
	kv, err := s.config.JetStream.KeyValue(ctx, want.Bucket)
	if err == nil {
		var status jetstream.KeyValueStatus
		if status, err = kv.Status(ctx); err == nil {
			has := status.Config()
			if has.Replicas == max(1, want.Replicas) && has.MaxValueSize == want.MaxValueSize {
				return kv, nil
			}
		}
	}
	if err != nil && !errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil, err
	}
	return s.config.JetStream.CreateOrUpdateKeyValue(ctx, want)
}

func (s *Store) info(ctx context.Context) (*jetstream.StreamInfo, error) {
	str, err := s.config.JetStream.Stream(ctx, "KV_"+s.config.bucket())
	if err != nil {
		return nil, err
	}
	return str.CachedInfo(), nil
}

// end stops a watch. Its goroutine may be waiting to hand something over.
func end(w jetstream.KeyWatcher) {
	_ = w.Stop()
	for patience := time.After(time.Second); ; {
		select {
		case _, ok := <-w.Updates():
			if !ok {
				return
			}
		case <-patience:
			return
		}
	}
}

// complete makes what was read the memory.
func (s *Store) complete(connection, seen uint64) {
	s.mu.Lock()
	old, fresh := s.mem, s.filling
	if fresh == nil { // the marker came twice
		s.mu.Unlock()
		return
	}
	for prefix, k := range fresh.keys {
		if was := old.keys[prefix]; was != nil {
			k.used.Store(was.used.Load())
		}
	}
	changed := fresh.changedSince(old)
	fresh.seen = seen
	s.mem, s.filling = fresh, nil
	s.mu.Unlock()
	s.reconnects.Store(connection)
	s.synced.Store(true)
	select {
	case <-s.ready:
	default:
		close(s.ready)
	}
	s.tell(changed...)
}

// take puts what the watch brings into memory, or into what will be.
func (s *Store) take(e jetstream.KeyValueEntry) {
	s.mu.Lock()
	m := s.mem
	if s.filling != nil {
		m = s.filling
	}
	m.seen = e.Revision()
	var changed *Customer
	bad := false
	if e.Operation() == jetstream.KeyValuePut {
		changed, bad = m.put(e.Key(), e.Revision(), e.Value())
	} else {
		changed = m.drop(e.Key(), e.Revision(), false)
	}
	filling := s.filling != nil
	s.mu.Unlock()
	if bad {
		s.ignored.Inc()
		s.config.Log.Error("an entry of the accounts bucket makes no sense, it is left out", "entry", e.Key(), "revision", e.Revision())
	}
	if changed != nil && !filling {
		s.tell(*changed)
	}
}
