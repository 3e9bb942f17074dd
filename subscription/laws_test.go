package subscription_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	. "github.com/kgents/kgents/subscription"
)

// anything is a change out of few ids, times and words, so that they meet: the same id
// with two contents, ten events a second, payments before their invoice's failure.
func anything(r *rand.Rand, subscriptions, events int) Change {
	pick := func(words ...string) string { return words[r.IntN(len(words))] }
	c := Change{
		ID: fmt.Sprintf("evt_%d", r.IntN(events)), Kind: Kind(1 + r.IntN(6)), Type: "t", Created: unix(0) + int64(r.IntN(1+events/10)),
		Subscription: fmt.Sprintf("sub_%d", r.IntN(subscriptions)),
	}
	switch c.Kind {
	case Paid, Failed:
		c.Invoice, c.Amount, c.Currency = fmt.Sprintf("in_%d", r.IntN(1+events/4)), int64(r.IntN(3)), "usd"
	case Checkout:
		c.Plan, c.Status = pick("", "pro", "teams"), pick("", "paid", "unpaid")
	default:
		c.Status = pick(append(Statuses(), "hibernating")...)
		c.Price = pick("price_pro", "price_teams", "price_x", "")
		c.Quantity = int64(r.IntN(3))
		c.PeriodStart = unix(float64(r.IntN(3) * 31))
		c.PeriodEnd = c.PeriodStart + int64(r.IntN(40)*86400)
		c.CancelAtPeriodEnd, c.Paused = r.IntN(5) == 0, r.IntN(5) == 0
		c.TrialEnd, c.CancelAt = unix(0)*int64(r.IntN(2)), unix(20)*int64(r.IntN(2))
	}
	return c
}

// TestLaws: Merge is commutative, associative and idempotent, and what the bounds leave
// of a set is chosen by the set alone, however it was put together. The larger sizes are
// far beyond every bound.
func TestLaws(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 2))
	for _, size := range []struct{ rounds, changes, subscriptions int }{{100, 8, 3}, {12, 60, 5}, {2, 250, 80}, {2, 250, 2}} {
		t.Run(fmt.Sprintf("%d changes of %d subscriptions", size.changes, size.subscriptions), func(t *testing.T) {
			for range size.rounds {
				var all []Change
				for range size.changes {
					all = append(all, anything(r, size.subscriptions, size.changes))
				}
				third := len(all) / 3
				a, b, c := apply(all[:third]), apply(all[third:2*third]), apply(all[2*third:])
				want := apply(all)
				same := func(law string, got State) {
					t.Helper()
					if diff := cmp.Diff(want, got); diff != "" {
						t.Fatalf("%s (-want +got):\n%s", law, diff)
					}
				}
				same("associative", a.Merge(b).Merge(c))
				same("associative, from the right", a.Merge(b.Merge(c)))
				same("commutative", c.Merge(a).Merge(b))
				same("idempotent", want.Merge(want))
				same("idempotent in its parts", want.Merge(b).Merge(a))
				same("neutral", State{}.Merge(want).Merge(State{}))
				slices.Reverse(all)
				same("backwards", apply(all))
				r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
				same("shuffled", apply(all))
				same("shuffled and doubled", apply(slices.Concat(all, all[third:])))
				for _, c := range all {
					if kept := want.Apply(c); !cmp.Equal(kept, want) || !want.Knows(c) {
						t.Fatal("a change that was applied changes the state again")
					}
				}
				if most := 3*MaxSubscriptions + MaxCheckouts + MaxPayments + MaxHistory; len(want.Changes) > most {
					t.Fatalf("%d changes are kept, want %d at most", len(want.Changes), most)
				}
				text, err := json.Marshal(want)
				if err != nil {
					t.Fatal(err)
				}
				var read State
				if err := json.Unmarshal(text, &read); err != nil {
					t.Fatal(err)
				}
				same("written and read", read)
				for _, d := range []float64{-50, 0.0001, 25, 3000} {
					st := want.Standing(day(d), catalog)
					if st.PeriodStart.After(day(d)) || !st.PeriodEnd.After(day(d)) || st.Quantity < 1 || len(st.Why) == 0 {
						t.Fatalf("on day %v: %+v", d, st)
					}
					brief := want.Brief(day(d), catalog)
					if st.Why = nil; !cmp.Equal(st, brief) {
						t.Fatalf("on day %v in brief: %s", d, cmp.Diff(st, brief))
					}
				}
			}
		})
	}
}

// TestShared: a state that somebody else holds doesn't change under his hands.
func TestShared(t *testing.T) {
	s := apply([]Change{event(Created, 0, pro), event(Updated, 5, pro)})
	before := slices.Clone(s.Changes)
	x, y := s.Apply(event(Updated, 2, teams)), s.Apply(event(Deleted, 9, pro))
	_ = s.AsOf(day(3)).Apply(event(Deleted, 1, teams))
	if !slices.Equal(s.Changes, before) || len(x.Changes) != 3 || len(y.Changes) != 3 {
		t.Errorf("the state has become %v", s.Changes)
	}
}

// TestBounds: what has long passed makes room for what counts, and a customer of many
// years is in order.
func TestBounds(t *testing.T) {
	t.Run("a hundred subscriptions before the one that counts", func(t *testing.T) {
		var all []Change
		for i := range 100 {
			name := fmt.Sprintf("sub_%d", 100+i)
			all = append(all, event(Created, float64(i), teams, sub(name)), event(Deleted, float64(i)+0.5, teams, sub(name), status(StatusCanceled)))
		}
		all = append(all, event(Created, 100, pro, period(100, 131)))
		if st := apply(all).Standing(day(101), catalog); st.Plan != "pro" || st.Subscription != "sub_1" {
			t.Errorf("got %s of %s", st.Plan, st.Subscription)
		}
	})
	t.Run("a failure of years ago, paid at once", func(t *testing.T) {
		all := []Change{event(Created, 0, pro), event(Failed, 1, invoice("in_first", 1900)), event(Paid, 2, invoice("in_first", 1900))}
		for i := range 200 {
			all = append(all, event(Paid, 31*float64(i+1), invoice(fmt.Sprint("in_", i), 1900)))
		}
		slices.Reverse(all)
		if st := apply(all).Standing(day(31*201), catalog); st.Plan != "pro" || st.Status != StatusActive {
			t.Errorf("got %s, %s", st.Plan, st.Status)
		}
	})
	t.Run("a subscription that hasn't been heard of for long", func(t *testing.T) {
		all := []Change{event(Created, 0, teams, func(c *Change) { c.PeriodEnd = unix(365) })}
		for i := range 300 { // of another one
			all = append(all, event(Updated, float64(i+1), pro, sub("sub_2"), quantity(int64(i))), event(Paid, float64(i+1), sub("sub_2"), invoice(fmt.Sprint("in_", i), 1)))
		}
		if st := apply(all).Standing(day(301), catalog); st.Plan != "teams" {
			t.Errorf("got %s of %s", st.Plan, st.Subscription)
		}
	})
	t.Run("size", func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		var all []Change
		for range 5000 {
			all = append(all, anything(r, 500, 5000))
		}
		text, err := json.Marshal(apply(all))
		if err != nil || len(text) > 128<<10 {
			t.Errorf("%d bytes (%v), want 128 kB at most", len(text), err)
		}
	})
}
