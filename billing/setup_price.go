package billing

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/stripe/stripe-go/v85"

	"github.com/kgents/kgents"
)

// findPrices looks for all prices of the catalogue by their lookup keys, archived ones
// too.
func (s *setup) findPrices(ctx context.Context) error {
	var keys []string
	for _, p := range s.cat.Plans {
		for _, pr := range p.Prices {
			keys = append(keys, pr.LookupKey)
			for _, f := range billed(s.cat, p) {
				keys = append(keys, OverageKey(p.ID, f.ID, pr.Interval))
			}
		}
	}
	for len(keys) > 0 {
		page := keys[:min(maxLookup, len(keys))]
		keys = keys[len(page):]
		found, err := list(ctx, s.client, "list_prices", 100, func(ctx context.Context, api *stripe.Client) *stripe.V1List[*stripe.Price] {
			params := &stripe.PriceListParams{LookupKeys: stripe.StringSlice(page)}
			params.Limit = stripe.Int64(100)
			return api.V1Prices.List(ctx, params)
		})
		if err != nil {
			return err
		}
		for _, p := range found {
			s.prices[p.LookupKey] = p
		}
	}
	return nil
}

// inspectProduct finds the product of a plan: the one that its prices have already,
// else the one with our id.
func (s *setup) inspectProduct(ctx context.Context, id, name string, meta map[string]string, keys []string) error {
	at := id
	for _, k := range keys {
		if p := s.prices[k]; p != nil && p.Product != nil && p.Product.ID != "" {
			at = p.Product.ID
			break
		}
	}
	s.products[id] = at
	product, err := call(ctx, s.client, "get_product", func(ctx context.Context, api *stripe.Client) (*stripe.Product, error) {
		return api.V1Products.Retrieve(ctx, at, nil)
	})
	change := Change{Action: Keep, Kind: "product", Name: at, ID: at, Text: name}
	switch {
	case kgents.ErrorCode(err) == kgents.CodeNotFound:
		change.Action, change.ID = Create, ""
		change.do = func(ctx context.Context, s *setup) (string, error) {
			params := &stripe.ProductCreateParams{ID: stripe.String(at), Name: stripe.String(name), Metadata: meta}
			params.SetIdempotencyKey(requestKey("setup", "", ""))
			_, err := call(ctx, s.client, "create_product", func(ctx context.Context, api *stripe.Client) (*stripe.Product, error) {
				return api.V1Products.Create(ctx, params)
			})
			return at, err
		}
	case err != nil:
		return err
	case !product.Active:
		change.Action, change.Text = Differs, "it is archived: it is activated again"
		change.do = func(ctx context.Context, s *setup) (string, error) {
			params := &stripe.ProductUpdateParams{Active: stripe.Bool(true)}
			params.SetIdempotencyKey(requestKey("setup", "", ""))
			_, err := call(ctx, s.client, "update_product", func(ctx context.Context, api *stripe.Client) (*stripe.Product, error) {
				return api.V1Products.Update(ctx, at, params)
			})
			return at, err
		}
	}
	s.add(change)
	return nil
}

// wantedPrice is what a price should be.
type wantedPrice struct {
	key, product, interval string
	decimal                string // of the minor unit, for one
	event                  string // of the meter; empty = it is not metered
	meta                   map[string]string
	text                   string // for people
}

func (s *setup) inspectPrice(w wantedPrice) {
	change := Change{Action: Create, Kind: "price", Name: w.key, Text: w.text, do: func(ctx context.Context, s *setup) (string, error) { return s.makePrice(ctx, w) }}
	if p := s.prices[w.key]; p != nil {
		change.ID = p.ID
		if wrong := s.priceDiffers(p, w); wrong == "" {
			change.Action, change.do = Keep, nil
		} else {
			change.Action = Differs
			change.Text = wrong + ": a new price takes the lookup key, who subscribes keeps " + p.ID
		}
	}
	s.add(change)
}

