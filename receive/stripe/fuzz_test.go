package stripe_test

import (
	"bytes"
	"encoding/json"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/receive/cloudevents"
	"github.com/kgents/kgents/receive/stripe"
)

var eventID = regexp.MustCompile(`^evt_[A-Za-z0-9_]+$`)

// FuzzTranslate holds Translate to its promises for any payload: what it takes is
// an event that the meter can read, and the same one each time.
func FuzzTranslate(f *testing.F) {
	for _, seed := range []struct {
		stripeType string
		change     func(event, o object)
	}{
		{checkout, forSubscription}, {checkout, nil},
		{created, oldSubscription}, {created, newSubscription}, {updated, newSubscription}, {deleted, oldSubscription}, {paused, plain}, {resumed, newSubscription},
		{paid, oldInvoice}, {paid, newInvoice}, {failed, oldInvoice}, {failed, newInvoice},
		{paid, func(_, o object) { o["customer"] = nil }},
		{paid, func(_, o object) { o["customer"] = object{"id": "cus_1"} }},
		{paid, func(_, o object) { o["amount_paid"] = json.RawMessage("9007199254740993") }},
		{"plan.created", nil},
	} {
		f.Add(payload(f, seed.stripeType, seed.change))
	}
	// Small ones, which the fuzzer changes to more effect.
	f.Add([]byte(`{"id":"evt_1","object":"event","type":"invoice.paid","created":1,"data":{"object":{"id":"in_1","customer":"cus_\n1","amount_paid":1,"currency":"usd"}}}`))
	f.Add([]byte(`{"id":"evt_1","object":"event","type":"checkout.session.completed","created":1,"data":{"object":{"subscription":{"id":"sub_1"},"customer":{"id":null}}}}`))
	f.Add([]byte(`{"id":"evt_1","object":"event","type":"customer.subscription.updated","created":1,"data":{"object":{"id":"sub_1","items":{"data":[{"price":null}]}}}}`))
	f.Add([]byte(`{"object":"v2.core.event"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := stripe.Translate(bytes.Clone(body))
		if err != nil {
			if code := kgents.ErrorCode(err); code != kgents.CodeInvalid || got.Event.Raw != nil {
				t.Fatalf("got %+v and %q: %v", got, code, err)
			}
			return
		}
		if got.Skipped != "" {
			if got.Event.Raw != nil {
				t.Fatalf("skipped for %s, yet an event: %s", got.Skipped, got.Event.Raw)
			}
			return
		}
		if !eventID.MatchString(got.Event.ID) || got.Event.ID != got.StripeID || got.Event.Source != kgents.SourceStripe {
			t.Fatalf("the identity is %q, of Stripe's event %q", got.Event.Identity(), got.StripeID)
		}
		if !json.Valid(got.Event.Raw) {
			t.Fatalf("Raw is no JSON: %q", got.Event.Raw)
		}
		again, err := stripe.Translate(body)
		if err != nil || !bytes.Equal(again.Event.Raw, got.Event.Raw) {
			t.Fatalf("a second delivery gives %q (%v), the first gave %q", again.Event.Raw, err, got.Event.Raw)
		}
		events, err := cloudevents.Decode("application/json", bytes.Clone(got.Event.Raw), time.Unix(0, 0))
		if err != nil {
			t.Fatalf("the meter refuses it: %v: %q", err, got.Event.Raw)
		}
		if diff := cmp.Diff(got.Event, events[0]); diff != "" {
			t.Fatalf("the meter reads (-made +read):\n%s", diff)
		}
	})
}
