package app_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/kgents/kgents/config"
)

// Each role alone, as in a cluster: started before there is a NATS, they find it
// when it comes, and again when it was away.
func TestNATSComesLater(t *testing.T) {
	t.Parallel()
	nats := newGate(t)
	meterRole := start(t, config.RoleMeter, settings(t, config.RoleMeter, nil))
	env := map[string]string{
		"NATS_SERVERS": "nats://" + nats.l.Addr().String(), "OPENMETER_BASE_URL": meterRole.URL(), "OPENMETER_API_KEY": apiKey,
	}
	api := start(t, config.RoleAPI, settings(t, config.RoleAPI, env))
	// The sink has a way of its own, so that the two do not change the stream at
	// once: nats-server has a data race there.
	sinkNATS := newGate(t)
	env["NATS_SERVERS"] = "nats://" + sinkNATS.l.Addr().String()
	sink := start(t, config.RoleSink, settings(t, config.RoleSink, env))

	for name, p := range map[string]*program{"api": api, "sink": sink} {
		if a := p.get("/livez"); a.status != 200 {
			t.Errorf("%s: /livez answers %d without NATS: a restart would mend nothing", name, a.status)
		}
		wantProblem(t, p.get("/readyz"), http.StatusServiceUnavailable)
		if a := p.get("/health"); a.status != http.StatusServiceUnavailable || !strings.Contains(a.body, `"status": "error"`) {
			t.Errorf("%s: /health answers %d %s, want 503 with error", name, a.status, a.body)
		}
		if s := p.saas(); s.Status != "error" || s.NATS.Status != "disconnected" || s.NATS.Detail == "" {
			t.Errorf("%s: /health/saas says %+v, want error, NATS disconnected", name, s)
		}
		if !strings.Contains(p.get("/metrics").body, "\nkgents_nats_connected 0\n") {
			t.Errorf("%s: kgents_nats_connected is not 0", name)
		}
	}
	wantProblem(t, api.send(api.interaction("refused")), http.StatusServiceUnavailable)

	target := natsServer(t, true)
	nats.open(target)
	api.ready()
	sinkNATS.open(target)
	sink.ready()
	if a := api.send(api.interaction("1")); a.status != http.StatusNoContent {
		t.Fatalf("NATS is there, but an event is answered with %d %s", a.status, a.body)
	}
	eventually(t, "the meter has counted it", func() bool { return meterRole.interactions() == 1 })
	if got := api.interactions(); got != 1 {
		t.Errorf("through the api the meter counts %d, want 1", got)
	}
	for name, p := range map[string]*program{"api": api, "sink": sink} {
		eventually(t, name+" is well", func() bool { a := p.get("/health"); return a.status == 200 && p.saas().Status == "ok" })
		if s := p.saas(); s.NATS.Status != "healthy" || s.NATS.Mode != "jetstream" || s.OpenMeter.Status != "healthy" || s.OpenMeter.Embedded {
			t.Errorf("%s: /health/saas says %+v", name, s)
		}
	}

	nats.close()
	eventually(t, "the loss shows", func() bool { return api.saas().NATS.Status == "disconnected" })
	if a := api.get("/readyz"); a.status != 200 {
		t.Errorf("/readyz answers %d after NATS was lost: its 503 tells a client more than no pod at all", a.status)
	}
	nats.open(target)
	eventually(t, "NATS is back", func() bool { return api.saas().Status == "ok" })
	if a := api.send(api.interaction("2")); a.status != http.StatusNoContent {
		t.Fatalf("NATS is back, but an event is answered with %d %s", a.status, a.body)
	}
	eventually(t, "the meter has counted that too", func() bool { return meterRole.interactions() == 2 })
}

// A NATS without JetStream can make nothing durable, so it is as good as none.
func TestNATSWithoutJetStream(t *testing.T) {
	p := start(t, config.RoleAPI, settings(t, config.RoleAPI, map[string]string{
		"NATS_SERVERS":       "nats://" + natsServer(t, false),
		"OPENMETER_BASE_URL": remoteMeter(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("[]")) }),
	}))
	eventually(t, "health names JetStream", func() bool { return strings.Contains(p.saas().NATS.Detail, "JetStream") })
	if s := p.saas(); s.Status != "error" || s.NATS.Status != "disconnected" {
		t.Errorf("/health/saas says %+v, want error, NATS disconnected", s)
	}
	wantProblem(t, p.get("/readyz"), http.StatusServiceUnavailable)
	wantProblem(t, p.send(p.interaction("1")), http.StatusServiceUnavailable)
}

// The meter role needs no NATS and guards its data.
func TestMeterRole(t *testing.T) {
	p := start(t, config.RoleMeter, settings(t, config.RoleMeter, nil))
	p.ready()
	if s := p.saas(); s.Status != "ok" || s.NATS.Status != "disabled" || s.OpenMeter.Status != "healthy" || !s.OpenMeter.Embedded {
		t.Errorf("/health/saas says %+v", s)
	}
	if a := p.send(p.interaction("1")); a.status != http.StatusNoContent {
		t.Errorf("an event is answered with %d %s", a.status, a.body)
	}
	if got := p.interactions(); got != 1 {
		t.Errorf("%d interactions are counted, want 1", got)
	}
	req := p.interaction("2")
	req.Header.Del("Authorization")
	wantProblem(t, p.send(req), http.StatusUnauthorized)
	wantProblem(t, p.send(p.request("POST", "/webhooks/stripe", "{}")), http.StatusNotFound)
}
