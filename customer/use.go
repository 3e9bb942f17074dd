package customer

import (
	"context"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// useEvery is how precisely the last use of a key is kept: of all replicas one
	// writes it, that often at most.
	useEvery = 5 * time.Minute

	// useRound is how often it is looked which keys are due, and maxUses how many are
	// written then. The rest waits for the next round.
	useRound = time.Minute
	maxUses  = 500

	// useTimeout bounds a round, and what Close waits for.
	useTimeout = 10 * time.Second
	lastUses   = 2 * time.Second
)

// parseUse is 0 for what is no time.
func parseUse(value []byte) int64 {
	at, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil || at < 0 {
		return 0
	}
	return at
}

// keepUses writes down when keys were used last, apart from the requests that use them.
func (s *Store) keepUses(ctx context.Context) {
	round := time.NewTicker(useRound)
	defer round.Stop()
	for {
		select {
		case <-round.C:
			bounded, cancel := context.WithTimeout(ctx, useTimeout)
			s.writeUses(bounded, useEvery)
			cancel()
		case <-ctx.Done():
			bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastUses)
			s.writeUses(bounded, 0)
			cancel()
			return
		}
	}
}

// writeUses writes the last use of up to maxUses keys of which every replica has written
// none for a while, and deletes what keys that are gone have left.
func (s *Store) writeUses(ctx context.Context, every time.Duration) {
	kv, err := s.bucket()
	if err != nil {
		return // a use is no money: the next round has a later one
	}
	for prefix, at := range s.dueUses(every) {
		if ctx.Err() != nil {
			return
		}
		name := kindUse + "." + prefix
		if at == 0 {
			_ = kv.Purge(ctx, name, jetstream.LastRevision(s.revision(name)))
			continue
		}
		value := strconv.AppendInt(nil, at, 10)
		if revision, err := kv.Put(ctx, name, value); err == nil {
			s.put(name, revision, value)
		}
	}
}

// dueUses are prefixes with the last use to write, or 0 to delete it.
func (s *Store) dueUses(every time.Duration) map[string]int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	due := map[string]int64{}
	for prefix, k := range s.mem.keys {
		if len(due) == maxUses {
			return due
		}
		if at := k.used.Load(); at-s.mem.uses[prefix] > int64(every/time.Second) {
			due[prefix] = at
		}
	}
	for prefix := range s.mem.uses {
		if len(due) == maxUses {
			return due
		}
		if s.mem.keys[prefix] == nil {
			due[prefix] = 0
		}
	}
	return due
}

func (s *Store) revision(name string) uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.mem.revisions[name]
}
