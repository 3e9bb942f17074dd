package redis_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kgents/kgents/admit"
	"github.com/kgents/kgents/admit/admittest"
	"github.com/kgents/kgents/admit/redis"
	"github.com/kgents/kgents/admit/redistest"
)

func TestMain(m *testing.M) {
	if url := os.Getenv("CLAIMER_URL"); url != "" {
		claimer(url)
		return
	}
	goleak.VerifyTestMain(m)
}

func open(t testing.TB, url string) *redis.Store {
	t.Helper()
	s, err := redis.New(url, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestConformance(t *testing.T) {
	server := redistest.Start(t)
	admittest.Run(t, admittest.Harness{
		Open: func(t *testing.T) admit.Store {
			server.Do("FLUSHALL")
			return open(t, server.URL())
		},
		Advance: func(d time.Duration) { time.Sleep(d + 50*time.Millisecond) }, // the server has its own clock
		Short:   200 * time.Millisecond,
	})
}

// The key, and that it expires, are what other systems rely on.
func TestKey(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server.URL())
	if isNew, err := s.CheckAndSet(t.Context(), "evt_1", admit.DefaultTTL); err != nil || !isNew {
		t.Fatalf("CheckAndSet = %v, %v", isNew, err)
	}
	if got := server.Do("TTL", "idempotency:evt_1"); got != ":86400\r\n" && got != ":86399\r\n" {
		t.Errorf("TTL idempotency:evt_1 = %q, want 24 h", got)
	}
	if got := server.Do("DBSIZE"); got != ":1\r\n" {
		t.Errorf("%q keys, want one", got)
	}
}

// A batch costs one round trip: the server reads all its commands at once.
func TestOneRoundTrip(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server.URL())
	if err := s.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for i := range 100 {
		ids = append(ids, fmt.Sprint("evt_", i))
	}
	reads := func() string {
		out, err := exec.Command("redis-cli", "-u", server.URL(), "INFO", "stats").Output()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(out)) {
			if v, ok := strings.CutPrefix(line, "total_reads_processed:"); ok {
				return strings.TrimSpace(v)
			}
		}
		t.Fatal("no total_reads_processed")
		return ""
	}
	var before, after, idle int
	_, _ = fmt.Sscan(reads(), &before)
	_, _ = fmt.Sscan(reads(), &idle)
	if _, err := s.Claim(t.Context(), "a", ids, time.Minute); err != nil {
		t.Fatal(err)
	}
	_, _ = fmt.Sscan(reads(), &after)
	if got := (after - idle) - (idle - before); got != 1 {
		t.Errorf("the server read %d times for one Claim of 100 identities, want once", got)
	}
}

// Processes that race for the same 10,000 identities: exactly one wins each.
func TestProcessesRace(t *testing.T) {
	server := redistest.Start(t)
	const processes = 2
	won := make([]map[string]bool, processes)
	var wg sync.WaitGroup
	for i := range processes {
		wg.Go(func() {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "CLAIMER_URL="+server.URL(), fmt.Sprint("CLAIMER_NAME=", i))
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("process %d: %v\n%s", i, err, out)
			}
			won[i] = map[string]bool{}
			for _, id := range strings.Fields(string(out)) {
				won[i][id] = true
			}
		})
	}
	wg.Wait()
	for n := range 10_000 {
		id := fmt.Sprint("evt_", n)
		if won[0][id] == won[1][id] {
			t.Fatalf("%s: won by the first process: %v, by the second: %v", id, won[0][id], won[1][id])
		}
	}
	t.Logf("the first process won %d, the second %d", len(won[0]), len(won[1]))
}

