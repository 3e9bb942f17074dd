package invoice_test

import (
	"context"
	"errors"
	"math"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/api"
	"github.com/kgents/kgents/invoice"
	"github.com/kgents/kgents/meter"
)

// fakeMeter answers each query with one value, or with an error, and keeps the queries.
type fakeMeter struct {
	value   float64
	err     error
	queries []meter.Query
}

func (f *fakeMeter) Meters(context.Context) ([]meter.Meter, error) { return nil, f.err }

func (f *fakeMeter) Query(_ context.Context, q meter.Query) (meter.Result, error) {
	f.queries = append(f.queries, q)
	return meter.Result{Data: []meter.Row{{Value: f.value, WindowStart: q.From, WindowEnd: q.To}}}, f.err
}

var (
	tokens = features[0]
	calls  = features[2]
	soft   = kgents.Quota{Limit: kgents.AtMost(10), Per: kgents.PerPeriod, Over: kgents.OverBill, Overage: kgents.Overage{Amount: 1, Per: 1}}
	daily  = kgents.Quota{Limit: kgents.AtMost(10), Per: kgents.PerDay, Over: kgents.OverBill, Overage: kgents.Overage{Amount: 1, Per: 1}}
)

func TestMeasureInWholeUnits(t *testing.T) {
	for _, test := range []struct {
		value      float64
		used, over int64
	}{
		{0, 0, 0}, {10, 10, 0}, {10.999, 10, 0}, {11, 11, 1}, {-5, 0, 0}, {math.NaN(), 0, 0},
		{1e300, math.MaxInt64, math.MaxInt64 - 10}, {math.Inf(1), math.MaxInt64, math.MaxInt64 - 10},
	} {
		m := &fakeMeter{value: test.value}
		got, err := invoice.Measure(t.Context(), m, "c", tokens, soft, utc(2026, 5, 1, 0, 0), utc(2026, 6, 1, 0, 0))
		if err != nil || got != (invoice.Measured{Used: test.used, Over: test.over}) {
			t.Errorf("%v is measured as %+v (%v), want %d and %d", test.value, got, err, test.used, test.over)
		}
	}
}

// What is asked of the meter begins and ends where windows do.
func TestMeasureAsksForWholeDays(t *testing.T) {
	m := &fakeMeter{}
	from, to := utc(2026, 5, 1, 9, 30).Add(59*time.Second), utc(2026, 5, 4, 18, 15).Add(time.Second)
	if _, err := invoice.Measure(t.Context(), m, "c", calls, daily, from, to); err != nil {
		t.Fatal(err)
	}
	query := func(size string, from, to time.Time) meter.Query {
		return meter.Query{Meter: "api_requests", Subjects: []string{"c"}, WindowSize: size, From: from, To: to}
	}
	want := []meter.Query{
		query("DAY", utc(2026, 5, 1, 0, 0), utc(2026, 5, 4, 0, 0)),
		query("", utc(2026, 5, 4, 0, 0), utc(2026, 5, 4, 18, 15)),
		query("", utc(2026, 5, 1, 0, 0), utc(2026, 5, 1, 9, 30)),
	}
	if diff := cmp.Diff(want, m.queries); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	m.queries = nil
	if _, err := invoice.Measure(t.Context(), m, "c", calls, daily, utc(2026, 5, 1, 0, 0), utc(2026, 5, 2, 0, 0)); err != nil || len(m.queries) != 1 {
		t.Errorf("a whole day takes the queries %+v (%v)", m.queries, err)
	}
	m.queries = nil
	if got, err := invoice.Measure(t.Context(), m, "c", tokens, soft, utc(2026, 5, 1, 9, 30), from); err != nil || len(m.queries) != 0 || got.Used != 0 {
		t.Errorf("no minute takes the queries %+v (%v)", m.queries, err)
	}
}

