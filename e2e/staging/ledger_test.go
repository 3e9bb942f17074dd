//go:build cluster

package staging

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stripe/stripe-go/v85/webhook"

	"github.com/kgents/kgents/meter"
)

const (
	workers = 8

	// pause is the longest pause of a worker between two requests: together they
	// send about 100 requests a second.
	pause = 150 * time.Millisecond

	// patience is how long a client waits for an answer. Stripe waits about ten
	// seconds.
	patience = 10 * time.Second

	// perSubject is how many events a subject gets, so that the meter lists all of
	// them in one answer, of at most 100.
	perSubject = 60
)

// keys are what clients authenticate with. They change under the load's feet when
// one is rotated.
type keys struct {
	mu                 sync.Mutex
	api, webhookSecret string
}

func (k *keys) set(api, webhookSecret string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.api, k.webhookSecret = api, webhookSecret
}

func (k *keys) get() (api, webhookSecret string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.api, k.webhookSecret
}

// ledger drives load and keeps account of it.
type ledger struct {
	url  string
	run  string // makes ids unlike those of any other ledger
	keys *keys
	stop chan struct{}
	wg   sync.WaitGroup

	mu         sync.Mutex
	requests   int
	refused    int                       // 503 with Retry-After
	unanswered int                       // no answer: the connection was refused, cut or silent
	bare       int                       // 503 without Retry-After
	wrong      int                       // any other answer
	bad        map[int64]int             // second → requests in it that were not acknowledged
	acked      map[string]map[string]int // subject → id → what it counts
	spans      map[string]span           // subject → times of its events
	slowest    time.Duration             // acknowledgement
	problem    string                    // of the last answer that was no 2xx
}

// span is a period of time.
type span struct{ first, last time.Time }

// request is sent until it is acknowledged, as Stripe and careful clients do.
type request struct {
	at      time.Time // of its events
	path    string
	subject string
	body    []byte
	events  map[string]int
}

func startLoad(url string, k *keys) *ledger {
	l := &ledger{url: url, keys: k, run: fmt.Sprintf("%x", rand.Uint32()), stop: make(chan struct{}), acked: map[string]map[string]int{}, spans: map[string]span{}, bad: map[int64]int{}}
	for worker := range workers {
		r := rand.New(rand.NewPCG(rand.Uint64(), uint64(worker)))
		l.wg.Go(func() {
			client := &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
			defer client.CloseIdleConnections()
			inSubject, subject := 0, 0
			for n := 0; ; n++ {
				select {
				case <-l.stop:
					return
				default:
				}
				if inSubject >= perSubject {
					inSubject, subject = 0, subject+1
				}
				req := l.next(r, fmt.Sprintf("%s-%d-%d", l.run, worker, subject), fmt.Sprintf("%s-%d-%d", l.run, worker, n))
				inSubject += len(req.events)
				l.deliver(client, req)
				if r.IntN(10) == 0 {
					l.deliver(client, req) // a client that didn't get the answer
				}
				time.Sleep(time.Duration(r.Int64N(int64(pause))))
			}
		})
	}
	return l
}

// next makes a request that nobody has made before.
func (l *ledger) next(r *rand.Rand, subject, id string) request {
	now := time.Now().UTC().Truncate(time.Second)
	if r.IntN(6) == 0 { // a payment
		amount := 100 + r.IntN(10_000)
		id = strings.ReplaceAll(id, "-", "x") // as Stripe's ids are
		return request{at: now, path: "/webhooks/stripe", subject: "cus_" + subject, events: map[string]int{"evt_" + id: amount}, body: fmt.Appendf(nil,
			`{"id":"evt_%s","object":"event","type":"invoice.paid","created":%d,"data":{"object":{"id":"in_%s","object":"invoice","customer":"cus_%s","amount_paid":%d,"currency":"usd"}}}`,
			id, now.Unix(), id, subject, amount)}
	}
	req := request{at: now, path: "/api/v1/events", subject: subject, events: map[string]int{}}
	var events []map[string]any
	for i := range 1 + r.IntN(8) {
		tokens := r.IntN(1000)
		id := fmt.Sprint(id, "-", i)
		events = append(events, map[string]any{
			"specversion": "1.0", "id": id, "source": "e2e", "type": "agent.tokens", "subject": subject,
			"time": now.Format(time.RFC3339), "data": map[string]any{"tokens": tokens, "model": "m", "agent": "a"},
		})
		req.events[id] = tokens
	}
	req.body, _ = json.Marshal(events)
	return req
}

