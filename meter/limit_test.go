package meter

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// limited plays a meter with a limit as OpenMeter documents it: so many requests a
// second of the clock, told by headers, and 429 past it.
type limited struct {
	perSecond int
	takes     time.Duration // until it answers
	silent    bool          // says nothing of its limit but 429

	mu      sync.Mutex
	window  int64
	used    int
	times   []time.Time // when requests came
	refused int
}

func (m *limited) RoundTrip(r *http.Request) (*http.Response, error) {
	m.mu.Lock()
	now := time.Now()
	m.times = append(m.times, now)
	if now.Unix() != m.window {
		m.window, m.used = now.Unix(), 0
	}
	m.used++
	h, status := http.Header{}, http.StatusNoContent
	if !m.silent {
		h.Set("X-RateLimit-Limit", strconv.Itoa(m.perSecond))
		h.Set("X-RateLimit-Remaining", strconv.Itoa(max(0, m.perSecond-m.used)))
		h.Set("X-RateLimit-Reset", strconv.FormatInt(m.window+1, 10))
	}
	if m.used > m.perSecond {
		m.refused++
		status = http.StatusTooManyRequests
		h.Set("Retry-After", "1")
	}
	m.mu.Unlock()
	time.Sleep(m.takes)
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader("[]")), Request: r}, nil
}

// over is a client of a meter that is played without a network.
func over(t *testing.T, m http.RoundTripper) *Client {
	return client(t, "http://meter.test").Over(&http.Client{Transport: m})
}