// A day that lies in two periods has its limit once, and what is past it is billed in
// the period in which it was used.
func TestADayInTwoPeriods(t *testing.T) {
	client := openMeter(t)
	noon := utc(2025, 5, 10, 12, 0)
	var events []event
	add := func(n int, at time.Time) {
		for range n {
			events = append(events, event{"1.0", at.Format(time.RFC3339) + "-" + string(rune('a'+len(events))), "test", "api.request", "c", at, nil})
		}
	}
	add(8, noon.Add(-time.Hour)) // within the limit of 10
	add(5, noon.Add(time.Hour))  // 3 of them past it
	add(2, noon.Add(24*time.Hour))
	ingest(t, client, events)
	for _, test := range []struct {
		name       string
		from, to   time.Time
		used, over int64
	}{
		{"before noon", noon.AddDate(0, -1, 0), noon, 8, 0},
		{"from noon", noon, noon.AddDate(0, 1, 0), 7, 3},
		{"both", noon.AddDate(0, -1, 0), noon.AddDate(0, 1, 0), 15, 3},
		{"within the day", noon, noon.Add(2 * time.Hour), 5, 3},
		{"the day's end", noon.Add(2 * time.Hour), noon.Add(12 * time.Hour), 0, 0},
	} {
		got, err := invoice.Measure(t.Context(), client, "c", calls, daily, test.from, test.to)
		if err != nil || got != (invoice.Measured{Used: test.used, Over: test.over}) {
			t.Errorf("%s: %+v (%v), want %d and %d", test.name, got, err, test.used, test.over)
		}
	}
}

// Whatever the meter's trouble, there is no number, and the code says who can help.
func TestTroubleOfTheMeter(t *testing.T) {
	for _, test := range []struct {
		name  string
		err   error
		code  kgents.Code
		after time.Duration
	}{
		{"no answer", &meter.Error{Class: meter.Retry, Err: errors.New("refused")}, kgents.CodeUnavailable, 5 * time.Second},
		{"asks for patience", &meter.Error{Status: 429, Class: meter.Retry, RetryAfter: time.Minute}, kgents.CodeUnavailable, time.Minute},
		{"a wrong key", &meter.Error{Status: http.StatusUnauthorized, Class: meter.Blocked}, kgents.CodeMisconfig, 0},
		{"no such meter", &meter.Error{Status: http.StatusNotFound, Class: meter.Blocked}, kgents.CodeMisconfig, 0},
		{"too much asked for", &meter.Error{Status: 400, Class: meter.Refused}, kgents.CodeInvalid, 0},
		{"out of time", context.DeadlineExceeded, kgents.CodeUnavailable, 5 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, q := range []kgents.Quota{soft, daily} {
				_, err := invoice.Measure(t.Context(), &fakeMeter{value: 5, err: test.err}, "c", tokens, q, utc(2026, 5, 1, 9, 0), utc(2026, 6, 1, 9, 0))
				e, ok := errors.AsType[*kgents.Error](err)
				if !ok || e.Code != test.code || e.RetryAfter != test.after || !errors.Is(err, test.err) {
					t.Errorf("the error is %+v", err)
				}
			}
		})
	}
}

