package billing_test

import (
	"encoding/base64"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/billing"
	"github.com/kgents/kgents/billing/stripetest"
)

// tokenOf is the token of a link.
func tokenOf(t *testing.T, link string) string {
	t.Helper()
	token, ok := strings.CutPrefix(link, billing.LinkPath)
	if !ok || token == "" {
		t.Fatalf("the link is %q", link)
	}
	return token
}

// open opens a link as a browser does, with no key.
func (b *bed) open(t *testing.T, method, token string) *http.Response {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+billing.LinkPath+"{token}", b.OpenLink)
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), method, billing.LinkPath+"x", nil)
	r.URL.Path = billing.LinkPath + token // as it comes out of any spelling
	mux.ServeHTTP(w, r)
	return w.Result()
}

// A link leads to one session however often it is opened, and again after an hour to a
// link and a session of their own.
func TestLink(t *testing.T) {
	b := newBed(t)
	link := b.links.Link("acme", "pro")
	token := tokenOf(t, link)
	customer, plan, interval, err := b.links.Read(token)
	if diff := cmp.Diff([]string{"acme", "pro", "month"}, []string{customer, plan, interval}); err != nil || diff != "" {
		t.Fatal(err, diff)
	}
	if resp := b.open(t, http.MethodHead, token); resp.StatusCode != http.StatusNoContent || resp.Header.Get("Location") != "" || len(b.sent("POST", "/v1/checkout/sessions")) != 0 {
		t.Errorf("HEAD is answered %d %v, with %d sessions", resp.StatusCode, resp.Header, len(b.stripe.Objects("sessions")))
	}
	first := b.open(t, http.MethodGet, token)
	for range 2 {
		if again := b.open(t, http.MethodGet, token); again.Header.Get("Location") != first.Header.Get("Location") {
			t.Errorf("opened again it leads to %q, at first to %q", again.Header.Get("Location"), first.Header.Get("Location"))
		}
	}
	sessions := b.stripe.Objects("sessions")
	if len(sessions) != 1 || first.StatusCode != http.StatusSeeOther || first.Header.Get("Location") != sessions[0]["url"] || first.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%d %v, of the sessions %v", first.StatusCode, first.Header, sessions)
	}
	form := b.sent("POST", "/v1/checkout/sessions")[0].Form
	for name, want := range map[string]string{
		"client_reference_id": "acme", "line_items[0][price]": b.prices["pro_monthly"], "line_items[0][quantity]": "1",
		"subscription_data[metadata][customer]": "acme", "success_url": "https://app.example.com/billing?billing=success&tab=1",
	} {
		if got := form.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if again := b.links.Link("acme", "pro"); again != link {
		t.Error("another link in the same hour")
	}
	b.now = b.now.Add(time.Hour)
	if later := b.open(t, http.MethodGet, tokenOf(t, b.links.Link("acme", "pro"))); later.Header.Get("Location") == first.Header.Get("Location") || later.StatusCode != http.StatusSeeOther {
		t.Errorf("a later link leads to %d %v", later.StatusCode, later.Header)
	}
}

// Whoever opens a link that was opened before a subscription ended begins a new session.
func TestLinkAfterASubscription(t *testing.T) {
	b := newBed(t)
	token := tokenOf(t, b.links.Link("acme", "pro"))
	b.subscribe("active", "pro_monthly")
	if resp := b.open(t, http.MethodGet, token); resp.StatusCode != http.StatusConflict {
		t.Errorf("who has a subscription is answered %d", resp.StatusCode)
	}
	b.stripe.Objects("subscriptions")[0]["status"] = "canceled"
	first := b.open(t, http.MethodGet, token)
	b.stripe.Add("subscriptions", stripetest.Object{
		"id": "sub_later", "object": "subscription", "customer": "cus_acme", "status": "canceled", "created": 2, "items": stripetest.Object{"object": "list", "data": []stripetest.Object{}},
	})
	second := b.open(t, http.MethodGet, token)
	if first.StatusCode != http.StatusSeeOther || second.StatusCode != http.StatusSeeOther || first.Header.Get("Location") == second.Header.Get("Location") {
		t.Errorf("%d %v, then %d %v", first.StatusCode, first.Header, second.StatusCode, second.Header)
	}
}

