package app

import (
	"context"
	"sync"
	"time"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/config"
	"github.com/kgents/kgents/customer"
	"github.com/kgents/kgents/entitle"
	"github.com/kgents/kgents/notify"
	"github.com/kgents/kgents/plan"
	"github.com/kgents/kgents/subscription"
)

// startEntitlements knows what customers have used and may use, where there is an API,
// and tells the operator who nears a limit, where the sink is. It needs neither NATS nor
// the meter nor Redis to answer.
func (a *App) startEntitlements(context.Context) error {
	alerts, err := notify.New(notify.Config{
		JetStream: a.js, Stream: a.streams, URL: a.config.UsageAlertURL, Secrets: a.config.UsageAlertSecrets,
		Catalog: a.plans.Current, Log: a.log, Registerer: a.reg,
	})
	if err != nil {
		return err
	}
	a.onStop(alerts.Close)
	if a.role != config.RoleAPI {
		alerts.Deliver()
	}
	if a.role == config.RoleSink {
		return nil
	}
	alerts.Record()
	accounts := newAccounts(a.customers, a.plans)
	if a.rates, err = entitle.NewLimiter(entitle.LimiterConfig{
		Accounts: accounts, RedisURL: a.config.RedisURL, Log: a.log, Registerer: a.reg,
	}); err != nil {
		return err
	}
	a.onStop(a.rates.Close)
	settle := time.Duration(0)
	if !a.config.EmbeddedMeter() {
		settle = entitle.SettleRemote
	}
	a.entitle = entitle.New(entitle.Config{
		Accounts: accounts, Catalog: a.plans.Current, Meter: a.meter, JetStream: a.js, Stream: a.streams,
		Log: a.log, Registerer: a.reg, Settle: settle, Crossed: alerts.Crossed,
		Checkout: a.checkoutLinks().Link,
	})
	a.onStop(a.entitle.Close)
	a.customers.Watch(func(c customer.Customer) { a.entitle.Changed(c.ID) })
	a.v1 = append(a.v1, a.entitle, alerts)
	return nil
}

// accounts are the customers with their plans, as package entitle asks for them: for
// every request, so what follows from a customer's events is kept until something about
// it changes.
type accounts struct {
	customers *customer.Store
	plans     *plan.Book
	now       func() time.Time

	mu   sync.RWMutex
	kept map[string]standing // by customer; as many as there are
}

// standing is an account, and for how long it is right.
type standing struct {
	entitle.Account
	revision uint64
	catalog  *kgents.Catalog
	until    time.Time
}

// longestStanding bounds that, for what is not foreseen here.
const longestStanding = time.Minute

var _ entitle.Accounts = (*accounts)(nil)

func newAccounts(customers *customer.Store, plans *plan.Book) *accounts {
	return &accounts{customers: customers, plans: plans, now: time.Now, kept: map[string]standing{}}
}

// Account implements entitle.Accounts.
func (a *accounts) Account(id string) (entitle.Account, bool) {
	c, ok := a.customers.Get(id)
	if !ok {
		a.drop(id)
		return entitle.Account{}, false
	}
	return a.of(c), true
}

// Each implements entitle.Accounts.
func (a *accounts) Each(f func(entitle.Account)) {
	for after := ""; ; {
		page := a.customers.List(after, customer.MaxPage)
		for _, c := range page {
			f(a.of(c))
		}
		if len(page) < customer.MaxPage {
			return
		}
		after = page[len(page)-1].ID
	}
}

func (a *accounts) of(c customer.Customer) entitle.Account {
	now, cat := a.now(), a.plans.Current()
	a.mu.RLock()
	s, ok := a.kept[c.ID]
	a.mu.RUnlock()
	if ok && s.revision == c.Revision && s.catalog == cat && now.Before(s.until) {
		return s.Account
	}
	st := c.Brief(now, cat)
	s = standing{
		Account:  entitle.Account{ID: c.ID, PeriodStart: st.PeriodStart, PeriodEnd: st.PeriodEnd, Subscribed: subscribed(st)},
		revision: c.Revision, catalog: cat, until: changes(st, now),
	}
	if s.Plan, ok = cat.Plan(st.Plan); !ok {
		s.Plan, _ = cat.Plan(cat.Default)
	}
	a.mu.Lock()
	a.kept[c.ID] = s
	a.mu.Unlock()
	return s.Account
}

func (a *accounts) drop(id string) {
	a.mu.RLock()
	_, ok := a.kept[id]
	a.mu.RUnlock()
	if ok {
		a.mu.Lock()
		delete(a.kept, id)
		a.mu.Unlock()
	}
}

// subscribed tells whether Stripe has a subscription that has begun and has not ended.
func subscribed(s subscription.Standing) bool {
	switch s.Status {
	case subscription.StatusNone, subscription.StatusIncomplete, subscription.StatusIncompleteExpired, subscription.StatusCanceled:
		return false
	}
	return s.Subscription != ""
}

// changes is when a standing may be another, though nothing new is told.
func changes(s subscription.Standing, now time.Time) time.Time {
	until := now.Add(longestStanding)
	for _, t := range []time.Time{s.PeriodEnd, s.TrialEnd, s.GraceEnd, s.CancelAt} {
		if t.After(now) && t.Before(until) {
			until = t
		}
	}
	return until
}
