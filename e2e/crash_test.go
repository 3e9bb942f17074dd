package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v85/webhook"

	"github.com/kgents/kgents/meter"
)

// request is something to send until it is acknowledged.
type request struct {
	path    string
	body    []byte
	numbers []int // the events of a usage request
	cents   int   // the amount of a payment
}

// usage makes a request with events numbered from first.
func usage(first, count int) request {
	type event struct {
		ID          string         `json:"id"`
		Source      string         `json:"source"`
		SpecVersion string         `json:"specversion"`
		Type        string         `json:"type"`
		Subject     string         `json:"subject"`
		Data        map[string]any `json:"data"`
	}
	r := request{path: "/api/v1/events"}
	var events []event
	for n := first; n < first+count; n++ {
		events = append(events, event{
			ID: fmt.Sprint("evt-", n), Source: "e2e", SpecVersion: "1.0", Type: "agent.tokens",
			Subject: fmt.Sprint("customer-", n%7), Data: map[string]any{"tokens": n, "model": "m", "agent": "a"},
		})
		r.numbers = append(r.numbers, n)
	}
	r.body, _ = json.Marshal(events)
	return r
}

// payment makes a paid invoice.
func payment(n int) request {
	cents := 100 + n
	return request{path: "/webhooks/stripe", cents: cents, body: fmt.Appendf(nil,
		`{"id":"evt_e2e%d","object":"event","type":"invoice.paid","created":%d,"api_version":"2026-01-01","livemode":false,`+
			`"data":{"object":{"id":"in_%d","object":"invoice","customer":"cus_%d","amount_paid":%d,"currency":"usd","subscription":"sub_%d"}}}`,
		n, time.Now().Unix(), n, n%5, cents, n)}
}

// send posts r and returns the status, or an error when there was no answer.
func (r request) send(client *http.Client, url string) (int, error) {
	req, err := http.NewRequest(http.MethodPost, url+r.path, bytes.NewReader(r.body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	if r.path == "/webhooks/stripe" {
		signed := webhook.GenerateTestSignedPayload(&webhook.UnsignedPayload{Payload: r.body, Secret: webhookSecret})
		req.Header.Set("Stripe-Signature", signed.Header)
	} else {
		req.Header.Set("Authorization", "Bearer "+apiKey)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, nil
}

// ledger is what was sent and what of it was acknowledged.
type ledger struct {
	mu      sync.Mutex
	r       *rand.Rand
	next    int // number of the next event
	pay     int // number of the next payment
	pending []request
	sum     float64 // of the numbers of all events handed out
	cents   float64
	acked   int // requests
	refused map[int]int
}

// take returns something to send: mostly new, sometimes again.
func (l *ledger) take() request {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.pending) > 0 && l.r.IntN(2) == 0 {
		last := len(l.pending) - 1
		r := l.pending[last]
		l.pending = l.pending[:last]
		return r
	}
	if l.r.IntN(4) == 0 {
		l.pay++
		r := payment(l.pay)
		l.cents += float64(r.cents)
		return r
	}
	r := usage(l.next, 1+l.r.IntN(30))
	l.next += len(r.numbers)
	for _, n := range r.numbers {
		l.sum += float64(n)
	}
	return r
}

func (l *ledger) settle(r request, status int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil && status/100 == 2:
		l.acked++
		if l.r.IntN(10) == 0 { // a client that did not see the answer
			l.pending = append(l.pending, r)
		}
	default:
		if err == nil {
			l.refused[status]++
		}
		l.pending = append(l.pending, r)
	}
}

// load sends with workers until stop is closed.
func (l *ledger) load(url string, workers int, stop <-chan struct{}) *sync.WaitGroup {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: workers}}
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				r := l.take()
				status, err := r.send(client, url)
				l.settle(r, status, err)
				if err != nil { // killed: no use in asking at full speed
					return
				}
			}
		})
	}
	return &wg
}

// drain sends what is pending until all of it is acknowledged.
func (l *ledger) drain(t *testing.T, url string) {
	t.Helper()
	client := &http.Client{Timeout: 10 * time.Second}
	deadline := time.Now().Add(time.Minute)
	for len(l.pending) > 0 {
		r := l.pending[len(l.pending)-1]
		status, err := r.send(client, url)
		if err == nil && status/100 == 2 {
			l.pending = l.pending[:len(l.pending)-1]
			continue
		}
		if time.Now().After(deadline) {
			t.Fatalf("can't be delivered: %d, %v", status, err)
		}
	}
}

func (p *process) total(slug string) float64 {
	p.t.Helper()
	res, err := p.meter().Query(p.t.Context(), meter.Query{Meter: slug})
	if err != nil {
		p.t.Fatal(err)
	}
	total := 0.0
	for _, row := range res.Data {
		total += row.Value
	}
	return total
}

// TestCrash kills the program at random moments under load, sends again what was
// not acknowledged, and wants every event counted once.
func TestCrash(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	l := &ledger{r: rand.New(rand.NewPCG(seed, 0)), refused: map[int]int{}}
	when := rand.New(rand.NewPCG(seed, 1))
	dir := t.TempDir()
	meters := filepath.Join(t.TempDir(), "meters.yaml")
	if err := os.WriteFile(meters, []byte(crashMeters), 0o600); err != nil {
		t.Fatal(err)
	}
	for round := range *rounds {
		p := up(t, dir, "--meters-file", meters)
		stop := make(chan struct{})
		workers := l.load(p.url, 8, stop)
		<-time.After(time.Duration(when.IntN(1000)) * time.Millisecond)
		p.kill()
		close(stop)
		workers.Wait()
		if t.Failed() {
			t.Fatalf("round %d", round)
		}
	}
	p := up(t, dir, "--meters-file", meters)
	l.drain(t, p.url)
	t.Logf("%d kills, %d requests acknowledged, %d events, %d payments, refusals %v", *rounds, l.acked, l.next, l.pay, l.refused)
	if l.acked < 10 {
		t.Fatalf("only %d requests were acknowledged: the load tests nothing", l.acked)
	}
	// The messages that the last sink held come back after stream.AckWait.
	eventually(t, time.Minute, func() (bool, any) {
		code, body := p.get("/health/saas")
		return p.total("numbers") >= l.sum && p.total("payments") >= l.cents, fmt.Sprint(code, body)
	})
	for slug, want := range map[string]float64{
		"numbers": l.sum, "events": float64(l.next), "distinct": float64(l.next),
		"payments": l.cents, "payments_made": float64(l.pay),
	} {
		if got := p.total(slug); got != want {
			t.Errorf("meter %s says %v, want %v: an event was lost or doubled", slug, got, want)
		}
	}
	p.stop()
}

// crashMeters count the same events in different ways: what is lost and what is
// doubled can't make up for each other in all of them.
const crashMeters = `meters:
  - {slug: numbers, eventType: agent.tokens, aggregation: SUM, valueProperty: $.tokens}
  - {slug: events, eventType: agent.tokens, aggregation: COUNT}
  - {slug: distinct, eventType: agent.tokens, aggregation: UNIQUE_COUNT, valueProperty: $.tokens}
  - {slug: payments, eventType: payment.success, aggregation: SUM, valueProperty: $.amount}
  - {slug: payments_made, eventType: payment.success, aggregation: COUNT}
`