// By the year where there is no month; no link without a price, a key, or a page to come
// back to.
func TestLinkIsFor(t *testing.T) {
	b := newBed(t)
	for i, p := range b.catalog.Plans {
		if p.ID == "pro" {
			for _, price := range p.Prices {
				if price.Interval == "year" {
					b.catalog.Plans[i].Prices = []kgents.Price{price}
				}
			}
		}
	}
	if _, _, interval, err := b.links.Read(tokenOf(t, b.links.Link("acme", "pro"))); err != nil || interval != "year" {
		t.Errorf("the interval is %q (%v)", interval, err)
	}
	for _, plan := range []string{"free", "nothing", ""} {
		if link := b.links.Link("acme", plan); link != "" {
			t.Errorf("for the plan %q there is the link %s", plan, link)
		}
	}
	if link := b.links.Link(strings.Repeat("a", 1000), "pro"); link != "" {
		t.Errorf("for a name too long there is the link %s", link)
	}
	for _, c := range []billing.LinksConfig{{}, {Key: "sk_test_1"}, {ReturnURL: "https://app.example.com"}} {
		none := billing.NewLinks(c)
		if link := none.Link("acme", "pro"); link != "" {
			t.Errorf("%+v makes the link %s", c, link)
		}
		if _, _, _, err := none.Read(tokenOf(t, b.links.Link("acme", "pro"))); kgents.ErrorCode(err) != kgents.CodeNotFound {
			t.Errorf("%+v reads a token: %v", c, err)
		}
	}
}

// Every token that isn't good has the same answer, and Stripe hears nothing of it.
func TestLinkRefuses(t *testing.T) {
	b := newBed(t)
	good := b.links.Link("acme", "pro")
	token := tokenOf(t, good)
	payload, signature, _ := strings.Cut(token, ".")
	config := billing.LinksConfig{ReturnURL: "https://app.example.com/billing", Catalog: func() *kgents.Catalog { return b.catalog }}
	config.Key = stripetest.Key + "x"
	other := billing.NewLinks(config).At(func() time.Time { return b.now })
	ends := b.now.Truncate(time.Hour).Add(24 * time.Hour)
	var answers []string
	for name, bad := range map[string]string{
		"nothing signed": "1", "no signature": payload, "an empty one": payload + ".", "only a signature": "." + signature, "a dot": ".",
		"padding": token + "=", "a line break": token + "\n", "a line break inside": payload[:4] + "\n" + payload[4:] + "." + signature,
		"more behind": token + "." + signature, "too long": token + strings.Repeat("A", 600),
		"another key": tokenOf(t, other.Link("acme", "pro")), "another version": b.links.Sign(2, "acme", "pro", "month", ends),
		"an end that is now": b.links.Sign(1, "acme", "pro", "month", b.now), "another customer": base64.RawURLEncoding.EncodeToString([]byte(`{"v":1,"c":"other","p":"pro","i":"month","e":9999999999}`)) + "." + signature,
	} {
		if _, _, _, err := b.links.Read(bad); kgents.ErrorCode(err) != kgents.CodeNotFound {
			t.Errorf("%s: %v", name, err)
		} else {
			answers = append(answers, err.Error())
		}
		if name == "a dot" { // which a path can't have alone
			continue
		}
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			if resp := b.open(t, method, bad); resp.StatusCode != http.StatusNotFound {
				t.Errorf("%s of a link with %s is answered %d", method, name, resp.StatusCode)
			}
		}
	}
	for _, a := range answers {
		if a != answers[0] {
			t.Errorf("answers differ: %q and %q", a, answers[0])
		}
	}
	b.now = ends.Add(-time.Second)
	if _, _, _, err := b.links.Read(token); err != nil {
		t.Errorf("a second before its end: %v", err)
	}
	b.now = ends
	if resp := b.open(t, http.MethodGet, token); resp.StatusCode != http.StatusNotFound {
		t.Errorf("at its end it is answered %d", resp.StatusCode)
	}
	if n := len(b.stripe.Objects("sessions")) + len(b.stripe.Objects("customers")); n != 0 {
		t.Errorf("%d things were made at Stripe", n)
	}
}