// priceDiffers says how a price differs; empty if it doesn't.
func (s *setup) priceDiffers(p *stripe.Price, w wantedPrice) string {
	var wrong []string
	note := func(is bool, format string, args ...any) {
		if is {
			wrong = append(wrong, fmt.Sprintf(format, args...))
		}
	}
	amount, _ := strconv.ParseFloat(w.decimal, 64)
	has := p.UnitAmountDecimal
	if has == 0 {
		has = float64(p.UnitAmount)
	}
	note(!p.Active, "it is archived")
	note(string(p.Currency) != s.cat.Currency, "currency is %s, not %s", p.Currency, s.cat.Currency)
	note(math.Abs(has-amount) > 1e-12*max(1, amount), "amount is %s, not %s", strconv.FormatFloat(has, 'f', -1, 64), w.decimal)
	note(p.BillingScheme != stripe.PriceBillingSchemePerUnit, "it has tiers")
	if p.Recurring == nil {
		note(true, "it is paid once")
	} else {
		note(string(p.Recurring.Interval) != w.interval || p.Recurring.IntervalCount > 1, "it is paid every %d %s, not every %s", p.Recurring.IntervalCount, p.Recurring.Interval, w.interval)
		note(metered(p) != (w.event != ""), "it is %s", p.Recurring.UsageType)
		note(metered(p) && w.event != "" && p.Recurring.Meter != s.meters[w.event], "it is of another meter")
	}
	return strings.Join(wrong, ", ")
}

func (s *setup) makePrice(ctx context.Context, w wantedPrice) (string, error) {
	params := &stripe.PriceCreateParams{
		Currency: stripe.String(s.cat.Currency), Product: stripe.String(s.products[w.product]), LookupKey: stripe.String(w.key), Metadata: w.meta,
		Recurring: &stripe.PriceCreateRecurringParams{Interval: stripe.String(w.interval)},
	}
	if s.prices[w.key] != nil {
		params.TransferLookupKey = stripe.Bool(true)
	}
	if w.event == "" {
		amount, _ := strconv.ParseInt(w.decimal, 10, 64) // it was made of one
		params.UnitAmount = stripe.Int64(amount)
	} else {
		if s.meters[w.event] == "" {
			return "", kgents.Errorf(kgents.CodeConflict, "its meter is not as it has to be: mend that first")
		}
		params.AddExtra("unit_amount_decimal", w.decimal) // the library's float has fewer digits
		params.Recurring.UsageType, params.Recurring.Meter = stripe.String("metered"), stripe.String(s.meters[w.event])
	}
	params.SetIdempotencyKey(requestKey("setup", "", ""))
	made, err := call(ctx, s.client, "create_price", func(ctx context.Context, api *stripe.Client) (*stripe.Price, error) {
		return api.V1Prices.Create(ctx, params)
	})
	if err != nil {
		return "", err
	}
	return made.ID, nil
}

func (s *setup) makeMeter(ctx context.Context, f kgents.Feature) (string, error) {
	params := &stripe.BillingMeterCreateParams{
		DisplayName: stripe.String(f.Name + " past the plan"), EventName: stripe.String(EventName(f.ID)),
		DefaultAggregation: &stripe.BillingMeterCreateDefaultAggregationParams{Formula: stripe.String("sum")},
		CustomerMapping:    &stripe.BillingMeterCreateCustomerMappingParams{Type: stripe.String("by_id"), EventPayloadKey: stripe.String(payloadCustomer)},
		ValueSettings:      &stripe.BillingMeterCreateValueSettingsParams{EventPayloadKey: stripe.String(payloadValue)},
	}
	params.SetIdempotencyKey(requestKey("setup", "", ""))
	made, err := call(ctx, s.client, "create_meter", func(ctx context.Context, api *stripe.Client) (*stripe.BillingMeter, error) {
		return api.V1BillingMeters.Create(ctx, params)
	})
	if err != nil {
		return "", err
	}
	s.meters[EventName(f.ID)] = made.ID
	return made.ID, nil
}

func reactivate(ctx context.Context, c *Client, id string) error {
	params := &stripe.BillingMeterReactivateParams{}
	params.SetIdempotencyKey(requestKey("setup", "", ""))
	_, err := call(ctx, c, "reactivate_meter", func(ctx context.Context, api *stripe.Client) (*stripe.BillingMeter, error) {
		return api.V1BillingMeters.Reactivate(ctx, id, params)
	})
	return err
}
