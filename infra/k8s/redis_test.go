package k8s

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kgents/kgents/admit/redistest"
)

// TestRedisConf: a real Redis takes the file, refuses when it is full, forgets
// nothing then, and nothing when it is killed.
func TestRedisConf(t *testing.T) {
	b, err := os.ReadFile("manifests/redis/redis.conf")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	data, acl, conf := filepath.Join(dir, "data"), filepath.Join(dir, "users.acl"), filepath.Join(dir, "redis.conf")
	text := string(b)
	for from, to := range map[string]string{"\ndir /data\n": "\ndir " + data + "\n", "/etc/redis-acl/users.acl": acl} {
		if !strings.Contains(text, from) {
			t.Fatalf("redis.conf has no %q", from)
		}
		text = strings.ReplaceAll(text, from, to)
	}
	for path, text := range map[string]string{acl: "user default on nopass ~* &* +@all\n", conf: text} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	args := []string{"--include", conf, "--maxmemory", "3mb"}
	s := redistest.Start(t, args...)
	s.Do("SET", "first", "value")
	full := ""
	for i := 0; i < 1000 && full == ""; i++ {
		if answer := s.Do("SET", fmt.Sprint("key", i), strings.Repeat("x", 10_000)); strings.HasPrefix(answer, "-") {
			full = answer
		}
	}
	if !strings.HasPrefix(full, "-OOM") {
		t.Errorf("a full Redis answered %q, want a refusal", full)
	}
	for _, when := range []string{"full", "killed"} {
		if got := s.Do("GET", "first"); got != "$5\r\n" {
			t.Errorf("%s, it answers %q for the first key", when, got)
		}
		s.Kill()
		s.Restart(args...)
	}
}
