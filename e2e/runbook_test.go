package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/kgents/kgents/admit/redistest"
	"github.com/kgents/kgents/meter/local"
)

// runbookBlock is a block of the runbook's commands that need the program alone.
type runbookBlock struct {
	section, commands string
	line              int
}

func runbookBlocks(t *testing.T) (out []runbookBlock) {
	t.Helper()
	b, err := os.ReadFile("../docs/saas/runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	section, at := "", -1
	fenced := false
	for n, line := range strings.Split(string(b), "\n") {
		switch {
		case strings.HasPrefix(line, "```"):
			if fenced = !fenced; line == "```sh" {
				out, at = append(out, runbookBlock{section: section, line: n + 2}), len(out)
			} else {
				at = -1
			}
		case at >= 0:
			out[at].commands += line + "\n"
		case !fenced && strings.HasPrefix(line, "#"):
			section = strings.TrimLeft(line, "# ")
		}
	}
	if len(out) < 30 {
		t.Fatalf("only %d blocks found", len(out))
	}
	return out
}

// night is what a person who was paged looks at: the program, with a NATS, a Redis and
// a meter of its own, and letters that the meter refused.
type night struct {
	*process
	t      *testing.T
	nats   string
	env    []string
	healed atomic.Bool  // the meter takes what it has refused
	mended atomic.Int64 // events that it took so
	next   int
}

func newNight(t *testing.T) *night {
	t.Helper()
	n := &night{t: t, nats: streamServer(t)}
	registry := prometheus.NewRegistry()
	store, err := local.Open(t.Context(), local.Config{
		Path: filepath.Join(t.TempDir(), "meter.db"), Meters: local.DefaultMeters(),
		Log: slog.New(slog.DiscardHandler), Registerer: registry,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	events := store.Handler()
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		poison := bytes.Count(body, []byte("poison"))
		if poison > 0 && !n.healed.Load() {
			http.Error(w, `{"title":"Bad Request","status":400,"detail":"this event is refused"}`, http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		events.ServeHTTP(w, r)
		n.mended.Add(int64(poison))
	})
	meter := httptest.NewServer(mux)
	t.Cleanup(meter.Close)

	dir, secrets := t.TempDir(), filepath.Join(t.TempDir(), "secrets")
	n.env = slices.DeleteFunc(environ("NATS_SERVERS="+n.nats, "NATS_REPLICAS=1", "NATS_STREAM_MAX_BYTES=1GiB"), func(v string) bool {
		return strings.HasPrefix(v, "PATH=") || strings.HasPrefix(v, "HOME=")
	})
	n.env = append(n.env, "HOME="+t.TempDir(), "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"))
	// A key of Stripe's makes a sink report overage; nobody here has any, so none is asked.
	program := append(slices.Clone(n.env), "STRIPE_API_KEY=sk_test_runbook", "STRIPE_API_BASE=http://127.0.0.1:9", "OPENMETER_BASE_URL="+meter.URL, "REDIS_URL="+redistest.Start(t, "--maxmemory", "100mb").URL())
	n.process = launch(t, program, dir, "up", "--data", dir, "--api-port", "0")
	n.env = append(n.env, "KGENTS_URL="+n.url, "SINK_URL="+n.url, "METER_URL="+meter.URL, "DATA="+dir, "SECRETS="+secrets)
	if _, errs, code := run(t, n.env, "secrets", "init", "--dir", secrets, "--namespace", "a-namespace"); code != 0 {
		t.Fatal(errs)
	}
	return n
}

// streamServer is a NATS with nothing in it.
func streamServer(t *testing.T) string {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server is not ready")
	}
	return s.ClientURL()
}

// letters makes the meter refuse an event and puts something into the stream that is
// none. It returns the refused one's letter.
func (n *night) letters() uint64 {
	n.t.Helper()
	n.healed.Store(false)
	r := usage(n.next, 1)
	n.next++
	r.body = bytes.Replace(r.body, []byte(`"agent":"a"`), []byte(`"agent":"poison"`), 1)
	n.process.send(r)
	conn, err := nats.Connect(n.nats)
	if err != nil {
		n.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Request("kgent.events", []byte("no events"), 10*time.Second); err != nil {
		n.t.Fatal(err)
	}
	var seq uint64
	eventually(n.t, time.Minute, func() (bool, any) {
		reasons := map[string]int{}
		for _, l := range n.deadLetters() {
			if reasons[l.Reason]++; l.Reason == "refused" {
				seq = l.Seq
			}
		}
		return reasons["refused"] > 0 && reasons["malformed"] > 0, reasons
	})
	return seq
}

// follow does what a block says and returns what it printed.
func (n *night) follow(t *testing.T, commands string, env ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", commands)
	cmd.Dir = t.TempDir()
	cmd.Env = append(slices.Clone(n.env), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s\n%v\n%s", commands, err, out)
	}
	return string(out)
}

var metricInBlock = regexp.MustCompile(`kgents_[a-z0-9_]+`)

// Every block of the runbook that needs no cluster does what it says, in the page's
// order, against a program that runs, and shows every metric that it asks for. Blocks
// for a cluster are run in infra/k8s and in e2e/staging.
func TestRunbook(t *testing.T) {
	n := newNight(t)
	n.process.send(usage(1000, 20))
	n.next = 2000
	backups := map[string]string{}
	for _, b := range runbookBlocks(t) {
		t.Run(fmt.Sprintf("line %d, %s", b.line, b.section), func(t *testing.T) {
			var env []string
			if strings.Contains(b.commands, "kgents deadletter ") {
				env = append(env, fmt.Sprint("SEQ=", n.letters()))
				n.healed.Store(strings.Contains(b.commands, " replay "))
			}
			if strings.Contains(b.commands, "$BACKUP") {
				if backups[b.section] == "" {
					backups[b.section] = filepath.Join(n.t.TempDir(), "backup")
				}
				env = append(env, "BACKUP="+backups[b.section])
				if strings.Contains(b.commands, " restore ") {
					n.follow(t, `kgents stream backup "$BACKUP"`, env...)
					env = append(env, "NATS_SERVERS="+streamServer(n.t))
				}
			}
			refused := len(n.deadLetters("--reason", "refused"))
			n.mended.Store(0)
			out := n.follow(t, b.commands, env...)
			for _, name := range metricInBlock.FindAllString(b.commands, -1) {
				if !strings.Contains(out, name) {
					t.Errorf("%s\ndoes not show %s:\n%s", b.commands, name, out)
				}
			}
			if strings.Contains(b.commands, " replay ") {
				eventually(t, time.Minute, func() (bool, any) {
					left, mended := n.deadLetters("--reason", "refused"), n.mended.Load()
					return len(left) == 0 && mended >= int64(refused), fmt.Sprintf("%d of %d are counted, left: %v", mended, refused, left)
				})
			}
			if strings.Contains(b.commands, " drop ") {
				if left := n.deadLetters("--reason", "malformed"); len(left) > 0 {
					t.Errorf("letters are left: %v", left)
				}
			}
		})
	}
}

// The latencies that docs/saas/slo.md promises are bounds of buckets: what is between
// two can't be measured.
func TestObjectivesAreBucketBounds(t *testing.T) {
	p := up(t, t.TempDir())
	_, text := p.get("/metrics")
	for _, bucket := range []string{
		`kgents_stripe_webhook_latency_seconds_bucket{le="0.25"}`,
		`kgents_event_metered_seconds_bucket{le="60"}`,
	} {
		if !strings.Contains(text, bucket) {
			t.Errorf("there is no %s", bucket)
		}
	}
}