// deliver sends until the request is acknowledged.
func (l *ledger) deliver(client *http.Client, req request) {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		began := time.Now()
		status, retryAfter, problem, err := l.send(client, req)
		took := time.Since(began)
		l.mu.Lock()
		l.requests++
		if err == nil && status/100 == 2 {
			if l.acked[req.subject] == nil {
				l.acked[req.subject] = map[string]int{}
			}
			maps.Copy(l.acked[req.subject], req.events)
			of, ok := l.spans[req.subject]
			if !ok {
				of.first = req.at
			}
			of.last = req.at
			l.spans[req.subject] = of
			l.slowest = max(l.slowest, took)
			l.mu.Unlock()
			return
		}
		l.bad[time.Now().Unix()]++
		switch {
		case err != nil:
			l.unanswered++
			l.problem = err.Error()
		case status == http.StatusServiceUnavailable && retryAfter != "":
			l.refused++
			l.problem = problem
		case status == http.StatusServiceUnavailable:
			l.bare++
			l.problem = problem
		default:
			l.wrong++
			l.problem = fmt.Sprintf("%s was answered %d %s", req.path, status, problem)
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		time.Sleep(wait)
	}
}

func (l *ledger) send(client *http.Client, req request) (status int, retryAfter, problem string, err error) {
	r, err := http.NewRequest(http.MethodPost, l.url+req.path, bytes.NewReader(req.body))
	if err != nil {
		return 0, "", "", err
	}
	key, webhookSecret := l.keys.get()
	r.Header.Set("Content-Type", "application/json")
	if req.path == "/webhooks/stripe" {
		r.Header.Set("Stripe-Signature", webhook.GenerateTestSignedPayload(&webhook.UnsignedPayload{Payload: req.body, Secret: webhookSecret}).Header)
	} else {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := client.Do(r)
	if err != nil {
		return 0, "", "", err
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	return resp.StatusCode, resp.Header.Get("Retry-After"), string(body), nil
}

// finish ends the load; every request is acknowledged when it returns.
func (l *ledger) finish() {
	close(l.stop)
	l.wg.Wait()
}

// verdict is the ledger held against the meter.
type verdict struct {
	Acked, Counted, Lost, Doubled int
	missing                       []string // some of the lost
}

// check asks the meter for every event, by id, and for the sums, which must be
// the same in two ways.
func (l *ledger) check(ctx context.Context, m *meter.Client) (v verdict, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	subjects := slices.Collect(maps.Keys(l.acked))
	lists, errs := make([]map[string]int, len(subjects)), make([]error, len(subjects))
	slots := make(chan struct{}, 4)
	var asks sync.WaitGroup
	for i, subject := range subjects {
		slots <- struct{}{}
		asks.Go(func() {
			defer func() { <-slots }()
			lists[i], errs[i] = l.list(ctx, m, subject)
		})
	}
	asks.Wait()
	if err := errors.Join(errs...); err != nil {
		return v, err
	}
	tokens, cents := 0, 0
	for i, subject := range subjects {
		events, seen := l.acked[subject], lists[i]
		v.Acked += len(events)
		for id, value := range events {
			n := seen[id]
			v.Counted += n
			switch {
			case n == 0:
				v.Lost++
				if len(v.missing) < 5 {
					v.missing = append(v.missing, subject+" "+id)
				}
			case n > 1:
				v.Doubled += n - 1
			}
			if id[:4] == "evt_" {
				cents += value
			} else {
				tokens += value
			}
			delete(seen, id)
		}
		for range seen { // counted, and never acknowledged
			v.Doubled++
			v.Counted++
		}
	}
	for slug, want := range map[string]int{"agent_tokens": tokens, "payments": cents} {
		got := 0.0
		for part := range slices.Chunk(subjects, 50) {
			result, err := m.Query(ctx, meter.Query{Meter: slug, Subjects: part})
			if err != nil {
				return v, err
			}
			for _, row := range result.Data {
				got += row.Value
			}
		}
		if v.Lost == 0 && v.Doubled == 0 && int(got) != want {
			return v, fmt.Errorf("the meter %s says %v, the ledger %d", slug, got, want)
		}
	}
	return v, nil
}

// list is how often the meter lists each event of a subject.
func (l *ledger) list(ctx context.Context, m *meter.Client, subject string) (map[string]int, error) {
	listed, err := m.Events(ctx, meter.EventFilter{Subject: subject, From: l.spans[subject].first, To: l.spans[subject].last})
	if err != nil {
		return nil, err
	}
	seen := map[string]int{}
	for _, stored := range listed {
		var e struct{ ID string }
		if err := json.Unmarshal(stored.Event, &e); err != nil {
			return nil, err
		}
		seen[e.ID]++
	}
	return seen, nil
}

// troubled is for how long in all requests were not taken, and a picture of when,
// in seconds from the first of them. Clients come again every 2 s, so a pause of 3 s
// between two refusals is no sign that one would have been taken.
func (l *ledger) troubled() (all time.Duration, when string) {
	seconds := slices.Sorted(maps.Keys(l.bad))
	for i := 0; i < len(seconds); {
		first := seconds[i]
		for i++; i < len(seconds) && seconds[i] <= seconds[i-1]+3; i++ {
		}
		last := seconds[i-1]
		all += time.Duration(last-first+1) * time.Second
		when += fmt.Sprintf(" %d-%d", first-seconds[0], last-seconds[0])
	}
	return all, when
}
