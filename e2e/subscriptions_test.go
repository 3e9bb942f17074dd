package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kgents/kgents/emit"
)

// lives are scenarios of `kgents emit stripe`, and the plan and status that each ends in.
var lives = map[string]string{
	"trial": "pro trialing", "trial-to-paid": "pro active", "trial-to-paused": "free paused", "resumed": "pro active", "paid": "pro active",
	"incomplete": "free incomplete", "dunning": "pro past_due", "dunning-healed": "pro active", "dunning-lost": "free unpaid",
	"upgrade": "teams active", "downgrade": "pro active", "cancel": "pro active", "cancel-now": "free canceled", "two": "teams active",
}

// ask sends a request with the operator's key.
func ask(method, url, body string) (int, string, error) {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+apiKey)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(answer), err
}

// TestSubscriptionsSurviveCrashes kills the program at random moments while Stripe tells
// of subscriptions, doubled and in no order, and repeats what wasn't acknowledged. Every
// customer ends on the plan that its events have in their order.
func TestSubscriptionsSurviveCrashes(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	l := &ledger{r: r, refused: map[int]int{}}
	dir := t.TempDir()

	p := up(t, dir)
	for name := range lives {
		eventually(t, 30*time.Second, func() (bool, any) {
			status, answer, err := ask(http.MethodPost, p.url+"/v1/customers", fmt.Sprintf(`{"id":%q}`, name))
			return status == http.StatusCreated, fmt.Sprint(status, answer, err)
		})
		source, err := emit.Scenario(name, emit.Life{Customer: name, Mix: emit.Mix{Seed: seed + uint64(len(l.pending)), Duplicates: 0.5}})
		if err != nil {
			t.Fatal(err)
		}
		for {
			req, ok := source.Next()
			if !ok {
				break
			}
			l.pending = append(l.pending, request{path: req.Path, body: req.Body})
		}
	}
	r.Shuffle(len(l.pending), func(i, j int) { l.pending[i], l.pending[j] = l.pending[j], l.pending[i] })
	all := l.pending
	for kill := range 8 {
		l.pending = append(l.pending[:len(l.pending):len(l.pending)], all[:len(all)/8*kill]...)
		client := &http.Client{Timeout: 10 * time.Second}
		killed, moment := make(chan struct{}), time.Duration(r.IntN(60))*time.Millisecond
		go func() {
			defer close(killed)
			<-time.After(moment)
			p.kill()
		}()
		for len(l.pending) > 0 {
			last := l.pending[len(l.pending)-1]
			if status, err := last.send(client, p.url); err != nil {
				break
			} else if status/100 == 2 {
				l.pending = l.pending[:len(l.pending)-1]
			}
		}
		<-killed
		p = up(t, dir)
	}
	l.drain(t, p.url)
	for name, want := range lives {
		// What the killed program held comes back after stream.AckWait.
		eventually(t, time.Minute, func() (bool, any) {
			_, answer, err := ask(http.MethodGet, p.url+"/v1/customers/"+name, "")
			if err != nil {
				return false, err
			}
			var c struct{ Standing struct{ Plan, Status string } }
			if err := json.Unmarshal([]byte(answer), &c); err != nil {
				return false, answer
			}
			return c.Standing.Plan+" "+c.Standing.Status == want, name + ": " + answer
		})
	}
	p.stop()
}
