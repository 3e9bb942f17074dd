package billing_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/billing"
	"github.com/kgents/kgents/billing/stripetest"
	"github.com/kgents/kgents/plan"
)

// Whatever is at Stripe, a dry run changes nothing and says what differs; the run after
// it mends what can be mended, and the next finds nothing to do.
func TestSetup(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(*bed)
		want  map[string]string // action and a part of its text, by name; others are kept
		after bool              // it is as it should be after --yes
	}{
		"all is there": {func(*bed) {}, nil, true},
		"the meter is deactivated": {
			func(b *bed) { set(b, "meters", "event_name", "kgents_tokens", "status", "inactive") },
			map[string]string{"kgents_tokens": "differs activated again"}, true,
		},
		"the meter counts": {
			func(b *bed) {
				set(b, "meters", "event_name", "kgents_tokens", "default_aggregation", stripetest.Object{"formula": "count"})
			},
			map[string]string{
				"kgents_tokens": "blocked can't be changed", "pro_tokens_overage_monthly": "differs another meter",
				"pro_tokens_overage_yearly": "differs another meter", "teams_tokens_overage_monthly": "differs another meter",
			}, false,
		},
		"a product is archived": {
			func(b *bed) { set(b, "products", "id", "kgents_pro", "active", false) },
			map[string]string{"kgents_pro": "differs archived"}, true,
		},
		"a price is archived": {
			func(b *bed) { set(b, "prices", "lookup_key", "pro_monthly", "active", false) },
			map[string]string{"pro_monthly": "differs archived"}, true,
		},
		"a price is in another currency and of another amount": {
			func(b *bed) {
				set(b, "prices", "lookup_key", "pro_monthly", "currency", "eur")
				set(b, "prices", "lookup_key", "pro_monthly", "unit_amount_decimal", "1500")
			},
			map[string]string{"pro_monthly": "differs currency is eur, not usd, amount is 1500, not 1900"}, true,
		},
		"overage has another price": {
			func(b *bed) {
				set(b, "prices", "lookup_key", "pro_tokens_overage_monthly", "unit_amount_decimal", "0.0009")
			},
			map[string]string{"pro_tokens_overage_monthly": "differs amount is 0.0009, not 0.0008"}, true,
		},
		"a price of another product": {
			func(b *bed) {
				b.stripe.Add("products", stripetest.Object{"id": "prod_hand", "object": "product", "name": "by hand", "active": true})
				set(b, "prices", "lookup_key", "pro_monthly", "product", "prod_hand")
			},
			nil, true,
		},
		"an overage that has no decimals": {
			func(b *bed) {
				pro := &b.catalog.Plans[1]
				q := pro.Quotas["tokens"]
				q.Overage = kgents.Overage{Amount: 1, Per: 3}
				pro.Quotas["tokens"] = q
			},
			map[string]string{"pro_tokens_overage_monthly": "blocked 12 decimals"}, false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			made := len(b.sent(http.MethodPost, "/v1/prices"))
			test.spoil(b)
			dry, err := billing.Setup(t.Context(), b.client, b.catalog, false)
			if err != nil {
				t.Fatal(err)
			}
			if n := len(b.sent(http.MethodPost, "/v1/prices")); n != made {
				t.Errorf("a dry run made %d prices", n-made)
			}
			got := map[string]string{}
			for _, c := range dry.Changes {
				if c.Action != billing.Keep {
					got[c.Name] = string(c.Action) + " " + c.Text
				}
			}
			for name, want := range test.want {
				action, text, _ := strings.Cut(want, " ")
				if !strings.HasPrefix(got[name], action) || !strings.Contains(got[name], text) {
					t.Errorf("%s: %q, want %q", name, got[name], want)
				}
				delete(got, name)
			}
			if len(got) > 0 {
				t.Errorf("differs too: %v", got)
			}
			if dry.Clean() != (len(test.want) == 0) {
				t.Errorf("clean: %v", dry.Clean())
			}
			_, _ = billing.Setup(t.Context(), b.client, b.catalog, true)
			after, err := billing.Setup(t.Context(), b.client, b.catalog, false)
			if err != nil || after.Clean() != test.after {
				t.Errorf("after a run: clean %v, want %v (%v): %+v", after.Clean(), test.after, err, after.Changes)
			}
		})
	}
}

// set changes objects of Stripe's whose member has a value.
func set(b *bed, kind, member string, value any, to string, is any) {
	for _, o := range b.stripe.Objects(kind) { // the same maps
		if o[member] == value {
			o[to] = is
		}
	}
}

// What setup makes is what the plans sell, to the last digit.
func TestSetupMakes(t *testing.T) {
	b := newBed(t)
	got := map[string]string{}
	for _, r := range b.sent(http.MethodPost, "/v1/prices") {
		f := r.Form
		got[f.Get("lookup_key")] = strings.Join([]string{f.Get("currency"), f.Get("unit_amount") + f.Get("unit_amount_decimal"), f.Get("recurring[interval]"), f.Get("recurring[usage_type]"), f.Get("product"), f.Get("metadata[plan]")}, " ")
	}
	want := map[string]string{
		"pro_monthly": "usd 1900 month  kgents_pro pro", "pro_yearly": "usd 19000 year  kgents_pro pro", "teams_monthly": "usd 9900 month  kgents_teams teams",
		"pro_tokens_overage_monthly":   "usd 0.0008 month metered kgents_pro_tokens_overage ",
		"pro_tokens_overage_yearly":    "usd 0.0008 year metered kgents_pro_tokens_overage ",
		"teams_tokens_overage_monthly": "usd 0.0008 month metered kgents_teams_tokens_overage ",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("prices differ (-want +got):\n%s", diff)
	}
	if b.client.Live() {
		t.Error("a test key is taken for a live one")
	}
	if !newClient(t, "rk_live_1", "").Live() {
		t.Error("a live key is taken for a test one")
	}
	_, err := billing.Setup(t.Context(), newClient(t, "", ""), plan.Default(), true)
	wantCode(t, err, kgents.CodeMisconfig)
}

func TestUnitPrice(t *testing.T) {
	for _, test := range []struct {
		amount, per int64
		want        string
		exact       bool
	}{
		{8, 10_000, "0.0008", true}, {1, 1, "1", true}, {100, 1, "100", true}, {5, 1_000_000, "0.000005", true},
		{1, 1_000_000_000_000, "0.000000000001", true}, {1, 10_000_000_000_000, "0", false}, {1, 3, "0.333333333333", false},
		{123_456_789, 1000, "123456.789", true},
	} {
		if got, exact := billing.UnitPrice(kgents.Overage{Amount: test.amount, Per: test.per}); got != test.want || exact != test.exact {
			t.Errorf("%d for %d: %s, %v; want %s, %v", test.amount, test.per, got, exact, test.want, test.exact)
		}
	}
}
