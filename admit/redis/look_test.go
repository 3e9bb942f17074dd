package redis_test

import (
	"testing"
	"time"

	"github.com/kgents/kgents/admit/redis"
	"github.com/kgents/kgents/admit/redistest"
)

func TestRemembered(t *testing.T) {
	server := redistest.Start(t)
	s, err := redis.New(server.URL(), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Commit(t.Context(), "me", []string{"s done"}, time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Claim(t.Context(), "me", []string{"s claimed"}, time.Minute); err != nil {
		t.Fatal(err)
	}
	server.Do("SET", "idempotency:s for-ever", "final")
	for id, want := range map[string]redis.Record{
		"s done":     {Found: true, Final: true, TTL: time.Hour},
		"s claimed":  {Found: true, TTL: time.Minute},
		"s for-ever": {Found: true, Final: true},
		"s none":     {},
	} {
		got, err := s.Remembered(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if got.TTL < want.TTL && got.TTL > want.TTL-10*time.Second { // a busy machine
			got.TTL = want.TTL
		}
		if got != want {
			t.Errorf("%s: %+v, want %+v", id, got, want)
		}
	}
	server.Kill()
	if _, err := s.Remembered(t.Context(), "s done"); err == nil {
		t.Error("no error with Redis away")
	}
}
