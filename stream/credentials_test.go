package stream_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/kgents/kgents/secrets"
	"github.com/kgents/kgents/stream"
)

func newKey(t *testing.T) (seed, public string) {
	t.Helper()
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	b, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	if public, err = pair.PublicKey(); err != nil {
		t.Fatal(err)
	}
	return string(b), public
}

// serverFor starts a server on loopback that lets in the users of these keys. Each
// may listen only to the inboxes of the name kgents-test.
func serverFor(t *testing.T, port int, public ...string) *server.Server {
	t.Helper()
	opts := &server.Options{Host: "127.0.0.1", Port: port, NoLog: true, NoSigs: true}
	for _, key := range public {
		opts.Nkeys = append(opts.Nkeys, &server.NkeyUser{Nkey: key, Permissions: &server.Permissions{
			Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.kgents-test.>", "echo"}},
		}})
	}
	srv, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(10 * time.Second) {
		t.Fatal("no server")
	}
	return srv
}

func seedFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "user.nk")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A bare seed is enough to be let in, and answers come to an inbox of the
// connection's own name.
func TestConnectBySeed(t *testing.T) {
	seed, public := newKey(t)
	srv := serverFor(t, -1, public)
	nc, err := stream.Connect(stream.Remote{Servers: []string{srv.ClientURL()}, Creds: seedFile(t, seed+"\n")}, "kgents-test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if _, err := nc.Subscribe("echo", func(m *nats.Msg) { _ = m.Respond(m.Data) }); err != nil {
		t.Fatal(err)
	}
	answer, err := nc.Request("echo", []byte("hello"), 5*time.Second)
	if err != nil || string(answer.Data) != "hello" {
		t.Errorf("answer: %v", err)
	}
	if !strings.HasPrefix(nc.NewRespInbox(), "_INBOX.kgents-test.") {
		t.Errorf("the inbox is %s", nc.NewRespInbox())
	}
}

// again starts another server in the place of one.
func again(t *testing.T, srv *server.Server, public ...string) *server.Server {
	t.Helper()
	port := srv.Addr().(*net.TCPAddr).Port
	srv.Shutdown()
	srv.WaitForShutdown()
	return serverFor(t, port, public...)
}

// until waits for what a connection comes to by itself.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after 20 s still not: %s", what)
		}
	}
}

const refusal = "NATS_CREDS must name a key that the servers know"

// A key that the servers don't know is tried for as long as it takes, however often
// it is refused, and the log says so: a server that learns it, as in a rotation, lets
// the program in without a new start.
func TestConnectByUnknownSeed(t *testing.T) {
	seed, public := newKey(t)
	_, other := newKey(t)
	srv := serverFor(t, -1, other)
	var log text
	nc, err := stream.Connect(stream.Remote{Servers: []string{srv.ClientURL()}, Creds: seedFile(t, seed)}, "kgents-test", slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if nc.Status() == nats.CONNECTED {
		t.Fatal("a key that the server doesn't know was let in")
	}
	until(t, "the log says what to do", func() bool { return strings.Contains(log.String(), refusal) })
	srv = again(t, srv, public)
	until(t, "connected", nc.IsConnected)

	// Taken away while it is connected, and given back.
	srv = again(t, srv, other)
	until(t, "the log says it again", func() bool { return strings.Count(log.String(), refusal) == 2 })
	again(t, srv, public)
	until(t, "connected again", nc.IsConnected)
	if n := strings.Count(log.String(), refusal); n != 2 {
		t.Errorf("the log says what to do %d times, want once for each time without a connection:\n%s", n, &log)
	}
	if strings.Contains(log.String(), seed) {
		t.Error("the seed is in the log")
	}
}

// A rotation as a deployment sees it: a program keeps its key when the file gets
// another one, a new start takes the new one, and then the old one can go.
func TestConnectAfterRotation(t *testing.T) {
	oldSeed, oldKey := newKey(t)
	newSeed, newKey := newKey(t)
	path := seedFile(t, oldSeed)
	srv := serverFor(t, -1, oldKey)
	start := func() *nats.Conn {
		nc, err := stream.Connect(stream.Remote{Servers: []string{srv.ClientURL()}, Creds: path}, "kgents-test", slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		until(t, "connected", nc.IsConnected)
		return nc
	}
	first := start()
	if err := os.WriteFile(path, []byte(newSeed), 0o600); err != nil {
		t.Fatal(err)
	}
	was := first.Stats().Reconnects
	srv = again(t, srv, newKey, oldKey)
	until(t, "the running program is back with its old key", func() bool { return first.IsConnected() && first.Stats().Reconnects > was })
	second := start()
	first.Close()
	was = second.Stats().Reconnects
	srv = again(t, srv, newKey)
	until(t, "the new start is back without the old key", func() bool { return second.IsConnected() && second.Stats().Reconnects > was })
}

// A server of another CA is not spoken to, and the log says where to look.
func TestConnectUntrusted(t *testing.T) {
	dir := t.TempDir()
	if _, err := secrets.Init(dir, "test"); err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	if _, err := secrets.Init(other, "test"); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "nats/tls.crt"), filepath.Join(dir, "nats/tls.key"))
	if err != nil {
		t.Fatal(err)
	}
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true, TLS: true, TLSTimeout: 5, TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}}})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(10 * time.Second) {
		t.Fatal("no server")
	}
	for ca, trusted := range map[string]bool{dir: true, other: false} {
		var log text
		nc, err := stream.Connect(stream.Remote{Servers: []string{srv.ClientURL()}, TLSCA: filepath.Join(ca, "nats/ca.crt")}, "kgents-test", slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		if trusted {
			until(t, "connected", nc.IsConnected)
			continue
		}
		until(t, "the log says what to do", func() bool { return strings.Contains(log.String(), "check NATS_SERVERS, NATS_TLS_CA") })
		if nc.IsConnected() {
			t.Error("connected to a server of another CA")
		}
	}
}

