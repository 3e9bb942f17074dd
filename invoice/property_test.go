package invoice_test

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/invoice"
)

// The features that random plans limit, with the event type that their meter counts.
var (
	features = []kgents.Feature{
		{ID: "tokens", Name: "Tokens", Unit: "token", Meter: "agent_tokens"},
		{ID: "interactions", Name: "Interactions", Unit: "interaction", Meter: "town_interactions"},
		{ID: "calls", Name: "API calls", Unit: "call", Meter: "api_requests"},
		{ID: "towns", Name: "Towns", Unit: "town"},
	}
	typeOf = map[string]string{"tokens": "agent.tokens", "interactions": "town.interaction", "calls": "api.request"}
)

// used is an event as the second derivation sees it.
type used struct {
	feature string
	at      time.Time
	n       int64
}

// scene is a customer, what it pays for, and what it used.
type scene struct {
	account invoice.Account
	months  []time.Time // borders of the usage periods, the period's end last
	events  []used
}

func randomScene(r *rand.Rand, id string) scene {
	plan := kgents.Plan{ID: "random", Name: "Random", Quotas: map[string]kgents.Quota{"towns": {Limit: kgents.AtMost(1), Over: kgents.OverRefuse}}}
	a := invoice.Account{ID: id, Quantity: r.Int64N(4), Trial: r.IntN(10) == 0}

	// A calendar month, one that begins within a minute of a day, a fortnight, or a year.
	var s scene
	start := utc(2024, time.Month(1+r.IntN(12)), 1, 0, 0)
	if r.IntN(2) == 0 {
		start = start.AddDate(0, 0, r.IntN(28)).Add(time.Duration(r.IntN(24*60*60)) * time.Second)
	}
	n := 1
	if r.IntN(4) == 0 {
		n = 12
	}
	for k := range n + 1 {
		s.months = append(s.months, time.Date(start.Year(), start.Month()+time.Month(k), start.Day(), start.Hour(), start.Minute(), start.Second(), 0, time.UTC))
	}
	if n == 1 && r.IntN(4) == 0 {
		s.months[1] = start.AddDate(0, 0, 14)
	}
	a.PeriodStart, a.PeriodEnd = start, s.months[len(s.months)-1]
	if r.IntN(3) > 0 {
		a.Price = kgents.Price{Interval: "month", Amount: r.Int64N(100_000_000), LookupKey: "k"}
		if n == 12 {
			a.Price.Interval = "year"
		}
		plan.Prices = []kgents.Price{a.Price}
	}
	for _, f := range features {
		if !f.Metered() || r.IntN(8) == 0 {
			continue // the last are not in the plan
		}
		q := kgents.Quota{Limit: kgents.AtMost(r.Int64N(1 + int64(1)<<r.IntN(16))), Per: kgents.PerPeriod, Over: kgents.OverRefuse}
		if r.IntN(6) == 0 {
			q.Limit = kgents.NoLimit()
		}
		if r.IntN(3) == 0 {
			q.Per = kgents.PerDay
		}
		if r.IntN(3) > 0 {
			q.Over, q.Overage = kgents.OverBill, kgents.Overage{Amount: 1 + r.Int64N(1_000), Per: 1 + r.Int64N(10_000)}
		}
		plan.Quotas[f.ID] = q
	}
	a.Plan = plan
	s.account = a

	// Events lie thick at the borders, and some before and behind the period.
	length := a.PeriodEnd.Sub(start)
	for range r.IntN(200) {
		at := start.Add(time.Duration(r.Int64N(int64(length)+int64(4*24*time.Hour))) - 2*24*time.Hour)
		if r.IntN(3) == 0 {
			at = s.months[r.IntN(len(s.months))].Add(time.Duration(r.IntN(7)-3) * 30 * time.Second)
		}
		e := used{at: at.Truncate(time.Second), n: 1, feature: "calls"}
		switch r.IntN(3) {
		case 0:
			e.feature, e.n = "tokens", r.Int64N(5_000)
		case 1:
			e.feature = "interactions"
		}
		s.events = append(s.events, e)
	}
	return s
}

