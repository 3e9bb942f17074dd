package billing_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/billing"
	"github.com/kgents/kgents/billing/stripetest"
)

func buy(plan, interval string, quantity int64) *billing.CheckoutIn {
	in := &billing.CheckoutIn{}
	in.Body.Plan, in.Body.Interval, in.Body.Quantity = plan, interval, quantity
	return in
}

// A checkout is for the customer of the key, with the plan's price first and the price
// of its overage besides, and tells Stripe whose it is twice.
func TestCheckout(t *testing.T) {
	b := newBed(t)
	in := buy("pro", "month", 2)
	in.Key = "click 1"
	out, err := b.Checkout(t.Context(), keyOf("acme"), in)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(out.Body.URL, "https://checkout.stripe.com/") || out.Body.Effective != "webhook" || out.Body.ExpiresAt.IsZero() {
		t.Errorf("the answer is %+v", out.Body)
	}
	cus := b.customers.all["acme"].Stripe
	got := b.sent(http.MethodPost, "/v1/checkout/sessions")
	if len(got) != 1 {
		t.Fatalf("%d sessions", len(got))
	}
	want := map[string]string{
		"mode": "subscription", "customer": cus, "client_reference_id": "acme", "subscription_data[metadata][customer]": "acme",
		"subscription_data[trial_period_days]": "14", "subscription_data[billing_mode][type]": "flexible", "allow_promotion_codes": "true",
		"line_items[0][price]": b.prices["pro_monthly"], "line_items[0][quantity]": "2",
		"line_items[1][price]": b.prices["pro_tokens_overage_monthly"],
		"success_url":          "https://app.example.com/billing?billing=success&tab=1", "cancel_url": "https://app.example.com/billing?billing=cancelled&tab=1",
	}
	have := map[string]string{}
	for k, v := range got[0].Form {
		have[k] = v[0]
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("what was sent differs (-want +have):\n%s", diff)
	}
	if k := got[0].Key; !strings.HasPrefix(k, "kgents-checkout-") || strings.Contains(k, "acme") || strings.Contains(k, "click") {
		t.Errorf("idempotency key %q", k)
	}

	again, err := b.Checkout(t.Context(), keyOf("acme"), in)
	if err != nil || again.Body.URL != out.Body.URL {
		t.Errorf("the same request again: %v, %v, want the same page", again, err)
	}
	in.Body.Quantity = 3
	_, err = b.Checkout(t.Context(), keyOf("acme"), in)
	wantCode(t, err, kgents.CodeConflict) // the key was used for another
	in.Key = ""
	if again, err = b.Checkout(t.Context(), keyOf("acme"), in); err != nil || again.Body.URL == out.Body.URL {
		t.Errorf("another request: %v, want another page", err)
	}
	if n := len(b.stripe.Objects("customers")); n != 1 {
		t.Errorf("%d customers were made at Stripe, want 1", n)
	}
	for _, r := range b.stripe.Requests() {
		if r.Method == http.MethodPost && r.Key == "" {
			t.Errorf("POST %s has no idempotency key", r.Path)
		}
	}
	lookups := b.sent(http.MethodGet, "/v1/prices")
	if len(lookups) != 2 { // setup's and one of ours
		t.Errorf("prices were asked for %d times, want once", len(lookups)-1)
	}
}

