//go:build linux

package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents/chaos/world"
	"github.com/kgents/kgents/stream"
)

// row is one fault: how it is made, how health tells of it, how it is healed.
type row struct {
	name  string
	short bool // also in the short form
	setup func(t *testing.T, o *world.Options)
	harm  func(w *world.World, r *rand.Rand)
	truth func(w *world.World) bool // health says so, while it lasts; nil = nothing to say
	heal  func(w *world.World)
}

// after is the time between a fault and its healing, beyond what health needs to
// tell of it.
func after(r *rand.Rand) { time.Sleep(time.Duration(r.IntN(1000)) * time.Millisecond) }

// says asks both processes of a role.
func says(processes []*world.Process, ok func(s world.SaaS) bool) bool {
	for _, p := range processes {
		if s, answered := p.Health(); !answered || !ok(s) {
			return false
		}
	}
	return true
}

func natsAway(w *world.World) bool {
	return says(w.APIs, func(s world.SaaS) bool { return s.NATS.Mode == "fallback" && s.Status != "ok" })
}

func redisAway(w *world.World) bool {
	return says(w.APIs, func(s world.SaaS) bool { return s.Redis.Status == "fallback" && s.Status != "ok" })
}

// meterAway wants one sink at least to say so: only one may have had work.
func meterAway(w *world.World) bool {
	for _, p := range w.Sinks {
		if s, ok := p.Health(); ok && s.OpenMeter.Status != "healthy" && s.Status != "ok" {
			return true
		}
	}
	return false
}

