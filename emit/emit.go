// Package emit sends events as the outside world does: signed Stripe webhooks made
// from Stripe's own fixtures, and usage as CloudEvents. It feeds the demo, the
// benchmarks and anyone who wants to see the path work.
//
// It promises that the ids of a run are unique, and the same for the same seed,
// and that its report counts what the server said. When the server is away, or
// says 503, a request is sent again with the same ids, a bounded number of times.
package emit

import (
	"context"
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
	"golang.org/x/time/rate"
)

// Request is one request to send.
type Request struct {
	Path        string
	ContentType string
	Body        []byte
	Signed      bool // with the webhook secret; else the API key goes with it
	Events      int  // in Body
	Duplicates  int  // of them, sent before
}

// Source makes requests. It is used by one goroutine at a time.
type Source interface {
	// Next returns the next request, false when there is none left.
	Next() (Request, bool)
}

// Plan says what to send where, and how.
type Plan struct {
	URL           string // base URL
	APIKey        string
	WebhookSecret string
	Source        Source
	Rate          float64       // requests a second; 0 = as fast as it goes
	Concurrency   int           // requests under way at once, at least 1
	Duration      time.Duration // stop after it; 0 = when the source ends
	Timeout       time.Duration // of one request; 0 = 15 s
	Retries       int           // of one request that got 429, 503 or no answer

	// Progress, if set, is told after each request how many events are settled.
	Progress func(events int)
}

// Refusal is what the server said to requests with one status.
type Refusal struct {
	Status int    `json:"status"` // 0 = no answer
	Count  int    `json:"count"`
	Detail string `json:"detail"` // of the first of them
}

// Report is the outcome of a run. Requests = Accepted + Refused + Failed.
type Report struct {
	Requests   int           `json:"requests"`
	Accepted   int           `json:"accepted"`    // requests answered 2xx
	Refused    int           `json:"refused"`     // requests answered otherwise, after all retries
	Failed     int           `json:"failed"`      // requests without an answer, after all retries
	Retried    int           `json:"retried"`     // times a request was sent again
	Events     int           `json:"events"`      // in accepted requests
	Duplicates int           `json:"duplicates"`  // of them, sent on purpose a second time
	Elapsed    time.Duration `json:"elapsed_ns"`  // wall time
	Latency    Latency       `json:"latency_ns"`  // of requests that got an answer
	Refusals   []Refusal     `json:"refusals"`    // by status, in order of appearance
	Rate       float64       `json:"per_second"`  // accepted events
	Stopped    bool          `json:"interrupted"` // the context ended the run
}

// Distinct is how many different events were accepted.
func (r Report) Distinct() int { return r.Events - r.Duplicates }

// OK says whether everything was accepted.
func (r Report) OK() bool { return r.Refused == 0 && r.Failed == 0 }

// Run sends what the plan says. It returns when the source ends, after the
// plan's duration, or when ctx ends, with the report so far.
func Run(ctx context.Context, p Plan) Report {
	if p.Timeout == 0 {
		p.Timeout = 15 * time.Second
	}
	p.Concurrency = max(1, p.Concurrency)
	r := &runner{
		Plan: p, ctx: ctx, began: time.Now(), limit: rate.NewLimiter(rate.Inf, 1),
		client: &http.Client{Timeout: p.Timeout, Transport: &http.Transport{
			MaxIdleConnsPerHost: p.Concurrency, MaxConnsPerHost: p.Concurrency, DisableCompression: true,
		}},
	}
	defer r.client.CloseIdleConnections()
	if p.Rate > 0 {
		r.limit = rate.NewLimiter(rate.Limit(p.Rate), max(1, int(p.Rate/100)))
	}
	if p.Duration > 0 {
		var cancel context.CancelFunc
		r.ctx, cancel = context.WithTimeout(ctx, p.Duration)
		defer cancel()
	}
	var workers sync.WaitGroup
	for range p.Concurrency {
		workers.Go(r.work)
	}
	workers.Wait()
	r.report.Elapsed = time.Since(r.began)
	r.report.Rate = float64(r.report.Events) / r.report.Elapsed.Seconds()
	r.report.Latency = r.latency.summary()
	r.report.Stopped = ctx.Err() != nil
	return r.report
}

type runner struct {
	Plan
	ctx    context.Context
	client *http.Client
	limit  *rate.Limiter
	began  time.Time

	source  sync.Mutex
	settled atomic.Int64

	mu      sync.Mutex
	report  Report
	latency histogram
}

func (r *runner) work() {
	for r.ctx.Err() == nil && r.limit.Wait(r.ctx) == nil {
		r.source.Lock()
		req, ok := r.Source.Next()
		r.source.Unlock()
		if !ok {
			return
		}
		r.deliver(req)
	}
}

// deliver sends one request until it is settled or the retries are used up.
func (r *runner) deliver(req Request) {
	var (
		status  int
		detail  string
		took    time.Duration
		retried int
	)
	for ; ; retried++ {
		var wait time.Duration
		start := time.Now()
		status, detail, wait = r.send(req)
		took = time.Since(start)
		again := status == 0 || status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests
		if !again || retried >= r.Retries || r.ctx.Err() != nil {
			break
		}
		if wait == 0 {
			wait = time.Duration(100<<min(retried, 6)) * time.Millisecond
		}
		select {
		case <-r.ctx.Done():
		case <-time.After(wait):
		}
	}
	if status == 0 && r.ctx.Err() != nil {
		return // the run ended in the middle: neither accepted nor refused
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	rep := &r.report
	rep.Requests++
	rep.Retried += retried
	if status != 0 {
		r.latency.add(took)
	}
	switch {
	case status/100 == 2:
		rep.Accepted++
		rep.Events += req.Events
		rep.Duplicates += req.Duplicates
	case status == 0:
		rep.Failed++
		rep.refuse(status, detail)
	default:
		rep.Refused++
		rep.refuse(status, detail)
	}
	if r.Progress != nil {
		r.Progress(int(r.settled.Add(int64(req.Events))))
	}
}

func (r *Report) refuse(status int, detail string) {
	for i := range r.Refusals {
		if r.Refusals[i].Status == status {
			r.Refusals[i].Count++
			return
		}
	}
	r.Refusals = append(r.Refusals, Refusal{status, 1, detail})
}

// send sends req once. Status 0 means that there was no answer, and detail says
// why; wait is what the server asked for.
func (r *runner) send(req Request) (status int, detail string, wait time.Duration) {
	// A request under way is finished even when the run ends.
	h, err := http.NewRequestWithContext(context.WithoutCancel(r.ctx), http.MethodPost, r.URL+req.Path, strings.NewReader(string(req.Body)))
	if err != nil {
		return 0, err.Error(), 0
	}
	h.Header.Set("Content-Type", req.ContentType)
	if req.Signed {
		h.Header.Set("Stripe-Signature", webhook.GenerateTestSignedPayload(&webhook.UnsignedPayload{Payload: req.Body, Secret: r.WebhookSecret}).Header)
	} else {
		h.Header.Set("Authorization", "Bearer "+r.APIKey)
	}
	resp, err := r.client.Do(h)
	if err != nil {
		return 0, unwrap(err), 0
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 == 2 {
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
		return resp.StatusCode, "", 0
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s >= 0 {
		wait = min(time.Duration(s)*time.Second, time.Minute)
	}
	return resp.StatusCode, problemDetail(body), wait
}

// unwrap returns the cause without the URL, which every line would repeat.
func unwrap(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return fmt.Sprint(err)
		}
		err = inner
	}
}
