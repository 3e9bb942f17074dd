package billing_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/billing"
	"github.com/kgents/kgents/billing/stripetest"
	"github.com/kgents/kgents/meter"
	"github.com/kgents/kgents/meter/local"
	"github.com/kgents/kgents/plan"
	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/stream/streamtest"
)

const limit = 500_000 // tokens of the plan pro

// clock is the time of the reporters and of Stripe.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// works is everything that overage goes through: a real meter, a real NATS, and Stripe.
type works struct {
	t       *testing.T
	clock   *clock
	stripe  *stripetest.Server
	client  *billing.Client
	meter   *meter.Client
	js      jetstream.JetStream
	streams stream.Config
	reg     *prometheus.Registry

	mu       sync.Mutex
	accounts []billing.Account
	events   int
}

var start = time.Date(2026, 3, 24, 9, 30, 17, 0, time.UTC) // in the middle of a minute

func newWorks(t *testing.T) *works {
	t.Helper()
	w := &works{t: t, clock: &clock{now: start}, stripe: stripetest.New(t), reg: prometheus.NewRegistry(), streams: stream.Config{Name: "overage", Replicas: 1}}
	w.stripe.Now = w.clock.Now
	w.client = newClient(t, stripetest.Key, w.stripe.URL)
	if _, err := billing.Setup(t.Context(), w.client, plan.Default(), true); err != nil {
		t.Fatal(err)
	}
	w.js, _ = streamtest.Start(t)
	store, err := local.Open(t.Context(), local.Config{Path: filepath.Join(t.TempDir(), "meter.db"), Meters: local.DefaultMeters(), Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	web := httptest.NewServer(store.Handler())
	t.Cleanup(web.Close)
	if w.meter, err = meter.NewClient(web.URL, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.meter.Close)
	return w
}

func (w *works) Accounts() ([]billing.Account, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]billing.Account(nil), w.accounts...), nil
}

// period gives a customer the plan pro from a time for a month, instead of what it has.
func (w *works) period(id string, from time.Time) billing.Account {
	pro, _ := plan.Default().Plan("pro")
	a := billing.Account{ID: id, Stripe: "cus_" + strings.ReplaceAll(id, "-", ""), Plan: pro, PeriodStart: from, PeriodEnd: from.AddDate(0, 1, 0)}
	w.drop(id)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.accounts = append(w.accounts, a)
	return a
}

// drop ends a customer's subscription.
func (w *works) drop(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var kept []billing.Account
	for _, a := range w.accounts {
		if a.ID != id {
			kept = append(kept, a)
		}
	}
	w.accounts = kept
}

