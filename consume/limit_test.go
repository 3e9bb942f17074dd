package consume

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/kgents/kgents/meter"
	"github.com/kgents/kgents/stream"
)

// openMeter plays OpenMeter's cloud: so many requests a second of the clock, told by
// X-RateLimit-*, and past it 429 with Retry-After.
type openMeter struct {
	allows int

	mu      sync.Mutex
	window  int64
	used    int
	most    int // requests in one window
	refused int
	taken   map[string]int
}

func (m *openMeter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var events []struct{ ID string }
	if err == nil {
		err = json.Unmarshal(body, &events)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if now := time.Now().Unix(); now != m.window {
		m.window, m.used = now, 0
	}
	m.used++
	m.most = max(m.most, m.used)
	w.Header().Set("X-RateLimit-Limit", strconv.Itoa(m.allows))
	w.Header().Set("X-RateLimit-Remaining", strconv.Itoa(max(0, m.allows-m.used)))
	w.Header().Set("X-RateLimit-Reset", strconv.FormatInt(m.window+1, 10))
	if m.used > m.allows {
		m.refused++
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	for _, e := range events {
		m.taken[e.ID]++
	}
	w.WriteHeader(http.StatusNoContent)
}

// A meter that allows five requests a second gets no more than that, from one sink
// that goes by its answers and from two that share the limit, and every event once.
func TestMeterThatAllowsFive(t *testing.T) {
	for name, sinks := range map[string][]meter.Limits{
		"by its answers": {{}},
		"shared by two":  {{Rate: 1.7}, {Rate: 1.7}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			m := &openMeter{allows: 5, taken: map[string]int{}}
			server := httptest.NewServer(m)
			t.Cleanup(server.Close)
			const requests, each = 12, 10
			b.publish(0, requests, each)
			for _, limits := range sinks {
				client, err := meter.NewClient(server.URL, "key")
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(client.Close)
				b.sink(nil, func(c *Config) {
					c.Meter, c.BatchSize = client.Limit(limits), each
				})
			}
			b.eventually("every event is metered", func() bool {
				m.mu.Lock()
				defer m.mu.Unlock()
				return len(m.taken) == requests*each
			})
			b.eventually("everything is acknowledged", b.noBacklog)
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.refused > 0 || m.most > m.allows {
				t.Errorf("%d requests in a second, %d were refused; it allows %d", m.most, m.refused, m.allows)
			}
			for i := range requests * each {
				if got := m.taken[fmt.Sprint(i)]; got != 1 {
					t.Errorf("event %d was metered %d times", i, got)
				}
			}
		})
	}
}

// slow plays a meter that asks for long pauses before it takes anything.
type slow struct {
	mu     sync.Mutex
	pauses int
}

func (m *slow) RoundTrip(r *http.Request) (*http.Response, error) {
	if trace := httptrace.ContextClientTrace(r.Context()); trace != nil && trace.GetConn != nil {
		trace.GetConn("meter.test") // as http.Transport does
	}
	time.Sleep(10 * time.Millisecond)
	m.mu.Lock()
	defer m.mu.Unlock()
	resp := &http.Response{StatusCode: http.StatusNoContent, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("")), Request: r}
	if m.pauses--; m.pauses >= 0 {
		resp.StatusCode = http.StatusTooManyRequests
		resp.Header.Set("Retry-After", "300")
	}
	return resp, nil
}

// However long limits hold messages up, the server hears of each of them often enough
// not to deliver it again, wherever in the sink it waits. And the meter's latency is
// not that of the wait.
func TestLimitsKeepMessagesAlive(t *testing.T) {
	for name, limits := range map[string]meter.Limits{
		"a pause of the meter's": {},
		"a rate of our own":      {Rate: 0.01},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &slow{}
				if limits.Rate == 0 {
					m.pauses = 1
				}
				client, err := meter.NewClient("http://meter.test", "key")
				if err != nil {
					t.Fatal(err)
				}
				s := newSink(nil, &graveyard{})
				s.Meter = client.Over(&http.Client{Transport: m}).Limit(limits)

				// Of two large messages a flush is full, so the next one is in no batch
				// when all flights are taken.
				var in []*message
				pad := strings.Repeat("x", stream.MaxBodyBytes-1000)
				for i := range 4*flights + 2 {
					in = append(in, foreign(fmt.Sprintf(`[{"id":"%d","source":"s","pad":"%s"}]`, i, pad)))
				}
				start := time.Now()
				gone := make(chan struct{})
				go func() {
					defer close(gone)
					messages := make(chan Message)
					go func() {
						defer close(messages)
						for _, m := range in {
							messages <- m
						}
					}()
					s.work(t.Context(), messages)
				}()
				// Those that the sink has taken are heard of in each AckWait, and none of
				// them can be metered as soon as that.
				last := make([]int, len(in))
				for range 4 {
					time.Sleep(stream.AckWait - time.Second)
					synctest.Wait()
					alive := 0
					for i, m := range in {
						m.mu.Lock()
						if m.alives > last[i] {
							alive++
						}
						last[i] = m.alives
						m.mu.Unlock()
					}
					if want := 2*flights + 2 + 1; alive != want {
						t.Errorf("after %v %d messages are kept alive, want the %d of the flights, of the flush that is next and the one behind it",
							time.Since(start), alive, want)
					}
				}
				<-gone
				for i, m := range in {
					if m.acks != 1 || m.naks != 0 {
						t.Errorf("message %d: %d acknowledgements, given back %d times", i, m.acks, m.naks)
					}
				}
				if got := mean(t, s.metrics.latency); got > 0.02 {
					t.Errorf("the meter's latency is said to be %v s, it was 10 ms", got)
				}
			})
		})
	}
}

func mean(t *testing.T, h prometheus.Histogram) float64 {
	t.Helper()
	var out dto.Metric
	if err := h.Write(&out); err != nil {
		t.Fatal(err)
	}
	return out.Histogram.GetSampleSum() / float64(out.Histogram.GetSampleCount())
}
