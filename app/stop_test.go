package app_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/kgents/kgents/config"
)

// Stop finishes what is under way and takes nothing new.
func TestStopDrains(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Run("a request under way", func(t *testing.T) { // its servers are gone when the goroutines are counted
		entered, release := make(chan struct{}), make(chan struct{})
		meter := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.RawQuery == "slow" {
				close(entered)
				<-release
			}
			_, _ = w.Write([]byte("[]"))
		}))
		var connections atomic.Int64
		meter.Config.ConnState = func(_ net.Conn, s http.ConnState) {
			switch s {
			case http.StateNew:
				connections.Add(1)
			case http.StateClosed:
				connections.Add(-1)
			}
		}
		meter.Start()
		t.Cleanup(meter.Close)
		p := start(t, config.RoleAPI, settings(t, config.RoleAPI, map[string]string{
			"NATS_SERVERS": "nats://" + natsServer(t, true), "OPENMETER_BASE_URL": meter.URL,
		}))
		p.ready()
		slow, failed := make(chan answer, 1), make(chan error, 1)
		req := p.request(http.MethodGet, "/api/v1/meters?slow", "")
		go func() {
			a, err := do(req)
			if err != nil {
				failed <- err
				return
			}
			slow <- a
		}()
		<-entered
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			p.stop()
		}()
		eventually(t, "new connections are refused", func() bool {
			_, err := do(p.request(http.MethodGet, "/livez", ""))
			return err != nil
		})
		select {
		case <-stopped:
			t.Error("Stop has not waited for the request under way")
		default:
		}
		close(release)
		select {
		case a := <-slow:
			if a.status != 200 || a.body != "[]" {
				t.Errorf("the request under way is answered with %d %q", a.status, a.body)
			}
		case err := <-failed:
			t.Errorf("the request under way was cut: %v", err)
		}
		<-stopped
		eventually(t, "no connection to the meter is left", func() bool { return connections.Load() == 0 })
		select {
		case err := <-p.Failed():
			t.Errorf("a stop is no failure: %v", err)
		default:
		}
	})
	goleak.VerifyNone(t, before)
}

// Whatever was answered with 204 is counted by the next start, once, though the
// program was stopped with requests in every stage.
func TestStopUnderLoad(t *testing.T) {
	before := goleak.IgnoreCurrent()
	c := settings(t, config.RoleUp, nil)
	p := start(t, config.RoleUp, c)
	p.ready()
	var (
		taken, tried atomic.Int64
		senders      sync.WaitGroup
	)
	for i := range 8 {
		senders.Go(func() {
			for n := 0; ; n++ {
				tried.Add(1)
				a, err := do(p.interaction(fmt.Sprintf("%d-%d", i, n)))
				switch {
				case err != nil: // the port is closed
					return
				case a.status == http.StatusNoContent:
					taken.Add(1)
				case a.status != http.StatusServiceUnavailable:
					t.Errorf("an event is answered with %d %s", a.status, a.body)
					return
				}
			}
		})
	}
	eventually(t, "events flow", func() bool { return taken.Load() > 100 })
	p.stop()
	senders.Wait()
	goleak.VerifyNone(t, before)

	p = start(t, config.RoleUp, c)
	p.ready()
	eventually(t, "all that was accepted is counted", func() bool { return int64(p.interactions()) >= taken.Load() })
	if got := int64(p.interactions()); got > tried.Load() {
		t.Errorf("%d are counted, more than the %d that were sent", got, tried.Load())
	}
}
