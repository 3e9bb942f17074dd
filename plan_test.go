package kgents_test

import (
	"encoding/json"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
	"testing/quick"

	"github.com/kgents/kgents"
)

func TestLimitIsAWordOrANumber(t *testing.T) {
	for _, test := range []struct {
		json string
		want kgents.Limit
		ok   bool
	}{
		{`0`, kgents.AtMost(0), true},
		{`1`, kgents.AtMost(1), true},
		{`9223372036854775807`, kgents.AtMost(math.MaxInt64), true},
		{`"unlimited"`, kgents.NoLimit(), true},
		{`-1`, kgents.Limit{}, false},
		{`"10"`, kgents.Limit{}, false},
		{`"Unlimited"`, kgents.Limit{}, false},
		{`""`, kgents.Limit{}, false},
		{`1.0`, kgents.Limit{}, false},
		{`1e3`, kgents.Limit{}, false},
		{`9223372036854775808`, kgents.Limit{}, false},
		{`{}`, kgents.Limit{}, false},
		{`[1]`, kgents.Limit{}, false},
		{`true`, kgents.Limit{}, false},
	} {
		var got kgents.Limit
		err := json.Unmarshal([]byte(test.json), &got)
		if (err == nil) != test.ok || got != test.want {
			t.Errorf("%s is read as %v (%v), want %v", test.json, got, err, test.want)
		}
		if !test.ok {
			continue
		}
		if b, err := json.Marshal(got); err != nil || string(b) != test.json {
			t.Errorf("%s is written as %s (%v)", test.json, b, err)
		}
	}
}

// Zero is zero, and a negative number is no way to say 'no limit'.
func TestZeroAllowsNothing(t *testing.T) {
	for name, l := range map[string]kgents.Limit{"the zero value": {}, "AtMost(0)": kgents.AtMost(0), "AtMost(-1)": kgents.AtMost(-1), "AtMost(least)": kgents.AtMost(math.MinInt64)} {
		if l.Unlimited() || l.Allows(0, 1) || !l.Allows(0, 0) || l.N() != 0 || l.Left(0).N() != 0 || l.String() != "0" {
			t.Errorf("%s allows something: %v", name, l)
		}
	}
	l := kgents.NoLimit()
	if !l.Unlimited() || !l.Allows(math.MaxInt64, math.MaxInt64) || l.N() != math.MaxInt64 || !l.Left(math.MaxInt64).Unlimited() || l.String() != "unlimited" {
		t.Errorf("no limit is one: %v", l)
	}
}

// Allows and Left say what arithmetic without a bound says, at every size.
func TestLimitAgreesWithArithmetic(t *testing.T) {
	near := []int64{0, 1, 2, 9, math.MaxInt64 - 1, math.MaxInt64}
	check := func(n, used, more int64) bool {
		l := kgents.AtMost(n)
		sum := new(big.Int).Add(big.NewInt(used), big.NewInt(more))
		if l.Allows(used, more) != (sum.Cmp(big.NewInt(n)) <= 0) {
			return false
		}
		left := l.Left(used)
		// What is left is allowed, and one more isn't.
		return !left.Unlimited() && left.N() == max(0, n-used) &&
			(used > n || l.Allows(used, left.N())) && (left.N() == math.MaxInt64 || !l.Allows(used, left.N()+1))
	}
	for _, n := range near {
		for _, used := range near {
			for _, more := range near {
				if !check(n, used, more) {
					t.Errorf("limit %d, %d used, %d more", n, used, more)
				}
			}
		}
	}
	err := quick.Check(func(n, used, more uint64) bool {
		shift := n % 64 // small numbers too
		return check(int64(n>>1>>shift), int64(used>>1>>shift), int64(more>>1>>shift))
	}, &quick.Config{MaxCount: 10_000})
	if err != nil {
		t.Error(err)
	}
}

