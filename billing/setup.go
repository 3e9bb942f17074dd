package billing

import (
	"cmp"
	"context"
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"github.com/stripe/stripe-go/v85"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/term"
)

// Action is what Setup does about one thing at Stripe.
type Action string

// The actions.
const (
	Create  Action = "create"  // it isn't there
	Keep    Action = "keep"    // it is as it should be
	Differs Action = "differs" // it is otherwise, and is mended
	Blocked Action = "blocked" // it is otherwise, and only a person can mend it
)

// Change is one thing at Stripe, and what is to be done about it.
type Change struct {
	Action Action `json:"action"`
	Kind   string `json:"kind"`         // meter, product or price
	Name   string `json:"name"`         // event name, Stripe's id or lookup key
	ID     string `json:"id,omitempty"` // Stripe's id, of what is there by now
	Text   string `json:"text"`         // what it is, or how it differs and what comes of that
	Done   bool   `json:"done"`         // it was done by this run

	do func(ctx context.Context, s *setup) (id string, err error)
}

// SetupReport is what Setup found and did.
type SetupReport struct {
	Live    bool              `json:"live"`
	Changes []Change          `json:"changes"`
	Prices  map[string]string `json:"prices"` // Stripe's ids by lookup key, of those that are there by now
}

// Clean tells whether Stripe is as the catalogue says.
func (r SetupReport) Clean() bool {
	for _, c := range r.Changes {
		if c.Action != Keep && !c.Done {
			return false
		}
	}
	return true
}

// setup is one run.
type setup struct {
	client   *Client
	cat      *kgents.Catalog
	report   SetupReport
	meters   map[string]string        // Stripe's ids, by event name
	products map[string]string        // Stripe's ids that are used, by ours
	prices   map[string]*stripe.Price // by lookup key
}

// Setup compares Stripe with the catalogue: a product and its prices for each plan with
// a price, and for each feature whose overage is billed a meter, a product and metered
// prices. With apply it makes what isn't there. It finds what is there by lookup key,
// event name and id, so it may run any number of times, also after it was interrupted.
// A price can't be changed at Stripe: one that differs is replaced by a new one, which
// takes its lookup key; who subscribes already keeps the old one.
//
// The report is also returned with an error, as far as it came.
func Setup(ctx context.Context, client *Client, cat *kgents.Catalog, apply bool) (SetupReport, error) {
	s := &setup{
		client: client, cat: cat, meters: map[string]string{}, products: map[string]string{}, prices: map[string]*stripe.Price{},
		report: SetupReport{Live: client.Live(), Prices: map[string]string{}, Changes: []Change{}},
	}
	if err := s.inspect(ctx); err != nil {
		return s.report, err
	}
	for i := range s.report.Changes {
		c := &s.report.Changes[i]
		if apply && c.do != nil {
			id, err := c.do(ctx, s)
			if err != nil {
				return s.report, fmt.Errorf("%s %s: %w", c.Kind, c.Name, err)
			}
			c.ID, c.Done = id, true
		}
		if c.Kind == "price" && c.ID != "" && (c.Action == Keep || c.Done) {
			s.report.Prices[c.Name] = c.ID
		}
	}
	return s.report, nil
}

func (s *setup) add(c Change) { s.report.Changes = append(s.report.Changes, c) }

