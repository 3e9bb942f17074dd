package app_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kgents/kgents/config"
)

// balancer is what a Service does: it says where a new connection goes, and lets
// those be that are there.
type balancer struct{ target atomic.Pointer[string] }

func (b *balancer) use(p *program) {
	u, err := url.Parse(p.URL())
	if err != nil {
		p.t.Fatal(err)
	}
	b.target.Store(&u.Host)
}

// customer is a client with one kept connection of its own.
type customer struct {
	*http.Client
	t    *testing.T
	name string
	sent int
}

func (b *balancer) customer(t *testing.T, name string) *customer {
	transport := &http.Transport{
		MaxConnsPerHost: 1,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, *b.target.Load())
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &customer{Client: &http.Client{Transport: transport, Timeout: time.Minute}, t: t, name: name}
}

// post sends an event. It says whether that went over the kept connection and
// whether the server then ended that.
func (c *customer) post() (kept, ended bool) {
	c.sent++
	body := fmt.Sprintf(`{"specversion":"1.0","id":"%s-%d","source":"smallville","type":"town.interaction","subject":"customer-1","data":{"town":"smallville","operation":"greet"}}`, c.name, c.sent)
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) { kept = i.Reused },
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://kgents-api/api/v1/events", io.NopCloser(strings.NewReader(body)))
	if err != nil {
		c.t.Error(err)
		return false, false
	}
	req.ContentLength = int64(len(body)) // and no GetBody: nobody sends it a second time in silence
	req.Header.Set("Authorization", "Bearer "+apiKey)
	req.Header.Set("Content-Type", "application/cloudevents+json")
	resp, err := c.Do(req)
	if err != nil {
		c.t.Errorf("%s: event %d: %v", c.name, c.sent, err)
		return false, false
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusNoContent {
		c.t.Errorf("%s: event %d is answered with %d %s (%v)", c.name, c.sent, resp.StatusCode, text, err)
	}
	return kept, resp.Close
}

// A client with kept connections does not notice that an api stops while another
// takes over: nothing is cut, refused or sent twice.
func TestHandover(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Run("under load", func(t *testing.T) { // its servers are gone when the goroutines are counted
		env := map[string]string{
			"NATS_SERVERS": "nats://" + natsServer(t, true), "OPENMETER_BASE_URL": "http://127.0.0.1:1",
		}
		first := start(t, config.RoleAPI, settings(t, config.RoleAPI, env))
		first.ready()
		second := start(t, config.RoleAPI, settings(t, config.RoleAPI, env))
		second.ready()
		var service balancer
		service.use(first)

		// Some send all the time, with pauses of any length below the linger's.
		const busy, idle = 32, 16
		done := make(chan struct{})
		var moved, senders sync.WaitGroup
		defer senders.Wait()
		finish := sync.OnceFunc(func() { close(done) })
		defer finish()
		moved.Add(busy)
		var sent, fresh atomic.Int64
		for i := range busy {
			c := service.customer(t, fmt.Sprint("busy-", i))
			senders.Go(func() {
				defer c.CloseIdleConnections()
				left := sync.OnceFunc(moved.Done)
				defer left()
				for {
					kept, ended := c.post()
					sent.Add(1)
					if ended {
						left()
						if !kept {
							fresh.Add(1)
						}
					}
					select {
					case <-done:
						return
					case <-time.After(time.Duration(rand.N(20+60*int64(i))) * time.Millisecond):
					}
				}
			})
		}
		// Others have a connection and are silent until the stop is under way.
		var silent []*customer
		for i := range idle {
			c := service.customer(t, fmt.Sprint("idle-", i))
			c.post()
			silent = append(silent, c)
		}
		eventually(t, "events flow", func() bool { return sent.Load() > 10*busy })

		stopped := make(chan struct{})
		go func() { defer close(stopped); first.stop() }()
		eventually(t, "not ready", func() bool { return first.get("/readyz").status == http.StatusServiceUnavailable })
		// The news of it is slow: for a while new connections still come here.
		eventually(t, "events on new connections", func() bool { return fresh.Load() > 10 })
		service.use(second)
		for _, c := range silent {
			if kept, ended := c.post(); !kept || !ended {
				t.Errorf("%s: the first event since the stop: on the kept connection %v, which ended with it %v; want both", c.name, kept, ended)
			}
			if kept, ended := c.post(); kept || ended {
				t.Errorf("%s: the next event: on a kept connection %v, which ended with it %v; want neither", c.name, kept, ended)
			}
			c.CloseIdleConnections()
		}
		<-stopped
		moved.Wait()
		enough := sent.Load() + busy
		eventually(t, "events flow on", func() bool { return sent.Load() > enough })
	})
	goleak.VerifyNone(t, before)
}

// Where no other replica takes over, a stop has nobody to wait for.
func TestOnlyAnAPILingers(t *testing.T) {
	env := map[string]string{"NATS_SERVERS": "nats://" + natsServer(t, true), "OPENMETER_BASE_URL": "http://127.0.0.1:1"}
	for role, env := range map[config.Role]map[string]string{config.RoleUp: nil, config.RoleSink: env, config.RoleMeter: nil} {
		t.Run(string(role), func(t *testing.T) {
			p := start(t, role, settings(t, role, env))
			p.ready()
			c := &http.Client{Transport: &http.Transport{}}
			defer c.CloseIdleConnections()
			resp, err := c.Get(p.URL() + "/livez") // its connection stays
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			began := time.Now()
			p.stop()
			if took := time.Since(began); took > 4*time.Second {
				t.Errorf("a stop with a silent client took %v", took)
			}
		})
	}
}
