package load

import (
	"bytes"
	crand "crypto/rand"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/kgents/kgents/emit"
)

// What our events count for. An event's value is unit ± spread, so that a customer's
// sum tells how many events it is made of, and also shows one that was lost beside one
// that counted twice. Sums of 9·10^9 events stay exact in a float64.
const (
	unit   = 1_000_000
	spread = 500
)

const (
	// Source of our usage events.
	Source = "kgents-load"

	// minEventBytes is a usage event's size without padding, about.
	minEventBytes = 250

	// maxRecent and maxRecentBytes bound the requests kept to be repeated.
	maxRecent      = 4096
	maxRecentBytes = 32 << 20
)

// kind is how events are sent and which meter counts them.
type kind int

const (
	usage kind = iota
	stripe
	kinds
)

// meterOf is the meter that sums up a kind's values by customer.
var meterOf = [kinds]string{usage: "agent_tokens", stripe: "payments"}

// count is an event in the ledger.
type count struct {
	customer int32
	value    int32
}

// request is a request with the events that it holds. Its repetitions share it.
type request struct {
	emit.Request
	kind kind

	mu        sync.Mutex
	events    []count // nil once accepted
	accepted  bool
	uncertain bool // a try of it had no answer, or one that doesn't say
}

// traffic makes the requests. It is used by one goroutine.
type traffic struct {
	profile  Profile
	run      string // in all ids and customers of this run
	r        *rand.Rand
	zipf     *rand.Zipf
	invoices *emit.Invoices
	pad      []byte
	made     int

	recent      []*request
	recentBytes int
	oldest      int
}

func newTraffic(p Profile) (*traffic, error) {
	var id [5]byte
	_, _ = crand.Read(id[:]) // never fails since Go 1.24
	t := &traffic{profile: p, run: hex.EncodeToString(id[:]), r: random(p.Seed, 2)}
	if p.Customers.Spread == "zipf" {
		t.zipf = rand.NewZipf(t.r, p.Customers.Exponent, 1, uint64(p.Customers.Count-1))
	}
	t.pad = bytes.Repeat([]byte("load "), MaxBytes/5+1)
	var err error
	t.invoices, err = emit.NewInvoices()
	return t, err
}

// subject is a customer of this run.
func (t *traffic) subject(n int) string { return fmt.Sprintf("cus_load_%s_%05d", t.run, n) }

// customer picks who an event is of.
func (t *traffic) customer() int {
	n := t.profile.Customers.Count
	switch {
	case t.zipf != nil:
		return int(t.zipf.Uint64())
	case t.profile.Customers.Spread == "huge" && (n == 1 || t.r.Float64() < t.profile.Customers.Share):
		return 0
	case t.profile.Customers.Spread == "huge":
		return 1 + t.r.IntN(n-1)
	default:
		return t.r.IntN(n)
	}
}

// next makes the request that is due at a time: a new one, or an earlier one again.
func (t *traffic) next(ph Phase, at time.Time) (req *request, repeated bool) {
	again := t.profile.Events.Duplicates
	if ph.Duplicates != nil {
		again = *ph.Duplicates
	}
	// Both numbers are drawn in any case, so that a share changes nothing else.
	repeat, which := t.r.Float64() < again, t.r.IntN(maxRecent)
	if repeat && len(t.recent) > 0 {
		return t.recent[which%len(t.recent)], true
	}
	if t.r.Float64() < t.profile.Events.Stripe {
		req = t.webhook(at)
	} else {
		req = t.usage(at)
	}
	t.keep(req)
	return req, false
}

func (t *traffic) value() int32 { return int32(unit + t.r.IntN(2*spread+1) - spread) }

func (t *traffic) webhook(at time.Time) *request {
	c, v := t.customer(), t.value()
	t.made++
	return &request{kind: stripe, events: []count{{int32(c), v}}, Request: t.invoices.Request(emit.Invoice{
		ID: fmt.Sprintf("load%s%d", t.run, t.made), Customer: t.subject(c), Amount: int64(v), At: at,
	})}
}

func (t *traffic) usage(at time.Time) *request {
	n := t.profile.Events.Batch
	req := &request{kind: usage, events: make([]count, n), Request: emit.Request{
		Path: "/api/v1/events", ContentType: "application/cloudevents-batch+json", Events: n,
	}}
	b := make([]byte, 0, n*(t.profile.Events.Bytes+64)+2)
	if n > 1 {
		b = append(b, '[')
	} else {
		req.ContentType = "application/cloudevents+json"
	}
	for i := range n {
		c, v := t.customer(), t.value()
		req.events[i] = count{int32(c), v}
		t.made++
		if i > 0 {
			b = append(b, ',')
		}
		b = t.event(b, c, v, at)
	}
	if n > 1 {
		b = append(b, ']')
	}
	req.Body = b
	return req
}

// event appends one usage event, padded to the profile's size.
func (t *traffic) event(b []byte, customer int, value int32, at time.Time) []byte {
	begin := len(b)
	b = append(b, `{"specversion":"1.0","id":"`...)
	b = append(b, t.run...)
	b = append(b, '-')
	b = strconv.AppendInt(b, int64(t.made), 10)
	b = append(b, `","source":"`+Source+`","type":"agent.tokens","subject":"`...)
	b = append(b, t.subject(customer)...)
	b = append(b, `","time":"`...)
	b = at.UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","datacontenttype":"application/json","data":{"tokens":`...)
	b = strconv.AppendInt(b, int64(value), 10)
	b = append(b, `,"model":"load","agent":"load","note":"`...)
	if missing := t.profile.Events.Bytes - (len(b) - begin) - len(`"}}`); missing > 0 {
		b = append(b, t.pad[:missing]...)
	}
	return append(b, `"}}`...)
}

// keep remembers a request, in the place of the oldest when there are enough.
func (t *traffic) keep(req *request) {
	if len(t.recent) < maxRecent && t.recentBytes+len(req.Body) <= maxRecentBytes {
		t.recent = append(t.recent, req)
		t.recentBytes += len(req.Body)
		return
	}
	if len(t.recent) == 0 {
		return
	}
	t.oldest %= len(t.recent)
	t.recentBytes += len(req.Body) - len(t.recent[t.oldest].Body)
	t.recent[t.oldest] = req
	t.oldest++
}
