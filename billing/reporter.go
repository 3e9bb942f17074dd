package billing

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/invoice"
	"github.com/kgents/kgents/meter"
	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/subscription"
)

const (
	// DefaultInterval is how often overage is reported. Stripe finalizes an invoice an
	// hour after its period's end, by default: until then there are a dozen turns.
	DefaultInterval = 5 * time.Minute

	// Grace is how long after a period's end its late events are still reported. What
	// comes after Stripe has finalized the invoice is at Stripe, and on no invoice.
	Grace = 24 * time.Hour

	// resendWithin is how long an intent may be sent again without a look at what Stripe
	// has: it enforces uniqueness of an identifier for 24 h at least. The hour is for
	// clocks that differ and for a request under way.
	resendWithin = 23 * time.Hour

	// maxPast is the oldest timestamp that Stripe takes: 35 days, and an hour less.
	maxPast = 35*24*time.Hour - time.Hour

	// keep is how long a period's watermarks stay after its end: past maxPast nothing of
	// it can be reported any more.
	keep = 40 * 24 * time.Hour

	// maxTrouble is how many customers in a row may fail before a run ends: it is
	// Stripe, the meter or NATS then, and not the customer.
	maxTrouble = 5

	natsTimeout = 5 * time.Second
)

// Account is a customer in one period that is paid for. A customer has one of the running
// period, and one of each that has ended within Grace: what was used until a
// cancellation is billed also where nobody has run between the two.
type Account struct {
	ID, Stripe             string
	Plan                   kgents.Plan // the last of the period
	PeriodStart, PeriodEnd time.Time   // what the price pays for

	// Parts are the times of the period in which it was had, see invoice.Account; none is
	// all of it.
	Parts []invoice.Part
}

// Periods are the accounts of a customer whose terms since Grace ago are these.
func Periods(id, stripeID string, terms []subscription.Term, cat *kgents.Catalog) []Account {
	var out []Account
	for _, t := range terms {
		if p, ok := cat.Plan(t.Plan); ok && t.Paid() && t.Subscription != "" {
			out = append(out, Account{ID: id, Stripe: stripeID, Plan: p, PeriodStart: t.PeriodStart, PeriodEnd: t.PeriodEnd, Parts: invoice.PartsOf(t, cat)})
		}
	}
	return out
}

func (a Account) parts() []invoice.Part {
	if len(a.Parts) == 0 {
		return []invoice.Part{{From: a.PeriodStart, To: a.PeriodEnd, Plan: a.Plan}}
	}
	return a.Parts
}

// Accounts is who there is; in memory. An error is that nobody can tell yet.
type Accounts interface {
	// Accounts has the periods of a customer in their order.
	Accounts() ([]Account, error)
}

// Usage is a meter; *meter.Client is one.
type Usage interface {
	Query(ctx context.Context, q meter.Query) (meter.Result, error)
}

// ReporterConfig is what a Reporter needs.
type ReporterConfig struct {
	Client     *Client
	Catalog    Catalog
	Accounts   Accounts
	Meter      Usage
	JetStream  jetstream.JetStream
	Stream     stream.Config
	Interval   time.Duration // between two runs of all replicas together; 0 = DefaultInterval
	Log        *slog.Logger
	Registerer prometheus.Registerer

	now func() time.Time // tests have clocks of their own
}

// Reporter tells Stripe's billing meters what customers have used past the soft limits
// of their plans.
//
// It promises that Stripe has each unit of overage that the meter counts exactly once,
// whatever ends when. For each customer, period and feature a watermark in the bucket
// says how much was reported. More is first written there as an intent, then sent under
// the intent's identifier, then added to what was reported; each write is one only if
// nobody else has written since. Who finds an intent sends the same event again, and
// Stripe takes an identifier once. Stripe promises that for 24 h only: an intent that is
// older is compared with Stripe's own sum of the period. If that can't tell, the intent
// stays as it is, kgents_overage_stuck and the log say so, and a person has to look.
//
// The sum at Stripe is also read before each new intent, and what it has beyond the
// watermark counts as reported: a bucket that was lost or restored bills nothing twice.
// So nobody else may write to these meters.
//
// The meter's sum is the truth, and it may fall, as a limit may rise. Less is never
// reported: what was stays, and later overage is reported only past it.
//
// When Stripe, the meter or NATS is away, overage waits in the meter and the run tries
// again a minute or an interval later. A 200 of Stripe's is trusted: an event that it refuses later on, for a
// customer who was deleted there, it tells of by its own alerts.
type Reporter struct {
	ReporterConfig
	metrics *reporterMetrics
	stop    context.Context
	end     context.CancelFunc
	runs    sync.WaitGroup
	running sync.Mutex

	meters    map[string]string // Stripe's id of the meter by event name
	metersOld time.Time
}

