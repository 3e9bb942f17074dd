package customer_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/customer"
)

func TestCustomers(t *testing.T) {
	b := newBed(t)
	s, other := b.store(), b.store()
	ctx := t.Context()
	acme := must[customer.Customer](t)(s.Create(ctx, customer.Customer{ID: "acme", Name: "Acme Inc.", Stripe: "cus_1"}))
	must[customer.Customer](t)(s.Create(ctx, customer.Customer{ID: "zeta"}))
	must[customer.Customer](t)(s.Create(ctx, customer.Customer{ID: "Beta-2_x", Override: "pro"}))
	if got, ok := s.Get("acme"); !ok || cmp.Diff(acme, got) != "" {
		t.Errorf("what was written is read here at once: %v %v", got, ok)
	}
	eventually(t, time.Second, "another replica has all of them", func() bool { return len(other.List("", 10)) == 3 })
	if got, ok := other.ByStripe("cus_1"); !ok || cmp.Diff(acme, got) != "" {
		t.Errorf("by Stripe: %v %v", got, ok)
	}
	var ids []string
	for after := ""; ; {
		page := other.List(after, 2)
		if len(page) == 0 {
			break
		}
		for _, c := range page {
			ids = append(ids, c.ID)
		}
		after = page[len(page)-1].ID
	}
	if diff := cmp.Diff([]string{"Beta-2_x", "acme", "zeta"}, ids); diff != "" {
		t.Errorf("listed (-want +got):\n%s", diff)
	}
	for _, test := range []struct {
		name string
		c    customer.Customer
		code kgents.Code
	}{
		{"the id again", customer.Customer{ID: "acme"}, kgents.CodeConflict},
		{"the Stripe customer again", customer.Customer{ID: "thief", Stripe: "cus_1"}, kgents.CodeConflict},
		{"no id", customer.Customer{}, kgents.CodeInvalid},
		{"a hostile id", customer.Customer{ID: "a.*"}, kgents.CodeInvalid},
		{"an id of wildcards", customer.Customer{ID: ">"}, kgents.CodeInvalid},
		{"an id with a line", customer.Customer{ID: "a\nb"}, kgents.CodeInvalid},
		{"an id that is too long", customer.Customer{ID: strings.Repeat("a", 64)}, kgents.CodeInvalid},
		{"an id of Stripe's", customer.Customer{ID: "cus_9"}, kgents.CodeInvalid},
		{"a hostile Stripe id", customer.Customer{ID: "x", Stripe: "cus_1.>"}, kgents.CodeInvalid},
		{"a name with a control", customer.Customer{ID: "x", Name: "a\x1b[2J"}, kgents.CodeInvalid},
		{"a name that turns the line", customer.Customer{ID: "x", Name: "a\u202eb"}, kgents.CodeInvalid},
		{"a name that is no UTF-8", customer.Customer{ID: "x", Name: "\xff"}, kgents.CodeInvalid},
		{"a name that is too long", customer.Customer{ID: "x", Name: strings.Repeat("a", customer.MaxName+1)}, kgents.CodeInvalid},
		{"an override that is no plan", customer.Customer{ID: "x", Override: "gold"}, kgents.CodeInvalid},
	} {
		_, err := s.Create(ctx, test.c)
		wantCode(t, test.name, err, test.code)
	}
	if _, ok := s.Get("thief"); ok {
		t.Error("a refused customer is there")
	}
	if got := acme.Standing(time.Now(), catalog()).Plan; got != "free" {
		t.Errorf("plan %q", got)
	}
	beta, _ := s.Get("Beta-2_x")
	st := beta.Standing(time.Now(), catalog())
	if st.Plan != "pro" || len(st.Why) == 0 || !strings.Contains(st.Why[len(st.Why)-1].Text, "operator has set") {
		t.Errorf("an override gives %+v", st)
	}
	without := catalog()
	without.Plans = without.Plans[:1]
	if st := beta.Standing(time.Now(), without); st.Plan != "free" {
		t.Errorf("an override that is no plan any more gives %q", st.Plan)
	}
}

