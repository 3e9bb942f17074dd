package billing

import (
	"context"
	"strings"
	"time"

	"github.com/stripe/stripe-go/v85"

	"github.com/kgents/kgents"
)

// Retry is the header of a client that may repeat its request.
type Retry struct {
	Key string `header:"Idempotency-Key" maxLength:"255" pattern:"^[!-~]*$" doc:"Any text of the client's that it sends again when it repeats the request"`
}

// PageOut is where to send the customer's browser.
type PageOut struct {
	Body struct {
		Customer  string    `json:"customer" doc:"Whom it is for"`
		URL       string    `json:"url" doc:"Page of Stripe's to send the customer to"`
		Session   string    `json:"session" doc:"Stripe's id of it"`
		ExpiresAt time.Time `json:"expires_at,omitzero" doc:"Until when the page can be opened"`
		Effective string    `json:"effective" enum:"webhook" doc:"When the customer's plan changes: when Stripe's webhook has arrived, not when the browser comes back"`
	}
}

func page(customer, url, session string, expires int64) *PageOut {
	var out PageOut
	out.Body.Customer, out.Body.URL, out.Body.Session, out.Body.ExpiresAt, out.Body.Effective = customer, url, session, at(expires), "webhook"
	return &out
}

// CheckoutIn is what is bought.
type CheckoutIn struct {
	Retry
	Body struct {
		Customer   string `json:"customer,omitempty" maxLength:"63" doc:"Whom it is for; an operator's key has to name one"`
		Plan       string `json:"plan" minLength:"1" maxLength:"64" doc:"Id of the plan"`
		Interval   string `json:"interval,omitempty" enum:"month,year" default:"month" doc:"How often it is paid"`
		Quantity   int64  `json:"quantity,omitempty" minimum:"1" maximum:"100000" default:"1" doc:"How many of the plan"`
		SuccessURL string `json:"success_url,omitempty" maxLength:"2000" doc:"Where the browser goes after the payment, of an allowed origin; else BILLING_RETURN_URL?billing=success"`
		CancelURL  string `json:"cancel_url,omitempty" maxLength:"2000" doc:"Where it goes without one; else BILLING_RETURN_URL?billing=cancelled"`
	}
}

var errHasOne = kgents.Errorf(kgents.CodeConflict, "the customer has a subscription: change it with POST /v1/billing/change, or open the portal")

// checkout makes a checkout session. Two sessions that are open at once could both be
// paid: Stripe's own setting "Limit customers to one subscription" closes that, see
// docs/saas/stripe.md.
func (s *Service) checkout(ctx context.Context, caller kgents.Principal, in *CheckoutIn) (*PageOut, error) {
	a, err := s.find(ctx, caller, in.Body.Customer)
	if err != nil {
		return nil, err
	}
	success, err := s.returns.pick("success_url", in.Body.SuccessURL, "success")
	if err != nil {
		return nil, err
	}
	cancel, err := s.returns.pick("cancel_url", in.Body.CancelURL, "cancelled")
	if err != nil {
		return nil, err
	}
	params, err := s.session(ctx, &a, order{in.Body.Plan, in.Body.Interval, in.Body.Quantity, success, cancel})
	if err != nil {
		return nil, err
	}
	params.SetIdempotencyKey(requestKey("checkout", a.ID, in.Key))
	made, err := s.create(ctx, params)
	if err != nil {
		return nil, err
	}
	return page(a.ID, made.URL, made.ID, made.ExpiresAt), nil
}

// order is what is bought, by a request or by a link.
type order struct {
	plan, interval  string
	quantity        int64
	success, cancel string // where the browser comes back to
}

