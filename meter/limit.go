package meter

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
)

// Limits is what a client keeps to before the meter tells it to. An account's limit
// is shared by every process that uses it: each takes its part.
type Limits struct {
	Rate  float64 // requests a second, 0 = none
	Burst int     // at once after a pause, 0 = 1

	Log        *slog.Logger          // nil: waits are not logged
	Registerer prometheus.Registerer // nil: waits are not counted
}

// Who makes a request wait, as the metric's label says it.
const (
	byClient = "client" // Limits.Rate
	byMeter  = "meter"  // what the meter has answered
)

const (
	// A pause that the meter asks for is made longer by a share of itself, at most
	// maxSpread, so that replicas which were told the same don't come back in step.
	spreadShare = 10
	maxSpread   = time.Second

	// waitStep is how often a wait adds itself to the metric: one of five minutes
	// must be seen before it ends.
	waitStep = time.Second

	// A line is logged when requests have waited for worthALine in all, and not again
	// for quiet.
	worthALine = 5 * time.Second
	quiet      = 10 * time.Minute
)

// limiter lets requests go when neither our own rate nor what the meter has
// answered speaks against it. Its waits end with the request's context. The zero
// value of everything but windows and changed has no limit of its own.
type limiter struct {
	own    *rate.Limiter // nil: none
	log    *slog.Logger
	waited *prometheus.CounterVec // nil: not counted

	mu      sync.Mutex
	paused  time.Time // nothing is sent before
	status  int       // of the answer that asked for it
	windows map[string]*window
	changed chan struct{} // closed when an answer has come

	since  time.Time     // the last line in the log, or the first wait
	unsaid time.Duration // waits since then
}

// window is what the meter has said of one operation's limit. Operations have
// limits of their own.
type window struct {
	quota  int       // requests a window, 0 = not known
	left   int       // of them at the last answer
	until  time.Time // when left is quota again; past or zero: left says nothing
	flying int       // sent and not answered
}

func newLimiter(l Limits) *limiter {
	out := &limiter{log: l.Log, windows: map[string]*window{}, changed: make(chan struct{})}
	if l.Rate > 0 {
		out.own = rate.NewLimiter(rate.Limit(l.Rate), max(1, l.Burst))
	}
	if l.Registerer != nil {
		out.waited = prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kgents_openmeter_throttled_seconds_total",
			Help: "Time that requests to the meter waited for a limit, before they were sent: client is OPENMETER_RATE_LIMIT, meter is what the meter's answers asked for. Several requests can wait at once.",
		}, []string{"by"})
		for _, by := range []string{byClient, byMeter} {
			out.waited.WithLabelValues(by)
		}
		l.Registerer.MustRegister(out.waited)
	}
	return out
}

// Limit makes the client keep to l from now on, and returns it. Call it once, before
// the first request. Without it the client still keeps to what the meter answers:
// after a 429 or 503 with Retry-After nothing is sent until then, and after an answer
// with X-RateLimit-Remaining: 0 no request of its kind until X-RateLimit-Reset, in
// either case for at most 5 minutes.
func (c *Client) Limit(l Limits) *Client {
	c.limits = newLimiter(l)
	return c
}

// acquire waits until a request of the operation may be sent; answered or lost must
// follow. It fails with class Retry when ctx ends first, and at once when it would
// end before a wait that is known to be longer. Ours is false for a request that our
// own rate doesn't count.
func (l *limiter) acquire(ctx context.Context, operation string, ours bool) error {
	for {
		took, err := l.enter(ctx, operation)
		if err != nil {
			return err
		}
		if !ours || l.own == nil {
			return nil
		}
		turn := l.own.Reserve()
		wait := turn.Delay()
		if wait == 0 {
			return nil
		}
		// The place is given back for as long as the turn hasn't come: others may be
		// allowed meanwhile, and what the meter answers meanwhile counts.
		l.leave(took)
		if err := l.sleep(ctx, wait, byClient, nil, func() error {
			return &Error{Class: Retry, Err: fmt.Errorf("OPENMETER_RATE_LIMIT lets the request go only in %v", wait.Round(time.Millisecond))}
		}); err != nil {
			turn.Cancel()
			return err
		}
		if l.tryEnter(operation) {
			return nil
		}
		// A pause began meanwhile. The turn is lost, lest everything that waited for
		// one goes at its end.
	}
}

// enter waits for what the meter has asked for.
func (l *limiter) enter(ctx context.Context, operation string) (*window, error) {
	for {
		l.mu.Lock()
		w, wait, refusal := l.standing(operation, time.Now())
		if wait <= 0 {
			w.flying++
			l.mu.Unlock()
			return w, nil
		}
		changed := l.changed
		l.mu.Unlock()
		if err := l.sleep(ctx, wait, byMeter, changed, refusal); err != nil {
			return nil, err
		}
	}
}

