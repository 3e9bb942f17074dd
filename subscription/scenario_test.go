package subscription_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents"
	. "github.com/kgents/kgents/subscription"
)

var (
	zero = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

	catalog = &kgents.Catalog{
		Default: "free", Grace: 7 * 24 * time.Hour, Trial: 14 * 24 * time.Hour,
		Plans: []kgents.Plan{
			{ID: "free", Name: "Free"},
			{ID: "pro", Name: "Pro", Prices: []kgents.Price{{LookupKey: "pro_monthly", Stripe: "price_pro"}, {LookupKey: "pro_yearly"}}},
			{ID: "teams", Name: "Teams", Prices: []kgents.Price{{LookupKey: "teams_monthly", Stripe: "price_teams"}}},
		},
	}
)

// day is the time so many days after the year began.
func day(n float64) time.Time { return zero.Add(time.Duration(n * 24 * float64(time.Hour))) }

func unix(n float64) int64 { return day(n).Unix() }

// what changes a Change that a test makes.
type what func(*Change)

// event makes a change of subscription sub_1 on a day.
func event(kind Kind, d float64, changes ...what) Change {
	c := Change{Kind: kind, Created: unix(d), Subscription: "sub_1", Type: map[Kind]string{
		Checkout: "checkout.session.completed", Created: "customer.subscription.created", Updated: "customer.subscription.updated",
		Deleted: "customer.subscription.deleted", Paid: "invoice.paid", Failed: "invoice.payment_failed",
	}[kind]}
	for _, change := range changes {
		change(&c)
	}
	if c.ID == "" {
		c.ID = fmt.Sprintf("evt_%s_%d_%s%s", c.Subscription, int(d*24), c.Type, c.Invoice)
	}
	return c
}

func status(s string) what       { return func(c *Change) { c.Status = s } }
func price(p string) what        { return func(c *Change) { c.Price = p } }
func sub(id string) what         { return func(c *Change) { c.Subscription = id } }
func id(id string) what          { return func(c *Change) { c.ID = id } }
func quantity(n int64) what      { return func(c *Change) { c.Quantity = n } }
func trial(until float64) what   { return func(c *Change) { c.TrialEnd = unix(until) } }
func cancel(at float64) what     { return func(c *Change) { c.CancelAt = unix(at) } }
func cancelAtEnd(c *Change)      { c.CancelAtPeriodEnd = true }
func collectionPaused(c *Change) { c.Paused = true }
func period(a, b float64) what {
	return func(c *Change) { c.PeriodStart, c.PeriodEnd = unix(a), unix(b) }
}
func invoice(id string, amount int64) what {
	return func(c *Change) { c.Invoice, c.Amount, c.Currency = id, amount, "usd" }
}

// pro is the snapshot of an active subscription of Pro in its first month.
func pro(c *Change) {
	c.Status, c.Price, c.LookupKey, c.Plan, c.Quantity = StatusActive, "price_pro", "pro_monthly", "pro_monthly", 1
	c.PeriodStart, c.PeriodEnd = unix(0), unix(31)
}

func teams(c *Change) {
	pro(c)
	c.Price, c.LookupKey, c.Plan = "price_teams", "teams_monthly", "teams_monthly"
}

// check is what is expected on a day, of what was known then.
type check struct {
	day          float64
	plan, status string
}

type scenario struct {
	name    string
	changes []Change
	checks  []check
}

