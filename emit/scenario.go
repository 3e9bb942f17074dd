package emit

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// Life says whose subscription a scenario is.
type Life struct {
	Mix // Count and Over have no meaning: a scenario has its own length

	// Customer is the id of a customer of ours, handed to Stripe at the checkout, so that
	// the events find it. Empty: Stripe's customer alone is named, as of a checkout that
	// was made elsewhere.
	Customer string

	// Plan is the one that the life begins with, at the price with the lookup key
	// <plan>_monthly; empty = pro. A life that changes plans goes to teams or pro.
	Plan string
}

// scenario is the life of a subscription, told so that it is now what its name says.
type scenario struct {
	name, about string
	play        func(*player)
}

const aDay = 24 * time.Hour

var scenarios = []scenario{
	{"trial", "begins a trial, three days ago", func(p *player) {
		p.begin(p.before(0, 3), 14)
	}},
	{"trial-to-paid", "a trial, and then paid for", func(p *player) {
		p.begin(p.before(0, 20), 14)
		p.renew()
		p.pay(p.start.Add(time.Hour))
	}},
	{"trial-to-paused", "a trial that ends without a way to pay, and is paused", func(p *player) {
		p.begin(p.before(0, 20), 14)
		p.tell("customer.subscription.paused", p.end, func() { p.status = "paused" })
	}},
	{"resumed", "a paused trial, resumed with a way to pay", func(p *player) {
		p.begin(p.before(0, 20), 14)
		p.tell("customer.subscription.paused", p.end, func() { p.status = "paused" })
		p.tell("customer.subscription.resumed", p.before(0, 2), func() { p.status, p.start, p.end = "active", p.before(0, 2), p.before(-1, 2) })
		p.pay(p.start)
	}},
	{"paid", "paid for three months", func(p *player) {
		p.begin(p.before(2, 5), 0)
		p.renewed()
		p.renewed()
	}},
	{"incomplete", "the first payment fails and hasn't come", func(p *player) {
		p.start, p.end, p.status = p.before(0, 0.1), p.before(-1, 0.1), "incomplete"
		p.tell("customer.subscription.created", p.start, nil)
		p.fail(p.start, 1)
	}},
	{"dunning", "a renewal that can't be paid, two days into the grace", func(p *player) {
		p.begin(p.before(1, 2), 0)
		p.renew()
		p.due()
	}},
	{"dunning-healed", "a renewal that is paid at the third try", func(p *player) {
		p.begin(p.before(1, 8), 0)
		p.renew()
		p.due()
		p.fail(p.start.Add(3*aDay), 2)
		p.pay(p.start.Add(5 * aDay))
		p.tell("customer.subscription.updated", p.start.Add(5*aDay), func() { p.status = "active" })
	}},
	{"dunning-lost", "a renewal that is never paid, past the grace", func(p *player) {
		p.begin(p.before(1, 16), 0)
		p.renew()
		p.due()
		p.fail(p.start.Add(3*aDay), 2)
		p.fail(p.start.Add(8*aDay), 3)
		p.tell("customer.subscription.updated", p.start.Add(15*aDay), func() { p.status = "unpaid" })
	}},
	{"upgrade", "Pro, and Teams since five days ago", func(p *player) {
		p.begin(p.before(0, 20), 0)
		p.tell("customer.subscription.updated", p.before(0, 5), func() { p.plan = "teams" })
		p.pay(p.before(0, 5))
	}},
	{"downgrade", "Teams, and Pro since five days ago", func(p *player) {
		p.plan = "teams"
		p.begin(p.before(0, 20), 0)
		p.tell("customer.subscription.updated", p.before(0, 5), func() { p.plan = "pro" })
	}},
	{"quantity", "three seats instead of one", func(p *player) {
		p.begin(p.before(0, 20), 0)
		p.tell("customer.subscription.updated", p.before(0, 5), func() { p.quantity = 3 })
		p.pay(p.before(0, 5))
	}},
	{"cancel", "canceled at the end of the period", func(p *player) {
		p.begin(p.before(0, 20), 0)
		p.tell("customer.subscription.updated", p.before(0, 5), func() { p.canceling = true })
	}},
	{"reactivate", "canceled at the end of the period, and taken back", func(p *player) {
		p.begin(p.before(0, 20), 0)
		p.tell("customer.subscription.updated", p.before(0, 5), func() { p.canceling = true })
		p.tell("customer.subscription.updated", p.before(0, 4), func() { p.canceling = false })
	}},
	{"cancel-now", "canceled at once, a day ago", func(p *player) {
		p.begin(p.before(0, 20), 0)
		p.tell("customer.subscription.deleted", p.before(0, 1), func() { p.status = "canceled" })
	}},
	{"two", "a subscription of Pro, and one of Teams beside it", func(p *player) {
		p.begin(p.before(0, 20), 0)
		p.subscription += "b"
		p.plan = "teams"
		p.begin(p.before(0, 10), 0)
	}},
}

