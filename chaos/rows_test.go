//go:build linux

package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents/stream"
)

// row is one fault: how it is made, how health tells of it, how it is healed.
type row struct {
	name  string
	short bool // also in the short form
	setup func(t *testing.T, o *options)
	harm  func(w *world, r *rand.Rand)
	truth func(w *world) bool // health says so, while it lasts; nil = nothing to say
	heal  func(w *world)
}

// after is the time between a fault and its healing, beyond what health needs to
// tell of it.
func after(r *rand.Rand) { time.Sleep(time.Duration(r.IntN(1000)) * time.Millisecond) }

// says asks both processes of a role.
func says(processes []*process, ok func(s saas) bool) bool {
	for _, p := range processes {
		if s, answered := p.health(); !answered || !ok(s) {
			return false
		}
	}
	return true
}

func natsAway(w *world) bool {
	return says(w.apis, func(s saas) bool { return s.NATS.Mode == "fallback" && s.Status != "ok" })
}

func redisAway(w *world) bool {
	return says(w.apis, func(s saas) bool { return s.Redis.Status == "fallback" && s.Status != "ok" })
}

// meterAway wants one sink at least to say so: only one may have had work.
func meterAway(w *world) bool {
	for _, p := range w.sinks {
		if s, ok := p.health(); ok && s.OpenMeter.Status != "healthy" && s.Status != "ok" {
			return true
		}
	}
	return false
}