// scenarios are lives as Stripe tells them.
var scenarios = []scenario{
	{"nothing", nil, []check{{0, "free", StatusNone}, {500, "free", StatusNone}}},
	{"a checkout, paid every month", []Change{
		event(Created, 0, pro, status(StatusIncomplete)),
		event(Paid, 0, invoice("in_1", 1900)),
		event(Updated, 0, pro),
		event(Checkout, 0.0001, status("paid")),
		event(Updated, 31, pro, period(31, 59)),
		event(Paid, 31.1, invoice("in_2", 1900)),
	}, []check{{0.0001, "pro", StatusActive}, {30, "pro", StatusActive}, {31.05, "pro", StatusActive}, {40, "pro", StatusActive}}},
	{"a first payment that never comes", []Change{
		event(Created, 0, pro, status(StatusIncomplete)),
		event(Failed, 0, invoice("in_1", 1900)),
		event(Updated, 1, pro, status(StatusIncompleteExpired)),
	}, []check{{0, "free", StatusIncomplete}, {0.9, "free", StatusIncomplete}, {1, "free", StatusIncompleteExpired}, {40, "free", StatusIncompleteExpired}}},
	{"a first payment at the second try", []Change{
		event(Created, 0, pro, status(StatusIncomplete)),
		event(Failed, 0, invoice("in_1", 1900)),
		event(Paid, 0.5, invoice("in_1", 1900)),
		event(Updated, 0.6, pro),
	}, []check{{0.4, "free", StatusIncomplete}, {0.5, "pro", StatusActive}, {20, "pro", StatusActive}}},
	{"a trial that is paid", []Change{
		event(Created, 0, pro, status(StatusTrialing), trial(14), period(0, 14)),
		event(Paid, 0, invoice("in_0", 0)),
		event(Checkout, 0, status("no_payment_required")),
		event(Updated, 14, pro, period(14, 45)),
		event(Paid, 14.05, invoice("in_1", 1900)),
	}, []check{{0, "pro", StatusTrialing}, {13.9, "pro", StatusTrialing}, {14, "pro", StatusActive}, {40, "pro", StatusActive}}},
	{"a trial that isn't paid", []Change{
		event(Created, 0, pro, status(StatusTrialing), trial(14), period(0, 14)),
		event(Updated, 14, pro, period(14, 45)),
		event(Failed, 14.05, invoice("in_1", 1900)),
		event(Updated, 14.05, pro, status(StatusPastDue), period(14, 45)),
		event(Deleted, 35, pro, status(StatusCanceled), period(14, 45)),
	}, []check{{14, "pro", StatusActive}, {14.05, "pro", StatusPastDue}, {21, "pro", StatusPastDue}, {21.06, "free", StatusUnpaid}, {34, "free", StatusUnpaid}, {35, "free", StatusCanceled}}},
	{"a trial without a way to pay, paused and resumed", []Change{
		event(Created, 0, pro, status(StatusTrialing), trial(14), period(0, 14)),
		event(Updated, 14, pro, status(StatusPaused), id("evt_paused")),
		event(Updated, 30, pro, period(30, 61), id("evt_resumed")),
		event(Paid, 30, invoice("in_1", 1900)),
	}, []check{{14, "free", StatusPaused}, {29, "free", StatusPaused}, {30, "pro", StatusActive}}},
	{"dunning that heals", []Change{
		event(Created, 0, pro),
		event(Updated, 31, pro, period(31, 59)),
		event(Failed, 31.05, invoice("in_2", 1900)),
		event(Updated, 31.05, pro, status(StatusPastDue), period(31, 59)),
		event(Failed, 34, invoice("in_2", 1900)),
		event(Paid, 36, invoice("in_2", 1900)),
		event(Updated, 36, pro, period(31, 59)),
	}, []check{{31, "pro", StatusActive}, {31.05, "pro", StatusPastDue}, {35.9, "pro", StatusPastDue}, {36, "pro", StatusActive}, {50, "pro", StatusActive}}},
	{"dunning that heals after the grace", []Change{
		event(Created, 0, pro),
		event(Failed, 31, invoice("in_2", 1900)),
		event(Updated, 31, pro, status(StatusPastDue), period(31, 59)),
		event(Failed, 36, invoice("in_2", 1900)),
		event(Paid, 45, invoice("in_2", 1900)),
	}, []check{{37.9, "pro", StatusPastDue}, {38, "free", StatusUnpaid}, {44.9, "free", StatusUnpaid}, {45, "pro", StatusActive}}},
	{"dunning to the end", []Change{
		event(Created, 0, pro),
		event(Updated, 31, pro, period(31, 59)),
		event(Failed, 31.05, invoice("in_2", 1900)),
		event(Updated, 31.05, pro, status(StatusPastDue), period(31, 59)),
		event(Failed, 36, invoice("in_2", 1900)),
		event(Failed, 45, invoice("in_2", 1900)),
		event(Updated, 45, pro, status(StatusUnpaid), period(31, 59)),
	}, []check{{38, "pro", StatusPastDue}, {38.06, "free", StatusUnpaid}, {45, "free", StatusUnpaid}, {100, "free", StatusUnpaid}}},
	{"an old invoice fails again after a later one was paid", []Change{
		event(Created, 0, pro),
		event(Failed, 31, invoice("in_2", 1900)),
		event(Updated, 31, pro, status(StatusPastDue), period(31, 59)),
		event(Paid, 35, invoice("in_3", 1900)),
		event(Updated, 35, pro, period(31, 59)),
		event(Failed, 36, invoice("in_2", 1900)),
	}, []check{{34, "pro", StatusPastDue}, {35, "pro", StatusActive}, {37, "pro", StatusActive}, {50, "pro", StatusActive}}},
	{"an invoice that is waived", []Change{
		event(Created, 0, pro),
		event(Failed, 31, invoice("in_2", 1900)),
		event(Updated, 31, pro, status(StatusPastDue), period(31, 59)),
		event(Updated, 41, pro, period(31, 59)),
	}, []check{{40, "free", StatusUnpaid}, {41, "pro", StatusActive}}},
	{"past due whose failure is never told", []Change{
		event(Created, 0, pro),
		event(Updated, 31, pro, status(StatusPastDue), period(31, 59)),
		event(Updated, 35, pro, status(StatusPastDue), period(31, 59), quantity(2)),
	}, []check{{31, "pro", StatusPastDue}, {37.9, "pro", StatusPastDue}, {38, "free", StatusUnpaid}}},
	{"a failure whose past due is never told", []Change{
		event(Created, 0, pro),
		event(Updated, 31, pro, period(31, 59)),
		event(Failed, 31, invoice("in_2", 1900)), // in the second of the renewal
	}, []check{{31, "pro", StatusPastDue}, {38, "free", StatusUnpaid}}},
	{"an upgrade and a downgrade", []Change{
		event(Created, 0, pro),
		event(Updated, 10, teams, id("evt_up")),
		event(Paid, 10, invoice("in_2", 5000)),
		event(Updated, 40, pro, period(31, 59), id("evt_down")),
	}, []check{{9, "pro", StatusActive}, {10, "teams", StatusActive}, {39, "teams", StatusActive}, {40, "pro", StatusActive}}},
	{"an upgrade whose payment fails", []Change{
		event(Created, 0, pro),
		event(Updated, 10, teams, id("evt_up")),
		event(Failed, 10, invoice("in_2", 5000)),
		event(Updated, 10, teams, status(StatusPastDue), id("evt_due")),
	}, []check{{10, "teams", StatusPastDue}, {16.9, "teams", StatusPastDue}, {17, "free", StatusUnpaid}}},
	{"canceled at the end of the period", []Change{
		event(Created, 0, pro),
		event(Updated, 10, pro, cancelAtEnd),
		event(Deleted, 31, pro, cancelAtEnd, status(StatusCanceled)),
	}, []check{{10, "pro", StatusActive}, {30.9, "pro", StatusActive}, {31, "free", StatusCanceled}}},
	{"canceled at the end of the period, and the end is never told", []Change{
		event(Created, 0, pro),
		event(Updated, 10, pro, cancelAtEnd, cancel(31)),
	}, []check{{30.9, "pro", StatusActive}, {31, "free", StatusCanceled}}},
	{"canceled at a date", []Change{
		event(Created, 0, pro),
		event(Updated, 10, pro, cancel(20)),
	}, []check{{19.9, "pro", StatusActive}, {20, "free", StatusCanceled}}},
	{"canceled and taken back", []Change{
		event(Created, 0, pro),
		event(Updated, 10, pro, cancelAtEnd),
		event(Updated, 12, pro),
	}, []check{{11, "pro", StatusActive}, {32, "pro", StatusActive}}},
	{"canceled now", []Change{
		event(Created, 0, pro),
		event(Deleted, 10, pro, status(StatusCanceled)),
		event(Updated, 10, pro, id("evt_same_second")),
	}, []check{{9, "pro", StatusActive}, {10, "free", StatusCanceled}}},
	{"canceled and begun again", []Change{
		event(Created, 0, pro),
		event(Deleted, 10, pro, status(StatusCanceled)),
		event(Created, 12, teams, sub("sub_2"), period(12, 43)),
		event(Updated, 13, pro, status(StatusCanceled)), // of the first one, whose metadata somebody changed
	}, []check{{11, "free", StatusCanceled}, {12, "teams", StatusActive}, {14, "teams", StatusActive}}},
	{"created, changed and deleted in one second", []Change{
		event(Created, 5, pro, id("evt_c")),
		event(Updated, 5, pro, id("evt_b")),
		event(Deleted, 5, pro, status(StatusCanceled), id("evt_a")),
	}, []check{{5, "free", StatusCanceled}}},
	{"two subscriptions: the best counts", []Change{
		event(Created, 0, pro),
		event(Created, 3, teams, sub("sub_2"), period(3, 34)),
		event(Deleted, 20, teams, sub("sub_2"), status(StatusCanceled)),
	}, []check{{2, "pro", StatusActive}, {3, "teams", StatusActive}, {19, "teams", StatusActive}, {20, "pro", StatusActive}}},
	{"two subscriptions, of which the better isn't paid", []Change{
		event(Created, 0, pro),
		event(Created, 3, teams, sub("sub_2"), period(3, 34)),
		event(Failed, 34, sub("sub_2"), invoice("in_t", 9900)),
		event(Updated, 34, sub("sub_2"), teams, status(StatusPastDue), period(34, 62)),
	}, []check{{35, "teams", StatusPastDue}, {40.9, "teams", StatusPastDue}, {41, "pro", StatusActive}}},
	{"collection is paused", []Change{
		event(Created, 0, pro),
		event(Updated, 10, pro, collectionPaused),
	}, []check{{11, "pro", StatusActive}}},
	{"a checkout whose subscription is late", []Change{
		event(Checkout, 0, func(c *Change) { c.Plan, c.Status = "pro", "paid" }),
		event(Created, 2, pro),
	}, []check{{1, "pro", StatusActive}, {3, "pro", StatusActive}}},
	{"a checkout that isn't paid yet", []Change{
		event(Checkout, 0, func(c *Change) { c.Plan, c.Status = "pro", "unpaid" }),
	}, []check{{1, "free", StatusIncomplete}}},
	{"a checkout of an old translation", []Change{
		event(Checkout, 0, func(c *Change) { c.Plan = "pro_yearly" }),
	}, []check{{1, "pro", StatusActive}}},
	{"only payments", []Change{event(Paid, 0, invoice("in_1", 1900))}, []check{{1, "free", StatusIncomplete}}},
	{"an unknown price with a plan in its metadata", []Change{
		event(Created, 0, pro, price("price_x"), func(c *Change) { c.LookupKey, c.Plan = "key_x", "teams" }),
	}, []check{{1, "teams", StatusActive}}},
	{"an unknown price with a known key", []Change{
		event(Created, 0, pro, price("price_x")),
	}, []check{{1, "pro", StatusActive}}},
	{"an unknown price of an old translation with a known key", []Change{
		event(Created, 0, pro, price("price_x"), func(c *Change) { c.LookupKey = "" }),
	}, []check{{1, "pro", StatusActive}}},
	{"the price stands over metadata of before the change of plan", []Change{
		event(Created, 0, teams, func(c *Change) { c.Plan = "pro" }),
	}, []check{{1, "teams", StatusActive}}},
	{"an unknown price", []Change{
		event(Created, 0, pro, price("price_x"), func(c *Change) { c.LookupKey, c.Plan = "", "" }),
	}, []check{{1, "free", StatusActive}}},
	{"a status of tomorrow", []Change{
		event(Created, 0, pro),
		event(Updated, 1, pro, status("hibernating")),
	}, []check{{0.5, "pro", StatusActive}, {2, "free", "hibernating"}}},
	{"snapshots without any period", []Change{
		event(Created, 0, pro, func(c *Change) { c.PeriodStart, c.PeriodEnd = 0, 0 }),
		event(Updated, 40, pro, func(c *Change) { c.PeriodStart, c.PeriodEnd = 0, 0 }),
	}, []check{{1, "pro", StatusActive}, {70, "pro", StatusActive}}},
	{"a renewal that is late", []Change{event(Created, 0, pro)}, []check{{30, "pro", StatusActive}, {33, "pro", StatusActive}, {400, "pro", StatusActive}}},
}

