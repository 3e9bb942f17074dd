package deep

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/kgents/kgents/app"
	"github.com/kgents/kgents/cluster"
	"github.com/kgents/kgents/config"
)

const key = "the-key"

// freePort is a port that was free on every address a moment ago.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// natsCluster is three real servers with a system account.
type natsCluster struct {
	t       *testing.T
	dir     string
	clients [3]int
	routes  [3]int
	servers [3]*server.Server
}

func startCluster(t *testing.T) *natsCluster {
	t.Helper()
	c := &natsCluster{t: t, dir: t.TempDir()}
	for i := range 3 {
		c.clients[i], c.routes[i] = freePort(t), freePort(t)
	}
	for i := range 3 {
		c.start(i, "always")
	}
	t.Cleanup(func() {
		for i := range 3 {
			c.stop(i)
		}
	})
	return c
}

func (c *natsCluster) start(i int, sync string) {
	c.t.Helper()
	file := filepath.Join(c.dir, fmt.Sprintf("nats-%d.conf", i))
	text := fmt.Sprintf(`
listen: "127.0.0.1:%d"
server_name: nats-%d
jetstream { store_dir: %q, sync_interval: %s }
cluster { name: test, listen: "127.0.0.1:%d", routes: ["nats://127.0.0.1:%d", "nats://127.0.0.1:%d", "nats://127.0.0.1:%d"] }
accounts {
  KGENTS { jetstream: enabled, users: [{user: app, password: pw}] }
  SYS { users: [{user: sys, password: pw}] }
}
system_account: SYS
`, c.clients[i], i, filepath.Join(c.dir, fmt.Sprint(i)), sync, c.routes[i], c.routes[0], c.routes[1], c.routes[2])
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	opts, err := server.ProcessConfigFile(file)
	if err != nil {
		c.t.Fatal(err)
	}
	opts.NoLog, opts.NoSigs = true, true
	srv, err := server.NewServer(opts)
	if err != nil {
		c.t.Fatal(err)
	}
	srv.Start()
	c.servers[i] = srv
}

func (c *natsCluster) stop(i int) {
	c.servers[i].Shutdown()
	c.servers[i].WaitForShutdown()
}

// urls are the servers for a user.
func (c *natsCluster) urls(user string) (urls []string) {
	for _, port := range c.clients {
		urls = append(urls, fmt.Sprintf("nats://%s:pw@127.0.0.1:%d", user, port))
	}
	return urls
}

// kube is an API server that speaks the routes that are used.
type kube struct {
	*httptest.Server
	mu        sync.Mutex
	workloads map[string][3]int // by plural and name: wanted, ready, updated
	pods      map[string][]string
	denied    string // a part of paths that are forbidden
}

func startKube(t *testing.T) *kube {
	k := &kube{workloads: map[string][3]int{}, pods: map[string][]string{}}
	k.Server = httptest.NewServer(k)
	t.Cleanup(k.Close)
	return k
}

func (k *kube) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.denied != "" && strings.Contains(r.URL.Path, k.denied) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"kind":"Status","message":"the account may not"}`)
		return
	}
	parts := strings.Split(r.URL.Path, "/")
	if pod, path, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/api/v1/namespaces/test/pods/"), "/proxy"); ok {
		pod, port, _ := strings.Cut(pod, ":")
		for name, ips := range k.pods {
			for i, ip := range ips {
				if pod == fmt.Sprintf("%s-%d", name, i) {
					r.URL.Path = path
					httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: net.JoinHostPort(ip, port)}).ServeHTTP(w, r)
					return
				}
			}
		}
	}
	if strings.HasSuffix(r.URL.Path, "/namespaces/test/pods") {
		_, name, _ := strings.Cut(r.URL.Query().Get("labelSelector"), "app.kubernetes.io/name=")
		var items []any
		for i, ip := range k.pods[name] {
			items = append(items, map[string]any{
				"metadata": map[string]any{"name": fmt.Sprintf("%s-%d", name, i)},
				"status": map[string]any{"podIP": ip, "phase": "Running",
					"conditions": []any{map[string]any{"type": "Ready", "status": "True"}}},
			})
		}
		// Neither of these is meant to serve.
		items = append(items,
			map[string]any{"metadata": map[string]any{"name": "z-ending", "deletionTimestamp": "2026-01-01T00:00:00Z"}},
			map[string]any{"metadata": map[string]any{"name": "z-evicted"}, "status": map[string]any{"phase": "Failed"}})
		_ = json.NewEncoder(w).Encode(map[string]any{"items": items})
		return
	}
	n, ok := k.workloads[strings.Join(parts[max(0, len(parts)-2):], "/")]
	if !ok || !strings.HasPrefix(r.URL.Path, "/apis/apps/v1/namespaces/test/") {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"kind":"Status","message":"not found"}`)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{
		"metadata": map[string]any{"generation": 2},
		"spec":     map[string]any{"replicas": n[0]},
		"status":   map[string]any{"observedGeneration": 2, "readyReplicas": n[1], "updatedReplicas": n[2]},
	})
}

// set changes what the API server says.
func (k *kube) set(change func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change()
}

// open returns a client as a pod has it.
func (k *kube) open(t *testing.T) *cluster.Client {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c",
"clusters":[{"name":"c","cluster":{"server":%q}}],"users":[{"name":"u","user":{"token":"never-shown"}}],
"contexts":[{"name":"c","context":{"cluster":"c","user":"u","namespace":"test"}}]}`, k.URL)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", file)
	c, err := cluster.Open(cluster.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	c.Inside = true
	return c
}

// role runs one of the program's roles in this process, on an address of its own
// as a pod has one.
func role(t *testing.T, r config.Role, host string, port int, nats []string, redis, meter string) *app.App {
	t.Helper()
	a, err := app.Start(t.Context(), r, config.Config{
		APIHost: host, APIPort: port, DataDir: t.TempDir(), APIKeys: []string{key},
		NATSServers: nats, StreamName: "kgent-events", Replicas: 3, RedisURL: redis,
		OpenMeterBaseURL: meter, OpenMeterAPIKey: key, BatchSize: 100, FlushInterval: 50 * time.Millisecond,
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Stop)
	return a
}
