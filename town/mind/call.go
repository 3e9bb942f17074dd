package mind

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// How long the model is left alone after a failure:
//
//	failure                                     again      pause
//	429, 5xx (529 is 'overloaded')              once       10 s
//	  with a Retry-After up to 2 s              once       what it says, at least 1 s
//	  with a Retry-After beyond                 no         what it says, at most 10 min
//	429 because the operator's money is spent   no         10 min
//	never sent: no connection                   once       10 s
//	400 that asks for max_completion_tokens     once       10 s, like any 400 then
//	other 4xx, a redirect: the settings         no         1 min
//	time-out, broken off while under way        no         10 s; may have cost tokens
//	too long, no JSON                           no         10 s; may have cost tokens
//	the caller gave up                          no         none; may have cost tokens
//	an answer that is none, without usage       no         none
const (
	shortPause   = 10 * time.Second
	settingPause = time.Minute
	longestPause = 10 * time.Minute
	leastPause   = time.Second
	beforeRetry  = 250 * time.Millisecond
)

// failure is why a call has no answer.
type failure struct {
	result    result
	text      string // for the town's customer
	status    int    // 0 if there was none
	again     bool   // the same call may be repeated: it can't have cost anything
	wait      time.Duration
	pause     time.Duration
	uncertain bool // it may have cost tokens
}

func (f failure) Error() string { return f.text }

func failureOf(err error) failure {
	if f, ok := errors.AsType[failure](err); ok {
		return f
	}
	return failure{result: broken, text: "the model can't be asked", pause: shortPause}
}

// ask calls the API, and once more if that is safe.
func (m *Mind) ask(ctx context.Context, text string) (answer, error) {
	a, err := m.call(ctx, text)
	if err == nil {
		return a, nil
	}
	f := failureOf(err)
	if !f.again || f.wait > maxWait {
		return a, f
	}
	select {
	case <-time.After(max(f.wait, beforeRetry)):
	case <-ctx.Done():
		return a, f
	}
	return m.call(ctx, text)
}

// call is one request. Its error is a failure.
func (m *Mind) call(parent context.Context, text string) (answer, error) {
	ctx, cancel := context.WithTimeout(parent, m.c.Timeout)
	defer cancel()
	select {
	case m.calls <- struct{}{}:
		defer func() { <-m.calls }()
	case <-ctx.Done():
		return answer{}, failure{result: timeout, text: "the model is asked by too many at once"}
	}
	body, err := m.api.request(m, text)
	if err != nil {
		return answer{}, failure{result: broken, text: "the model can't be asked"}
	}
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }})
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, m.url, bytes.NewReader(body))
	if err != nil {
		return answer{}, failure{result: broken, text: "the model can't be asked"}
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", "kgents")
	m.api.authorize(r.Header, m.c.Key)
	resp, err := m.http.Do(r)
	if err != nil {
		return answer{}, brokenOff(parent, ctx, sent.Load())
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes+1))
	if resp.StatusCode != http.StatusOK {
		return answer{}, m.statusFailure(resp, b)
	}
	if err != nil {
		return answer{}, brokenOff(parent, ctx, true)
	}
	if len(b) > maxAnswerBytes {
		return answer{}, failure{result: garbage, text: "the model's answer is too long", pause: shortPause, uncertain: true}
	}
	a, err := m.api.read(b)
	if err != nil || !usable(a) {
		return answer{}, failure{result: garbage, text: "the model's answer can't be read", pause: shortPause, uncertain: true}
	}
	return a, nil
}

// maxUsage is the most tokens that an answer may say it has used: more can't be,
// after a prompt of MaxPromptBytes.
const maxUsage = 1_000_000

func usable(a answer) bool { return 0 <= a.in && a.in <= maxUsage && 0 <= a.out && a.out <= maxUsage }

// brokenOff is a call without an answer. If its headers were sent, the model may have
// worked on it.
func brokenOff(parent, ctx context.Context, sent bool) failure {
	switch {
	case parent.Err() != nil:
		return failure{result: givenUp, text: "the step was given up", uncertain: sent}
	case ctx.Err() != nil:
		return failure{result: timeout, text: "the model didn't answer in time", pause: shortPause, uncertain: sent}
	case !sent:
		return failure{result: unreachable, text: "the model can't be reached", pause: shortPause, again: true}
	default:
		return failure{result: unreachable, text: "the model broke off", pause: shortPause, uncertain: true}
	}
}

// statusFailure is an answer by a status. Neither API charges for one.
func (m *Mind) statusFailure(resp *http.Response, body []byte) failure {
	status := resp.StatusCode
	f := failure{result: broken, status: status, text: fmt.Sprintf("the model's API answered %d", status), pause: shortPause}
	switch {
	case status == http.StatusTooManyRequests && spent(body):
		f.result, f.pause = limited, longestPause
	case status == http.StatusTooManyRequests, status >= 500:
		if f.again = true; status == http.StatusTooManyRequests {
			f.result = limited
		}
		if after, ok := retryAfter(resp.Header.Get("Retry-After"), time.Now()); ok {
			f.wait, f.pause = after, min(max(after, leastPause), longestPause)
		}
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		f.result, f.pause = unauthorized, settingPause
	case status == http.StatusBadRequest && m.c.API == OpenAI && bytes.Contains(body, []byte("max_completion_tokens")) && m.newer.CompareAndSwap(false, true):
		f.again = true
	default:
		f.pause = settingPause
	}
	return f
}

// spent tells whether a 429 is one of those that mean that the operator's money with
// the API is used up, which no repetition mends.
func spent(body []byte) bool {
	for _, code := range []string{"insufficient_quota", "credit_balance_exhausted", "spend_limit_reached"} {
		if bytes.Contains(body, []byte(code)) {
			return true
		}
	}
	return false
}

// retryAfter reads the header: seconds, or a date.
func retryAfter(s string, now time.Time) (time.Duration, bool) {
	if s = strings.TrimSpace(s); s == "" {
		return 0, false
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return time.Duration(min(max(n, 0), int64(longestPause/time.Second))) * time.Second, true
	}
	if at, err := http.ParseTime(s); err == nil {
		return min(max(at.Sub(now), 0), longestPause), true
	}
	return 0, false
}
