//go:build linux

package firedrill

import (
	"bytes"
	"cmp"
	"crypto/ecdsa"
	"crypto/x509"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kgents/kgents/alerts"
	"github.com/kgents/kgents/chaos/world"
	"github.com/kgents/kgents/infra/k8s/alertmanagertest"
)

var (
	whole = flag.Bool("all", false, "every scene, not only those of the short form")
	only  = flag.String("scene", "", "regular expression of the scenes to run")
	side  = flag.Int("at-once", 4, "scenes that run side by side")
	doc   = flag.String("table", "", "Markdown file that has the table between its markers")
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(world.Main(m, ".."))
}

// Patience with an alert: the longest time of a rule, the 30 s of the circuit
// breaker, twice, and a busy machine.
const patience = 2 * time.Minute

// quiet are alerts that need no cause: nobody makes a backup of a new stream.
var quiet = []string{"BackupMissing", "Watchdog"}

// expectation is an alert of a scene.
type expectation struct {
	alert, severity string
	silenced        bool // by an alert of its cause: then nobody is told
}

// scene is a cause with its alerts.
type scene struct {
	name  string // of its namespace
	cause string
	short bool

	setup  func(d *drill, o *world.Options)
	before func(d *drill) // when all runs, before it is quiet
	harm   func(d *drill)
	heal   func(d *drill)
	expect []expectation
}

// drill is a scene that runs.
type drill struct {
	*world.World
	scene scene
	meter *meter
	prom  *prometheus
	am    *alertmanagertest.Alertmanager
	load  *load

	servers []*world.Process // of NATS, that setup has started
	certs   string           // directory of the certificates
	ca      *x509.Certificate
	caKey   *ecdsa.PrivateKey
}

// result is a row of the table.
type result struct {
	expectation
	cause          string
	fired, resolve time.Duration
}

func TestFireDrill(t *testing.T) {
	rules, err := alerts.Rules()
	if err != nil {
		t.Fatal(err)
	}
	am := alertmanagertest.Start(t, "../infra/k8s/manifests/alertmanager", alertmanagertest.Waits{Group: 500 * time.Millisecond, Interval: time.Second, Repeat: time.Hour})
	prom := startPrometheus(t, rules, am.URL)
	runbooks := map[string]string{}
	for r := range rules.Alerts() {
		runbooks[r.Alert] = r.Annotations["runbook_url"]
	}
	var mu sync.Mutex
	var results []result
	pattern := regexp.MustCompile(*only)
	t.Run("scenes", func(t *testing.T) {
		free := make(chan struct{}, *side)
		var running sync.WaitGroup
		defer running.Wait()
		for _, s := range scenes() {
			if !pattern.MatchString(s.name) || !*whole && *only == "" && !s.short {
				continue
			}
			free <- struct{}{}
			// Not t.Parallel, which would wait for processors: a scene mostly waits.
			running.Go(func() {
				defer func() { <-free }()
				t.Run(s.name, func(t *testing.T) {
					rows := play(t, s, prom, am, runbooks)
					mu.Lock()
					defer mu.Unlock()
					results = append(results, rows...)
				})
			})
		}
	})
	text := render(results)
	t.Log("\n" + text)
	if *doc != "" && !t.Failed() {
		write(t, *doc, text)
	}
}

