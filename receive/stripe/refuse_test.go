package stripe_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/receive/stripe"
)

func TestTranslateSkips(t *testing.T) {
	for _, test := range []struct {
		name string
		body []byte
		want stripe.Result
	}{
		{"an unhandled type", payload(t, "plan.created", nil), stripe.Result{StripeType: "plan.created", Skipped: stripe.SkippedType}},
		{"a type of 10 kB", []byte(`{"object":"event","type":"` + strings.Repeat("x", 10_000) + `"}`),
			stripe.Result{StripeType: strings.Repeat("x", 10_000), Skipped: stripe.SkippedType}},
		{"a thin event", []byte(`{"id":"evt_test_1","object":"v2.core.event","type":"v1.billing.meter.error_report_triggered","livemode":false,"created":"2026-11-23T09:30:00.000Z","related_object":{"id":"mtr_1","type":"billing.meter","url":"/v1/billing/meters/mtr_1"}}`),
			stripe.Result{StripeType: "v1.billing.meter.error_report_triggered", Skipped: stripe.SkippedThin}},
		{"a thin event of a handled type", []byte(`{"object":"v2.core.event","type":"invoice.paid"}`), stripe.Result{StripeType: paid, Skipped: stripe.SkippedThin}},
		{"a checkout of a payment", payload(t, checkout, nil),
			stripe.Result{StripeID: "evt_1Pgc76B7WZ01zgkWwyRHS12y", StripeType: checkout, Skipped: stripe.SkippedSubscription}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := stripe.Translate(test.body)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
		})
	}
}

// invoicePaid is a payment whose amount and currency are the given JSON texts.
func invoicePaid(t *testing.T, amount, currency string) []byte {
	t.Helper()
	return payload(t, paid, func(event, o object) {
		newInvoice(event, o)
		o["amount_paid"], o["currency"] = json.RawMessage(amount), json.RawMessage(currency)
	})
}

