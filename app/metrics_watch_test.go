package app_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents/admit/redistest"
	"github.com/kgents/kgents/config"
	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/stream/backup"
)

// holds waits until each of these series has its value; a nil means that there is
// no series of that name.
func (p *program) holds(t *testing.T, what string, want map[string]func(float64) bool) {
	t.Helper()
	var bad string
	defer func() {
		if t.Failed() {
			t.Log("not so: ", bad)
		}
	}()
	eventually(t, what, func() bool {
		now := p.series()
		for name, ok := range want {
			v, there := now[name]
			if there != (ok != nil) || there && !ok(v) {
				bad = name
				return false
			}
		}
		return true
	})
}

func is(want float64) func(float64) bool { return func(v float64) bool { return v == want } }
func above(low float64) func(float64) bool {
	return func(v float64) bool { return v > low }
}

// What is seen of JetStream, and what stays and goes when it is away.
func TestJetStreamMetrics(t *testing.T) {
	t.Parallel()
	front := newGate(t)
	began := float64(time.Now().Unix())
	meterRole := start(t, config.RoleMeter, settings(t, config.RoleMeter, nil))
	env := map[string]string{
		"NATS_SERVERS": "nats://" + front.l.Addr().String(), "OPENMETER_BASE_URL": meterRole.URL(), "OPENMETER_API_KEY": apiKey,
		"SPOOL_MAX_BYTES": "0", "NATS_STREAM_MAX_BYTES": "8MiB",
	}
	api := start(t, config.RoleAPI, settings(t, config.RoleAPI, env))
	api.holds(t, "that NATS is away is known", map[string]func(float64) bool{
		`kgents_nats_connected`:                          is(0),
		`kgents_nats_stream_has_leader{stream="events"}`: is(0),
		`kgents_nats_stream_has_leader{stream="dead"}`:   is(0),
		`kgents_nats_stream_bytes{stream="events"}`:      nil,
		`kgents_backlog_messages`:                        nil,
		`kgents_deadletters_waiting`:                     nil,
		`kgents_backup_last_success_timestamp_seconds`:   nil,
	})
	target := natsServer(t, true)
	front.open(target)
	api.ready()
	if a := api.send(api.interaction("1")); a.status != http.StatusNoContent {
		t.Fatalf("the event is answered with %d %s", a.status, a.body)
	}
	api.holds(t, "the state before there is a sink", map[string]func(float64) bool{
		`kgents_nats_connected`:                                is(1),
		`kgents_nats_stream_has_leader{stream="events"}`:       is(1),
		`kgents_nats_stream_has_leader{stream="dead"}`:         is(1),
		`kgents_nats_stream_bytes{stream="events"}`:            above(0),
		`kgents_nats_stream_messages{stream="events"}`:         is(1),
		`kgents_nats_stream_last_sequence{stream="events"}`:    is(1),
		`kgents_nats_stream_limit_bytes{stream="events"}`:      is(8 << 20),
		`kgents_nats_stream_limit_bytes{stream="dead"}`:        nil,
		`kgents_nats_stream_replicas{stream="events"}`:         is(1),
		`kgents_nats_stream_replicas_current{stream="events"}`: is(1),
		`kgents_nats_consumer_pending_messages`:                nil,
		`kgents_backlog_messages`:                              is(1),
		`kgents_backlog_oldest_age_seconds`:                    above(0),
		`kgents_deadletters_waiting`:                           is(0),
		`kgents_deadletters_oldest_age_seconds`:                is(0),
		`kgents_deadletters_newest_age_seconds`:                nil,
		`kgents_backup_last_success_timestamp_seconds`:         is(0),
		`kgents_backup_last_drill_timestamp_seconds`:           is(0),
		`kgents_certificate_expiry_timestamp_seconds`:          nil,
	})

	sink := start(t, config.RoleSink, settings(t, config.RoleSink, env))
	nc, err := nats.Connect(target)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	sink.holds(t, "no canary was metered yet", map[string]func(float64) bool{`kgents_canary_last_metered_timestamp_seconds`: is(0)})
	if a := api.send(api.request(http.MethodPost, "/api/v1/events", `{"specversion":"1.0","id":"c","source":"kgents","type":"kgents.canary","subject":"s","data":{}}`)); a.status != http.StatusNoContent {
		t.Fatalf("the canary is answered with %d %s", a.status, a.body)
	}
	if _, err := js.Publish(t.Context(), stream.Subject, []byte("no batch")); err != nil {
		t.Fatal(err)
	}
	noted := time.Now().Add(-time.Hour).Truncate(time.Second)
	if err := backup.Note(t.Context(), js, stream.Config{Name: "kgent-events", Replicas: 1}, backup.Manifest{Began: noted}); err != nil {
		t.Fatal(err)
	}
	if err := backup.NoteDrill(t.Context(), js, stream.Config{Name: "kgent-events", Replicas: 1}, backup.DrillReport{At: noted.Add(time.Minute)}); err != nil {
		t.Fatal(err)
	}
	sink.holds(t, "a canary was metered", map[string]func(float64) bool{`kgents_canary_last_metered_timestamp_seconds`: above(began)})
	for _, p := range []*program{api, sink} {
		p.holds(t, "the state with a dead letter and a backup", map[string]func(float64) bool{
			`kgents_deadletters_waiting`:                   is(1),
			`kgents_deadletters_oldest_age_seconds`:        above(0),
			`kgents_deadletters_newest_age_seconds`:        above(0),
			`kgents_nats_consumer_pending_messages`:        is(0),
			`kgents_nats_consumer_ack_pending_messages`:    is(0),
			`kgents_nats_consumer_redelivered_messages`:    is(0),
			`kgents_backlog_messages`:                      is(0),
			`kgents_backup_last_success_timestamp_seconds`: is(float64(noted.Unix())),
			`kgents_backup_last_drill_timestamp_seconds`:   is(float64(noted.Unix()) + 60),
		})
	}

	front.close()
	api.holds(t, "what remains while NATS is away", map[string]func(float64) bool{
		`kgents_nats_connected`:                                is(0),
		`kgents_nats_stream_has_leader{stream="events"}`:       is(0),
		`kgents_nats_stream_has_leader{stream="dead"}`:         is(0),
		`kgents_nats_stream_bytes{stream="events"}`:            nil,
		`kgents_nats_stream_replicas_current{stream="events"}`: nil,
		`kgents_nats_consumer_pending_messages`:                nil,
		`kgents_backlog_messages`:                              nil,
		`kgents_deadletters_waiting`:                           nil,
		`kgents_deadletters_newest_age_seconds`:                nil,
		`kgents_backup_last_success_timestamp_seconds`:         is(float64(noted.Unix())),
		`kgents_backup_last_drill_timestamp_seconds`:           is(float64(noted.Unix()) + 60),
	})
}

