package billing

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/stripe/stripe-go/v85"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/api"
)

// maxSubscriptions bounds the subscriptions of a customer that are looked at, newest
// first: past it, an older one that still runs is not seen.
const maxSubscriptions = 100

// Config is what a Service needs.
type Config struct {
	Client    *Client
	Catalog   Catalog
	Customers Customers
	ReturnURL string   // BILLING_RETURN_URL; empty = a request has to name an address
	Origins   []string // CORS_ORIGINS, to which a request may ask to come back as well
	Links     *Links   // nil = no link is good
	Log       *slog.Logger
}

// Service answers the routes under /v1/billing.
type Service struct {
	client    *Client
	catalog   Catalog
	customers Customers
	prices    prices
	returns   returns
	links     *Links
	openings  *openings
	log       *slog.Logger
}

// New returns a Service. It has nothing to close but the Client.
func New(c Config) *Service {
	return &Service{
		client: c.Client, catalog: c.Catalog, customers: c.Customers, log: c.Log,
		prices: prices{client: c.Client}, returns: newReturns(c.ReturnURL, c.Origins),
		links: c.Links, openings: newOpenings(),
	}
}

const tag = "Billing"

const fromWebhooks = " Nothing changes here before Stripe's webhook has arrived, some seconds later: what a customer may do comes from webhooks only."

const retrySafely = " A request that is repeated with its `Idempotency-Key` does the same once, for a day."

const unlessChanged = " Send the ETag that the decision rests on as If-Match: if the subscription has changed since, also at Stripe, the answer is 409 and has it as `subscription`. It is read right before the change, not with it: what is changed in that moment is not seen."

// Register adds the routes.
func (s *Service) Register(a *api.API) {
	route := func(path, id, summary, detail string) api.Route {
		return api.Route{Method: http.MethodPost, Path: "/v1/billing/" + path, Scope: kgents.ScopeAdmin, Tag: tag, ID: id, Summary: summary, Detail: detail + fromWebhooks + retrySafely}
	}
	api.Handle(a, route("checkout", "create-checkout", "Begin a subscription in Stripe's checkout",
		"Answers with the address of a page of Stripe's where the customer pays. For who has no subscription; who has one changes it. The trial of the plans is for who never had one."), s.checkout)
	api.Handle(a, route("portal", "create-portal", "Open Stripe's customer portal",
		"Answers with the address of a page of Stripe's with the customer's invoices and cards. It is good for one visit, within minutes."), s.portal)
	api.Handle(a, api.Route{Method: http.MethodGet, Path: "/v1/billing/subscription", Scope: kgents.ScopeAdmin, Tag: tag, ID: "get-subscription",
		Summary: "The subscription that runs, as Stripe has it now",
		Detail:  "Stripe is asked: what is known here comes from webhooks, and is in `GET /v1/customers/{id}`."}, s.show)
	api.Handle(a, route("cancel", "cancel-subscription", "Cancel the subscription",
		"At the end of the period that is paid for, or `now`: then the rest of the period is not paid back, and overage that was reported is billed at once."+unlessChanged), s.cancel)
	api.Handle(a, route("reactivate", "reactivate-subscription", "Take back a cancellation at the period's end",
		"For a subscription that still runs. One that has ended begins anew with a checkout."+unlessChanged), s.reactivate)
	api.Handle(a, route("change", "change-subscription", "Change the plan, the interval or the quantity",
		"Takes effect at once. A larger plan, a longer interval or more of them is paid for at once, by the days that are left, and refused if the payment fails; "+
			"a smaller one is credited by the days that are left on the next invoice. The running month's quota is the new plan's too: a smaller plan can make overage of what was used before the change."+unlessChanged), s.change)
}

// about is whom a request is about, and what Stripe has of them.
type about struct {
	Customer
	subscriptions []*stripe.Subscription // newest first
}

// find returns the customer, who exists at Stripe if need be.
func (s *Service) find(ctx context.Context, caller kgents.Principal, asked string) (about, error) {
	id, err := caller.For(asked)
	if err != nil {
		return about{}, err
	}
	if !s.client.Enabled() {
		return about{}, errNoKey
	}
	c, err := s.customers.Billing(ctx, id)
	return about{Customer: c}, err
}

// load asks Stripe for the customer's subscriptions: webhooks may be on their way.
func (s *Service) load(ctx context.Context, a *about) (err error) {
	a.subscriptions, err = list(ctx, s.client, "list_subscriptions", maxSubscriptions, func(ctx context.Context, api *stripe.Client) *stripe.V1List[*stripe.Subscription] {
		params := &stripe.SubscriptionListParams{Customer: stripe.String(a.Stripe), Status: stripe.String("all")}
		params.Limit = stripe.Int64(maxSubscriptions)
		return api.V1Subscriptions.List(ctx, params)
	})
	return err
}

// ended tells whether a subscription is over, or never began.
func ended(s *stripe.Subscription) bool {
	return s.Status == stripe.SubscriptionStatusCanceled || s.Status == stripe.SubscriptionStatusIncompleteExpired
}

