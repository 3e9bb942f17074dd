// Package redistest starts real redis-servers for tests. It needs the program
// redis-server, of Debian's package of that name, and fails the test that asks
// for one without it.
package redistest

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Server is a redis-server on a port of its own on loopback, with its data in a
// directory of the test's. It ends with the test.
type Server struct {
	Addr string

	t   testing.TB
	dir string
	cmd *exec.Cmd
}

// Start starts one and waits until it accepts connections. Args are further
// settings: "--maxmemory", "1mb".
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	s := &Server{Addr: addr, t: t, dir: t.TempDir()}
	t.Cleanup(s.Kill)
	s.Restart(args...)
	return s
}

// URL is the server's address for REDIS_URL.
func (s *Server) URL() string { return "redis://" + s.Addr + "/0" }

// Restart starts the server again on its port, after Kill or Stop.
func (s *Server) Restart(args ...string) {
	s.t.Helper()
	_, port, _ := net.SplitHostPort(s.Addr)
	s.cmd = exec.Command("redis-server", append([]string{"--port", port, "--bind", "127.0.0.1", "--dir", s.dir,
		"--save", "", "--daemonize", "no", "--logfile", filepath.Join(s.dir, "log")}, args...)...)
	s.cmd.SysProcAttr = dieWithTest
	if err := s.cmd.Start(); err != nil {
		s.t.Fatalf("redis-server is needed (Debian's package redis-server): %v", err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if answer, err := s.ask("PING"); err == nil && (strings.HasPrefix(answer, "+PONG") || strings.HasPrefix(answer, "-NOAUTH")) {
			return
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			s.t.Fatalf("redis-server is not there after 10 s:\n%s", log)
		}
	}
}

// Kill is SIGKILL. Without persistence everything is forgotten.
func (s *Server) Kill() {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGCONT)
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s.cmd = nil
}

// Freeze is SIGSTOP: connections stay open and nobody answers.
func (s *Server) Freeze() { _ = s.cmd.Process.Signal(syscall.SIGSTOP) }

// Thaw ends Freeze.
func (s *Server) Thaw() { _ = s.cmd.Process.Signal(syscall.SIGCONT) }

// Do runs a command and returns the first line of its answer. It fails the test
// on an error.
func (s *Server) Do(command ...string) string {
	s.t.Helper()
	answer, err := s.ask(command...)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer
}

func (s *Server) ask(command ...string) (string, error) {
	conn, err := net.DialTimeout("tcp", s.Addr, time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return "", err
	}
	fmt.Fprintf(conn, "*%d\r\n", len(command))
	for _, word := range command {
		fmt.Fprintf(conn, "$%d\r\n%s\r\n", len(word), word)
	}
	return bufio.NewReader(conn).ReadString('\n')
}
