package load

import (
	"bufio"
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/kgents/kgents/meter"
)

const (
	// settleFor is how long after the meter has everything it is asked once more: an
	// event that is delivered twice comes late.
	settleFor = 2 * time.Second

	// fewCustomers is up to where the meter is asked for ours by name; of more it is
	// asked for all.
	fewCustomers = 100

	countEvery = 250 * time.Millisecond

	// interruptedWait is how long the meter gets after Ctrl-C.
	interruptedWait = 3 * time.Second
)

// Count is what the meter said, compared with what was accepted.
type Count struct {
	Known    bool          `json:"known"`            // the meter could be asked
	Reason   string        `json:"reason,omitempty"` // why not
	Complete bool          `json:"complete"`         // the meter has everything
	Drained  time.Duration `json:"drained_ns"`       // since the last answer, if complete
	Accepted int64         `json:"accepted"`         // different events that were accepted
	Maybe    int64         `json:"maybe"`            // events that were sent, and of which no answer says
	Lost     int64         `json:"lost"`
	Doubled  int64         `json:"doubled"`
	Affected []string      `json:"affected,omitempty"` // customers with either, the first few
}

// count asks the meter until it has all that was accepted, and once more.
func (r *run) count(ctx context.Context, answered time.Time) Count {
	c := Count{}
	c.Accepted, c.Maybe = r.ledger.total()
	patience := time.Duration(r.profile.Drain)
	ask, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience+30*time.Second)
	defer cancel()
	for {
		err := r.compare(ask, &c)
		now := time.Now()
		if c.Known = err == nil; !c.Known {
			c.Reason = err.Error()
		}
		if c.Known && c.Lost == 0 {
			c.Complete, c.Drained, c.Reason = true, now.Sub(answered), ""
			break
		}
		// After Ctrl-C it is looked at for a moment only.
		if now.Sub(answered) > patience || ctx.Err() != nil && now.Sub(answered) > interruptedWait {
			return c
		}
		_ = wait(ask, countEvery)
	}
	_ = wait(ctx, settleFor)
	if err := r.compare(ask, &c); err != nil {
		c.Known, c.Reason = false, err.Error()
	}
	return c
}

// compare asks once, and sets what is lost and doubled so far.
func (r *run) compare(ctx context.Context, c *Count) error {
	c.Lost, c.Doubled, c.Affected = 0, 0, nil
	for k, slug := range meterOf {
		q := meter.Query{Meter: slug, From: r.began.Add(-time.Minute), GroupBy: []string{"subject"}}
		if n := len(r.ledger.tallies[k]); n <= fewCustomers {
			for i := range n {
				q.Subjects = append(q.Subjects, r.traffic.subject(i))
			}
		}
		if kind(k) == stripe && r.profile.Events.Stripe == 0 {
			continue
		}
		result, err := r.meter.Query(ctx, q)
		if err != nil {
			return err
		}
		counted := make(map[string]float64, len(result.Data))
		for _, row := range result.Data {
			if row.Subject != nil {
				counted[*row.Subject] += row.Value
			}
		}
		for i, t := range r.ledger.tallies[k] {
			missing, extra := t.compare(counted[r.traffic.subject(i)])
			c.Lost += missing
			c.Doubled += extra
			if missing+extra > 0 && len(c.Affected) < 5 {
				c.Affected = append(c.Affected, r.traffic.subject(i))
			}
		}
	}
	return nil
}

// Seen is what the system said of itself at one moment.
type Seen struct {
	At      time.Duration `json:"at_ns"`
	Backlog float64       `json:"backlog"`      // messages that the meter has not
	Oldest  float64       `json:"oldest"`       // age of the oldest of them, in seconds
	Memory  float64       `json:"memory_bytes"` // of the process that answered
}

// watch reads /metrics once a second, where it is open to us. It is no fault when not.
type watch struct {
	url  string
	http http.RoundTripper // nil: a connection of its own
	seen []Seen
}

func (w *watch) run(ctx context.Context, began time.Time) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	client := &http.Client{Timeout: 2 * time.Second, Transport: w.http}
	defer client.CloseIdleConnections()
	for {
		if s, ok := w.look(ctx, client); ok && len(w.seen) < 100_000 {
			s.At = time.Since(began)
			w.seen = append(w.seen, s)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (w *watch) look(ctx context.Context, client *http.Client) (s Seen, ok bool) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+"/metrics", nil)
	if err != nil {
		return s, false
	}
	resp, err := client.Do(req)
	if err != nil {
		return s, false
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			continue
		}
		switch name {
		case "kgents_backlog_messages":
			s.Backlog, ok = v, true
		case "kgents_backlog_oldest_age_seconds":
			s.Oldest = v
		case "process_resident_memory_bytes":
			s.Memory = v
		}
	}
	return s, ok
}