// What a preview says, in an account's every state. The clock of the test stands at
// the first of January 2000.
func TestPreview(t *testing.T) {
	catalog := &kgents.Catalog{Currency: "eur", Features: []kgents.Feature{tokens, {ID: "towns", Name: "Towns", Unit: "town"}}}
	quotas := map[string]kgents.Quota{"tokens": soft, "towns": {Limit: kgents.NoLimit()}}
	month := kgents.Price{Interval: "month", Amount: 1900, LookupKey: "m"}
	year := kgents.Price{Interval: "year", Amount: 19000, LookupKey: "y"}
	now := utc(2000, 1, 1, 0, 0)
	plan := func(prices ...kgents.Price) kgents.Plan {
		return kgents.Plan{ID: "pro", Name: "Pro", Prices: prices, Quotas: quotas}
	}
	begin, end := utc(1999, 12, 20, 0, 0), utc(2000, 1, 20, 0, 0)
	limit := func(l kgents.Limit) *api.Limit { return &api.Limit{Limit: l} }
	within := func(from, to time.Time) invoice.Line {
		return invoice.Line{Kind: "included", Text: "Tokens", Feature: "tokens", From: from, To: to, Quantity: 10, Unit: "token", Limit: limit(soft.Limit), LimitPer: "period", Per: 1}
	}
	past := func(from, to time.Time) invoice.Line {
		return invoice.Line{Kind: "overage", Text: "Tokens past the limit", Feature: "tokens", From: from, To: to, Quantity: 5, Unit: "token", Price: 1, Per: 1, Amount: 5}
	}
	for _, test := range []struct {
		name    string
		account invoice.Account
		want    invoice.Invoice
	}{
		{"a month under way", invoice.Account{ID: "c", Plan: plan(month), Price: month, Quantity: 3, PeriodStart: begin, PeriodEnd: end}, invoice.Invoice{
			Total: 5705, From: begin, To: end, CountedTo: now, Lines: []invoice.Line{
				{Kind: "plan", Text: "Pro, a month", From: begin, To: end, Quantity: 3, Unit: "seat", Price: 1900, Per: 1, Amount: 5700},
				within(begin, end), past(begin, end),
			},
		}},
		{"without a price", invoice.Account{ID: "c", Plan: plan(), PeriodStart: begin, PeriodEnd: end}, invoice.Invoice{
			Total: 5, From: begin, To: end, CountedTo: now, Lines: []invoice.Line{
				{Kind: "plan", Text: "Pro", From: begin, To: end, Quantity: 1, Unit: "seat", Per: 1},
				within(begin, end), past(begin, end),
			},
		}},
		{"a trial", invoice.Account{ID: "c", Plan: plan(month), Price: month, Quantity: 1, Trial: true, PeriodStart: begin, PeriodEnd: end}, invoice.Invoice{
			Total: 0, Trial: true, From: begin, To: end, CountedTo: now, Lines: []invoice.Line{
				{Kind: "plan", Text: "Pro, a month", From: begin, To: end, Quantity: 1, Unit: "seat", Price: 1900, Per: 1},
				within(begin, end), {Kind: "overage", Text: "Tokens past the limit", Feature: "tokens", From: begin, To: end, Quantity: 5, Unit: "token", Price: 1, Per: 1},
			},
		}},
		{"a year: its months so far, each with the month's limit", invoice.Account{ID: "c", Plan: plan(month, year), Price: year, Quantity: 1, PeriodStart: utc(1999, 11, 20, 0, 0), PeriodEnd: utc(2000, 11, 20, 0, 0)}, invoice.Invoice{
			Total: 19010, From: utc(1999, 11, 20, 0, 0), To: utc(2000, 11, 20, 0, 0), CountedTo: now, Lines: []invoice.Line{
				{Kind: "plan", Text: "Pro, a year", From: utc(1999, 11, 20, 0, 0), To: utc(2000, 11, 20, 0, 0), Quantity: 1, Unit: "seat", Price: 19000, Per: 1, Amount: 19000},
				within(utc(1999, 11, 20, 0, 0), begin), past(utc(1999, 11, 20, 0, 0), begin), within(begin, end), past(begin, end),
			},
		}},
		{"a period that is over", invoice.Account{ID: "c", Plan: plan(), PeriodStart: utc(1999, 11, 1, 0, 0), PeriodEnd: utc(1999, 12, 1, 0, 0)}, invoice.Invoice{
			Total: 5, Complete: true, From: utc(1999, 11, 1, 0, 0), To: utc(1999, 12, 1, 0, 0), CountedTo: utc(1999, 12, 1, 0, 0), Lines: []invoice.Line{
				{Kind: "plan", Text: "Pro", From: utc(1999, 11, 1, 0, 0), To: utc(1999, 12, 1, 0, 0), Quantity: 1, Unit: "seat", Per: 1},
				within(utc(1999, 11, 1, 0, 0), utc(1999, 12, 1, 0, 0)), past(utc(1999, 11, 1, 0, 0), utc(1999, 12, 1, 0, 0)),
			},
		}},
		{"a period that begins now", invoice.Account{ID: "c", Plan: plan(), PeriodStart: now, PeriodEnd: utc(2000, 2, 1, 0, 0)}, invoice.Invoice{
			From: now, To: utc(2000, 2, 1, 0, 0), CountedTo: now, Lines: []invoice.Line{
				{Kind: "plan", Text: "Pro", From: now, To: utc(2000, 2, 1, 0, 0), Quantity: 1, Unit: "seat", Per: 1},
			},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &fakeMeter{value: 15}
				s := invoice.New(invoice.Config{Accounts: accounts{"c": test.account}, Catalog: func() *kgents.Catalog { return catalog }, Meter: m})
				got, err := s.Preview(t.Context(), "c", time.Now())
				if err != nil {
					t.Fatal(err)
				}
				test.want.Customer, test.want.Plan, test.want.Currency = "c", "pro", "eur"
				got.Notes = nil
				if diff := cmp.Diff(test.want, *got, cmp.Comparer(func(a, b api.Limit) bool { return a == b })); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
				for _, q := range m.queries {
					if !q.To.After(q.From) || q.To.After(now) {
						t.Errorf("it asked the meter for %s to %s", q.From, q.To)
					}
				}
			})
		})
	}
}