func (l *limiter) tryEnter(operation string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	w, wait, _ := l.standing(operation, time.Now())
	if wait > 0 {
		return false
	}
	w.flying++
	return true
}

// standing is the operation's window, and how long nothing may be sent in it unless
// an answer comes first. The refusal is for a caller who can't wait that long; nil
// where an answer may come first.
func (l *limiter) standing(operation string, now time.Time) (*window, time.Duration, func() error) {
	w := l.windows[operation]
	if w == nil {
		w = &window{}
		l.windows[operation] = w
	}
	if wait := l.paused.Sub(now); wait > 0 {
		return w, wait, func() error {
			return &Error{Status: l.status, Class: Retry, RetryAfter: wait,
				Detail: fmt.Sprintf("it asked for a pause that ends in %v, so nothing was sent", wait.Round(time.Millisecond))}
		}
	}
	switch {
	case now.Before(w.until) && w.left-w.flying <= 0:
		return w, w.until.Sub(now), nil
	case !now.Before(w.until) && w.quota > 0 && w.flying >= w.quota:
		// A window has begun of which nothing is known but its size.
		return w, waitStep, nil
	}
	return w, 0, nil
}

// answered takes in what an answer says of the meter's limits.
func (l *limiter) answered(operation string, status int, h http.Header, now time.Time) {
	q := readQuota(h, now)
	pause := time.Duration(0)
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		pause = retryAfter(h, now)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.windows[operation]
	w.flying--
	if q.limit > 0 {
		w.quota = q.limit
	}
	if status == http.StatusTooManyRequests && q.reset > 0 {
		q.remaining = 0 // whatever it says
	}
	// Within a window what is left only shrinks: an answer with more was overtaken by
	// another, or is the next window's a little early.
	if q.remaining >= 0 && q.reset > 0 && (!now.Before(w.until) || q.remaining <= w.left) {
		w.left, w.until = q.remaining, now.Add(q.reset)
	}
	if pause > 0 {
		pause += rand.N(min(pause/spreadShare, maxSpread) + 1)
		if until := now.Add(pause); until.After(l.paused) {
			l.paused, l.status = until, status
		}
	}
	l.wake()
}

// lost is for a request without an answer. The meter may have counted it.
func (l *limiter) lost(operation string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.windows[operation]
	w.flying--
	w.left = max(0, w.left-1)
	l.wake()
}

// leave is for a request that wasn't sent.
func (l *limiter) leave(w *window) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w.flying--
	l.wake()
}

func (l *limiter) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// sleep waits for d, less if woken, and says so in metric and log. It doesn't begin
// when ctx is known to end first and refusal says what to answer then.
func (l *limiter) sleep(ctx context.Context, d time.Duration, by string, woken <-chan struct{}, refusal func() error) error {
	if deadline, ok := ctx.Deadline(); ok && refusal != nil && time.Until(deadline) < d {
		return refusal()
	}
	for left := d; left > 0; {
		start := time.Now()
		timer := time.NewTimer(min(left, waitStep))
		awake := false
		select {
		case <-ctx.Done():
		case <-woken:
			awake = true
		case <-timer.C:
		}
		timer.Stop()
		slept := time.Since(start)
		left -= slept
		l.note(by, slept)
		if err := ctx.Err(); err != nil {
			return &Error{Class: Retry, Err: err}
		}
		if awake {
			return nil
		}
	}
	return nil
}

// note counts a wait, and logs when there was enough of it.
func (l *limiter) note(by string, d time.Duration) {
	if l.waited != nil {
		l.waited.WithLabelValues(by).Add(d.Seconds())
	}
	if l.log == nil {
		return
	}
	l.mu.Lock()
	now := time.Now()
	first := l.since.IsZero()
	if first {
		l.since = now.Add(-quiet)
	}
	l.unsaid += d
	say := l.unsaid >= worthALine && now.Sub(l.since) >= quiet
	waited := l.unsaid
	if say {
		l.since, l.unsaid = now, 0
	}
	l.mu.Unlock()
	if !say {
		return
	}
	text := "requests to the meter wait for its limit: events are metered late, none is lost; raise OPENMETER_BATCH_SIZE, or ask for a higher limit"
	if by == byClient {
		text = "requests to the meter wait for OPENMETER_RATE_LIMIT: events are metered late, none is lost; raise OPENMETER_BATCH_SIZE, or the limit if the account's allows it"
	}
	l.log.Warn(text, "waited", waited.Round(time.Millisecond), "by", by)
}
