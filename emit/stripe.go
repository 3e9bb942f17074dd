package emit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/stripe/stripe-mock/embedded"
)

// StripeTypes are the Stripe events that the stories tell, in the order of a customer's
// life. Those of a pause are in a scenario.
var StripeTypes = []string{
	"checkout.session.completed", "customer.subscription.created", "invoice.paid",
	"invoice.payment_failed", "customer.subscription.updated", "customer.subscription.deleted",
}

// price is what a customer pays: a plan in the customer's currency, in its minor
// unit. Yen have no decimals and dinars three.
type price struct {
	currency string
	amounts  map[string]int
}

var (
	prices = []price{
		{"usd", map[string]int{"pro": 2900, "teams": 9900}},
		{"eur", map[string]int{"pro": 2700, "teams": 9200}},
		{"jpy", map[string]int{"pro": 4300, "teams": 14800}},
		{"kwd", map[string]int{"pro": 8900, "teams": 30400}},
	}
	plans = []string{"pro", "pro", "pro", "teams"}
)

// Stripe makes Stripe events from Stripe's own fixtures: customers check out, pay
// every month, sometimes fail to, change and leave.
func Stripe(m Mix) (Source, error) {
	templates, err := stripeTemplates()
	if err != nil {
		return nil, err
	}
	r, run := m.random()
	s := &stories{m: m, r: r, run: run, now: time.Now(), templates: templates}
	return &mixer{mix: m, r: r, next: s.next}, nil
}

type stories struct {
	m         Mix
	r         *rand.Rand
	run       string
	now       time.Time
	templates map[string]*template
	made      int
	story     int
	queue     []Request
}

func (s *stories) next() (Request, bool) {
	if s.m.Count > 0 && s.made >= s.m.Count {
		return Request{}, false
	}
	if len(s.queue) == 0 {
		s.tell()
	}
	req := s.queue[0]
	s.queue = s.queue[1:]
	s.made++
	return req, true
}

// tell queues the life of one subscription.
func (s *stories) tell() {
	n := s.story
	s.story++
	who := n % max(1, s.m.Customers)
	money := prices[who%len(prices)]
	plan := plans[s.r.IntN(len(plans))]
	amount := money.amounts[plan]
	values := map[string]string{
		"customer": customer(who), "subscription": fmt.Sprintf("sub_%s%06d", s.run, n),
		"session": fmt.Sprintf("cs_test_%s%06d", s.run, n), "plan": plan, "price": "price_" + plan,
		"currency": money.currency, "amount": fmt.Sprint(amount),
	}
	life := []string{"checkout.session.completed", "customer.subscription.created", "invoice.paid"}
	for range s.r.IntN(4) {
		if s.r.IntN(6) == 0 {
			life = append(life, "invoice.payment_failed")
		}
		life = append(life, "invoice.paid")
	}
	if s.r.IntN(3) == 0 {
		life = append(life, "customer.subscription.updated")
	}
	if s.r.IntN(5) == 0 {
		life = append(life, "customer.subscription.deleted")
	}
	// A life's events are spread in their order over the time there is.
	at := make([]time.Time, len(life))
	for i := range at {
		at[i] = s.now
		if s.m.Over > 0 {
			at[i] = s.now.Add(-time.Duration(s.r.Int64N(int64(s.m.Over))))
		}
	}
	slices.SortFunc(at, time.Time.Compare)
	for i, typ := range life {
		values["event"] = fmt.Sprintf("evt_%s%06d%02d", s.run, n, i)
		values["invoice"] = fmt.Sprintf("in_%s%06d%02d", s.run, n, i)
		values["created"], values["ends"] = fmt.Sprint(at[i].Unix()), fmt.Sprint(at[i].AddDate(0, 1, 0).Unix())
		t := s.templates[typ]
		if basil := s.templates[typ+" basil"]; basil != nil && s.r.IntN(2) == 0 {
			t = basil
		}
		s.queue = append(s.queue, stripeRequest(t.fill(values)))
	}
}

func stripeRequest(body []byte) Request {
	return Request{Path: "/webhooks/stripe", ContentType: "application/json; charset=utf-8", Signed: true, Events: 1, Body: body}
}

// template is a webhook's body with gaps.
type template struct {
	pieces [][]byte
	gaps   []string
}

func (t *template) fill(values map[string]string) []byte {
	size := 0
	for _, p := range t.pieces {
		size += len(p) + 24
	}
	out := make([]byte, 0, size)
	for i, p := range t.pieces {
		out = append(out, p...)
		if i < len(t.gaps) {
			out = append(out, values[t.gaps[i]]...)
		}
	}
	return out
}

// text and figure mark a gap in a fixture: within a string, and for a number.
func text(name string) string   { return "\x01" + name + "\x02" }
func figure(name string) string { return "\x03" + name + "\x04" }

