package billing

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stripe/stripe-go/v85"

	"github.com/kgents/kgents"
)

// The members of a meter event's payload, which `kgents stripe setup` gives its meters.
// They are Stripe's defaults.
const (
	payloadCustomer = "stripe_customer_id"
	payloadValue    = "value"
)

// errStuck is that nobody can tell whether Stripe has an intent, or that it can't be
// sent any more.
var errStuck = errors.New("an intent of overage can't be settled")

// resume settles an intent that was found.
func (r *Reporter) resume(ctx context.Context, s *slot, report *Report) error {
	p, now := *s.Pending, r.now()
	if now.Sub(time.Unix(p.Since, 0)) >= resendWithin {
		counted, err := r.counted(ctx, s.watermark)
		switch {
		case err != nil:
			return err
		case counted >= s.Reported+p.Value:
			return r.commit(ctx, s, report)
		case counted > s.Reported:
			return r.stuck(s, report, "Stripe's sum of the period is neither with it nor without it")
		case now.Sub(time.Unix(p.At, 0)) >= maxPast:
			return r.stuck(s, report, "Stripe takes no event of so long ago, and has not got it: bill it by hand")
		}
		// Stripe has not got it. A sender that hangs since then would be taken for the
		// same by its identifier, which counts from now on.
		m := s.watermark
		p.Since = now.Unix()
		m.Pending = &p
		if err := s.write(ctx, m); err != nil {
			return err
		}
	}
	return r.send(ctx, s, report)
}

func (r *Reporter) stuck(s *slot, report *Report, why string) error {
	report.Stuck++
	r.Log.Error("overage may be at Stripe or not, and is not sent again: compare the meter in Stripe's dashboard with the watermark, see docs/saas/stripe.md",
		"why", why, "bucket", r.Stream.BillingName(), "key", s.key(), "identifier", s.Pending.Identifier, "value", s.Pending.Value, "reported", s.Reported)
	return fmt.Errorf("%w: key %s: %s", errStuck, s.key(), why)
}

// send sends the intent of s, which is in the bucket, and commits it.
func (r *Reporter) send(ctx context.Context, s *slot, report *Report) error {
	p := s.Pending
	params := &stripe.BillingMeterEventCreateParams{
		EventName: stripe.String(EventName(s.Feature)), Identifier: stripe.String(p.Identifier), Timestamp: stripe.Int64(p.At),
		Payload: map[string]string{payloadCustomer: s.Stripe, payloadValue: strconv.FormatInt(p.Value, 10)},
	}
	// The identifier makes it one. This key is of this attempt, since Stripe would
	// answer a failure that it keeps under a key for a day.
	params.SetIdempotencyKey(requestKey("overage", s.Customer, ""))
	_, err := call(ctx, r.Client, "report_overage", func(ctx context.Context, api *stripe.Client) (*stripe.BillingMeterEvent, error) {
		return api.V1BillingMeterEvents.Create(ctx, params)
	})
	if f := failureOf(err); f != nil && f.duplicate {
		err = nil
	}
	if err != nil {
		return err
	}
	return r.commit(ctx, s, report)
}

// commit notes that Stripe has the intent.
func (r *Reporter) commit(ctx context.Context, s *slot, report *Report) error {
	m, value := s.watermark, s.Pending.Value
	m.Reported += value
	m.Pending = nil
	if err := s.write(ctx, m); err != nil {
		return err
	}
	report.Units += value
	r.metrics.units.WithLabelValues(s.Feature).Add(float64(value))
	return nil
}

// counted is Stripe's own sum of a period. It may lag, but never has more than was
// reported.
func (r *Reporter) counted(ctx context.Context, m watermark) (int64, error) {
	id, err := r.meterID(ctx, EventName(m.Feature))
	if err != nil {
		return 0, err
	}
	end := min(m.End, minute(r.now())+60)
	if end <= m.Start {
		return 0, nil
	}
	params := &stripe.BillingMeterEventSummaryListParams{
		ID: stripe.String(id), Customer: stripe.String(m.Stripe), StartTime: stripe.Int64(m.Start), EndTime: stripe.Int64(end),
	}
	sums, err := list(ctx, r.Client, "sum_overage", 10, func(ctx context.Context, api *stripe.Client) *stripe.V1List[*stripe.BillingMeterEventSummary] {
		return api.V1BillingMeterEventSummaries.List(ctx, params)
	})
	if err != nil {
		return 0, err
	}
	var sum float64
	for _, s := range sums {
		sum += s.AggregatedValue
	}
	return int64(math.Round(sum)), nil
}

