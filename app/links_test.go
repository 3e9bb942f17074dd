package app_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/app"
	"github.com/kgents/kgents/billing"
	"github.com/kgents/kgents/billing/stripetest"
	"github.com/kgents/kgents/config"
	"github.com/kgents/kgents/plan"
	"github.com/kgents/kgents/subscription"
)

// A customer on Free whose second town is refused follows the link of the refusal, with
// no key, to the page where Pro is paid. A link that was changed, has another's key, or
// is asked for by another method leads nowhere.
func TestCheckoutLink(t *testing.T) {
	t.Parallel()
	stripe := stripetest.New(t)
	client := billing.NewClient(billing.ClientConfig{Key: stripetest.Key, Base: stripe.URL})
	defer client.Close()
	if _, err := billing.Setup(t.Context(), client, plan.Default(), true); err != nil {
		t.Fatal(err)
	}
	const back = "https://app.example.com/billing"
	p := start(t, config.RoleUp, settings(t, config.RoleUp, map[string]string{
		"STRIPE_API_KEY": stripetest.Key, "STRIPE_API_BASE": stripe.URL, "BILLING_RETURN_URL": back,
	}))
	p.ready()
	key := p.keyOf("acme")
	p.ask(key, "POST", "/v1/town", `{"citizens":3}`, 201, nil)
	before := len(stripe.Requests())
	var refused struct {
		Type     string
		Upgrade  []struct{ Plan, Checkout string }
		Checkout struct{ Method, Path, URL string }
	}
	p.ask(key, "POST", "/v1/town", `{"citizens":3}`, 402, &refused)
	if refused.Type != "urn:kgents:problem:payment_required" || len(refused.Upgrade) == 0 || refused.Upgrade[0].Plan != "pro" ||
		!strings.HasPrefix(refused.Upgrade[0].Checkout, "/v1/billing/checkout/") || refused.Checkout.URL != refused.Upgrade[0].Checkout {
		t.Fatalf("refused with %+v", refused)
	}
	if n := len(stripe.Requests()); n != before {
		t.Errorf("a refusal asked Stripe %d times", n-before)
	}
	link := refused.Upgrade[0].Checkout
	open := func(method, path string) answer {
		t.Helper()
		req := p.request(method, path, "")
		req.Header.Del("Authorization")
		return p.sendOnce(req)
	}
	if a := open("HEAD", link); a.status != http.StatusNoContent || len(stripe.Objects("sessions")) != 0 {
		t.Errorf("HEAD is answered %d, and there are %d sessions", a.status, len(stripe.Objects("sessions")))
	}
	for range 2 { // the second is a preview, or somebody who comes back
		a := open("GET", link)
		sessions := stripe.Objects("sessions")
		if a.status != http.StatusSeeOther || len(sessions) != 1 || a.header.Get("Location") != sessions[0]["url"] || a.body != "" {
			t.Fatalf("the link is answered %d %v %s, and there are the sessions %v", a.status, a.header, a.body, sessions)
		}
		for name, want := range guarded {
			if diff := cmp.Diff([]string{want}, a.header.Values(name)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
	}
	made := stripe.Requests()
	if form := made[len(made)-1].Form; form.Get("client_reference_id") != "acme" || form.Get("subscription_data[metadata][customer]") != "acme" {
		t.Errorf("the session is for %v", form)
	}

	after := len(made)
	others := billing.NewLinks(billing.LinksConfig{Key: stripetest.Key + "2", ReturnURL: back, Catalog: plan.Default}).Link("acme", "pro")
	for name, bad := range map[string]string{
		"another key": others, "a changed signature": link[:len(link)-1] + map[bool]string{true: "A", false: "E"}[!strings.HasSuffix(link, "A")], "a changed payload": strings.Replace(link, "/ey", "/eY", 1),
		"no signature": link[:strings.Index(link, ".")], "nothing of ours": "/v1/billing/checkout/1",
	} {
		if a := open("GET", bad); a.status != http.StatusNotFound || !strings.Contains(a.body, "this link is not good") {
			t.Errorf("%s: answered %d %s", name, a.status, a.body)
		}
	}
	if a := open("POST", link); a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST is answered %d %v", a.status, a.header)
	}
	if n := len(stripe.Requests()); n != after {
		t.Errorf("bad links asked Stripe %d times", n-after)
	}
	if token := strings.TrimPrefix(link, billing.LinkPath); strings.Contains(p.log.String(), token) {
		t.Error("the log has the link")
	}
	if m := p.get("/metrics"); !strings.Contains(m.body, `route="/v1/billing/checkout/{token}"`) {
		t.Error("links are not counted")
	}
}

// Where the program is told by which address the world reaches it, a refusal, an answer of
// entitlements and the OpenAPI document have whole addresses below it, and they open.
func TestPublicURL(t *testing.T) {
	t.Parallel()
	stripe := stripetest.New(t)
	client := billing.NewClient(billing.ClientConfig{Key: stripetest.Key, Base: stripe.URL})
	defer client.Close()
	if _, err := billing.Setup(t.Context(), client, plan.Default(), true); err != nil {
		t.Fatal(err)
	}
	const public = "https://api.example.com/kgents"
	p := start(t, config.RoleUp, settings(t, config.RoleUp, map[string]string{
		"STRIPE_API_KEY": stripetest.Key, "STRIPE_API_BASE": stripe.URL, "BILLING_RETURN_URL": "https://app.example.com/billing",
		"PUBLIC_URL": public + "/",
	}))
	p.ready()
	key := p.keyOf("acme")
	p.ask(key, "POST", "/v1/town", `{"citizens":3}`, 201, nil)
	type refusal struct {
		Upgrade  []struct{ Checkout string }
		Checkout struct{ Path, URL string }
	}
	var refused refusal
	p.ask(key, "POST", "/v1/town", `{"citizens":3}`, 402, &refused)
	if len(refused.Upgrade) == 0 || refused.Checkout.URL != refused.Upgrade[0].Checkout || refused.Checkout.Path != "/v1/billing/checkout" {
		t.Fatalf("refused with %+v", refused)
	}
	var asked struct{ Entitlements []refusal }
	p.ask(key, "GET", "/v1/entitlements?feature=towns&existing=1", "", 200, &asked)
	if len(asked.Entitlements) != 1 || len(asked.Entitlements[0].Upgrade) == 0 || asked.Entitlements[0].Upgrade[0].Checkout != refused.Checkout.URL {
		t.Errorf("entitlements answer %+v, the refusal had %s", asked, refused.Checkout.URL)
	}
	path, below := strings.CutPrefix(refused.Checkout.URL, public)
	if !below || !strings.HasPrefix(path, billing.LinkPath) {
		t.Fatalf("the link is %s", refused.Checkout.URL)
	}
	req := p.request("GET", path, "")
	req.Header.Del("Authorization")
	if a := p.sendOnce(req); a.status != http.StatusSeeOther {
		t.Errorf("the link is answered %d %s", a.status, a.body)
	}
	var document struct{ Servers []struct{ URL string } }
	if err := json.Unmarshal([]byte(p.get("/openapi.json").body), &document); err != nil || len(document.Servers) != 1 || document.Servers[0].URL != public {
		t.Errorf("the document has the servers %+v, %v", document.Servers, err)
	}
}

// Without Stripe's key, or a page to come back to, a refusal has no link, and says how
// to buy all the same.
func TestNoCheckoutLink(t *testing.T) {
	t.Parallel()
	for name, env := range map[string]map[string]string{
		"no key": {"BILLING_RETURN_URL": "https://app.example.com/billing"}, "no page": {"STRIPE_API_KEY": stripetest.Key, "STRIPE_API_BASE": "http://127.0.0.1:1"},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, config.RoleUp, settings(t, config.RoleUp, env))
			p.ready()
			key := p.keyOf("acme")
			p.ask(key, "POST", "/v1/town", `{"citizens":3}`, 201, nil)
			var refused map[string]json.RawMessage
			p.ask(key, "POST", "/v1/town", `{"citizens":3}`, 402, &refused)
			if strings.Contains(string(refused["upgrade"]), "checkout") || strings.Contains(string(refused["checkout"]), "url") || !strings.Contains(string(refused["checkout"]), "/v1/billing/checkout") {
				t.Errorf("refused with %s", refused)
			}
		})
	}
}

// Only a subscription that has begun and has not ended is in the way of buying one.
func TestSubscribed(t *testing.T) {
	t.Parallel()
	got := map[string]bool{}
	for _, status := range append(subscription.Statuses(), "a newer word") {
		got[status] = app.Subscribed(subscription.Standing{Status: status, Subscription: "sub_1"})
	}
	want := map[string]bool{
		"none": false, "incomplete": false, "incomplete_expired": false, "canceled": false,
		"trialing": true, "active": true, "past_due": true, "unpaid": true, "paused": true, "a newer word": true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if app.Subscribed(subscription.Standing{Status: "active"}) {
		t.Error("a status without a subscription is in the way")
	}
}