// busiest is the largest number of requests within any second.
func busiest(times []time.Time) (most int) {
	for i, from := range times {
		n := 0
		for _, at := range times[i:] {
			if at.Sub(from) < time.Second {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

// sendAll has flights goroutines send n batches in all, as a sink does.
func sendAll(c *Client, flights, n int) (failed int) {
	var (
		flying sync.WaitGroup
		mu     sync.Mutex
	)
	for range flights {
		flying.Go(func() {
			for {
				mu.Lock()
				if n--; n < 0 {
					mu.Unlock()
					return
				}
				mu.Unlock()
				if err := c.Ingest(context.Background(), []byte("[]")); err != nil {
					mu.Lock()
					failed++
					mu.Unlock()
				}
			}
		})
	}
	flying.Wait()
	return failed
}

// A meter that says what is left of its limit refuses nothing, however many requests
// are under way at once.
func TestMetersWindow(t *testing.T) {
	for _, perSecond := range []int{1, 2, 5} {
		for _, takes := range []time.Duration{0, 30 * time.Millisecond, 700 * time.Millisecond} {
			synctest.Test(t, func(t *testing.T) {
				m := &limited{perSecond: perSecond, takes: takes}
				c := over(t, m)
				if err := c.Ingest(t.Context(), []byte("[]")); err != nil { // now the limit is known
					t.Fatal(err)
				}
				start := time.Now()
				const n = 40
				if failed := sendAll(c, 4, n); failed > 0 || m.refused > 0 {
					t.Errorf("%d a second, answered after %v: %d failed, %d refused", perSecond, takes, failed, m.refused)
				}
				// A request that is under way may be the window's last, so a slow answer
				// costs up to the rest of its window.
				if most := time.Duration(n/perSecond+2) * (time.Second + 2*takes); time.Since(start) > most {
					t.Errorf("%d a second, answered after %v: it took %v, want at most %v", perSecond, takes, time.Since(start), most)
				}
			})
		}
	}
}

func TestOwnRate(t *testing.T) {
	for _, test := range []struct {
		rate  float64
		burst int
		most  int // within any second
		takes time.Duration
	}{
		{5, 0, 5, 19 * time.Second / 5},
		{5, 4, 8, 16 * time.Second / 5},
		{0.5, 0, 1, 38 * time.Second},
		{0, 0, 20, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := &limited{perSecond: 1000, silent: true}
			c := over(t, m).Limit(Limits{Rate: test.rate, Burst: test.burst})
			start := time.Now()
			if failed := sendAll(c, 4, 20); failed > 0 {
				t.Errorf("%d failed", failed)
			}
			if got := time.Since(start).Round(time.Millisecond); busiest(m.times) > test.most || got != test.takes {
				t.Errorf("rate %v, burst %d: up to %d in a second, and %v for 20; want %d and %v", test.rate, test.burst, busiest(m.times), got, test.most, test.takes)
			}
			if err := c.Ping(t.Context()); err != nil || time.Since(start).Round(time.Millisecond) != test.takes {
				t.Errorf("a ping waited for the rate: %v", err)
			}
		})
	}
}

// answers plays a meter by a function of the request's number, from 0.
type answers struct {
	mu    sync.Mutex
	n     int
	times []time.Time
	next  func(n int, r *http.Request) (status int, h map[string]string)
}

func (m *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	m.mu.Lock()
	n := m.n
	m.n++
	m.times = append(m.times, time.Now())
	m.mu.Unlock()
	status, h := m.next(n, r)
	if status == 0 {
		return nil, errors.New("gone")
	}
	resp := &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("[]")), Request: r}
	for k, v := range h {
		resp.Header.Set(k, v)
	}
	return resp, nil
}

// What one request is told holds for all of them, whatever they ask for.
func TestPause(t *testing.T) {
	for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		synctest.Test(t, func(t *testing.T) {
			m := &answers{next: func(n int, _ *http.Request) (int, map[string]string) {
				if n == 0 {
					return status, map[string]string{"Retry-After": "30"}
				}
				return http.StatusOK, nil
			}}
			c := over(t, m).Limit(Limits{Rate: 100})
			start := time.Now()
			if e := asError(t, c.Ingest(t.Context(), []byte("[]"))); e.Status != status || e.RetryAfter != 30*time.Second {
				t.Fatalf("the meter's answer is %+v", e)
			}

			// Who can't wait that long is told at once, and nothing is sent.
			short, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			e := asError(t, c.Ping(short))
			if e.Status != status || e.Class != Retry || e.RetryAfter < 29*time.Second || time.Since(start) > 0 {
				t.Errorf("a ping in the pause: %+v after %v", e, time.Since(start))
			}
			cancelled, stop := context.WithCancel(t.Context())
			time.AfterFunc(1500*time.Millisecond, stop)
			if err := c.Ingest(cancelled, []byte("[]")); !errors.Is(err, context.Canceled) || time.Since(start) != 1500*time.Millisecond {
				t.Errorf("cancelled in the pause: %v after %v", err, time.Since(start))
			}

			var all sync.WaitGroup
			for _, call := range calls {
				all.Go(func() { _ = call(t, c) })
			}
			all.Wait()
			if len(m.times) != 1+len(calls) {
				t.Fatalf("%d requests were sent, want %d", len(m.times), 1+len(calls))
			}
			for _, at := range m.times[1:] {
				if after := at.Sub(start); after < 30*time.Second || after > 32*time.Second {
					t.Errorf("a request was sent after %v, want 30 s and a little", after)
				}
			}
		})
	}
}

// A pause that begins while requests wait for our rate holds for them too, and they
// don't all go at its end.
func TestPauseWhileWaitingForTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &answers{next: func(n int, _ *http.Request) (int, map[string]string) {
			time.Sleep(100 * time.Millisecond)
			if n == 0 {
				return http.StatusTooManyRequests, map[string]string{"Retry-After": "10"}
			}
			return http.StatusNoContent, nil
		}}
		c := over(t, m).Limit(Limits{Rate: 2})
		start := time.Now()
		if failed := sendAll(c, 4, 8); failed != 1 {
			t.Errorf("%d failed, want the one that was answered 429", failed)
		}
		if after := m.times[1].Sub(start); after < 10*time.Second {
			t.Errorf("the second request was sent after %v", after)
		}
		if n := busiest(m.times); n > 2 {
			t.Errorf("%d requests were sent in a second at a rate of 2", n)
		}
	})
}

