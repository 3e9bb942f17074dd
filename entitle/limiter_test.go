package entitle

import (
	"bytes"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/joho/godotenv"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/admit/redistest"
	"github.com/kgents/kgents/secrets"
)

func newLimiter(t *testing.T, p *people, url string) (*Limiter, *logged) {
	t.Helper()
	out := &logged{}
	l, err := NewLimiter(LimiterConfig{Accounts: p, RedisURL: url, Log: slog.New(slog.NewTextHandler(out, nil)), Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l, out
}

type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logged) lines() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), "\n")
}

// allowed is how many of n requests at once are let through by the limiters in turn.
func allowed(t *testing.T, n int, customer string, limiters ...*Limiter) (ok int) {
	t.Helper()
	for i := range n {
		h := http.Header{}
		err := limiters[i%len(limiters)].Allow(t.Context(), customer, h)
		if err == nil {
			ok++
		} else if e := problemOf(err); e == nil || e.Code != kgents.CodeRateLimited || e.RetryAfter <= 0 || e.RetryAfter > time.Minute {
			t.Errorf("refused with %+v", err)
		}
		if h.Get("RateLimit-Policy") != `"plan";q=60;w=60` || !strings.HasPrefix(h.Get("RateLimit"), `"plan";r=`) {
			t.Errorf("headers %v", h)
		}
	}
	return ok
}

// Two replicas let through one burst together.
func TestReplicasShareARate(t *testing.T) {
	server := redistest.Start(t)
	p := newPeople()
	p.put("acme", "free") // 60 a minute, 10 at once
	p.put("other", "free")
	one, _ := newLimiter(t, p, server.URL())
	two, _ := newLimiter(t, p, server.URL())
	if n := allowed(t, 30, "acme", one, two); n < 10 || n > 12 { // one a second may come besides
		t.Errorf("%d of 30 were let through, want 10", n)
	}
	if n := allowed(t, 1, "other", two); n != 1 {
		t.Error("another customer is refused")
	}
	if v := testutil.ToFloat64(one.errors); v != 0 {
		t.Errorf("%v errors", v)
	}
}

// While Redis is away each replica goes by itself, at once, and says so once; when it
// is back, they share again.
func TestRedisAwayAndBack(t *testing.T) {
	for name, outage := range map[string]struct{ begin, end func(*redistest.Server) }{
		"killed": {(*redistest.Server).Kill, func(s *redistest.Server) { s.Restart() }},
		"frozen": {(*redistest.Server).Freeze, (*redistest.Server).Thaw},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			p := newPeople()
			p.put("acme", "free")
			p.put("probe", "teams")
			l, log := newLimiter(t, p, server.URL())
			now := time.Now()
			l.now = func() time.Time { return now }
			if n := allowed(t, 3, "acme", l); n != 3 {
				t.Fatalf("%d of 3 were let through", n)
			}
			outage.begin(server)
			start := time.Now()
			if n := allowed(t, 30, "acme", l); n != 10 {
				t.Errorf("%d of 30 were let through without Redis, want 10", n)
			}
			if took := time.Since(start); took > time.Second { // the first waits 50 ms, which a busy machine stretches
				t.Errorf("30 requests took %v", took)
			}
			if log.lines() != 1 {
				t.Errorf("%d lines are logged, want 1:\n%s", log.lines(), log.b.String())
			}
			if n := testutil.ToFloat64(l.errors); n != 1 {
				t.Errorf("Redis was asked %v times in vain, want 1", n)
			}
			outage.end(server)
			// A request in a second looks.
			for range 20 {
				now = now.Add(probe)
				_ = l.Allow(t.Context(), "acme", http.Header{})
				if l.here() && !l.away {
					break
				}
			}
			if l.away {
				t.Fatal("Redis is back and not used")
			}
			if log.lines() != 2 {
				t.Errorf("%d lines are logged, want 2:\n%s", log.lines(), log.b.String())
			}
		})
	}
}

func TestRates(t *testing.T) {
	p := newPeople()
	p.put("acme", "free")
	p.put("big", "teams") // unlimited
	l, _ := newLimiter(t, p, "")
	now := time.Unix(1_800_000_000, 0)
	l.now = func() time.Time { return now }
	h := http.Header{}
	for range 1000 {
		if err := l.Allow(t.Context(), "big", h); err != nil || len(h) > 0 {
			t.Fatalf("without a limit: %v, %v", err, h)
		}
	}
	if err := l.Allow(t.Context(), "nobody", h); err != nil {
		t.Errorf("somebody unknown: %v", err)
	}
	if n := allowed(t, 20, "acme", l); n != 10 {
		t.Errorf("%d at once, want 10", n)
	}
	err := l.Allow(t.Context(), "acme", h)
	if e := problemOf(err); e == nil || e.RetryAfter != time.Second {
		t.Errorf("refused with %v, want to wait a second", err)
	}
	if h.Get("RateLimit") != `"plan";r=0;t=1` {
		t.Errorf("headers %v", h)
	}
	now = now.Add(3 * time.Second)
	if n := allowed(t, 20, "acme", l); n != 3 {
		t.Errorf("%d after 3 s, want 3", n)
	}
	p.put("acme", "pro") // counts at once
	if err := l.Allow(t.Context(), "acme", h); err != nil || h.Get("RateLimit-Policy") != `"plan";q=1000;w=60` {
		t.Errorf("after the upgrade: %v, %v", err, h)
	}
	// A plan that allows nothing allows nothing.
	p.of["acme"] = Account{ID: "acme", Plan: kgents.Plan{ID: "none"}}
	if e := problemOf(l.Allow(t.Context(), "acme", h)); e == nil || e.RetryAfter != time.Minute {
		t.Errorf("a rate of 0: %v", e)
	}
}

func TestLimiterRefusesAddress(t *testing.T) {
	_, err := NewLimiter(LimiterConfig{RedisURL: "http://user:hush@x", Registerer: prometheus.NewRegistry()})
	if err == nil || strings.Contains(err.Error(), "hush") {
		t.Errorf("the error is %v", err)
	}
}

// The user that `kgents secrets` makes may do what a rate needs.
func TestRateByTheDeploymentsUser(t *testing.T) {
	dir := t.TempDir()
	if _, err := secrets.Init(dir, "test"); err != nil {
		t.Fatal(err)
	}
	server := redistest.Start(t, "--aclfile", filepath.Join(dir, "redis/users.acl"))
	env, err := godotenv.Read(filepath.Join(dir, "redis.env"))
	if err != nil {
		t.Fatal(err)
	}
	p := newPeople()
	p.put("acme", "free")
	l, log := newLimiter(t, p, strings.Replace(env["REDIS_URL"], "redis:6379", server.Addr, 1))
	if n := allowed(t, 15, "acme", l); n < 10 || n > 12 {
		t.Errorf("%d of 15 were let through, want 10", n)
	}
	if log.lines() > 0 {
		t.Errorf("Redis can't say:\n%s", log.b.String())
	}
}
