package redis_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kgents/kgents/admit/redis"
	"github.com/kgents/kgents/admit/redistest"
)

func TestLookAtServer(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--maxmemory", "64mb")
	s := open(t, server.URL())
	got, err := s.LookAtServer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !got.Told || got.Ping <= 0 || got.UsedBytes <= 0 || got.ConnectedClients < 1 {
		t.Errorf("Redis says %+v, want its measures", got)
	}
	got.Ping, got.UsedBytes, got.ConnectedClients = 0, 0, 0
	if want := (redis.Server{Told: true, Master: true, MaxBytes: 64 << 20, Policy: "noeviction", AppendOnly: true, LastWriteOK: true}); got != want {
		t.Errorf("Redis says %+v, want %+v", got, want)
	}
	server.Do("CONFIG", "SET", "appendonly", "no")
	server.Do("REPLICAOF", "127.0.0.1", "1")
	if _, err := s.LookAtServer(t.Context()); err == nil || !strings.Contains(err.Error(), "READONLY") {
		t.Errorf("the error of a replica is %v: it can't be written to", err)
	}
	server.Do("REPLICAOF", "NO", "ONE")
	if got, err := s.LookAtServer(t.Context()); err != nil || !got.Master || got.AppendOnly {
		t.Errorf("Redis says %+v, %v, want a master without an append-only file", got, err)
	}
	// Full, with nothing that may be evicted.
	server.Do("CONFIG", "SET", "maxmemory", "1mb")
	if _, err := s.LookAtServer(t.Context()); err == nil {
		t.Error("a Redis that is full is no error")
	}
	server.Do("CONFIG", "SET", "maxmemory", "0")
	server.Freeze()
	if _, err := s.LookAtServer(t.Context()); err == nil || !strings.Contains(err.Error(), "did not answer") {
		t.Errorf("the error of a frozen server is %v", err)
	}
	server.Thaw()
	server.Kill()
	if _, err := s.LookAtServer(t.Context()); err == nil {
		t.Error("no error with Redis away")
	}
}

// Without the right to INFO, that Redis is up is known all the same.
func TestLookAtServerWithoutInfo(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users.acl")
	users := "user default on nopass ~* &* +@all\nuser small on >never-shown ~idempotency:* -@all +ping +hello +client|setname +set\n"
	if err := os.WriteFile(file, []byte(users), 0o600); err != nil {
		t.Fatal(err)
	}
	server := redistest.Start(t, "--aclfile", file)
	got, err := open(t, "redis://small:never-shown@"+server.Addr+"/0").LookAtServer(t.Context())
	if err != nil || got.Told || got.Ping <= 0 {
		t.Errorf("Redis says %+v, %v, want a ping and nothing more", got, err)
	}
}
