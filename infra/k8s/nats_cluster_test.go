package k8s

import (
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// natsLog keeps what servers say.
type natsLog struct {
	mu    sync.Mutex
	lines []string
}

func (l *natsLog) add(level, format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, level+" "+fmt.Sprintf(format, v...))
}

func (l *natsLog) Noticef(f string, v ...any) { l.add("notice", f, v...) }
func (l *natsLog) Warnf(f string, v ...any)   { l.add("warn", f, v...) }
func (l *natsLog) Fatalf(f string, v ...any)  { l.add("fatal", f, v...) }
func (l *natsLog) Errorf(f string, v ...any)  { l.add("error", f, v...) }
func (l *natsLog) Debugf(string, ...any)      {}
func (l *natsLog) Tracef(string, ...any)      {}

// find returns the lines that hold any of these words.
func (l *natsLog) find(words ...string) (out []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		for _, w := range words {
			if strings.Contains(line, w) {
				out = append(out, line)
				break
			}
		}
	}
	return out
}

// natsServers are servers that run from nats.conf and end with the test.
type natsServers struct {
	natsBed
	log     *natsLog
	servers []*server.Server
}

// urls are the servers' addresses, comma-separated.
func (s *natsServers) urls() string {
	var out []string
	for _, srv := range s.servers {
		out = append(out, "tls://"+srv.Addr().String())
	}
	return strings.Join(out, ",")
}

func (s *natsServers) stop() {
	for _, srv := range s.servers {
		srv.Shutdown()
	}
	for _, srv := range s.servers {
		srv.WaitForShutdown()
	}
	s.servers = nil
}

// loopback moves a server to this machine, the ports for clients and probes being
// free ones.
func loopback(o *server.Options) {
	o.Host, o.Port = "127.0.0.1", server.RANDOM_PORT
	o.HTTPHost, o.HTTPPort = "127.0.0.1", server.RANDOM_PORT
	o.Cluster.Host = "127.0.0.1"
	o.NoSigs = true
}

func (s *natsServers) start(t *testing.T, o *server.Options) {
	t.Helper()
	srv, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	srv.SetLoggerV2(s.log, false, false, false)
	s.servers = append(s.servers, srv)
	srv.Start()
}

// oneNATS starts one server, without the cluster.
func oneNATS(t *testing.T) *natsServers {
	t.Helper()
	s := &natsServers{natsBed: newNATSBed(t), log: &natsLog{}}
	t.Cleanup(s.stop)
	o := s.options(t, t.TempDir())
	loopback(o)
	o.Cluster, o.Routes = server.ClusterOpts{}, nil
	s.start(t, o)
	s.wait(t)
	return s
}

// threeNATS starts the cluster. The ports of routes must be known beforehand, so
// another program can take one in between: then others are tried.
func threeNATS(t *testing.T) *natsServers {
	t.Helper()
	s := &natsServers{natsBed: newNATSBed(t), log: &natsLog{}}
	t.Cleanup(s.stop)
	for range 5 {
		ports := freePorts(t, 3)
		var routes []*url.URL
		for _, port := range ports {
			routes = append(routes, &url.URL{Scheme: "nats-route", Host: fmt.Sprintf("127.0.0.1:%d", port)})
		}
		for i, port := range ports {
			t.Setenv("POD_NAME", fmt.Sprintf("nats-%d", i))
			o := s.options(t, t.TempDir())
			loopback(o)
			o.Cluster.Port, o.Routes = port, routes
			s.start(t, o)
		}
		if len(s.log.find("fatal")) == 0 {
			s.wait(t)
			return s
		}
		s.stop()
		s.log = &natsLog{}
	}
	t.Fatal("the ports of routes are taken by others each time")
	return nil
}

func freePorts(t *testing.T, n int) (ports []int) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // together, so that they differ
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// wait waits until every server would pass its startup probe and knows all the
// others as members of the meta group. A probe alone is no sign of that: two of
// three servers elect a leader and are healthy before the third has joined.
func (s *natsServers) wait(t *testing.T) {
	t.Helper()
	eventually(t, "all servers are healthy, in one group", func() bool {
		for _, srv := range s.servers {
			if !srv.ReadyForConnections(time.Second) || srv.Healthz(nil).Status != "ok" {
				return false
			}
			js, err := srv.Jsz(nil)
			if err != nil {
				t.Fatal(err)
			}
			if alone := len(s.servers) == 1; !alone && (js.Meta == nil || js.Meta.Leader == "" || js.Meta.Size != len(s.servers)) {
				return false
			}
		}
		return true
	})
}

// eventually waits for what servers bring about. The limit is far beyond what a
// busy machine needs.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(time.Minute); !ok(); {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("a minute has passed without this: %s", what)
		}
	}
}

// connect connects as a user whose seed is in the bed, with the inbox of its role;
// as nobody when user is empty.
func (s *natsServers) connect(user string, more ...nats.Option) (*nats.Conn, error) {
	role, _, _ := strings.Cut(user, "-")
	opts := []nats.Option{
		nats.RootCAs(s.ca()), nats.NoReconnect(), nats.Timeout(10 * time.Second), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
	}
	if user != "" {
		nkey, err := nats.NkeyOptionFromSeed(s.seed(user))
		if err != nil {
			return nil, err
		}
		opts = append(opts, nkey, nats.CustomInboxPrefix("_INBOX.kgents-"+role))
	}
	return nats.Connect(s.urls(), append(opts, more...)...)
}
