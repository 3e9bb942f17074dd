package app_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/kgents/kgents/admit/redistest"
	"github.com/kgents/kgents/config"
)

// Whoever may write to Redis can make events late, and, by planting that an event
// has been counted before it comes, lose it: docs/saas/security.md says so. Nothing
// else that stands there counts an event twice or answers 2xx for one that is lost.
func TestPoisonedIdentities(t *testing.T) {
	server := redistest.Start(t)
	p := start(t, config.RoleUp, settings(t, config.RoleUp, map[string]string{"REDIS_URL": server.URL()}))
	p.ready()
	const key = "idempotency:smallville "
	plant := func(id, value string) {
		t.Helper()
		eventually(t, "Redis is in use", func() bool { return p.saas().Redis.Status == "healthy" })
		server.Do("SET", key+id, value)
	}
	want := func(what string, id string, status int) {
		t.Helper()
		if a := p.send(p.interaction(id)); a.status != status {
			t.Errorf("%s: the event is answered %d %s, want %d", what, a.status, a.body, status)
		}
	}

	want("a new event", "1", http.StatusNoContent)
	if got := strings.TrimSpace(server.Do("DEL", key+"1")); got != ":1" {
		t.Fatalf("deleting it is answered %s", got)
	}
	want("its identity was deleted", "1", http.StatusNoContent) // taken again; the meter counts it once

	plant("2", "claim:a stranger")
	want("a claim that never ends", "2", http.StatusServiceUnavailable)
	plant("3", "garbage")
	want("garbage", "3", http.StatusServiceUnavailable)
	plant("5", "final")
	want("planted as counted", "5", http.StatusNoContent) // the accepted risk: this one is lost
	// For this error Redis is taken to be away, and memory knows of nothing planted; so
	// it comes last.
	server.Do("RPUSH", key+"4", "x")
	want("a value of another type", "4", http.StatusNoContent)

	server.Do("FLUSHALL")
	for _, id := range []string{"1", "2", "3", "4"} {
		want("after everything was deleted", id, http.StatusNoContent)
	}
	eventually(t, "four are counted", func() bool { return p.interactions() >= 4 })
	want("one more", "6", http.StatusNoContent)
	eventually(t, "the last is counted", func() bool { return p.interactions() >= 5 })
	if got := p.interactions(); got != 5 {
		t.Errorf("%d interactions are counted, want 5", got)
	}
}