// costOf is Overage.Cost by rational arithmetic: the exact price plus a half, cut.
func costOf(o kgents.Overage, n int64) *big.Int {
	r := new(big.Rat).Mul(big.NewRat(o.Amount, o.Per), new(big.Rat).SetInt64(n))
	r.Add(r, big.NewRat(1, 2))
	return new(big.Int).Quo(r.Num(), r.Denom())
}

func TestOverageCost(t *testing.T) {
	thousand := kgents.Overage{Amount: 8, Per: 10_000} // $0.008 per 1,000
	for _, test := range []struct {
		o    kgents.Overage
		n    int64
		want int64
	}{
		{thousand, 0, 0},
		{thousand, -5, 0},
		{thousand, 1, 0},
		{thousand, 624, 0}, // 0.4992
		{thousand, 625, 1}, // 0.5: half up
		{thousand, 1_875, 2},
		{thousand, 10_000, 8},
		{thousand, 1_000_000, 800},
		{kgents.Overage{Amount: 1, Per: 3}, 1, 0},
		{kgents.Overage{Amount: 1, Per: 3}, 2, 1},
		{kgents.Overage{Amount: 5, Per: 1}, 7, 35},
		{kgents.Overage{}, 7, 0},
		{kgents.Overage{Amount: 5}, 7, 0},
		{kgents.Overage{Amount: -5, Per: 1}, 7, 0},
		{kgents.Overage{Amount: 1, Per: 1}, math.MaxInt64, math.MaxInt64},
		{kgents.Overage{Amount: 1_000_000, Per: 1}, math.MaxInt64, math.MaxInt64},
	} {
		if got := test.o.Cost(test.n); got != test.want {
			t.Errorf("%d at %+v cost %d, want %d", test.n, test.o, got, test.want)
		}
	}
}

// Within the bounds of package plan the price is exact, never falls as usage grows, and
// past an int64 it stays the largest one.
func TestOverageCostIsExact(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	any := func(most int64) int64 { return 1 + r.Int64N(most)>>r.IntN(40) }
	for range 200_000 {
		o := kgents.Overage{Amount: min(1_000_000, any(1_000_000)), Per: min(1_000_000_000, any(1_000_000_000))}
		n := any(math.MaxInt64 - 1)
		want := costOf(o, n)
		got := o.Cost(n)
		switch {
		case want.Cmp(big.NewInt(math.MaxInt64-o.Amount)) <= 0 && want.Cmp(big.NewInt(got)) != 0,
			want.Cmp(big.NewInt(math.MaxInt64)) > 0 && got != math.MaxInt64:
			t.Fatalf("%d at %+v cost %d, exactly %s", n, o, got, want)
		case got < o.Cost(n-1):
			t.Fatalf("%d at %+v cost %d, less than one unit fewer", n, o, got)
		}
	}
}

func TestCatalogFinds(t *testing.T) {
	c := &kgents.Catalog{
		Features: []kgents.Feature{{ID: "tokens", Meter: "agent_tokens"}, {ID: "towns"}},
		Plans: []kgents.Plan{{ID: "free"}, {ID: "pro", Prices: []kgents.Price{
			{LookupKey: "pro_monthly", Stripe: "price_1"}, {LookupKey: "pro_yearly"},
		}}},
	}
	for price, want := range map[string]string{"price_1": "pro", "pro_monthly": "pro", "pro_yearly": "pro", "price_2": "", "": "", "pro": ""} {
		if p, ok := c.PlanOfPrice(price); p.ID != want || ok != (want != "") {
			t.Errorf("the price %q is of plan %q, want %q", price, p.ID, want)
		}
	}
	if p, ok := c.Plan("pro"); !ok || p.ID != "pro" {
		t.Error("the plan pro is not found")
	}
	if _, ok := c.Plan("PRO"); ok {
		t.Error("the plan PRO is found")
	}
	if f, ok := c.Feature("tokens"); !ok || !f.Metered() {
		t.Error("the feature tokens is not found, or not metered")
	}
	if f, ok := c.Feature("towns"); !ok || f.Metered() {
		t.Error("the feature towns is not found, or metered")
	}
	if _, ok := c.Feature(""); ok {
		t.Error("the feature without an id is found")
	}
}