func TestCheckoutRefuses(t *testing.T) {
	b := newBed(t)
	for name, test := range map[string]struct {
		who    kgents.Principal
		change func(*billing.CheckoutIn)
		code   kgents.Code
		text   string
	}{
		"another customer":                    {keyOf("acme"), func(in *billing.CheckoutIn) { in.Body.Customer = "other" }, kgents.CodeForbidden, ""},
		"an operator who names nobody":        {operator(), func(*billing.CheckoutIn) {}, kgents.CodeInvalid, "name the customer"},
		"an operator and nobody":              {operator(), func(in *billing.CheckoutIn) { in.Body.Customer = "nobody" }, kgents.CodeNotFound, ""},
		"a plan that isn't":                   {keyOf("acme"), func(in *billing.CheckoutIn) { in.Body.Plan = "gold" }, kgents.CodeInvalid, "there are pro, teams"},
		"a plan for nothing":                  {keyOf("acme"), func(in *billing.CheckoutIn) { in.Body.Plan = "free" }, kgents.CodeInvalid, "costs nothing"},
		"an interval that the plan hasn't":    {keyOf("acme"), func(in *billing.CheckoutIn) { in.Body.Plan, in.Body.Interval = "teams", "year" }, kgents.CodeInvalid, "no price by the year"},
		"a page of somebody else":             {keyOf("acme"), func(in *billing.CheckoutIn) { in.Body.SuccessURL = "https://evil.example.net/" }, kgents.CodeInvalid, "not allowed"},
		"a page to cancel of somebody else's": {keyOf("acme"), func(in *billing.CheckoutIn) { in.Body.CancelURL = "https://evil.example.net/" }, kgents.CodeInvalid, "cancel_url"},
	} {
		t.Run(name, func(t *testing.T) {
			in := buy("pro", "month", 1)
			test.change(in)
			_, err := b.Checkout(t.Context(), test.who, in)
			wantCode(t, err, test.code)
			if err == nil || !strings.Contains(err.Error(), test.text) {
				t.Errorf("%v lacks %q", err, test.text)
			}
		})
	}
	if n := len(b.sent(http.MethodPost, "/v1/customers")); n != 0 {
		t.Errorf("%d customers were made for requests that were refused", n)
	}
}

