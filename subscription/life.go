package subscription

import (
	"slices"
	"time"

	"github.com/kgents/kgents"
)

// life is everything that is known about one subscription.
type life struct {
	id        string
	last      Change   // the newest snapshot; Kind 0 without any
	end       Change   // the newest deletion, likewise
	checkout  Change   // the newest checkout, likewise
	begin     int64    // the first that was heard of it
	seen      int64    // the last that was heard of it
	snapshots []Change // all of them, in their order
	bills     []*bill  // in the order of what was first heard of them
}

// bill is what is known about one invoice.
type bill struct {
	id     string
	failed Change // the first failure; Kind 0 without any
	paid   Change // a payment, likewise
}

// add takes the next change, which is none before those added already.
func (l *life) add(c Change) {
	if l.seen == 0 {
		l.begin = c.Created
	}
	l.seen = c.Created
	switch c.Kind {
	case Checkout:
		l.checkout = c
	case Created, Updated:
		l.last, l.snapshots = c, append(l.snapshots, c)
	case Deleted:
		l.last, l.end, l.snapshots = c, c, append(l.snapshots, c)
	case Failed, Paid:
		b := l.bill(c.Invoice)
		if c.Kind == Paid {
			b.paid = c
		} else if b.failed.Kind == 0 {
			b.failed = c
		}
	}
}

func (l *life) bill(id string) *bill {
	if i := slices.IndexFunc(l.bills, func(b *bill) bool { return b.id == id }); i >= 0 {
		return l.bills[i]
	}
	l.bills = append(l.bills, &bill{id: id})
	return l.bills[len(l.bills)-1]
}

// verdict is what a life means at one moment.
type verdict struct {
	*life
	Standing      // without Why; Plan is empty if it isn't known
	rank     int  // of the plan in the catalog; -1 if it isn't known
	counts   bool // the plan is had

	until time.Time // when it stopped to count; zero if it counts or never did
	debt  string    // the invoice that grace is about, if it is known
	late  bool      // the period is over, and nothing was heard of the next one
}

// judge decides about a life.
func (l *life) judge(now time.Time, cat *kgents.Catalog) verdict {
	v := verdict{life: l, rank: -1}
	v.Subscription, v.Quantity = l.id, 1
	s := l.last
	if s.Kind == 0 {
		v.Status = StatusNone
		if l.checkout.Kind == 0 || l.checkout.Status == "unpaid" {
			v.Status = StatusIncomplete
			return v
		}
		s = l.checkout // the subscription's own event is on its way
		s.Status = StatusActive
	}
	v.plan(s, cat)
	v.Quantity = max(1, s.Quantity)
	v.Status = s.Status
	v.CancelAt = at(s.CancelAt)
	if s.CancelAt == 0 && s.CancelAtPeriodEnd {
		v.CancelAt = at(s.PeriodEnd)
	}
	switch {
	case l.end.Kind != 0, s.Status == StatusCanceled, s.Status == StatusIncompleteExpired:
		v.ended(s, cat)
	case s.Status == StatusIncomplete && !l.paidSince(s.Created):
		v.CancelAt = time.Time{}
	case s.Status == StatusPaused:
		v.until = at(l.since(StatusPaused))
	case s.Status == StatusIncomplete, s.Status == StatusActive, s.Status == StatusTrialing, s.Status == StatusPastDue, s.Status == StatusUnpaid:
		v.running(s, now, cat)
	}
	// Of any other status, which is newer than this program, nobody knows whether it is paid.
	return v
}

// plan finds the plan of a snapshot, or of the checkout where the snapshot has none.
func (v *verdict) plan(s Change, cat *kgents.Catalog) {
	p, ok := planOf(s, cat)
	if !ok && s.Price == "" && s.Plan == "" {
		p, ok = planOf(v.checkout, cat)
	}
	if ok {
		v.Plan = p.ID
		v.rank = slices.IndexFunc(cat.Plans, func(o kgents.Plan) bool { return o.ID == p.ID })
	}
}

// planOf goes by the price first: metadata may be of before a change of plan.
func planOf(c Change, cat *kgents.Catalog) (kgents.Plan, bool) {
	for _, price := range []string{c.Price, c.LookupKey} {
		if p, ok := cat.PlanOfPrice(price); ok {
			return p, true
		}
	}
	if p, ok := cat.Plan(c.Plan); ok {
		return p, true
	}
	return cat.PlanOfPrice(c.Plan)
}