// Scenarios are the names of the lives that Scenario can play.
func Scenarios() (names []string) {
	for _, s := range scenarios {
		names = append(names, s.name)
	}
	return names
}

// ScenarioAbout says what a scenario is about.
func ScenarioAbout(name string) string {
	for _, s := range scenarios {
		if s.name == name {
			return s.about
		}
	}
	return ""
}

// Scenario makes the Stripe events of a whole life of a subscription, for each of the
// customers.
func Scenario(name string, l Life) (Source, error) {
	fixtures, err := stripeFixtures()
	if err != nil {
		return nil, err
	}
	for _, s := range scenarios {
		if s.name != name {
			continue
		}
		r, run := l.random()
		var queue []Request
		for who := range max(1, l.Customers) {
			p := &player{
				fixtures: fixtures, r: r, now: time.Now().UTC().Truncate(time.Second), ref: l.Customer,
				id: fmt.Sprintf("%s%06d", run, who), customer: customer(who), plan: cmp.Or(l.Plan, "pro"), quantity: 1,
			}
			if l.Customer != "" { // the same one in the next scenario
				sum := sha256.Sum256([]byte(l.Customer))
				p.customer = "cus_" + hex.EncodeToString(sum[:8])
			}
			p.subscription = "sub_" + p.id
			s.play(p)
			if p.err != nil {
				return nil, p.err
			}
			queue = append(queue, p.out...)
		}
		return &mixer{mix: l.Mix, r: r, next: func() (Request, bool) {
			if len(queue) == 0 {
				return Request{}, false
			}
			req := queue[0]
			queue = queue[1:]
			return req, true
		}}, nil
	}
	return nil, fmt.Errorf("there is no scenario %q: choose from %s", name, strings.Join(Scenarios(), ", "))
}

// player tells a life. Its fields are what the subscription is at the moment.
type player struct {
	fixtures fixtures
	r        *rand.Rand
	now      time.Time
	id       string // of this life, in all ids
	out      []Request
	err      error

	customer, ref, subscription, invoice string
	invoices                             int
	status, plan                         string
	quantity                             int
	start, end, trialEnd                 time.Time
	canceling                            bool
}

// before is so many months and days before now.
func (p *player) before(months int, days float64) time.Time {
	return addMonths(p.now.Add(-time.Duration(days*float64(aDay))), -months)
}

// addMonths moves t by months, to the month's last day where it has fewer, as Stripe does.
func addMonths(t time.Time, months int) time.Time {
	first := t.AddDate(0, months, 1-t.Day())
	return first.AddDate(0, 0, min(t.Day(), first.AddDate(0, 1, -1).Day())-1)
}

// begin is a checkout with what follows from it.
func (p *player) begin(at time.Time, trialDays int) {
	p.start, p.end, p.status, p.trialEnd = at, addMonths(at, 1), "incomplete", time.Time{}
	if trialDays > 0 {
		p.status, p.end = "trialing", at.AddDate(0, 0, trialDays)
		p.trialEnd = p.end
	}
	p.tell("customer.subscription.created", at, nil)
	p.pay(at)
	if trialDays == 0 {
		p.tell("customer.subscription.updated", at, func() { p.status = "active" })
	}
	session := map[string]any{
		"id": "cs_test_" + strings.TrimPrefix(p.subscription, "sub_"), "customer": p.customer, "subscription": p.subscription, "mode": "subscription",
		"amount_total": p.amount(), "currency": "usd", "status": "complete", "payment_status": "paid",
		"metadata": p.metadata(map[string]any{"plan": p.plan}), "payment_link": nil, "client_reference_id": nil,
	}
	if trialDays > 0 {
		session["payment_status"] = "no_payment_required"
	}
	if p.ref != "" {
		session["client_reference_id"] = p.ref
	}
	p.send("checkout.session.completed", "checkout.session", at.Add(2*time.Second), session)
}

