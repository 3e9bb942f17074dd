package billing

import (
	"context"
	"hash/maphash"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/stripe/stripe-go/v85"
	"github.com/stripe/stripe-go/v85/form"
	"golang.org/x/time/rate"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/receive"
)

// The bounds of links that are opened, of each replica: nobody who opens one has a key
// by whose rate he could be held. Past them it is 429, or 503 past maxOpening, before
// Stripe is asked. A token that isn't good costs one HMAC and takes nothing of them.
const (
	openEvery   = 200 * time.Millisecond // one link, of all customers together
	openAtOnce  = 20
	ownEvery    = 5 * time.Second // one link of a customer
	ownAtOnce   = 5
	openSlots   = 1024 // customers share that many rates, by a hash: so nothing grows with them
	maxOpening  = 16   // under way, each for openTimeout at most
	openTimeout = 25 * time.Second
)

// openings holds those bounds.
type openings struct {
	all  *rate.Limiter
	own  [openSlots]*rate.Limiter
	seed maphash.Seed
	busy chan struct{}
	now  func() time.Time
}

func newOpenings() *openings {
	o := &openings{all: rate.NewLimiter(rate.Every(openEvery), openAtOnce), seed: maphash.MakeSeed(), busy: make(chan struct{}, maxOpening), now: time.Now}
	for i := range o.own {
		o.own[i] = rate.NewLimiter(rate.Every(ownEvery), ownAtOnce)
	}
	return o
}

// enter lets one in, who calls leave.
func (o *openings) enter(customer string) (leave func(), err error) {
	for _, l := range []*rate.Limiter{o.own[maphash.String(o.seed, customer)%openSlots], o.all} {
		if !l.AllowN(o.now(), 1) {
			wait := time.Duration(float64(time.Second) / float64(l.Limit()))
			return nil, &kgents.Error{Code: kgents.CodeRateLimited, RetryAfter: wait, Message: "links to checkout are opened too often: wait as Retry-After says"}
		}
	}
	select {
	case o.busy <- struct{}{}:
		return func() { <-o.busy }, nil
	default:
		return nil, &kgents.Error{Code: kgents.CodeUnavailable, RetryAfter: defaultRetry, Message: "too many links to checkout are being opened: try again later"}
	}
}

// OpenLink answers a link that Links made, at LinkPath{token}, with 303 to Stripe's
// checkout. It needs no key: the token says for whom it is, and what. Opened again, it
// leads to the same session, so that a chat's preview of a link costs one session at
// most, and one that nobody pays changes nothing; a page of ours with a button would
// need a place here where browsers may send forms. HEAD asks Stripe nothing.
func (s *Service) OpenLink(w http.ResponseWriter, r *http.Request) {
	to, err := s.openLink(r)
	if err != nil {
		receive.WriteProblem(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	if to == "" {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
}

// openLink is where to go, "" for who doesn't want to.
func (s *Service) openLink(r *http.Request) (string, error) {
	token := r.PathValue("token")
	o, err := s.links.read(token)
	if err != nil || r.Method == http.MethodHead {
		return "", err
	}
	leave, err := s.openings.enter(o.Customer)
	if err != nil {
		return "", err
	}
	defer leave()
	ctx, cancel := context.WithTimeout(r.Context(), openTimeout)
	defer cancel()
	made, err := s.follow(ctx, o, token)
	if err != nil {
		return "", err
	}
	if !s.client.checkoutPage(made.URL) {
		return "", kgents.Errorf(kgents.CodeMisconfig, "Stripe's page is at an address to which links don't lead, such as a domain of your own: begin with POST /v1/billing/checkout")
	}
	return made.URL, nil
}

// follow makes the session of an offer, or gets it again.
func (s *Service) follow(ctx context.Context, o offer, token string) (*stripe.CheckoutSession, error) {
	a, err := s.find(ctx, kgents.Principal{Key: "link", Customer: o.Customer}, "")
	if err != nil {
		return nil, err
	}
	if !sells(s.catalog(), o.Plan, o.Interval) {
		return nil, kgents.Errorf(kgents.CodeConflict, "what this link is for is not sold any more: ask for a new one where you got it")
	}
	want := order{plan: o.Plan, interval: o.Interval, quantity: 1}
	if want.success, err = s.returns.pick("success_url", "", "success"); err != nil {
		return nil, err
	}
	if want.cancel, err = s.returns.pick("cancel_url", "", "cancelled"); err != nil {
		return nil, err
	}
	params, err := s.session(ctx, &a, want)
	if err != nil {
		return nil, err
	}
	// What is asked for is part of the key: after another price it is another session, and
	// no conflict for a day; and so after a subscription that was paid and has ended.
	asked, last := &form.Values{}, ""
	form.AppendTo(asked, params)
	if i := slices.IndexFunc(a.subscriptions, ended); i >= 0 {
		last = a.subscriptions[i].ID
	}
	for n := range maxCreate { // as in ensure: Stripe keeps failures of its own too
		params.SetIdempotencyKey(derived("link", token, asked.Encode(), last, strconv.Itoa(n)))
		made, err := s.create(ctx, params)
		if err == nil {
			return made, nil
		}
		f := failureOf(err)
		switch {
		case f != nil && kgents.ErrorCode(err) == kgents.CodeConflict: // two at once
			return nil, &kgents.Error{Code: kgents.CodeUnavailable, RetryAfter: time.Second, Message: "the link is being opened just now: try again", Err: err}
		case f == nil || !f.replayed || f.status < 500 || n == maxCreate-1:
			return nil, err
		}
	}
	return nil, errNoLink // not reached: the last round returns
}

// sells tells whether a plan has a price by the interval.
func sells(cat *kgents.Catalog, plan, interval string) bool {
	p, ok := cat.Plan(plan)
	return ok && slices.ContainsFunc(p.Prices, func(price kgents.Price) bool { return price.Interval == interval })
}

// checkoutPage tells whether an address is one of Stripe's checkout, or of what stands in
// for Stripe by STRIPE_API_BASE.
func (c *Client) checkoutPage(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil || u.User != nil || u.Host == "" {
		return false
	}
	if u.Scheme == "https" && u.Host == "checkout.stripe.com" {
		return true
	}
	base, err := url.Parse(c.base)
	return err == nil && base.Host != "" && origin(u) == origin(base)
}
