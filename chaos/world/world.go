//go:build linux

package world

import (
	"bufio"
	"cmp"
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

// What the program is given.
const (
	APIKey        = "kg_chaos"
	WebhookSecret = "whsec_chaos"
)

// Programs are paths, of what Main has built.
var Programs struct{ Kgents, NATS string }

// Main builds the programs and runs a package's tests with them. Root is the way to
// the module's root. It returns the exit code.
func Main(m *testing.M, root string) int {
	dir, err := os.MkdirTemp("", "kgents-world-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = build(dir, root)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// build builds the programs into dir, once, with root as the way to the module's root.
func build(dir, root string) error {
	Programs.Kgents, Programs.NATS = filepath.Join(dir, "kgents"), filepath.Join(dir, "nats-server")
	for _, args := range [][]string{
		{"build", "-tags", "failpoints", "-o", Programs.Kgents, "github.com/kgents/kgents/cmd/kgents"},
		{"build", "-modfile", filepath.Join(root, "tools/go.mod"), "-o", Programs.NATS, "github.com/nats-io/nats-server/v2"},
	} {
		build := exec.Command("go", args...)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

// Process is a program that can be killed, frozen and started again.
type Process struct {
	Name   string
	Listen string // where api and sink serve, also after another start
	Args   []string
	Env    []string

	t    *testing.T
	path string
	dir  string

	mu  sync.Mutex
	cmd *exec.Cmd
	url string // of kgents, from its log
	log strings.Builder
}

// Start starts it, with further variables for this once.
func (p *Process) Start(extra ...string) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.url = ""
	p.cmd = exec.Command(p.path, p.Args...)
	p.cmd.Dir = p.dir
	p.cmd.Env = append(append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.dir}, p.Env...), extra...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, in, err := os.Pipe()
	if err != nil {
		p.t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = in, in
	if err := p.cmd.Start(); err != nil {
		p.t.Fatalf("%s: %v", p.Name, err)
	}
	in.Close()
	go p.read(out)
}

// read keeps the log and finds the address that kgents serves on.
func (p *Process) read(out io.ReadCloser) {
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

// Address is the URL of kgents, empty before it serves.
func (p *Process) Address() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.url
}

// Signal sends one, if the process runs.
func (p *Process) Signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		_ = p.cmd.Process.Signal(s)
	}
}

// Kill is SIGKILL, and returns when the process has ended.
func (p *Process) Kill() {
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

// Stop is SIGTERM; it fails the test when the process takes longer than 30 s.
func (p *Process) Stop() {
	p.t.Helper()
	p.mu.Lock()
	cmd := p.cmd
	p.cmd, p.url = nil, ""
	p.mu.Unlock()
	_ = cmd.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(30*time.Second, func() { p.t.Errorf("%s: still running 30 s after SIGTERM", p.Name); _ = cmd.Process.Kill() })
	_ = cmd.Wait()
	late.Stop()
}

// PID is that of a running process.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Pid
}

// Frozen says whether the process has been stopped by a signal.
func (p *Process) Frozen() bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
	_, state, ok := strings.Cut(string(stat), ") ")
	return err == nil && ok && strings.HasPrefix(state, "T")
}

// Ended waits until the process has ended by itself.
func (p *Process) Ended(patience time.Duration) bool {
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

// World is everything that a round runs.
type World struct {
	*testing.T
	NATS, Redis         *Process
	NATSGate, RedisGate *Gate
	MeterGate           *Gate
	APIGates            []*Gate    // the clients' ways to the apis
	Meter               *OpenMeter // nil with Options.MeterAddr
	APIs, Sinks         []*Process
	Dir                 string
}

// Options are what a test wants to be different.
type Options struct {
	NATSDir, SpoolDir string
	StreamBytes       string

	Replicas  int      // of api and of sink; 0 = 2
	NATSURLs  string   // of servers that are there already, instead of one that New starts
	MeterAddr string   // of a meter that is there already, instead of the fake
	Env       []string // for api and sink, and stronger than what New sets
}

// New starts everything and waits until it is ready.
func New(t *testing.T, o Options) *World {
	t.Helper()
	w := &World{T: t, Dir: t.TempDir()}
	redisAddr, meterAddr := FreeAddr(t), o.MeterAddr
	if meterAddr == "" {
		w.Meter = newOpenMeter(t)
		meterAddr = w.Meter.Addr
	}
	_, port, _ := net.SplitHostPort(redisAddr)
	w.Redis = w.Process("redis", "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", w.Dir)
	w.RedisGate, w.MeterGate = NewGate(t, fixed(redisAddr)), NewGate(t, fixed(meterAddr))
	w.Redis.Start()
	if o.NATSURLs == "" {
		w.startNATS(o)
	}
	for i := range cmp.Or(o.Replicas, 2) {
		w.APIs = append(w.APIs, w.role("api", i, o))
		w.Sinks = append(w.Sinks, w.role("sink", i, o))
		api := w.APIs[i]
		w.APIGates = append(w.APIGates, NewGate(t, func() string { return strings.TrimPrefix(api.Address(), "http://") }))
	}
	for _, p := range append(w.APIs, w.Sinks...) {
		p.Start()
	}
	for _, p := range append(w.APIs, w.Sinks...) {
		w.Ready(p)
	}
	return w
}

// Process makes a process that ends with the test; it is not started yet.
func (w *World) Process(name, path string, args ...string) *Process {
	dir := filepath.Join(w.Dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		w.Fatal(err)
	}
	p := &Process{t: w.T, Name: name, path: path, Args: args, dir: dir}
	w.Cleanup(func() {
		p.Kill()
		if w.Failed() {
			w.Logf("log of %s:\n%s", name, tail(p.log.String(), 25))
		}
	})
	return p
}

func fixed(addr string) func() string { return func() string { return addr } }

func (w *World) startNATS(o Options) {
	addr := FreeAddr(w.T)
	_, port, _ := net.SplitHostPort(addr)
	conf := filepath.Join(w.Dir, "nats.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, "listen: 127.0.0.1:%s\njetstream { store_dir: %q, sync_interval: always }\n",
		port, filepath.Join(cmp.Or(o.NATSDir, w.Dir), "nats")), 0o600); err != nil {
		w.Fatal(err)
	}
	w.NATS = w.Process("nats", Programs.NATS, "-c", conf)
	w.NATSGate = NewGate(w.T, fixed(addr))
	w.NATS.Start()
}

func (w *World) role(role string, n int, o Options) *Process {
	name := fmt.Sprint(role, "-", n)
	p := w.Process(name, Programs.Kgents, role)
	p.Listen = FreeAddr(w.T)
	_, port, _ := net.SplitHostPort(p.Listen)
	p.Env = []string{
		"API_HOST=127.0.0.1", "API_PORT=" + port, "API_KEYS=" + APIKey, "STRIPE_WEBHOOK_SECRET=" + WebhookSecret, "LOG_FORMAT=json",
		"NATS_SERVERS=" + o.NATSURLs, "NATS_REPLICAS=1", "OPENMETER_BASE_URL=http://" + w.MeterGate.Addr,
		"OPENMETER_API_KEY=" + APIKey, "OPENMETER_FLUSH_INTERVAL=100ms", "REDIS_URL=redis://" + w.RedisGate.Addr, "RECONCILE_INTERVAL=0",
	}
	if w.NATSGate != nil {
		p.Env = append(p.Env, "NATS_SERVERS=nats://"+w.NATSGate.Addr)
	}
	if o.StreamBytes != "" {
		p.Env = append(p.Env, "NATS_STREAM_MAX_BYTES="+o.StreamBytes)
	}
	if role == "api" {
		spool := o.SpoolDir
		if spool == "" {
			spool = w.Dir
		}
		p.Env = append(p.Env, "SPOOL_DIR="+filepath.Join(spool, name+"-spool"))
	}
	p.Env = append(p.Env, o.Env...)
	return p
}

// Ready waits until p says that it is.
func (w *World) Ready(p *Process) {
	w.Helper()
	w.Eventually(p.Name+" is ready", 60*time.Second, func() bool {
		resp, err := Quick.Get(p.Address() + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// Quick is a client that gives up soon.
var Quick = &http.Client{Timeout: 5 * time.Second}

// SaaS is what /health/SaaS says.
type SaaS struct {
	Status string
	NATS   struct {
		Status, Mode, Circuit string
		Spooled               int `json:"spooled_events"`
	}
	OpenMeter struct{ Status string }
	Redis     struct{ Status string }
	Backlog   struct{ Messages int }
}

// Health asks /health/saas.
func (p *Process) Health() (s SaaS, ok bool) {
	resp, err := Quick.Get(p.Address() + "/health/saas")
	if err != nil {
		return s, false
	}
	defer resp.Body.Close()
	return s, json.NewDecoder(resp.Body).Decode(&s) == nil
}

// Eventually fails the test when it has not become so within patience.
func (w *World) Eventually(what string, patience time.Duration, ok func() bool) {
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

// FreeAddr is an address on loopback for a server to listen on.
func FreeAddr(t *testing.T) string {
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
