package plan

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/meter"
	"github.com/kgents/kgents/meter/local"
)

// base is a file without a mistake; its lines are counted from 1.
const base = `currency: usd
default: free
trial: 14 days
grace: 7 days
alerts: [50, 80, 100]
features:
  - id: tokens
    name: Tokens
    unit: token
    meter: agent_tokens
  - { id: calls, name: API calls, unit: call, meter: api_requests }
  - { id: towns, name: Towns, unit: town }
plans:
  - id: free
    name: Free
    rate: { per_minute: 60, burst: 10 }
    limits:
      tokens: 10_000
      calls: { limit: 100, per: day }
      towns: 1
  - id: pro
    name: Pro
    prices:
      - interval: month
        amount: 1900
        lookup_key: pro_monthly
    rate: unlimited
    limits:
      tokens:
        limit: 500_000
        over: bill
        overage: { amount: 8, per: 10_000 }
      towns: unlimited
    perks:
      - E-mail support
`

func TestBaseIsRead(t *testing.T) {
	got, err := Load([]byte(base))
	if err != nil {
		t.Fatal(err)
	}
	want := &kgents.Catalog{
		Currency: "usd", Default: "free", Trial: 14 * 24 * time.Hour, Grace: 7 * 24 * time.Hour, AlertAt: []int{50, 80, 100},
		Features: []kgents.Feature{
			{ID: "tokens", Name: "Tokens", Unit: "token", Meter: "agent_tokens"},
			{ID: "calls", Name: "API calls", Unit: "call", Meter: "api_requests"},
			{ID: "towns", Name: "Towns", Unit: "town"},
		},
		Plans: []kgents.Plan{
			{ID: "free", Name: "Free", Rate: kgents.Rate{PerMinute: kgents.AtMost(60), Burst: 10}, Quotas: map[string]kgents.Quota{
				"tokens": {Limit: kgents.AtMost(10_000), Per: kgents.PerPeriod, Over: kgents.OverRefuse},
				"calls":  {Limit: kgents.AtMost(100), Per: kgents.PerDay, Over: kgents.OverRefuse},
				"towns":  {Limit: kgents.AtMost(1), Per: kgents.PerNone, Over: kgents.OverRefuse},
			}},
			{ID: "pro", Name: "Pro", Prices: []kgents.Price{{Interval: "month", Amount: 1900, LookupKey: "pro_monthly"}},
				Rate: kgents.Rate{PerMinute: kgents.NoLimit(), Burst: 1}, Quotas: map[string]kgents.Quota{
					"tokens": {Limit: kgents.AtMost(500_000), Per: kgents.PerPeriod, Over: kgents.OverBill, Overage: kgents.Overage{Amount: 8, Per: 10_000}},
					"towns":  {Limit: kgents.NoLimit(), Over: kgents.OverRefuse},
				}, Perks: []string{"E-mail support"}},
		},
	}
	if diff := cmp.Diff(want, got, limits); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

var limits = cmp.Comparer(func(a, b kgents.Limit) bool { return a == b })

// Zero is a limit that allows nothing, and no way to say that there is none.
func TestZeroIsZero(t *testing.T) {
	c, err := Load([]byte(strings.Replace(base, "tokens: 10_000", "tokens: 0", 1)))
	if err != nil {
		t.Fatal(err)
	}
	p, _ := c.Plan("free")
	if q := p.Quotas["tokens"]; q.Limit != kgents.AtMost(0) || q.Limit.Unlimited() || q.Limit.Allows(0, 1) {
		t.Errorf("0 is read as %s", q.Limit)
	}
}

// Each mistake alone, with the one line that is to be mended and what would be right.
func TestMistakes(t *testing.T) {
	for _, test := range []struct {
		old, now string
		line     int
		says     string
	}{
		// The file.
		{"currency: usd\n", "", 1, "the file needs currency, for example currency: usd"},
		{"default: free\n", "", 1, "the file needs default"},
		{"trial: 14 days\n", "", 1, "the file needs trial, for example trial: 14 days"},
		{"grace: 7 days\n", "", 1, "the file needs grace"},
		{"grace:", "gracs:", 4, `the file has no "gracs" (did you mean grace?); it may have currency, default, trial, grace, alerts, features and plans`},
		{"plans:\n", "x: 1\nplans:\n", 13, `the file has no "x"; it may have`},
		{"currency: usd", "currency: USD", 1, `currency "USD" is no currency's code (ISO 4217): write it in small letters, usd`},
		{"currency: usd", "currency: dollars", 1, "use one that Stripe charges in, for example usd, eur or jpy"},
		{"currency: usd", "currency: 840", 1, `currency is a text, and YAML takes "840" for something else: put it in quotes, or write for example usd`},
		{"currency: usd", "currency:", 1, "currency is empty: write for example currency: usd"},
		{"currency: usd", "currency: [usd]", 1, "currency is a text, for example usd"},
		{"currency: usd", "currency: &c usd", 1, "anchors and aliases (& and *) are not read here"},
		{"currency: usd", "currency: !!str usd", 1, "tags (!) are not read here"},
		{"currency: usd", "currency: usd\ncurrency: eur", 2, `"currency" stands twice in the file, first in line 1: take one out`},
		{"default: free", "default: fre", 2, `there is no plan "fre" (did you mean free?); plans are free and pro`},
		{"default: free", "default: pro", 24, "plan pro has a price and is the default: who has paid for none would have it for nothing"},
		{"trial: 14 days", "trial: 14", 3, `trial "14" is no number of days: write for example 14 days, or none`},
		{"trial: 14 days", "trial: two weeks", 3, "write for example 14 days, or none"},
		{"trial: 14 days", "trial: -1 days", 3, "is no number of days"},
		{"trial: 14 days", "trial: 731 days", 3, "the most is 730 days"},
		{"grace: 7 days", "grace: 91 days", 4, "the most is 90 days"},
		{"grace: 7 days", "grace: 36h", 4, "is no number of days"},
		{"alerts: [50, 80, 100]", "alerts: [80, 50]", 5, "alerts rise: 50 stands behind 80"},
		{"alerts: [50, 80, 100]", "alerts: [50, 50]", 5, "alerts rise"},
		{"alerts: [50, 80, 100]", "alerts: [0]", 5, `an alert's percent "0" is too small: the least is 1`},
		{"alerts: [50, 80, 100]", "alerts: [1001]", 5, "the most is 1_000"},
		{"alerts: [50, 80, 100]", "alerts: [80%]", 5, "write one from 1 to 1_000"},
		{"alerts: [50, 80, 100]", "alerts: 80", 5, "alerts is a list, for example [50, 80, 100]"},
		{"alerts: [50, 80, 100]", "alerts: [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21]", 5, "alerts has 21 entries, and at most 20 are allowed"},

		// Features.
		{"    name: Tokens\n", "", 7, "a feature needs name, for example name: Tokens"},
		{"    unit: token\n", "", 7, "a feature needs unit"},
		{"    unit: token\n", "    unit: token\n    metre: x\n", 10, `a feature has no "metre" (did you mean meter?); it may have id, name, unit and meter`},
		{"meter: agent_tokens", "meter: Agent-Tokens", 10, "is no meter's slug"},
		{"meter: agent_tokens", "meter:", 10, "meter is empty: write for example meter: agent_tokens"},
		{"id: calls, name: API calls", "id: tokens, name: API calls", 11, "the feature tokens is there already, in line 7: give it another id"},
		{"- { id: towns, name: Towns, unit: town }", "- towns", 12, "a feature is a mapping, for example { id: tokens"},
		{"{ id: towns, name: Towns, unit: town }", `{ id: towns, name: "", unit: town }`, 12, "name is empty"},
		{"{ id: towns, name: Towns, unit: town }", `{ id: towns, name: "a\tb", unit: town }`, 12, "one line, without spaces around it"},
		{"{ id: towns, name: Towns, unit: town }", `{ id: towns, name: " a", unit: town }`, 12, "one line, without spaces around it"},
		{"{ id: towns, name: Towns, unit: town }", "{ id: towns, name: " + strings.Repeat("n", 81) + ", unit: town }", 12, "name has more than 80 letters"},

		// Plans.
		{"    name: Free\n", "", 14, "plan free needs name, for example name: Free"},
		{"    rate: { per_minute: 60, burst: 10 }\n", "", 14, "plan free needs rate, for example rate: { per_minute: 60, burst: 10 }, or unlimited"},
		{"id: pro\n", "id: free\n", 21, "the plan free is there already, in line 14: give it another id"},
		{"id: pro\n", "id: Pro\n", 21, "an id is small letters, digits and single _, begins with a letter and has at most 40"},
		{"id: pro\n", "id: p__o\n", 21, "an id is small letters"},
		{"id: pro\n", "id: " + strings.Repeat("p", 41) + "\n", 21, "has at most 40"},
		{"id: pro\n", "id: 1\n", 21, "id is a text"},
		{"    name: Pro\n", "    name: Pro\n    price: 1\n", 23, `plan pro has no "price" (did you mean prices?)`},
		{"    name: Pro\n", "    name: Pro\n    name: Pro\n", 23, `"name" stands twice in plan pro, first in line 22`},
		{"    name: Pro\n", "    name: Pro\n    <<: {}\n", 23, "merge keys (<<) are not read here"},
		{"- E-mail support", "- [E-mail]", 35, "a perk is a text"},
		{"- E-mail support", "- yes: no", 35, "a perk is a text"},

		// Prices.
		{"interval: month", "interval: monthly", 24, `interval "monthly" is none: use month or year`},
		{"amount: 1900", "amount: 19.00", 25, `amount "19.00" is no whole number: write it in digits, without a point or an exponent; amounts are in the minor unit, so 19.00 USD is 1_900`},
		{"amount: 1900", "amount: 0.5", 25, "0.5 USD is 50"},
		{"amount: 1900", "amount: $19", 25, `amount "$19" is no whole number: write one from 0 to 99_999_999`},
		{"amount: 1900", "amount: -1", 25, `amount "-1" is too small: the least is 0`},
		{"amount: 1900", "amount: 100_000_000", 25, "the most is 99_999_999"},
		{"amount: 1900", "amount: 01900", 25, "begins with a 0, which YAML reads as octal: write 1900"},
		{"amount: 1900", "amount: 0x10", 25, "is no whole number"},
		{"amount: 1900", "amount: 1e3", 25, "is no whole number"},
		{"amount: 1900", "amount: 1_9", 25, "write for example 10_000"},
		{"amount: 1900", "amount: 9999999999999999999999", 25, "has too many digits"},
		{"amount: 1900", "amount: {}", 25, "amount is no whole number"},
		{"        lookup_key: pro_monthly\n", "", 24, "a price of plan pro needs lookup_key, for example lookup_key: pro_monthly"},
		{"lookup_key: pro_monthly", "lookup_key: price_123", 26, "looks like an id of Stripe's"},
		{"lookup_key: pro_monthly", "lookup_key: pro monthly", 26, "letters, digits, and _ . -"},
		{"        lookup_key: pro_monthly\n", "        lookup_key: pro_monthly\n      - { interval: year, amount: 1, lookup_key: pro_monthly }\n", 27, "the lookup_key pro_monthly stands twice, first in line 24"},
		{"    name: Free\n", "    name: Free\n    prices: [{ interval: month, amount: 0, lookup_key: pro_monthly }]\n", 25, "the lookup_key pro_monthly stands twice, first in line 16"},
		{"  - id: pro\n", "  - { id: plus, name: Plus, rate: unlimited, limits: {}, prices: [{ interval: month, amount: 2000, lookup_key: x }] }\n  - id: pro\n", 22, "plan pro costs less than plus, which stands before it: plans go from the smallest to the largest"},

		// Rates.
		{"rate: { per_minute: 60, burst: 10 }", "rate: 60", 16, `rate "60" of plan free is none: write for example { per_minute: 60, burst: 10 }, or the word unlimited`},
		{"per_minute: 60", "per_minute: 0", 16, `per_minute "0" is too small: the least is 1; for no limit write rate: unlimited`},
		{"per_minute: 60", "per_minute: unlimited", 16, "write rate: unlimited, without a burst"},
		{"burst: 10", "burst: 0", 16, `burst "0" is too small: the least is 1`},
		{", burst: 10", "", 16, "the rate of plan free needs burst, for example burst: 10"},

		// Limits.
		{"tokens: 10_000", "tokens: -1", 18, `tokens "-1" is too small: the least is 0, or the word unlimited for none`},
		{"tokens: 10_000", "tokens: none", 18, `tokens "none" is no limit that is known here: for none write the word unlimited`},
		{"tokens: 10_000", "tokens: Unlimited", 18, "for none write the word unlimited"},
		{"tokens: 10_000", "tokens: .inf", 18, "for none write the word unlimited"},
		{"tokens: 10_000", "tokens: ~", 18, "for none write the word unlimited"},
		{"tokens: 10_000", "tokens:", 18, "for none write the word unlimited"},
		{"tokens: 10_000", "tokens: many", 18, `tokens "many" is no whole number: write one from 0 to 9_007_199_254_740_992, or the word unlimited`},
		{"tokens: 10_000", "tokens: 1.5", 18, "is no whole number"},
		{"tokens: 10_000", "tokens: 9_007_199_254_740_993", 18, "is too large: the most is 9_007_199_254_740_992"},
		{"tokens: 10_000", "tokens: [1]", 18, "the limit of tokens in plan free is a mapping, for example { limit: 10_000, per: period, over: refuse }, or the number alone"},
		{"tokens: 10_000", "token: 10_000", 18, `there is no feature "token" (did you mean tokens?); features are tokens, calls and towns`},
		{"tokens: 10_000", "tokens: 10_000\n      tokens: 1", 19, `"tokens" stands twice`},
		{"{ limit: 100, per: day }", "{ per: day }", 19, "the limit of calls in plan free needs limit, for example limit: 10_000, or unlimited"},
		{"per: day", "per: month", 19, `per "month" is none: use period, which is the subscription's month, or day`},
		{"per: day", "per: week", 19, `per "week" is none: use period or day`},
		{"per: day", "over: warn", 19, `over "warn" is none: use refuse or bill`},
		{"towns: 1\n", "towns: { limit: 1, per: period }\n", 20, "has no period: the feature has no meter, so the limit holds at any one time; take per out"},
		{"towns: unlimited", "towns: { limit: 1, over: bill, overage: { amount: 1, per: 1 } }", 33, "can't be billed: no meter counts the feature"},
		{"        over: bill\n", "", 31, "has a price for what is over it, but what is over it is refused: write over: bill, or take overage out"},
		{"over: bill", "over: refuse", 32, "write over: bill, or take overage out"},
		{"        overage: { amount: 8, per: 10_000 }\n", "", 30, "is billed and has no price: it needs overage, for example overage: { amount: 8, per: 10_000 }"},
		{"limit: 500_000", "limit: unlimited", 31, "is unlimited, so nothing is ever over it"},
		{"amount: 8", "amount: 0", 32, `amount "0" is too small: the least is 1`},
		{"amount: 8", "amount: 0.8", 32, "for less than one of the minor unit raise per: 0.8 per 1_000 is 8 per 10_000"},
		{"amount: 8", "amount: 1_000_001", 32, "the most is 1_000_000"},
		{"per: 10_000 }", "per: 0 }", 32, `per "0" is too small`},
		{"per: 10_000 }", "per: 1_000_000_001 }", 32, "the most is 1_000_000_000"},
		{"{ amount: 8, per: 10_000 }", "8", 32, "the overage of tokens in plan pro is a mapping, for example { amount: 8, per: 10_000 }"},
		{"{ amount: 8, per: 10_000 }", "{ amount: 8, per: 1, each: 1 }", 32, `the overage of tokens in plan pro has no "each"; it may have amount and per`},
		{"tokens: 10_000", "tokens: { limit: 1, over: bill, overage: { amount: 1, per: 1 } }", 18, "plan free bills tokens and has no price: nobody subscribes to it, so nobody would get the bill"},
	} {
		source := strings.Replace(base, test.old, test.now, 1)
		if source == base {
			t.Fatalf("%q is not in the file", test.old)
		}
		_, err := Load([]byte(source))
		e, ok := errors.AsType[*Error](err)
		if !ok {
			t.Errorf("%q instead of %q is no mistake (%v)", test.now, test.old, err)
			continue
		}
		if len(e.Mistakes) != 1 || e.Mistakes[0].Line != test.line || !strings.Contains(e.Mistakes[0].Message, test.says) {
			t.Errorf("%q instead of %q:\n%v\nwant line %d: …%s…", test.now, test.old, err, test.line, test.says)
		}
	}
}

// One unit that two features count must not be paid for twice.
func TestNoMeterIsBilledTwice(t *testing.T) {
	source := strings.NewReplacer(
		"meter: api_requests }", "meter: agent_tokens }",
		"      towns: unlimited\n", "      calls: { limit: 5, per: day, over: bill, overage: { amount: 1, per: 1 } }\n",
	).Replace(base)
	_, err := Load([]byte(source))
	if want := "line 33: plan pro would bill what the meter agent_tokens counts twice, as tokens and as calls: bill one of them"; err == nil || err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}
	source = strings.Replace(source, "per: day, over: bill, overage: { amount: 1, per: 1 }", "per: day", 1)
	if _, err := Load([]byte(source)); err != nil {
		t.Errorf("two limits of a meter, one of which bills: %v", err)
	}
}

