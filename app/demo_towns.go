package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/customer"
	"github.com/kgents/kgents/emit"
)

// The customers whose towns the demo lets live.
const (
	DemoPro  = "harbour-labs" // pays for Pro, by Stripe's webhooks
	DemoFree = "tiny-co"      // pays for nothing, and comes to the limit within a minute
)

// demoTown is one of them.
type demoTown struct {
	customer, company string
	stripe            string // id at Stripe; empty: it doesn't pay
	town              string
	citizens          int
	pace              time.Duration // from phase to phase
}

var demoTownsOf = []demoTown{
	{DemoPro, "Harbour Labs", "cus_demoharbour", "Millbrook", 7, 2 * time.Second},
	{DemoFree, "Tiny & Co", "", "Hamlet", 3, 3 * time.Second},
}

// demoKey is the name of the keys that the demo makes, one a start and customer.
const demoKey = "of kgents up --demo"

// demoTowns founds the towns of the demo's customers and lets them live, over HTTP as
// their owners would, until ctx ends.
func (a *App) demoTowns(ctx context.Context) {
	if err := a.customers.Wait(ctx); err != nil {
		return
	}
	var towns sync.WaitGroup
	defer towns.Wait()
	for _, d := range demoTownsOf {
		towns.Go(func() {
			if err := a.demoTown(ctx, d); err != nil && ctx.Err() == nil {
				a.log.Error("the demo can't let a town live", "customer", d.customer, "error", err)
			}
		})
	}
}

