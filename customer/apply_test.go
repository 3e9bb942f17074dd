package customer_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/customer"
	"github.com/kgents/kgents/subscription"
)

// history is what Stripe tells of a subscription, in order.
func history(n int) (all []subscription.Change) {
	start := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC).Unix()
	for i := range n {
		c := subscription.Change{
			ID: fmt.Sprintf("evt_%03d", i), Kind: subscription.Updated, Type: "customer.subscription.updated", Created: start + int64(i),
			Subscription: "sub_1", Status: subscription.StatusActive, Price: "price_pro", Quantity: 1,
			PeriodStart: start, PeriodEnd: start + 30*24*3600,
		}
		if i == 0 {
			c.Kind, c.Type = subscription.Created, "customer.subscription.created"
		}
		all = append(all, c)
	}
	return all
}

func fold(changes []subscription.Change) (s subscription.State) {
	for _, c := range changes {
		s = s.Apply(c)
	}
	return s
}

// stripes lists the customers that have a Stripe customer, by it.
func stripes(s *customer.Store) map[string][]string {
	out := map[string][]string{}
	for _, c := range s.List("", 1000) {
		if c.Stripe != "" {
			out[c.Stripe] = append(out[c.Stripe], c.ID)
		}
	}
	return out
}

func apply(t *testing.T, s *customer.Store, stripe, ref string, changes ...subscription.Change) {
	t.Helper()
	if err := s.Apply(t.Context(), stripe, ref, changes); err != nil {
		t.Fatal(err)
	}
}