// claimer claims all identities with many goroutines and prints those it won.
func claimer(url string) {
	s, err := redis.New(url, 5*time.Second)
	if err != nil {
		panic(err)
	}
	defer s.Close()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for g := range 20 {
		wg.Go(func() {
			for at := range 100 {
				var ids []string
				for i := range 100 {
					ids = append(ids, fmt.Sprint("evt_", (at*100+i+g*500)%10_000))
				}
				states, err := s.Claim(context.Background(), fmt.Sprint(os.Getenv("CLAIMER_NAME"), "-", g), ids, time.Minute)
				if err != nil {
					panic(err)
				}
				mu.Lock()
				for i, state := range states {
					if state == admit.Won {
						fmt.Println(ids[i])
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

// What goes wrong at Redis is an error, in time, and says what without a secret.
func TestErrors(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		url  func(addr string) string
		do   func(server *redistest.Server)
		says string
	}{
		{name: "full", do: func(s *redistest.Server) { s.Do("CONFIG", "SET", "maxmemory", "1") }, says: "OOM command not allowed"},
		{name: "read-only replica", do: func(s *redistest.Server) { s.Do("REPLICAOF", "127.0.0.1", "1") }, says: "READONLY"},
		{name: "no password", args: []string{"--requirepass", "hunter2"}, says: "NOAUTH"},
		{name: "wrong password", args: []string{"--requirepass", "hunter2"}, url: func(addr string) string { return "redis://:hunter1@" + addr }, says: "WRONGPASS"},
		{name: "a database that isn't there", url: func(addr string) string { return "redis://" + addr + "/99" }, says: "out of range"},
		{name: "TLS to a server without", url: func(addr string) string { return "rediss://" + addr }, says: ""},
		{name: "dead", do: (*redistest.Server).Kill, says: "refused"},
		{name: "frozen", do: (*redistest.Server).Freeze, says: "did not answer within"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := redistest.Start(t, c.args...)
			if c.do != nil {
				c.do(server)
			}
			url := server.URL()
			if c.url != nil {
				url = c.url(server.Addr)
			}
			s := open(t, url)
			began := time.Now()
			_, checkErr := s.CheckAndSet(t.Context(), "1", time.Minute)
			_, claimErr := s.Claim(t.Context(), "a", []string{"1", "2"}, time.Minute)
			for name, err := range map[string]error{
				"CheckAndSet": checkErr, "Claim": claimErr,
				"Commit": s.Commit(t.Context(), "a", []string{"1"}, time.Minute),
				"Ping":   s.Ping(t.Context()),
			} {
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("%s: %v, want an error that says %q", name, err, c.says)
				}
				if err != nil && strings.Contains(err.Error(), "hunter") {
					t.Errorf("%s shows the password: %v", name, err)
				}
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("four calls took %v, each may take %v", took, redis.DefaultTimeout)
			}
		})
	}
}

// The store finds a server that has come back, without being made anew.
func TestReconnect(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server.URL())
	claim := func(id string) error {
		_, err := s.Claim(t.Context(), "a", []string{id}, time.Minute)
		return err
	}
	if err := claim("1"); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	if err := claim("2"); err == nil {
		t.Fatal("a claim without a server succeeded")
	}
	server.Restart()
	if err := eventually(func() error { return claim("3") }); err != nil {
		t.Errorf("after the restart: %v", err)
	}
	server.Freeze()
	if err := claim("4"); err == nil {
		t.Error("a claim of a frozen server succeeded")
	}
	server.Thaw()
	if err := eventually(func() error { return claim("5") }); err != nil {
		t.Errorf("after the thaw: %v", err)
	}
}

// A server that forgets the last second, as a failover does, makes committed
// identities new again. That is what the identity at the meter is for; here it
// is held fast that the store tells no other lie: what it remembers is done.
func TestFailoverForgets(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server.URL())
	for _, id := range []string{"old", "last-second"} {
		if err := s.Commit(t.Context(), "a", []string{id}, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	server.Do("DEL", "idempotency:last-second")
	states, err := s.Claim(t.Context(), "b", []string{"old", "last-second"}, time.Minute)
	if err != nil || states[0] != admit.Done || states[1] != admit.Won {
		t.Errorf("Claim = %v, %v, want done and won", states, err)
	}
}

func TestAddresses(t *testing.T) {
	for _, address := range []string{"", "localhost:6379", "http://localhost", "redis://user:hunter2@host:port/0", "redis://:hunter2@localhost/zero"} {
		s, err := redis.New(address, 0)
		if err == nil {
			s.Close()
			t.Errorf("%q was taken", address)
			continue
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error shows the password: %v", err)
		}
		if !strings.Contains(err.Error(), "redis://user:password@host:6379/0") {
			t.Errorf("the error doesn't say what an address looks like: %v", err)
		}
	}
}

func TestZeroStore(t *testing.T) {
	var s redis.Store
	if _, err := s.Claim(t.Context(), "a", []string{"1"}, time.Minute); !errors.Is(err, admit.ErrClosed) {
		t.Errorf("Claim before connect: %v, want ErrClosed", err)
	}
}

func BenchmarkAdmission(b *testing.B) {
	server := redistest.Start(b)
	s := open(b, server.URL())
	n := 0
	for b.Loop() {
		ids := make([]string, 100)
		for i := range ids {
			n++
			ids[i] = fmt.Sprint("agent-runner 01934b2e-7c1e-7a3b-0000-", n)
		}
		if _, err := s.Claim(b.Context(), "a", ids, admit.Lease); err != nil {
			b.Fatal(err)
		}
		if err := s.Commit(b.Context(), "a", ids, admit.DefaultTTL); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "ids/s")
}

func eventually(do func() error) error {
	var err error
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = do(); err == nil {
			return nil
		}
	}
	return err
}