func (a *App) demoTown(ctx context.Context, d demoTown) error {
	_, err := a.customers.Create(ctx, customer.Customer{ID: d.customer, Name: d.company, Stripe: d.stripe})
	if err != nil && kgents.ErrorCode(err) != kgents.CodeConflict { // it is there from the last time
		return err
	}
	key, err := a.demoKeyOf(ctx, d.customer)
	if err != nil {
		return err
	}
	if d.stripe != "" {
		if err := a.demoSubscribe(ctx, d); err != nil {
			return err
		}
	}
	c := demoClient{url: a.URL(), key: key}
	id, err := c.town(ctx, d)
	if err != nil {
		return err
	}
	told := false
	tick := time.NewTicker(d.pace)
	defer tick.Stop()
	for {
		var out struct{ Town struct{ Limited string } }
		switch err := c.do(ctx, http.MethodPost, "/v1/town/"+id+"/step", nil, &out); {
		case ctx.Err() != nil:
			return nil
		case err != nil: // told by what refused it; the next comes in a moment
			a.log.Debug("a town of the demo could not live on", "customer", d.customer, "error", err)
		case out.Town.Limited != "" && !told:
			told = true
			a.log.Info("a customer of the demo is at its limit: the town lives on without spending", "customer", d.customer, "why", out.Town.Limited)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// demoKeyOf makes a key for the customer, and ends those of earlier starts.
func (a *App) demoKeyOf(ctx context.Context, id string) (string, error) {
	for _, k := range a.customers.ListKeys(id, "", customer.MaxPage) {
		if k.Name == demoKey {
			if err := a.customers.RevokeKey(ctx, k.Prefix, 0); err != nil {
				return "", err
			}
		}
	}
	_, secret, err := a.customers.CreateKey(ctx, customer.Key{
		Customer: id, Name: demoKey, Scopes: []kgents.Scope{kgents.ScopeIngest, kgents.ScopeRead}, By: "demo",
	})
	return secret, err
}

// demoSubscribe has the customer subscribe to Pro by what Stripe sends then, in Stripe's
// words, and waits until it counts.
func (a *App) demoSubscribe(ctx context.Context, d demoTown) error {
	events, err := demoWebhooks(d, time.Now())
	if err != nil {
		return err
	}
	if r := emit.Run(ctx, a.demoPlan(&events, 1, 0)); !r.OK() {
		return fmt.Errorf("the webhooks of a subscription are refused: %+v", r.Refusals)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if c, ok := a.customers.Get(d.customer); ok && c.Brief(time.Now(), a.plans.Current()).Plan == "pro" {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// webhooks is a source of those that are left.
type webhooks []emit.Request

// Next implements emit.Source.
func (w *webhooks) Next() (emit.Request, bool) {
	if len(*w) == 0 {
		return emit.Request{}, false
	}
	next := (*w)[0]
	*w = (*w)[1:]
	return next, true
}

// demoWebhooks is what Stripe sends when a customer checks out, in the shape of its API
// of 2025-03-31. The subscription is one a month, so that a second start in the month
// subscribes to nothing new.
func demoWebhooks(d demoTown, now time.Time) (webhooks, error) {
	now = now.UTC()
	begin := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
	month := begin.Format("200601")
	subscription, invoice := "sub_demo"+month, "in_demo"+month
	reference := map[string]any{"customer": d.customer}
	var out webhooks
	for i, e := range []struct {
		typ    string
		object map[string]any
	}{
		{"checkout.session.completed", map[string]any{
			"id": "cs_test_demo" + month, "object": "checkout.session", "mode": "subscription", "status": "complete", "payment_status": "paid",
			"customer": d.stripe, "subscription": subscription, "client_reference_id": d.customer, "amount_total": 1900, "currency": "usd", "metadata": reference,
		}},
		{"customer.subscription.created", map[string]any{
			"id": subscription, "object": "subscription", "customer": d.stripe, "status": "active", "currency": "usd", "metadata": reference,
			"cancel_at_period_end": false, "created": begin.Unix(), "items": map[string]any{"object": "list", "data": []any{map[string]any{
				"id": "si_demo" + month, "object": "subscription_item", "quantity": 1,
				"current_period_start": begin.Unix(), "current_period_end": begin.AddDate(0, 1, 0).Unix(),
				"price": map[string]any{"id": "price_demo_pro", "object": "price", "lookup_key": "pro_monthly", "currency": "usd", "unit_amount": 1900},
			}}},
		}},
		{"invoice.paid", map[string]any{
			"id": invoice, "object": "invoice", "customer": d.stripe, "status": "paid", "currency": "usd", "amount_due": 1900, "amount_paid": 1900,
			"billing_reason": "subscription_create", "parent": map[string]any{
				"type": "subscription_details", "subscription_details": map[string]any{"subscription": subscription, "metadata": reference},
			},
		}},
	} {
		body, err := json.Marshal(map[string]any{
			"id": "evt_demo" + month + strconv.Itoa(i), "object": "event", "api_version": "2025-03-31.basil", "created": begin.Unix() + int64(i),
			"type": e.typ, "livemode": false, "pending_webhooks": 1, "data": map[string]any{"object": e.object},
		})
		if err != nil {
			return nil, err
		}
		out = append(out, emit.Request{Path: "/webhooks/stripe", ContentType: "application/json; charset=utf-8", Signed: true, Events: 1, Body: body})
	}
	return out, nil
}

// demoClient asks our own routes with a customer's key.
type demoClient struct{ url, key string }

// town finds the demo's town, or founds it.
func (c demoClient) town(ctx context.Context, d demoTown) (id string, err error) {
	var list struct {
		Towns []struct{ ID, Name string }
	}
	if err := c.do(ctx, http.MethodGet, "/v1/town", nil, &list); err != nil {
		return "", err
	}
	for _, t := range list.Towns {
		if t.Name == d.town {
			return t.ID, nil
		}
	}
	var made struct{ ID string }
	err = c.do(ctx, http.MethodPost, "/v1/town", map[string]any{"name": d.town, "citizens": d.citizens}, &made)
	return url.PathEscape(made.ID), err
}

func (c demoClient) do(ctx context.Context, method, path string, body, out any) error {
	content, err := json.Marshal(body)
	if err != nil {
		return err
	}
	if body == nil {
		content = nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, bytes.NewReader(content))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s is answered with %d: %.300s", method, path, resp.StatusCode, answer)
	}
	return json.Unmarshal(answer, out)
}
