//go:build linux

package chaos

import (
	"encoding/json"
	"fmt"
	"time"
)

// writer writes a life, an event a day apart at most, so that it ends in the past.
type writer struct {
	life *life
	at   time.Time
	end  time.Time // of the subscription's period
	now  string    // the price
}

func newLife(customer string, at time.Time) *writer {
	return &writer{life: &life{customer: customer}, at: at, end: at.AddDate(0, 1, 0)}
}

// add appends an event a minute after the one before.
func (b *writer) add(typ string, object map[string]any) *writer {
	b.at = b.at.Add(time.Minute)
	body, err := json.Marshal(map[string]any{
		"id": fmt.Sprintf("evt_trade%s%d", b.life.customer, len(b.life.events)), "object": "event", "type": typ,
		"created": b.at.Unix(), "data": map[string]any{"object": object},
	})
	if err != nil {
		panic(err)
	}
	b.life.events = append(b.life.events, body)
	return b
}

func (b *writer) snapshot(typ, lookup, status string) *writer {
	b.now = lookup
	return b.add(typ, map[string]any{
		"id": "sub_" + b.life.customer, "object": "subscription", "customer": b.life.customer, "status": status,
		"items": map[string]any{"data": []any{map[string]any{
			"quantity": 1, "price": map[string]any{"id": "price_" + lookup, "lookup_key": lookup},
			"current_period_start": b.end.AddDate(0, -1, 0).Unix(), "current_period_end": b.end.Unix(),
		}}},
	})
}

func (b *writer) created(lookup, status string) *writer {
	return b.snapshot("customer.subscription.created", lookup, status)
}

func (b *writer) updated(lookup, status string) *writer {
	return b.snapshot("customer.subscription.updated", lookup, status)
}

func (b *writer) deleted() *writer {
	return b.snapshot("customer.subscription.deleted", b.now, "canceled")
}

func (b *writer) invoice(typ, id string) *writer {
	return b.add(typ, map[string]any{
		"id": "in_" + b.life.customer + id, "object": "invoice", "customer": b.life.customer, "amount_paid": 1900, "amount_due": 1900, "currency": "usd",
		"parent": map[string]any{"subscription_details": map[string]any{"subscription": "sub_" + b.life.customer}},
	})
}

func (b *writer) paid() *writer { return b.invoice("invoice.paid", "first") }

func (b *writer) failed(id string) *writer { return b.invoice("invoice.payment_failed", id) }

func (b *writer) paidLate(id string) *writer { return b.invoice("invoice.paid", id) }

func (b *writer) ends(plan, status string) *life {
	b.life.end, b.life.status = plan, status
	return b.life
}
