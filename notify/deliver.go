package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents/stream"
)

// The waits before the tries of one alert, as Standard Webhooks has them, each up to a
// tenth longer at random so that alerts of one moment don't come in step. The receiver's
// Retry-After wins when it is longer, up to a day. After the last try, and after 410
// Gone, the alert is dead.
//
//	try   after the one before   since the first
//	1     at once                 0:00:00
//	2     5 s                     0:00:05
//	3     5 min                   0:05:05
//	4     30 min                  0:35:05
//	5     2 h                     2:35:05
//	6     5 h                     7:35:05
//	7     10 h                   17:35:05
//	8     14 h                   31:35:05
//	9     20 h                   51:35:05
//	10    24 h                   75:35:05
var schedule = [...]time.Duration{
	0, 5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
}

const (
	// postTimeout bounds one request; the specification says 15 to 30 s.
	postTimeout = 20 * time.Second

	// lease is how long the sink that sends an alert has it to itself: a request, and
	// the writes before and after it.
	lease = postTimeout + 3*askTimeout

	// pollEvery is how often it is looked for what is due.
	pollEvery = 2 * time.Second

	// senders bounds the requests of a sink at once.
	senders = 4

	// maxAnswer bounds what is read of an answer, so that its connection can be used
	// again.
	maxAnswer = 4 << 10

	// longestRetryAfter bounds what a receiver may ask for.
	longestRetryAfter = 24 * time.Hour

	// keep is how long an alert that is delivered stays after its period's end, and
	// keepDead one that is not.
	keep     = 7 * 24 * time.Hour
	keepDead = 90 * 24 * time.Hour

	// cleanEvery is how often old ones are looked for.
	cleanEvery = time.Hour
)

// slot is an alert of the bucket.
type slot struct {
	Alert
	revision uint64
}

// box is what the bucket holds, up to a revision.
type box struct {
	mu       sync.Mutex
	all      map[string]slot // by key
	revision uint64
}

// Deliver begins to send what is due. Without a URL it does nothing.
func (s *Service) Deliver() {
	s.deliveries = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "kgents_usage_alert_deliveries_total",
		Help: "Tries to send a usage alert, by what became of them: delivered, failed (it is tried again) or dead (it was the last).",
	}, []string{"result"})
	for _, r := range []string{"delivered", "failed", "dead"} {
		s.deliveries.WithLabelValues(r)
	}
	count := func(state State) func() float64 {
		return func() float64 {
			s.box.mu.Lock()
			defer s.box.mu.Unlock()
			n := 0
			for _, a := range s.box.all {
				if a.State == state {
					n++
				}
			}
			return float64(n)
		}
	}
	s.c.Registerer.MustRegister(s.deliveries,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "kgents_usage_alerts_pending",
			Help: "Usage alerts that wait to be sent, of all replicas.",
		}, count(Pending)),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "kgents_usage_alerts_dead",
			Help: "Usage alerts that the receiver has never taken, of all replicas: kgents alerts replay sends them again.",
		}, count(Dead)))
	if s.c.URL == "" {
		return
	}
	s.done.Go(s.deliver)
}

func (s *Service) deliver() {
	failing := false
	var cleaned time.Time
	for {
		err := s.round(s.ctx)
		if err != nil {
			s.kv.Store(nil)
		}
		if err == nil && s.now().Sub(cleaned) >= cleanEvery {
			cleaned = s.now()
			err = s.clean(s.ctx)
		}
		switch {
		case s.ctx.Err() != nil:
			return
		case err != nil && !failing:
			s.c.Log.Warn("usage alerts can't be read, trying until they can", "error", err)
		case err == nil && failing:
			s.c.Log.Info("usage alerts are read again")
		}
		failing = err != nil
		if !s.pause(s.poll) {
			return
		}
	}
}

// round sends what is due.
func (s *Service) round(ctx context.Context) error {
	kv, err := s.refresh(ctx)
	if err != nil {
		return err
	}
	now := s.now()
	var due []slot
	s.box.mu.Lock()
	for _, a := range s.box.all {
		if a.State == Pending && !now.Before(a.Next) {
			due = append(due, a)
		}
	}
	s.box.mu.Unlock()
	todo := make(chan slot)
	var sending sync.WaitGroup
	for range min(senders, len(due)) {
		sending.Go(func() {
			for a := range todo {
				if err := s.send(ctx, kv, a); err != nil && ctx.Err() == nil {
					s.c.Log.Warn("what became of a usage alert can't be written down: it is sent again", "alert", a.ID, "error", err)
				}
			}
		})
	}
	for _, a := range due {
		todo <- a
	}
	close(todo)
	sending.Wait()
	return nil
}

// refresh reads what has changed in the bucket since the last time.
func (s *Service) refresh(ctx context.Context) (jetstream.KeyValue, error) {
	ctx, cancel := context.WithTimeout(ctx, 6*askTimeout)
	defer cancel()
	kv, err := s.bucket(ctx)
	if err != nil {
		return nil, err
	}
	str, err := s.c.JetStream.Stream(ctx, "KV_"+s.c.Stream.BillingName())
	if err != nil {
		return nil, err
	}
	last := str.CachedInfo().State.LastSeq
	s.box.mu.Lock()
	from := s.box.revision
	if last < from { // it is another bucket, such as a restored one
		s.box.all, from = map[string]slot{}, 0
	}
	s.box.mu.Unlock()
	if last == from {
		return kv, nil
	}
	err = each(ctx, kv, from+1, func(e jetstream.KeyValueEntry) {
		a, err := readAlert(e.Key(), e.Value())
		s.box.mu.Lock()
		defer s.box.mu.Unlock()
		if e.Operation() != jetstream.KeyValuePut || err != nil {
			delete(s.box.all, e.Key())
			return
		}
		s.box.all[e.Key()] = slot{a, e.Revision()}
	})
	if err != nil {
		return nil, err
	}
	s.box.mu.Lock()
	s.box.revision = last
	s.box.mu.Unlock()
	return kv, nil
}