// Of a good token no byte can be another, taken away or put in.
func TestLinkEveryByte(t *testing.T) {
	b := newBed(t)
	token := tokenOf(t, b.links.Link("acme", "pro"))
	for i := range len(token) {
		for v := range 256 {
			if byte(v) == token[i] {
				continue
			}
			changed := []byte(token)
			changed[i] = byte(v)
			if _, _, _, err := b.links.Read(string(changed)); err == nil {
				t.Errorf("byte %d may be %#x", i, v)
			}
		}
		if _, _, _, err := b.links.Read(token[:i] + token[i+1:]); err == nil {
			t.Errorf("byte %d may be missing", i)
		}
	}
	for i := range len(token) + 1 {
		for v := range 256 {
			if _, _, _, err := b.links.Read(token[:i] + string([]byte{byte(v)}) + token[i:]); err == nil {
				t.Errorf("before byte %d there may be %#x", i, v)
			}
		}
	}
}

// What is read was signed here: nothing else is, and reading never fails otherwise.
func FuzzLink(f *testing.F) {
	catalog := newCatalog()
	now := time.Date(2026, 11, 24, 12, 30, 0, 0, time.UTC)
	links := billing.NewLinks(billing.LinksConfig{Key: stripetest.Key, ReturnURL: "https://app.example.com", Catalog: func() *kgents.Catalog { return catalog }}).At(func() time.Time { return now })
	good := map[string]bool{}
	for _, plan := range []string{"pro", "teams"} {
		token := strings.TrimPrefix(links.Link("acme", plan), billing.LinkPath)
		good[token] = true
		f.Add(token)
	}
	for _, token := range []string{"", ".", "e30.", "eyJ2IjoxfQ.AAAA", "\n.\n", strings.Repeat("A", 600)} {
		f.Add(token)
	}
	f.Fuzz(func(t *testing.T, token string) {
		customer, _, _, err := links.Read(token)
		switch {
		case good[token] && (err != nil || customer != "acme"):
			t.Errorf("a good token is for %q (%v)", customer, err)
		case !good[token] && kgents.ErrorCode(err) != kgents.CodeNotFound:
			t.Errorf("%q is read as one of %q (%v)", token, customer, err)
		}
	})
}

// What a good link meets that can't be bought any more, or not now.
func TestLinkOfWhatIsGone(t *testing.T) {
	const sessions = "/v1/checkout/sessions"
	for _, test := range []struct {
		name   string
		change func(*bed)
		status int
		retry  bool
	}{
		{"no customer", func(b *bed) { delete(b.customers.all, "acme") }, http.StatusNotFound, false},
		{"the plan costs nothing now", func(b *bed) {
			for i := range b.catalog.Plans {
				b.catalog.Plans[i].Prices = nil
			}
		}, http.StatusConflict, false},
		{"no plan", func(b *bed) { b.catalog.Plans = b.catalog.Plans[:1] }, http.StatusConflict, false},
		{"Stripe has trouble", func(b *bed) {
			b.stripe.Fail(on("POST", sessions, stripetest.Fault{Status: 500}))
		}, http.StatusServiceUnavailable, true},
		{"Stripe doesn't answer", func(b *bed) {
			b.stripe.Fail(func(stripetest.Request) *stripetest.Fault { return &stripetest.Fault{Drop: true} })
		}, http.StatusServiceUnavailable, true},
		{"two at once", func(b *bed) {
			b.stripe.Fail(on("POST", sessions, stripetest.Fault{Status: 409, Error: map[string]string{"type": "idempotency_error", "code": "idempotency_key_in_use", "message": "in use"}}))
		}, http.StatusServiceUnavailable, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBed(t)
			token := tokenOf(t, b.links.Link("acme", "pro"))
			test.change(b)
			resp := b.open(t, http.MethodGet, token)
			if resp.StatusCode != test.status || resp.Header.Get("Retry-After") != "" != test.retry || resp.Header.Get("Location") != "" {
				t.Errorf("%d %v, want %d", resp.StatusCode, resp.Header, test.status)
			}
			if n := len(b.stripe.Objects("sessions")); n != 0 {
				t.Errorf("%d sessions were made", n)
			}
		})
	}
}

