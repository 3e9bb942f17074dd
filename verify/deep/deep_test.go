package deep

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kgents/kgents/admit/redistest"
	"github.com/kgents/kgents/config"
	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/verify"
)

// saying is a pod that says what it is told to of its health.
func saying(t *testing.T, addr, health string) {
	t.Helper()
	serve(t, addr, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(health)) })
}

func serve(t *testing.T, addr string, h http.HandlerFunc) {
	t.Helper()
	s := &http.Server{Addr: addr, Handler: h}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.ListenAndServe() }()
	t.Cleanup(func() { s.Close(); <-done })
}

// The whole of it against real servers and the program's own roles: all passes,
// then one thing after another is broken, seen in its line, and mended.
func TestRun(t *testing.T) {
	nats := startCluster(t)
	store := redistest.Start(t)
	port := freePort(t)
	meter := role(t, config.RoleMeter, "127.0.0.5", port, nil, "", "")
	for _, host := range []string{"127.0.0.2", "127.0.0.3"} {
		role(t, config.RoleAPI, host, port, nats.urls("app"), store.URL(), meter.URL())
	}
	role(t, config.RoleSink, "127.0.0.4", port, nats.urls("app"), "", meter.URL())
	k := startKube(t)
	k.workloads = map[string][3]int{"statefulsets/nats": {3, 3, 3}, "deployments/kgents-api": {2, 2, 2}, "deployments/kgents-sink": {1, 1, 1}}
	k.pods = map[string][]string{apiName: {"127.0.0.2", "127.0.0.3"}, sinkName: {"127.0.0.4"}, meterName: {"127.0.0.5"}}
	p := strconv.Itoa(port)
	c := Config{
		Cluster: k.open(t), System: stream.Remote{Servers: nats.urls("sys")},
		Stream: stream.Config{Name: "kgent-events", Replicas: 3}, Redis: store.URL(),
		Target: verify.Target{URL: "http://127.0.0.2:" + p, Key: key}, Port: p, Settle: 200 * time.Millisecond,
	}
	// until repeats the check until the lines are as wanted: servers and roles
	// need a while to notice.
	until := func(t *testing.T, want map[string]Verdict) Report {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			r := Run(ctx, c)
			cancel()
			good := true
			for _, line := range r.Lines {
				if w, ok := want[line.Check]; ok && line.Verdict != w || !ok && want["others"] != "" && line.Verdict != want["others"] {
					good = false
				}
				if (line.Verdict == Pass) != (line.Next == "") || line.Evidence == "" {
					t.Errorf("the line is %+v", line)
				}
				if strings.Contains(line.Evidence+line.Next, "never-shown") {
					t.Errorf("shows a credential: %+v", line)
				}
			}
			if good {
				return r
			}
			if time.Now().After(deadline) {
				for _, line := range r.Lines {
					t.Logf("%+v", line)
				}
				t.Fatalf("the verdicts are not %v", want)
			}
		}
	}
	if r := until(t, map[string]Verdict{"others": Pass}); !r.OK || r.Canary == nil || len(r.Lines) != 10 {
		t.Errorf("the report is %+v", r)
	}

	t.Run("runs at the same time don't count each other's canaries", func(t *testing.T) {
		var runs sync.WaitGroup
		for range 4 {
			runs.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				for _, line := range Run(ctx, c).Lines {
					if line.Verdict != Pass {
						t.Errorf("the line is %+v", line)
					}
				}
			})
		}
		runs.Wait()
	})
	t.Run("from outside, where names and addresses mean nothing", func(t *testing.T) {
		before, asked := c, map[string]bool{}
		c.Cluster.Inside = false
		defer func() { c = before; c.Cluster.Inside = true }()
		var mu sync.Mutex
		transport := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			mu.Lock()
			asked[addr] = true
			mu.Unlock()
			return new(net.Dialer).DialContext(ctx, network, strings.Replace(addr, "kgents-api:80", "127.0.0.2:"+p, 1))
		}}
		defer transport.CloseIdleConnections()
		c.Target = verify.Target{URL: "http://kgents-api", Key: key, HTTP: &http.Client{Transport: transport}}
		c.Redis = "redis://redis:6379"
		c.RedisDial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr != "redis:6379" {
				t.Errorf("asked for %s", addr)
			}
			return new(net.Dialer).DialContext(ctx, network, strings.TrimSuffix(strings.TrimPrefix(store.URL(), "redis://"), "/0"))
		}
		until(t, map[string]Verdict{checkDuplicate: Unknown, "others": Pass}) // it goes to the service, and to no pod in particular
		c.Tunnels = true
		until(t, map[string]Verdict{"others": Pass})
		for _, addr := range []string{"kgents-api:80", "127.0.0.2:" + p, "127.0.0.3:" + p} {
			if !asked[addr] {
				t.Errorf("%s was not asked for among %v", addr, asked)
			}
		}
	})
	t.Run("a NATS server is not ready", func(t *testing.T) {
		k.set(func() { k.workloads["statefulsets/nats"] = [3]int{3, 2, 3} })
		defer k.set(func() { k.workloads["statefulsets/nats"] = [3]int{3, 3, 3} })
		until(t, map[string]Verdict{checkNATS: Fail, "others": Pass})
	})
	t.Run("a pod whose circuit is open", func(t *testing.T) {
		saying(t, "127.0.0.6:"+p, `{"nats":{"status":"circuit_open","circuit":"open"},"redis":{"status":"healthy"}}`)
		k.set(func() { k.pods[apiName] = append(k.pods[apiName], "127.0.0.6") })
		defer k.set(func() { k.pods[apiName] = k.pods[apiName][:2] })
		until(t, map[string]Verdict{checkAPI: Fail, checkDuplicate: Fail})
	})
	t.Run("a pod that has had no traffic since its circuit opened", func(t *testing.T) {
		var events atomic.Int32
		serve(t, "127.0.0.8:"+p, func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Method == http.MethodPost:
				events.Add(1)
				w.WriteHeader(http.StatusNoContent)
			case events.Load() < 3:
				_, _ = w.Write([]byte(`{"nats":{"status":"healthy","circuit":"half_open"},"redis":{"status":"healthy"}}`))
			default:
				_, _ = w.Write([]byte(`{"nats":{"status":"healthy","circuit":"closed"},"redis":{"status":"healthy"}}`))
			}
		})
		k.set(func() { k.pods[apiName] = append(k.pods[apiName], "127.0.0.8") })
		defer k.set(func() { k.pods[apiName] = k.pods[apiName][:2] })
		until(t, map[string]Verdict{"others": Pass})
	})
	t.Run("a sink whose meter is away", func(t *testing.T) {
		saying(t, "127.0.0.7:"+p, `{"nats":{"status":"healthy"},"openmeter":{"status":"degraded"}}`)
		k.set(func() { k.pods[sinkName] = append(k.pods[sinkName], "127.0.0.7") })
		defer k.set(func() { k.pods[sinkName] = k.pods[sinkName][:1] })
		until(t, map[string]Verdict{checkSink: Fail, "others": Pass})
	})
	t.Run("pods may not be read", func(t *testing.T) {
		k.set(func() { k.denied = "/pods" })
		defer k.set(func() { k.denied = "" })
		until(t, map[string]Verdict{checkAPI: Unknown, checkSink: Unknown, checkDuplicate: Unknown, "others": Pass})
	})
	t.Run("no user of the system account", func(t *testing.T) {
		before := c.System
		defer func() { c.System = before }()
		c.System.Servers = nats.urls("app")
		until(t, map[string]Verdict{checkMeta: Unknown, checkSync: Unknown, checkStreams: Unknown, "others": Pass})
	})
	t.Run("Redis is away", func(t *testing.T) {
		store.Kill()
		until(t, map[string]Verdict{checkRedis: Fail})
		store.Restart()
		until(t, map[string]Verdict{"others": Pass})
	})
	t.Run("a server stops, comes back without syncing, and as it was", func(t *testing.T) {
		nats.stop(2)
		until(t, map[string]Verdict{checkMeta: Fail, checkSync: Unknown, checkStreams: Fail})
		nats.start(2, `"2m"`)
		until(t, map[string]Verdict{checkMeta: Pass, checkSync: Fail, checkStreams: Pass})
		nats.stop(2)
		nats.start(2, "always")
		until(t, map[string]Verdict{"others": Pass})
	})
}