// What a meter may say of its limit stops nothing for longer than five minutes, and
// requests without an answer stop nothing at all.
func TestHostileMeters(t *testing.T) {
	for name, next := range map[string]func(n int, r *http.Request) (int, map[string]string){
		"never again": func(int, *http.Request) (int, map[string]string) {
			return http.StatusNoContent, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "99999999999999999999"}
		},
		"no limit at all": func(int, *http.Request) (int, map[string]string) {
			return http.StatusNoContent, map[string]string{"X-RateLimit-Limit": "0", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "600"}
		},
		"one at a time": func(int, *http.Request) (int, map[string]string) {
			return http.StatusNoContent, map[string]string{"X-RateLimit-Limit": "1", "X-RateLimit-Remaining": "1", "X-RateLimit-Reset": "-5"}
		},
		"hangs up": func(n int, _ *http.Request) (int, map[string]string) {
			if n%2 == 1 {
				return 0, nil
			}
			return http.StatusNoContent, map[string]string{"X-RateLimit-Limit": "2", "X-RateLimit-Remaining": "2", "X-RateLimit-Reset": "60"}
		},
		"a pause of years": func(n int, _ *http.Request) (int, map[string]string) {
			return http.StatusServiceUnavailable, map[string]string{"Retry-After": "999999999"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &answers{next: next}
				c := over(t, m)
				start := time.Now()
				sendAll(c, 3, 6)
				if took, most := time.Since(start), 6*(maxRetryAfter+maxSpread); took > most || m.n != 6 {
					t.Errorf("%d requests took %v, want 6 within %v", m.n, took, most)
				}
			})
		})
	}
}

