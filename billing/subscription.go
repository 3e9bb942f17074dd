package billing

import (
	"cmp"
	"context"
	"slices"

	"github.com/stripe/stripe-go/v85"

	"github.com/kgents/kgents"
)

// SubscriptionOut is a subscription as Stripe has it after the request.
type SubscriptionOut struct {
	ETag string `header:"ETag"`
	Body SubscriptionView
}

// SubscriptionIn is whose subscription is asked for.
type SubscriptionIn struct {
	Customer string `query:"customer" maxLength:"63" doc:"Whose; a customer's key may leave it out"`
}

// CancelIn is what is to end, and when.
type CancelIn struct {
	Retry
	Match
	Body struct {
		Customer string `json:"customer,omitempty" maxLength:"63" doc:"Whose subscription; an operator's key has to name one"`
		Now      bool   `json:"now,omitempty" doc:"At once, and not at the end of the period"`
	}
}

// ReactivateIn is what is to go on.
type ReactivateIn struct {
	Retry
	Match
	Body struct {
		Customer string `json:"customer,omitempty" maxLength:"63" doc:"Whose subscription; an operator's key has to name one"`
	}
}

// ChangeIn is what a subscription is to become. What isn't named stays.
type ChangeIn struct {
	Retry
	Match
	Body struct {
		Customer string `json:"customer,omitempty" maxLength:"63" doc:"Whose subscription; an operator's key has to name one"`
		Plan     string `json:"plan,omitempty" maxLength:"64" doc:"Id of the plan; else as it is"`
		Interval string `json:"interval,omitempty" enum:"month,year" doc:"How often it is paid; else as it is"`
		Quantity int64  `json:"quantity,omitempty" minimum:"1" maximum:"100000" doc:"How many of the plan; else as it is"`
	}
}

var errHasNone = kgents.Errorf(kgents.CodeConflict, "the customer has no subscription that runs: begin one with POST /v1/billing/checkout")

// subscribed finds the customer and the subscription that runs; sub is nil without one.
func (s *Service) subscribed(ctx context.Context, caller kgents.Principal, asked string) (a about, sub *stripe.Subscription, err error) {
	if a, err = s.find(ctx, caller, asked); err != nil {
		return a, nil, err
	}
	if a.Stripe == "" {
		return a, nil, nil
	}
	err = s.load(ctx, &a)
	return a, a.running(), err
}

// show tells what Stripe has now.
func (s *Service) show(ctx context.Context, caller kgents.Principal, in *SubscriptionIn) (*SubscriptionOut, error) {
	a, sub, err := s.subscribed(ctx, caller, in.Customer)
	if err != nil {
		return nil, err
	}
	if sub == nil {
		return nil, kgents.Errorf(kgents.CodeNotFound, "the customer has no subscription that runs")
	}
	return s.out(a, sub)
}

func (s *Service) cancel(ctx context.Context, caller kgents.Principal, in *CancelIn) (*SubscriptionOut, error) {
	a, sub, err := s.subscribed(ctx, caller, in.Body.Customer)
	if err != nil {
		return nil, err
	}
	if sub == nil {
		if i := slices.IndexFunc(a.subscriptions, func(s *stripe.Subscription) bool { return s.Status == stripe.SubscriptionStatusCanceled }); i >= 0 {
			return s.out(a, a.subscriptions[i]) // it is as asked: a repeated request finds this
		}
		return nil, errHasNone
	}
	if !in.Body.Now {
		return s.endWithPeriod(ctx, a, sub, "cancel", in.Retry, in.Match, true)
	}
	if err := in.check(s.view(a.ID, sub)); err != nil {
		return nil, err
	}
	// A DELETE needs no idempotency key: what is canceled stays so.
	sub, err = call(ctx, s.client, "cancel_subscription", func(ctx context.Context, api *stripe.Client) (*stripe.Subscription, error) {
		return api.V1Subscriptions.Cancel(ctx, sub.ID, &stripe.SubscriptionCancelParams{InvoiceNow: stripe.Bool(true), Prorate: stripe.Bool(false)})
	})
	if err != nil {
		return nil, err
	}
	return s.out(a, sub)
}

func (s *Service) reactivate(ctx context.Context, caller kgents.Principal, in *ReactivateIn) (*SubscriptionOut, error) {
	a, sub, err := s.subscribed(ctx, caller, in.Body.Customer)
	if err != nil {
		return nil, err
	}
	if sub == nil {
		return nil, errHasNone
	}
	if sub.CancelAt != 0 && !sub.CancelAtPeriodEnd { // a date that was set in the dashboard
		return nil, kgents.Errorf(kgents.CodeConflict, "the subscription ends at a date that was set in Stripe: that is taken back there")
	}
	return s.endWithPeriod(ctx, a, sub, "reactivate", in.Retry, in.Match, false)
}

// endWithPeriod says whether a subscription ends with its period.
func (s *Service) endWithPeriod(ctx context.Context, a about, sub *stripe.Subscription, route string, retry Retry, match Match, ends bool) (*SubscriptionOut, error) {
	if sub.CancelAtPeriodEnd == ends {
		return s.out(a, sub)
	}
	if err := match.check(s.view(a.ID, sub)); err != nil {
		return nil, err
	}
	params := &stripe.SubscriptionUpdateParams{CancelAtPeriodEnd: stripe.Bool(ends)}
	params.SetIdempotencyKey(requestKey(route, a.ID, retry.Key))
	return s.update(ctx, a, sub.ID, route+"_subscription", params)
}

