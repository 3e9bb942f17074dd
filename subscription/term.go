package subscription

import (
	"slices"
	"time"

	"github.com/kgents/kgents"
)

// maxMoments bounds the moments at which Terms looks. It is past what a State keeps, so
// that only a subscription of days that was asked for years ago comes near; the terms
// end there.
const maxMoments = 1024

// maxBegins bounds how often Terms begins anew, earlier: a period that was interrupted by
// another that was interrupted, and so on.
const maxBegins = 4

// Term is one period as it was in fact: what a State knows of it, without what happened
// later. It is what usage is billed by.
type Term struct {
	Standing // as it was last within the term, without Why

	// Parts are the times in which the term was had, in their order. There is one for
	// each plan, and a gap where the plan had fallen and came back in the same period.
	// A term that was cut short, by a cancellation or by another subscription, ends
	// before its PeriodEnd.
	Parts []Part
}

// Part is a time under one plan.
type Part struct {
	From, To time.Time
	Plan     string
}

// End is when the term ended, or is going to.
func (t Term) End() time.Time { return t.Parts[len(t.Parts)-1].To }

// Has tells whether a time is in one of the parts.
func (t Term) Has(at time.Time) bool {
	return slices.ContainsFunc(t.Parts, func(p Part) bool { return !at.Before(p.From) && at.Before(p.To) })
}

// Paid tells whether a subscription counts, rather than the default plan.
func (s Standing) Paid() bool {
	return s.Status == StatusActive || s.Status == StatusTrialing || s.Status == StatusPastDue
}

// Terms returns the terms between two times, in their order, from the beginning of the
// one that has from in it; what ends the last of them after until isn't looked for. Each
// moment is judged by what had happened by then, by Stripe's clock, so
// an event that comes late changes what was, and one of later does not. No part lies in
// another. The term that now lies in ends when it would without further events.
func (s State) Terms(from, until, now time.Time, cat *kgents.Catalog) []Term {
	from, until, now = from.UTC(), until.UTC(), now.UTC()
	judge := func(t time.Time) Standing {
		if t.Before(now) {
			return s.AsOf(t).Brief(t, cat)
		}
		return s.Brief(t, cat) // also what Stripe's clock, a little fast, has of later
	}
	t := judge(from).PeriodStart
	for range maxBegins {
		w := s.walk(t, until, now, judge)
		first := t
		for _, term := range w.terms { // one that had a gap at from began earlier
			first = minTime(first, term.PeriodStart)
		}
		if first.Equal(t) {
			return w.terms
		}
		t = first
	}
	return s.walk(t, until, now, judge).terms
}

// Term returns the term that has a time in it, which is not after now.
func (s State) Term(at, now time.Time, cat *kgents.Catalog) Term {
	at, now = minTime(at.UTC(), now.UTC()), now.UTC()
	then := s
	if at.Before(now) {
		then = s.AsOf(at)
	}
	st := then.Brief(at, cat)
	for _, term := range s.Terms(at, minTime(st.PeriodEnd, now), now, cat) {
		if term.Has(at) {
			return term
		}
	}
	return Term{st, []Part{{st.PeriodStart, st.PeriodEnd, st.Plan}}}
}

func (s State) walk(t, until, now time.Time, judge func(time.Time) Standing) walk {
	var w walk
	for range maxMoments {
		st := judge(t)
		w.add(t, st)
		next := s.next(t, st)
		if t.Before(now) && now.Before(next) {
			next = now
		}
		if next.After(until) {
			break
		}
		t = next
	}
	return w
}

// next is the first moment after t at which something may change.
func (s State) next(t time.Time, st Standing) time.Time {
	next := st.PeriodEnd
	sooner := func(o time.Time) {
		if o.After(t) && o.Before(next) {
			next = o
		}
	}
	sooner(st.CancelAt)
	sooner(st.GraceEnd)
	sooner(st.TrialEnd)
	if known := len(s.AsOf(t).Changes); known < len(s.Changes) {
		sooner(at(s.Changes[known].Created))
	}
	return next
}

// walk collects terms.
type walk struct {
	terms []Term
	last  int // the term that the last part is of
}

// add says what stands from a moment on.
func (w *walk) add(t time.Time, st Standing) {
	from, id := t, ""
	if st.Paid() {
		id = st.Subscription
	}
	same := func(o Term) bool {
		other := ""
		if o.Paid() {
			other = o.Subscription
		}
		return other == id && o.PeriodStart.Equal(st.PeriodStart)
	}
	if len(w.terms) > 0 && !same(w.terms[w.last]) {
		// What Stripe tells of happened at the period's start, some seconds earlier.
		if began := w.part().From; !st.PeriodStart.Before(began) && st.PeriodStart.Before(from) {
			from = st.PeriodStart
		}
	}
	w.cut(from)
	i := slices.IndexFunc(w.terms, same)
	if i < 0 {
		i = len(w.terms)
		w.terms = append(w.terms, Term{})
	}
	term := &w.terms[i]
	if n := len(term.Parts); n > 0 && term.Parts[n-1].To.Equal(from) && term.Parts[n-1].Plan == st.Plan {
		term.Parts[n-1].To = st.PeriodEnd
	} else {
		term.Parts = append(term.Parts, Part{from, st.PeriodEnd, st.Plan})
	}
	term.Standing, w.last = st, i
}

func (w *walk) part() *Part {
	parts := w.terms[w.last].Parts
	return &parts[len(parts)-1]
}

// cut ends the last part at a time.
func (w *walk) cut(at time.Time) {
	if len(w.terms) == 0 {
		return
	}
	p := w.part()
	if p.To = minTime(p.To, at); p.From.Before(p.To) {
		return
	}
	term := &w.terms[w.last]
	if term.Parts = term.Parts[:len(term.Parts)-1]; len(term.Parts) == 0 {
		w.terms = slices.Delete(w.terms, w.last, w.last+1)
	}
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
