package app_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kgents/kgents/admit/redistest"
	"github.com/kgents/kgents/config"
	"github.com/kgents/kgents/system"
)

// report is what the program says of itself.
func (p *program) report() system.Report {
	p.t.Helper()
	r, err := system.Read(p.t.Context(), client, p.URL(), apiKey)
	if err != nil {
		p.t.Fatal(err)
	}
	return r
}

// Within one process all of it is known.
func TestSystemOfUp(t *testing.T) {
	t.Parallel()
	p := start(t, config.RoleUp, settings(t, config.RoleUp, map[string]string{
		"API_RATE_LIMIT": "77", "API_RATE_BURST": "99", "OPENMETER_RATE_LIMIT": "55", "OPENMETER_RATE_BURST": "5",
	}))
	p.ready()
	if a := p.send(p.interaction("1")); a.status != http.StatusNoContent {
		t.Fatalf("an event is answered with %d %s", a.status, a.body)
	}
	var r system.Report
	eventually(t, "the event is in the report and metered", func() bool {
		r = p.report()
		return len(r.NATS.Streams) == 2 && r.NATS.Streams[0].Messages == 1 && r.NATS.Backlog != nil && r.NATS.Backlog.Messages == 0
	})
	if r.Role != "up" || r.Version == "" || time.Since(r.Now) > time.Minute || r.Started.After(r.Now) {
		t.Errorf("the program is %q %q, started %v, at %v", r.Role, r.Version, r.Started, r.Now)
	}
	if !r.NATS.Embedded || !r.NATS.Connected || r.NATS.Circuit != "closed" || len(r.NATS.Servers) != 1 {
		t.Fatalf("NATS is %+v", r.NATS)
	}
	if s := r.NATS.Servers[0]; !s.Known || !s.SyncAlways || s.Name == "" || s.StoreUsed <= 0 || s.StoreLimit <= s.StoreUsed || s.Connections < 1 || s.MaxConnections < 1 || time.Since(s.Now) > time.Minute {
		t.Errorf("the embedded server is %+v", s)
	}
	for i, s := range r.NATS.Streams {
		if s.Name != []string{"kgent-events", "kgent-events-dead"}[i] || s.Replicas != 1 || s.Current != 1 || !s.Leader ||
			s.Discard != "new" || s.Storage != "file" || s.DenyDelete != (i == 0) || s.DenyPurge != (i == 0) {
			t.Errorf("stream %d is %+v", i, s)
		}
	}
	// Measured against what the server says of the only message.
	if want := float64(r.NATS.Streams[0].Bytes); r.NATS.BytesPerEvent != want {
		t.Errorf("an event takes %v bytes, the stream %v", r.NATS.BytesPerEvent, want)
	}
	if d := r.Disk; d == nil || d.Free <= 0 || d.Total < d.Free {
		t.Errorf("the disk is %+v", d)
	}
	if s := r.Spool; s == nil || s.Limit != 1<<30 || s.Events != 0 {
		t.Errorf("the spool is %+v", s)
	}
	if d := r.DeadLetters; d == nil || d.Waiting != 0 {
		t.Errorf("dead letters are %+v", d)
	}
	if b := r.Backup; b == nil || !b.Last.IsZero() {
		t.Errorf("the backup is %+v, want none", b)
	}
	if r.Identities.Store != system.StoreMemory || r.Identities.Redis != nil {
		t.Errorf("identities are %+v", r.Identities)
	}
	eventually(t, "the meter answers", func() bool { r = p.report(); return r.Meter == system.Meter{Embedded: true, Answers: true} })
	if c := r.Reconciliation; c == nil || c.Interval != 3600 || !c.Last.IsZero() {
		t.Errorf("reconciliation is %+v", c)
	}
	if want := (system.Limits{APIPerSecond: 77, APIBurst: 99, OpenMeterPerSecond: 55, OpenMeterBurst: 5}); r.Limits != want {
		t.Errorf("limits are %+v", r.Limits)
	}
	if a := p.send(p.request(http.MethodPost, "/api/v1/reconcile?fix=false", "")); a.status != http.StatusOK {
		t.Fatalf("reconciliation answers %d %s", a.status, a.body)
	}
	eventually(t, "the reconciliation is in the report", func() bool {
		c := p.report().Reconciliation
		return c != nil && !c.Last.IsZero() && c.Missing != nil && *c.Missing == 0
	})
}

