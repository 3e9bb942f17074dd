package api

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/kgents/kgents"
)

// maxOften bounds who is remembered by an Often. Past it all are forgotten, and may begin
// again.
const maxOften = 10_000

// Often bounds how often each customer makes what leaves a trace in a bucket for good when
// it is deleted: who makes and deletes in a loop would fill the disk that all share. It
// counts in this replica alone, and not the operator's keys. The zero value allows nothing.
type Often struct {
	PerHour int // on the long run
	AtOnce  int

	mu sync.Mutex
	of map[string]*rate.Limiter
}

// Allow is nil if the caller may make one more, else an *kgents.Error with CodeRateLimited.
func (o *Often) Allow(caller kgents.Principal) error {
	if caller.Operator() {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	l := o.of[caller.Customer]
	if l == nil {
		if o.of == nil || len(o.of) >= maxOften {
			o.of = map[string]*rate.Limiter{}
		}
		l = rate.NewLimiter(rate.Limit(float64(o.PerHour)/time.Hour.Seconds()), o.AtOnce)
		o.of[caller.Customer] = l
	}
	if l.Allow() {
		return nil
	}
	e := kgents.Errorf(kgents.CodeRateLimited, "a customer makes %d of these an hour at most, on the long run: wait as Retry-After says", o.PerHour)
	e.RetryAfter = time.Hour / time.Duration(max(1, o.PerHour))
	return e
}