// A price that has changed since a link was opened makes another session of it, where
// the same idempotency key would be refused for a day.
func TestLinkAfterAnotherPrice(t *testing.T) {
	b := newBed(t)
	token := tokenOf(t, b.links.Link("acme", "pro"))
	first := b.open(t, http.MethodGet, token)
	b.catalog.Trial += 24 * time.Hour
	if second := b.open(t, http.MethodGet, token); second.StatusCode != http.StatusSeeOther || second.Header.Get("Location") == first.Header.Get("Location") {
		t.Errorf("%d %v after %v", second.StatusCode, second.Header, first.Header)
	}
}

// Links lead to Stripe's checkout, or to what stands in for it, and nowhere else.
func TestLinksLeadToStripe(t *testing.T) {
	real, standIn := newClient(t, stripetest.Key, ""), newClient(t, stripetest.Key, "http://127.0.0.1:12111")
	for raw, want := range map[string][2]bool{
		"https://checkout.stripe.com/c/pay/cs_1#x":     {true, true},
		"http://checkout.stripe.com/c/pay/cs_1":        {false, false},
		"https://checkout.stripe.com:444/c/pay/cs_1":   {false, false},
		"https://me@checkout.stripe.com/c/pay/cs_1":    {false, false},
		"https://checkout.stripe.com.example.com/":     {false, false},
		"https://example.com/?https://checkout.stripe": {false, false},
		"http://127.0.0.1:12111/pay":                   {false, true},
		"http://127.0.0.1:12112/pay":                   {false, false},
		"https://127.0.0.1:12111/pay":                  {false, false},
		"//127.0.0.1:12111/pay":                        {false, false},
		"javascript:alert(1)":                          {false, false},
		"/relative":                                    {false, false},
		"":                                             {false, false},
		"https://checkout.stripe.com/\x00":             {false, false},
	} {
		if got := [2]bool{real.CheckoutPage(raw), standIn.CheckoutPage(raw)}; got != want {
			t.Errorf("%q: %v, want %v", raw, got, want)
		}
	}
}