// A deployment of which nothing is known passes in no line, and does so at once.
func TestNothingConfigured(t *testing.T) {
	r := Run(t.Context(), Config{})
	if r.OK || len(r.Lines) != 10 {
		t.Errorf("the report is %+v", r)
	}
	for _, line := range r.Lines {
		if line.Verdict != Unknown || line.Next == "" {
			t.Errorf("the line is %+v", line)
		}
	}
}

// With everything configured and away, the report comes within the deadline.
func TestAllAway(t *testing.T) {
	k := startKube(t)
	client := k.open(t)
	k.Close()
	gone := httptest.NewServer(nil)
	gone.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	r := Run(ctx, Config{
		Cluster: client, System: stream.Remote{Servers: []string{"nats://" + gone.Listener.Addr().String()}},
		Redis: "redis://" + gone.Listener.Addr().String(), Target: verify.Target{URL: gone.URL, Key: key},
	})
	if r.OK || r.Took > 4*time.Second {
		t.Errorf("the report is %+v", r)
	}
	want := map[string]Verdict{checkMeta: Fail, checkSync: Fail, checkStreams: Fail, checkCanary: Fail, checkRedis: Fail}
	for _, line := range r.Lines {
		w, ok := want[line.Check]
		if !ok {
			w = Unknown
		}
		if line.Verdict != w || line.Next == "" {
			t.Errorf("the line is %+v", line)
		}
	}
}
