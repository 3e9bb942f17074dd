//go:build linux

package firedrill

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/kgents/kgents/alerts"
	"github.com/kgents/kgents/chaos/world"
)

const (
	critical = "critical"
	warning  = "warning"
)

// untried are alerts without a scene, and why.
var untried = map[string]string{
	"Watchdog":          "it always fires, and is told to nobody unless a service is named that misses it",
	"IdempotencyErrors": "a call that fails makes the api do without Redis before it is counted, which is RedisFallback; were it to fire, the promise of admit/fallback would be broken",
	"ReconcileStale":    "it fires after three hours in which reconciliation, which runs once a minute at most, has failed; promtool's tests hold it",

	"OverageStuck":            "it takes an event of 23 hours ago; the reporter's tests make one stuck, and promtool's tests hold the rule",
	"OverageNotReported":      "the drill has no Stripe; promtool's tests hold it",
	"UsageAlertsNotDelivered": "it takes an hour in which a customer's limit is told; promtool's tests hold it",
	"UsageAlertsDead":         "the tries of an alert go on for days; package notify's tests make one dead, and promtool's tests hold the rule",
}

func scenes() []scene {
	return []scene{
		{name: "nats-stopped", cause: "NATS is killed", short: true,
			harm: func(d *drill) { d.load.events.Store(true); d.NATS.Kill() },
			heal: func(d *drill) { d.NATS.Start() },
			expect: []expectation{
				{alert: "NATSUnreachable", severity: critical},
				{alert: "NATSCircuitOpen", severity: critical},
				{alert: "SpoolInUse", severity: warning, silenced: true},
				{alert: "EntitlementsStale", severity: warning, silenced: true},
			}},
		{name: "one-of-three", cause: "one of three NATS servers is stopped", setup: threeServers,
			harm:   func(d *drill) { d.load.events.Store(true); d.servers[0].Stop() },
			heal:   func(d *drill) { d.servers[0].Start() },
			expect: []expectation{{alert: "NATSReplicaMissing", severity: warning}}},
		{name: "no-quorum", cause: "two of three NATS servers are stopped, and there is no spool", setup: func(d *drill, o *world.Options) {
			threeServers(d, o)
			o.Env = append(o.Env, "SPOOL_MAX_BYTES=0")
		},
			harm: func(d *drill) { d.load.events.Store(true); d.servers[0].Kill(); d.servers[1].Kill() },
			heal: func(d *drill) { d.servers[0].Start(); d.servers[1].Start() },
			expect: []expectation{
				{alert: "NATSQuorumLost", severity: critical},
				{alert: "EventsNotDurable", severity: critical},
				{alert: "APIErrorBudgetBurn", severity: critical, silenced: true},
				{alert: "NATSCircuitOpen", severity: critical},
			}},
		{name: "stream-full", cause: "the stream is at its limit, and there is no spool",
			setup: func(_ *drill, o *world.Options) { o.StreamBytes = "1MiB"; o.Env = append(o.Env, "SPOOL_MAX_BYTES=0") },
			harm: func(d *drill) {
				d.load.padding.Store(20_000)
				d.load.fast.Store(true)
				d.load.events.Store(true)
			},
			heal: func(d *drill) {
				d.load.fast.Store(false)
				for _, p := range append(d.APIs, d.Sinks...) {
					p.Env = append(p.Env, "NATS_STREAM_MAX_BYTES=1GiB")
					p.Stop()
					p.Start()
					d.Ready(p)
				}
			},
			expect: []expectation{
				{alert: "StreamNearlyFull", severity: critical},
				{alert: "EventsNotDurable", severity: critical},
				{alert: "NATSCircuitOpen", severity: critical},
			}},
		{name: "spool-full", cause: "NATS is cut off, and the spool reaches its limit",
			setup: func(_ *drill, o *world.Options) { o.Env = append(o.Env, "SPOOL_MAX_BYTES=1MiB") },
			harm: func(d *drill) {
				d.load.padding.Store(20_000)
				d.load.fast.Store(true)
				d.load.events.Store(true)
				d.NATSGate.Close()
			},
			heal: func(d *drill) { d.load.events.Store(false); d.NATSGate.Open() },
			expect: []expectation{
				{alert: "SpoolNearlyFull", severity: critical},
				{alert: "EventsNotDurable", severity: critical},
				{alert: "SpoolInUse", severity: warning, silenced: true},
			}},
		{name: "spool-damaged", cause: "a bit of a spool's file has turned while the api was down", harm: damageSpool,
			heal:   func(d *drill) { d.APIs[0].Stop(); d.APIs[0].Start() },
			expect: []expectation{{alert: "SpoolDamaged", severity: critical}}},
		{name: "slow-nats", cause: "NATS stands still for 6 s, again and again",
			before: func(d *drill) { d.load.stripe.Store(true) },
			harm:   slowNATS, heal: func(*drill) {},
			expect: []expectation{{alert: "HighWebhookLatency", severity: warning}}},
		{name: "wrong-secret", cause: "webhooks are signed with another secret", short: true,
			harm: func(d *drill) {
				d.load.must(20, http.StatusBadRequest, func(int) (int, error) {
					return d.load.webhook([]byte(`{"id":"evt_1","object":"event"}`), "whsec_other")
				})
			},
			heal:   func(*drill) {},
			expect: []expectation{{alert: "StripeSignatureFailures", severity: warning}}},
		{name: "unreadable-webhook", cause: "a webhook with a good signature is no event",
			harm: func(d *drill) {
				d.load.must(3, http.StatusBadRequest, func(int) (int, error) { return d.load.webhook([]byte(`{"id":`), world.WebhookSecret) })
			},
			heal:   func(*drill) {},
			expect: []expectation{{alert: "StripeWebhooksUnreadable", severity: warning}}},
		{name: "redis-stopped", cause: "Redis is killed", short: true,
			setup:  func(_ *drill, o *world.Options) { o.Replicas = 2 },
			before: func(d *drill) { d.load.events.Store(true); d.customer(); d.askAlways() },
			harm:   func(d *drill) { d.Redis.Kill() }, heal: func(d *drill) { d.Redis.Start() },
			expect: []expectation{
				{alert: "RedisFallback", severity: warning},
				{alert: "RatesNotShared", severity: warning, silenced: true},
			}},
		{name: "redis-rights", cause: "Redis does not let its user at the keys of rates any more",
			setup:  func(_ *drill, o *world.Options) { o.Replicas = 2 },
			before: func(d *drill) { d.load.events.Store(true); d.customer(); d.askAlways() },
			harm:   func(d *drill) { d.redis("ACL", "SETUSER", "default", "resetkeys", "~idempotency:*") },
			heal:   func(d *drill) { d.redis("ACL", "SETUSER", "default", "allkeys") },
			expect: []expectation{{alert: "RatesNotShared", severity: warning}}},
		{name: "redis-full", cause: "Redis has too little memory and may evict", harm: func(d *drill) {
			d.redis("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
			d.redis("CONFIG", "SET", "maxmemory", "2mb")
			for i := range 40 {
				d.redis("SET", fmt.Sprint("other:", i), string(bytes.Repeat([]byte("x"), 100_000)))
			}
		},
			heal:   func(d *drill) { d.redis("CONFIG", "SET", "maxmemory", "0") },
			expect: []expectation{{alert: "RedisEvictions", severity: warning}}},
		{name: "meter-key", cause: "the meter takes another key than the sink has",
			before: func(d *drill) { d.load.events.Store(true); d.customer() },
			harm:   func(d *drill) { d.meter.restart(d, "API_KEYS=another") },
			heal:   func(d *drill) { d.meter.restart(d, "API_KEYS="+world.APIKey) },
			expect: []expectation{
				{alert: "OpenMeterFlushErrors", severity: warning},
				{alert: "PipelineStalled", severity: critical},
				{alert: "EntitlementsStale", severity: warning},
			}},
		{name: "slow-meter", cause: "the meter takes 4 s for a batch, and more comes than it takes",
			before: func(d *drill) { d.load.events.Store(true) },
			harm: func(d *drill) {
				d.load.fast.Store(true)
				d.meter.misbehave(func(http.ResponseWriter, []byte) bool { time.Sleep(4 * time.Second); return false })
			},
			heal:   func(d *drill) { d.load.events.Store(false); d.meter.behave() },
			expect: []expectation{{alert: "ConsumerLagGrowing", severity: warning}}},
		{name: "no-canary", cause: "`kgents verify` runs no more",
			before: func(d *drill) { d.canary() },
			harm:   func(*drill) {}, heal: func(d *drill) { d.canary() },
			expect: []expectation{{alert: "PipelineStalled", severity: critical}}},
		{name: "poison", cause: "the meter refuses an event for its own sake", short: true,
			harm: func(d *drill) {
				d.meter.misbehave(func(w http.ResponseWriter, body []byte) bool {
					if !bytes.Contains(body, []byte(world.Poison)) {
						return false
					}
					return world.Status(http.StatusBadRequest)(w, nil, nil)
				})
				d.load.must(1, http.StatusNoContent, func(int) (int, error) { return d.load.event("agent.tokens", world.Poison) })
			},
			heal: func(d *drill) {
				d.meter.behave()
				d.kgents("deadletter", "replay", "--all")
			},
			expect: []expectation{
				{alert: "DeadLettersGrowing", severity: warning},
				{alert: "DeadLettersWaiting", severity: warning},
			}},
		{name: "forgetful-meter", cause: "the meter says that it has events and has not",
			harm: func(d *drill) {
				d.meter.misbehave(func(w http.ResponseWriter, _ []byte) bool { w.WriteHeader(http.StatusNoContent); return true })
				d.load.must(20, http.StatusNoContent, func(i int) (int, error) { return d.load.event("agent.tokens", fmt.Sprint("forgotten", i)) })
				// What the sink has not finished yet isn't missing.
				d.Eventually("reconciliation misses them", time.Minute, func() bool { return !d.reconcile() })
			},
			heal: func(d *drill) {
				d.meter.behave()
				if !d.reconcile() {
					d.Error("reconciliation has not mended it")
				}
			},
			expect: []expectation{{alert: "ReconcileMissingEvents", severity: critical}}},
		{name: "unknown-type", cause: "events of a type that no meter counts",
			harm: func(d *drill) {
				d.load.must(20, http.StatusNoContent, func(i int) (int, error) { return d.load.event("agent.unheard-of", fmt.Sprint("u", i)) })
			},
			heal:   func(*drill) {},
			expect: []expectation{{alert: "UncountedEvents", severity: warning}}},
		{name: "no-backup", cause: "the stream was never backed up", harm: func(*drill) {},
			heal:   func(d *drill) { d.kgents("stream", "backup", filepath.Join(d.Dir, "backup")) },
			expect: []expectation{{alert: "BackupMissing", severity: warning}}},
		{name: "full-accounts", cause: "the bucket of customers takes nothing more",
			harm:   func(d *drill) { d.accounts(1); d.subscribe() },
			heal:   func(d *drill) { d.accounts(-1) },
			expect: []expectation{{alert: "SubscriptionsNotApplied", severity: warning}}},
		{name: "bad-plans", cause: "the plans' file was edited and has a mistake",
			setup: func(d *drill, o *world.Options) {
				d.plans(readPlans(d))
				o.Env = append(o.Env, "PLANS_FILE="+d.plansFile())
			},
			harm:   func(d *drill) { d.plans([]byte("plans:\n- id: pro\n  pries: []\n")) },
			heal:   func(d *drill) { d.plans(readPlans(d)) },
			expect: []expectation{{alert: "PlansRefused", severity: warning}}},
		{name: "old-certificate", cause: "NATS has a certificate for two more days", setup: withTLS,
			harm: func(d *drill) { d.certify(48 * time.Hour); d.servers[0].Kill(); d.servers[0].Start() },
			heal: func(d *drill) { d.certify(90 * 24 * time.Hour); d.servers[0].Kill(); d.servers[0].Start() },
			expect: []expectation{
				{alert: "CertificateExpiring", severity: critical},
				{alert: "CertificateExpiring", severity: warning, silenced: true},
			}},
		{name: "sink-killed", cause: "the only sink is killed",
			harm: func(d *drill) { d.Sinks[0].Kill() }, heal: func(d *drill) { d.Sinks[0].Start() },
			expect: []expectation{
				{alert: "TargetDown", severity: critical},
				{alert: "TargetDown", severity: warning, silenced: true},
			}},
	}
}

// TestEveryAlertHasAScene: a new rule comes with a new scene, or a reason.
func TestEveryAlertHasAScene(t *testing.T) {
	rules, err := alerts.Rules()
	if err != nil {
		t.Fatal(err)
	}
	tried := map[string]bool{}
	for _, s := range scenes() {
		for _, e := range s.expect {
			tried[e.alert] = true
		}
	}
	known := map[string]bool{}
	for _, name := range rules.Names() {
		known[name] = true
		if _, excused := untried[name]; tried[name] == excused {
			t.Errorf("%s must have a scene or a reason for having none", name)
		}
	}
	for name := range tried {
		if !known[name] {
			t.Errorf("there is no alert %s", name)
		}
	}
}

// kgents runs a command of the program's against the servers of the scene.
func (d *drill) kgents(args ...string) {
	d.Helper()
	if out, err := d.command(args...); err != nil {
		d.Fatalf("kgents %v: %v\n%s", args, err, out)
	}
}

func (d *drill) command(args ...string) ([]byte, error) {
	cmd := exec.Command(world.Programs.Kgents, args...)
	cmd.Dir = d.Dir
	cmd.Env = []string{"HOME=" + d.Dir, "API_KEYS=" + world.APIKey, "NATS_REPLICAS=1", "OPENMETER_API_KEY=" + world.APIKey,
		"OPENMETER_BASE_URL=http://" + d.meter.addr, "KGENTS_URL=" + d.Sinks[0].Address()}
	if d.NATSGate != nil {
		cmd.Env = append(cmd.Env, "NATS_SERVERS=nats://"+d.NATSGate.Addr)
	}
	return cmd.CombinedOutput()
}

// reconcile compares the last hour up to now and mends, and says whether nothing is
// missing then.
func (d *drill) reconcile() bool {
	d.Helper()
	out, err := d.command("reconcile", "--since", "1h", "--settle", "0s", "--fix")
	exit, ended := errors.AsType[*exec.ExitError](err)
	if err != nil && (!ended || exit.ExitCode() != 1) {
		d.Fatalf("kgents reconcile: %v\n%s", err, out)
	}
	return err == nil
}

// canary sends an event as `kgents verify` does.
func (d *drill) canary() {
	d.Helper()
	d.load.must(1, http.StatusNoContent, func(int) (int, error) {
		return d.load.post("/api/v1/events", fmt.Appendf(nil, `{"specversion":"1.0","id":"c%d","source":"kgents","type":"kgents.canary","subject":"s","data":{}}`, d.load.next.Add(1)),
			"Authorization", "Bearer "+world.APIKey)
	})
}

func (d *drill) redis(args ...string) {
	d.Helper()
	_, port, _ := bytes.Cut([]byte(d.RedisGate.Addr), []byte(":"))
	if out, err := exec.Command("redis-cli", append([]string{"-p", string(port)}, args...)...).CombinedOutput(); err != nil || bytes.HasPrefix(out, []byte("ERR")) {
		d.Fatalf("redis-cli %v: %v %s", args[:2], err, out)
	}
}

func (m *meter) restart(d *drill, env string) {
	m.process.Kill()
	m.process.Env = append(m.process.Env, env)
	m.process.Start()
	d.Ready(m.process)
}

// slowNATS freezes NATS for longer than a webhook should take, and shorter than the
// circuit breaker's patience, until the latency has been told.
func slowNATS(d *drill) {
	for range 4 {
		d.NATS.Signal(syscall.SIGSTOP)
		time.Sleep(6 * time.Second)
		d.NATS.Signal(syscall.SIGCONT)
		time.Sleep(300 * time.Millisecond)
	}
}

// damageSpool lets events wait in the spool, kills the api and turns a bit.
func damageSpool(d *drill) {
	d.NATSGate.Close()
	for range 8 {
		_, _ = d.load.event("agent.tokens", fmt.Sprint("s", d.load.next.Add(1)))
	}
	d.Eventually("something is in the spool", 30*time.Second, func() bool { s, _ := d.APIs[0].Health(); return s.NATS.Spooled > 4 })
	d.APIs[0].Kill()
	files, err := filepath.Glob(filepath.Join(d.Dir, "api-0-spool", "*"))
	if err != nil || len(files) == 0 {
		d.Fatalf("no spool: %v", err)
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil || len(b) < 200 {
			continue
		}
		b[len(b)/3] ^= 1
		if err := os.WriteFile(path, b, 0o600); err != nil {
			d.Fatal(err)
		}
	}
	d.APIs[0].Start()
	d.NATSGate.Open()
}
