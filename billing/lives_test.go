package billing_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/kgents/kgents/billing"
	"github.com/kgents/kgents/billing/stripetest"
	"github.com/kgents/kgents/invoice"
	"github.com/kgents/kgents/plan"
	"github.com/kgents/kgents/subscription"
)

// born is when lives begin: long ago, so that their previews are complete.
var born = time.Date(2025, 3, 24, 9, 30, 0, 0, time.UTC)

// live is a customer who subscribes, changes and cancels, as Stripe would tell of it.
type live struct {
	id    string
	works *works
	state subscription.State

	sub, period int
	plan        string // empty without a subscription
	from, to    time.Time
	events      int

	was  []was
	used []used
}

// was and used are what happened, for who adds it up another way.
type was struct {
	at     time.Time
	period int
	limit  int64 // -1: nothing is billed
}

type used struct {
	at     time.Time
	tokens int64
}

func limitOf(id string) int64 {
	p, _ := plan.Default().Plan(id)
	return p.Quotas["tokens"].Limit.N()
}

func (l *live) tell(kind subscription.Kind, at time.Time) {
	l.events++
	l.state = l.state.Apply(subscription.Change{
		ID: fmt.Sprint("evt_", l.events), Kind: kind, Created: at.Unix(), Subscription: fmt.Sprint("sub_", l.sub), Status: "active",
		LookupKey: l.plan + "_monthly", Quantity: 1, PeriodStart: l.from.Unix(), PeriodEnd: l.to.Unix(),
	})
}

func (l *live) begin(plan string, at time.Time) {
	l.sub, l.period, l.plan, l.from, l.to = l.sub+1, l.period+1, plan, at, at.AddDate(0, 1, 0)
	l.was = append(l.was, was{at, l.period, limitOf(plan)})
	l.tell(subscription.Created, at)
}

func (l *live) change(plan string, at time.Time) {
	l.plan = plan
	l.was = append(l.was, was{at, l.period, limitOf(plan)})
	l.tell(subscription.Updated, at)
}

func (l *live) renew() {
	l.period++
	l.from, l.to = l.to, l.to.AddDate(0, 1, 0)
	l.was = append(l.was, was{l.from, l.period, limitOf(l.plan)})
	l.tell(subscription.Updated, l.from)
}

func (l *live) cancel(at time.Time) {
	l.tell(subscription.Deleted, at)
	l.was = append(l.was, was{at, 0, -1})
	l.plan = ""
}

// owed goes from event to event, and knows nothing of meters, states and watermarks. Who
// goes down with more used than the smaller plan has owes the difference at once.
func (l *live) owed() (sum int64) {
	count, past := map[int]int64{}, map[int]int64{}
	for i, w := range l.was {
		for _, u := range l.used {
			if !u.at.Before(w.at) && (i+1 == len(l.was) || u.at.Before(l.was[i+1].at)) {
				count[w.period] += u.tokens
			}
		}
		if w.limit >= 0 {
			past[w.period] = max(past[w.period], count[w.period]-w.limit)
		}
	}
	for _, n := range past {
		sum += n
	}
	return sum
}

func (l *live) cus() string { return "cus_" + l.id }

func (l *live) accounts(now time.Time) []billing.Account {
	cat := plan.Default()
	return billing.Periods(l.id, l.cus(), l.state.Terms(now.Add(-billing.Grace), now, now, cat), cat)
}

// Account is the customer as the invoice's preview sees it.
func (l *live) Account(_ string, at time.Time) (invoice.Account, error) {
	cat := plan.Default()
	t := l.state.Term(at, time.Now(), cat)
	p, _ := cat.Plan(t.Plan)
	return invoice.Account{ID: l.id, Plan: p, PeriodStart: t.PeriodStart, PeriodEnd: t.PeriodEnd, Parts: invoice.PartsOf(t, cat)}, nil
}

// previewed is the overage of all previews of what was paid for.
func (l *live) previewed() (sum int64) {
	service := invoice.New(invoice.Config{Accounts: l, Catalog: newCatalog, Meter: l.works.meter})
	seen := map[time.Time]bool{}
	for _, w := range l.was {
		inv, err := service.Preview(l.works.t.Context(), l.id, w.at)
		if err != nil {
			l.works.t.Fatal(err)
		}
		if seen[inv.From] {
			continue
		}
		seen[inv.From] = true
		for _, line := range inv.Lines {
			if line.Kind == invoice.KindOverage && line.Feature == "tokens" {
				sum += line.Quantity
			}
		}
	}
	return sum
}