func apply(changes []Change) State {
	var s State
	for _, c := range changes {
		s = s.Apply(c)
	}
	return s
}

func (s scenario) at(t *testing.T, state State, c check) Standing {
	t.Helper()
	st := state.AsOf(day(c.day)).Standing(day(c.day), catalog)
	if st.Plan != c.plan || st.Status != c.status {
		t.Errorf("on day %v: %s, %s, want %s, %s", c.day, st.Plan, st.Status, c.plan, c.status)
		for _, step := range st.Why {
			t.Logf("    %s %s", step.At.Format(time.DateTime), step.Text)
		}
	}
	if st.PeriodStart.After(day(c.day)) || !st.PeriodEnd.After(day(c.day)) {
		t.Errorf("on day %v: the period is %v to %v", c.day, st.PeriodStart, st.PeriodEnd)
	}
	return st
}

func TestScenarios(t *testing.T) {
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			state := apply(s.changes)
			for _, c := range s.checks {
				s.at(t, state, c)
			}
		})
	}
}

// permutations calls f with every order of changes. F must not keep what it gets.
func permutations(changes []Change, f func([]Change)) {
	var permute func(k int)
	permute = func(k int) {
		if k == len(changes) {
			f(changes)
			return
		}
		for i := k; i < len(changes); i++ {
			changes[k], changes[i] = changes[i], changes[k]
			permute(k + 1)
			changes[k], changes[i] = changes[i], changes[k]
		}
	}
	permute(0)
}

