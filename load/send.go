package load

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stripe/stripe-go/v85/webhook"

	"github.com/kgents/kgents/meter"
)

const (
	// maxWait bounds what a server may ask us to wait before the next try.
	maxWait = 30 * time.Second

	// firstWait is before the second try where the server names none; it doubles up to
	// lastWait.
	firstWait = 100 * time.Millisecond
	lastWait  = 5 * time.Second

	progressEvery = 200 * time.Millisecond
	maxReasons    = 12 // of failures that are told apart
)

// run is a profile at work.
type run struct {
	profile  Profile
	target   Target
	options  Options
	traffic  *traffic
	schedule *schedule
	ledger   *ledger
	record   *record
	meter    *meter.Client
	http     *http.Client
	slots    chan struct{}
	underWay atomic.Int64

	began time.Time
	phase atomic.Int64

	mu      sync.Mutex
	reasons []Failure
	faults  []string // what went wrong with faults
}

// Failure is why requests were not accepted, in the end.
type Failure struct {
	Status int    `json:"status"` // 0 = no answer
	Count  int    `json:"count"`
	Detail string `json:"detail"` // of the first of them
}

func (r *run) do(ctx context.Context) (Report, error) {
	if err := r.reach(ctx); err != nil {
		return Report{}, err
	}
	// Everything of the run ends with it, also on Ctrl-C.
	side, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	watch := &watch{url: r.target.URL}
	if r.target.HTTP != nil {
		watch.http = r.target.HTTP.Transport
	}
	var helpers sync.WaitGroup
	r.began = time.Now()
	helpers.Go(func() { watch.run(side, r.began) })
	helpers.Go(func() { r.tell(side, ctx) })
	var faults sync.WaitGroup
	if r.target.Local != nil && !r.options.SkipFaults {
		faults.Go(func() { r.makeFaults(ctx) })
	}
	r.send(ctx)
	sent := time.Since(r.began)
	faults.Wait()
	answered := time.Now()
	r.phase.Store(-1)
	rep := Report{
		Profile: r.profile, URL: r.target.URL, Local: r.target.Local != nil, Run: r.traffic.run, Began: r.began,
		FaultsSkipped: r.options.SkipFaults && r.profile.HasFaults(), Elapsed: sent, Environment: ReadEnvironment(),
	}
	r.ledger.settle()
	rep.Count = r.count(ctx, answered)
	rep.Interrupted = ctx.Err() != nil
	stop()
	helpers.Wait()
	rep.Seen = watch.seen
	rep.finish(r)
	return rep, nil
}

// reach makes sure that a run is worth its while: the system answers, takes our key,
// and its meter can be asked.
func (r *run) reach(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for k, slug := range meterOf {
		if kind(k) == stripe && r.profile.Events.Stripe == 0 || kind(k) == usage && r.profile.Events.Stripe == 1 {
			continue
		}
		_, err := r.meter.Query(ctx, meter.Query{Meter: slug, From: time.Now().Add(-time.Minute)})
		var e *meter.Error
		switch {
		case errors.As(err, &e) && e.Status == http.StatusNotFound:
			return fmt.Errorf("the meter has no %s, by which events are counted: make it as in meter/local/meters.yaml", slug)
		case errors.As(err, &e) && (e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden):
			return fmt.Errorf("%s does not take the API key: name a file with another by --key-file", r.target.URL)
		case err != nil:
			return fmt.Errorf("the meter can't be asked, so nothing could be said of what was lost: %w", err)
		}
	}
	return nil
}

// send makes every request at its time, and returns when all are settled. After ctx
// has ended it begins no other.
func (r *run) send(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		due, phase, ok := r.schedule.next()
		if !ok {
			// A run is as long as its profile, also when its last request is early.
			r.sleep(ctx, timer, r.profile.Length())
			return
		}
		req, repeated := r.traffic.next(r.profile.Phases[phase], r.began.Add(due))
		r.record.isDue(due, req.Events)
		if !r.sleep(ctx, timer, due) {
			return
		}
		r.phase.Store(int64(phase))
		select {
		case r.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		r.underWay.Add(1)
		all.Go(func() {
			r.deliver(ctx, req, outcome{phase: phase, due: due, events: req.Events, repeated: repeated})
			r.underWay.Add(-1)
			<-r.slots
		})
	}
}