// bill derives the sum a second way: it goes from event to event, knows nothing of
// meters, queries and lines, and computes in fractions.
func (s scene) bill() *big.Int {
	a := s.account
	sum := new(big.Int)
	if a.Trial {
		return sum
	}
	sum.Mul(big.NewInt(a.Price.Amount), big.NewInt(max(1, a.Quantity)))
	events := slices.Clone(s.events)
	slices.SortFunc(events, func(x, y used) int { return x.at.Compare(y.at) })
	for _, f := range features {
		q, has := a.Plan.Quotas[f.ID]
		if !has || q.Over != kgents.OverBill || q.Limit.Unlimited() {
			continue
		}
		over := map[int]int64{} // units past the limit, by usage period
		count, counting := int64(0), ""
		for _, e := range events {
			if e.feature != f.ID {
				continue
			}
			at := e.at.Truncate(time.Minute)
			// Which usage period: the last that has begun. Borders are cut to the minute.
			period := -1
			for i, border := range s.months {
				if !at.Before(border.Truncate(time.Minute)) {
					period = i
				}
			}
			in := fmt.Sprint("period ", period)
			if q.Per == kgents.PerDay {
				in = at.Format(time.DateOnly)
			}
			if in != counting {
				count, counting = 0, in
			}
			for range e.n {
				if count++; count > q.Limit.N() {
					over[period]++
				}
			}
		}
		for period := range len(s.months) - 1 {
			price := new(big.Rat).Mul(big.NewRat(q.Overage.Amount, q.Overage.Per), new(big.Rat).SetInt64(over[period]))
			price.Add(price, big.NewRat(1, 2))
			sum.Add(sum, new(big.Int).Quo(price.Num(), price.Denom()))
		}
	}
	return sum
}

// What a preview adds up to is what the raw events cost, counted one by one.
func TestInvoiceIsDerivedASecondWay(t *testing.T) {
	client := openMeter(t)
	r := rand.New(rand.NewPCG(19, 99))
	catalog := &kgents.Catalog{Currency: "usd", Features: features}
	known := accounts{}
	service := invoice.New(invoice.Config{Accounts: known, Catalog: func() *kgents.Catalog { return catalog }, Meter: client})
	var scenes []scene
	var events []event
	for i := range 80 {
		s := randomScene(r, fmt.Sprintf("customer-%d", i))
		for j, u := range s.events {
			e := event{"1.0", fmt.Sprintf("%d-%d", i, j), "test", typeOf[u.feature], s.account.ID, u.at, map[string]any{"tokens": u.n, "agent": "a", "model": "m"}}
			events = append(events, e)
			if r.IntN(5) == 0 {
				events = append(events, e) // what is sent twice counts once
			}
		}
		known[s.account.ID] = s.account
		scenes = append(scenes, s)
	}
	r.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
	ingest(t, client, events)

	overages, days := 0, 0
	for _, s := range scenes {
		at := s.account.PeriodStart.Add(time.Duration(r.Int64N(int64(s.account.PeriodEnd.Sub(s.account.PeriodStart)))))
		inv, err := service.Preview(t.Context(), s.account.ID, at)
		if err != nil {
			t.Fatal(err)
		}
		if want := s.bill(); want.Cmp(big.NewInt(inv.Total)) != 0 {
			t.Errorf("%+v\nadds up to %d, counted one by one to %s", inv, inv.Total, want)
		}
		sum, counted := int64(0), int64(0)
		for _, l := range inv.Lines {
			sum += l.Amount
			if l.Kind != invoice.KindPlan {
				counted += l.Quantity
			}
			if l.Kind == invoice.KindOverage {
				overages++
				if s.account.Plan.Quotas[l.Feature].Per == kgents.PerDay {
					days++
				}
			}
			if l.Amount < 0 || l.Quantity < 0 || l.From.Before(inv.From) || l.To.After(inv.To) {
				t.Errorf("the line %+v can't be", l)
			}
		}
		// Every unit of the period stands in exactly one line.
		happened := int64(0)
		for _, e := range s.events {
			at := e.at.Truncate(time.Minute)
			_, in := s.account.Plan.Quotas[e.feature]
			if in && !at.Before(inv.From.Truncate(time.Minute)) && at.Before(inv.To.Truncate(time.Minute)) {
				happened += e.n
			}
		}
		if sum != inv.Total || counted != happened || !inv.Complete {
			t.Errorf("lines add up to %d of %d, and have %d of %d units: %+v", sum, inv.Total, counted, happened, inv)
		}
	}
	if overages < 30 || days < 5 {
		t.Errorf("only %d lines of overage were seen, %d of quotas a day: the test says little", overages, days)
	}
}
