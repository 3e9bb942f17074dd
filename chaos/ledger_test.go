//go:build linux

package chaos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stripe/stripe-go/v85/webhook"

	"github.com/kgents/kgents/chaos/world"
)

// ledger drives load and keeps account of it.
type ledger struct {
	w    *world.World
	stop chan struct{}
	wg   sync.WaitGroup

	events         atomic.Int64 // that were sent, the bad ones too
	sent, refusals atomic.Int64 // requests, and those answered 503 or not at all

	mu      sync.Mutex
	acked   map[string]string // source and id → data
	refused map[string]bool
}

// request is sent until it is acknowledged, as clients and Stripe do.
type request struct {
	path   string
	body   []byte
	events map[string]string
	bad    bool // answered 400
}

func newLedger(w *world.World, seed uint64) *ledger {
	l := &ledger{w: w, stop: make(chan struct{}), acked: map[string]string{}, refused: map[string]bool{}}
	for worker := range 6 {
		r := rand.New(rand.NewPCG(seed, uint64(worker)))
		l.wg.Go(func() {
			client := &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for n := 0; ; n++ {
				select {
				case <-l.stop:
					return
				default:
				}
				req := l.next(r, worker, n)
				l.events.Add(int64(len(req.events)))
				l.deliver(client, r, req)
				if r.IntN(10) == 0 {
					l.deliver(client, r, req) // a client that didn't get the answer
				}
				time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond)
			}
		})
	}
	return l
}

// next makes a request that nobody has made before.
func (l *ledger) next(r *rand.Rand, worker, n int) request {
	id := fmt.Sprintf("%dx%d", worker, n)
	switch r.IntN(12) {
	case 0: // a payment
		data := fmt.Sprint(100 + r.IntN(10_000))
		return request{path: "/webhooks/stripe", events: map[string]string{"stripe evt_" + id: data}, body: fmt.Appendf(nil,
			`{"id":"evt_%s","object":"event","type":"invoice.paid","created":%d,"data":{"object":{"id":"in_%s","object":"invoice","customer":"cus_1","amount_paid":%s,"currency":"usd"}}}`,
			id, time.Now().Unix(), id, data)}
	case 1: // a batch with a bad event
		return request{path: "/api/v1/events", bad: true, events: map[string]string{"chaos " + id + "-0": ""},
			body: fmt.Appendf(nil, `[{"specversion":"1.0","id":"%s-0","source":"chaos","type":"agent.tokens","subject":"c","data":{}},{"id":"%s-1"}]`, id, id)}
	}
	req := request{path: "/api/v1/events", events: map[string]string{}}
	var events []map[string]any
	for i := range 1 + r.IntN(20) {
		data := map[string]any{"tokens": r.IntN(1000)}
		text, _ := json.Marshal(data)
		events = append(events, map[string]any{
			"specversion": "1.0", "id": fmt.Sprint(id, "-", i), "source": "chaos", "type": "agent.tokens", "subject": "c", "data": data,
		})
		req.events[fmt.Sprint("chaos ", id, "-", i)] = string(text)
	}
	req.body, _ = json.Marshal(events)
	return req
}

// deliver sends until the request is answered for good.
func (l *ledger) deliver(client *http.Client, r *rand.Rand, req request) {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		code, err := l.send(client, l.w.APIGates[r.IntN(len(l.w.APIGates))], req)
		l.sent.Add(1)
		switch {
		case err == nil && code < 300 && !req.bad:
			l.mu.Lock()
			for id, data := range req.events {
				l.acked[id] = data
			}
			l.mu.Unlock()
			return
		case err == nil && code == http.StatusBadRequest && req.bad:
			l.mu.Lock()
			for id := range req.events {
				l.refused[id] = true
			}
			l.mu.Unlock()
			return
		case err == nil && code != http.StatusServiceUnavailable && code != http.StatusRequestTimeout:
			l.w.Errorf("a request to %s (bad: %v) was answered %d", req.path, req.bad, code)
			return
		}
		l.refusals.Add(1)
		time.Sleep(pause)
	}
}

func (l *ledger) send(client *http.Client, way *world.Gate, req request) (int, error) {
	r, err := http.NewRequest(http.MethodPost, "http://"+way.Addr+req.path, bytes.NewReader(req.body))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+world.APIKey)
	if req.path == "/webhooks/stripe" {
		r.Header.Del("Authorization")
		signed := webhook.GenerateTestSignedPayload(&webhook.UnsignedPayload{Payload: req.body, Secret: world.WebhookSecret})
		r.Header.Set("Stripe-Signature", signed.Header)
	}
	resp, err := client.Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, nil
}

// finish ends the load; every request is answered for good when it returns.
func (l *ledger) finish() {
	close(l.stop)
	l.wg.Wait()
}

// missing is how many acknowledged events the meter has not counted yet.
func (l *ledger) missing() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.w.Meter.View(func(counted map[string]string) {
		for id := range l.acked {
			if _, ok := counted[id]; !ok {
				n++
			}
		}
	})
	return n
}

// verdict is the ledger held against the meter.
type verdict struct{ acked, counted, lost, surplus, changed int }

func (l *ledger) verdict() (v verdict) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.w.Meter.View(func(counted map[string]string) {
		v.acked = len(l.acked)
		for id, data := range l.acked {
			got, ok := counted[id]
			switch {
			case !ok:
				v.lost++
			case id[:6] != "stripe" && got != data:
				v.changed++
			}
		}
		for id := range counted {
			if ownEvent(id) {
				continue // the trade has its own account
			}
			v.counted++
			if _, ok := l.acked[id]; !ok {
				v.surplus++
			}
		}
	})
	return v
}
