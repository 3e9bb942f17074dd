package receive

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/kgents/kgents"
)

// RateLimit bounds the requests of one API key to this process, over all routes
// that need a key. It is there so that one key's loop can't take the replica from
// the others; what a customer has paid for is not its business.
type RateLimit struct {
	PerSecond int // requests a second; 0 = no limit
	Burst     int // requests at once after a pause; 0 = PerSecond
}

// limits are the buckets of all keys, in the keys' order: as many as there are
// keys, whatever is sent. A request without a good key has none, and costs a hash.
type limits struct {
	buckets []*rate.Limiter
	refused []prometheus.Counter // by the key's position
	policy  string               // for the header RateLimit-Policy
}

func newLimits(l RateLimit, keys int, refused *prometheus.CounterVec) *limits {
	out := &limits{}
	for i := range keys {
		// The position in API_KEYS, from 1, tells the operator whose key it is, and
		// nobody else anything.
		out.refused = append(out.refused, refused.WithLabelValues(strconv.Itoa(i+1)))
	}
	if l.PerSecond <= 0 {
		return out
	}
	if l.Burst <= 0 {
		l.Burst = l.PerSecond
	}
	for range keys {
		out.buckets = append(out.buckets, rate.NewLimiter(rate.Limit(l.PerSecond), l.Burst))
	}
	out.policy = fmt.Sprintf(`"key";q=%d;w=1`, l.PerSecond)
	return out
}

// take takes one request from key's bucket, or sets the headers that tell of the
// limit and returns an error. The headers are those of
// draft-ietf-httpapi-ratelimit-headers-10: a quota of q requests in a window of w
// seconds, of which r remain and t seconds pass until there are more.
func (l *limits) take(h http.Header, key int) error {
	if len(l.buckets) == 0 || l.buckets[key].Allow() {
		return nil
	}
	l.refused[key].Inc()
	h.Set("RateLimit-Policy", l.policy)
	h.Set("RateLimit", `"key";r=0;t=1`)
	return &kgents.Error{
		Code:       kgents.CodeRateLimited,
		Message:    "this API key sends too many requests a second: wait as Retry-After says, and send several events in one request",
		RetryAfter: time.Second, // at one request a second and more, the next is due within it
	}
}