// Elsewhere the report has what the role's user may know, and says so while a
// dependency is away.
func TestSystemOfEachRole(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t, "--appendonly", "yes", "--maxmemory", "64mb", "--requirepass", "never-shown")
	gate := newGate(t)
	env := map[string]string{
		"NATS_SERVERS": "nats://" + gate.l.Addr().String(), "OPENMETER_BASE_URL": "http://127.0.0.1:1/never-shown-path",
		"OPENMETER_API_KEY": "om_never-shown", "REDIS_URL": "redis://:never-shown@" + redis.Addr + "/0",
	}
	api := start(t, config.RoleAPI, settings(t, config.RoleAPI, env))
	sink := start(t, config.RoleSink, settings(t, config.RoleSink, env))
	meter := start(t, config.RoleMeter, settings(t, config.RoleMeter, nil))

	if r := api.report(); r.NATS.Connected || len(r.NATS.Servers) != 0 || len(r.NATS.Streams) != 0 || r.DeadLetters != nil || r.Backup != nil || r.NATS.Backlog != nil {
		t.Errorf("without NATS the report has %+v", r)
	}
	gate.open(natsServer(t, true))
	for _, p := range []*program{api, sink} {
		eventually(t, "both streams are in the report", func() bool { return len(p.report().NATS.Streams) == 2 })
	}
	r := api.report()
	if s := r.NATS.Servers; r.NATS.Embedded || len(s) != 1 || s[0].Name == "" || s[0].Known || s[0].TLSRequired || s[0].AuthRequired {
		t.Errorf("NATS is %+v", r.NATS)
	}
	if r.Role != "api" || r.Disk != nil || r.Spool != nil || r.Reconciliation != nil || r.Meter != (system.Meter{Host: "127.0.0.1:1"}) {
		t.Errorf("the api says %+v", r)
	}
	if i := r.Identities; i.Store != system.StoreRedis || i.Redis == nil || i.Redis.Policy != "noeviction" || !i.Redis.AppendOnly || !i.Redis.LastWriteOK || i.Redis.MaxBytes != 64<<20 {
		t.Errorf("identities are %+v, %+v", i, i.Redis)
	}
	if r := sink.report(); r.Role != "sink" || r.NATS.Circuit != "" || r.Identities.Store != "" || r.Reconciliation == nil {
		t.Errorf("the sink says %+v", r)
	}
	for _, p := range []*program{api, sink} {
		if body := p.get(system.Path).body; strings.Contains(body, "never-shown") {
			t.Errorf("a secret or a path is in the report:\n%s", body)
		}
		req := p.request(http.MethodGet, system.Path, "")
		req.Header.Del("Authorization")
		wantProblem(t, p.send(req), http.StatusUnauthorized)
		if _, err := system.Read(t.Context(), client, p.URL(), "another"); err == nil || !strings.Contains(err.Error(), "refuses the API key") {
			t.Errorf("the error with another key is %v", err)
		}
	}
	if _, err := system.Read(t.Context(), client, meter.URL(), apiKey); err != system.ErrOld {
		t.Errorf("the meter's error is %v", err)
	}
	redis.Kill()
	eventually(t, "the loss of Redis shows", func() bool {
		// The store is tried by who claims; then the fallback knows.
		_ = api.send(api.interaction(time.Now().String()))
		i := api.report().Identities
		return i.Store == system.StoreFallback && i.Redis == nil
	})
}