// What can't be read at all says so in one line.
func TestNoFile(t *testing.T) {
	for _, test := range []struct{ name, source, want string }{
		{"empty", "", "line 1: the file is empty"},
		{"only a comment", "# plans\n", "line 1: the file is empty"},
		{"only dashes", "---\n", "line 1: the file is empty"},
		{"a text", "plans", "line 1: the file is a mapping"},
		{"a list", "- a\n- b\n", "line 1: the file is a mapping"},
		{"two documents", base + "---\n" + base, "line 37: a second document begins here"},
		{"an open quote", strings.Replace(base, "name: Pro", `name: "Pro`, 1), "this is no YAML"},
		{"a tab", strings.Replace(base, "    name: Pro", "\tname: Pro", 1), "line 22: this is no YAML"},
		{"not UTF-8", strings.Replace(base, "Pro", "Pr\xf6", 1), "line 22: the file is no UTF-8"},
		{"too large", strings.Repeat("#", MaxFile+1), "line 1: the file has more than 256 KiB"},
		{"binary", "\x00\x01\x02", "line 1"},
		{"no features", strings.Replace(base, "features:\n", "features: []\nx: \n", 1), "line 6: there is no feature"},
	} {
		_, err := Load([]byte(test.source))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v\nwant %s", test.name, err, test.want)
		}
	}
}