func TestApply(t *testing.T) {
	all := history(3)
	plan := func(s *customer.Store, stripe string) string {
		c, ok := s.ByStripe(stripe)
		if !ok {
			return "nobody"
		}
		return c.ID + " " + c.Standing(time.Unix(all[0].Created+60, 0), catalog()).Plan
	}
	for _, test := range []struct {
		name string
		do   func(*testing.T, *customer.Store)
		want string // who cus_1 is, and the plan
	}{
		{"nobody claims it", func(t *testing.T, s *customer.Store) {
			apply(t, s, "cus_1", "", all[0])
			apply(t, s, "cus_1", "", all...)
		}, "cus_1 pro"},
		{"a reference to who is there", func(t *testing.T, s *customer.Store) {
			apply(t, s, "cus_1", "acme", all...)
		}, "acme pro"},
		{"a reference that comes later", func(t *testing.T, s *customer.Store) {
			apply(t, s, "cus_1", "", all[0])
			apply(t, s, "cus_1", "acme", all[1])
			apply(t, s, "cus_1", "", all[2])
		}, "acme pro"},
		{"a reference to nobody", func(t *testing.T, s *customer.Store) { apply(t, s, "cus_1", "nobody", all...) }, "cus_1 pro"},
		{"a hostile reference", func(t *testing.T, s *customer.Store) { apply(t, s, "cus_1", "*.>\n", all...) }, "cus_1 pro"},
		{"a reference to who has another", func(t *testing.T, s *customer.Store) {
			apply(t, s, "cus_2", "acme", all[0])
			apply(t, s, "cus_1", "acme", all...)
		}, "cus_1 pro"},
		{"a reference to a found customer", func(t *testing.T, s *customer.Store) {
			apply(t, s, "cus_2", "", all[0])
			apply(t, s, "cus_1", "cus_2", all...)
		}, "cus_1 pro"},
		{"another reference later", func(t *testing.T, s *customer.Store) {
			must[customer.Customer](t)(s.Create(t.Context(), customer.Customer{ID: "other"}))
			apply(t, s, "cus_1", "acme", all[0])
			apply(t, s, "cus_1", "other", all[1:]...)
		}, "acme pro"},
		{"an operator who claims what was found", func(t *testing.T, s *customer.Store) {
			apply(t, s, "cus_1", "", all...)
			must[customer.Customer](t)(s.Create(t.Context(), customer.Customer{ID: "new", Stripe: "cus_1"}))
		}, "new pro"},
		{"an operator who links what was found", func(t *testing.T, s *customer.Store) {
			apply(t, s, "cus_1", "", all...)
			must[customer.Customer](t)(s.Update(t.Context(), "acme", 0, func(c *customer.Customer) error { c.Stripe = "cus_1"; return nil }))
		}, "acme pro"},
		{"a found customer that has keys stays", func(t *testing.T, s *customer.Store) {
			apply(t, s, "cus_1", "", all...)
			if _, _, err := s.CreateKey(t.Context(), customer.Key{Customer: "cus_1", Scopes: []kgents.Scope{kgents.ScopeRead}}); err != nil {
				t.Fatal(err)
			}
			apply(t, s, "cus_1", "acme", all...)
		}, "cus_1 pro"},
		{"a found customer that was named stays", func(t *testing.T, s *customer.Store) {
			apply(t, s, "cus_1", "", all...)
			must[customer.Customer](t)(s.Update(t.Context(), "cus_1", 0, func(c *customer.Customer) error { c.Name = "One"; return nil }))
			apply(t, s, "cus_1", "acme", all...)
		}, "cus_1 pro"},
		{"a customer that was deleted", func(t *testing.T, s *customer.Store) {
			apply(t, s, "cus_1", "acme", all[0])
			if err := s.Delete(t.Context(), "acme", 0); err != nil {
				t.Fatal(err)
			}
			apply(t, s, "cus_1", "acme", all[1:]...)
		}, "cus_1 pro"},
		{"a customer with the id of a deleted one", func(t *testing.T, s *customer.Store) {
			apply(t, s, "cus_1", "acme", all[0])
			if err := s.Delete(t.Context(), "acme", 0); err != nil {
				t.Fatal(err)
			}
			must[customer.Customer](t)(s.Create(t.Context(), customer.Customer{ID: "acme"}))
			apply(t, s, "cus_1", "acme", all[1])
			apply(t, s, "cus_1", "acme", all[2])
		}, "cus_1 pro"},
		{"a customer with that id, as an operator says", func(t *testing.T, s *customer.Store) {
			apply(t, s, "cus_1", "acme", all[0])
			if err := s.Delete(t.Context(), "acme", 0); err != nil {
				t.Fatal(err)
			}
			apply(t, s, "cus_1", "acme", all[1])
			must[customer.Customer](t)(s.Create(t.Context(), customer.Customer{ID: "acme", Stripe: "cus_1"}))
			apply(t, s, "cus_1", "acme", all[2])
		}, "acme pro"},
		{"another who is named after one was deleted", func(t *testing.T, s *customer.Store) {
			must[customer.Customer](t)(s.Create(t.Context(), customer.Customer{ID: "other"}))
			apply(t, s, "cus_1", "acme", all[0])
			if err := s.Delete(t.Context(), "acme", 0); err != nil {
				t.Fatal(err)
			}
			apply(t, s, "cus_1", "other", all[1:]...)
		}, "other pro"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBed(t)
			s := b.store()
			must[customer.Customer](t)(s.Create(t.Context(), customer.Customer{ID: "acme"}))
			test.do(t, s)
			if got := plan(s, "cus_1"); got != test.want {
				t.Errorf("cus_1 is %s, want %s", got, test.want)
			}
			again := b.store() // what is in the bucket is the same
			if got := plan(again, "cus_1"); got != test.want {
				t.Errorf("read again cus_1 is %s, want %s", got, test.want)
			}
			for stripe, ids := range stripes(again) {
				if len(ids) > 1 {
					t.Errorf("%s is %v", stripe, ids)
				}
			}
			c, _ := again.ByStripe("cus_1")
			for _, change := range all[len(all)-1:] {
				if !slices.Contains(c.Subscriptions.Changes, change) {
					t.Errorf("the last change is lost: %+v", c.Subscriptions)
				}
			}
		})
	}
	b := newBed(t)
	for _, stripe := range []string{"", "cus_", "cus_1.x", "cus_*", "acme", "cus_\n"} {
		wantCode(t, stripe, b.store().Apply(t.Context(), stripe, "", all), kgents.CodeInvalid)
	}
}

