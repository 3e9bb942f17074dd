package meter

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// quota is what the headers of an answer say of a limit.
type quota struct {
	limit     int           // requests a window; 0 = not said
	remaining int           // of them; -1 = not said
	reset     time.Duration // until the window ends; 0 = not said or past; at most maxRetryAfter
}

// epochSeconds and epochMillis are where a number is no longer a count of seconds
// from now, of three years, but a time: of 1973 in seconds and in milliseconds.
const (
	epochSeconds = 1e8
	epochMillis  = 1e11
)

// maxQuota caps counts: more requests than that are as good as no limit.
const maxQuota = 1 << 30

// readQuota reads X-RateLimit-Limit, -Remaining and -Reset, as OpenMeter documents
// them (https://openmeter.io/docs/cloud/api/rate-limiting: requests a second, what is
// left of them, and a Unix timestamp), and where one of them is absent or makes no
// sense, the same without X-, as drafts of the IETF have them. Reset may also be
// seconds from now, in milliseconds since 1970, or a date: gateways before the meter
// do as they like.
func readQuota(h http.Header, now time.Time) quota {
	q := quota{remaining: -1}
	if n, ok := readCount(h, "Limit"); ok {
		q.limit = n
	}
	if n, ok := readCount(h, "Remaining"); ok {
		q.remaining = n
	}
	for _, prefix := range []string{"X-Ratelimit-", "Ratelimit-"} {
		if d, ok := readReset(h.Get(prefix+"Reset"), now); ok {
			q.reset = d
			break
		}
	}
	return q
}

func readCount(h http.Header, name string) (int, bool) {
	for _, prefix := range []string{"X-Ratelimit-", "Ratelimit-"} {
		// A draft allows parameters behind the number.
		v, _, _ := strings.Cut(h.Get(prefix+name), ",")
		v, _, _ = strings.Cut(v, ";")
		if n, err := strconv.ParseFloat(strings.TrimSpace(v), 64); err == nil && n >= 0 { // not NaN
			return int(min(n, maxQuota)), true
		}
	}
	return 0, false
}

func readReset(v string, now time.Time) (time.Duration, bool) {
	if t, err := http.ParseTime(v); err == nil {
		return bounded(t.Sub(now).Seconds()), true
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
	switch {
	case err != nil || math.IsNaN(n) || n < 0:
		return 0, false
	case n >= epochMillis:
		n = n/1000 - float64(now.UnixMilli())/1000
	case n >= epochSeconds:
		n -= float64(now.UnixMilli()) / 1000
	}
	return bounded(n), true
}

// bounded makes a duration of seconds that a stranger gave, in whole milliseconds: a
// request a moment before the window ends would be one too many in it.
func bounded(seconds float64) time.Duration {
	return time.Duration(math.Ceil(min(max(0, seconds), maxRetryAfter.Seconds())*1000)) * time.Millisecond
}
