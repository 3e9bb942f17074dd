package app_test

import (
	"net/http"
	"testing"

	"github.com/kgents/kgents/admit/redistest"
	"github.com/kgents/kgents/config"
)

// With a spool and Redis, events are taken while NATS and Redis are away, health
// says so, and when both are back everything is counted once. It waits for the
// circuit breaker's 30 s.
func TestFallbacks(t *testing.T) {
	t.Parallel()
	nats, sinkNATS := newGate(t), newGate(t)
	server := redistest.Start(t)
	meterRole := start(t, config.RoleMeter, settings(t, config.RoleMeter, nil))
	env := map[string]string{
		"NATS_SERVERS": "nats://" + nats.l.Addr().String(), "OPENMETER_BASE_URL": meterRole.URL(), "OPENMETER_API_KEY": apiKey,
		"SPOOL_DIR": t.TempDir(), "REDIS_URL": server.URL(),
	}
	api := start(t, config.RoleAPI, settings(t, config.RoleAPI, env))
	env = map[string]string{
		"NATS_SERVERS": "nats://" + sinkNATS.l.Addr().String(), "OPENMETER_BASE_URL": meterRole.URL(), "OPENMETER_API_KEY": apiKey,
	}
	sink := start(t, config.RoleSink, settings(t, config.RoleSink, env))

	if a := api.get("/readyz"); a.status != http.StatusOK {
		t.Errorf("/readyz answers %d without NATS: the spool takes events", a.status)
	}
	accept := func(id string) {
		t.Helper()
		if a := api.send(api.interaction(id)); a.status != http.StatusNoContent {
			t.Fatalf("event %s is answered with %d %s", id, a.status, a.body)
		}
	}
	accept("1")
	if s := api.saas(); s.Status != "degraded" || s.NATS.Mode != "fallback" || s.NATS.Spooled != 1 || s.Redis.Status != "healthy" {
		t.Errorf("/health/saas says %+v, want degraded, NATS in fallback with one event, Redis healthy", s)
	}
	server.Kill()
	accept("2")
	accept("2") // memory knows it
	if s := api.saas(); s.Redis.Status != "fallback" || s.Redis.Detail == "" || s.NATS.Spooled != 2 {
		t.Errorf("/health/saas says %+v, want Redis in fallback and two events on disk", s)
	}
	server.Restart()
	eventually(t, "Redis is back", func() bool { return api.saas().Redis.Status == "healthy" })
	accept("2") // and Redis has been told

	target := natsServer(t, true)
	nats.open(target)
	eventually(t, "the spool is empty", func() bool { return api.saas().NATS.Spooled == 0 })
	sinkNATS.open(target)
	sink.ready()
	accept("3")
	eventually(t, "three events are counted", func() bool { return meterRole.interactions() == 3 })
	eventually(t, "all is well", func() bool { return api.saas().Status == "ok" })
}
