package invoice

import (
	"context"
	"errors"
	"math"
	"net/http"
	"time"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/meter"
	"github.com/kgents/kgents/subscription"
)

// Measured is what a customer used of a metered feature in a time.
type Measured struct {
	Used int64 // whole units: a fraction counts when it has become one
	Over int64 // of these, what is past the limit
}

// Querier is what Measure needs of a Meter.
type Querier interface {
	Query(ctx context.Context, q meter.Query) (meter.Result, error)
}

// Measure asks the meter what customer used of f from a time to another, and holds it
// against q. Of a quota per period the time is the period, or its part so far. Of one per
// day it may begin and end within a day: what a day has over its limit counts where it
// was used, so that times that meet bill each unit once.
//
// Times are cut to the minute, as the meter cuts them. Who reports overage should ask
// here too, so that it is what the preview says. Errors are *kgents.Error.
func Measure(ctx context.Context, m Querier, customer string, f kgents.Feature, q kgents.Quota, from, to time.Time) (Measured, error) {
	from, to = from.UTC().Truncate(time.Minute), to.UTC().Truncate(time.Minute)
	ask := meterOf{ctx, m, customer, f}
	if q.Per != kgents.PerDay {
		used, err := ask.sum(from, to)
		return Measured{used, past(q, used)}, err
	}
	const day = 24 * time.Hour
	first, last := from.Truncate(day), to.Truncate(day)
	days, err := ask.days(first, last)
	if err != nil {
		return Measured{}, err
	}
	today, err := ask.sum(last, to)
	if err != nil {
		return Measured{}, err
	}
	before, err := ask.sum(first, from) // of the first day, in the time before
	if err != nil {
		return Measured{}, err
	}
	sum := Measured{-before, -past(q, before)}
	for _, used := range append(days, today) {
		sum.Used, sum.Over = plus(sum.Used, used), plus(sum.Over, past(q, used))
	}
	// A correction of a sum, which is negative, may leave less in a day than in its begin.
	return Measured{max(0, sum.Used), max(0, sum.Over)}, nil
}

// Part is a time under one plan.
type Part struct {
	From, To time.Time
	Plan     kgents.Plan
}

// PartsOf are the parts of a term, with their plans.
func PartsOf(t subscription.Term, cat *kgents.Catalog) []Part {
	var out []Part
	for _, p := range t.Parts {
		plan, _ := cat.Plan(p.Plan)
		out = append(out, Part{From: p.From, To: p.To, Plan: plan})
	}
	return out
}

// MaxParts is how many parts of a period are judged by themselves. What lies before them
// is counted, and nothing of it is past a limit.
const MaxParts = 16

// Span is a time under one quota.
type Span struct {
	From, To time.Time
	Quota    kgents.Quota // one that isn't billed has no limit here
}

// Spans are the parts of a period, under the quotas of f, as far as they lie in a time
// from a moment to another.
func Spans(parts []Part, f kgents.Feature, from, to time.Time) []Span {
	var out []Span
	for _, p := range parts {
		s := Span{From: later(p.From, from), To: sooner(p.To, to), Quota: p.Plan.Quotas[f.ID]}
		if s.Quota.Over != kgents.OverBill {
			s.Quota.Limit = kgents.NoLimit()
		}
		if !s.From.Before(s.To) {
			continue
		}
		if n := len(out); n > 0 && out[n-1].To.Equal(s.From) && out[n-1].Quota.Limit == s.Quota.Limit && out[n-1].Quota.Per == s.Quota.Per {
			out[n-1].To, out[n-1].Quota = s.To, s.Quota
			continue
		}
		out = append(out, s)
	}
	old := max(0, len(out)-MaxParts)
	var kept []Span
	for i, s := range out {
		if i < old {
			s.Quota = kgents.Quota{Limit: kgents.NoLimit(), Per: kgents.PerPeriod}
			if n := len(kept); n > 0 && kept[n-1].To.Equal(s.From) {
				kept[n-1].To = s.To
				continue
			}
		}
		kept = append(kept, s)
	}
	return kept
}