func TestReadQuota(t *testing.T) {
	now := time.Date(2026, 11, 23, 9, 30, 0, 500_000_000, time.UTC)
	type headers = map[string]string
	none := quota{remaining: -1}
	for name, test := range map[string]struct {
		h    headers
		want quota
	}{
		"nothing":                 {nil, none},
		"as OpenMeter documents":  {headers{"X-RateLimit-Limit": "100", "X-RateLimit-Remaining": "7", "X-RateLimit-Reset": "1795426202"}, quota{100, 7, 1500 * time.Millisecond}},
		"in milliseconds":         {headers{"X-RateLimit-Reset": "1795426202000"}, quota{0, -1, 1500 * time.Millisecond}},
		"seconds from now":        {headers{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "17"}, quota{0, 0, 17 * time.Second}},
		"a fraction":              {headers{"X-RateLimit-Reset": "0.25"}, quota{0, -1, 250 * time.Millisecond}},
		"a date":                  {headers{"X-RateLimit-Reset": "Mon, 23 Nov 2026 09:31:00 GMT"}, quota{0, -1, 59500 * time.Millisecond}},
		"as the drafts have them": {headers{"RateLimit-Limit": "100, 100;w=60", "RateLimit-Remaining": "9;x=1", "RateLimit-Reset": "30"}, quota{100, 9, 30 * time.Second}},
		"both":                    {headers{"X-RateLimit-Remaining": "1", "RateLimit-Remaining": "2", "X-RateLimit-Reset": "soon", "RateLimit-Reset": "3"}, quota{0, 1, 3 * time.Second}},
		"a reset that has passed": {headers{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1795426199"}, quota{0, 0, 0}},
		"a reset of 0":            {headers{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "0"}, quota{0, 0, 0}},
		"a reset in years":        {headers{"X-RateLimit-Reset": "99999999"}, quota{0, -1, maxRetryAfter}},
		"a reset past all time":   {headers{"X-RateLimit-Reset": "1e300"}, quota{0, -1, maxRetryAfter}},
		"a date past all time":    {headers{"X-RateLimit-Reset": "Fri, 31 Dec 9999 23:59:59 GMT"}, quota{0, -1, maxRetryAfter}},
		"infinite":                {headers{"X-RateLimit-Limit": "+Inf", "X-RateLimit-Remaining": "Inf", "X-RateLimit-Reset": "Inf"}, quota{maxQuota, maxQuota, maxRetryAfter}},
		"negative":                {headers{"X-RateLimit-Limit": "-1", "X-RateLimit-Remaining": "-1", "X-RateLimit-Reset": "-1"}, none},
		"no numbers":              {headers{"X-RateLimit-Limit": "NaN", "X-RateLimit-Remaining": "", "X-RateLimit-Reset": "NaN"}, none},
		"huge":                    {headers{"X-RateLimit-Remaining": "99999999999999999999999"}, quota{0, maxQuota, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			h := http.Header{}
			for k, v := range test.h {
				h.Set(k, v)
			}
			if diff := cmp.Diff(test.want, readQuota(h, now), cmp.AllowUnexported(quota{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A wait is seen while it lasts, and said once.
func TestThrottlingIsSeen(t *testing.T) {
	for by, test := range map[string]struct {
		limits Limits
		status int
		says   string
	}{
		byMeter:  {Limits{}, http.StatusTooManyRequests, "its limit"},
		byClient: {Limits{Rate: 1.0 / 40}, http.StatusNoContent, "OPENMETER_RATE_LIMIT"},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := &answers{next: func(int, *http.Request) (int, map[string]string) {
				return test.status, map[string]string{"Retry-After": "40"}
			}}
			var lines strings.Builder
			reg := prometheus.NewRegistry()
			test.limits.Log, test.limits.Registerer = slog.New(slog.NewTextHandler(&lines, nil)), reg
			c := over(t, m).Limit(test.limits)
			_ = c.Ingest(t.Context(), []byte("[]"))
			waited := c.limits.waited
			go c.Ingest(t.Context(), []byte("[]"))
			time.Sleep(20*time.Second + time.Millisecond)
			synctest.Wait()
			if got := testutil.ToFloat64(waited.WithLabelValues(by)); got < 19.9 || got > 20.1 {
				t.Errorf("%s: after 20 s of a wait the metric says %v", by, got)
			}
			for range 5 {
				_ = c.Ingest(t.Context(), []byte("[]"))
			}
			if n := strings.Count(lines.String(), "\n"); n != 1 || !strings.Contains(lines.String(), test.says) || strings.Contains(lines.String(), key) {
				t.Errorf("%s: the log has %d lines, want one with %q:\n%s", by, n, test.says, &lines)
			}
			for range 20 {
				_ = c.Ingest(t.Context(), []byte("[]"))
			}
			if n := strings.Count(lines.String(), "\n"); n != 2 {
				t.Errorf("%s: after another quarter of an hour the log has %d lines, want 2", by, n)
			}
			other := map[string]string{byMeter: byClient, byClient: byMeter}[by]
			if got := testutil.ToFloat64(waited.WithLabelValues(other)); got != 0 {
				t.Errorf("%v s are put down to %s", got, other)
			}
		})
	}
}

// The meter may have counted a request whose answer was lost.
func TestLostAnswersCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &answers{next: func(n int, _ *http.Request) (int, map[string]string) {
			if n == 1 || n == 2 {
				return 0, nil
			}
			return http.StatusNoContent, map[string]string{"X-RateLimit-Limit": "3", "X-RateLimit-Remaining": "2", "X-RateLimit-Reset": "60"}
		}}
		c := over(t, m)
		start := time.Now()
		sendAll(c, 1, 4)
		if before, after := m.times[2].Sub(start), m.times[3].Sub(start); before > 0 || after != time.Minute {
			t.Errorf("the third of three requests went after %v, the fourth after %v; want 0 and a minute", before, after)
		}
	})
}
