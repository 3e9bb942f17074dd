package load

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	crand "crypto/rand"
)

const (
	startWait = 30 * time.Second // for a program of ours to serve
	stopWait  = 35 * time.Second // for it to stop; its own bound is 30 s
	keptLines = 30               // of its log, to say why it ended
)

// Local is a system of our own: `kgents up` and `kgents meter` as processes, their
// data in a directory that is removed at the end, and between them a way that can be
// cut or made slow. It is reachable from this machine only.
type Local struct {
	program string
	dir     string
	key     string
	secret  string

	up, meter *process
	way       *http.Server
	wayURL    string
	down      atomic.Bool
	delay     atomic.Int64 // ns
}

// StartLocal starts a system by the program at path. Stop it in any case.
func StartLocal(ctx context.Context, path string) (_ *Local, err error) {
	l := &Local{program: path, key: "kg_load_" + random16(), secret: "whsec_" + random16()}
	if l.dir, err = os.MkdirTemp("", "kgents-load-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			l.Stop()
		}
	}()
	l.meter = &process{program: path, args: []string{"meter", "--data", filepath.Join(l.dir, "meter")}, env: []string{"API_KEYS=" + l.key}}
	if err := l.meter.start(ctx); err != nil {
		return nil, fmt.Errorf("the meter did not start: %w", err)
	}
	if err := l.openWay(); err != nil {
		return nil, err
	}
	l.up = &process{program: path, args: []string{"up", "--data", filepath.Join(l.dir, "up")}, env: []string{
		"API_KEYS=" + l.key, "STRIPE_WEBHOOK_SECRET=" + l.secret, "OPENMETER_BASE_URL=" + l.wayURL, "OPENMETER_API_KEY=" + l.key,
	}}
	if err := l.up.start(ctx); err != nil {
		return nil, fmt.Errorf("kgents did not start: %w", err)
	}
	return l, nil
}

func random16() string {
	var b [16]byte
	_, _ = crand.Read(b[:]) // never fails since Go 1.24
	return hex.EncodeToString(b[:])
}

// Target is how to reach it. What is counted is asked of the meter itself, so that a
// fault on the way to it doesn't hide it from us.
func (l *Local) Target() Target {
	return Target{URL: l.up.url(), APIKey: l.key, WebhookSecret: l.secret, MeterURL: l.meter.url(), MeterKey: l.key, Local: l}
}

// Stop ends both programs and removes their data.
func (l *Local) Stop() {
	for _, p := range []*process{l.up, l.meter} {
		if p != nil {
			p.stop()
		}
	}
	if l.way != nil {
		_ = l.way.Close()
	}
	_ = os.RemoveAll(l.dir)
}

// openWay opens the way from kgents to its meter.
func (l *Local) openWay() error {
	to, err := url.Parse(l.meter.url())
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:  func(r *httputil.ProxyRequest) { r.SetURL(to) },
		ErrorLog: nil,
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) {
			panic(http.ErrAbortHandler) // the connection ends, as the meter's would
		},
	}
	l.way = &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if l.down.Load() {
			panic(http.ErrAbortHandler)
		}
		if d := time.Duration(l.delay.Load()); d > 0 {
			select {
			case <-r.Context().Done():
			case <-time.After(d):
			}
		}
		proxy.ServeHTTP(w, r)
	})}
	l.wayURL = "http://" + listener.Addr().String()
	go func() { _ = l.way.Serve(listener) }()
	return nil
}

// begin begins a phase's fault.
func (l *Local) begin(ph Phase) error {
	switch ph.Fault {
	case FaultMeterDown:
		l.down.Store(true)
	case FaultMeterSlow:
		l.delay.Store(int64(ph.Delay))
	case FaultCrash:
		l.up.kill()
	}
	return nil
}

// end ends it.
func (l *Local) end(ctx context.Context, ph Phase) error {
	switch ph.Fault {
	case FaultMeterDown:
		l.down.Store(false)
	case FaultMeterSlow:
		l.delay.Store(0)
	case FaultCrash:
		return l.up.start(ctx)
	}
	return nil
}

// process is a program of ours. The address that it got at its first start is its own
// at every other.
type process struct {
	program string
	args    []string
	env     []string

	mu      sync.Mutex
	cmd     *exec.Cmd
	ended   chan struct{}
	address string // host:port
	lines   []string
}

func (p *process) url() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return "http://" + p.address
}

// start starts it and waits until it serves.
func (p *process) start(ctx context.Context) error {
	port := "0"
	p.mu.Lock()
	if p.address != "" {
		_, port, _ = net.SplitHostPort(p.address)
	}
	p.lines = nil
	p.mu.Unlock()
	cmd := exec.Command(p.program, append(slices.Clone(p.args), "--api-host", "127.0.0.1", "--api-port", port)...)
	// Nothing of the caller's settings leaks in, and no .env of its directory.
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.TempDir(), "LOG_FORMAT=json", "RECONCILE_INTERVAL=0"}, p.env...)
	cmd.Dir = filepath.Dir(p.args[slices.Index(p.args, "--data")+1])
	cmd.SysProcAttr = childAttributes()
	out, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	serving, ended := make(chan string, 1), make(chan struct{})
	p.mu.Lock()
	p.cmd, p.ended = cmd, ended
	p.mu.Unlock()
	go func() {
		p.read(out, serving)
		_ = cmd.Wait()
		close(ended)
	}()
	select {
	case address := <-serving:
		p.mu.Lock()
		p.address = strings.TrimPrefix(address, "http://")
		p.mu.Unlock()
		return nil
	case <-ended:
		return fmt.Errorf("it ended at once; its log:\n%s", p.log())
	case <-ctx.Done():
		p.kill()
		return ctx.Err()
	case <-time.After(startWait):
		p.kill()
		return fmt.Errorf("it did not serve within %v; its log:\n%s", startWait, p.log())
	}
}

// read keeps the last lines of the log, and finds the address.
func (p *process) read(out io.Reader, serving chan<- string) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line struct{ Msg, URL string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "serving" {
			serving <- line.URL
		}
		p.mu.Lock()
		p.lines = append(p.lines, lines.Text())
		if len(p.lines) > keptLines {
			p.lines = p.lines[1:]
		}
		p.mu.Unlock()
	}
	_, _ = io.Copy(io.Discard, out) // a line too long must not stop the program
}

func (p *process) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

// kill is SIGKILL, and returns when the process has ended.
func (p *process) kill() { p.signal(syscall.SIGKILL, stopWait) }

// stop is SIGTERM, and SIGKILL when that takes too long.
func (p *process) stop() {
	if !p.signal(syscall.SIGTERM, stopWait) {
		p.kill()
	}
}

func (p *process) signal(s syscall.Signal, patience time.Duration) bool {
	p.mu.Lock()
	cmd, ended := p.cmd, p.ended
	p.mu.Unlock()
	if cmd == nil {
		return true
	}
	if err := cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return false
	}
	select {
	case <-ended:
		return true
	case <-time.After(patience):
		return false
	}
}
