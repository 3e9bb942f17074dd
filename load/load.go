// Package load puts a system under a load that is written down, and says whether it
// held: `kgents load`.
//
// It promises an open loop. When each request is due is fixed by the profile and its
// seed before anything is sent, and a slow answer delays no later request, as it
// delays no customer of ours. Latency counts from when a request was due, not from
// when it could be sent, until it was accepted for good, its repetitions included; so
// a stall of one second shows as a second to everyone who came in it (what hides it
// elsewhere is called coordinated omission). At most InFlight requests are under way.
// At that bound a request is sent later, counts as late, and its latency counts from
// when it was due all the same: none is left out.
//
// It counts, too. Every event has a value of its own and every run its own customers,
// so that what the meter says of each customer shows what was lost and what counted
// twice. An event that was never answered may count once or not at all.
//
// When the system is away, requests are sent again as the profile says, and fail when
// that is used up. When the meter can't be asked, nothing is said to be lost or
// doubled, and thresholds on that fail: not known is no pass. Faults are made only in a
// system that this package started by itself.
package load

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/kgents/kgents/meter"
)

// Target is the system under load.
type Target struct {
	URL           string // base URL
	APIKey        string
	WebhookSecret string // for Stripe's webhooks, if the profile has any
	MeterURL      string // where to ask what was counted; empty = URL
	MeterKey      string // empty = APIKey

	// HTTP is what to send and ask by, for a system in a tunnel; nil: a client made for
	// so many connections.
	HTTP *http.Client

	Local *Local // set when this package started it: its faults can be made
}

// Options are how to run a profile.
type Options struct {
	SkipFaults bool           // run the profile as if it had none
	Progress   func(Progress) // told about five times a second, if it is not nil
}

// Progress is how far a run is.
type Progress struct {
	Phase     string
	At, Total time.Duration // of the schedule
	Due       int           // events that were due so far
	Accepted  int
	Failed    int
	UnderWay  int // requests
	P99       time.Duration
	Counting  bool // the load is over, the meter is asked
	Uncounted int64
}

// ErrFaults is the error for a profile with faults and a system that is not ours to
// break.
var ErrFaults = errors.New("this profile breaks something on purpose, which is done only to a system of its own: run it with --local, or without the faults with --skip-faults")

// Run runs a profile against t. A run that ctx ends is reported as far as it went,
// with Interrupted, and is no pass. The error says why nothing was run.
func Run(ctx context.Context, p Profile, t Target, o Options) (Report, error) {
	if p.HasFaults() && !o.SkipFaults && t.Local == nil {
		return Report{}, ErrFaults
	}
	if p.Events.Stripe > 0 && t.WebhookSecret == "" {
		return Report{}, errors.New("this profile sends Stripe's webhooks, and no secret is known to sign them with: name a file with --webhook-secret-file")
	}
	client, err := meter.NewClient(cmp.Or(t.MeterURL, t.URL), cmp.Or(t.MeterKey, t.APIKey))
	if err != nil {
		return Report{}, err
	}
	defer client.Close()
	traffic, err := newTraffic(p)
	if err != nil {
		return Report{}, err
	}
	send := &http.Client{Transport: &http.Transport{MaxIdleConns: p.InFlight, MaxIdleConnsPerHost: p.InFlight, DisableCompression: true}}
	if t.HTTP != nil {
		own := *t.HTTP
		send = &own
		client = client.Over(t.HTTP)
	}
	defer send.CloseIdleConnections()
	send.Timeout = time.Duration(p.Timeout)
	// A redirect is an answer that is no 2xx, and leads the key nowhere.
	send.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	r := &run{
		profile: p, target: t, options: o, traffic: traffic, schedule: newSchedule(p),
		ledger: newLedger(p.Customers.Count), record: newRecord(p),
		slots: make(chan struct{}, p.InFlight), meter: client, http: send,
	}
	return r.do(ctx)
}

// within is an error unless low <= v <= high.
func within[T int | float64](v, low, high T) error {
	if v < low || v > high || v != v {
		return fmt.Errorf("must be from %v to %v, not %v", low, high, v)
	}
	return nil
}