func TestUpdate(t *testing.T) {
	b := newBed(t)
	s, other := b.store(), b.store()
	ctx := t.Context()
	acme := must[customer.Customer](t)(s.Create(ctx, customer.Customer{ID: "acme"}))
	rename := func(name string) func(*customer.Customer) error {
		return func(c *customer.Customer) error { c.Name = name; return nil }
	}
	changed := must[customer.Customer](t)(other.Update(ctx, "acme", acme.Revision, rename("one")))
	if changed.Revision <= acme.Revision || changed.Name != "one" {
		t.Errorf("changed to %+v", changed)
	}
	_, err := s.Update(ctx, "acme", acme.Revision, rename("two")) // decided on the old one
	wantCode(t, "a stale revision", err, kgents.CodeConflict)
	_, err = s.Update(ctx, "nobody", 0, rename("two"))
	wantCode(t, "no customer", err, kgents.CodeNotFound)
	_, err = s.Update(ctx, "*", 0, rename("two"))
	wantCode(t, "a hostile id", err, kgents.CodeNotFound)
	_, err = s.Update(ctx, "acme", 0, rename("\x00"))
	wantCode(t, "a hostile name", err, kgents.CodeInvalid)
	mine := errors.New("mine")
	if _, err = s.Update(ctx, "acme", 0, func(*customer.Customer) error { return mine }); !errors.Is(err, mine) {
		t.Errorf("the error of a change comes back as %v", err)
	}
	// What can't be changed isn't.
	got := must[customer.Customer](t)(s.Update(ctx, "acme", 0, func(c *customer.Customer) error {
		c.ID, c.Created, c.Found, c.Stripe = "other", time.Time{}, true, "cus_1"
		return nil
	}))
	if got.ID != "acme" || !got.Created.Equal(acme.Created) || got.Found || got.Stripe != "cus_1" {
		t.Errorf("changed to %+v", got)
	}
	for _, stripe := range []string{"", "cus_2"} {
		_, err = s.Update(ctx, "acme", 0, func(c *customer.Customer) error { c.Stripe = stripe; return nil })
		wantCode(t, "another Stripe customer", err, kgents.CodeConflict)
	}
	must[customer.Customer](t)(s.Create(ctx, customer.Customer{ID: "thief"}))
	_, err = s.Update(ctx, "thief", 0, func(c *customer.Customer) error { c.Stripe = "cus_1"; return nil })
	wantCode(t, "another's Stripe customer", err, kgents.CodeConflict)
	if thief, _ := s.Get("thief"); thief.Stripe != "" {
		t.Errorf("the thief has %q", thief.Stripe)
	}
	if c, _ := s.ByStripe("cus_1"); c.ID != "acme" {
		t.Errorf("cus_1 is %q", c.ID)
	}
}

// TestUpdateRace: none of many changes at once, by two replicas, is lost; and of those
// decided on one revision, one is made.
func TestUpdateRace(t *testing.T) {
	const each = 8
	b := newBed(t)
	stores := []*customer.Store{b.store(), b.store()}
	ctx := t.Context()
	acme := must[customer.Customer](t)(stores[0].Create(ctx, customer.Customer{ID: "acme"}))
	var wg sync.WaitGroup
	won := make(chan string, 2*each)
	for i := range 2 * each {
		wg.Go(func() {
			s := stores[i%2]
			_, err := s.Update(ctx, "acme", acme.Revision, func(c *customer.Customer) error { c.Name = fmt.Sprint("first ", i); return nil })
			switch kgents.ErrorCode(err) {
			case "":
				won <- fmt.Sprint("first ", i)
			case kgents.CodeConflict:
			default:
				t.Errorf("change %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Fatalf("%d changes of one revision were made", len(won))
	}
	name := <-won
	for i := range 2 * each {
		wg.Go(func() {
			if _, err := stores[i%2].Update(ctx, "acme", 0, func(c *customer.Customer) error { c.Name += "+"; return nil }); err != nil {
				t.Errorf("change %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	want := name + strings.Repeat("+", 2*each)
	eventually(t, time.Second, "both replicas have all changes", func() bool {
		x, _ := stores[0].Get("acme")
		y, _ := stores[1].Get("acme")
		return x.Name == want && y.Name == want
	})
}

// TestStripeRace: many customers want one Stripe customer at once; one gets it.
func TestStripeRace(t *testing.T) {
	b := newBed(t)
	stores := []*customer.Store{b.store(), b.store()}
	ctx := t.Context()
	var wg sync.WaitGroup
	won := make(chan string, 16)
	for i := range 16 {
		wg.Go(func() {
			id := fmt.Sprint("c", i)
			_, err := stores[i%2].Create(ctx, customer.Customer{ID: id, Stripe: "cus_1"})
			switch kgents.ErrorCode(err) {
			case "":
				won <- id
			case kgents.CodeConflict:
			default:
				t.Errorf("%s: %v", id, err)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Fatalf("%d customers have it", len(won))
	}
	id := <-won
	for _, s := range stores {
		eventually(t, time.Second, "one customer is left, who has it", func() bool {
			c, ok := s.ByStripe("cus_1")
			return ok && c.ID == id && len(s.List("", 100)) == 1
		})
	}
}

func TestWatch(t *testing.T) {
	b := newBed(t)
	s, other := b.store(), b.store()
	heard := make(chan customer.Customer, 100)
	other.Watch(func(c customer.Customer) { heard <- c })
	next := func(what string) customer.Customer {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		select {
		case c := <-heard:
			return c
		case <-ctx.Done():
			t.Fatalf("nothing is heard of %s", what)
			return customer.Customer{}
		}
	}
	acme := must[customer.Customer](t)(s.Create(t.Context(), customer.Customer{ID: "acme"}))
	if diff := cmp.Diff(acme, next("the new one")); diff != "" {
		t.Error(diff)
	}
	must[customer.Customer](t)(s.Update(t.Context(), "acme", 0, func(c *customer.Customer) error { c.Name = "A"; return nil }))
	if c := next("the change"); c.Name != "A" || c.Deleted() {
		t.Errorf("heard %+v", c)
	}
	if err := s.Delete(t.Context(), "acme", 0); err != nil {
		t.Fatal(err)
	}
	if c := next("the deletion"); c.ID != "acme" || !c.Deleted() {
		t.Errorf("heard %+v", c)
	}
}
