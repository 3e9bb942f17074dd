package billing

import (
	"context"
	"time"

	"github.com/kgents/kgents"
)

// Each route as a function, for callers with a customer's key.
func (s *Service) Checkout(ctx context.Context, who kgents.Principal, in *CheckoutIn) (*PageOut, error) {
	return s.checkout(ctx, who, in)
}

func (s *Service) Portal(ctx context.Context, who kgents.Principal, in *PortalIn) (*PageOut, error) {
	return s.portal(ctx, who, in)
}

func (s *Service) Cancel(ctx context.Context, who kgents.Principal, in *CancelIn) (*SubscriptionOut, error) {
	return s.cancel(ctx, who, in)
}

func (s *Service) Reactivate(ctx context.Context, who kgents.Principal, in *ReactivateIn) (*SubscriptionOut, error) {
	return s.reactivate(ctx, who, in)
}

func (s *Service) Show(ctx context.Context, who kgents.Principal, in *SubscriptionIn) (*SubscriptionOut, error) {
	return s.show(ctx, who, in)
}

func (s *Service) Change(ctx context.Context, who kgents.Principal, in *ChangeIn) (*SubscriptionOut, error) {
	return s.change(ctx, who, in)
}

// At gives a reporter a clock.
func (c ReporterConfig) At(now func() time.Time) ReporterConfig {
	c.now = now
	return c
}

// Pick is where a request may send a browser.
func Pick(page string, origins []string, asked string) (string, error) {
	return newReturns(page, origins).pick("success_url", asked, "success")
}

// UnitPrice is a price of one.
var UnitPrice = unitPrice

// At gives links a clock.
func (l *Links) At(now func() time.Time) *Links {
	l.now = now
	return l
}

// Read is what a token is for.
func (l *Links) Read(token string) (customer, plan, interval string, err error) {
	o, err := l.read(token)
	return o.Customer, o.Plan, o.Interval, err
}

// Sign makes a token with any version.
func (l *Links) Sign(version int, customer, plan, interval string, expires time.Time) string {
	return l.sign(offer{version, customer, plan, interval, expires.Unix()})
}

// CheckoutPage tells whether links lead to an address.
func (c *Client) CheckoutPage(raw string) bool { return c.checkoutPage(raw) }

// The bounds of opening links.
const (
	OpenAtOnce, OwnAtOnce, MaxOpening = openAtOnce, ownAtOnce, maxOpening
)

// Enter is what opening a link of a customer's does first.
func (s *Service) Enter(customer string) (leave func(), err error) { return s.openings.enter(customer) }

// Freeze gives the bounds of opening links a clock.
func (s *Service) Freeze(now func() time.Time) { s.openings.now = now }
