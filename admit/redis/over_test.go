package redis_test

import (
	"context"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kgents/kgents/admit/redis"
	"github.com/kgents/kgents/admit/redistest"
)

// to dials one address, whatever it is asked for, and notes what that was.
func to(address string, asked *string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		*asked = addr
		return new(net.Dialer).DialContext(ctx, network, address)
	}
}

// A Redis whose name means nothing here, behind a dialer.
func TestOver(t *testing.T) {
	server := redistest.Start(t)
	at, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	host, asked := at.Host, ""
	at.Host = "redis.nowhere:6379"
	s, err := redis.NewOver(at.String(), 2*time.Second, to(host, &asked))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.LookAtServer(t.Context()); err != nil || asked != "redis.nowhere:6379" {
		t.Errorf("%v, asked for %q", err, asked)
	}
}

// With rediss:// TLS goes on top of the dialer, with the name in the address.
func TestOverTLS(t *testing.T) {
	if address := os.Getenv("OVER_TO"); address != "" {
		asked := ""
		s, err := redis.NewOver(os.Getenv("OVER_URL"), 2*time.Second, to(address, &asked))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := s.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		return
	}
	dir := t.TempDir()
	cert, key := certificate(t, dir)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	l.Close()
	redistest.Start(t, "--tls-port", port, "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert, "--tls-auth-clients", "no")
	for name, want := range map[string]string{"localhost": "PASS", "elsewhere": "certificate"} {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestOverTLS$")
		cmd.Env = append(os.Environ(), "OVER_URL=rediss://"+name+":1/0", "OVER_TO="+address, "SSL_CERT_FILE="+cert, "SSL_CERT_DIR="+filepath.Join(dir, "none"))
		if out, err := cmd.CombinedOutput(); !strings.Contains(string(out), want) {
			t.Errorf("%s: %v: %.300s, want %q", name, err, out, want)
		}
	}
}