// use counts tokens of a customer at a time.
func (w *works) use(id string, at time.Time, tokens int64) {
	w.t.Helper()
	w.events++
	batch, err := json.Marshal([]map[string]any{{
		"specversion": "1.0", "id": fmt.Sprint(w.events), "source": "test", "type": "agent.tokens", "subject": id, "time": at.Format(time.RFC3339), "data": map[string]any{"tokens": tokens},
	}})
	if err == nil {
		err = w.meter.Ingest(w.t.Context(), batch)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// owed is a period's overage by the meter, asked apart from the reporter.
func (w *works) owed(a billing.Account) int64 {
	w.t.Helper()
	got, err := w.meter.Query(w.t.Context(), meter.Query{Meter: "agent_tokens", From: a.PeriodStart.Truncate(time.Minute), To: a.PeriodEnd.Truncate(time.Minute), FilterGroupBy: nil, GroupBy: []string{"subject"}})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, row := range got.Data {
		if row.Subject != nil && *row.Subject == a.ID {
			return max(0, int64(row.Value)-limit)
		}
	}
	return 0
}

func (w *works) billed(a billing.Account) int64 {
	return w.stripe.Sum("kgents_tokens", a.Stripe, a.PeriodStart, a.PeriodEnd)
}

// reporter is one as after a start of the program.
func (w *works) reporter(js jetstream.JetStream) *billing.Reporter {
	return billing.NewReporter(billing.ReporterConfig{
		Client: w.client, Catalog: newCatalog, Accounts: w, Meter: w.meter, JetStream: js, Stream: w.streams, Log: slog.New(slog.DiscardHandler),
	}.At(w.clock.Now))
}

func (w *works) run() billing.Report {
	w.t.Helper()
	report, err := w.reporter(w.js).Run(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return report
}

func (w *works) want(a billing.Account, units int64) {
	w.t.Helper()
	if got := w.billed(a); got != units {
		w.t.Errorf("Stripe has %d units of %s from %s, want %d", got, a.ID, a.PeriodStart, units)
	}
}

// The life of a period: what is past the limit is reported as it grows, once; late
// events after its end are of its last second; the next period begins at nothing.
func TestReporter(t *testing.T) {
	w := newWorks(t)
	march := w.period("acme", start)
	w.use("acme", start.Add(time.Hour), limit)
	w.clock.add(2 * time.Hour)
	w.run()
	w.want(march, 0) // the limit itself is in the plan
	w.use("acme", start.Add(2*time.Hour), 1)
	if got := w.run(); got.Units != 1 {
		t.Errorf("%+v, want 1 unit", got)
	}
	w.use("acme", start.Add(2*time.Hour), 41)
	for range 3 {
		w.run()
	}
	w.want(march, 42)
	if n := len(w.events200()); n != 2 {
		t.Errorf("%d events were sent, want 2", n)
	}

	w.clock.add(march.PeriodEnd.Sub(w.clock.Now()) + time.Hour)
	april := w.period("acme", march.PeriodEnd)
	w.use("acme", march.PeriodEnd.Add(-2*time.Minute), 8) // it came late
	w.use("acme", april.PeriodStart.Add(time.Minute), limit+5)
	w.run()
	w.want(march, 50)
	w.want(april, 5)

	w.clock.add(billing.Grace)
	w.use("acme", march.PeriodEnd.Add(-2*time.Minute), 8) // too late
	w.run()
	w.want(march, 50)
	for _, r := range w.events200() {
		if r.Form.Get("payload[stripe_customer_id]") != "cus_acme" || len(r.Form.Get("identifier")) > 100 {
			t.Errorf("sent %v", r.Form)
		}
	}
}

func (w *works) events200() (out []stripetest.Request) {
	for _, r := range w.stripe.Requests() {
		if r.Path == "/v1/billing/meter_events" {
			out = append(out, r)
		}
	}
	return out
}

// A subscription that ends in the middle of its period is settled all the same, and one
// that takes its place counts from its own beginning.
func TestReporterOfWhatEnded(t *testing.T) {
	w := newWorks(t)
	first := w.period("acme", start)
	w.use("acme", start.Add(time.Hour), limit+10)
	w.clock.add(2 * time.Hour)
	w.run()
	w.use("acme", start.Add(90*time.Minute), 5) // came before the end, and is seen after it
	w.drop("acme")
	w.run()
	w.want(first, 15)

	again := w.clock.Now().Add(time.Hour)
	w.clock.add(3 * time.Hour)
	second := w.period("acme", again)
	w.use("acme", again.Add(time.Hour), limit+7)
	w.run()
	if got := w.stripe.Sum("kgents_tokens", "cus_acme", again.Truncate(time.Minute), second.PeriodEnd); got != 7 {
		t.Errorf("the second has %d, want 7", got)
	}
	if got := w.stripe.Sum("kgents_tokens", "cus_acme", start, second.PeriodEnd); got != 22 {
		t.Errorf("both have %d, want 22", got)
	}
}

// What was billed stays when the limit rises or the meter's sum falls, and is never
// given back by a negative event.
func TestReporterNeverNegative(t *testing.T) {
	w := newWorks(t)
	a := w.period("acme", start)
	w.use("acme", start, limit+100)
	w.clock.add(time.Hour)
	w.run()
	w.use("acme", start, -60) // a correction
	if got := w.run(); got.Units != 0 || got.Surplus != 60 {
		t.Errorf("%+v, want a surplus of 60", got)
	}
	w.use("acme", start, 70)
	w.run()
	w.want(a, 110)

	w.mu.Lock()
	w.accounts[0].Plan, _ = plan.Default().Plan("teams") // four times as many
	w.mu.Unlock()
	w.use("acme", start, 1000)
	w.run()
	w.want(a, 110)
	w.use("acme", start, 3*limit)
	w.run()
	w.want(a, 1110)
}

// A quota of a day is past on each day by itself.
func TestReporterPerDay(t *testing.T) {
	w := newWorks(t)
	a := w.period("acme", start)
	q := a.Plan.Quotas["tokens"]
	q.Per, q.Limit = kgents.PerDay, kgents.AtMost(100)
	w.accounts[0].Plan.Quotas = map[string]kgents.Quota{"tokens": q}
	for day, tokens := range []int64{50, 130, 100, 101} {
		w.use("acme", start.AddDate(0, 0, day), tokens)
	}
	w.clock.add(5 * 24 * time.Hour)
	w.run()
	w.want(a, 31)
}

// A day in which a period begins has its limit once: what was used before counts
// against it, and is the other period's to bill.
func TestReporterOfADayInTwoPeriods(t *testing.T) {
	w := newWorks(t)
	noon := start.Truncate(24 * time.Hour).Add(12 * time.Hour)
	a := w.period("acme", noon)
	q := a.Plan.Quotas["tokens"]
	q.Per, q.Limit = kgents.PerDay, kgents.AtMost(100)
	w.accounts[0].Plan.Quotas = map[string]kgents.Quota{"tokens": q}
	w.use("acme", noon.Add(-time.Hour), 80)
	w.use("acme", noon.Add(time.Hour), 50)
	w.clock.add(5 * 24 * time.Hour)
	w.run()
	w.want(a, 30)
}

// A year's price has a quota of each month, and each month's overage is reported.
func TestReporterOfAYear(t *testing.T) {
	w := newWorks(t)
	a := w.period("acme", start)
	w.accounts[0].PeriodEnd = start.AddDate(1, 0, 0)
	a.PeriodEnd = w.accounts[0].PeriodEnd
	for month := range int64(3) {
		from, to := start.AddDate(0, int(month), 0), start.AddDate(0, int(month)+1, 0)
		w.use("acme", from.Add(time.Hour), limit+10+month)
		w.clock.add(from.Add(2 * time.Hour).Sub(w.clock.Now()))
		w.run()
		if got := w.stripe.Sum("kgents_tokens", a.Stripe, from, to); got != 10+month {
			t.Errorf("month %d has %d, want %d", month, got, 10+month)
		}
	}
	w.want(a, 33)
}

// What nobody can tell is left to a person: it is not sent, and metrics say so.
func TestReporterStuck(t *testing.T) {
	for name, test := range map[string]struct {
		atStripe int64 // what somebody else has written there
		later    time.Duration
	}{
		"a sum that is neither": {40, 48 * time.Hour},
		"too old to be sent":    {0, 36 * 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorks(t)
			a := w.period("acme", start)
			w.use("acme", start, limit+100)
			w.clock.add(time.Hour)
			w.stripe.Fail(on(http.MethodPost, "/v1/billing/meter_events", stripetest.Fault{Status: 500}))
			if _, err := w.reporter(w.js).Run(t.Context()); err == nil {
				t.Fatal("no error")
			}
			w.stripe.Fail(nil)
			if test.atStripe > 0 {
				w.stripe.Use("kgents_tokens", a.Stripe, test.atStripe, start.Add(time.Minute))
			}
			w.clock.add(test.later)
			b := w.period("other", start)
			w.use("other", start, limit+1) // is not kept up by it
			report, err := w.reporter(w.js).Run(t.Context())
			if err == nil || report.Stuck != 1 {
				t.Errorf("%+v, %v, want one that is stuck", report, err)
			}
			w.want(a, test.atStripe)
			if test.atStripe > 0 {
				w.want(b, 1)
			}
		})
	}
}

// A bucket that was lost, or is of yesterday, bills nothing twice.
func TestReporterAfterARestore(t *testing.T) {
	w := newWorks(t)
	a := w.period("acme", start)
	w.use("acme", start, limit+100)
	w.clock.add(time.Hour)
	w.run()
	if err := w.js.DeleteKeyValue(t.Context(), w.streams.BillingName()); err != nil {
		t.Fatal(err)
	}
	w.use("acme", start, 11)
	w.run()
	w.want(a, 111)
}

// Many at once, without turns, count as one.
func TestReportersAtOnce(t *testing.T) {
	w := newWorks(t)
	a := w.period("acme", start)
	for n := range int64(5) {
		w.use("acme", start, limit+n)
		w.clock.add(time.Hour)
		var all sync.WaitGroup
		for range 6 {
			all.Go(func() { _, _ = w.reporter(w.js).Run(t.Context()) })
		}
		all.Wait()
		w.run()
		w.want(a, w.owed(a))
	}
}

// Replicas that share the turns make one run an interval.
func TestTurns(t *testing.T) {
	w := newWorks(t)
	now := time.Now().UTC()
	w.clock.add(now.Sub(start))
	a := w.period("acme", now.Add(-time.Hour))
	w.use("acme", now.Add(-time.Minute), limit+9)
	var all []*billing.Reporter
	for range 3 {
		r := billing.NewReporter(billing.ReporterConfig{
			Client: w.client, Catalog: newCatalog, Accounts: w, Meter: w.meter, JetStream: w.js, Stream: w.streams, Interval: time.Second, Log: slog.New(slog.DiscardHandler),
		})
		r.Start()
		all = append(all, r)
	}
	deadline := time.After(20 * time.Second)
	for w.billed(a) != 9 {
		select {
		case <-deadline:
			t.Fatal("nothing was reported in 20 s")
		case <-time.After(20 * time.Millisecond):
		}
	}
	for _, r := range all {
		r.Close()
	}
	w.want(a, 9)
}