// TestTranslateMoney: an amount stays the integer that Stripe sent, whatever the
// currency makes of it.
func TestTranslateMoney(t *testing.T) {
	for _, test := range []struct{ name, amount, currency string }{
		{"nothing", "0", `"usd"`},
		{"more than a float holds", "9007199254740993", `"usd"`}, // 2^53 + 1
		{"the largest", "9223372036854775807", `"usd"`},
		{"no decimals", "500", `"jpy"`},
		{"three decimals", "5000", `"kwd"`},
		{"a currency that nobody knows", "1", `"xts"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := stripe.Translate(invoicePaid(t, test.amount, test.currency))
			if err != nil {
				t.Fatal(err)
			}
			var e struct {
				Data struct{ Amount, Currency json.RawMessage }
			}
			if err := json.Unmarshal(got.Event.Raw, &e); err != nil {
				t.Fatal(err)
			}
			if string(e.Data.Amount) != test.amount || string(e.Data.Currency) != test.currency {
				t.Errorf("got %s %s, want %s %s", e.Data.Amount, e.Data.Currency, test.amount, test.currency)
			}
		})
	}
}

func TestTranslateRefuses(t *testing.T) {
	const marker = "private-marker"
	good := payload(t, paid, func(event, o object) { newInvoice(event, o); o["description"] = marker })
	set := func(stripeType, key string, v any) []byte {
		return payload(t, stripeType, func(event, o object) { newInvoice(event, o); o[key] = v; o["description"] = marker })
	}
	head := func(key string, v any) []byte {
		return payload(t, paid, func(event, o object) {
			if event[key] = v; v == nil {
				delete(event, key)
			}
		})
	}
	replace := func(old, instead string) []byte {
		if !bytes.Contains(good, []byte(old)) {
			t.Fatalf("the payload has no %s", old)
		}
		return bytes.Replace(good, []byte(old), []byte(instead), 1)
	}
	for _, test := range []struct {
		name string
		body []byte
		says string
	}{
		{"nothing", nil, "ends in the middle"},
		{"no JSON", []byte("<html>"), "no valid JSON"},
		{"null", []byte("null"), `"object" is not "event"`},
		{"an array", []byte("[]"), "wrong shape"},
		{"a string", []byte(`"event"`), "wrong shape"},
		{"no event", replace(`"object":"event"`, `"object":"list"`), `"object" is not "event"`},
		{"an object that is a number", replace(`"object":"event"`, `"object":1`), `wrong shape at "/object"`},
		{"text behind", append(bytes.Clone(good), "{}"...), "no valid JSON"},
		{"a name twice", replace(`"created":`, `"created":1,"created":`), "two members of one name"},
		{"a name twice, once escaped", replace(`"amount_paid":`, `"amount\u005fpaid":1,"amount_paid":`), "two members of one name"},
		{"invalid UTF-8", replace(marker, marker+"\xff"), "no valid JSON in UTF-8"},
		{"a lone surrogate", replace(marker, marker+`\ud800`), "no valid JSON in UTF-8"},

		{"no id", head("id", nil), `"id" is missing`},
		{"an id of another kind", head("id", "in_1"), `"id" is missing or not of the form`},
		{"an id that is only the prefix", head("id", "evt_"), `"id" is missing or not of the form`},
		{"an id with a space", head("id", "evt_1 2"), `"id" is missing or not of the form`},
		{"an id with a line behind", head("id", "evt_1\n"), `"id" is missing or not of the form`},
		{"an id of 10 kB", head("id", "evt_"+strings.Repeat("x", 10_000)), `"id" is missing or not of the form`},
		{"an id that is a number", head("id", 1), `wrong shape at "/id"`},
		{"no created", head("created", nil), `"created" is missing`},
		{"created before 1970", head("created", -1), `"created" is missing or no time`},
		{"created in milliseconds", head("created", 1234567890000), `"created" is missing or no time`},
		{"created as text", head("created", "2026-11-23T09:30:00Z"), `wrong shape at "/created"`},
		{"no data", head("data", nil), `no "data.object"`},
		{"data without an object", head("data", object{}), `no "data.object"`},
		{"an object that is null", head("data", object{"object": nil}), `no "data.object"`},
		{"an object that is an id", head("data", object{"object": "in_1"}), `no "data.object"`},

		{"an invoice without an id", set(paid, "id", nil), `the invoice has no "id"`},
		{"a subscription without an id", set(created, "id", ""), `the subscription has no "id"`},
		{"a customer that is a number", set(paid, "customer", 1), `wrong shape at "/customer"`},
		{"a customer of 257 bytes", set(paid, "customer", strings.Repeat("x", 257)), "longer than 256 bytes"},
		{"a customer with a line feed", set(paid, "customer", "cus_\n1"), "control characters"},
		{"a payment without an amount", set(paid, "amount_paid", nil), "no amount"},
		{"a failure without an amount", set(failed, "amount_due", nil), "no amount"},
		{"a negative amount", set(paid, "amount_paid", -1), "amount is negative"},
		{"an amount with decimals", set(paid, "amount_paid", 49.5), `wrong shape at "/amount_paid"`},
		{"an amount with an exponent", set(paid, "amount_paid", json.RawMessage("1e3")), `wrong shape at "/amount_paid"`},
		{"an amount in quotes", set(paid, "amount_paid", "4900"), `wrong shape at "/amount_paid"`},
		{"an amount beyond 64 bits", set(paid, "amount_paid", json.RawMessage("9223372036854775808")), `wrong shape at "/amount_paid"`},
		{"an amount that is NaN", replace(`"amount_paid":0`, `"amount_paid":NaN`), "no valid JSON"},
		{"a currency that is a word", set(paid, "currency", "dollars"), "currency is not a code"},
		{"a currency in capitals", set(paid, "currency", "USD"), "currency is not a code"},
		{"no currency", set(paid, "currency", nil), "currency is not a code"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := stripe.Translate(test.body)
			if code := kgents.ErrorCode(err); code != kgents.CodeInvalid {
				t.Fatalf("got %+v and error %v, want %q", got, err, kgents.CodeInvalid)
			}
			if !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), marker) {
				t.Errorf("the error is %q, want one with %q that does not quote the payload", err, test.says)
			}
			if got.Event.Raw != nil || got.Skipped != "" {
				t.Errorf("got %+v with the refusal", got)
			}
		})
	}
}

func TestTranslateRefusesEveryCut(t *testing.T) {
	body := []byte(`{"id":"evt_1","object":"event","type":"invoice.paid","created":1234567890,"data":{"object":{"id":"in_1","customer":"cus_1","amount_paid":1,"currency":"usd"}}}`)
	if _, err := stripe.Translate(body); err != nil {
		t.Fatal(err)
	}
	for n := range body {
		if got, err := stripe.Translate(body[:n]); kgents.ErrorCode(err) != kgents.CodeInvalid {
			t.Errorf("cut at %d: got %+v and error %v", n, got, err)
		}
	}
}