func (s *Service) update(ctx context.Context, a about, id, operation string, params *stripe.SubscriptionUpdateParams) (*SubscriptionOut, error) {
	sub, err := call(ctx, s.client, operation, func(ctx context.Context, api *stripe.Client) (*stripe.Subscription, error) {
		return api.V1Subscriptions.Update(ctx, id, params)
	})
	if err != nil {
		return nil, err
	}
	return s.out(a, sub)
}

func (s *Service) out(a about, sub *stripe.Subscription) (*SubscriptionOut, error) {
	v := s.view(a.ID, sub)
	return &SubscriptionOut{ETag: v.etag(), Body: v}, nil
}

// change moves a subscription to other prices, at once. What costs more is invoiced at
// once, and Stripe leaves everything as it was if that payment fails; what costs less is
// credited on the next invoice.
func (s *Service) change(ctx context.Context, caller kgents.Principal, in *ChangeIn) (*SubscriptionOut, error) {
	if in.Body.Plan == "" && in.Body.Interval == "" && in.Body.Quantity == 0 {
		return nil, kgents.Errorf(kgents.CodeInvalid, "name what is to change: plan, interval or quantity")
	}
	a, sub, err := s.subscribed(ctx, caller, in.Body.Customer)
	if err != nil {
		return nil, err
	}
	if sub == nil {
		return nil, errHasNone
	}
	cat := s.catalog()
	item, old := base(cat, sub)
	if item == nil {
		return nil, kgents.Errorf(kgents.CodeConflict, "the subscription has no price of a plan: it is changed in Stripe")
	}
	was := wanted{plan: old.ID, quantity: item.Quantity}
	if item.Price.Recurring != nil {
		was.interval = string(item.Price.Recurring.Interval)
	}
	to := was
	if in.Body.Plan != "" {
		to.plan = in.Body.Plan
	}
	if in.Body.Interval != "" {
		to.interval = in.Body.Interval
	}
	if in.Body.Quantity != 0 {
		to.quantity = in.Body.Quantity
	}
	changed := in.check(s.view(a.ID, sub)) // says more than that what follows isn't sold
	plan, err := sold(cat, to.plan)
	if err != nil {
		return nil, cmp.Or(changed, err)
	}
	prices, err := s.prices.items(ctx, cat, plan, to.interval)
	if err != nil {
		return nil, cmp.Or(changed, err)
	}
	lines := exchange(cat, sub, item, prices, to.quantity)
	if len(lines) == 0 {
		return s.out(a, sub) // it is as asked: a repeated request finds this
	}
	if changed != nil {
		return nil, changed
	}
	params := &stripe.SubscriptionUpdateParams{Items: lines, ProrationBehavior: stripe.String("create_prorations")}
	if to.more(cat, was) {
		params.ProrationBehavior = stripe.String("always_invoice")
		params.PaymentBehavior = stripe.String("error_if_incomplete")
	}
	params.SetIdempotencyKey(requestKey("change", a.ID, in.Key))
	return s.update(ctx, a, sub.ID, "change_subscription", params)
}

// wanted is what a subscription is of.
type wanted struct {
	plan, interval string
	quantity       int64
}

// more tells whether w costs more than was: a larger plan, or else a longer interval or
// a larger quantity of the same, without less of the other.
func (w wanted) more(cat *kgents.Catalog, was wanted) bool {
	rank := func(id string) int {
		return slices.IndexFunc(cat.Plans, func(p kgents.Plan) bool { return p.ID == id })
	}
	if a, b := rank(w.plan), rank(was.plan); a != b {
		return a > b
	}
	if w.interval != was.interval {
		return w.interval == "year"
	}
	return w.quantity > was.quantity
}

// exchange is what has to change of a subscription's items to have these prices: the
// plan's item keeps its id, metered items that are overage's of a plan and are not
// among the prices go, the missing ones come. Items that are neither stay. Empty if all
// is as it should be.
func exchange(cat *kgents.Catalog, sub *stripe.Subscription, plan *stripe.SubscriptionItem, to items, quantity int64) []*stripe.SubscriptionUpdateItemParams {
	var lines []*stripe.SubscriptionUpdateItemParams
	if plan.Price.ID != to.base || plan.Quantity != quantity {
		lines = append(lines, &stripe.SubscriptionUpdateItemParams{ID: stripe.String(plan.ID), Price: stripe.String(to.base), Quantity: stripe.Int64(quantity)})
	}
	have := map[string]bool{}
	for _, i := range sub.Items.Data {
		if i.ID == plan.ID || i.Price == nil || !metered(i.Price) {
			continue
		}
		if have[i.Price.ID] = true; !slices.Contains(to.overage, i.Price.ID) && ours(cat, i.Price) {
			lines = append(lines, &stripe.SubscriptionUpdateItemParams{ID: stripe.String(i.ID), Deleted: stripe.Bool(true)})
		}
	}
	for _, id := range to.overage {
		if !have[id] {
			lines = append(lines, &stripe.SubscriptionUpdateItemParams{Price: stripe.String(id)})
		}
	}
	return lines
}

// ours tells whether a price is one of overage, by its metadata or its lookup key.
func ours(cat *kgents.Catalog, p *stripe.Price) bool {
	if p.Metadata[metaOverage] != "" {
		return true
	}
	for _, plan := range cat.Plans {
		for _, pr := range plan.Prices {
			for _, f := range cat.Features {
				if p.LookupKey == OverageKey(plan.ID, f.ID, pr.Interval) {
					return true
				}
			}
		}
	}
	return false
}

// metaOverage is the metadata of a price of overage: the feature that it is of.
const metaOverage = "overage_of"
