//go:build linux

package chaos

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const (
	apiKey        = "kg_chaos"
	webhookSecret = "whsec_chaos"
)

// programs are built once, by TestMain.
var programs struct{ kgents, nats string }

// process is a program that can be killed, frozen and started again.
type process struct {
	t    *testing.T
	name string
	path string
	args []string
	env  []string
	dir  string

	mu  sync.Mutex
	cmd *exec.Cmd
	url string // of kgents, from its log
	log strings.Builder
}

func (p *process) start(extra ...string) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.url = ""
	p.cmd = exec.Command(p.path, p.args...)
	p.cmd.Dir = p.dir
	p.cmd.Env = append(append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.dir}, p.env...), extra...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, in, err := os.Pipe()
	if err != nil {
		p.t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = in, in
	if err := p.cmd.Start(); err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
	in.Close()
	go p.read(out)
}

// read keeps the log and finds the address that kgents serves on.
func (p *process) read(out io.ReadCloser) {
	defer out.Close()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var line struct{ Msg, URL string }
		p.mu.Lock()
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "serving" {
			p.url = line.URL
		}
		if p.log.Len() < 1<<20 {
			p.log.WriteString(lines.Text() + "\n")
		}
		p.mu.Unlock()
	}
}

func (p *process) address() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.url
}

func (p *process) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		_ = p.cmd.Process.Signal(s)
	}
}

// kill is SIGKILL, and returns when the process has ended.
func (p *process) kill() {
	p.mu.Lock()
	cmd := p.cmd
	p.cmd, p.url = nil, ""
	p.mu.Unlock()
	if cmd != nil {
		_ = cmd.Process.Signal(syscall.SIGCONT)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

// stop is SIGTERM; it fails the test when the process takes longer than 30 s.
func (p *process) stop() {
	p.t.Helper()
	p.mu.Lock()
	cmd := p.cmd
	p.cmd, p.url = nil, ""
	p.mu.Unlock()
	_ = cmd.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(30*time.Second, func() { p.t.Errorf("%s: still running 30 s after SIGTERM", p.name); _ = cmd.Process.Kill() })
	_ = cmd.Wait()
	late.Stop()
}

func (p *process) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Pid
}

// frozen says whether the process has been stopped by a signal.
func (p *process) frozen() bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid()))
	_, state, ok := strings.Cut(string(stat), ") ")
	return err == nil && ok && strings.HasPrefix(state, "T")
}

// ended waits until the process has ended by itself.
func (p *process) ended(patience time.Duration) bool {
	p.mu.Lock()
	cmd := p.cmd
	p.mu.Unlock()
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	select {
	case <-done:
		p.mu.Lock()
		p.cmd, p.url = nil, ""
		p.mu.Unlock()
		return true
	case <-time.After(patience):
		return false
	}
}

// world is everything that a round runs.
type world struct {
	*testing.T
	nats, redis         *process
	natsGate, redisGate *gate
	meterGate           *gate
	apiGates            []*gate // the clients' ways to the apis
	meter               *openMeter
	apis, sinks         []*process
	dir                 string
}

// options are what a row wants to be different.
type options struct {
	natsDir, spoolDir string
	streamBytes       string
}