func (s *setup) inspect(ctx context.Context) error {
	if err := s.inspectMeters(ctx); err != nil {
		return err
	}
	if err := s.findPrices(ctx); err != nil {
		return err
	}
	for _, p := range s.cat.Plans {
		if len(p.Prices) == 0 {
			continue
		}
		keys := make([]string, len(p.Prices))
		for i, pr := range p.Prices {
			keys[i] = pr.LookupKey
		}
		product := "kgents_" + p.ID
		if err := s.inspectProduct(ctx, product, p.Name, map[string]string{"plan": p.ID}, keys); err != nil {
			return err
		}
		for _, pr := range p.Prices {
			s.inspectPrice(wantedPrice{
				key: pr.LookupKey, product: product, interval: pr.Interval, decimal: strconv.FormatInt(pr.Amount, 10), meta: map[string]string{"plan": p.ID},
				text: s.money(pr.Amount) + " a " + pr.Interval,
			})
		}
		for _, f := range billed(s.cat, p) {
			if err := s.inspectOverage(ctx, p, f); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *setup) inspectOverage(ctx context.Context, p kgents.Plan, f kgents.Feature) error {
	o := p.Quotas[f.ID].Overage
	decimal, exact := unitPrice(o)
	var keys []string
	for _, pr := range p.Prices {
		keys = append(keys, OverageKey(p.ID, f.ID, pr.Interval))
	}
	if !exact {
		s.add(Change{Action: Blocked, Kind: "price", Name: keys[0],
			Text: fmt.Sprintf("%d for each %d has more than Stripe's 12 decimals as a price of one: change the overage of %s in the plans", o.Amount, o.Per, f.ID)})
		return nil
	}
	product := "kgents_" + p.ID + "_" + f.ID + "_overage"
	meta := map[string]string{metaOverage: f.ID}
	if err := s.inspectProduct(ctx, product, p.Name+": "+f.Name+" past the plan", meta, keys); err != nil {
		return err
	}
	for i, pr := range p.Prices {
		s.inspectPrice(wantedPrice{key: keys[i], product: product, interval: pr.Interval, decimal: decimal, event: EventName(f.ID), meta: meta,
			text: fmt.Sprintf("%s for each %s of %s past the plan, by the %s", s.money(o.Amount), term.Number(float64(o.Per)), f.ID, pr.Interval)})
	}
	return nil
}

func (s *setup) money(amount int64) string { return term.Money(float64(amount), s.cat.Currency) }

// unitPrice is what one unit costs, with the 12 decimals that Stripe takes.
func unitPrice(o kgents.Overage) (string, bool) {
	r := big.NewRat(o.Amount, o.Per)
	text := r.FloatString(12)
	back, _ := new(big.Rat).SetString(text)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text, back.Cmp(r) == 0
}

func (s *setup) inspectMeters(ctx context.Context) error {
	found, err := listMeters(ctx, s.client)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, p := range s.cat.Plans {
		if len(p.Prices) == 0 {
			continue
		}
		for _, f := range billed(s.cat, p) {
			if !seen[f.ID] {
				seen[f.ID] = true
				s.inspectMeter(f, found)
			}
		}
	}
	return nil
}

func (s *setup) inspectMeter(f kgents.Feature, found []*stripe.BillingMeter) {
	name := EventName(f.ID)
	var active, inactive *stripe.BillingMeter
	for _, m := range found {
		switch {
		case m.EventName != name:
		case m.Status == stripe.BillingMeterStatusActive:
			active = m
		default:
			inactive = m
		}
	}
	m := cmp.Or(active, inactive)
	change := Change{Action: Create, Kind: "meter", Name: name, Text: "sums " + payloadValue + " by " + payloadCustomer, do: func(ctx context.Context, s *setup) (string, error) { return s.makeMeter(ctx, f) }}
	if m != nil {
		change.ID = m.ID
		switch wrong := meterDiffers(m); {
		case wrong != "" && active != nil:
			change.Action, change.do = Blocked, nil
			change.Text = wrong + ", and a meter can't be changed: deactivate it in Stripe's dashboard, then run this again"
		case wrong == "" && active != nil:
			change.Action, change.do = Keep, nil
			s.meters[name] = m.ID
		case wrong == "":
			change.Action, change.Text = Differs, "it is deactivated: it is activated again"
			s.meters[name] = m.ID
			change.do = func(ctx context.Context, s *setup) (string, error) {
				return m.ID, reactivate(ctx, s.client, m.ID)
			}
		default: // deactivated and of another kind: a new one may have its name
			change.ID = ""
		}
	}
	s.add(change)
}

// meterDiffers says how a meter differs from what the Reporter sends; empty if it
// doesn't.
func meterDiffers(m *stripe.BillingMeter) string {
	switch {
	case m.DefaultAggregation == nil || m.DefaultAggregation.Formula != stripe.BillingMeterDefaultAggregationFormulaSum:
		return "it does not sum"
	case m.CustomerMapping == nil || m.CustomerMapping.EventPayloadKey != payloadCustomer:
		return "it finds the customer in another member than " + payloadCustomer
	case m.ValueSettings == nil || m.ValueSettings.EventPayloadKey != payloadValue:
		return "it finds the value in another member than " + payloadValue
	case m.EventTimeWindow != "":
		return "it is of events that are summed already"
	}
	return ""
}
