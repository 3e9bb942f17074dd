package stripe_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/receive/cloudevents"
	"github.com/kgents/kgents/receive/stripe"
	"github.com/kgents/kgents/subscription"
)

const (
	checkout = "checkout.session.completed"
	created  = "customer.subscription.created"
	updated  = "customer.subscription.updated"
	deleted  = "customer.subscription.deleted"
	paused   = "customer.subscription.paused"
	resumed  = "customer.subscription.resumed"
	paid     = "invoice.paid"
	failed   = "invoice.payment_failed"
)

// TestTranslateCounts has the eight events in the shapes that API versions give
// them. Want is the data of the meter event.
func TestTranslateCounts(t *testing.T) {
	set := func(key string, v any) func(event, o object) {
		return func(_, o object) { o[key] = v }
	}
	for _, test := range []struct {
		name, stripeType string
		change           []func(event, o object)
		typ, subject     string
		want             string
	}{
		{"a checkout", checkout, []func(event, o object){forSubscription}, stripe.Started, "cus_1",
			`{"stripe_event_type":"checkout.session.completed","livemode":false,"checkout_session":"cs_test_a1YS1URlnyQCN5fUUduORoQ7Pw41PJqDWkIVQCpJPqkfIhd6tVY8XB1OLY","subscription_id":"sub_1","mode":"subscription","payment_status":"unpaid","plan":"team","amount":4900,"currency":"usd"}`},
		{"a checkout with expanded objects", checkout, []func(event, o object){forSubscription, set("customer", object{"id": "cus_2", "object": "customer"}), set("subscription", object{"id": "sub_2"})}, stripe.Started, "cus_2",
			`{"stripe_event_type":"checkout.session.completed","livemode":false,"checkout_session":"cs_test_a1YS1URlnyQCN5fUUduORoQ7Pw41PJqDWkIVQCpJPqkfIhd6tVY8XB1OLY","subscription_id":"sub_2","mode":"subscription","payment_status":"unpaid","plan":"team","amount":4900,"currency":"usd"}`},
		{"a free checkout", checkout, []func(event, o object){forSubscription, set("amount_total", nil), set("currency", nil), set("metadata", nil)}, stripe.Started, "cus_1",
			`{"stripe_event_type":"checkout.session.completed","livemode":false,"checkout_session":"cs_test_a1YS1URlnyQCN5fUUduORoQ7Pw41PJqDWkIVQCpJPqkfIhd6tVY8XB1OLY","subscription_id":"sub_1","mode":"subscription","payment_status":"unpaid"}`},
		{"a subscription of an old version", created, []func(event, o object){oldSubscription}, stripe.Started, "cus_QXg1o8vcGmoR32",
			`{"stripe_event_type":"customer.subscription.created","livemode":false,"subscription_id":"sub_1Pgc6rB7WZ01zgkWNy0Cn5nw","status":"active","price_id":"price_1PgafmB7WZ01zgkW6dKueIc5","quantity":1,"trial_end":1234567890,"current_period_start":1700000000,"current_period_end":1702592000,"cancel_at_period_end":true,"cancel_at":1234567890,"canceled_at":1234567890,"ended_at":1234567890,"collection_paused":true}`},
		{"a subscription of a new version", created, []func(event, o object){newSubscription}, stripe.Started, "cus_QXg1o8vcGmoR32",
			`{"stripe_event_type":"customer.subscription.created","livemode":false,"subscription_id":"sub_1Pgc6rB7WZ01zgkWNy0Cn5nw","status":"active","price_id":"price_1PgafmB7WZ01zgkW6dKueIc5","quantity":1,"trial_end":1234567890,"current_period_start":1710000000,"current_period_end":1712592000,"cancel_at_period_end":true,"cancel_at":1234567890,"canceled_at":1234567890,"ended_at":1234567890,"collection_paused":true}`},
		{"a subscription without items", created, []func(event, o object){plain, set("items", object{"data": []any{}})}, stripe.Started, "cus_QXg1o8vcGmoR32",
			`{"stripe_event_type":"customer.subscription.created","livemode":false,"subscription_id":"sub_1Pgc6rB7WZ01zgkWNy0Cn5nw","status":"active","cancel_at_period_end":false}`},
		{"a pause", paused, []func(event, o object){newSubscription, plain, set("status", "paused"), set("metadata", object{"customer": "acme"})}, stripe.Updated, "cus_QXg1o8vcGmoR32",
			`{"stripe_event_type":"customer.subscription.paused","livemode":false,"customer_ref":"acme","subscription_id":"sub_1Pgc6rB7WZ01zgkWNy0Cn5nw","status":"paused","price_id":"price_1PgafmB7WZ01zgkW6dKueIc5","quantity":1,"current_period_start":1710000000,"current_period_end":1712592000,"cancel_at_period_end":false}`},
		{"a resumption", resumed, []func(event, o object){oldSubscription, plain, set("pause_collection", object{"behavior": "void"})}, stripe.Updated, "cus_QXg1o8vcGmoR32",
			`{"stripe_event_type":"customer.subscription.resumed","livemode":false,"subscription_id":"sub_1Pgc6rB7WZ01zgkWNy0Cn5nw","status":"active","price_id":"price_1PgafmB7WZ01zgkW6dKueIc5","quantity":1,"current_period_start":1700000000,"current_period_end":1702592000,"cancel_at_period_end":false,"collection_paused":true}`},
		{"an update", updated, []func(event, o object){newSubscription, set("cancel_at_period_end", true), set("trial_end", nil)}, stripe.Updated, "cus_QXg1o8vcGmoR32",
			`{"stripe_event_type":"customer.subscription.updated","livemode":false,"subscription_id":"sub_1Pgc6rB7WZ01zgkWNy0Cn5nw","status":"active","price_id":"price_1PgafmB7WZ01zgkW6dKueIc5","quantity":1,"current_period_start":1710000000,"current_period_end":1712592000,"cancel_at_period_end":true,"cancel_at":1234567890,"canceled_at":1234567890,"ended_at":1234567890,"collection_paused":true}`},
		{"an end", deleted, []func(event, o object){newSubscription, set("status", "canceled"), set("trial_end", nil)}, stripe.Ended, "cus_QXg1o8vcGmoR32",
			`{"stripe_event_type":"customer.subscription.deleted","livemode":false,"subscription_id":"sub_1Pgc6rB7WZ01zgkWNy0Cn5nw","status":"canceled","price_id":"price_1PgafmB7WZ01zgkW6dKueIc5","quantity":1,"current_period_start":1710000000,"current_period_end":1712592000,"cancel_at_period_end":true,"cancel_at":1234567890,"canceled_at":1234567890,"ended_at":1234567890,"collection_paused":true}`},
		{"a payment of an old version", paid, []func(event, o object){oldInvoice, set("amount_paid", 4900)}, stripe.Succeeded, "cus_QXg1o8vcGmoR32",
			`{"stripe_event_type":"invoice.paid","livemode":false,"subscription_id":"sub_old","invoice_id":"in_1Pgc6tB7WZ01zgkWu9fdqL6I","amount":4900,"currency":"usd","billing_reason":"manual"}`},
		{"a payment of a new version", paid, []func(event, o object){newInvoice, set("amount_paid", 4900)}, stripe.Succeeded, "cus_QXg1o8vcGmoR32",
			`{"stripe_event_type":"invoice.paid","livemode":false,"subscription_id":"sub_new","invoice_id":"in_1Pgc6tB7WZ01zgkWu9fdqL6I","amount":4900,"currency":"usd","billing_reason":"manual"}`},
		{"a payment of no subscription", paid, []func(event, o object){set("parent", nil)}, stripe.Succeeded, "cus_QXg1o8vcGmoR32",
			`{"stripe_event_type":"invoice.paid","livemode":false,"invoice_id":"in_1Pgc6tB7WZ01zgkWu9fdqL6I","amount":0,"currency":"usd","billing_reason":"manual"}`},
		{"a payment without a customer", paid, []func(event, o object){newInvoice, set("customer", nil)}, stripe.Succeeded, stripe.Unattributed,
			`{"stripe_event_type":"invoice.paid","livemode":false,"subscription_id":"sub_new","invoice_id":"in_1Pgc6tB7WZ01zgkWu9fdqL6I","amount":0,"currency":"usd","billing_reason":"manual"}`},
		{"a payment of an expanded customer on a connected account", paid, []func(event, o object){newInvoice, set("customer", object{"id": "cus_2", "deleted": true}), func(event, _ object) { event["account"], event["livemode"] = "acct_1", true }}, stripe.Succeeded, "cus_2",
			`{"stripe_event_type":"invoice.paid","livemode":true,"account":"acct_1","subscription_id":"sub_new","invoice_id":"in_1Pgc6tB7WZ01zgkWu9fdqL6I","amount":0,"currency":"usd","billing_reason":"manual"}`},
		{"a failure", failed, []func(event, o object){newInvoice, set("attempt_count", 2)}, stripe.Failed, "cus_QXg1o8vcGmoR32",
			`{"stripe_event_type":"invoice.payment_failed","livemode":false,"subscription_id":"sub_new","invoice_id":"in_1Pgc6tB7WZ01zgkWu9fdqL6I","amount":1000,"currency":"usd","attempt_count":2,"next_payment_attempt":1234567890}`},
		{"the last failure, of an old version", failed, []func(event, o object){oldInvoice, set("next_payment_attempt", nil)}, stripe.Failed, "cus_QXg1o8vcGmoR32",
			`{"stripe_event_type":"invoice.payment_failed","livemode":false,"subscription_id":"sub_old","invoice_id":"in_1Pgc6tB7WZ01zgkWu9fdqL6I","amount":1000,"currency":"usd","attempt_count":0}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			body := payload(t, test.stripeType, func(event, o object) {
				o["status"] = "active"
				for _, change := range test.change {
					change(event, o)
				}
			})
			got, err := stripe.Translate(bytes.Clone(body))
			if err != nil {
				t.Fatal(err)
			}
			want := `{"specversion":"1.0","id":"evt_1Pgc76B7WZ01zgkWwyRHS12y","source":"stripe","type":"` + test.typ + `","subject":"` + test.subject + `","time":"2009-02-13T23:31:30Z","data":` + test.want + `}`
			if diff := cmp.Diff(decoded(t, []byte(want)), decoded(t, got.Event.Raw)); diff != "" {
				t.Errorf("Raw (-want +got):\n%s", diff)
			}
			got.Event.Raw, got.Event.Data = nil, nil
			if diff := cmp.Diff(stripe.Result{
				StripeID: "evt_1Pgc76B7WZ01zgkWwyRHS12y", StripeType: test.stripeType,
				Event: kgents.Event{Source: "stripe", ID: "evt_1Pgc76B7WZ01zgkWwyRHS12y", Type: test.typ, Subject: test.subject, Time: time.Unix(1234567890, 0).UTC()},
			}, got); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
		})
	}
}

// decoded is JSON as values, its numbers by their digits.
func decoded(t *testing.T, b []byte) any {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	return v
}

// TestTranslateMakesWhatTheDecoderReads: an event from Stripe is the same event
// after it has travelled.
func TestTranslateMakesWhatTheDecoderReads(t *testing.T) {
	for stripeType, change := range map[string]func(event, o object){
		checkout: forSubscription, created: oldSubscription, updated: newSubscription, deleted: nil, paused: plain, resumed: newSubscription, paid: newInvoice, failed: oldInvoice,
	} {
		body := payload(t, stripeType, change)
		got, err := stripe.Translate(bytes.Clone(body))
		if err != nil {
			t.Fatal(err)
		}
		again, err := stripe.Translate(body)
		if err != nil || !bytes.Equal(got.Event.Raw, again.Event.Raw) {
			t.Errorf("%s: a second delivery gives %s (%v), the first gave %s", stripeType, again.Event.Raw, err, got.Event.Raw)
		}
		events, err := cloudevents.Decode("application/json", bytes.Clone(got.Event.Raw), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got.Event, events[0]); diff != "" {
			t.Errorf("%s: the decoder reads (-made +read):\n%s", stripeType, diff)
		}
	}
}

func TestTranslatePlan(t *testing.T) {
	for _, test := range []struct {
		name          string
		own, price    any
		lookup        any
		want          string
		withoutPrices bool
	}{
		{name: "no plan anywhere", own: nil, price: nil, lookup: nil, want: ""},
		{name: "the price's lookup key", own: object{}, price: object{}, lookup: "key", want: "key"},
		{name: "the price's metadata before its key", own: object{}, price: object{"plan": "price"}, lookup: "key", want: "price"},
		{name: "the subscription's metadata before all", own: object{"plan": "own"}, price: object{"plan": "price"}, lookup: "key", want: "own"},
		{name: "a price that is null", own: object{"plan": "own"}, withoutPrices: true, want: "own"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := stripe.Translate(payload(t, created, func(_, o object) {
				o["metadata"] = test.own
				if test.withoutPrices {
					firstItem(o)["price"] = nil
					return
				}
				price := firstItem(o)["price"].(map[string]any)
				price["metadata"], price["lookup_key"] = test.price, test.lookup
			}))
			if err != nil {
				t.Fatal(err)
			}
			var e struct{ Data struct{ Plan string } }
			if err := json.Unmarshal(got.Event.Raw, &e); err != nil || e.Data.Plan != test.want {
				t.Errorf("the plan is %q (%v), want %q", e.Data.Plan, err, test.want)
			}
			if test.want == "" && strings.Contains(string(got.Event.Raw), `"plan"`) {
				t.Errorf("an empty plan stands in %s", got.Event.Raw)
			}
		})
	}
}

// TestTranslateCustomerRef: our customer is named by who made the checkout, never by
// who opens a payment link.
func TestTranslateCustomerRef(t *testing.T) {
	acme := object{"customer": "acme"}
	for _, test := range []struct {
		name, stripeType string
		change           func(event, o object)
		want             string
	}{
		{"a checkout's reference", checkout, func(e, o object) { forSubscription(e, o); o["client_reference_id"] = "acme" }, "acme"},
		{"a checkout's metadata before it", checkout, func(e, o object) {
			forSubscription(e, o)
			o["client_reference_id"], o["metadata"] = "other", acme
		}, "acme"},
		{"a payment link's reference is anybody's", checkout, func(e, o object) {
			forSubscription(e, o)
			o["client_reference_id"], o["payment_link"] = "victim", "plink_1"
		}, ""},
		{"a payment link's metadata is ours", checkout, func(e, o object) {
			forSubscription(e, o)
			o["client_reference_id"], o["payment_link"], o["metadata"] = "victim", object{"id": "plink_1"}, acme
		}, "acme"},
		{"a checkout without any", checkout, forSubscription, ""},
		{"a subscription", created, func(e, o object) { newSubscription(e, o); o["metadata"] = acme }, "acme"},
		{"an update", updated, func(e, o object) { oldSubscription(e, o); o["metadata"] = acme }, "acme"},
		{"an end", deleted, func(e, o object) { oldSubscription(e, o); o["metadata"] = acme }, "acme"},
		{"a subscription without metadata", created, func(_, o object) { o["metadata"] = nil }, ""},
		{"an invoice of an old version", paid, func(e, o object) { oldInvoice(e, o); o["subscription_details"] = object{"metadata": acme} }, "acme"},
		{"an invoice of a new version", failed, func(_, o object) {
			o["parent"] = object{"subscription_details": object{"subscription": "sub_new", "metadata": acme}}
		}, "acme"},
		{"an invoice whose metadata is null", failed, func(_, o object) {
			o["parent"] = object{"subscription_details": object{"subscription": "sub_new", "metadata": nil}}
		}, ""},
		{"an invoice of no subscription", paid, func(_, o object) { o["parent"] = nil }, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := stripe.Translate(payload(t, test.stripeType, test.change))
			if err != nil {
				t.Fatal(err)
			}
			if ref := subscription.Ref(got.Event); ref != test.want {
				t.Errorf("the customer is %q, want %q, in %s", ref, test.want, got.Event.Raw)
			}
		})
	}
}

// TestTranslateItems: what is billed by usage is an item as well, and not the plan.
func TestTranslateItems(t *testing.T) {
	item := func(price, usage string) object {
		return object{"quantity": 3, "current_period_start": 1, "current_period_end": 2, "price": object{"id": price, "recurring": object{"usage_type": usage}}}
	}
	for _, test := range []struct {
		name  string
		items []any
		want  string
	}{
		{"a plan", []any{item("price_pro", "licensed")}, "price_pro"},
		{"a plan and its overage", []any{item("price_pro", "licensed"), item("price_tokens", "metered")}, "price_pro"},
		{"an overage and its plan", []any{item("price_tokens", "metered"), item("price_pro", "licensed")}, "price_pro"},
		{"an overage alone", []any{item("price_tokens", "metered")}, "price_tokens"},
		{"of an old plan", []any{object{"price": nil}}, ""},
		{"none", []any{}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := stripe.Translate(payload(t, updated, func(_, o object) { o["items"] = object{"data": test.items} }))
			if err != nil {
				t.Fatal(err)
			}
			c, ok, err := subscription.FromEvent(got.Event)
			if err != nil || !ok || c.Price != test.want {
				t.Errorf("the price is %q (%v, %v), want %q", c.Price, ok, err, test.want)
			}
		})
	}
}