func rows() []row {
	pick := func(list []*world.Process, r *rand.Rand) *world.Process { return list[r.IntN(len(list))] }
	meterFault := func(name string, short bool, truth func(*world.World) bool, fault func(http.ResponseWriter, *http.Request, func()) bool) row {
		return row{name: "openmeter: " + name, short: short, truth: truth,
			harm: func(w *world.World, r *rand.Rand) { w.Meter.Misbehave(fault); after(r) },
			heal: func(w *world.World) { w.Meter.Misbehave(nil) }}
	}
	list := []row{
		// The program.
		{name: "api: kill -9", short: true, harm: func(w *world.World, r *rand.Rand) { p := pick(w.APIs, r); p.Kill(); after(r); p.Start(); w.Ready(p) }},
		{name: "api: frozen", harm: func(w *world.World, r *rand.Rand) {
			p := pick(w.APIs, r)
			p.Signal(syscall.SIGSTOP)
			after(r)
			p.Signal(syscall.SIGCONT)
		}},
		{name: "api: cut off from its clients", short: true, harm: func(w *world.World, r *rand.Rand) {
			for range 5 { // in the middle of requests, again and again
				g := w.APIGates[r.IntN(len(w.APIGates))]
				g.Close()
				time.Sleep(time.Duration(r.IntN(200)) * time.Millisecond)
				g.Open()
				time.Sleep(time.Duration(r.IntN(200)) * time.Millisecond)
			}
		}},
		{name: "sink: kill -9", harm: func(w *world.World, r *rand.Rand) { p := pick(w.Sinks, r); p.Kill(); after(r); p.Start(); w.Ready(p) }},
		{name: "sink: frozen", harm: func(w *world.World, r *rand.Rand) {
			p := pick(w.Sinks, r)
			p.Signal(syscall.SIGSTOP)
			after(r)
			p.Signal(syscall.SIGCONT)
		}},
		{name: "one api and one sink: kill -9, for good", harm: func(w *world.World, r *rand.Rand) {
			w.APIs[0].Kill()
			w.Sinks[0].Kill()
			after(r)
		}, heal: func(w *world.World) {
			w.APIs[0].Start()
			w.Ready(w.APIs[0])
		}},

		// NATS.
		{name: "nats: kill -9", short: true, truth: natsAway, harm: func(w *world.World, r *rand.Rand) { w.NATS.Kill(); after(r) }, heal: func(w *world.World) { w.NATS.Start() }},
		{name: "nats: frozen", truth: natsAway, harm: func(w *world.World, r *rand.Rand) { w.NATS.Signal(syscall.SIGSTOP); after(r) }, heal: func(w *world.World) { w.NATS.Signal(syscall.SIGCONT) }},
		{name: "nats: cut off", truth: natsAway, harm: func(w *world.World, r *rand.Rand) { w.NATSGate.Close(); after(r) }, heal: func(w *world.World) { w.NATSGate.Open() }},
		{name: "nats: kill -9 and back at once", harm: func(w *world.World, _ *rand.Rand) { w.NATS.Kill(); w.NATS.Start() }},

		// Redis.
		{name: "redis: kill -9", short: true, truth: redisAway, harm: func(w *world.World, r *rand.Rand) { w.Redis.Kill(); after(r) }, heal: func(w *world.World) { w.Redis.Start() }},
		{name: "redis: frozen", truth: redisAway, harm: func(w *world.World, r *rand.Rand) { w.Redis.Signal(syscall.SIGSTOP); after(r) }, heal: func(w *world.World) { w.Redis.Signal(syscall.SIGCONT) }},
		{name: "redis: cut off", truth: redisAway, harm: func(w *world.World, r *rand.Rand) { w.RedisGate.Close(); after(r) }, heal: func(w *world.World) { w.RedisGate.Open() }},

		// OpenMeter.
		{name: "openmeter: cut off", truth: meterAway, harm: func(w *world.World, r *rand.Rand) { w.MeterGate.Close(); after(r) }, heal: func(w *world.World) { w.MeterGate.Open() }},
		meterFault("500", false, meterAway, world.Status(500)),
		meterFault("503", true, meterAway, world.Status(503)),
		meterFault("429 with Retry-After", false, meterAway, world.Status(429, "Retry-After", "2")),
		meterFault("429 without", false, meterAway, world.Status(429)),
		meterFault("401", false, meterAway, world.Status(401)),
		meterFault("200 with a broken body", false, nil, world.BrokenBody),
		meterFault("half an answer", false, meterAway, world.HalfAnswer),
		{name: "openmeter: nothing for 60 s", truth: meterAway,
			harm: func(w *world.World, _ *rand.Rand) {
				w.Meter.Misbehave(world.Silence(time.Minute))
				time.Sleep(time.Minute)
			},
			heal: func(w *world.World) { w.Meter.Misbehave(nil) }},
		{name: "openmeter: 400 for one event", short: true, harm: func(w *world.World, r *rand.Rand) {
			l := &ledger{w: w}
			code, err := l.send(world.Quick, w.APIGates[0], request{path: "/api/v1/events", body: fmt.Appendf(nil,
				`[{"specversion":"1.0","id":%q,"source":"chaos","type":"agent.tokens","subject":"c","data":{}}]`, world.Poison)})
			if err != nil || code != http.StatusNoContent {
				w.Errorf("the poison was answered %d, %v", code, err)
			}
			w.Eventually("the poison is a dead letter", 30*time.Second, func() bool { return deadLetters(w) == 1 })
		}},

		// Disks and bounds.
		{name: "disk full under NATS", setup: func(t *testing.T, o *world.Options) { o.NATSDir = world.SmallDisk(t) },
			harm: func(w *world.World, r *rand.Rand) {
				world.Fill(w.T, natsDisk(w))
				time.Sleep(3 * time.Second)
				after(r)
			},
			heal: func(w *world.World) {
				_ = os.Remove(filepath.Join(natsDisk(w), "filler"))
				w.NATS.Kill()
				w.NATS.Start()
			}},
		{name: "disk full under the spool, with NATS away", setup: func(t *testing.T, o *world.Options) { o.SpoolDir = world.SmallDisk(t) },
			harm: func(w *world.World, r *rand.Rand) {
				world.Fill(w.T, spoolDisk(w))
				w.NATSGate.Close()
				time.Sleep(5 * time.Second)
				after(r)
			},
			heal: func(w *world.World) { _ = os.Remove(filepath.Join(spoolDisk(w), "filler")); w.NATSGate.Open() }},
		{name: "the stream is full", setup: func(_ *testing.T, o *world.Options) { o.StreamBytes = "64KiB" },
			truth: func(w *world.World) bool {
				for _, p := range w.APIs {
					if s, ok := p.Health(); ok && s.NATS.Spooled > 0 {
						return true
					}
				}
				return false
			},
			harm: func(w *world.World, r *rand.Rand) { after(r) },
			heal: func(w *world.World) {
				// Started again with the bound taken away, as an operator would.
				for _, p := range append(w.APIs, w.Sinks...) {
					p.Env = append(p.Env, "NATS_STREAM_MAX_BYTES=0")
					p.Stop()
					p.Start()
				}
				for _, p := range append(w.APIs, w.Sinks...) {
					w.Ready(p)
				}
			}},

		{name: "rolling restart of everything", harm: func(w *world.World, r *rand.Rand) {
			for _, p := range append(w.APIs, w.Sinks...) {
				p.Stop()
				p.Start()
				w.Ready(p)
			}
			w.Redis.Kill()
			w.Redis.Start()
			w.NATS.Signal(syscall.SIGTERM)
			w.NATS.Ended(20 * time.Second)
			w.NATS.Start()
		}},
	}
	// The program dies at exact places.
	for _, f := range []struct {
		role, place string
		short, away bool
	}{
		{"api", "admit.claimed", false, false}, {"api", "publish.before", false, false}, {"api", "publish.acknowledged", true, false},
		{"api", "admit.published", false, false}, {"api", "spool.written", false, true}, {"api", "spool.synced", false, true},
		{"api", "spool.drained", false, true},
		{"api", "town.stepped", false, false}, {"api", "town.saved", true, false}, {"api", "town.admitted", false, false}, {"api", "town.told", false, false},
		{"sink", "follow.applied", true, false},
		{"sink", "flush.before", false, false}, {"sink", "flush.after", true, false}, {"sink", "flush.acknowledging", false, false},
	} {
		list = append(list, row{name: f.role + ": dies at " + f.place, short: f.short, harm: func(w *world.World, r *rand.Rand) {
			processes := w.APIs
			if f.role == "sink" {
				processes = w.Sinks
			}
			p := pick(processes, r)
			p.Stop()
			if f.away {
				w.NATSGate.Close()
			}
			p.Start(fmt.Sprintf("KGENTS_FAILPOINT=%s:%d", f.place, 1+r.IntN(3)))
			if f.away && f.place == "spool.drained" {
				w.Eventually("something is in the spool", 30*time.Second, func() bool { s, _ := p.Health(); return s.NATS.Spooled > 0 })
				w.NATSGate.Open()
			}
			if !p.Ended(90 * time.Second) {
				w.Errorf("%s did not die at %s", p.Name, f.place)
				p.Kill()
			}
			p.Start()
		}, heal: func(w *world.World) {
			w.NATSGate.Open()
			for _, p := range append(w.APIs, w.Sinks...) {
				w.Ready(p)
			}
		}})
	}
	// A server dies or freezes at exact places of the program's.
	for _, f := range []struct{ server, role, place string }{
		{"nats", "api", "publish.before"}, {"nats", "api", "publish.acknowledged"},
		{"nats", "sink", "flush.before"}, {"nats", "sink", "flush.after"}, {"nats", "sink", "flush.acknowledging"},
		{"redis", "api", "admit.claimed"}, {"redis", "api", "admit.published"},
	} {
		for _, freeze := range []bool{false, true} {
			list = append(list, atPlace(f.server, f.role, f.place, freeze))
		}
	}
	return list
}