// NewReporter returns a Reporter that does nothing yet.
func NewReporter(c ReporterConfig) *Reporter {
	c.Interval = cmp.Or(c.Interval, DefaultInterval)
	if c.now == nil {
		c.now = time.Now
	}
	r := &Reporter{ReporterConfig: c, metrics: newReporterMetrics(c.Registerer)}
	r.stop, r.end = context.WithCancel(context.Background())
	return r
}

// Start reports every interval until Close, by turns with the other replicas.
func (r *Reporter) Start() {
	r.runs.Go(func() {
		least := r.Interval / 10
		for wait := least; r.wait(wait); {
			mine, rest, err := r.take(r.stop)
			switch {
			case err != nil:
				if r.stop.Err() == nil {
					r.metrics.failed("nats")
					r.Log.Warn("overage is not reported: NATS can't say whose turn it is", "error", err)
				}
			case mine:
				ctx, cancel := context.WithTimeout(r.stop, max(r.Interval-least, time.Minute))
				_, _ = r.Run(ctx) // it has told
				cancel()
			default:
				r.metrics.idle()
			}
			wait = min(r.Interval, max(least, rest))
		}
	})
}

// Close ends what runs and waits for it. An intent that is under way is sent again by
// whoever comes next.
func (r *Reporter) Close() {
	r.end()
	r.runs.Wait()
}

func (r *Reporter) wait(d time.Duration) bool {
	select {
	case <-r.stop.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// Report is what a run did.
type Report struct {
	Watermarks int   // looked at
	Units      int64 // reported
	Surplus    int64 // reported earlier, beyond what the meter has now
	Stuck      int   // intents that nobody but a person can settle
	Failed     int   // watermarks that were not settled
}

// Run makes one run, at once and whoever's turn it is. The error is the first of those
// that it met; it goes on with the other customers as long as some succeed.
func (r *Reporter) Run(ctx context.Context) (Report, error) {
	r.running.Lock()
	defer r.running.Unlock()
	var report Report
	err := r.run(ctx, &report)
	r.metrics.ran(report, err == nil, r.now())
	if err != nil && ctx.Err() == nil {
		r.Log.Warn("overage is not all reported; the next run tries again", "error", err, "failed", report.Failed, "stuck", report.Stuck)
	}
	return report, err
}

func (r *Reporter) run(ctx context.Context, report *Report) error {
	if !r.Client.Enabled() {
		return errNoKey
	}
	accounts, err := r.Accounts.Accounts()
	if err != nil {
		r.metrics.failed("customers")
		return err
	}
	kv, err := r.bucket(ctx)
	if err != nil {
		r.metrics.failed("nats")
		return err
	}
	var first error
	trouble := 0
	// note keeps the first error; it is false when the run should end.
	note := func(err error) bool {
		if err == nil {
			trouble = 0
			return true
		}
		first = cmp.Or(first, err)
		report.Failed++
		r.metrics.failed(reason(err))
		if ofAll(err) {
			trouble++
		}
		return trouble < maxTrouble && ctx.Err() == nil
	}
	current := map[string][]watermark{} // as they should be, by customer and feature
	for _, m := range r.marks(accounts) {
		current[m.what()] = append(current[m.what()], m)
		if !note(r.begin(ctx, kv, m)) {
			return first
		}
	}
	keys, err := keys(ctx, kv)
	if err != nil {
		r.metrics.failed("nats")
		return cmp.Or(first, err)
	}
	for _, key := range keys {
		report.Watermarks++
		err := r.settle(ctx, kv, key, current, report)
		if errors.Is(err, errMoved) {
			err = nil
		}
		if !note(err) {
			break
		}
	}
	return first
}

// bucket opens the bucket within natsTimeout.
func (r *Reporter) bucket(ctx context.Context) (jetstream.KeyValue, error) {
	ctx, cancel := context.WithTimeout(ctx, natsTimeout)
	defer cancel()
	return stream.Billing(ctx, r.JetStream, r.Stream)
}

// maxMonths bounds the months of one period that end within Grace, or run.
const maxMonths = 4

// marks are the watermarks that there should be now, as they begin: of each period's
// months the one that runs and what ended within Grace.
func (r *Reporter) marks(accounts []Account) []watermark {
	cat, now := r.Catalog(), r.now()
	var out []watermark
	for _, a := range accounts {
		if a.Stripe == "" {
			continue
		}
		parts := a.parts()
		first, end := parts[0].From, parts[len(parts)-1].To
		at := first
		if late := now.Add(-Grace); at.Before(late) {
			at = late
		}
		for range maxMonths {
			if at.After(now) || !at.Before(end) {
				break
			}
			from, to := kgents.UsagePeriod(a.PeriodStart, a.PeriodEnd, at) // a month also of a year's price
			for _, f := range billed(cat, a.Plan) {
				if m, ok := mark(a, f, invoice.Spans(parts, f, from, to)); ok {
					out = append(out, m)
				}
			}
			at = to
		}
	}
	return out
}

// mark is the watermark of a month.
func mark(a Account, f kgents.Feature, spans []invoice.Span) (watermark, bool) {
	m := watermark{Customer: a.ID, Stripe: a.Stripe, Feature: f.ID}
	for i, s := range spans {
		p := span{minute(s.From), minute(s.To), s.Quota.Limit.N(), s.Quota.Per == kgents.PerDay}
		if i == 0 {
			m.Start = p.From
		}
		if m.End, m.Limit, m.PerDay = p.To, p.Limit, p.PerDay; len(spans) > 1 {
			m.Spans = append(m.Spans, p)
		}
	}
	return m, m.End > m.Start
}

func minute(t time.Time) int64 { return t.Unix() / 60 * 60 }

// begin makes the watermark of a period that is new, so that it is settled after its
// end whatever the customer has by then, and keeps its limit and end up to date.
func (r *Reporter) begin(ctx context.Context, kv jetstream.KeyValue, m watermark) error {
	s, err := read(ctx, kv, m.key())
	if err != nil {
		return err
	}
	if s == nil {
		s = &slot{kv: kv}
	} else {
		next := s.watermark
		next.End, next.Limit, next.PerDay, next.Spans = m.End, m.Limit, m.PerDay, m.Spans
		if m = next; m.same(s.watermark) {
			return nil
		}
	}
	if err := s.write(ctx, m); err != nil && !errors.Is(err, errMoved) {
		return err
	}
	return nil
}

// keys are those of the watermarks.
func keys(ctx context.Context, kv jetstream.KeyValue) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, natsTimeout)
	defer cancel()
	l, err := kv.ListKeysFiltered(ctx, prefix+">")
	if err != nil {
		return nil, err
	}
	var out []string
	for key := range l.Keys() {
		out = append(out, strings.Clone(key))
	}
	// In another order each time, so that customers who fail don't hide the others.
	rand.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out, ctx.Err()
}

