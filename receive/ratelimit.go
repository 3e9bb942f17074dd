package receive

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/kgents/kgents"
)

// RateLimit bounds the requests of one API key to this process, over all routes
// that need a key; all keys of one customer have one limit together. It is there so
// that one sender's loop can't take the replica from the others; what a customer has
// paid for is not its business.
type RateLimit struct {
	PerSecond int // requests a second; 0 = no limit
	Burst     int // requests at once after a pause; 0 = PerSecond
}

const (
	// maxSenders bounds those of whom something is remembered, besides the operator's
	// configured keys. Past it those who have sent nothing for senderIdle are
	// forgotten; if nobody has, the rest share one limit and one share of the room.
	maxSenders = 10_000
	senderIdle = time.Minute

	// sweepEvery is how often those are looked for.
	sweepEvery = time.Second
)

// sender is what is remembered of who sends: one of the operator's keys, or a customer.
type sender struct {
	room    budget        // the share of it that this sender may take
	bucket  *rate.Limiter // nil without a limit
	refused prometheus.Counter
	last    atomic.Int64 // when it has sent last, Unix seconds
}

// senders are all of them. A request without a good key has none, and costs a hash.
type senders struct {
	limit   RateLimit
	policy  string // for the header RateLimit-Policy
	bytes   int64  // of each one's room
	count   int64
	refused *prometheus.CounterVec
	fixed   []*sender // of the operator's keys, in their order

	mu    sync.RWMutex
	known map[string]*sender // of a ring's keys
	rest  *sender            // of those who are too many
	swept time.Time
}

func newSenders(l RateLimit, keys Keys, refused *prometheus.CounterVec, bytes, count int64) *senders {
	if l.Burst <= 0 {
		l.Burst = l.PerSecond
	}
	all := &senders{
		limit: l, policy: fmt.Sprintf(`"key";q=%d;w=1`, l.PerSecond), bytes: bytes, count: count, refused: refused, known: map[string]*sender{},
	}
	for i := range keys.sums {
		// The position in API_KEYS, from 1, tells the operator whose key it is, and
		// nobody else anything.
		all.fixed = append(all.fixed, all.make(strconv.Itoa(i+1)))
	}
	if keys.ring != nil {
		all.rest = all.make(labelCustomer)
		refused.WithLabelValues(labelOperator)
	}
	return all
}

// The label of those who are not in API_KEYS. There may be many: they have no series
// each.
const (
	labelCustomer = "customer"
	labelOperator = "operator"
)

func (all *senders) make(label string) *sender {
	s := &sender{refused: all.refused.WithLabelValues(label)}
	s.room.maxBytes, s.room.maxRequests = all.bytes, all.count
	if all.limit.PerSecond > 0 {
		s.bucket = rate.NewLimiter(rate.Limit(all.limit.PerSecond), all.limit.Burst)
	}
	return s
}

// of returns the sender that a caller is; at is the position of its key in the
// operator's, -1 for one of the ring's.
func (all *senders) of(caller kgents.Principal, at int) *sender {
	if at >= 0 {
		return all.fixed[at]
	}
	name, label := caller.Customer, labelCustomer
	if caller.Operator() {
		name, label = " "+caller.Key, labelOperator // which is no customer's id
	}
	now := time.Now()
	all.mu.RLock()
	s := all.known[name]
	all.mu.RUnlock()
	if s == nil {
		s = all.add(name, label, now)
	}
	if at := now.Unix(); s.last.Load() != at {
		s.last.Store(at)
	}
	return s
}

func (all *senders) add(name, label string, now time.Time) *sender {
	all.mu.Lock()
	defer all.mu.Unlock()
	if s := all.known[name]; s != nil {
		return s
	}
	if len(all.known) >= maxSenders && now.Sub(all.swept) >= sweepEvery {
		all.swept = now
		for name, s := range all.known {
			if s.room.requests.Load() == 0 && now.Unix()-s.last.Load() >= int64(senderIdle/time.Second) {
				delete(all.known, name)
			}
		}
	}
	if len(all.known) >= maxSenders {
		return all.rest
	}
	s := all.make(label)
	all.known[name] = s
	return s
}

// take takes one request from the sender's bucket, or sets the headers that tell of the
// limit and returns an error. The headers are those of
// draft-ietf-httpapi-ratelimit-headers-10: a quota of q requests in a window of w
// seconds, of which r remain and t seconds pass until there are more.
func (all *senders) take(h http.Header, s *sender) error {
	if s.bucket == nil || s.bucket.Allow() {
		return nil
	}
	s.refused.Inc()
	h.Set("RateLimit-Policy", all.policy)
	h.Set("RateLimit", `"key";r=0;t=1`)
	return &kgents.Error{
		Code:       kgents.CodeRateLimited,
		Message:    "this API key sends too many requests a second: wait as Retry-After says, and send several events in one request",
		RetryAfter: time.Second, // at one request a second and more, the next is due within it
	}
}
