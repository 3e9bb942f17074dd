package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kgents/kgents/meter"
)

// observation is the program's state at one moment of the sustained run.
type observation struct {
	at      time.Duration
	age     float64 // seconds, of the oldest unmetered message
	backlog float64 // messages
	rss     float64 // MB
}

// sustained sends at a fixed rate, and watches the backlog and the memory of the
// whole program while it counts.
func (b *bench) sustained(length time.Duration, rate int) error {
	s, err := b.up()
	if err != nil {
		return err
	}
	defer s.stop()
	began := time.Now()
	var (
		seen []observation
		stop = make(chan struct{})
		done = make(chan struct{})
	)
	go func() {
		defer close(done)
		for tick := time.NewTicker(time.Second); ; {
			select {
			case <-stop:
				tick.Stop()
				return
			case <-tick.C:
				if o, err := s.observe(); err == nil {
					o.at = time.Since(began)
					seen = append(seen, o)
				}
			}
		}
	}()
	load := loadSpec{url: s.url, path: "/api/v1/events", connections: 16, batch: 100, perSecond: float64(rate)}
	total, sent, err := load.run(length, 1)
	close(stop)
	<-done
	if err != nil {
		return err
	}
	counted, drained, err := waitCounted(s.url, float64(total))
	if err != nil {
		return err
	}
	middle := seen[len(seen)/2:]
	early, late := seen[len(seen)/4:len(seen)/2], seen[3*len(seen)/4:]
	maxOf := func(list []observation, f func(observation) float64) float64 {
		return slices.Max(collect(list, f))
	}
	rss := func(o observation) float64 { return o.rss }
	age := func(o observation) float64 { return o.age }
	backlog := func(o observation) float64 { return o.backlog }
	b.row(fmt.Sprintf("from HTTP to counted in the embedded meter, sustained for %d s", int(length.Seconds())), "50,000 events/s, backlog not growing",
		fmt.Sprintf("**%.0f events/s** accepted; %.0f counted, the last %.1f s after the load ended; backlog at most %.0f messages in the second quarter and %.0f in the last, the oldest %.1f s",
			sent, counted, drained.Seconds(), maxOf(early, backlog), maxOf(late, backlog), maxOf(middle, age)))
	b.row("memory of `kgents up` while doing that", "under 300 MB, and flat",
		fmt.Sprintf("**%.0f MB** at most; %.0f MB in the second quarter, %.0f MB in the last", maxOf(seen, rss), maxOf(early, rss), maxOf(late, rss)))
	return nil
}

func collect(list []observation, f func(observation) float64) []float64 {
	out := []float64{0}
	for _, o := range list {
		out = append(out, f(o))
	}
	return out
}

// observe reads the program's metrics.
func (s *server) observe() (observation, error) {
	resp, err := http.Get(s.url + "/metrics")
	if err != nil {
		return observation{}, err
	}
	defer resp.Body.Close()
	var o observation
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			continue
		}
		switch name {
		case "kgents_backlog_messages":
			o.backlog = v
		case "kgents_backlog_oldest_age_seconds":
			o.age = v
		case "process_resident_memory_bytes":
			o.rss = v / 1e6
		}
	}
	return o, nil
}

// waitCounted waits until the meter has counted want events.
func waitCounted(url string, want float64) (counted float64, took time.Duration, err error) {
	c, err := meter.NewClient(url, key)
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	for time.Since(began) < 5*time.Minute {
		r, err := c.Query(context.Background(), meter.Query{Meter: "agent_tokens"})
		if err != nil {
			return 0, 0, err
		}
		if len(r.Data) > 0 {
			counted = r.Data[0].Value / 1834 // the tokens of each sample
		}
		if counted >= want {
			return counted, time.Since(began), nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return counted, 0, fmt.Errorf("%.0f of %.0f events counted after five minutes", counted, want)
}

// start measures how long the program takes to be ready.
func (b *bench) start() error {
	var times []float64
	for range 10 {
		took, err := b.startOnce()
		if err != nil {
			return err
		}
		times = append(times, took.Seconds())
	}
	slices.Sort(times)
	b.row("`kgents up` from start to ready", "under 1 s", fmt.Sprintf("**%.2f s** (median of 10, the longest %.2f s)", times[len(times)/2], times[len(times)-1]))
	return nil
}

func (b *bench) startOnce() (time.Duration, error) {
	dir, err := os.MkdirTemp("", "kgents-bench-")
	if err != nil {
		return 0, err
	}
	began := time.Now()
	s, err := launch(func(string) *exec.Cmd {
		cmd := exec.Command(b.binary, "up", "--data", dir, "--api-port", "0", "--log-level", "warn")
		cmd.Env = append(os.Environ(), "API_KEYS="+key)
		return cmd
	}, "  health           ")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	defer s.stop()
	for time.Since(began) < 30*time.Second {
		resp, err := http.Get(s.url + "/readyz")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return time.Since(began), nil
			}
		}
		time.Sleep(time.Millisecond)
	}
	return 0, errors.New("not ready within 30 s")
}