// running is the subscription that counts: the one that is known here, else the newest
// that has not ended; nil without one.
func (a about) running() *stripe.Subscription {
	var newest *stripe.Subscription
	for _, s := range a.subscriptions {
		if ended(s) || s.Status == stripe.SubscriptionStatusIncomplete {
			continue
		}
		if s.ID == a.Subscription {
			return s
		}
		if newest == nil || s.Created > newest.Created {
			newest = s
		}
	}
	return newest
}

// hadOne tells whether the customer ever had a subscription, and so its trial.
func (a about) hadOne() bool {
	for _, s := range a.subscriptions {
		if s.Status != stripe.SubscriptionStatusIncomplete && s.Status != stripe.SubscriptionStatusIncompleteExpired {
			return true
		}
	}
	return a.Subscription != ""
}

// maxCreate is how many idempotency keys are tried for one customer.
const maxCreate = 3

// ensure makes the customer at Stripe who is none there yet. The idempotency key is of
// our id and of when the customer was made, so that two requests at once make one, and a
// customer that gets the id of one who was deleted doesn't get that one's cards and
// invoices. An answer that Stripe keeps under the
// key and that is a failure of its own would stay for a day: then the next key is tried,
// and what may have been made under the first one stays behind, without a subscription.
func (s *Service) ensure(ctx context.Context, c *Customer) error {
	if c.Stripe != "" {
		return nil
	}
	var made *stripe.Customer
	for n := range maxCreate {
		params := &stripe.CustomerCreateParams{Metadata: map[string]string{"customer": c.ID}}
		if c.Name != "" {
			params.Name = stripe.String(c.Name)
		}
		params.SetIdempotencyKey(derived("customer", c.ID, c.Since.UTC().Format(time.RFC3339Nano), c.Name, strconv.Itoa(n)))
		var err error
		made, err = call(ctx, s.client, "create_customer", func(ctx context.Context, api *stripe.Client) (*stripe.Customer, error) {
			return api.V1Customers.Create(ctx, params)
		})
		if err == nil {
			break
		}
		if f := failureOf(err); f == nil || !f.replayed || f.status < 500 || n == maxCreate-1 {
			return err
		}
	}
	if err := s.customers.SetStripe(ctx, c.ID, made.ID); err != nil {
		return err
	}
	c.Stripe = made.ID
	return nil
}

// SubscriptionView is what Stripe says of a subscription after a change.
type SubscriptionView struct {
	Customer          string    `json:"customer" doc:"Whom it is about"`
	Subscription      string    `json:"subscription" doc:"Stripe's id"`
	Status            string    `json:"status" doc:"Stripe's word for it"`
	Plan              string    `json:"plan,omitempty" doc:"Id of the plan; absent if its price is none of a plan"`
	Interval          string    `json:"interval,omitempty" doc:"month or year"`
	Quantity          int64     `json:"quantity" doc:"How many of the plan"`
	CancelAtPeriodEnd bool      `json:"cancel_at_period_end" doc:"Whether it ends with the period that is paid for"`
	PeriodEnd         time.Time `json:"period_end,omitzero" doc:"When that period ends"`
	CancelAt          time.Time `json:"cancel_at,omitzero" doc:"When it ends, if it was canceled and still runs"`
	EndedAt           time.Time `json:"ended_at,omitzero" doc:"When it has ended"`
	Revision          string    `json:"revision" doc:"Changes with the status, the price, the quantity and the end; what ETag has"`
	Effective         string    `json:"effective" enum:"webhook" doc:"When the customer's plan changes: when Stripe's webhook has arrived"`
}

// base is the item of a subscription that has a plan's price; else the first that isn't
// metered. Nil without one.
func base(cat *kgents.Catalog, sub *stripe.Subscription) (item *stripe.SubscriptionItem, plan kgents.Plan) {
	if sub.Items == nil {
		return nil, plan
	}
	for _, i := range sub.Items.Data {
		if i.Price == nil {
			continue
		}
		for _, name := range []string{i.Price.ID, i.Price.LookupKey} {
			if p, ok := cat.PlanOfPrice(name); ok {
				return i, p
			}
		}
		if item == nil && !metered(i.Price) {
			item = i
		}
	}
	return item, plan
}

func metered(p *stripe.Price) bool {
	return p.Recurring != nil && p.Recurring.UsageType == stripe.PriceRecurringUsageTypeMetered
}

func (s *Service) view(customer string, sub *stripe.Subscription) SubscriptionView {
	v := SubscriptionView{
		Customer: customer, Subscription: sub.ID, Status: string(sub.Status), CancelAtPeriodEnd: sub.CancelAtPeriodEnd,
		EndedAt: at(sub.EndedAt), Effective: "webhook",
	}
	item, plan := base(s.catalog(), sub)
	v.Revision = revision(sub, item)
	if !ended(sub) {
		v.CancelAt = at(sub.CancelAt)
	}
	if item != nil {
		v.Plan, v.Quantity, v.PeriodEnd = plan.ID, item.Quantity, at(item.CurrentPeriodEnd)
		if item.Price.Recurring != nil {
			v.Interval = string(item.Price.Recurring.Interval)
		}
		if sub.CancelAtPeriodEnd && sub.CancelAt == 0 && !ended(sub) {
			v.CancelAt = v.PeriodEnd
		}
	}
	return v
}

func at(unix int64) time.Time {
	if unix == 0 {
		return time.Time{}
	}
	return time.Unix(unix, 0).UTC()
}