// The embedded server's own bound is a stream's limit where it has none.
func TestEmbeddedLimit(t *testing.T) {
	p := start(t, config.RoleUp, settings(t, config.RoleUp, nil))
	p.holds(t, "both streams have a limit", map[string]func(float64) bool{
		`kgents_nats_stream_limit_bytes{stream="events"}`: above(0),
		`kgents_nats_stream_limit_bytes{stream="dead"}`:   above(0),
	})
}

// Redis tells of itself, and nothing but that it is away when it is.
func TestRedisMetrics(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "yes")
	p := start(t, config.RoleUp, settings(t, config.RoleUp, map[string]string{"REDIS_URL": server.URL()}))
	here := map[string]func(float64) bool{
		"kgents_redis_up": is(1), "kgents_redis_ping_seconds": above(0), "kgents_redis_memory_used_bytes": above(0),
		"kgents_redis_memory_limit_bytes": nil, "kgents_redis_evicted_keys_total": is(0), "kgents_redis_connected_clients": above(0),
		"kgents_redis_master": is(1), "kgents_redis_loading": is(0), "kgents_redis_aof_enabled": is(1), "kgents_redis_aof_last_write_ok": is(1),
	}
	p.holds(t, "Redis is up", here)
	server.Kill()
	away := map[string]func(float64) bool{}
	for name := range here {
		away[name] = nil
	}
	away["kgents_redis_up"] = is(0)
	p.holds(t, "Redis is away", away)
	server.Restart("--appendonly", "yes")
	p.holds(t, "Redis is back", here)
}

// A certificate's end is known, and stays known while the servers are away; one
// that has expired is known though no connection is ever made.
func TestCertificateMetrics(t *testing.T) {
	t.Parallel()
	pki := newPKI(t)
	const server, client = `kgents_certificate_expiry_timestamp_seconds{name="nats"}`, `kgents_certificate_expiry_timestamp_seconds{name="nats-client"}`
	env := func(url string) map[string]string {
		return map[string]string{
			"NATS_SERVERS": url, "NATS_TLS_CA": pki.file("ca.crt"), "NATS_TLS_CERT": pki.file("client.crt"), "NATS_TLS_KEY": pki.file("client.key"),
			"OPENMETER_BASE_URL": "http://127.0.0.1:1", "SPOOL_MAX_BYTES": "0",
		}
	}
	near := func(d time.Duration) func(float64) bool {
		at := float64(time.Now().Add(d).Unix())
		return func(v float64) bool { return v > at-600 && v < at+600 }
	}
	s := pki.natsServer(t)
	p := start(t, config.RoleAPI, settings(t, config.RoleAPI, env("tls://"+s.Addr().String())))
	want := map[string]func(float64) bool{server: near(time.Hour), client: near(2 * time.Hour)}
	p.holds(t, "both certificates are known", want)
	s.Shutdown()
	want["kgents_nats_connected"] = is(0)
	p.holds(t, "they are known while NATS is away", want)

	pki.issue(t, "server", time.Now().Add(-24*time.Hour))
	s = pki.natsServer(t)
	p = start(t, config.RoleAPI, settings(t, config.RoleAPI, env("tls://"+s.Addr().String())))
	p.holds(t, "the expired certificate is known", map[string]func(float64) bool{
		server: near(-24 * time.Hour), client: near(2 * time.Hour), "kgents_nats_connected": is(0),
	})
}
