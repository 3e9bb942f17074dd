package stripe_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v85/webhook"
	"github.com/stripe/stripe-mock/embedded"

	"github.com/kgents/kgents/receive/stripe"
)

func TestVerify(t *testing.T) {
	const secret, other = "whsec_a", "whsec_b"
	now := time.Date(2026, 11, 23, 9, 30, 0, 0, time.UTC)
	payload := []byte(`{"id":"evt_1"}`)
	sign := func(secret string, at time.Time) string {
		return webhook.GenerateTestSignedPayload(&webhook.UnsignedPayload{Payload: payload, Secret: secret, Timestamp: at}).Header
	}
	good := sign(secret, now)
	_, signature, _ := strings.Cut(good, ",")
	stale := sign(secret, now.Add(-5*time.Minute-time.Second))

	for _, test := range []struct {
		name, header string
		payload      []byte
		secrets      []string
		reason       string // empty: the signature is good
	}{
		{"good", good, payload, []string{secret}, ""},
		{"the first of two secrets", good, payload, []string{secret, other}, ""},
		{"the second of two secrets", good, payload, []string{other, secret}, ""},
		{"one of two signatures", good + ",v1=" + strings.Repeat("0", 64), payload, []string{secret}, ""},
		{"another scheme beside", good + ",v0=00", payload, []string{secret}, ""},
		{"5 minutes old", sign(secret, now.Add(-5*time.Minute)), payload, []string{secret}, ""},
		{"5 minutes ahead", sign(secret, now.Add(5*time.Minute)), payload, []string{secret}, ""},

		{"another secret", good, payload, []string{other}, stripe.ReasonWrong},
		{"no secrets", good, payload, nil, stripe.ReasonWrong},
		{"a byte more", good, append(bytes.Clone(payload), ' '), []string{secret}, stripe.ReasonWrong},
		{"a byte changed", good, []byte(`{"id":"evt_2"}`), []string{secret}, stripe.ReasonWrong},
		{"no body", good, nil, []string{secret}, stripe.ReasonWrong},
		{"another scheme only", strings.Replace(good, "v1=", "v0=", 1), payload, []string{secret}, stripe.ReasonWrong},
		{"a signature cut short", good[:len(good)-2], payload, []string{secret}, stripe.ReasonWrong},
		{"a signature that is not hex", "t=1795426200,v1=zz", payload, []string{secret}, stripe.ReasonWrong},
		{"no signature", "t=1795426200", payload, []string{secret}, stripe.ReasonWrong},
		{"another timestamp behind a stale one", stale + ",t=1795426200", payload, []string{secret}, stripe.ReasonWrong},

		{"5 minutes and a second old", stale, payload, []string{secret}, stripe.ReasonStale},
		{"5 minutes and a second ahead", sign(secret, now.Add(5*time.Minute+time.Second)), payload, []string{secret}, stripe.ReasonStale},
		{"another timestamp before a stale one", "t=1795426200," + stale, payload, []string{secret}, stripe.ReasonStale},
		{"the end of time", sign(secret, time.Unix(1<<62, 0)), payload, []string{secret}, stripe.ReasonStale},
		{"before the beginning of time", sign(secret, time.Unix(-1<<62, 0)), payload, []string{secret}, stripe.ReasonStale},

		{"unsigned", "", payload, []string{secret}, stripe.ReasonUnsigned},
		{"garbage", "garbage", payload, []string{secret}, stripe.ReasonHeader},
		{"commas", ",,,", payload, []string{secret}, stripe.ReasonHeader},
		{"no timestamp", signature, payload, []string{secret}, stripe.ReasonHeader},
		{"a timestamp that is no number", "t=now," + signature, payload, []string{secret}, stripe.ReasonHeader},
		{"a timestamp beyond 64 bits", "t=99999999999999999999," + signature, payload, []string{secret}, stripe.ReasonHeader},
		{"a part without a value", good + ",v1", payload, []string{secret}, stripe.ReasonHeader},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := stripe.Verify(test.payload, test.header, test.secrets, now)
			if test.reason == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			refusal, ok := errors.AsType[*stripe.SignatureError](err)
			if !ok || refusal.Reason != test.reason {
				t.Fatalf("got %v, want a refusal for %q", err, test.reason)
			}
			for _, s := range []string{secret, other, "evt_"} {
				if strings.Contains(err.Error(), s) {
					t.Errorf("the error shows %q: %v", s, err)
				}
			}
		})
	}
}

// object is a Stripe object or event that a test may change.
type object map[string]any

// fixtures are the objects that Stripe publishes for its mock server. Numbers
// keep their digits.
func fixtures(t testing.TB) map[string]object {
	t.Helper()
	var f struct {
		Resources map[string]object `json:"resources"`
	}
	dec := json.NewDecoder(bytes.NewReader(embedded.OpenAPIFixtures))
	dec.UseNumber()
	if err := dec.Decode(&f); err != nil {
		t.Fatal(err)
	}
	return f.Resources
}

// payload is the webhook of stripeType: Stripe's fixture of an event around its
// fixture of the object, which change may change.
func payload(t testing.TB, stripeType string, change func(event, o object)) []byte {
	t.Helper()
	resource := map[string]string{
		"checkout.session.completed":    "checkout.session",
		"customer.subscription.created": "subscription",
		"customer.subscription.updated": "subscription",
		"customer.subscription.deleted": "subscription",
		"customer.subscription.paused":  "subscription",
		"customer.subscription.resumed": "subscription",
		"invoice.paid":                  "invoice",
		"invoice.payment_failed":        "invoice",
	}[stripeType]
	all := fixtures(t)
	event, o := all["event"], all[resource]
	event["type"], event["data"] = stripeType, object{"object": o}
	if change != nil {
		change(event, o)
	}
	b, err := json.Marshal(event)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The shapes of an invoice and a subscription before API version 2025-03-31,
// which moved the subscription of an invoice and the period of a subscription.
func oldInvoice(_, o object) {
	delete(o, "parent")
	o["subscription"] = "sub_old"
}

func newInvoice(_, o object) {
	delete(o, "subscription")
	o["parent"] = object{"type": "subscription_details", "subscription_details": object{"subscription": "sub_new"}}
}

func oldSubscription(_, o object) {
	item := firstItem(o)
	delete(item, "current_period_start")
	delete(item, "current_period_end")
	o["current_period_start"], o["current_period_end"] = 1700000000, 1702592000
}

// plain takes out what Stripe's fixture has to show that it is there.
func plain(_, o object) {
	for _, name := range []string{"trial_end", "cancel_at", "canceled_at", "ended_at", "pause_collection"} {
		o[name] = nil
	}
	o["cancel_at_period_end"] = false
}

func newSubscription(_, o object) {
	item := firstItem(o)
	item["current_period_start"], item["current_period_end"] = 1710000000, 1712592000
}

func firstItem(o object) map[string]any {
	return o["items"].(map[string]any)["data"].([]any)[0].(map[string]any)
}

// forSubscription makes a checkout one of a subscription. Stripe's fixture is of
// a payment.
func forSubscription(_, o object) {
	o["mode"], o["subscription"], o["customer"] = "subscription", "sub_1", "cus_1"
	o["amount_total"], o["currency"], o["metadata"] = 4900, "usd", object{"plan": "team"}
}