// meterID finds the meter of an event name, and remembers all of them for priceAge.
func (r *Reporter) meterID(ctx context.Context, event string) (string, error) {
	if id, ok := r.meters[event]; ok && r.now().Sub(r.metersOld) < priceAge {
		return id, nil
	}
	found, err := listMeters(ctx, r.Client)
	if err != nil {
		return "", err
	}
	r.meters, r.metersOld = map[string]string{}, r.now()
	for _, m := range found {
		if m.Status == stripe.BillingMeterStatusActive {
			r.meters[m.EventName] = m.ID
		}
	}
	if id, ok := r.meters[event]; ok {
		return id, nil
	}
	return "", kgents.Errorf(kgents.CodeMisconfig, "Stripe has no active billing meter for %s: run 'kgents stripe setup'", event)
}

// maxMeters bounds the meters of an account that are looked at.
const maxMeters = 1000

func listMeters(ctx context.Context, c *Client) ([]*stripe.BillingMeter, error) {
	return list(ctx, c, "list_meters", maxMeters, func(ctx context.Context, api *stripe.Client) *stripe.V1List[*stripe.BillingMeter] {
		params := &stripe.BillingMeterListParams{}
		params.Limit = stripe.Int64(100)
		return api.V1BillingMeters.List(ctx, params)
	})
}

const keyTurn = "turn.overage" // who began the last run; its age is what counts

// take says whether it is the caller's turn, and if not how long to wait until it may
// be; as reconciliation does. A turn needs no giving back.
func (r *Reporter) take(ctx context.Context) (mine bool, rest time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, natsTimeout)
	defer cancel()
	kv, err := r.bucket(ctx)
	if err != nil {
		return false, r.Interval, err
	}
	host, _ := os.Hostname() // for who looks into the bucket
	last, err := kv.Get(ctx, keyTurn)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		_, err = kv.Create(ctx, keyTurn, []byte(host))
	case err == nil:
		age := max(0, r.now().Sub(last.Created()))
		if age < r.Interval-r.Interval/10 {
			return false, r.Interval - age, nil
		}
		_, err = kv.Update(ctx, keyTurn, []byte(host), last.Revision())
	}
	if errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
		return false, r.Interval, nil // another was faster, just now
	}
	return err == nil, r.Interval, err
}

type reporterMetrics struct {
	units          *prometheus.CounterVec
	errors         *prometheus.CounterVec
	stuck, surplus prometheus.Gauge
	success        prometheus.Gauge
}

func newReporterMetrics(reg prometheus.Registerer) *reporterMetrics {
	m := &reporterMetrics{
		units: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kgents_overage_reported_units_total", Help: "Units past a plan's soft limit that Stripe's billing meters have taken, by feature.",
		}, []string{"feature"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kgents_overage_errors_total",
			Help: "Watermarks of overage that a run could not settle, by what was in the way: stripe, setup, meter, nats, customers, watermark, or stuck, which needs a person.",
		}, []string{"reason"}),
		stuck: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "kgents_overage_stuck", Help: "Intents of overage that this process's run found and that only a person can settle; 0 when another process has run since.",
		}),
		surplus: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "kgents_overage_surplus_units", Help: "Units that were reported and that the meter no longer has past the limit, as this process's run found them, 0 when another has run since; they stay billed.",
		}),
		success: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "kgents_overage_last_success_timestamp_seconds", Help: "When this process's last run without an error ended, Unix time; 0 before the first. Runs go by turns: take the largest of all replicas.",
		}),
	}
	// A series that is born with its first error has no increase until the second.
	for _, reason := range []string{"stripe", "setup", "meter", "nats", "customers", "watermark", "stuck"} {
		m.errors.WithLabelValues(reason)
	}
	if reg != nil {
		reg.MustRegister(m.units, m.errors, m.stuck, m.surplus, m.success)
	}
	return m
}

func (m *reporterMetrics) failed(reason string) { m.errors.WithLabelValues(reason).Inc() }

// idle is that another process has run since: what it found is what counts.
func (m *reporterMetrics) idle() {
	m.stuck.Set(0)
	m.surplus.Set(0)
}

func (m *reporterMetrics) ran(r Report, ok bool, now time.Time) {
	m.stuck.Set(float64(r.Stuck))
	m.surplus.Set(float64(r.Surplus))
	if ok {
		m.success.Set(float64(now.Unix()))
	}
}
