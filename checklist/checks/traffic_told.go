package checks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/kgents/kgents/checklist"
	"github.com/kgents/kgents/config"
	"github.com/kgents/kgents/reconcile"
	"github.com/kgents/kgents/system"
)

// toldPatience bounds one report.
const toldPatience = 6 * time.Second

// told is what the program at the API's address says of itself.
func (t *trial) told(ctx context.Context) (system.Report, error) {
	return t.report.get(ctx, toldPatience, func(ctx context.Context) (system.Report, error) {
		return system.Read(ctx, t.client(), t.APIURL, t.key())
	})
}

// sinkTold is what a program with a sink says of itself: the one at SinkURL, else the
// one at the API's address where that has one.
func (t *trial) sinkTold(ctx context.Context) (system.Report, error) {
	r, err := t.told(ctx)
	switch {
	case t.SinkURL != "":
		r, err = t.sink.get(ctx, toldPatience, func(ctx context.Context) (system.Report, error) {
			return system.Read(ctx, t.client(), t.SinkURL, t.key())
		})
		if err != nil {
			return r, fmt.Errorf("the sink does not answer: %w", err)
		}
	case err != nil:
		return r, fmt.Errorf("the API does not answer: %w", err)
	case r.Role == string(config.RoleAPI):
		return r, errors.New("the API has no sink, and the sink's address is not known")
	}
	return r, nil
}

// ready says what is missing to ask the program.
func (t *trial) ready() (checklist.Finding, bool) {
	switch {
	case t.APIURL == "":
		return noAPI, false
	case t.key() == "":
		return noKey, false
	}
	return checklist.Finding{}, true
}

// apiRateLimit wants the rate of each key bounded. It sends no burst: that would take
// the API from those who use it.
func (t *trial) apiRateLimit(ctx context.Context) checklist.Finding {
	if f, ok := t.ready(); !ok {
		return f
	}
	r, err := t.told(ctx)
	switch {
	case err != nil:
		return unreached("the API", err, lookAtAPI)
	case r.Limits.APIPerSecond <= 0:
		const seen, next = "the API runs without a limit (API_RATE_LIMIT=0)", "set API_RATE_LIMIT to the requests a second that one key may send to one replica"
		if t.Target == checklist.Local {
			return checklist.Warned(seen+", as is the default of 'kgents up'", next) // on one's own machine nobody else is let in
		}
		return checklist.Failed(seen, next)
	}
	burst := r.Limits.APIBurst
	if burst == 0 {
		burst = r.Limits.APIPerSecond
	}
	return checklist.Passed("each key may send %d requests a second to a replica, %d at once", r.Limits.APIPerSecond, burst)
}

// ownMeter is the Service of the meter that comes with the manifests.
const ownMeter = "kgents-meter"

// meterRateLimit wants a limit of the sink's own, where the meter is somebody else's.
func (t *trial) meterRateLimit(ctx context.Context) checklist.Finding {
	if f, ok := t.ready(); !ok {
		return f
	}
	r, err := t.sinkTold(ctx)
	switch {
	case err != nil:
		return checklist.CannotTell(cut(err.Error(), 200), "run it where the sinks can be reached")
	case r.Meter.Embedded:
		return checklist.Passed("the meter is embedded, and has no limit that could be met")
	case r.Limits.OpenMeterPerSecond <= 0 && strings.HasPrefix(r.Meter.Host, ownMeter):
		return checklist.Passed("the meter is %s of this deployment, and has no limit that could be met", r.Meter.Host)
	case r.Limits.OpenMeterPerSecond <= 0:
		return checklist.Failed("the sink asks the meter at "+r.Meter.Host+" as fast as it can (OPENMETER_RATE_LIMIT=0)",
			"set OPENMETER_RATE_LIMIT and OPENMETER_RATE_BURST to the account's limit, divided by the number of sinks")
	}
	return checklist.Passed("a sink sends %g requests a second to %s at most, %d at once", r.Limits.OpenMeterPerSecond, r.Meter.Host, r.Limits.OpenMeterBurst)
}

// reconciled wants the last scheduled comparison to be young, and to miss nothing.
// Before the first is due, it makes one that mends nothing.
func (t *trial) reconciled(ctx context.Context) checklist.Finding {
	if f, ok := t.ready(); !ok {
		return f
	}
	r, err := t.sinkTold(ctx)
	const look = "run it where the sinks can be reached, or look: kgents reconcile"
	if err != nil {
		return checklist.CannotTell(cut(err.Error(), 200), look)
	}
	if r.Reconciliation == nil {
		return checklist.CannotTell("the program with the role "+r.Role+" does not say when it compared last", look)
	}
	last := r.Reconciliation
	interval := time.Duration(last.Interval * float64(time.Second))
	age := r.Now.Sub(last.Last).Round(time.Second)
	// A turn may wait for another replica's, and a run takes its time.
	patience := interval + interval/2
	switch {
	case interval <= 0:
		return checklist.Failed("no reconciliation is scheduled (RECONCILE_INTERVAL=0)", "set RECONCILE_INTERVAL, for example to 1h")
	case last.Last.IsZero() && r.Now.Sub(r.Started) < patience:
		return t.compareNow(ctx)
	case last.Last.IsZero():
		return checklist.Failed(fmt.Sprintf("none came to its end since the start %v ago", r.Now.Sub(r.Started).Round(time.Second)), "look at the sink's log, and run one: kgents reconcile")
	case age > patience:
		return checklist.Failed(fmt.Sprintf("the last one ended %v ago, the interval is %v", age, interval), "look at the sink's log, and run one: kgents reconcile")
	case last.Missing == nil:
		return checklist.CannotTell("what the last one has found is not known", "wait a minute, or run one: kgents reconcile")
	case *last.Missing > 0:
		return checklist.Failed(fmt.Sprintf("%s of the stream missing in the meter, %v ago", plural(int(*last.Missing), "event"), age), "kgents reconcile --fix")
	}
	return checklist.Passed("the last one ended %v ago, within its interval of %v, and nothing is missing", age, interval)
}

// compareNow asks for a comparison that changes nothing.
func (t *trial) compareNow(ctx context.Context) checklist.Finding {
	a, err := t.ask(ctx, http.MethodPost, "/api/v1/reconcile", t.key(), "", nil)
	var r reconcile.Report
	switch {
	case err != nil || a.status != http.StatusOK || json.Unmarshal(a.body, &r) != nil:
		return checklist.CannotTell("none was due since the start, and none could be made now", "wait, or run one: kgents reconcile")
	case r.Total.Lost() > 0:
		return checklist.Failed(fmt.Sprintf("compared now: %d of %s missing in the meter", r.Total.Lost(), plural(int(r.Total.InStream), "event")), "kgents reconcile --fix")
	case r.Total.InStream == 0:
		return checklist.CannotTell("none was due since the start, and there is nothing to compare yet", "send something (kgents emit usage), wait a minute, and try again")
	}
	return checklist.Passed("none was due since the start; compared now: all of %s are in the meter", plural(int(r.Total.InStream), "event"))
}