// sleep waits for a time of the schedule; false when ctx has ended.
func (r *run) sleep(ctx context.Context, timer *time.Timer, due time.Duration) bool {
	wait := due - time.Since(r.began)
	if wait <= 0 {
		return ctx.Err() == nil
	}
	timer.Reset(wait)
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// deliver sends a request until it is accepted, refused for good, or out of tries.
func (r *run) deliver(ctx context.Context, req *request, o outcome) {
	r.ledger.sent(req)
	o.sent = time.Since(r.began)
	for ; ; o.retried++ {
		status, detail, wait := r.try(req)
		o.accepted = status/100 == 2
		// A 429 and the other 4xx say that nothing was taken. Everything else leaves it open.
		r.ledger.answered(req, o.accepted, status/100 != 4)
		again := status == 0 || status == http.StatusTooManyRequests || status >= 500
		if o.accepted || !again || o.retried >= r.profile.Retries || ctx.Err() != nil {
			if !o.accepted {
				r.failed(status, detail)
			}
			break
		}
		if wait == 0 {
			wait = min(firstWait<<min(o.retried, 10), lastWait)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
	o.done = time.Since(r.began)
	r.record.settled(o)
}

// try sends a request once. Status 0 means that there was no answer, and detail says
// why; wait is what the server asked for.
func (r *run) try(req *request) (status int, detail string, wait time.Duration) {
	// What is under way is finished, also on Ctrl-C: its outcome would else be unknown.
	h, err := http.NewRequest(http.MethodPost, r.target.URL+req.Path, bytes.NewReader(req.Body))
	if err != nil {
		return 0, err.Error(), 0
	}
	h.Header.Set("Content-Type", req.ContentType)
	h.Header.Set("User-Agent", "kgents-load")
	if req.Signed {
		h.Header.Set("Stripe-Signature", webhook.GenerateTestSignedPayload(&webhook.UnsignedPayload{Payload: req.Body, Secret: r.target.WebhookSecret}).Header)
	} else {
		h.Header.Set("Authorization", "Bearer "+r.target.APIKey)
	}
	resp, err := r.http.Do(h)
	if err != nil {
		for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) { // without the URL, which every line would repeat
			err = inner
		}
		return 0, err.Error(), 0
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil && resp.StatusCode/100 != 2 {
		return 0, "the answer broke off: " + err.Error(), 0
	}
	if resp.StatusCode/100 == 2 {
		return resp.StatusCode, "", 0
	}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s >= 0 {
		wait = min(time.Duration(s)*time.Second, maxWait)
	}
	var problem struct{ Title, Detail string }
	if json.Unmarshal(body, &problem) == nil && problem.Title+problem.Detail != "" {
		return resp.StatusCode, cmp.Or(problem.Detail, problem.Title), wait
	}
	text := strings.ToValidUTF8(strings.TrimSpace(string(body)), "?")
	return resp.StatusCode, text[:min(len(text), 200)], wait
}

func (r *run) failed(status int, detail string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.reasons {
		if r.reasons[i].Status == status {
			r.reasons[i].Count++
			return
		}
	}
	if len(r.reasons) < maxReasons {
		r.reasons = append(r.reasons, Failure{status, 1, detail})
	}
}

// makeFaults begins and ends the faults of the phases, and leaves none behind.
func (r *run) makeFaults(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var begin time.Duration
	for _, ph := range r.profile.Phases {
		end := begin + time.Duration(ph.For)
		if ph.Fault != "" {
			if !r.sleep(ctx, timer, begin) {
				return
			}
			err := r.target.Local.begin(ph)
			r.sleep(ctx, timer, end)
			// Also after Ctrl-C: what was accepted is still to be counted.
			if err = errors.Join(err, r.target.Local.end(context.WithoutCancel(ctx), ph)); err != nil {
				r.mu.Lock()
				r.faults = append(r.faults, fmt.Sprintf("%s in phase %s: %v", ph.Fault, ph.Name, err))
				r.mu.Unlock()
			}
		}
		begin = end
	}
}

// tell tells how far the run is, until side ends.
func (r *run) tell(side, ctx context.Context) {
	if r.options.Progress == nil {
		return
	}
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for {
		select {
		case <-side.Done():
			return
		case <-tick.C:
		}
		p := Progress{Total: r.profile.Length(), At: min(time.Since(r.began), r.profile.Length()), UnderWay: int(r.underWay.Load())}
		if phase := r.phase.Load(); phase >= 0 {
			p.Phase = r.profile.Phases[phase].Name
		} else {
			p.Counting = true
		}
		r.record.mu.Lock()
		p.Due, p.Accepted, p.Failed, p.P99 = r.record.dueEvents, r.record.acceptedEvents, r.record.failed, quantile(r.record.all, 99)
		r.record.mu.Unlock()
		r.options.Progress(p)
	}
}