// One customer's links, all of them, and those under way at once are bounded, and what
// is over is answered before Stripe hears of it.
func TestLinksAreBounded(t *testing.T) {
	b := newBed(t)
	b.Freeze(func() time.Time { return b.now })
	token := tokenOf(t, b.links.Link("acme", "pro"))
	for n := range billing.OwnAtOnce + 1 {
		resp := b.open(t, http.MethodGet, token)
		want := http.StatusSeeOther
		if n == billing.OwnAtOnce {
			want = http.StatusTooManyRequests
		}
		if resp.StatusCode != want || want == http.StatusTooManyRequests && resp.Header.Get("Retry-After") != "5" {
			t.Errorf("%d: answered %d %v, want %d", n, resp.StatusCode, resp.Header, want)
		}
	}
	if n := len(b.sent("POST", "/v1/checkout/sessions")); n != billing.OwnAtOnce {
		t.Errorf("Stripe was asked %d times", n)
	}
	b.now = b.now.Add(5 * time.Second)
	if resp := b.open(t, http.MethodGet, token); resp.StatusCode != http.StatusSeeOther {
		t.Errorf("5 s later it is answered %d", resp.StatusCode)
	}
	if resp := b.open(t, http.MethodGet, "bad"); resp.StatusCode != http.StatusNotFound {
		t.Errorf("a bad token is answered %d", resp.StatusCode)
	}

	b = newBed(t)
	b.Freeze(func() time.Time { return b.now })
	var leave []func()
	codes := map[kgents.Code]int{}
	for n := range 200 {
		l, err := b.Enter(strings.Repeat("x", n+1))
		codes[kgents.ErrorCode(err)]++
		if err == nil {
			leave = append(leave, l)
		}
	}
	if len(leave) != billing.MaxOpening || codes[kgents.CodeUnavailable] != billing.OpenAtOnce-billing.MaxOpening || codes[kgents.CodeRateLimited] != 200-billing.OpenAtOnce {
		t.Errorf("%d were let in, of the rest %v", len(leave), codes)
	}
	for _, l := range leave {
		l()
	}
}

// A failure of Stripe's own that it keeps under an idempotency key doesn't close a link
// for a day.
func TestLinkAfterAKeptFailure(t *testing.T) {
	b := newBed(t)
	token := tokenOf(t, b.links.Link("acme", "pro"))
	broken := ""
	b.stripe.Fail(func(r stripetest.Request) *stripetest.Fault {
		if r.Method != http.MethodPost || r.Path != "/v1/checkout/sessions" || broken != "" && r.Key != broken {
			return nil
		}
		broken = r.Key
		return &stripetest.Fault{Status: 500, Header: map[string]string{"Idempotent-Replayed": "true"}}
	})
	first, second := b.open(t, http.MethodGet, token), b.open(t, http.MethodGet, token)
	if first.StatusCode != http.StatusSeeOther || first.Header.Get("Location") != second.Header.Get("Location") || len(b.stripe.Objects("sessions")) != 1 {
		t.Errorf("%d %v, then %d %v", first.StatusCode, first.Header, second.StatusCode, second.Header)
	}
}

// What stands in for Stripe sends browsers to itself, and to nowhere else.
func TestLinkOfAStandIn(t *testing.T) {
	b := newBed(t)
	var instead atomic.Value // of the beginning of Stripe's page
	standIn := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		b.stripe.ServeHTTP(rec, r)
		for name, values := range rec.Header() {
			w.Header()[name] = values
		}
		w.Header().Del("Content-Length")
		w.WriteHeader(rec.Code)
		_, _ = w.Write([]byte(strings.ReplaceAll(rec.Body.String(), "https://checkout.stripe.com/", instead.Load().(string))))
	}))
	t.Cleanup(standIn.Close)
	b.Service = billing.New(billing.Config{
		Client: newClient(t, stripetest.Key, standIn.URL), Catalog: func() *kgents.Catalog { return b.catalog }, Customers: b.customers,
		ReturnURL: "https://app.example.com/billing", Links: b.links, Log: slog.New(slog.DiscardHandler),
	})
	token := tokenOf(t, b.links.Link("acme", "pro"))
	for page, want := range map[string]int{
		standIn.URL + "/": http.StatusSeeOther, "https://checkout.stripe.com/": http.StatusSeeOther,
		"https://example.com/": http.StatusInternalServerError, "javascript:": http.StatusInternalServerError,
	} {
		instead.Store(page)
		resp := b.open(t, http.MethodGet, token)
		if to := resp.Header.Get("Location"); resp.StatusCode != want || (want == http.StatusSeeOther) != (to != "") || to != "" && !strings.HasPrefix(to, page) {
			t.Errorf("%s: answered %d %v, want %d", page, resp.StatusCode, resp.Header, want)
		}
	}
}