// TestEveryOrder: whatever the order and however often events come, the state is the
// same to the byte, and so is what it means. All orders of up to six, and 300 of more,
// each with repetitions.
func TestEveryOrder(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			want := apply(s.changes)
			text, err := json.Marshal(want)
			if err != nil {
				t.Fatal(err)
			}
			var standings []Standing
			for _, c := range s.checks {
				standings = append(standings, s.at(t, want, c))
			}
			hold := func(order []Change) {
				state := apply(order)
				got, err := json.Marshal(state)
				if err != nil {
					t.Fatal(err)
				}
				if string(got) != string(text) {
					t.Fatalf("in the order %v the state is\n%s\nwant\n%s", ids(order), got, text)
				}
			}
			if len(s.changes) <= 6 {
				permutations(append([]Change(nil), s.changes...), hold)
			}
			for range 300 {
				order := append([]Change(nil), s.changes...)
				for range r.IntN(len(s.changes) + 1) {
					order = append(order, s.changes[r.IntN(len(s.changes))])
				}
				r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
				hold(order)
			}
			for i, c := range s.checks { // what was written and read means the same
				var read State
				if err := json.Unmarshal(text, &read); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(standings[i], s.at(t, read, c)); diff != "" {
					t.Errorf("after reading (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func ids(changes []Change) (out []string) {
	for _, c := range changes {
		out = append(out, c.ID)
	}
	return out
}
