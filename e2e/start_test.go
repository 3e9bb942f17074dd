package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kgents/kgents/config"
)

// What hinders a start is one clear line on standard error and exit 1.
func TestStartRefuses(t *testing.T) {
	running := t.TempDir()
	p := up(t, running)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		env  []string
		args []string
		says []string
	}{
		{"a port in use", nil, []string{"up", "--data", t.TempDir(), "--api-port", port}, []string{port, "in use", "--api-port"}},
		{"a data directory that another process holds", nil, []string{"up", "--data", running, "--api-port", "0"}, []string{running, "another"}},
		{"a data directory that is a file", nil, []string{"up", "--data", file, "--api-port", "0"}, []string{file}},
		{"a data directory that can't be made", nil, []string{"up", "--data", "/proc/kgents", "--api-port", "0"}, []string{"/proc/kgents"}},
		{"a port that is none", nil, []string{"up", "--data", t.TempDir(), "--api-port", "70000"}, []string{"API_PORT"}},
		{"a value that is none, from the environment", []string{"OPENMETER_BATCH_SIZE=many"}, []string{"up", "--data", t.TempDir(), "--api-port", "0"}, []string{"OPENMETER_BATCH_SIZE"}},
		{"a meters file that isn't there", nil, []string{"up", "--data", t.TempDir(), "--api-port", "0", "--meters-file", "/nowhere.yaml"}, []string{"/nowhere.yaml"}},
		{"an API without NATS", []string{"OPENMETER_BASE_URL=http://127.0.0.1:1"}, []string{"api", "--api-port", "0"}, []string{"NATS_SERVERS"}},
		{"a sink without a meter", []string{"NATS_SERVERS=nats://127.0.0.1:1"}, []string{"sink", "--api-port", "0"}, []string{"OPENMETER_BASE_URL"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			stdout, stderr, code := run(t, environ(c.env...), c.args...)
			if code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
			lines := strings.Split(strings.TrimRight(stderr, "\n"), "\n")
			if len(lines) > 2 {
				t.Errorf("%d lines on standard error, want the error and at most a hint:\n%s", len(lines), stderr)
			}
			for _, says := range c.says {
				if !strings.Contains(stderr, says) {
					t.Errorf("the error doesn't name %q: %s", says, stderr)
				}
			}
			if strings.Contains(stdout+stderr, apiKey) || strings.Contains(stdout+stderr, webhookSecret) {
				t.Error("a secret was printed")
			}
		})
	}
	if code, _ := p.get("/readyz"); code != http.StatusOK {
		t.Errorf("the first program answers %d after the others", code)
	}
	p.stop()
}

// Without secrets in the environment `up` makes its own, keeps them where nobody
// else reads them, and uses them again at the next start.
func TestOwnSecrets(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "by", "up")
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	var first config.Local
	for turn := range 2 {
		p := launch(t, env, dir, "up", "--data", dir, "--api-port", "0")
		local, err := config.ReadLocal(dir)
		if err != nil {
			t.Fatal(err)
		}
		if local.APIKey == "" || local.WebhookSecret == "" {
			t.Fatal("no secrets were made")
		}
		local.URL = ""
		if turn == 0 {
			first = local
		} else if local != first {
			t.Error("the secrets changed with a restart: every client would have to be told")
		}
		if strings.Contains(p.log(), local.APIKey) || strings.Contains(p.log(), local.WebhookSecret) {
			t.Error("a secret is in the log")
		}
		stdout, stderr, code := run(t, env, "verify", "--data", dir)
		if code != 0 {
			t.Errorf("verify: exit code %d\n%s%s", code, stdout, stderr)
		}
		p.stop()
	}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if strings.Contains(string(content), first.APIKey) || strings.Contains(string(content), first.WebhookSecret) {
			info, err := d.Info()
			if err != nil {
				return err
			}
			if info.Mode().Perm() != 0o600 {
				t.Errorf("%s holds a secret and has mode %v, want 0600", path, info.Mode().Perm())
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A signal lets requests under way finish: their events are durable and counted
// after the next start. New connections are refused meanwhile.
func TestDrain(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(signal.String(), func(t *testing.T) {
			dir := t.TempDir()
			p := up(t, dir)
			body := good("drain", 42)
			conn := dial(t, p.url)
			fmt.Fprintf(conn, "POST /api/v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", apiKey, len(body), body[:20])
			// The request is under way once its handler reads the body.
			eventually(t, 10*time.Second, func() (bool, any) {
				v := p.metric("kgents_api_requests_in_flight")
				return v == "1", v
			})
			if err := p.cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			eventually(t, 10*time.Second, func() (bool, any) {
				c, err := net.DialTimeout("tcp", strings.TrimPrefix(p.url, "http://"), time.Second)
				if err == nil {
					c.Close()
				}
				return err != nil, "still listening"
			})
			fmt.Fprint(conn, body[20:])
			answer, err := io.ReadAll(conn)
			if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 204 ") {
				t.Errorf("the request under way was answered %.100q, %v", answer, err)
			}
			select {
			case <-p.done:
			case <-time.After(30 * time.Second):
				t.Fatal("still running after 30 s")
			}
			if p.err != nil {
				t.Errorf("exit: %v", p.err)
			}
			p = up(t, dir)
			eventually(t, 30*time.Second, func() (bool, any) {
				got := p.total("agent_tokens")
				return got == 42, got
			})
			p.stop()
		})
	}
}

// `up --demo` shows something: webhooks and usage arrive and are counted, and
// the commands of the README see them.
func TestDemo(t *testing.T) {
	dir := t.TempDir()
	p := up(t, dir, "--demo")
	eventually(t, time.Minute, func() (bool, any) {
		payments, tokens, subscriptions := p.total("payments"), p.total("agent_tokens"), p.total("subscriptions_started")
		return payments > 0 && tokens > 0 && subscriptions > 0, fmt.Sprint(payments, tokens, subscriptions)
	})
	for _, args := range [][]string{
		{"emit", "stripe", "--count", "60", "--duplicates", "0.2", "--data", dir},
		{"emit", "usage", "--count", "500", "--data", dir},
		{"usage", "--data", dir},
		{"usage", "--data", dir, "--output", "json"},
		{"verify", "--data", dir},
	} {
		stdout, stderr, code := run(t, environ(), args...)
		if code != 0 {
			t.Errorf("kgents %s: exit code %d\n%s%s", strings.Join(args, " "), code, stdout, stderr)
		}
		if strings.Contains(stdout+stderr, "\x1b[") {
			t.Errorf("kgents %s prints colours into a pipe", strings.Join(args, " "))
		}
	}
	p.stop()
	if _, stderr, code := run(t, environ(), "verify", "--data", dir, "--timeout", "2s"); code != 1 || !strings.Contains(stderr, "kgents up") {
		t.Errorf("verify without a server: exit code %d, want 1 and what to do next: %s", code, stderr)
	}
}