func (v *verdict) ended(s Change, cat *kgents.Catalog) {
	v.Status = StatusCanceled
	if s.Status == StatusIncompleteExpired {
		v.Status, v.CancelAt = StatusIncompleteExpired, time.Time{}
		return
	}
	if v.end.Kind != 0 {
		s = v.end
	}
	v.until = at(s.Created)
	if s.EndedAt != 0 && s.EndedAt < s.Created {
		v.until = at(s.EndedAt)
	}
	v.CancelAt = v.until
	if since, _ := v.unpaid(s); since != 0 { // then it may have fallen before
		if grace := at(since).Add(cat.Grace); grace.Before(v.until) {
			v.until = grace
		}
	}
}

// running decides about a subscription that hasn't ended: whether it is paid for.
func (v *verdict) running(s Change, now time.Time, cat *kgents.Catalog) {
	if s.Status == StatusIncomplete {
		v.Status = StatusActive // it is paid; the update that says so is late
	}
	v.counts = true
	v.period(now)
	if s.Status == StatusTrialing {
		v.TrialEnd = at(s.TrialEnd)
		if v.TrialEnd.IsZero() {
			v.TrialEnd = at(s.PeriodEnd)
		}
		if !v.TrialEnd.After(now) {
			v.Status = StatusActive // Stripe would say if it weren't
		}
	}
	if since, debt := v.unpaid(s); since != 0 {
		v.debt, v.Status = debt, StatusPastDue
		v.GraceEnd = at(since).Add(cat.Grace)
		if !now.Before(v.GraceEnd) {
			v.Status, v.counts, v.until = StatusUnpaid, false, v.GraceEnd
		}
	} else if s.Status == StatusPastDue || s.Status == StatusUnpaid {
		v.Status = StatusActive // what was due is paid; the update that says so is late
	}
	if !v.CancelAt.IsZero() && !now.Before(v.CancelAt) {
		if v.counts || v.CancelAt.Before(v.until) {
			v.until = v.CancelAt
		}
		v.Status, v.counts, v.GraceEnd, v.late = StatusCanceled, false, time.Time{}, false
	}
}

// unpaid is since when a payment is missing, 0 if none is, and the invoice if it is
// known.
//
// An invoice is open from its first failure until it is paid, or until Stripe says,
// after that failure, that the subscription is in order: then it was waived, or a later
// one was paid.
func (l *life) unpaid(s Change) (since int64, invoice string) {
	inOrder := int64(-1)
	for _, o := range l.snapshots {
		if o.Kind != Deleted && (o.Status == StatusActive || o.Status == StatusTrialing) {
			inOrder = o.Created
		}
	}
	for _, b := range l.bills {
		if b.failed.Kind == 0 || b.paid.Kind != 0 || b.failed.Created < inOrder {
			continue
		}
		if since == 0 || b.failed.Created < since {
			since, invoice = b.failed.Created, b.id
		}
	}
	if since != 0 || s.Status != StatusPastDue && s.Status != StatusUnpaid || l.paidSince(s.Created) {
		return since, invoice
	}
	return max(1, l.since(StatusPastDue, StatusUnpaid)), "" // the failure itself is late
}

// since is when the newest run of snapshots of these statuses began.
func (l *life) since(statuses ...string) int64 {
	began := l.last.Created
	for _, s := range slices.Backward(l.snapshots) {
		if !slices.Contains(statuses, s.Status) {
			break
		}
		began = s.Created
	}
	return began
}

// paidSince tells whether an invoice was paid at that time or later.
func (l *life) paidSince(created int64) bool {
	return slices.ContainsFunc(l.bills, func(b *bill) bool { return b.paid.Kind != 0 && b.paid.Created >= created })
}

// period sets the period around now: by the newest snapshot that has one, else months
// from the first that was heard of the subscription.
func (v *verdict) period(now time.Time) {
	start, end := at(v.begin), later(at(v.begin), 1, at(v.begin).Day())
	trial := false
	for _, s := range slices.Backward(v.snapshots) {
		if 0 < s.PeriodStart && s.PeriodStart < s.PeriodEnd {
			start, end, trial = at(s.PeriodStart), at(s.PeriodEnd), s.Status == StatusTrialing
			break
		}
	}
	v.PeriodStart, v.PeriodEnd = around(start, end, now, trial)
	v.late = !now.Before(end) && len(v.snapshots) > 0
}