func cut(body []byte) *template {
	// encoding/json writes the marks as escapes, the number's within quotes.
	for from, to := range map[string]string{`\u0001`: "\x01", `\u0002`: "\x02", `"\u0003`: "\x01", `\u0004"`: "\x02"} {
		body = bytes.ReplaceAll(body, []byte(from), []byte(to))
	}
	t := &template{}
	for {
		before, rest, ok := bytes.Cut(body, []byte{1})
		t.pieces = append(t.pieces, before)
		if !ok {
			return t
		}
		name, after, _ := bytes.Cut(rest, []byte{2})
		t.gaps = append(t.gaps, string(name))
		body = after
	}
}

// webhookOf is the body of a webhook about an object.
func webhookOf(id, typ, version string, created any, object map[string]any) map[string]any {
	return map[string]any{
		"id": id, "object": "event", "api_version": version, "created": created, "type": typ,
		"livemode": false, "pending_webhooks": 1, "request": map[string]any{"id": nil, "idempotency_key": nil},
		"data": map[string]any{"object": object},
	}
}

// fixtures are Stripe's own objects, by kind.
type fixtures map[string]map[string]any

func stripeFixtures() (fixtures, error) {
	var all struct {
		Resources fixtures `json:"resources"`
	}
	if err := json.Unmarshal(embedded.OpenAPIFixtures, &all); err != nil {
		return nil, fmt.Errorf("fixtures of Stripe: %w", err)
	}
	return all.Resources, nil
}

// object is a fixture with changes.
func (f fixtures) object(kind string, change map[string]any) (map[string]any, error) {
	fixture := f[kind]
	if fixture == nil {
		return nil, fmt.Errorf("fixtures of Stripe: there is no %s", kind)
	}
	return with(fixture, change), nil
}

// with is a copy of base with changes.
func with(base, change map[string]any) map[string]any {
	out := maps.Clone(base)
	maps.Copy(out, change)
	return out
}

// plain takes out of the fixture of a subscription what it has to show that it is there.
var plain = map[string]any{
	"trial_start": nil, "trial_end": nil, "cancel_at": nil, "cancel_at_period_end": false, "canceled_at": nil, "ended_at": nil, "pause_collection": nil, "metadata": map[string]any{},
}

// stripeTemplates makes the events of Stripe's fixtures that the stories tell. Invoices
// come in both shapes that the API has had.
func stripeTemplates() (map[string]*template, error) {
	fixtures, err := stripeFixtures()
	if err != nil {
		return nil, err
	}
	items := map[string]any{"object": "list", "has_more": false, "data": []any{map[string]any{
		"id": "si_" + text("subscription"), "object": "subscription_item", "quantity": 1,
		"current_period_start": figure("created"), "current_period_end": figure("ends"),
		"price": map[string]any{"id": text("price"), "object": "price", "currency": text("currency"), "lookup_key": text("plan"), "unit_amount": figure("amount")},
	}}}
	subscription := with(plain, map[string]any{"id": text("subscription"), "customer": text("customer"), "status": "active", "items": items, "currency": text("currency")})
	invoice := map[string]any{
		"id": text("invoice"), "customer": text("customer"), "currency": text("currency"), "billing_reason": "subscription_cycle",
		"amount_due": figure("amount"), "amount_paid": figure("amount"), "status": "paid", "subscription": text("subscription"),
	}
	basil := map[string]any{"type": "subscription_details", "subscription_details": map[string]any{"subscription": text("subscription"), "metadata": map[string]any{}}}
	templates := map[string]*template{}
	for _, e := range []struct {
		name, typ, kind, version string
		change                   map[string]any
	}{
		{"", "checkout.session.completed", "checkout.session", "2024-06-20", map[string]any{
			"id": text("session"), "customer": text("customer"), "subscription": text("subscription"), "mode": "subscription",
			"amount_total": figure("amount"), "currency": text("currency"), "status": "complete", "payment_status": "paid",
			"metadata": map[string]any{"plan": text("plan")},
		}},
		{"", "customer.subscription.created", "subscription", "2025-03-31.basil", subscription},
		{"", "customer.subscription.updated", "subscription", "2025-03-31.basil", with(subscription, map[string]any{"cancel_at_period_end": true})},
		{"", "customer.subscription.deleted", "subscription", "2024-06-20", with(subscription, map[string]any{"status": "canceled", "canceled_at": figure("created"), "ended_at": figure("created")})},
		{"", "invoice.paid", "invoice", "2024-06-20", invoice},
		{" basil", "invoice.paid", "invoice", "2025-03-31.basil", with(invoice, map[string]any{"subscription": nil, "parent": basil})},
		{"", "invoice.payment_failed", "invoice", "2024-06-20", with(invoice, map[string]any{"amount_paid": 0, "status": "open", "attempt_count": 1})},
		{" basil", "invoice.payment_failed", "invoice", "2025-03-31.basil", with(invoice, map[string]any{"amount_paid": 0, "status": "open", "attempt_count": 2, "subscription": nil, "parent": basil})},
	} {
		o, err := fixtures.object(e.kind, e.change)
		if err != nil {
			return nil, err
		}
		body, err := json.Marshal(webhookOf(text("event"), e.typ, e.version, figure("created"), o))
		if err != nil {
			return nil, err
		}
		templates[e.typ+e.name] = cut(body)
	}
	return templates, nil
}