// text is what is written to it by many.
type text struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (t *text) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.Write(b)
}

func (t *text) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}

func TestConnectRefusesCredentials(t *testing.T) {
	account, err := nkeys.CreateAccount()
	if err != nil {
		t.Fatal(err)
	}
	accountSeed, err := account.Seed()
	if err != nil {
		t.Fatal(err)
	}
	_, public := newKey(t)
	for name, c := range map[string]struct{ path, says string }{
		"not there":          {filepath.Join(t.TempDir(), "none"), "no such file"},
		"a directory":        {t.TempDir(), "is no file"},
		"empty":              {seedFile(t, ""), "begins with SU"},
		"something else":     {seedFile(t, "hush-hush"), "begins with SU"},
		"a public key":       {seedFile(t, public), "begins with SU"},
		"an account's seed":  {seedFile(t, string(accountSeed)), "begins with SU"},
		"larger than a seed": {seedFile(t, strings.Repeat("S", 100_000)), "at most"},
	} {
		t.Run(name, func(t *testing.T) {
			nc, err := stream.Connect(stream.Remote{Servers: []string{"nats://127.0.0.1:1"}, Creds: c.path}, "kgents-test", slog.New(slog.DiscardHandler))
			if err == nil {
				nc.Close()
				t.Fatal("taken")
			}
			if !strings.Contains(err.Error(), "NATS_CREDS") || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), string(accountSeed)) {
				t.Errorf("says %q, want %q", err, c.says)
			}
		})
	}
}

// A server that only a dialer reaches, by content in place of files: TLS wants the
// name in Servers, whatever the dialer leads to.
func TestConnectOver(t *testing.T) {
	seed, public := newKey(t)
	dir := t.TempDir()
	if _, err := secrets.Init(dir, "test"); err != nil {
		t.Fatal(err)
	}
	cert, err := tls.LoadX509KeyPair(filepath.Join(dir, "nats/tls.crt"), filepath.Join(dir, "nats/tls.key"))
	if err != nil {
		t.Fatal(err)
	}
	srv, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true, TLS: true, TLSTimeout: 5,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13},
		Nkeys:     []*server.NkeyUser{{Nkey: public}},
	})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(10 * time.Second) {
		t.Fatal("no server")
	}
	key, err := stream.NewKey([]byte(seed + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(dir, "nats/ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	var mu sync.Mutex
	asked := map[string]bool{}
	remote := stream.Remote{
		Servers: []string{"tls://nats-0.nats-headless:4222"}, Key: key, Roots: roots,
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			mu.Lock()
			asked[addr] = true
			mu.Unlock()
			return new(net.Dialer).DialContext(ctx, network, srv.Addr().String())
		},
	}
	nc, err := stream.Connect(remote, "kgents-test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if err := nc.FlushTimeout(10 * time.Second); err != nil {
		t.Errorf("not connected: %v", err)
	}
	mu.Lock()
	if len(asked) != 1 || !asked["nats-0.nats-headless:4222"] {
		t.Errorf("dialed %v", asked)
	}
	mu.Unlock()

	remote.Servers = []string{"tls://elsewhere:4222"} // which the certificate doesn't hold
	var log text
	other, err := stream.Connect(remote, "kgents-test", slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	until(t, "the log says what is wrong", func() bool { return strings.Contains(log.String(), "not elsewhere") })
	if other.IsConnected() {
		t.Error("connected to a server of another name")
	}
	remote.Servers = []string{"tls://localhost:4222"} // which means something here too
	third, err := stream.Connect(remote, "kgents-test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer third.Close()
	mu.Lock()
	if !asked["localhost:4222"] {
		t.Errorf("a name was looked up here: dialed %v", asked)
	}
	mu.Unlock()
	if text := fmt.Sprintf("%+v", remote); strings.Contains(text, seed) {
		t.Error("a Remote that is printed shows its key")
	}
	if _, err := stream.NewKey([]byte("SUxxNOSEEDxx")); err == nil || strings.Contains(err.Error(), "NOSEED") {
		t.Errorf("the error is %v", err)
	}
}