// play runs a scene from the first process to the last message.
func play(t *testing.T, s scene, prom *prometheus, am *alertmanagertest.Alertmanager, runbooks map[string]string) []result {
	d := &drill{scene: s, prom: prom, am: am, meter: startMeter(t), certs: t.TempDir()}
	o := world.Options{Replicas: 1, MeterAddr: d.meter.addr}
	d.World = &world.World{T: t, Dir: t.TempDir()} // for what setup starts
	if s.setup != nil {
		s.setup(d, &o)
	}
	d.World = world.New(t, o)
	d.meter.run(d)
	jobs := map[string]string{d.meter.process.Listen: "kgents-meter"}
	for _, p := range d.APIs {
		jobs[p.Listen] = "kgents-api"
	}
	for _, p := range d.Sinks {
		jobs[p.Listen] = "kgents-sink"
	}
	d.load = startLoad(d)
	if s.before != nil {
		s.before(d)
	}
	prom.Watch(t, s.name, jobs)
	d.Eventually("Prometheus has scraped all", 30*time.Second, func() bool { return prom.seen(s.name, len(jobs)) })
	time.Sleep(3 * betweenScrapes) // in which a wrong alert would come
	d.await("nothing fires before the harm", func() bool {
		return !slices.ContainsFunc(d.firingNow(), func(f string) bool {
			name, _, _ := strings.Cut(f, "/")
			return !slices.Contains(quiet, name)
		})
	})

	harmed := time.Now()
	s.harm(d)
	rows := make([]result, len(s.expect))
	told := map[string]alertmanagertest.Message{}
	for i, e := range s.expect {
		rows[i] = result{expectation: e, cause: s.cause}
		d.await(fmt.Sprintf("%s (%s, silenced: %v) fires", e.alert, e.severity, e.silenced), func() bool {
			at, ok := d.told(e, false, harmed)
			rows[i].fired = at.Sub(harmed)
			return ok
		})
		for _, to := range []string{"slack", "pagerduty"} {
			if m, ok := d.message(to, e, false, harmed); ok {
				told[to+e.alert] = m
				if m.Links["Runbook"] != runbooks[e.alert] || !strings.HasPrefix(m.Links["Dashboard"], grafana) {
					t.Errorf("%s: the message to %s leads to %v, want %s", e.alert, to, m.Links, runbooks[e.alert])
				}
			}
		}
	}

	healed := time.Now()
	s.heal(d)
	for i, e := range s.expect {
		d.await(fmt.Sprintf("%s (%s) is over", e.alert, e.severity), func() bool {
			at, ok := d.told(e, true, healed)
			rows[i].resolve = at.Sub(healed)
			return ok
		})
		if m, ok := d.message("pagerduty", e, true, healed); ok && !e.silenced && m.Key != told["pagerduty"+e.alert].Key {
			t.Errorf("%s: the end of the page has another key than its beginning", e.alert)
		}
	}
	d.load.end()
	return rows
}

// await fails the test with what Prometheus has instead.
func (d *drill) await(what string, ok func() bool) {
	d.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			d.Fatalf("not within %v: %s; what fires: %v", patience, what, d.firingNow())
		}
	}
}

// message is what a receiver was told of an alert since a moment.
func (d *drill) message(to string, e expectation, resolved bool, since time.Time) (alertmanagertest.Message, bool) {
	return d.am.Received.Find(func(m alertmanagertest.Message) bool {
		return m.To == to && m.Alert == e.alert && m.Namespace == d.scene.name && m.Resolved == resolved && m.At.After(since) &&
			(m.Severity == e.severity || m.Severity == "")
	})
}

// told says when everybody who should be was told.
func (d *drill) told(e expectation, resolved bool, since time.Time) (time.Time, bool) {
	if e.silenced {
		fires := slices.Contains(d.firingNow(), e.alert+"/"+e.severity)
		if resolved {
			return time.Now(), !fires
		}
		silenced, err := d.am.Silenced(map[string]string{"alertname": e.alert, "severity": e.severity, "namespace": d.scene.name})
		return time.Now(), err == nil && silenced && fires
	}
	slack, ok := d.message("slack", e, resolved, since)
	if !ok || e.severity != "critical" {
		return slack.At, ok
	}
	page, ok := d.message("pagerduty", e, resolved, since)
	return page.At, ok
}

// firingNow are the names and severities of the scene's alerts.
func (d *drill) firingNow() (out []string) {
	list, err := d.prom.alerts(d.scene.name)
	if err != nil {
		d.Errorf("prometheus: %v", err)
	}
	for _, a := range list {
		if a.State == "firing" {
			out = append(out, a.Labels["alertname"]+"/"+a.Labels["severity"])
		}
	}
	return out
}

// render is the table.
func render(results []result) string {
	slices.SortStableFunc(results, func(a, b result) int {
		return cmp.Or(cmp.Compare(a.alert, b.alert), cmp.Compare(a.severity, b.severity), cmp.Compare(a.cause, b.cause))
	})
	var b strings.Builder
	fmt.Fprintln(&b, "| alert | severity | cause | told | seconds to fire | seconds to resolve |")
	fmt.Fprintln(&b, "|---|---|---|---|---|---|")
	for _, r := range results {
		told := map[string]string{"critical": "PagerDuty, Slack", "warning": "Slack"}[r.severity]
		if r.silenced {
			told = "nobody: the cause is told"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %.0f | %.0f |\n", r.alert, r.severity, r.cause, told, r.fired.Seconds(), r.resolve.Seconds())
	}
	return b.String()
}

// write puts the table between its markers.
func write(t *testing.T, path, text string) {
	t.Helper()
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := bytes.Cut(old, []byte("<!-- firedrill -->\n"))
	_, tail, closed := bytes.Cut(rest, []byte("<!-- /firedrill -->"))
	if !ok || !closed {
		t.Fatalf("%s lacks the markers firedrill and /firedrill", path)
	}
	out := fmt.Sprintf("%s<!-- firedrill -->\n\n%s\n<!-- /firedrill -->%s", head, text, tail)
	if err := os.WriteFile(path, []byte(out), 0o644); err != nil {
		t.Fatal(err)
	}
}
