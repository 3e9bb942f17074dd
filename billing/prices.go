package billing

import (
	"context"
	"sync"
	"time"

	"github.com/stripe/stripe-go/v85"

	"github.com/kgents/kgents"
)

const (
	// maxPrices bounds the prices that are remembered; at it all are forgotten and asked
	// for again. A catalogue has a handful.
	maxPrices = 1000

	// priceAge is how long a price is remembered, and so how long after `kgents stripe
	// setup` has replaced one the old one is still sold.
	priceAge = 10 * time.Minute

	maxLookup = 10 // keys in one request, by Stripe's documentation
)

// OverageKey is the lookup key of the metered price of what is past a plan's quota. It
// has the interval of the plan's price, since the items of a subscription share it.
func OverageKey(plan, feature, interval string) string {
	return plan + "_" + feature + "_overage_" + interval + "ly"
}

// EventName is the name under which a feature's overage is reported to Stripe's billing
// meter.
func EventName(feature string) string { return "kgents_" + feature }

// billed are the features whose overage a plan bills, in the catalogue's order.
func billed(cat *kgents.Catalog, p kgents.Plan) []kgents.Feature {
	var out []kgents.Feature
	for _, f := range cat.Features {
		if q, ok := p.Quotas[f.ID]; ok && f.Metered() && q.Over == kgents.OverBill && !q.Limit.Unlimited() && q.Overage.Amount > 0 && q.Overage.Per > 0 {
			out = append(out, f)
		}
	}
	return out
}

// prices finds Stripe's ids of prices by their lookup keys, and remembers them.
type prices struct {
	client *Client
	mu     sync.Mutex
	known  map[string]price // by lookup key
}

type price struct {
	id    string
	until time.Time
}

// find returns the ids for keys. A key that Stripe has no active price for is
// CodeMisconfig, and is not remembered.
func (p *prices) find(ctx context.Context, keys ...string) (map[string]string, error) {
	out, missing := map[string]string{}, []string(nil)
	now := time.Now()
	p.mu.Lock()
	for _, k := range keys {
		if known, ok := p.known[k]; ok && now.Before(known.until) {
			out[k] = known.id
		} else {
			missing = append(missing, k)
		}
	}
	p.mu.Unlock()
	for ; len(missing) > 0; missing = missing[min(maxLookup, len(missing)):] {
		page := missing[:min(maxLookup, len(missing))]
		found, err := list(ctx, p.client, "list_prices", 100, func(ctx context.Context, api *stripe.Client) *stripe.V1List[*stripe.Price] {
			params := &stripe.PriceListParams{LookupKeys: stripe.StringSlice(page), Active: stripe.Bool(true)}
			params.Limit = stripe.Int64(100)
			return api.V1Prices.List(ctx, params)
		})
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			out[f.LookupKey] = f.ID
		}
		for _, k := range page {
			if out[k] == "" {
				return nil, kgents.Errorf(kgents.CodeMisconfig, "Stripe has no active price with the lookup key %q: the operator has to run 'kgents stripe setup'", k)
			}
		}
		p.mu.Lock()
		if p.known == nil || len(p.known)+len(page) > maxPrices {
			p.known = map[string]price{}
		}
		for _, k := range page {
			p.known[k] = price{out[k], now.Add(priceAge)}
		}
		p.mu.Unlock()
	}
	return out, nil
}

// items are the prices of a plan in an interval: its own first, then those of overage.
type items struct {
	base    string
	overage []string
}

func (p *prices) items(ctx context.Context, cat *kgents.Catalog, plan kgents.Plan, interval string) (items, error) {
	var out items
	var keys []string
	found := false
	for _, pr := range plan.Prices {
		if pr.Interval == interval {
			found, out.base = true, pr.Stripe
			if pr.Stripe == "" {
				keys = append(keys, pr.LookupKey)
			}
		}
	}
	if !found {
		return items{}, kgents.Errorf(kgents.CodeInvalid, "the plan %q has no price by the %s", plan.ID, interval)
	}
	own := len(keys)
	for _, f := range billed(cat, plan) {
		keys = append(keys, OverageKey(plan.ID, f.ID, interval))
	}
	ids, err := p.find(ctx, keys...)
	if err != nil {
		return items{}, err
	}
	if own == 1 {
		out.base = ids[keys[0]]
	}
	for _, k := range keys[own:] {
		out.overage = append(out.overage, ids[k])
	}
	return out, nil
}
