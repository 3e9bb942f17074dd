package entitle

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/prometheus/client_golang/prometheus"
	goredis "github.com/redis/go-redis/v9"
	"golang.org/x/time/rate"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/admit/redis"
)

const (
	// askRedis is how long Redis may take to say whether a request is within its
	// customer's rate, connecting included. Past it the replica goes by itself.
	askRedis = 50 * time.Millisecond

	// probe is how often one request asks a Redis that is away whether it is back.
	probe = time.Second

	// maxLocal bounds the customers whose rate is kept here while Redis is away, about
	// 20 MB. Past it all begin anew.
	maxLocal = 100_000

	// ratePrefix is before a customer's id in Redis; the library puts "rate:" before it.
	ratePrefix = "customer:"
)

// RateLimiter bounds the requests of a customer by its plan. *Limiter is one.
type RateLimiter interface {
	// Allow takes one request. The error is an *kgents.Error with CodeRateLimited and
	// RetryAfter. H gets the RateLimit headers of the answer either way.
	Allow(ctx context.Context, customer string, h http.Header) error
}

// LimiterConfig is what a Limiter needs.
type LimiterConfig struct {
	Accounts   Accounts
	RedisURL   string // empty: each replica counts by itself
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Limiter lets through what a customer's plan allows a minute, and a burst after a
// pause, by GCRA (the generic cell rate algorithm) in Redis, which all replicas share.
// While Redis is away, at start or later, each replica counts by itself, so a customer
// gets up to as many times its rate as there are replicas; a request in a second asks
// whether Redis is back. A customer who isn't known has no limit here: its key is no
// longer let in either, as soon as that is known.
type Limiter struct {
	config LimiterConfig
	now    func() time.Time
	client *goredis.Client // nil without
	redis  *redis_rate.Limiter

	mu    sync.Mutex
	away  bool
	again time.Time // when Redis may be asked again
	local map[string]*bucket

	allowed, refused prometheus.Counter
	errors           prometheus.Counter
}

// bucket is one customer's rate, kept here.
type bucket struct {
	rate kgents.Rate
	*rate.Limiter
}

var _ RateLimiter = (*Limiter)(nil)

// NewLimiter returns a Limiter that asks Redis with its first request. The error is of
// an address that can't be used.
func NewLimiter(c LimiterConfig) (*Limiter, error) {
	l := &Limiter{config: c, now: time.Now, local: map[string]*bucket{}}
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "kgents_customer_requests_total",
		Help: "Requests of customers' keys, by whether they were within the plan's rate: allowed or refused.",
	}, []string{"result"})
	l.allowed, l.refused = requests.WithLabelValues("allowed"), requests.WithLabelValues("refused")
	l.errors = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "kgents_customer_rate_errors_total",
		Help: "Requests of customers whose rate Redis could not say, so that the replica went by itself.",
	})
	c.Registerer.MustRegister(requests, l.errors, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "kgents_customer_rate_shared",
		Help: "1 while replicas share customers' rates through Redis, 0 while each counts by itself.",
	}, func() float64 {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.client == nil || l.away {
			return 0
		}
		return 1
	}))
	if c.RedisURL == "" {
		return l, nil
	}
	options, err := redis.Options(c.RedisURL, askRedis)
	if err != nil {
		return nil, fmt.Errorf("REDIS_URL: %w", err)
	}
	l.client = goredis.NewClient(options)
	l.redis = redis_rate.NewLimiter(l.client)
	return l, nil
}

// Close closes the connections.
func (l *Limiter) Close() {
	if l.client != nil {
		_ = l.client.Close()
	}
}