func rows() []row {
	pick := func(list []*process, r *rand.Rand) *process { return list[r.IntN(len(list))] }
	meterFault := func(name string, short bool, truth func(*world) bool, fault func(http.ResponseWriter, *http.Request, func()) bool) row {
		return row{name: "openmeter: " + name, short: short, truth: truth,
			harm: func(w *world, r *rand.Rand) { w.meter.misbehave(fault); after(r) },
			heal: func(w *world) { w.meter.misbehave(nil) }}
	}
	list := []row{
		// The program.
		{name: "api: kill -9", short: true, harm: func(w *world, r *rand.Rand) { p := pick(w.apis, r); p.kill(); after(r); p.start(); w.ready(p) }},
		{name: "api: frozen", harm: func(w *world, r *rand.Rand) {
			p := pick(w.apis, r)
			p.signal(syscall.SIGSTOP)
			after(r)
			p.signal(syscall.SIGCONT)
		}},
		{name: "api: cut off from its clients", short: true, harm: func(w *world, r *rand.Rand) {
			for range 5 { // in the middle of requests, again and again
				g := w.apiGates[r.IntN(len(w.apiGates))]
				g.close()
				time.Sleep(time.Duration(r.IntN(200)) * time.Millisecond)
				g.open()
				time.Sleep(time.Duration(r.IntN(200)) * time.Millisecond)
			}
		}},
		{name: "sink: kill -9", harm: func(w *world, r *rand.Rand) { p := pick(w.sinks, r); p.kill(); after(r); p.start(); w.ready(p) }},
		{name: "sink: frozen", harm: func(w *world, r *rand.Rand) {
			p := pick(w.sinks, r)
			p.signal(syscall.SIGSTOP)
			after(r)
			p.signal(syscall.SIGCONT)
		}},
		{name: "one api and one sink: kill -9, for good", harm: func(w *world, r *rand.Rand) {
			w.apis[0].kill()
			w.sinks[0].kill()
			after(r)
		}, heal: func(w *world) {
			w.apis[0].start()
			w.ready(w.apis[0])
		}},

		// NATS.
		{name: "nats: kill -9", short: true, truth: natsAway, harm: func(w *world, r *rand.Rand) { w.nats.kill(); after(r) }, heal: func(w *world) { w.nats.start() }},
		{name: "nats: frozen", truth: natsAway, harm: func(w *world, r *rand.Rand) { w.nats.signal(syscall.SIGSTOP); after(r) }, heal: func(w *world) { w.nats.signal(syscall.SIGCONT) }},
		{name: "nats: cut off", truth: natsAway, harm: func(w *world, r *rand.Rand) { w.natsGate.close(); after(r) }, heal: func(w *world) { w.natsGate.open() }},
		{name: "nats: kill -9 and back at once", harm: func(w *world, _ *rand.Rand) { w.nats.kill(); w.nats.start() }},

		// Redis.
		{name: "redis: kill -9", short: true, truth: redisAway, harm: func(w *world, r *rand.Rand) { w.redis.kill(); after(r) }, heal: func(w *world) { w.redis.start() }},
		{name: "redis: frozen", truth: redisAway, harm: func(w *world, r *rand.Rand) { w.redis.signal(syscall.SIGSTOP); after(r) }, heal: func(w *world) { w.redis.signal(syscall.SIGCONT) }},
		{name: "redis: cut off", truth: redisAway, harm: func(w *world, r *rand.Rand) { w.redisGate.close(); after(r) }, heal: func(w *world) { w.redisGate.open() }},

		// OpenMeter.
		{name: "openmeter: cut off", truth: meterAway, harm: func(w *world, r *rand.Rand) { w.meterGate.close(); after(r) }, heal: func(w *world) { w.meterGate.open() }},
		meterFault("500", false, meterAway, status(500)),
		meterFault("503", true, meterAway, status(503)),
		meterFault("429 with Retry-After", false, meterAway, status(429, "Retry-After", "2")),
		meterFault("429 without", false, meterAway, status(429)),
		meterFault("401", false, meterAway, status(401)),
		meterFault("200 with a broken body", false, nil, brokenBody),
		meterFault("half an answer", false, meterAway, halfAnswer),
		{name: "openmeter: nothing for 60 s", truth: meterAway,
			harm: func(w *world, _ *rand.Rand) { w.meter.misbehave(silence(time.Minute)); time.Sleep(time.Minute) },
			heal: func(w *world) { w.meter.misbehave(nil) }},
		{name: "openmeter: 400 for one event", short: true, harm: func(w *world, r *rand.Rand) {
			l := &ledger{w: w}
			code, err := l.send(quick, w.apiGates[0], request{path: "/api/v1/events", body: fmt.Appendf(nil,
				`[{"specversion":"1.0","id":%q,"source":"chaos","type":"agent.tokens","subject":"c","data":{}}]`, poison)})
			if err != nil || code != http.StatusNoContent {
				w.Errorf("the poison was answered %d, %v", code, err)
			}
			w.eventually("the poison is a dead letter", 30*time.Second, func() bool { return w.deadLetters() == 1 })
		}},

		// Disks and bounds.
		{name: "disk full under NATS", setup: func(t *testing.T, o *options) { o.natsDir = smallDisk(t) },
			harm: func(w *world, r *rand.Rand) { fill(w, w.natsDisk()); time.Sleep(3 * time.Second); after(r) },
			heal: func(w *world) { _ = os.Remove(filepath.Join(w.natsDisk(), "filler")); w.nats.kill(); w.nats.start() }},
		{name: "disk full under the spool, with NATS away", setup: func(t *testing.T, o *options) { o.spoolDir = smallDisk(t) },
			harm: func(w *world, r *rand.Rand) {
				fill(w, w.spoolDisk())
				w.natsGate.close()
				time.Sleep(5 * time.Second)
				after(r)
			},
			heal: func(w *world) { _ = os.Remove(filepath.Join(w.spoolDisk(), "filler")); w.natsGate.open() }},
		{name: "the stream is full", setup: func(_ *testing.T, o *options) { o.streamBytes = "64KiB" },
			truth: func(w *world) bool {
				for _, p := range w.apis {
					if s, ok := p.health(); ok && s.NATS.Spooled > 0 {
						return true
					}
				}
				return false
			},
			harm: func(w *world, r *rand.Rand) { after(r) },
			heal: func(w *world) {
				// Started again with the bound taken away, as an operator would.
				for _, p := range append(w.apis, w.sinks...) {
					p.env = append(p.env, "NATS_STREAM_MAX_BYTES=0")
					p.stop()
					p.start()
				}
				for _, p := range append(w.apis, w.sinks...) {
					w.ready(p)
				}
			}},

		{name: "rolling restart of everything", harm: func(w *world, r *rand.Rand) {
			for _, p := range append(w.apis, w.sinks...) {
				p.stop()
				p.start()
				w.ready(p)
			}
			w.redis.kill()
			w.redis.start()
			w.nats.signal(syscall.SIGTERM)
			w.nats.ended(20 * time.Second)
			w.nats.start()
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
		{"sink", "flush.before", false, false}, {"sink", "flush.after", true, false}, {"sink", "flush.acknowledging", false, false},
	} {
		list = append(list, row{name: f.role + ": dies at " + f.place, short: f.short, harm: func(w *world, r *rand.Rand) {
			processes := w.apis
			if f.role == "sink" {
				processes = w.sinks
			}
			p := pick(processes, r)
			p.stop()
			if f.away {
				w.natsGate.close()
			}
			p.start(fmt.Sprintf("KGENTS_FAILPOINT=%s:%d", f.place, 1+r.IntN(3)))
			if f.away && f.place == "spool.drained" {
				w.eventually("something is in the spool", 30*time.Second, func() bool { s, _ := p.health(); return s.NATS.Spooled > 0 })
				w.natsGate.open()
			}
			if !p.ended(90 * time.Second) {
				w.Errorf("%s did not die at %s", p.name, f.place)
				p.kill()
			}
			p.start()
		}, heal: func(w *world) {
			w.natsGate.open()
			for _, p := range append(w.apis, w.sinks...) {
				w.ready(p)
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
	target := func(w *world) *process {
		if server == "nats" {
			return w.nats
		}
		return w.redis
	}
	return row{
		name: fmt.Sprintf("%s: %s with the %s at %s", server, what, role, place),
		harm: func(w *world, r *rand.Rand) {
			p := w.apis[0]
			if role == "sink" {
				p = w.sinks[0]
			}
			p.stop()
			env := []string{fmt.Sprintf("KGENTS_FAILPOINT=%s:%d", place, 1+r.IntN(3)), fmt.Sprint("KGENTS_FAILPOINT_PID=", target(w).pid())}
			if freeze {
				env = append(env, "KGENTS_FAILPOINT_SIGNAL=STOP")
				p.start(env...)
				w.eventually(server+" is frozen", time.Minute, func() bool { return target(w).frozen() })
			} else {
				p.start(env...)
				if !target(w).ended(time.Minute) {
					w.Errorf("%s was not killed at %s", server, place)
				}
			}
			after(r)
		},
		heal: func(w *world) {
			if freeze {
				target(w).signal(syscall.SIGCONT)
				return
			}
			target(w).start()
		},
	}
}

// smallDisk is a file system of 16 MB.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Fatalf("this row mounts a small disk, for which it must be root: %v %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", dir).Run() })
	return dir
}

func (w *world) natsDisk() string {
	conf, _ := os.ReadFile(w.nats.args[1])
	_, path, _ := strings.Cut(string(conf), `store_dir: "`)
	path, _, _ = strings.Cut(path, `"`)
	return filepath.Dir(path)
}

func (w *world) spoolDisk() string {
	for _, v := range w.apis[0].env {
		if dir, ok := strings.CutPrefix(v, "SPOOL_DIR="); ok {
			return filepath.Dir(dir)
		}
	}
	return ""
}

// fill leaves no room on a small disk.
func fill(w *world, dir string) {
	f, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		w.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 64<<10); len(block) > 0; {
		if _, err := f.Write(block); err != nil {
			block = block[:len(block)/2]
		}
	}
}

// deadLetters asks NATS.
func (w *world) deadLetters() int {
	nc, err := nats.Connect("nats://" + w.natsGate.target())
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
