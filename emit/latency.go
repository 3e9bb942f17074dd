package emit

import (
	"encoding/json"
	"math"
	"math/bits"
	"strings"
	"time"
)

// Latency sums up how long requests took.
type Latency struct {
	P50 time.Duration `json:"p50"`
	P90 time.Duration `json:"p90"`
	P99 time.Duration `json:"p99"`
	Max time.Duration `json:"max"`
}

// histogram counts durations in buckets of about 6 % width: 16 for each power of
// two microseconds. It has a fixed size whatever the length of a run.
type histogram struct {
	counts [64 * 16]int
	total  int
	most   time.Duration
}

func (h *histogram) add(d time.Duration) {
	h.counts[bucket(d)]++
	h.total++
	h.most = max(h.most, d)
}

func bucket(d time.Duration) int {
	us := uint64(max(1, d.Microseconds()))
	power := bits.Len64(us) - 1
	sub := 0
	if power >= 4 {
		sub = int(us>>(power-4)) & 15
	} else {
		sub = int(us<<(4-power)) & 15
	}
	return power*16 + sub
}

// upper is the largest duration of a bucket.
func upper(b int) time.Duration {
	power, sub := b/16, b%16
	us := math.Ldexp(1+float64(sub+1)/16, power)
	return time.Duration(us * float64(time.Microsecond))
}

func (h *histogram) quantile(q float64) time.Duration {
	rank := int(math.Ceil(q * float64(h.total)))
	seen := 0
	for b, n := range h.counts {
		if seen += n; n > 0 && seen >= rank {
			return min(upper(b), h.most)
		}
	}
	return h.most
}

func (h *histogram) summary() Latency {
	return Latency{h.quantile(0.5), h.quantile(0.9), h.quantile(0.99), h.most}
}

// problemDetail reads what an RFC 9457 document, or whatever came, says.
func problemDetail(body []byte) string {
	var p struct {
		Detail, Title string
		Errors        []struct{ Pointer, Detail string }
	}
	if json.Unmarshal(body, &p) == nil && p.Detail+p.Title != "" {
		s := p.Detail
		if s == "" {
			s = p.Title
		}
		if len(p.Errors) > 0 {
			s += " — " + strings.TrimSpace(p.Errors[0].Pointer+" "+p.Errors[0].Detail)
		}
		return s
	}
	s := strings.ToValidUTF8(strings.TrimSpace(string(body)), "?")
	return s[:min(len(s), 200)]
}