// What was used until a cancellation, a downgrade or a period's end is billed also where
// no run has seen the period while it lasted, by what was in force, and for Grace.
func TestReporterOfWhatNoRunSaw(t *testing.T) {
	begin := func(l *live) { l.begin("pro", start.Truncate(time.Minute)) }
	end := start.Truncate(time.Minute).AddDate(0, 1, 0)
	for name, test := range map[string]struct {
		life  func(*live)
		use   map[time.Time]int64
		run   time.Time
		units int64
	}{
		"canceled": {
			func(l *live) { begin(l); l.cancel(start.Add(48 * time.Hour)) },
			map[time.Time]int64{start.Add(time.Hour): limit + 5, start.Add(49 * time.Hour): 100}, start.Add(60 * time.Hour), 5,
		},
		"canceled, and the day of grace is over": {
			func(l *live) { begin(l); l.cancel(start.Add(48 * time.Hour)) },
			map[time.Time]int64{start.Add(time.Hour): limit + 5}, start.Add(73 * time.Hour), 0,
		},
		"the period is over, and the next one runs": {
			func(l *live) { begin(l); l.renew() },
			map[time.Time]int64{end.Add(-time.Hour): limit + 7, end.Add(time.Hour): 100}, end.Add(2 * time.Hour), 7,
		},
		"down": {
			func(l *live) {
				begin(l)
				l.change("teams", start.Add(time.Hour))
				l.change("pro", start.Add(3*time.Hour))
			},
			map[time.Time]int64{start.Add(2 * time.Hour): limit + 9}, start.Add(4 * time.Hour), 9,
		},
		"up": {
			func(l *live) { begin(l); l.change("teams", start.Add(2*time.Hour)) },
			map[time.Time]int64{start.Add(time.Hour): limit + 3, start.Add(3 * time.Hour): limit}, start.Add(4 * time.Hour), 3,
		},
		"up, and past the larger limit": {
			func(l *live) { begin(l); l.change("teams", start.Add(2*time.Hour)) },
			map[time.Time]int64{start.Add(time.Hour): limit + 3, start.Add(3 * time.Hour): 3*limit + 8}, start.Add(4 * time.Hour), 11,
		},
		"canceled, and subscribed again": {
			func(l *live) {
				begin(l)
				l.cancel(start.Add(2 * time.Hour))
				l.begin("pro", start.Add(4*time.Hour).Truncate(time.Minute))
			},
			map[time.Time]int64{start.Add(time.Hour): limit + 1, start.Add(3 * time.Hour): limit, start.Add(5 * time.Hour): limit + 2}, start.Add(6 * time.Hour), 3,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorks(t)
			l := &live{id: "acme", works: w}
			test.life(l)
			for at, n := range test.use {
				w.use(l.id, at, n)
			}
			w.clock.add(test.run.Sub(w.clock.Now()))
			w.accounts = l.accounts(w.clock.Now())
			for range 2 {
				w.run()
			}
			if got := w.stripe.Sum("kgents_tokens", l.cus(), start.Truncate(time.Minute), end.AddDate(0, 1, 0)); got != test.units {
				t.Errorf("Stripe has %d units, want %d", got, test.units)
			}
		})
	}
}

// Customers subscribe, go up and down and cancel at any moment, and runs come when they
// come, within the time of grace: Stripe has what the raw events are past the limits of
// their time, and so have the previews.
func TestReporterOfLives(t *testing.T) {
	w := newWorks(t)
	w.clock.add(born.Sub(w.clock.Now()))
	overage, cancels, changes := int64(0), 0, 0
	for seed := range uint64(3) {
		r := rand.New(rand.NewPCG(seed, 11))
		w.streams.Name = fmt.Sprintf("lives-%d", seed)
		begun := w.clock.Now().Truncate(time.Minute)
		l := &live{id: fmt.Sprintf("life%d", seed), works: w}
		l.begin("pro", begun)
		report := func() {
			w.mu.Lock()
			w.accounts = l.accounts(w.clock.Now())
			w.mu.Unlock()
			if r.IntN(4) == 0 { // a run that ends early, and the next one
				w.stripe.Fail(on(http.MethodPost, "/v1/billing/meter_events", stripetest.Fault{After: 500}))
				_, _ = w.reporter(w.js).Run(t.Context())
				w.stripe.Fail(nil)
			}
			w.run()
		}
		for at := begun; at.Before(begun.AddDate(0, 2, 5)); {
			step := time.Duration(1+r.IntN(20*60)) * time.Minute
			for range r.IntN(3) { // in the order of time, not all of it before the run
				at = at.Add(time.Minute + step/4).Truncate(time.Minute)
				if l.plan != "" && !at.Before(l.to) {
					l.renew()
				}
				switch dice := r.IntN(80); {
				case l.plan == "" && dice < 16:
					l.begin([]string{"pro", "teams"}[dice%2], at)
				case l.plan != "" && dice < 1:
					l.cancel(at)
					cancels++
				case l.plan == "pro" && dice < 4, l.plan == "teams" && dice < 5:
					l.change(map[string]string{"pro": "teams", "teams": "pro"}[l.plan], at)
					changes++
				}
				when := at.Add(time.Duration(r.IntN(60)) * time.Second)
				if r.IntN(4) == 0 {
					when = when.Add(-time.Duration(r.IntN(120)) * time.Minute) // it comes late
				}
				if when.Before(begun) {
					continue
				}
				n := r.Int64N(limit / 5)
				l.used = append(l.used, used{when, n})
				w.use(l.id, when, n)
			}
			at = at.Add(time.Minute + step/4).Truncate(time.Minute)
			if l.plan != "" && !at.Before(l.to) {
				l.renew()
			}
			w.clock.add(at.Add(time.Minute).Sub(w.clock.Now()))
			report()
			if got, owed := w.stripe.Sum("kgents_tokens", l.cus(), begun, at.AddDate(0, 2, 0)), l.owed(); got > owed {
				t.Fatalf("seed %d at %s: Stripe has %d, and by the events it is %d", seed, at, got, owed)
			}
		}
		w.clock.add(time.Hour)
		report()
		got, owed, shown := w.stripe.Sum("kgents_tokens", l.cus(), begun, w.clock.Now().AddDate(0, 2, 0)), l.owed(), l.previewed()
		if got != owed || shown != owed {
			t.Errorf("seed %d: Stripe has %d and the previews %d, and by the events it is %d\n%+v", seed, got, shown, owed, l.was)
		}
		overage += owed
	}
	if overage == 0 || cancels < 2 || changes < 6 {
		t.Errorf("%d units, %d cancellations, %d changes: the test says little", overage, cancels, changes)
	}
}