// All mistakes are told at once, in the order of their lines, and a list of them ends.
func TestAllMistakesAtOnce(t *testing.T) {
	source := strings.NewReplacer("usd", "USD", "14 days", "14", "tokens: 10_000", "tokens: -1", "interval: month", "interval: week", "- E-mail support", "- 7").Replace(base)
	_, err := Load([]byte(source))
	want := `5 mistakes:
  line 1: currency "USD" is no currency's code (ISO 4217): write it in small letters, usd
  line 3: trial "14" is no number of days: write for example 14 days, or none
  line 18: tokens "-1" is too small: the least is 0, or the word unlimited for none
  line 24: interval "week" is none: use month or year
  line 35: a perk is a text, and YAML takes "7" for something else: put it in quotes, or write for example E-mail support`
	if err == nil {
		t.Fatal("no mistake is seen")
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	many := base
	for i := range 100 {
		many += fmt.Sprintf("extra_%d: 1\n", i)
	}
	_, err = Load([]byte(many))
	if text := err.Error(); !strings.HasPrefix(text, "100 mistakes:") || !strings.HasSuffix(text, "\n  and 50 more") || strings.Count(text, "\n") != 51 {
		t.Errorf("a hundred mistakes are told as %s", text)
	}
}

// What stood in the file can't move a terminal's cursor, nor fill its screen.
func TestMistakesAreHarmless(t *testing.T) {
	_, err := Load([]byte(strings.Replace(base, "currency: usd", `currency: "a\e[2Jb`+strings.Repeat("x", 1000)+`"`, 1)))
	if err == nil || strings.ContainsAny(err.Error(), "\x1b") || len(err.Error()) > 300 {
		t.Errorf("%q", err)
	}
}

// The hint of an amount with a point knows how many decimals a currency has.
func TestAmountHintOfOtherCurrencies(t *testing.T) {
	for _, test := range []struct{ currency, amount, hint string }{
		{"jpy", "1900.0", ""}, {"kwd", "1.25", "1.25 KWD is 1_250"}, {"eur", "1.234", ""}, {"eur", "12.3", "12.3 EUR is 1_230"},
	} {
		_, err := Load([]byte(strings.NewReplacer("usd", test.currency, "amount: 1900", "amount: "+test.amount).Replace(base)))
		if err == nil || !strings.Contains(err.Error(), test.hint) || test.hint == "" && strings.Contains(err.Error(), "minor unit, so") {
			t.Errorf("%s %s: %v, want %q", test.currency, test.amount, err, test.hint)
		}
	}
}

// What an operator may write in more than one way.
func TestWaysToWriteIt(t *testing.T) {
	for _, test := range []struct{ old, now string }{
		{"trial: 14 days", "trial: 14d"},
		{"trial: 14 days", "trial: 14days"},
		{"trial: 14 days", `trial: "14 days"`},
		{"tokens: 10_000", "tokens: 10000"},
		{"tokens: 10_000", `tokens: "10000"`},
		{"tokens: 10_000", "tokens: { limit: 10_000, per: period, over: refuse }"},
		{"currency: usd", `currency: "usd"`},
		{"currency: usd", "---\ncurrency: usd # dollars"},
		{"\n", "\r\n"},
		{"towns: unlimited", "towns: { limit: unlimited }"},
		{"plans:\n", "\n\n\nplans:\n"},
	} {
		n := 1
		if test.old == "\n" {
			n = -1
		}
		want, _ := Load([]byte(base))
		got, err := Load([]byte(strings.Replace(base, test.old, test.now, n)))
		if err != nil {
			t.Errorf("%q instead of %q: %v", test.now, test.old, err)
		} else if diff := cmp.Diff(want, got, limits); diff != "" {
			t.Errorf("%q instead of %q, -want +got:\n%s", test.now, test.old, diff)
		}
	}
	c, err := Load([]byte(strings.NewReplacer("14 days", "none", "7 days", "0 days", "alerts: [50, 80, 100]\n", "").Replace(base)))
	if err != nil || c.Trial != 0 || c.Grace != 0 || len(c.AlertAt) != 0 {
		t.Errorf("no trial, no grace, no alerts: %+v (%v)", c, err)
	}
}

// The plans that come with the program are those of the product's facts, and the meters
// that come with it count them.
func TestDefault(t *testing.T) {
	c := Default()
	if err := CheckMeters(c, local.DefaultMeters()); err != nil {
		t.Error(err)
	}
	if _, err := Load(embedded, local.DefaultMeters()...); err != nil {
		t.Error(err)
	}
	type figures struct {
		price, calls, members, tokens, rate, towns, citizens string
		burst                                                int64
		over                                                 kgents.Over
		overage                                              kgents.Overage
	}
	want := map[string]figures{
		"free":  {"", "100", "1", "10000", "60", "1", "3", 10, kgents.OverRefuse, kgents.Overage{}},
		"pro":   {"1900", "10000", "1", "500000", "1000", "5", "10", 200, kgents.OverBill, kgents.Overage{Amount: 8, Per: 10_000}},
		"teams": {"9900", "100000", "10", "2000000", "10000", "unlimited", "25", 1_000, kgents.OverBill, kgents.Overage{Amount: 8, Per: 10_000}},
	}
	for _, p := range c.Plans {
		limit := func(feature string) string { return p.Quotas[feature].Limit.String() }
		got := figures{"", limit("calls"), limit("members"), limit("tokens"), p.Rate.PerMinute.String(), limit("towns"), limit("citizens"), p.Rate.Burst, p.Quotas["tokens"].Over, p.Quotas["tokens"].Overage}
		if len(p.Prices) > 0 {
			got.price = fmt.Sprint(p.Prices[0].Amount)
		}
		if got != want[p.ID] {
			t.Errorf("plan %s has %+v, want %+v", p.ID, got, want[p.ID])
		}
		if _, has := p.Quotas["interactions"]; !has || p.Quotas["calls"].Per != kgents.PerDay {
			t.Errorf("plan %s lacks interactions, or has calls a month", p.ID)
		}
	}
	if c.Currency != "usd" || c.Default != "free" || c.Trial != 14*24*time.Hour || c.Grace != 7*24*time.Hour || !cmp.Equal(c.AlertAt, []int{50, 80, 100}) {
		t.Errorf("%+v", c)
	}
	for key, plan := range map[string]string{"pro_monthly": "pro", "pro_yearly": "pro", "teams_monthly": "teams"} {
		if p, ok := c.PlanOfPrice(key); !ok || p.ID != plan {
			t.Errorf("%s is a price of plan %q", key, p.ID)
		}
	}
	Default().Plans[0].Quotas["tokens"] = kgents.Quota{}
	if Default().Plans[0].Quotas["tokens"].Limit.N() == 0 {
		t.Error("who changes what Default returned changes it for everybody")
	}
}

func TestMetersMustCountWhatIsLimited(t *testing.T) {
	meters := []meter.Meter{{Slug: "agent_tokens", Aggregation: meter.Sum}, {Slug: "api_requests", Aggregation: meter.UniqueCount}, {Slug: "b", Aggregation: meter.Count}}
	c, err := Load([]byte(base))
	if err != nil {
		t.Fatal(err)
	}
	const unusable = "feature calls: the meter api_requests has the aggregation UNIQUE_COUNT, and only SUM and COUNT add up over a period"
	for _, test := range []struct {
		name   string
		meters []meter.Meter
		want   []string
	}{
		{"one is of no use", meters, []string{unusable}},
		{"one is missing", meters[:1], []string{"feature calls: there is no meter api_requests: use agent_tokens, or leave meter out for what exists rather than is used"}},
		{"all are missing", []meter.Meter{{Slug: "x", Aggregation: meter.Max}}, []string{"feature tokens: there is no meter agent_tokens", "feature calls: there is no meter api_requests"}},
	} {
		err := CheckMeters(c, test.meters)
		_, inFile := Load([]byte(base), test.meters...)
		for _, want := range test.want {
			line := "line 11: "
			if strings.Contains(want, "feature tokens") {
				line = "line 10: "
			}
			if err == nil || !strings.Contains(err.Error(), want) || inFile == nil || !strings.Contains(inFile.Error(), line+want) {
				t.Errorf("%s: %v\nin the file: %v\nwant %s", test.name, err, inFile, want)
			}
		}
	}
}

// Every name that a plan's file of ours or an example's has is a currency of Stripe's,
// and none stands twice.
func TestCurrencies(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range currencies {
		if len(c) != 3 || strings.ToLower(c) != c || seen[c] {
			t.Errorf("%q", c)
		}
		seen[c] = true
	}
	for _, c := range []string{"usd", "eur", "gbp", "jpy", "chf", "inr", "brl", "kwd", "krw"} {
		if !seen[c] {
			t.Errorf("%s is missing", c)
		}
	}
}

// Whatever bytes a file has, it is read or refused with lines that it has; and what is
// read holds what the package promises.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(base))
	f.Add(embedded)
	for _, s := range []string{"", "a: &a [*a, *a]", "? : :", "plans: [[[[{{{{", "- - - -", "currency: |\n  usd\n", "<<: *x", "0: 0", "plans:\n\t- x", "features: [{id: a, id: b}]", "%YAML 1.2\n---\n...", "\"\\xff\""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, source []byte) {
		c, err := Load(source)
		if err != nil {
			e, ok := errors.AsType[*Error](err)
			if !ok || len(e.Mistakes) == 0 {
				t.Fatalf("the error is %v", err)
			}
			for i, m := range e.Mistakes {
				if m.Line < 1 || m.Line > strings.Count(string(source), "\n")+strings.Count(string(source), "\r")+1 || m.Message == "" || i > 0 && m.Line < e.Mistakes[i-1].Line {
					t.Fatalf("the mistake %+v of %q", m, source)
				}
			}
			return
		}
		promised(t, c)
	})
}

