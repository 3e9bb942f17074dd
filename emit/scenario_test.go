package emit_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/kgents/kgents/emit"
	"github.com/kgents/kgents/plan"
	"github.com/kgents/kgents/receive/stripe"
	"github.com/kgents/kgents/subscription"
)

// TestScenarios: whatever is lost in order and comes twice, a life ends as its name says,
// and its events find the customer.
func TestScenarios(t *testing.T) {
	want := map[string][2]string{
		"trial": {"pro", "trialing"}, "trial-to-paid": {"pro", "active"}, "trial-to-paused": {"free", "paused"}, "resumed": {"pro", "active"},
		"paid": {"pro", "active"}, "incomplete": {"free", "incomplete"},
		"dunning": {"pro", "past_due"}, "dunning-healed": {"pro", "active"}, "dunning-lost": {"free", "unpaid"},
		"upgrade": {"teams", "active"}, "downgrade": {"pro", "active"}, "quantity": {"pro", "active"},
		"cancel": {"pro", "active"}, "reactivate": {"pro", "active"}, "cancel-now": {"free", "canceled"}, "two": {"teams", "active"},
	}
	if len(want) != len(emit.Scenarios()) {
		t.Errorf("%d scenarios are expected, there are %d", len(want), len(emit.Scenarios()))
	}
	for _, name := range emit.Scenarios() {
		t.Run(name, func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			for i, life := range []emit.Life{
				{Mix: emit.Mix{Seed: seed}},
				{Mix: emit.Mix{Seed: seed, Shuffle: true, Duplicates: 0.5}, Customer: "acme"},
				{Mix: emit.Mix{Seed: seed + 1, Shuffle: true, Duplicates: 1, Customers: 5}},
			} {
				s, err := emit.Scenario(name, life)
				states := map[string]subscription.State{}
				for _, req := range all(t, s, err) {
					got, err := stripe.Translate(req.Body)
					if err != nil || got.Skipped != "" {
						t.Fatalf("%v, skipped for %q: %s", err, got.Skipped, req.Body)
					}
					c, ok, err := subscription.FromEvent(got.Event)
					if err != nil || !ok {
						t.Fatalf("%v, %v: %s", ok, err, got.Event.Raw)
					}
					if c.Created > time.Now().Unix() {
						t.Errorf("%s happens in the future", c.Type)
					}
					if ref := subscription.Ref(got.Event); ref != life.Customer {
						t.Errorf("%s names the customer %q, want %q", got.StripeType, ref, life.Customer)
					}
					states[got.Event.Subject] = states[got.Event.Subject].Apply(c)
				}
				if len(states) != max(1, life.Customers) {
					t.Errorf("%d customers, want %d", len(states), max(1, life.Customers))
				}
				for subject, state := range states {
					if !strings.HasPrefix(subject, "cus_") {
						t.Errorf("the subject is %q", subject)
					}
					st := state.Standing(time.Now(), plan.Default())
					if got := [2]string{st.Plan, st.Status}; got != want[name] {
						t.Errorf("life %d: %v, want %v", i, got, want[name])
						for _, step := range st.Why {
							t.Logf("    %s %s", step.At.Format(time.DateTime), step.Text)
						}
					}
					if name == "cancel" == st.CancelAt.IsZero() && name != "cancel-now" {
						t.Errorf("to be canceled %v", st.CancelAt)
					}
					if name == "quantity" && st.Quantity != 3 {
						t.Errorf("quantity %d", st.Quantity)
					}
				}
			}
			if emit.ScenarioAbout(name) == "" {
				t.Error("nothing says what it is about")
			}
		})
	}
	if _, err := emit.Scenario("fraud", emit.Life{}); err == nil || !strings.Contains(err.Error(), "choose from trial, trial-to-paid") {
		t.Errorf("an unknown scenario: %v", err)
	}
}

// TestStoriesAreInOrder: also those that the demo tells have customers on the plans that
// they pay for.
func TestStoriesAreInOrder(t *testing.T) {
	s, err := emit.Stripe(emit.Mix{Count: 400, Customers: 8, Over: 24 * time.Hour, Seed: 7})
	states := map[string]subscription.State{}
	for _, req := range all(t, s, err) {
		got, err := stripe.Translate(req.Body)
		if err != nil {
			t.Fatal(err)
		}
		if c, ok, err := subscription.FromEvent(got.Event); err != nil {
			t.Fatal(err)
		} else if ok {
			states[got.Event.Subject] = states[got.Event.Subject].Apply(c)
		}
	}
	paid := 0
	for _, state := range states {
		if st := state.Standing(time.Now(), plan.Default()); st.Plan != "free" {
			paid++
		}
	}
	if paid < len(states)/2 {
		t.Errorf("%d of %d customers have a plan", paid, len(states))
	}
}