// Who had a subscription gets no second trial, and who has one no second subscription.
func TestCheckoutOfASubscriber(t *testing.T) {
	for status, want := range map[string]string{
		"active": "conflict", "trialing": "conflict", "past_due": "conflict", "unpaid": "conflict", "paused": "conflict",
		"canceled": "no trial", "incomplete_expired": "trial", "incomplete": "trial",
	} {
		t.Run(status, func(t *testing.T) {
			b := newBed(t)
			b.subscribe(status, "pro_monthly")
			_, err := b.Checkout(t.Context(), keyOf("acme"), buy("pro", "month", 1))
			if want == "conflict" {
				wantCode(t, err, kgents.CodeConflict)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := "no trial"
			if b.sent(http.MethodPost, "/v1/checkout/sessions")[0].Form.Has("subscription_data[trial_period_days]") {
				got = "trial"
			}
			if got != want {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
}

// Two requests at once make one customer at Stripe.
func TestOneCustomer(t *testing.T) {
	b := newBed(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := b.Checkout(t.Context(), keyOf("acme"), buy("pro", "month", 1)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := len(b.stripe.Objects("customers")); n != 1 {
		t.Errorf("%d customers at Stripe, want 1", n)
	}
}

// Who gets the id of a customer that was deleted gets a Stripe customer of its own, also
// within the day in which Stripe keeps what it answered.
func TestCustomerOfTheSameID(t *testing.T) {
	b := newBed(t)
	var got []string
	for _, since := range []time.Time{time.Unix(1, 0), time.Unix(1, 0), time.Unix(2, 0)} {
		b.customers.all["acme"] = billing.Customer{ID: "acme", Name: "Acme", Since: since}
		if _, err := b.Portal(t.Context(), keyOf("acme"), &billing.PortalIn{}); err != nil {
			t.Fatal(err)
		}
		got = append(got, b.customers.all["acme"].Stripe)
	}
	if got[0] != got[1] || got[1] == got[2] {
		t.Errorf("the same customer twice and another are %v at Stripe", got)
	}
}

func TestPortal(t *testing.T) {
	b := newBed(t)
	in := &billing.PortalIn{}
	in.Body.Customer, in.Body.ReturnURL = "acme", "https://admin.example.com/back"
	out, err := b.Portal(t.Context(), operator(), in)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(out.Body.URL, "https://billing.stripe.com/") {
		t.Errorf("the answer is %+v", out.Body)
	}
	if got := b.sent(http.MethodPost, "/v1/billing_portal/sessions")[0].Form.Get("return_url"); got != "https://admin.example.com/back" {
		t.Errorf("return_url is %q", got)
	}
}

// Cancel at the period's end, take it back, cancel now; each twice is once.
func TestCancelAndReactivate(t *testing.T) {
	b := newBed(t)
	b.subscribe("active", "pro_monthly", "pro_tokens_overage_monthly")
	cancel, now := &billing.CancelIn{}, &billing.CancelIn{}
	now.Body.Now = true
	for range 2 {
		out, err := b.Cancel(t.Context(), keyOf("acme"), cancel)
		if err != nil || !out.Body.CancelAtPeriodEnd || out.Body.Plan != "pro" || out.Body.Status != "active" || out.Body.PeriodEnd.IsZero() {
			t.Fatalf("cancel: %+v, %v", out, err)
		}
	}
	for range 2 {
		out, err := b.Reactivate(t.Context(), keyOf("acme"), &billing.ReactivateIn{})
		if err != nil || out.Body.CancelAtPeriodEnd {
			t.Fatalf("reactivate: %+v, %v", out, err)
		}
	}
	if n := len(b.sent(http.MethodPost, "/v1/subscriptions/sub_acme")); n != 2 {
		t.Errorf("%d changes were sent, want 2", n)
	}
	for range 2 {
		out, err := b.Cancel(t.Context(), keyOf("acme"), now)
		if err != nil || out.Body.Status != "canceled" {
			t.Fatalf("cancel now: %+v, %v", out, err)
		}
	}
	ended := b.sent(http.MethodDelete, "/v1/subscriptions/sub_acme")
	if len(ended) != 1 || ended[0].Form.Get("invoice_now") != "true" {
		t.Errorf("%v was sent, want one that bills overage now", ended)
	}
	_, err := b.Reactivate(t.Context(), keyOf("acme"), &billing.ReactivateIn{})
	wantCode(t, err, kgents.CodeConflict)
	_, err = b.Cancel(t.Context(), keyOf("other"), cancel)
	wantCode(t, err, kgents.CodeConflict)
}

func TestChange(t *testing.T) {
	for name, test := range map[string]struct {
		has  []string // lookup keys
		in   func(*billing.ChangeIn)
		want map[string]string // what is sent; "+key" is the price of a lookup key
	}{
		"up: paid at once, or refused": {
			[]string{"pro_monthly", "pro_tokens_overage_monthly"}, func(in *billing.ChangeIn) { in.Body.Plan = "teams" },
			map[string]string{
				"items[0][id]": "si_a", "items[0][price]": "+teams_monthly", "items[0][quantity]": "1", "items[1][id]": "si_b", "items[1][deleted]": "true",
				"items[2][price]": "+teams_tokens_overage_monthly", "proration_behavior": "always_invoice", "payment_behavior": "error_if_incomplete",
			},
		},
		"down: credited on the next invoice": {
			[]string{"teams_monthly", "teams_tokens_overage_monthly"}, func(in *billing.ChangeIn) { in.Body.Plan = "pro" },
			map[string]string{
				"items[0][id]": "si_a", "items[0][price]": "+pro_monthly", "items[0][quantity]": "1", "items[1][id]": "si_b", "items[1][deleted]": "true",
				"items[2][price]": "+pro_tokens_overage_monthly", "proration_behavior": "create_prorations",
			},
		},
		"a year": {
			[]string{"pro_monthly", "pro_tokens_overage_monthly"}, func(in *billing.ChangeIn) { in.Body.Interval = "year" },
			map[string]string{
				"items[0][id]": "si_a", "items[0][price]": "+pro_yearly", "items[0][quantity]": "1", "items[1][id]": "si_b", "items[1][deleted]": "true",
				"items[2][price]": "+pro_tokens_overage_yearly", "proration_behavior": "always_invoice", "payment_behavior": "error_if_incomplete",
			},
		},
		"more of it": {
			[]string{"pro_monthly", "pro_tokens_overage_monthly"}, func(in *billing.ChangeIn) { in.Body.Quantity = 5 },
			map[string]string{
				"items[0][id]": "si_a", "items[0][price]": "+pro_monthly", "items[0][quantity]": "5", "proration_behavior": "always_invoice", "payment_behavior": "error_if_incomplete",
			},
		},
		"overage that a subscription made by hand lacks": {
			[]string{"pro_monthly"}, func(in *billing.ChangeIn) { in.Body.Plan = "pro" },
			map[string]string{"items[0][price]": "+pro_tokens_overage_monthly", "proration_behavior": "create_prorations"},
		},
		"nothing to do": {[]string{"pro_monthly", "pro_tokens_overage_monthly"}, func(in *billing.ChangeIn) { in.Body.Plan = "pro" }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			b.subscribe("active", test.has...)
			in := &billing.ChangeIn{}
			in.Key = "once"
			test.in(in)
			for range 2 { // the second finds it done
				if out, err := b.Change(t.Context(), keyOf("acme"), in); err != nil || in.Body.Plan != "" && out.Body.Plan != in.Body.Plan {
					t.Fatalf("%+v, %v", out, err)
				}
			}
			var sent []map[string]string
			for _, r := range b.sent(http.MethodPost, "/v1/subscriptions/sub_acme") {
				have := map[string]string{}
				for k, v := range r.Form {
					have[k] = v[0]
				}
				sent = append(sent, have)
			}
			var want []map[string]string
			if test.want != nil {
				for k, v := range test.want {
					if key, ok := strings.CutPrefix(v, "+"); ok {
						test.want[k] = b.prices[key]
					}
				}
				want = append(want, test.want)
			}
			if diff := cmp.Diff(want, sent); diff != "" {
				t.Errorf("what was sent differs (-want +have):\n%s", diff)
			}
		})
	}
	b := newBed(t)
	_, err := b.Change(t.Context(), keyOf("acme"), &billing.ChangeIn{})
	wantCode(t, err, kgents.CodeInvalid)
}

// What Stripe says becomes a code; its words are shown where they are safe, and the key
// never.
func TestErrors(t *testing.T) {
	const secret = stripetest.Key
	for name, test := range map[string]struct {
		fault   stripetest.Fault
		code    kgents.Code
		shown   string
		never   string
		seconds float64
	}{
		"a card":                       {stripetest.Fault{Status: 402, Error: map[string]string{"type": "card_error", "code": "card_declined", "message": "Your card was declined."}}, kgents.CodeInvalid, "Your card was declined.", "", 0},
		"a request":                    {stripetest.Fault{Status: 400, Error: map[string]string{"type": "invalid_request_error", "message": "Quantity is too large."}}, kgents.CodeInvalid, "Quantity is too large.", "", 0},
		"a message with a key":         {stripetest.Fault{Status: 400, Error: map[string]string{"type": "invalid_request_error", "message": "Not with " + secret}}, kgents.CodeInvalid, "the log has", secret, 0},
		"a message with an address":    {stripetest.Fault{Status: 400, Error: map[string]string{"type": "invalid_request_error", "message": "No ada@example.com"}}, kgents.CodeInvalid, "the log has", "ada@", 0},
		"a message with a card":        {stripetest.Fault{Status: 402, Error: map[string]string{"type": "card_error", "message": "4242 4242 4242 4242 is declined"}}, kgents.CodeInvalid, "the log has", "4242", 0},
		"a wrong key":                  {stripetest.Fault{Status: 401, Error: map[string]string{"type": "invalid_request_error", "message": "Invalid API Key provided: " + secret}}, kgents.CodeMisconfig, "STRIPE_API_KEY", secret, 0},
		"a key that may not":           {stripetest.Fault{Status: 403, Error: map[string]string{"type": "invalid_request_error", "message": "The provided key " + secret}}, kgents.CodeMisconfig, "permission", secret, 0},
		"too often":                    {stripetest.Fault{Status: 429, Error: map[string]string{"type": "invalid_request_error", "code": "rate_limit"}, Header: map[string]string{"Retry-After": "7"}}, kgents.CodeUnavailable, "later", "", 7},
		"a pause of a year":            {stripetest.Fault{Status: 429, Header: map[string]string{"Retry-After": "31536000"}}, kgents.CodeUnavailable, "later", "", 300},
		"a key in use":                 {stripetest.Fault{Status: 409, Error: map[string]string{"type": "invalid_request_error", "code": "idempotency_key_in_use"}, Header: map[string]string{"Stripe-Should-Retry": "false"}}, kgents.CodeConflict, "Idempotency-Key", "", 0},
		"trouble":                      {stripetest.Fault{Status: 500, Error: map[string]string{"type": "api_error", "message": "secret"}}, kgents.CodeUnavailable, "later", "secret", 5},
		"no answer":                    {stripetest.Fault{Drop: true}, kgents.CodeUnavailable, "does not answer", "", 5},
		"a price that is not there":    {stripetest.Fault{Status: 400, Error: map[string]string{"type": "invalid_request_error", "code": "resource_missing", "param": "line_items[0][price]"}}, kgents.CodeMisconfig, "STRIPE_PRICE", "", 0},
		"a customer that is not there": {stripetest.Fault{Status: 400, Error: map[string]string{"type": "invalid_request_error", "code": "resource_missing", "param": "customer"}}, kgents.CodeNotFound, "account or mode", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			b.stripe.Fail(on(http.MethodPost, "/v1/checkout/sessions", test.fault))
			_, err := b.Checkout(t.Context(), keyOf("acme"), buy("pro", "month", 1))
			wantCode(t, err, test.code)
			e, _ := errors.AsType[*kgents.Error](err)
			if e == nil {
				t.Fatal(err)
			}
			if !strings.Contains(e.Message, test.shown) || test.never != "" && strings.Contains(err.Error(), test.never) || strings.Contains(err.Error(), secret) {
				t.Errorf("shown %q, logged %q", e.Message, err)
			}
			if e.RetryAfter.Seconds() != test.seconds {
				t.Errorf("Retry-After %v, want %v s", e.RetryAfter, test.seconds)
			}
		})
	}
}

// A failure that Stripe keeps under the idempotency key of a customer doesn't keep the
// customer from buying for a day.
func TestKeptFailure(t *testing.T) {
	b := newBed(t)
	failing := ""
	b.stripe.Fail(func(r stripetest.Request) *stripetest.Fault {
		if r.Path == "/v1/customers" && (failing == "" || r.Key == failing) {
			failing = r.Key
			return &stripetest.Fault{Status: 500, Error: map[string]string{"type": "api_error"}, Header: map[string]string{"Idempotent-Replayed": "true"}}
		}
		return nil
	})
	if _, err := b.Checkout(t.Context(), keyOf("acme"), buy("pro", "month", 1)); err != nil {
		t.Fatal(err)
	}
}

// Without a key everything says what to set; nothing of the library's goes to stderr.
func TestNoKey(t *testing.T) {
	var log bytes.Buffer
	s := billing.New(billing.Config{Client: newClient(t, "", ""), Catalog: newCatalog, Customers: &customers{}, Log: slog.New(slog.NewTextHandler(&log, nil))})
	_, err := s.Checkout(t.Context(), keyOf("acme"), buy("pro", "month", 1))
	wantCode(t, err, kgents.CodeMisconfig)
	if !strings.Contains(err.Error(), "STRIPE_API_KEY") {
		t.Error(err)
	}
	if log.Len() > 0 {
		t.Errorf("the log has %s", &log)
	}
}

// The library writes nothing to stderr, which would have what was answered.
func TestSilence(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	real := os.Stderr
	os.Stderr = w
	defer func() { os.Stderr = real }()
	b := newBed(t)
	b.stripe.Fail(on(http.MethodPost, "/v1/checkout/sessions", stripetest.Fault{Status: 400, Error: map[string]string{"type": "invalid_request_error", "message": "No ada@example.com"}}))
	_, _ = b.Checkout(t.Context(), keyOf("acme"), buy("pro", "month", 1))
	w.Close()
	if got, _ := io.ReadAll(r); len(got) > 0 {
		t.Errorf("stderr has %s", got)
	}
}

func TestReturnURL(t *testing.T) {
	const page = "https://app.example.com/billing"
	for asked, want := range map[string]string{
		"":                                                     page + "?billing=success",
		"https://app.example.com/done":                         "https://app.example.com/done",
		"https://APP.example.com:443/done":                     "https://APP.example.com:443/done",
		"https://admin.example.com/x?y=1":                      "https://admin.example.com/x?y=1",
		"http://app.example.com/done":                          "",
		"https://app.example.com:8443/":                        "",
		"https://app.example.com@evil.example/":                "",
		"https://user@app.example.com/":                        "",
		"https://app.example.com.evil.example/":                "",
		"//app.example.com/":                                   "",
		"/done":                                                "",
		"javascript:alert(1)":                                  "",
		"https:app.example.com":                                "",
		`https://app.example.com\@evil.example/`:               "",
		"https://evil.example/?https://app.exampl":             "",
		"https://app.example.com/" + strings.Repeat("x", 2000): "",
	} {
		got, err := billing.Pick(page, []string{"*", "https://admin.example.com", "https://*.example.org"}, asked)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q leads to %q, %v; want %q", asked, got, err, want)
		}
	}
	_, err := billing.Pick("", nil, "")
	wantCode(t, err, kgents.CodeMisconfig)
	_, err = billing.Pick("", []string{"*"}, "https://app.example.com/")
	wantCode(t, err, kgents.CodeInvalid)
}