// promised holds a catalogue against what the package promises of it.
func promised(t *testing.T, c *kgents.Catalog) {
	t.Helper()
	d, ok := c.Plan(c.Default)
	if !ok || yearly(d) != 0 && len(d.Prices) == 1 {
		t.Fatalf("the default plan is %+v", d)
	}
	before, keys := int64(0), map[string]bool{}
	for _, p := range c.Plans {
		if len(p.Prices) > 0 && yearly(p) < before {
			t.Fatal("a later plan is cheaper")
		}
		before = yearly(p)
		for _, price := range p.Prices {
			if price.Amount < 0 || price.Amount > MaxAmount || keys[price.LookupKey] || price.LookupKey == "" {
				t.Fatalf("the price %+v", price)
			}
			keys[price.LookupKey] = true
		}
		if p.Rate.Burst < 1 || p.Rate.PerMinute == kgents.AtMost(0) {
			t.Fatalf("the rate %+v", p.Rate)
		}
		for id, q := range p.Quotas {
			feature, ok := c.Feature(id)
			switch {
			case !ok,
				feature.Metered() != (q.Per != kgents.PerNone),
				(q.Over == kgents.OverBill) != (q.Overage.Amount > 0 && q.Overage.Per > 0),
				q.Over == kgents.OverBill && (!feature.Metered() || q.Limit.Unlimited() || len(p.Prices) == 0),
				q.Overage.Cost(MaxLimit) < 0,
				!q.Limit.Unlimited() && q.Limit.N() > MaxLimit:
				t.Fatalf("the limit of %s: %+v", id, q)
			}
		}
	}
}