// session is what Stripe is asked for, but for the idempotency key. The customer exists
// at Stripe after it, and has no subscription.
func (s *Service) session(ctx context.Context, a *about, o order) (*stripe.CheckoutSessionCreateParams, error) {
	cat := s.catalog()
	plan, err := sold(cat, o.plan)
	if err != nil {
		return nil, err
	}
	prices, err := s.prices.items(ctx, cat, plan, o.interval)
	if err != nil {
		return nil, err
	}
	if err := s.ensure(ctx, &a.Customer); err != nil {
		return nil, err
	}
	if err := s.load(ctx, a); err != nil {
		return nil, err
	}
	if a.running() != nil {
		return nil, errHasOne
	}
	params := &stripe.CheckoutSessionCreateParams{
		Mode: stripe.String(string(stripe.CheckoutSessionModeSubscription)), Customer: stripe.String(a.Stripe),
		ClientReferenceID: stripe.String(a.ID), AllowPromotionCodes: stripe.Bool(true),
		SuccessURL: stripe.String(o.success), CancelURL: stripe.String(o.cancel),
		LineItems: []*stripe.CheckoutSessionCreateLineItemParams{{Price: stripe.String(prices.base), Quantity: stripe.Int64(o.quantity)}},
		SubscriptionData: &stripe.CheckoutSessionCreateSubscriptionDataParams{
			Metadata: map[string]string{"customer": a.ID},
			// So that a change of plan bills the overage reported before it: in the classic
			// mode it is on no invoice.
			BillingMode: &stripe.CheckoutSessionCreateSubscriptionDataBillingModeParams{Type: stripe.String("flexible")},
		},
	}
	for _, id := range prices.overage { // metered: without a quantity
		params.LineItems = append(params.LineItems, &stripe.CheckoutSessionCreateLineItemParams{Price: stripe.String(id)})
	}
	if days := int64(cat.Trial / (24 * time.Hour)); days > 0 && !a.hadOne() {
		params.SubscriptionData.TrialPeriodDays = stripe.Int64(days)
	}
	return params, nil
}

func (s *Service) create(ctx context.Context, params *stripe.CheckoutSessionCreateParams) (*stripe.CheckoutSession, error) {
	return call(ctx, s.client, "create_checkout", func(ctx context.Context, api *stripe.Client) (*stripe.CheckoutSession, error) {
		return api.V1CheckoutSessions.Create(ctx, params)
	})
}

// sold is a plan that has a price.
func sold(cat *kgents.Catalog, id string) (kgents.Plan, error) {
	var ids []string
	for _, p := range cat.Plans {
		if len(p.Prices) == 0 {
			continue
		}
		if p.ID == id {
			return p, nil
		}
		ids = append(ids, p.ID)
	}
	if _, ok := cat.Plan(id); ok {
		return kgents.Plan{}, kgents.Errorf(kgents.CodeInvalid, "the plan %q costs nothing: cancel the subscription to come to it", id)
	}
	return kgents.Plan{}, kgents.Errorf(kgents.CodeInvalid, "there is no such plan to buy: there are %s", strings.Join(ids, ", "))
}

// PortalIn is who wants to look.
type PortalIn struct {
	Retry
	Body struct {
		Customer  string `json:"customer,omitempty" maxLength:"63" doc:"Whom it is for; an operator's key has to name one"`
		ReturnURL string `json:"return_url,omitempty" maxLength:"2000" doc:"Where the browser comes back to, of an allowed origin; else BILLING_RETURN_URL?billing=portal"`
	}
}

func (s *Service) portal(ctx context.Context, caller kgents.Principal, in *PortalIn) (*PageOut, error) {
	a, err := s.find(ctx, caller, in.Body.Customer)
	if err != nil {
		return nil, err
	}
	back, err := s.returns.pick("return_url", in.Body.ReturnURL, "portal")
	if err != nil {
		return nil, err
	}
	if err := s.ensure(ctx, &a.Customer); err != nil {
		return nil, err
	}
	params := &stripe.BillingPortalSessionCreateParams{Customer: stripe.String(a.Stripe), ReturnURL: stripe.String(back)}
	params.SetIdempotencyKey(requestKey("portal", a.ID, in.Key))
	made, err := call(ctx, s.client, "create_portal", func(ctx context.Context, api *stripe.Client) (*stripe.BillingPortalSession, error) {
		return api.V1BillingPortalSessions.Create(ctx, params)
	})
	if err != nil {
		return nil, err
	}
	return page(a.ID, made.URL, made.ID, 0), nil
}