// Allow implements RateLimiter.
func (l *Limiter) Allow(ctx context.Context, customer string, h http.Header) error {
	account, ok := l.config.Accounts.Account(customer)
	if !ok || account.Plan.Rate.PerMinute.Unlimited() {
		return nil
	}
	r := account.Plan.Rate
	r.Burst = max(1, r.Burst)
	perMinute := r.PerMinute.N()
	v := verdict{wait: time.Minute, reset: time.Minute} // of a plan that allows no request
	if perMinute > 0 {
		if v, ok = l.shared(ctx, customer, r); !ok {
			v = l.alone(customer, r)
		}
	}
	// draft-ietf-httpapi-ratelimit-headers-10: a quota of q requests in a window of w
	// seconds, of which r remain at once and t seconds pass until all do, or, when none
	// remain, until there is one.
	h.Set("RateLimit-Policy", fmt.Sprintf(`"plan";q=%d;w=60`, perMinute))
	if v.allowed {
		h.Set("RateLimit", fmt.Sprintf(`"plan";r=%d;t=%d`, v.left, seconds(v.reset)))
		l.allowed.Inc()
		return nil
	}
	h.Set("RateLimit", fmt.Sprintf(`"plan";r=0;t=%d`, seconds(v.wait)))
	l.refused.Inc()
	return &kgents.Error{
		Code:       kgents.CodeRateLimited,
		Message:    fmt.Sprintf("the plan %s allows %d requests a minute, %d at once: wait as Retry-After says", account.Plan.ID, perMinute, r.Burst),
		RetryAfter: v.wait,
	}
}

// verdict is what becomes of a request.
type verdict struct {
	allowed bool
	left    int64         // of the burst
	wait    time.Duration // until the next may come, of one that is refused
	reset   time.Duration // until the whole burst is there again
}

func seconds(d time.Duration) int64 { return int64(math.Ceil(max(0, d.Seconds()))) }

// shared asks Redis. It is false when Redis can't say.
func (l *Limiter) shared(ctx context.Context, customer string, r kgents.Rate) (verdict, bool) {
	if !l.here() {
		return verdict{}, false
	}
	// A client that goes away must not make Redis seem to.
	asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), askRedis)
	defer cancel()
	res, err := l.redis.Allow(asking, ratePrefix+customer, redis_rate.Limit{
		Rate: int(r.PerMinute.N()), Burst: int(r.Burst), Period: time.Minute,
	})
	l.answered(err)
	if err != nil {
		return verdict{}, false
	}
	return verdict{allowed: res.Allowed > 0, left: int64(res.Remaining), wait: res.RetryAfter, reset: res.ResetAfter}, true
}

// here says that Redis is to be asked: it isn't away, or it is time to look again, which
// one request does.
func (l *Limiter) here() bool {
	if l.client == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.away {
		return true
	}
	if now := l.now(); !now.Before(l.again) {
		l.again = now.Add(probe)
		return true
	}
	return false
}

// answered notes how a question to Redis went, and logs when that changes.
func (l *Limiter) answered(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil && l.away:
		l.away = false
		clear(l.local)
		l.config.Log.Info("replicas share customers' rates again")
	case err != nil:
		l.errors.Inc()
		l.again = l.now().Add(probe)
		if !l.away {
			l.away = true
			l.config.Log.Warn("Redis can't say whether customers are within their rates: each replica counts by itself until it can", "error", err)
		}
	}
}

// alone counts here.
func (l *Limiter) alone(customer string, r kgents.Rate) verdict {
	now, every := l.now(), rate.Limit(float64(r.PerMinute.N())/60)
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.local[customer]
	if b == nil || b.rate != r {
		if len(l.local) >= maxLocal {
			clear(l.local)
		}
		b = &bucket{r, rate.NewLimiter(every, int(r.Burst))}
		l.local[customer] = b
	}
	interval := time.Duration(float64(time.Second) / float64(every))
	allowed, tokens := b.AllowN(now, 1), b.TokensAt(now)
	v := verdict{allowed: allowed, left: int64(max(0, tokens)), reset: time.Duration((float64(r.Burst) - tokens) * float64(interval))}
	if !allowed {
		v.wait = time.Duration((1 - tokens) * float64(interval))
	}
	return v
}