// What is used this very minute is in the preview.
func TestPreviewCountsThisMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(90 * time.Second)
		m := &fakeMeter{value: 15}
		s := invoice.New(invoice.Config{
			Accounts: accounts{"c": {ID: "c", Plan: kgents.Plan{Quotas: map[string]kgents.Quota{"tokens": soft}}, PeriodStart: utc(2000, 1, 1, 0, 0), PeriodEnd: utc(2000, 2, 1, 0, 0)}},
			Catalog:  func() *kgents.Catalog { return &kgents.Catalog{Features: features} }, Meter: m,
		})
		got, err := s.Preview(t.Context(), "c", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if want := utc(2000, 1, 1, 0, 2); !got.CountedTo.Equal(want) || !m.queries[0].To.Equal(want) {
			t.Errorf("counted to %s, the meter was asked to %s, want %s", got.CountedTo, m.queries[0].To, want)
		}
		if _, err := s.Preview(t.Context(), "c", time.Now().Add(time.Second)); kgents.ErrorCode(err) != kgents.CodeInvalid {
			t.Errorf("a preview of the future: %v", err)
		}
	})
}

// Amounts that no currency has saturate rather than turn negative.
func TestNoAmountOverflows(t *testing.T) {
	price := kgents.Price{Interval: "month", Amount: 99_999_999}
	s := invoice.New(invoice.Config{
		Accounts: accounts{"c": {ID: "c", Plan: kgents.Plan{Prices: []kgents.Price{price}, Quotas: map[string]kgents.Quota{"tokens": soft}},
			Price: price, Quantity: math.MaxInt64, PeriodStart: utc(2025, 1, 1, 0, 0), PeriodEnd: utc(2025, 2, 1, 0, 0)}},
		Catalog: func() *kgents.Catalog { return &kgents.Catalog{Features: features} }, Meter: &fakeMeter{value: 1e300},
	})
	got, err := s.Preview(t.Context(), "c", utc(2025, 1, 5, 0, 0))
	if err != nil || got.Total != math.MaxInt64 || got.Lines[0].Amount != math.MaxInt64 {
		t.Errorf("%+v (%v)", got, err)
	}
}

func TestPriceOf(t *testing.T) {
	p := kgents.Plan{Prices: []kgents.Price{{Interval: "year", LookupKey: "y"}, {Interval: "month", LookupKey: "m"}, {Interval: "month", LookupKey: "old"}}}
	for want, end := range map[string]time.Time{"m": utc(2026, 6, 15, 0, 0), "y": utc(2027, 5, 15, 0, 0)} {
		if got := invoice.PriceOf(p, utc(2026, 5, 15, 0, 0), end); got.LookupKey != want {
			t.Errorf("to %s: %+v", end, got)
		}
	}
	if got := invoice.PriceOf(kgents.Plan{}, utc(2026, 5, 15, 0, 0), utc(2026, 6, 15, 0, 0)); got != (kgents.Price{}) {
		t.Errorf("a free plan costs %+v", got)
	}
}
