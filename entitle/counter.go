package entitle

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kgents/kgents"
)

const (
	// maxDeltas bounds what a counter keeps one by one of what the stream has shown and
	// the meter may not have counted. Past it neighbours become one, which makes a
	// refresh less exact until the sink has passed both.
	maxDeltas = 256

	// maxHolds bounds the reservations of a counter. Past it a new one joins the last,
	// and both end with the later of them.
	maxHolds = 1024
)

// customer is what is known of one. Counters are few, one a metered feature of the
// catalog.
type customer struct {
	id     string
	queued atomic.Bool // in Engine.active

	mu       sync.Mutex
	counters []*counter
	seen     time.Time       // when somebody asked, or used something
	of       *kgents.Catalog // whose features the counters are
}

// counter is what a customer has used of a feature in a period: base, which the meter
// has said, and what the stream has shown since. The customer's lock guards it.
type counter struct {
	feature string
	meter   string
	from,
	to int64 // the period in minutes, its end not included

	base  float64
	known bool      // the meter has said base for this period
	asked time.Time // when it did

	floor  uint64  // everything up to this message is in base
	since  uint64  // everything after this message is in deltas, if not in base
	deltas []delta // after floor, in the order of the stream
	tail   float64 // their sum in the period

	due   time.Time // when the meter is to be asked again
	pause time.Duration

	holds []*hold

	// Alerts: the percent that was told last for the period and limit, and the usage at
	// which the next is due.
	told      int
	toldAt    time.Time
	toldLimit int64
	next      float64
}

// noAlert is a usage that nobody reaches.
var noAlert = math.Inf(1)

// delta is what a message has added in a minute.
type delta struct {
	seq    uint64
	minute int64
	n      float64
}

// hold is a reservation.
type hold struct {
	n     int64
	until time.Time
	after uint64 // it ends when the tail has read this message; 0 = not known yet

	released bool
	joined   bool // of several reservations, which only the time ends
}

// counter returns the counter of a feature, or nil.
func (c *customer) counter(feature string) *counter {
	for _, k := range c.counters {
		if k.feature == feature {
			return k
		}
	}
	return nil
}

// window is the period, in minutes, in which now lies: cut to the minute, as the
// meter's queries are.
func window(a Account, per string, now time.Time) (from, to int64) {
	if per == kgents.PerDay {
		day := now.UTC().Truncate(24 * time.Hour)
		return minuteOf(day), minuteOf(day) + 24*60
	}
	start, end := a.PeriodStart, a.PeriodEnd
	if start.IsZero() || !start.Before(end) {
		y, m, _ := now.UTC().Date()
		start = time.Date(y, m, 1, 0, 0, 0, 0, time.UTC)
		end = start.AddDate(0, 1, 0)
	}
	start, end = kgents.UsagePeriod(start, end, now)
	return minuteOf(start), minuteOf(end)
}

// turn makes the counter one of the period from, to. At is the message that the tail
// is at.
func (k *counter) turn(from, to int64, at uint64) {
	if from == k.from && to == k.to {
		return
	}
	switch {
	case k.known && from == k.from && minuteOf(k.asked) < min(to, k.to):
		// It ends at another time: what was counted is the same.
	case k.known && from >= k.to && minuteOf(k.asked) < from:
		k.base = 0 // the next period: nothing of it was there when the meter was asked
	case from < k.from:
		// A longer one: at least what is known. What the stream has shown of its
		// beginning has not been kept.
		k.known, k.since = false, max(k.since, at)
	default:
		k.base, k.known = 0, false
	}
	k.from, k.to = from, to
	k.told, k.next = 0, noAlert
	k.due, k.pause = time.Time{}, 0
	k.sum()
}

// sum adds up the deltas of the period.
func (k *counter) sum() {
	k.tail = 0
	for _, d := range k.deltas {
		if k.from <= d.minute && d.minute < k.to {
			k.tail = bounded(k.tail + d.n)
		}
	}
}

// add notes what message seq has used. It says whether the period's usage has come to
// where an alert may be due.
func (k *counter) add(seq uint64, minute int64, n float64) bool {
	if seq <= k.floor || minute < k.from {
		return false // the meter has said it, or it is of a period that is over
	}
	if last := len(k.deltas) - 1; last >= 0 && k.deltas[last].seq == seq && k.deltas[last].minute == minute {
		k.deltas[last].n = bounded(k.deltas[last].n + n)
	} else {
		if len(k.deltas) >= maxDeltas {
			k.merge()
		}
		k.deltas = append(k.deltas, delta{seq, minute, n})
	}
	if minute < k.to {
		k.tail = bounded(k.tail + n)
	}
	return k.base+k.tail >= k.next
}

// merge halves the list. Events of the period join each other, and so do those that
// are of a later one.
func (k *counter) merge() {
	out := k.deltas[:0]
	var open [2]int // index+1 in out of one that waits for a neighbour: of this period, of later ones
	for _, d := range k.deltas {
		class := 0
		if d.minute >= k.to {
			class = 1
		}
		if i := open[class]; i > 0 {
			o := &out[i-1]
			o.seq, o.n = max(o.seq, d.seq), bounded(o.n+d.n)
			if class == 1 {
				o.minute = min(o.minute, d.minute)
			}
			open[class] = 0
			continue
		}
		out = append(out, d)
		open[class] = len(out)
	}
	k.deltas = out
	slices.SortFunc(k.deltas, func(a, b delta) int {
		switch {
		case a.seq < b.seq:
			return -1
		case a.seq > b.seq:
			return 1
		}
		return 0
	})
}

// refresh takes what the meter has said at the time now: base for the period, with
// everything up to message floor in it.
func (k *counter) refresh(base float64, floor uint64, now time.Time) (exact bool) {
	k.base, k.known, k.asked = bounded(base), true, now
	k.floor = max(k.floor, floor)
	k.deltas = slices.DeleteFunc(k.deltas, func(d delta) bool { return d.seq <= k.floor || d.minute < k.from })
	if len(k.deltas) == 0 {
		k.deltas = nil // most customers use nothing most of the time
	}
	k.sum()
	return len(k.deltas) == 0 && k.whole()
}

// whole says that nothing is between what base has and what the deltas begin with.
func (k *counter) whole() bool { return k.known && k.floor >= k.since }

// used is the usage in the period, 0 or more, rounded up.
func (k *counter) used() int64 { return toInt(k.base + k.tail) }

// held is what is reserved at the time now, the tail being at message at.
func (k *counter) held(now time.Time, at uint64) int64 {
	if len(k.holds) == 0 {
		return 0
	}
	sum := int64(0)
	left := k.holds[:0]
	for _, h := range k.holds {
		if h.after != 0 && at >= h.after || !now.Before(h.until) {
			continue
		}
		left, sum = append(left, h), add(sum, h.n)
	}
	clear(k.holds[len(left):])
	k.holds = left
	return sum
}

// hold reserves n.
func (k *counter) hold(n int64, until time.Time) *hold {
	if len(k.holds) >= maxHolds {
		last := k.holds[len(k.holds)-1]
		last.n, last.until, last.after, last.joined = add(last.n, n), until, 0, true
		return last
	}
	h := &hold{n: n, until: until}
	k.holds = append(k.holds, h)
	return h
}

// bounded keeps a sum finite, as the embedded meter does.
func bounded(sum float64) float64 {
	return max(-math.MaxFloat64, min(sum, math.MaxFloat64))
}

func toInt(n float64) int64 {
	switch n = math.Ceil(n); {
	case n >= math.MaxInt64:
		return math.MaxInt64
	case n > 0:
		return int64(n)
	}
	return 0 // NaN too
}
