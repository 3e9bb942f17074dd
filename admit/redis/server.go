package redis

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Server is what Redis says of itself, for metrics.
type Server struct {
	Ping time.Duration // of a write

	// Told says that the rest is known: a user that may not use INFO can't know it.
	Told bool

	Master           bool
	Loading          bool // it reads its data and refuses everything meanwhile
	UsedBytes        int64
	MaxBytes         int64  // 0 without a bound
	Policy           string // what it does when it is full (maxmemory-policy)
	EvictedKeys      int64  // since it was started
	ConnectedClients int64
	AppendOnly       bool // every write goes to the append-only file too
	LastWriteOK      bool // the last write to that file went well
}

// LookAtServer writes a key and asks Redis for its state, two round trips. An error
// means that Redis is away, or can't be written to.
func (s *Store) LookAtServer(ctx context.Context) (Server, error) {
	start := time.Now()
	if err := s.Ping(ctx); err != nil {
		return Server{}, err
	}
	out := Server{Ping: time.Since(start)}
	var text string
	err := s.call(ctx, 1, func(ctx context.Context) (err error) {
		text, err = s.client.Info(ctx, "clients", "memory", "persistence", "stats", "replication").Result()
		return err
	})
	if err != nil {
		if strings.Contains(err.Error(), "NOPERM") {
			return out, nil
		}
		return Server{}, err
	}
	return out, out.read(text)
}

// read takes the fields out of INFO's lines. The error names one that isn't there
// or no number.
func (s *Server) read(text string) error {
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":"); ok {
			fields[name] = value
		}
	}
	for name, to := range map[string]*int64{
		"used_memory": &s.UsedBytes, "maxmemory": &s.MaxBytes, "evicted_keys": &s.EvictedKeys, "connected_clients": &s.ConnectedClients,
	} {
		n, err := strconv.ParseInt(fields[name], 10, 64)
		if err != nil {
			return fmt.Errorf("redis: INFO says %q for %s, which is no number", fields[name], name)
		}
		*to = n
	}
	s.Told = true
	s.Policy = fields["maxmemory_policy"]
	s.Master = fields["role"] == "master"
	s.Loading = fields["loading"] == "1"
	s.AppendOnly = fields["aof_enabled"] == "1"
	s.LastWriteOK = fields["aof_last_write_status"] == "ok"
	return nil
}