// renew begins the next period. It isn't paid yet.
func (p *player) renew() {
	p.tell("customer.subscription.updated", p.end, func() {
		p.start, p.end, p.status = p.end, addMonths(p.end, 1), "active"
	})
}

// renewed is a renewal that is paid.
func (p *player) renewed() {
	p.renew()
	p.pay(p.start.Add(time.Hour))
}

// due is the first failure of a renewal's payment.
func (p *player) due() {
	p.fail(p.start.Add(time.Hour), 1)
	p.tell("customer.subscription.updated", p.start.Add(time.Hour), func() { p.status = "past_due" })
}

func (p *player) amount() int {
	if p.status == "trialing" {
		return 0
	}
	return cmp.Or(map[string]int{"pro": 1900, "teams": 9900}[p.plan], 4900) * p.quantity
}

// metadata are base and the customer of ours, as a checkout sets them.
func (p *player) metadata(base map[string]any) map[string]any {
	if p.ref != "" {
		base["customer"] = p.ref
	}
	return base
}

// tell changes the subscription and says so.
func (p *player) tell(typ string, at time.Time, change func()) {
	if change != nil {
		change()
	}
	period := map[string]any{"current_period_start": p.start.Unix(), "current_period_end": p.end.Unix()}
	item := map[string]any{
		"id": "si_" + p.id, "object": "subscription_item", "quantity": p.quantity,
		"price": map[string]any{
			"id": "price_" + p.plan, "object": "price", "currency": "usd", "lookup_key": p.plan + "_monthly",
			"recurring": map[string]any{"interval": "month", "usage_type": "licensed"},
		},
	}
	o := with(plain, map[string]any{
		"id": p.subscription, "customer": p.customer, "status": p.status, "currency": "usd", "metadata": p.metadata(map[string]any{}),
		"cancel_at_period_end": p.canceling,
	})
	if p.canceling {
		o["cancel_at"] = p.end.Unix()
	}
	if !p.trialEnd.IsZero() {
		o["trial_end"] = p.trialEnd.Unix()
	}
	if p.status == "canceled" {
		o["canceled_at"], o["ended_at"] = at.Unix(), at.Unix()
	}
	if p.basil() {
		item = with(item, period)
	} else {
		o = with(o, period)
	}
	o["items"] = map[string]any{"object": "list", "has_more": false, "data": []any{item}}
	p.send(typ, "subscription", at, o)
}

// pay pays the open invoice, or a new one.
func (p *player) pay(at time.Time) {
	p.bill("invoice.paid", at, map[string]any{"amount_paid": p.amount(), "status": "paid"})
	p.invoice = ""
}

// fail is a try to pay the open invoice, or a new one, that fails.
func (p *player) fail(at time.Time, attempt int) {
	p.bill("invoice.payment_failed", at, map[string]any{
		"amount_paid": 0, "status": "open", "attempt_count": attempt, "next_payment_attempt": at.Add(3 * aDay).Unix(),
	})
}

func (p *player) bill(typ string, at time.Time, change map[string]any) {
	if p.invoice == "" {
		p.invoices++
		p.invoice = fmt.Sprintf("in_%s%02d", p.id, p.invoices)
	}
	o := with(map[string]any{
		"id": p.invoice, "customer": p.customer, "currency": "usd", "billing_reason": "subscription_cycle", "amount_due": p.amount(),
	}, change)
	details := map[string]any{"metadata": p.metadata(map[string]any{})}
	if p.basil() {
		o["parent"] = map[string]any{"type": "subscription_details", "subscription_details": with(details, map[string]any{"subscription": p.subscription})}
	} else {
		o["parent"], o["subscription"], o["subscription_details"] = nil, p.subscription, details
	}
	p.send(typ, "invoice", at, o)
}

// basil tells whether the next event has the shape of API version 2025-03-31 or later.
func (p *player) basil() bool { return p.r.IntN(2) == 0 }

func (p *player) send(typ, kind string, at time.Time, change map[string]any) {
	o, err := p.fixtures.object(kind, change)
	if err == nil {
		var body []byte
		if body, err = json.Marshal(webhookOf(fmt.Sprintf("evt_%s%02d", p.id, len(p.out)), typ, "", at.Unix(), o)); err == nil {
			p.out = append(p.out, stripeRequest(body))
		}
	}
	if err != nil && p.err == nil {
		p.err = err
	}
}
