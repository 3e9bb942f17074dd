package billing_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/api"
	"github.com/kgents/kgents/billing"
	"github.com/kgents/kgents/billing/stripetest"
	"github.com/kgents/kgents/receive"
)

// elsewhere changes acme's subscription at Stripe, as its dashboard does.
func (b *bed) elsewhere(change func(sub, item stripetest.Object)) {
	b.stripe.Fail(func(stripetest.Request) *stripetest.Fault { // with Stripe's lock held, once
		if change != nil {
			sub := b.subscription
			change(sub, sub["items"].(stripetest.Object)["data"].([]stripetest.Object)[0])
			change = nil
		}
		return nil
	})
}

// writes is how often Stripe was asked to change a subscription.
func (b *bed) writes() (n int) {
	for _, r := range b.stripe.Requests() {
		if strings.HasPrefix(r.Path, "/v1/subscriptions/") && r.Method != http.MethodGet {
			n++
		}
	}
	return n
}

// A change that rests on something that is not so any more is refused, says what there
// is, and sends nothing; what is so already, as after a request whose answer was lost, is
// answered as it is.
func TestMatch(t *testing.T) {
	routes := map[string]struct {
		ends bool // beforehand
		call func(b *bed, match string) (*billing.SubscriptionOut, error)
	}{
		"cancel": {false, func(b *bed, match string) (*billing.SubscriptionOut, error) {
			in := &billing.CancelIn{}
			in.IfMatch = match
			return b.Cancel(t.Context(), keyOf("acme"), in)
		}},
		"cancel now": {false, func(b *bed, match string) (*billing.SubscriptionOut, error) {
			in := &billing.CancelIn{}
			in.IfMatch, in.Body.Now = match, true
			return b.Cancel(t.Context(), keyOf("acme"), in)
		}},
		"reactivate": {true, func(b *bed, match string) (*billing.SubscriptionOut, error) {
			in := &billing.ReactivateIn{}
			in.IfMatch = match
			return b.Reactivate(t.Context(), keyOf("acme"), in)
		}},
		"change": {false, func(b *bed, match string) (*billing.SubscriptionOut, error) {
			in := &billing.ChangeIn{}
			in.IfMatch, in.Body.Plan = match, "teams"
			return b.Change(t.Context(), keyOf("acme"), in)
		}},
	}
	for name, route := range routes {
		for what, test := range map[string]struct {
			match  string // "" = the ETag that was shown
			change func(b *bed) func(sub, item stripetest.Object)
			said   string
			done   string // the route whose wish this is
		}{
			"nothing":                   {},
			"nothing, and no condition": {match: "*"},
			"the quantity": {change: func(*bed) func(sub, item stripetest.Object) {
				return func(_, item stripetest.Object) { item["quantity"] = 7 }
			}, said: "plan pro, by the month, 7 of it"},
			"the status": {change: func(*bed) func(sub, item stripetest.Object) {
				return func(sub, _ stripetest.Object) { sub["status"] = "past_due" }
			}, said: "sub_acme, status past_due"},
			"the price": {change: func(b *bed) func(sub, item stripetest.Object) {
				var year stripetest.Object
				for _, p := range b.stripe.Objects("prices") {
					if p["lookup_key"] == "pro_yearly" {
						year = p
					}
				}
				return func(_, item stripetest.Object) { item["price"] = year }
			}, said: "plan pro, by the year"},
			"that it ends": {change: func(*bed) func(sub, item stripetest.Object) {
				return func(sub, _ stripetest.Object) { sub["cancel_at_period_end"] = true }
			}, said: "ends with its period", done: "cancel"},
			"that it goes on": {change: func(*bed) func(sub, item stripetest.Object) {
				return func(sub, _ stripetest.Object) { sub["cancel_at_period_end"] = false }
			}, said: "1 of it", done: "reactivate"},
			"when it ends": {change: func(*bed) func(sub, item stripetest.Object) {
				return func(sub, _ stripetest.Object) { sub["cancel_at"] = 1798761600 }
			}, said: "sub_acme"},
		} {
			if what == "that it goes on" && !route.ends || what == "that it ends" && route.ends || what == "when it ends" && route.ends {
				continue // it does
			}
			t.Run(name+" while somebody changes "+what, func(t *testing.T) {
				b := newBed(t)
				b.subscribe("active", "pro_monthly")
				b.subscription["cancel_at_period_end"] = route.ends
				shown, err := b.Show(t.Context(), keyOf("acme"), &billing.SubscriptionIn{})
				if err != nil {
					t.Fatal(err)
				}
				match := shown.ETag
				if test.match != "" {
					match = test.match
				}
				if test.change != nil {
					b.elsewhere(test.change(b))
				}
				out, err := route.call(b, match)
				switch {
				case test.done == name:
					if err != nil || b.writes() != 0 {
						t.Errorf("what is so already is answered with %v, after %d changes", err, b.writes())
					}
				case test.change == nil:
					if err != nil || b.writes() != 1 || out.ETag == shown.ETag || out.ETag != `"`+out.Body.Revision+`"` {
						t.Fatalf("%+v, %v after %d changes", out, err, b.writes())
					}
					if again, err := route.call(b, match); err != nil || again.ETag != out.ETag || b.writes() != 1 { // its answer was lost
						t.Errorf("repeated it is answered with %+v, %v after %d changes", again, err, b.writes())
					}
				default:
					wantCode(t, err, kgents.CodeConflict)
					if err == nil || !strings.Contains(err.Error(), test.said) || b.writes() != 0 {
						t.Errorf("refused with %v, want %q, after %d changes", err, test.said, b.writes())
					}
				}
			})
		}
	}
}