func newWorld(t *testing.T, o options) *world {
	t.Helper()
	w := &world{T: t, dir: t.TempDir(), meter: newOpenMeter(t)}
	natsAddr, redisAddr := freeAddr(t), freeAddr(t)
	if o.natsDir == "" {
		o.natsDir = w.dir
	}
	conf := filepath.Join(w.dir, "nats.conf")
	_, port, _ := net.SplitHostPort(natsAddr)
	if err := os.WriteFile(conf, fmt.Appendf(nil, "listen: 127.0.0.1:%s\njetstream { store_dir: %q, sync_interval: always }\n",
		port, filepath.Join(o.natsDir, "nats")), 0o600); err != nil {
		t.Fatal(err)
	}
	w.nats = w.process("nats", programs.nats, "-c", conf)
	_, port, _ = net.SplitHostPort(redisAddr)
	w.redis = w.process("redis", "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", w.dir)
	fixed := func(addr string) func() string { return func() string { return addr } }
	w.natsGate, w.redisGate, w.meterGate = newGate(t, fixed(natsAddr)), newGate(t, fixed(redisAddr)), newGate(t, fixed(w.meter.addr))
	w.nats.start()
	w.redis.start()
	for i := range 2 {
		w.apis = append(w.apis, w.role("api", i, o))
		w.sinks = append(w.sinks, w.role("sink", i, o))
		api := w.apis[i]
		w.apiGates = append(w.apiGates, newGate(t, func() string { return strings.TrimPrefix(api.address(), "http://") }))
	}
	for _, p := range append(w.apis, w.sinks...) {
		p.start()
	}
	for _, p := range append(w.apis, w.sinks...) {
		w.ready(p)
	}
	return w
}

func (w *world) process(name, path string, args ...string) *process {
	dir := filepath.Join(w.dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		w.Fatal(err)
	}
	p := &process{t: w.T, name: name, path: path, args: args, dir: dir}
	w.Cleanup(func() {
		p.kill()
		if w.Failed() {
			w.Logf("log of %s:\n%s", name, tail(p.log.String(), 25))
		}
	})
	return p
}

func (w *world) role(role string, n int, o options) *process {
	name := fmt.Sprint(role, "-", n)
	p := w.process(name, programs.kgents, role)
	p.env = []string{
		"API_HOST=127.0.0.1", "API_PORT=0", "API_KEYS=" + apiKey, "STRIPE_WEBHOOK_SECRET=" + webhookSecret, "LOG_FORMAT=json",
		"NATS_SERVERS=nats://" + w.natsGate.addr, "NATS_REPLICAS=1", "OPENMETER_BASE_URL=http://" + w.meterGate.addr,
		"OPENMETER_API_KEY=" + apiKey, "OPENMETER_FLUSH_INTERVAL=100ms", "REDIS_URL=redis://" + w.redisGate.addr, "RECONCILE_INTERVAL=0",
	}
	if o.streamBytes != "" {
		p.env = append(p.env, "NATS_STREAM_MAX_BYTES="+o.streamBytes)
	}
	if role == "api" {
		spool := o.spoolDir
		if spool == "" {
			spool = w.dir
		}
		p.env = append(p.env, "SPOOL_DIR="+filepath.Join(spool, name+"-spool"))
	}
	return p
}

// ready waits until p says that it is.
func (w *world) ready(p *process) {
	w.Helper()
	w.eventually(p.name+" is ready", 60*time.Second, func() bool {
		resp, err := quick.Get(p.address() + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

var quick = &http.Client{Timeout: 5 * time.Second}

// saas is what /health/saas says.
type saas struct {
	Status string
	NATS   struct {
		Status, Mode, Circuit string
		Spooled               int `json:"spooled_events"`
	}
	OpenMeter struct{ Status string }
	Redis     struct{ Status string }
	Backlog   struct{ Messages int }
}

func (p *process) health() (s saas, ok bool) {
	resp, err := quick.Get(p.address() + "/health/saas")
	if err != nil {
		return s, false
	}
	defer resp.Body.Close()
	return s, json.NewDecoder(resp.Body).Decode(&s) == nil
}

func (w *world) eventually(what string, patience time.Duration, ok func() bool) {
	w.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(25 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// nextPort walks through ports below those that the kernel hands out by itself, so
// that nobody takes one between its choice and its use, or while its server is
// down.
var nextPort atomic.Int32

func freeAddr(t *testing.T) string {
	t.Helper()
	for range 1000 {
		addr := fmt.Sprint("127.0.0.1:", 15_000+(int32(os.Getpid())*37+nextPort.Add(1))%15_000)
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
	t.Fatal("no free port")
	return ""
}

func tail(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
