package subscription_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents"
	. "github.com/kgents/kgents/subscription"
)

func stripeEvent(typ, data string) kgents.Event {
	return kgents.Event{ID: "evt_1", Source: kgents.SourceStripe, Type: typ, Subject: "cus_1", Time: day(1), Data: []byte(data)}
}

func TestFromEvent(t *testing.T) {
	full := `{"stripe_event_type":"customer.subscription.updated","livemode":true,"customer_ref":"acme","subscription_id":"sub_1","plan":"pro","lookup_key":"pro_monthly","status":"active",
		"price_id":"price_pro","quantity":3,"current_period_start":1,"current_period_end":2,"trial_end":3,"cancel_at_period_end":true,"cancel_at":4,"canceled_at":5,"ended_at":6,"collection_paused":true}`
	pay := `{"stripe_event_type":"invoice.payment_failed","subscription_id":"sub_1","invoice_id":"in_1","amount":1900,"currency":"usd","attempt_count":2,"next_payment_attempt":9}`
	for _, test := range []struct {
		name string
		e    kgents.Event
		want Change
		ok   bool
		err  kgents.Code
	}{
		{name: "a snapshot with everything", e: stripeEvent("subscription.updated", full), ok: true, want: Change{
			ID: "evt_1", Kind: Updated, Type: "customer.subscription.updated", Created: unix(1), Subscription: "sub_1", Status: "active", Price: "price_pro", LookupKey: "pro_monthly",
			Plan: "pro", Quantity: 3, PeriodStart: 1, PeriodEnd: 2, TrialEnd: 3, CancelAtPeriodEnd: true, CancelAt: 4, CanceledAt: 5, EndedAt: 6, Paused: true}},
		{name: "a snapshot of an old translation", e: stripeEvent("subscription.started", `{"stripe_event_type":"customer.subscription.created","subscription_id":"sub_1"}`), ok: true,
			want: Change{ID: "evt_1", Kind: Created, Type: "customer.subscription.created", Created: unix(1), Subscription: "sub_1"}},
		{name: "an end", e: stripeEvent("subscription.ended", `{"subscription_id":"sub_1","status":"canceled"}`), ok: true,
			want: Change{ID: "evt_1", Kind: Deleted, Created: unix(1), Subscription: "sub_1", Status: "canceled"}},
		{name: "a checkout", e: stripeEvent("subscription.started", `{"subscription_id":"sub_1","checkout_session":"cs_1","plan":"pro","payment_status":"paid","amount":1900}`), ok: true,
			want: Change{ID: "evt_1", Kind: Checkout, Created: unix(1), Subscription: "sub_1", Plan: "pro", Status: "paid"}},
		{name: "a failure", e: stripeEvent("payment.failed", pay), ok: true,
			want: Change{ID: "evt_1", Kind: Failed, Type: "invoice.payment_failed", Created: unix(1), Subscription: "sub_1", Invoice: "in_1", Amount: 1900, Currency: "usd", Attempt: 2, NextAttempt: 9}},
		{name: "a payment", e: stripeEvent("payment.success", `{"subscription_id":"sub_1","invoice_id":"in_1","amount":0,"currency":"usd"}`), ok: true,
			want: Change{ID: "evt_1", Kind: Paid, Created: unix(1), Subscription: "sub_1", Invoice: "in_1", Currency: "usd"}},
		{name: "a payment of no subscription", e: stripeEvent("payment.success", `{"invoice_id":"in_1","amount":1}`)},
		{name: "a connected account's", e: stripeEvent("subscription.updated", `{"subscription_id":"sub_1","status":"active","plan":"teams","account":"acct_1"}`)},
		{name: "somebody else's", e: kgents.Event{ID: "evt_1", Source: "town", Type: "subscription.updated", Time: day(1), Data: []byte(full)}},
		{name: "another type", e: stripeEvent("town.interaction", full)},
		{name: "figures that can't be", e: stripeEvent("subscription.updated", `{"subscription_id":"sub_1","quantity":-3,"trial_end":-1,"cancel_at":9223372036854775807,"current_period_end":253402300800}`), ok: true,
			want: Change{ID: "evt_1", Kind: Updated, Created: unix(1), Subscription: "sub_1"}},
		{name: "a plan as long as a novel", e: stripeEvent("subscription.updated", `{"subscription_id":"sub_1","plan":"`+strings.Repeat("x", 500)+`"}`), ok: true,
			want: Change{ID: "evt_1", Kind: Updated, Created: unix(1), Subscription: "sub_1"}},
		{name: "a long id", e: stripeEvent("subscription.updated", `{"subscription_id":"`+strings.Repeat("x", 500)+`"}`), err: kgents.CodeInvalid},
		{name: "an id that moves the cursor", e: stripeEvent("subscription.updated", `{"subscription_id":"sub_\u001b[2J"}`), err: kgents.CodeInvalid},
		{name: "a payment without an invoice", e: stripeEvent("payment.failed", `{"subscription_id":"sub_1"}`), err: kgents.CodeInvalid},
		{name: "no data", e: stripeEvent("payment.failed", ``), err: kgents.CodeInvalid},
		{name: "data of another shape", e: stripeEvent("payment.failed", `{"subscription_id":{}}`), err: kgents.CodeInvalid},
		{name: "no time", e: kgents.Event{ID: "evt_1", Source: kgents.SourceStripe, Type: "subscription.updated", Data: []byte(full)}, err: kgents.CodeInvalid},
		{name: "no id", e: kgents.Event{Source: kgents.SourceStripe, Type: "subscription.updated", Time: day(1), Data: []byte(full)}, err: kgents.CodeInvalid},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, ok, err := FromEvent(test.e)
			if kgents.ErrorCode(err) != test.err || ok != test.ok {
				t.Fatalf("got %v, %v, want %v, %q", ok, err, test.ok, test.err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("change (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRef(t *testing.T) {
	for data, want := range map[string]string{
		`{"customer_ref":"acme"}`: "acme", `{}`: "", ``: "", `{"customer_ref":1}`: "", `{"customer_ref":"acme","account":"acct_1"}`: "",
	} {
		if got := Ref(stripeEvent("payment.success", data)); got != want {
			t.Errorf("of %s: %q, want %q", data, got, want)
		}
	}
	if got := Ref(kgents.Event{Source: "town", Data: []byte(`{"customer_ref":"acme"}`)}); got != "" {
		t.Errorf("of a stranger's event: %q", got)
	}
}

// FuzzFromEvent: whatever Stripe might send, a change can be kept, written, read and
// judged, and is bounded.
func FuzzFromEvent(f *testing.F) {
	for _, typ := range []string{"subscription.started", "subscription.updated", "subscription.ended", "payment.success", "payment.failed"} {
		f.Add(typ, "evt_1", int64(1_700_000_000), []byte(`{"subscription_id":"sub_1","invoice_id":"in_1","status":"active","price_id":"p","plan":"pro","quantity":2,"current_period_start":1700000000,"current_period_end":1702592000,"amount":5,"currency":"usd"}`))
	}
	f.Add("subscription.updated", "evt_1", int64(0), []byte(`{"subscription_id":"s","status":"trialing","trial_end":1,"cancel_at_period_end":true,"current_period_start":1,"current_period_end":7258118399}`))
	f.Add("payment.failed", "e", int64(7258118399), []byte(`{"subscription_id":"\ufffd","invoice_id":"\"","amount":-9223372036854775808}`))
	f.Fuzz(func(t *testing.T, typ, id string, created int64, data []byte) {
		e := kgents.Event{ID: id, Source: kgents.SourceStripe, Type: typ, Time: time.Unix(created, 0), Data: data}
		c, ok, err := FromEvent(e)
		if err != nil || !ok {
			if err != nil && kgents.ErrorCode(err) != kgents.CodeInvalid || c != (Change{}) {
				t.Fatalf("got %+v, %v", c, err)
			}
			return
		}
		s := apply([]Change{c, event(Created, 0, pro), c})
		text, err := json.Marshal(s)
		if err != nil || len(text) > 8<<10 {
			t.Fatalf("%d bytes, %v", len(text), err)
		}
		var read State
		if err := json.Unmarshal(text, &read); err != nil {
			t.Fatal(err)
		}
		for _, now := range []time.Time{time.Unix(created, 0), day(3), time.Unix(0, 0), time.Unix(7258118400, 0)} {
			st := s.Standing(now, catalog)
			if st.PeriodStart.After(now) || !st.PeriodEnd.After(now) || st.Quantity < 1 || st.Plan == "" {
				t.Fatalf("at %v: %+v", now, st)
			}
			if again := read.Standing(now, catalog); !cmp.Equal(st, again) {
				t.Fatalf("after reading: %s", cmp.Diff(st, again))
			}
		}
	})
}