// What the subscription has besides, and no change touches, is no reason to refuse one.
func TestMatchRestsOnWhatIsChanged(t *testing.T) {
	b := newBed(t)
	b.subscribe("active", "pro_monthly")
	shown, err := b.Show(t.Context(), operator(), &billing.SubscriptionIn{Customer: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	b.elsewhere(func(sub, _ stripetest.Object) { sub["metadata"] = map[string]string{"note": "called"} })
	again, err := b.Show(t.Context(), operator(), &billing.SubscriptionIn{Customer: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(shown, again); d != "" {
		t.Errorf("shown (-before +after):\n%s", d)
	}
}

// Over HTTP: the ETag, the problem with what there is, and what is no ETag.
func TestMatchHTTP(t *testing.T) {
	b := newBed(t)
	mux := http.NewServeMux()
	keys := receive.NewKeys([]string{"operators-key"})
	a := api.New(mux, "test", func(_ string, next http.Handler) http.Handler { return receive.RequireKey(keys, next) })
	b.Register(a)
	if err := a.Serve(); err != nil {
		t.Fatal(err)
	}
	ask := func(method, path, match, body string) (int, http.Header, string) {
		t.Helper()
		r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer operators-key")
		r.Header.Set("Content-Type", "application/json")
		if match != "" {
			r.Header.Set("If-Match", match)
		}
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		text, _ := io.ReadAll(w.Body)
		return w.Code, w.Header(), string(text)
	}
	const show = "/v1/billing/subscription?customer=acme"
	if status, _, body := ask(http.MethodGet, show, "", ""); status != http.StatusNotFound {
		t.Errorf("without a subscription the answer is %d %s", status, body)
	}
	b.subscribe("active", "pro_monthly")
	status, header, body := ask(http.MethodGet, show, "", "")
	var shown billing.SubscriptionView
	if err := json.Unmarshal([]byte(body), &shown); err != nil || status != http.StatusOK || header.Get("ETag") != `"`+shown.Revision+`"` || shown.Plan != "pro" {
		t.Fatalf("%d %v %s: %v", status, header, body, err)
	}
	for _, bad := range []string{shown.Revision, "W/" + header.Get("ETag"), `"yes"`} {
		if status, _, body := ask(http.MethodPost, "/v1/billing/cancel", bad, `{"customer":"acme"}`); status != http.StatusBadRequest {
			t.Errorf("If-Match %s is answered %d %s", bad, status, body)
		}
	}
	b.elsewhere(func(_, item stripetest.Object) { item["quantity"] = 7 })
	status, _, body = ask(http.MethodPost, "/v1/billing/cancel", header.Get("ETag"), `{"customer":"acme"}`)
	var problem struct {
		Type         string
		Subscription billing.SubscriptionView
	}
	if err := json.Unmarshal([]byte(body), &problem); err != nil || status != http.StatusConflict || problem.Type != "urn:kgents:problem:conflict" || problem.Subscription.Quantity != 7 {
		t.Fatalf("%d %s: %v", status, body, err)
	}
	if status, _, body := ask(http.MethodPost, "/v1/billing/cancel", `"`+problem.Subscription.Revision+`"`, `{"customer":"acme"}`); status != http.StatusOK {
		t.Errorf("with what the problem has the answer is %d %s", status, body)
	}
}