// atPlace is a row in which a server is killed or frozen when a process of the
// program comes to a place.
func atPlace(server, role, place string, freeze bool) row {
	what := "killed"
	if freeze {
		what = "frozen"
	}
	target := func(w *world.World) *world.Process {
		if server == "nats" {
			return w.NATS
		}
		return w.Redis
	}
	return row{
		name: fmt.Sprintf("%s: %s with the %s at %s", server, what, role, place),
		harm: func(w *world.World, r *rand.Rand) {
			p := w.APIs[0]
			if role == "sink" {
				p = w.Sinks[0]
			}
			p.Stop()
			env := []string{fmt.Sprintf("KGENTS_FAILPOINT=%s:%d", place, 1+r.IntN(3)), fmt.Sprint("KGENTS_FAILPOINT_PID=", target(w).PID())}
			if freeze {
				env = append(env, "KGENTS_FAILPOINT_SIGNAL=STOP")
				p.Start(env...)
				w.Eventually(server+" is frozen", time.Minute, func() bool { return target(w).Frozen() })
			} else {
				p.Start(env...)
				if !target(w).Ended(time.Minute) {
					w.Errorf("%s was not killed at %s", server, place)
				}
			}
			after(r)
		},
		heal: func(w *world.World) {
			if freeze {
				target(w).Signal(syscall.SIGCONT)
				return
			}
			target(w).Start()
		},
	}
}

func natsDisk(w *world.World) string {
	conf, _ := os.ReadFile(w.NATS.Args[1])
	_, path, _ := strings.Cut(string(conf), `store_dir: "`)
	path, _, _ = strings.Cut(path, `"`)
	return filepath.Dir(path)
}

func spoolDisk(w *world.World) string {
	for _, v := range w.APIs[0].Env {
		if dir, ok := strings.CutPrefix(v, "SPOOL_DIR="); ok {
			return filepath.Dir(dir)
		}
	}
	return ""
}

// deadLetters asks NATS.
func deadLetters(w *world.World) int {
	nc, err := nats.Connect("nats://" + w.NATSGate.Target())
	if err != nil {
		return -1
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return -1
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	s, err := js.Stream(ctx, stream.Config{Name: "kgent-events"}.DeadName())
	if err != nil {
		return -1
	}
	return int(s.CachedInfo().State.Msgs)
}