// MeasureSpans is Measure for a period in which the plan changed. What was past a limit
// when the plan changed stays past it, and from then on the new limit counts for all of
// the period: after 12 of 10, a change to 20, and 25, there are 5 past it; with 15, 2.
// So what was reported as it grew is what is asked for in the end. Of a quota per day
// each day is held against the limit of its time.
func MeasureSpans(ctx context.Context, m Querier, customer string, f kgents.Feature, spans []Span) (Measured, error) {
	var sum Measured
	for _, s := range spans {
		got, err := Measure(ctx, m, customer, f, s.Quota, s.From, s.To)
		if err != nil {
			return Measured{}, err
		}
		sum.Used = plus(sum.Used, got.Used)
		if s.Quota.Per == kgents.PerDay {
			sum.Over = plus(sum.Over, got.Over)
		} else {
			sum.Over = max(sum.Over, past(s.Quota, sum.Used))
		}
	}
	return sum, nil
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

func sooner(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// past is what of used is past the limit.
func past(q kgents.Quota, used int64) int64 { return used - min(used, q.Limit.N()) }

type meterOf struct {
	ctx      context.Context
	meter    Querier
	customer string
	feature  kgents.Feature
}

func (a meterOf) sum(from, to time.Time) (int64, error) {
	if !from.Before(to) {
		return 0, nil
	}
	r, err := a.query(meter.Query{From: from, To: to})
	if err != nil {
		return 0, err
	}
	sum := 0.0
	for _, row := range r.Data {
		sum += row.Value
	}
	return whole(sum), nil
}

// days are the sums of each day in which something was used.
func (a meterOf) days(from, to time.Time) ([]int64, error) {
	if !from.Before(to) {
		return nil, nil
	}
	r, err := a.query(meter.Query{From: from, To: to, WindowSize: meter.Day})
	if err != nil {
		return nil, err
	}
	sums := map[int64]float64{}
	for _, row := range r.Data {
		sums[row.WindowStart.Unix()] += row.Value
	}
	var days []int64
	for _, sum := range sums {
		days = append(days, whole(sum))
	}
	return days, nil
}

func (a meterOf) query(q meter.Query) (meter.Result, error) {
	q.Meter, q.Subjects = a.feature.Meter, []string{a.customer}
	r, err := a.meter.Query(a.ctx, q)
	return r, meterError(err, a.feature.Meter)
}

// whole is v in whole units. A sum below zero, which corrections can make, is none.
func whole(v float64) int64 {
	switch {
	case !(v > 0): // NaN too
		return 0
	case v >= math.MaxInt64:
		return math.MaxInt64
	}
	return int64(v)
}

// meterError gives an error of the meter its code.
func meterError(err error, slug string) error {
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*meter.Error](err)
	switch {
	case ok && e.Status == http.StatusNotFound:
		return &kgents.Error{Code: kgents.CodeMisconfig, Message: "there is no meter " + slug + ", which the plans name: make it, or mend the plans", Err: err}
	case ok && e.Class == meter.Blocked:
		return &kgents.Error{Code: kgents.CodeMisconfig, Message: "the meter does not let this program in: check OPENMETER_API_KEY and OPENMETER_BASE_URL", Err: err}
	case ok && e.Class == meter.Refused:
		return &kgents.Error{Code: kgents.CodeInvalid, Message: "the meter can't answer that: ask for a shorter time, larger windows or fewer groups", Err: err}
	case ok:
		return kgents.Unavailable(max(5*time.Second, e.RetryAfter), "the meter does not answer: try again later", err)
	}
	if _, ours := errors.AsType[*kgents.Error](err); ours {
		return err
	}
	return kgents.Unavailable(5*time.Second, "the meter does not answer: try again later", err)
}