// TestApplyAtOnce: sinks that get the same events in any order, some of them with the
// reference, while an operator claims the same Stripe customer, lose none and make one
// customer of it.
func TestApplyAtOnce(t *testing.T) {
	const sinks, customers = 3, 4
	b := newBed(t)
	stores := make([]*customer.Store, sinks)
	for i := range stores {
		stores[i] = b.store()
	}
	all := history(8)
	for n := range customers {
		must[customer.Customer](t)(stores[0].Create(t.Context(), customer.Customer{ID: fmt.Sprint("acme-", n)}))
	}
	var wg sync.WaitGroup
	for i, s := range stores {
		for n := range customers {
			wg.Go(func() {
				random := rand.New(rand.NewPCG(uint64(i), uint64(n)))
				for _, at := range random.Perm(len(all)) {
					ref := ""
					if at%3 == 0 {
						ref = fmt.Sprint("acme-", n)
					}
					for {
						err := s.Apply(t.Context(), fmt.Sprint("cus_", n), ref, []subscription.Change{all[at]})
						if err == nil {
							break
						}
						if code := kgents.ErrorCode(err); code != kgents.CodeConflict && code != kgents.CodeUnavailable {
							t.Errorf("sink %d: %v", i, err)
							return
						}
					}
				}
			})
		}
	}
	wg.Wait()
	s := b.store()
	want := map[string][]string{}
	for n := range customers {
		id, stripe := fmt.Sprint("acme-", n), fmt.Sprint("cus_", n)
		want[stripe] = []string{id}
		c, _ := s.Get(id)
		if diff := cmp.Diff(fold(all), c.Subscriptions); diff != "" {
			t.Errorf("%s (-want +got):\n%s", id, diff)
		}
	}
	if diff := cmp.Diff(want, stripes(s)); diff != "" {
		t.Errorf("who has which (-want +got):\n%s", diff)
	}
}

// active is a subscription whose period is now.
func active() []subscription.Change {
	now := time.Now().Unix()
	return []subscription.Change{{
		ID: "evt_000", Kind: subscription.Created, Type: "customer.subscription.created", Created: now - 60, Subscription: "sub_1",
		Status: subscription.StatusActive, Price: "price_pro", Quantity: 1, PeriodStart: now - 60, PeriodEnd: now + 30*24*3600,
	}}
}

// A crash between the deletion of a customer and of its link doesn't give the Stripe
// customer to the next one with that id.
func TestLinkOfADeletedCustomer(t *testing.T) {
	b := newBed(t)
	s := b.store()
	all := history(3)
	must[customer.Customer](t)(s.Create(t.Context(), customer.Customer{ID: "acme"}))
	apply(t, s, "cus_1", "acme", all[0])
	if err := s.Delete(t.Context(), "acme", 0); err != nil {
		t.Fatal(err)
	}
	b.putEntry("stripe.cus_1", []byte("acme")) // as the crash leaves it
	must[customer.Customer](t)(s.Create(t.Context(), customer.Customer{ID: "acme"}))
	for _, change := range all[1:] {
		apply(t, s, "cus_1", "acme", change)
	}
	for _, s := range []*customer.Store{s, b.store()} {
		if c, ok := s.ByStripe("cus_1"); !ok || c.ID != "cus_1" {
			t.Errorf("cus_1 is %q", c.ID)
		}
		if c, _ := s.Get("acme"); c.Stripe != "" || len(c.Subscriptions.Changes) > 0 {
			t.Errorf("acme has got %+v", c)
		}
	}
}