// each calls f with every alert, and every deletion of one, from a revision on.
func each(ctx context.Context, kv jetstream.KeyValue, from uint64, f func(jetstream.KeyValueEntry)) error {
	w, err := kv.Watch(ctx, allAlerts, jetstream.ResumeFromRevision(from))
	if err != nil {
		return err
	}
	defer func() { _ = w.Stop() }()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e, ok := <-w.Updates():
			if !ok {
				return errors.New("NATS has ended the watch of alerts")
			}
			if e == nil {
				return nil
			}
			f(e)
		}
	}
}

// send tries to deliver an alert, unless another sink is at it. The error is of the
// bucket.
func (s *Service) send(ctx context.Context, kv jetstream.KeyValue, a slot) error {
	a.Attempts++
	a.Next = s.now().UTC().Add(lease)
	revision, err := s.write(ctx, kv, a)
	if errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
		return nil // another is at it
	}
	if err != nil {
		return err
	}
	a.revision = revision
	answer := s.post(ctx, a.Alert)
	if ctx.Err() != nil {
		return ctx.Err() // it was cut off, and is sent again after the lease
	}
	a.settle(answer, s.now().UTC())
	result := "failed"
	switch a.State {
	case Delivered:
		result = "delivered"
	case Dead:
		result = "dead"
		s.c.Log.Error("a usage alert is given up: see 'kgents alerts list'", "alert", a.ID, "attempts", a.Attempts, "status", a.Status, "error", a.Error)
	default:
		s.c.Log.Warn("a usage alert was not taken, it is sent again", "alert", a.ID, "attempts", a.Attempts, "status", a.Status, "error", a.Error, "next", a.Next)
	}
	s.deliveries.WithLabelValues(result).Inc()
	_, err = s.write(ctx, kv, a)
	return err
}

func (s *Service) write(ctx context.Context, kv jetstream.KeyValue, a slot) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	value, err := json.Marshal(a.Alert)
	if err != nil {
		return 0, err
	}
	return kv.Update(ctx, a.key(), value, a.revision)
}

// answer is what the receiver has said.
type answer struct {
	status     int // 0: nothing
	retryAfter time.Duration
	err        error
}

// settle notes what has become of a try.
func (a *Alert) settle(got answer, now time.Time) {
	a.Status, a.Error = got.status, ""
	if got.err != nil {
		a.Error = got.err.Error()
		if len(a.Error) > 300 {
			a.Error = a.Error[:300]
		}
	}
	switch {
	case got.status/100 == 2:
		a.State, a.Next, a.Done = Delivered, time.Time{}, now
	case got.status == http.StatusGone || a.Attempts >= len(schedule):
		a.State, a.Next, a.Done = Dead, time.Time{}, now
	default:
		wait := schedule[a.Attempts]
		wait += rand.N(wait/10 + 1)
		a.Next = now.Add(max(wait, got.retryAfter))
	}
}

func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		TLSHandshakeTimeout:    10 * time.Second,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    senders,
		MaxResponseHeaderBytes: 64 << 10,
		IdleConnTimeout:        time.Minute,
	}
}

// post makes one request.
func (s *Service) post(ctx context.Context, a Alert) answer {
	payload, err := a.payload()
	if err != nil {
		return answer{err: err}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.c.URL, bytes.NewReader(payload))
	if err != nil {
		return answer{err: errors.New("USAGE_ALERT_URL is no URL")}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "kgents")
	sign(req.Header, s.secrets, a.ID, s.now(), payload)
	resp, err := s.client.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // without the address, which may hold a token
		}
		return answer{err: err}
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer)
	got := answer{status: resp.StatusCode}
	if resp.StatusCode/100 != 2 {
		got.err = fmt.Errorf("the receiver answers %d", resp.StatusCode)
		got.retryAfter = retryAfter(resp.Header.Get("Retry-After"), s.now())
	}
	return got
}

// retryAfter reads seconds or a date.
func retryAfter(text string, now time.Time) time.Duration {
	d := time.Duration(0)
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		d = time.Duration(n) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		d = at.Sub(now)
	}
	return max(0, min(d, longestRetryAfter))
}

// clean drops what is old.
func (s *Service) clean(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	now := s.now()
	var old []slot
	s.box.mu.Lock()
	for _, a := range s.box.all {
		age := keep
		if a.State == Dead || a.State == Pending {
			age = keepDead
		}
		if now.Sub(a.PeriodEnd) > age {
			old = append(old, a)
		}
	}
	s.box.mu.Unlock()
	if len(old) == 0 {
		return nil
	}
	kv, err := s.bucket(ctx)
	if err != nil {
		return err
	}
	for _, a := range old {
		if err := kv.Purge(ctx, a.key(), jetstream.LastRevision(a.revision), jetstream.PurgeTTL(stream.BillingMarker)); err != nil && !errors.Is(err, jetstream.ErrKeyRevisionMismatch) && !errors.Is(err, jetstream.ErrKeyExists) {
			return err
		}
	}
	return nil
}
