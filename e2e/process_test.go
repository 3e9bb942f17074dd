// Package e2e tests the program as its users run it: the real binary, started,
// fed over HTTP, killed and started again. It needs the Go toolchain to build the
// binary, and nothing else.
package e2e

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kgents/kgents/config"
	"github.com/kgents/kgents/meter"
)

var binary string

var rounds = flag.Int("rounds", 20, "how often TestCrash kills the program")

func TestMain(m *testing.M) {
	flag.Parse()
	dir, err := os.MkdirTemp("", "kgents-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "kgents")
	build := exec.Command("go", "build", "-o", binary, "github.com/kgents/kgents/cmd/kgents")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the program: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// The secrets of the program under test.
const (
	apiKey        = "kg_e2e_key"
	webhookSecret = "whsec_e2e"
)

// process is one run of the program.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	url  string
	done chan struct{}
	err  error // of Wait, once done is closed

	mu     sync.Mutex
	stderr strings.Builder
}

// environ is the environment of a program under test: nothing of ours leaks in.
func environ(extra ...string) []string {
	return append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.TempDir(),
		"API_KEYS=" + apiKey, "STRIPE_WEBHOOK_SECRET=" + webhookSecret,
	}, extra...)
}

// up starts `kgents up` on dir and waits until it is ready. It is killed at the
// end of the test if it still runs.
func up(t *testing.T, dir string, args ...string) *process {
	t.Helper()
	return launch(t, environ(), dir, append([]string{"up", "--data", dir, "--api-port", "0"}, args...)...)
}

func launch(t *testing.T, env []string, dir string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(binary, args...), done: make(chan struct{})}
	p.cmd.Env = env
	p.cmd.Dir = t.TempDir() // no .env of a developer's
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	var readers sync.WaitGroup
	readers.Go(func() {
		once := sync.Once{}
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			if strings.Contains(lines.Text(), "kgents is up") {
				once.Do(func() { close(ready) })
			}
		}
	})
	readers.Go(func() {
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			p.mu.Lock()
			p.stderr.WriteString(lines.Text() + "\n")
			p.mu.Unlock()
		}
	})
	go func() {
		readers.Wait()
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		select {
		case <-p.done:
		default:
			p.kill()
		}
		if t.Failed() {
			t.Logf("log of the program:\n%s", tail(p.log(), 40))
		}
	})
	select {
	case <-ready:
	case <-p.done:
		t.Fatalf("the program ended at its start: %v\n%s", p.err, p.log())
	case <-time.After(60 * time.Second):
		t.Fatalf("the program was not ready within 60 s:\n%s", p.log())
	}
	local, err := config.ReadLocal(dir)
	if err != nil || local.URL == "" {
		t.Fatalf("the program left no URL in its data directory: %v", err)
	}
	p.url = local.URL
	return p
}

func (p *process) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.String()
}

// kill is SIGKILL: the process gets no chance to do anything.
func (p *process) kill() {
	_ = p.cmd.Process.Signal(syscall.SIGKILL)
	<-p.done
}

// stop is SIGTERM. It fails the test when the exit takes over 30 s or isn't 0.
func (p *process) stop() {
	p.t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		if p.err != nil {
			p.t.Errorf("exit after SIGTERM: %v", p.err)
		}
	case <-time.After(30 * time.Second):
		p.t.Errorf("still running 30 s after SIGTERM:\n%s", p.log())
		p.kill()
	}
}

// run runs a command to its end and returns what it printed and its exit code.
func run(t *testing.T, env []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = env
	cmd.Dir = t.TempDir()
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return out.String(), errs.String(), exit.ExitCode()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), 0
}

func (p *process) meter() *meter.Client {
	p.t.Helper()
	c, err := meter.NewClient(p.url, apiKey)
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

// get returns the body of a route that needs no key.
func (p *process) get(path string) (int, string) {
	p.t.Helper()
	resp, err := http.Get(p.url + path)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// eventually asks until ok, and fails with the last answer after patience.
func eventually(t *testing.T, patience time.Duration, ask func() (ok bool, last any)) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		ok, last := ask()
		if ok {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %v; last: %v", patience, last)
		}
	}
}

func tail(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