// settle brings one watermark to what the meter has.
func (r *Reporter) settle(ctx context.Context, kv jetstream.KeyValue, key string, current map[string][]watermark, report *Report) error {
	s, err := read(ctx, kv, key)
	if err != nil || s == nil {
		return err
	}
	now := r.now()
	if ends := s.ends(current, now); ends < s.End {
		m := s.watermark
		m.End = ends
		if err := s.write(ctx, m); err != nil {
			return err
		}
	}
	if s.Pending != nil {
		if err := r.resume(ctx, s, report); err != nil {
			return err
		}
	}
	switch {
	case now.After(s.end().Add(keep)):
		return kv.Delete(ctx, key, jetstream.LastRevision(s.revision))
	case now.After(s.end().Add(Grace)) || s.End <= s.Start:
		return nil
	}
	f, ok := r.Catalog().Feature(s.Feature)
	if !ok || !f.Metered() {
		return nil // it is no longer sold, and nobody knows its meter
	}
	over, err := r.over(ctx, f, s.watermark)
	if err != nil {
		return err
	}
	if over <= s.Reported {
		report.Surplus += s.Reported - over
		return nil
	}
	counted, err := r.counted(ctx, s.watermark)
	if err != nil {
		return err
	}
	m := s.watermark
	if counted > m.Reported {
		r.Log.Warn("Stripe has more overage than the watermark, as after a restore: it counts as reported",
			"customer", m.Customer, "feature", m.Feature, "period", m.start(), "reported", m.Reported, "at_stripe", counted)
		m.Reported = counted
	}
	if over > m.Reported {
		m.Pending = m.next(over-m.Reported, now)
	}
	if err := s.write(ctx, m); err != nil {
		return err
	}
	if s.Pending == nil {
		return nil
	}
	return r.send(ctx, s, report)
}

// over is what the meter has past the limit in the period, in whole units, measured as
// the preview of the invoice measures it.
func (r *Reporter) over(ctx context.Context, f kgents.Feature, m watermark) (int64, error) {
	measured, err := invoice.MeasureSpans(ctx, r.Meter, m.Customer, f, m.spans())
	switch {
	case err != nil:
		return 0, fmt.Errorf("%w: %w", errMeter, err)
	case measured.Used >= maxUnits:
		return 0, fmt.Errorf("%w: a sum that is none of usage", errMeter)
	}
	return measured.Over, nil
}

// maxUnits is far past what a float64 of the meter's answer holds exactly; such a sum is
// refused.
const maxUnits = 1 << 60

var errMeter = errors.New("the meter")

// ofAll tells whether an error is likely to meet every customer.
func ofAll(err error) bool {
	switch reason(err) {
	case "stuck", "watermark":
		return false
	case "stripe":
		return kgents.ErrorCode(err) == kgents.CodeUnavailable
	}
	return true
}

// reason is the label of an error's metric.
func reason(err error) string {
	switch {
	case errors.Is(err, errMeter):
		return "meter"
	case errors.Is(err, errStuck):
		return "stuck"
	case errors.Is(err, errUnreadable):
		return "watermark"
	case kgents.ErrorCode(err) == kgents.CodeMisconfig:
		return "setup"
	case kgents.ErrorCode(err) != kgents.CodeInternal:
		return "stripe"
	default:
		return "nats"
	}
}
