package world_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/agentesetest"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/billing/stripetest"
)

// atStripe is acme's subscription as Stripe has it.
func (s *shop) atStripe() (price string, ends bool, status string) {
	s.t.Helper()
	v := s.stripe.Objects("subscriptions")
	if len(v) != 1 {
		s.t.Fatalf("%d subscriptions at Stripe", len(v))
	}
	ends, _ = v[0]["cancel_at_period_end"].(bool)
	status, _ = v[0]["status"].(string)
	return priceAt(v[0]), ends, status
}

func priceAt(sub stripetest.Object) string {
	items, _ := sub["items"].(stripetest.Object)
	data, _ := items["data"].([]stripetest.Object)
	if len(data) == 0 {
		return ""
	}
	price, _ := data[0]["price"].(stripetest.Object)
	key, _ := price["lookup_key"].(string)
	return key
}

func TestSubscription(t *testing.T) {
	t.Parallel() // it waits most of its time, as TestDeadLetters and TestCircuit do
	s := newShop(t)
	s.customer("acme")

	// Without a subscription Stripe's answer is passed on.
	if _, err := s.Run("world.customers.acme.subscription.refine[do=change][plan=pro]"); kindOf(err) != agentese.KindFailed || !strings.Contains(err.Error(), "no subscription") {
		t.Errorf("%v", err)
	}
	s.subscribe()
	v := s.Must("world.customers.acme.subscription.manifest")
	if figure(v, "status") != "active" || figure(v, "subscription") != "sub_1" || v.State != tree.Well {
		t.Errorf("%+v", v)
	}
	if v := s.Must("world.customers.acme.witness"); len(v.Table.Rows) == 0 || listed(v, "event")[0] != "evt_1" {
		t.Errorf("%+v", v.Table)
	}

	// A change that Stripe's webhook does not tell of in time is taken back.
	_, err := s.Run("world.customers.acme.subscription.refine[do=change][plan=teams][rollback=1s]")
	if price, _, _ := s.atStripe(); err == nil || price != "pro_monthly" {
		t.Errorf("%v, and Stripe has %s", err, price)
	}
	if last := s.Audit()[len(s.Audit())-1]; last.Outcome != "undone" {
		t.Errorf("the audit ends with %s", last.Outcome)
	}
	// One that it tells of stays.
	s.Must("world.customers.acme.subscription.refine[do=change][plan=teams]")
	if price, _, _ := s.atStripe(); price != "teams_monthly" {
		t.Errorf("Stripe has %s", price)
	}
	s.tells("evt_2", "customer.subscription.updated", "teams_monthly", "")
	s.Eventually("acme has teams", func() bool { return figure(s.Must("world.customers.acme.manifest"), "plan") == "teams" })
	if v := s.Must("world.customers.acme.subscription.refine[do=change][plan=teams]"); v.Title != "Nothing to do" {
		t.Errorf("%+v", v)
	}

	// Canceled, and taken back.
	s.Must("world.customers.acme.subscription.refine[do=cancel]")
	if _, ends, _ := s.atStripe(); !ends {
		t.Error("it does not end")
	}
	s.tells("evt_3", "customer.subscription.updated", "teams_monthly", `,"cancel_at_period_end":true`)
	s.Eventually("the end is known", func() bool { return figure(s.Must("world.customers.acme.subscription.manifest"), "cancel_at") != nil })
	if v := s.Must("world.customers.acme.subscription.refine[do=cancel]"); v.Title != "Nothing to do" {
		t.Errorf("%+v", v)
	}
	s.Must("world.customers.acme.subscription.refine[do=reactivate]")
	if _, ends, _ := s.atStripe(); ends {
		t.Error("it still ends")
	}

	// At once: it can't be undone, and isn't where that is asked for.
	if _, err := s.Run("world.customers.acme.subscription.refine[do=cancel][now][rollback]"); kindOf(err) != agentese.KindDeclined {
		t.Errorf("%v", err)
	}
	s.Must("world.customers.acme.subscription.refine[do=cancel][now]")
	if _, _, status := s.atStripe(); status != "canceled" {
		t.Errorf("it is %s", status)
	}
	for _, bad := range []string{"[do=change]", "[do=change][plan=gold]", "[do=cancel][plan=pro]", "[do=reactivate][now]", "[do=change][seats=0]"} {
		if _, err := s.Run("world.customers.acme.subscription.refine" + bad); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

// What somebody changes at Stripe between the preview and its yes is not overwritten, and
// neither is what comes between a change and its undoing.
func TestSubscriptionChangedMeanwhile(t *testing.T) {
	s := newShop(t)
	s.customer("acme")
	s.subscribe()
	held := s.stripe.Objects("subscriptions")
	elsewhere := func(quantity int) { // in Stripe's dashboard, before the program's next request
		changed := false
		s.stripe.Fail(func(stripetest.Request) *stripetest.Fault { // with Stripe's lock held
			if changed {
				return nil
			}
			changed = true
			for _, sub := range held {
				sub["items"].(stripetest.Object)["data"].([]stripetest.Object)[0]["quantity"] = quantity
			}
			return nil
		})
	}

	shown := ""
	s.Session.Yes, s.Session.Confirm = false, func(_ context.Context, p tree.Preview) (bool, error) {
		shown = strings.Join(p.Does, " ")
		elsewhere(7)
		return true, nil
	}
	for _, what := range []string{"[do=change][plan=teams]", "[do=change][seats=2][rollback]", "[do=cancel]", "[do=cancel][now]"} {
		elsewhere(1)
		before := s.writes()
		_, err := s.Run("world.customers.acme.subscription.refine" + what)
		if kindOf(err) != agentese.KindFailed || !strings.Contains(err.Error(), "has changed at Stripe since then") || !strings.Contains(err.Error(), "7 of it") {
			t.Errorf("%s: %v", what, err)
		}
		if last := s.Audit()[len(s.Audit())-1]; last.Outcome != "failed" {
			t.Errorf("%s: the audit ends with %s", what, last.Outcome)
		}
		if n := s.writes(); n != before || shown == "" {
			t.Errorf("%s: %d changes were sent after %q", what, n-before, shown)
		}
	}
	// What the preview shows is what Stripe has, though no webhook has told of it.
	s.Session.Yes = true
	if v := s.Must("world.customers.acme.subscription.refine[do=change][seats=9][dry_run]"); !strings.Contains(v.Text, "seats 7 → 9") {
		t.Errorf("the preview is %q", v.Text)
	}
	// A change that is not seen in time is taken back, unless it is somebody else's by then.
	sent := s.writes()
	s.stripe.Fail(func(r stripetest.Request) *stripetest.Fault {
		if r.Method == http.MethodGet && r.Path == "/v1/subscriptions" && held[0]["items"].(stripetest.Object)["data"].([]stripetest.Object)[0]["quantity"] == int64(9) {
			held[0]["status"] = "past_due"
		}
		return nil
	})
	_, err := s.Run("world.customers.acme.subscription.refine[do=change][seats=9][rollback=1s]")
	if err == nil || !strings.Contains(err.Error(), "status past_due") || s.writes() != sent+1 {
		t.Errorf("after %d changes: %v", s.writes()-sent, err)
	}
	// Where there was no answer, what was done is taken back.
	s.stripe.Fail(func(r stripetest.Request) *stripetest.Fault {
		if r.Method == http.MethodPost && r.Form.Get("items[0][quantity]") == "12" {
			return &stripetest.Fault{Lose: true}
		}
		return nil
	})
	_, err = s.Run("world.customers.acme.subscription.refine[do=change][seats=12][rollback=1s]")
	if last := s.Audit()[len(s.Audit())-1]; err == nil || last.Outcome != "undone" {
		t.Errorf("the audit ends with %+v: %v", last, err)
	}
	if got := s.stripe.Objects("subscriptions")[0]["items"].(stripetest.Object)["data"].([]stripetest.Object)[0]["quantity"]; got != int64(9) {
		t.Errorf("Stripe has %v seats, want 9 again", got)
	}
}

// writes is how often Stripe was asked to change a subscription.
func (s *shop) writes() (n int) {
	for _, r := range s.stripe.Requests() {
		if strings.HasPrefix(r.Path, "/v1/subscriptions/") && r.Method != http.MethodGet {
			n++
		}
	}
	return n
}

// Without Stripe's key the program's own answer says what to set.
func TestSubscriptionWithoutStripe(t *testing.T) {
	r := agentesetest.Start(t, agentesetest.Options{})
	s := &shop{t: t, Rig: r}
	r.Session.Yes = true
	s.customer("acme")
	before := time.Now()
	if _, err := r.Run("world.customers.acme.subscription.refine[do=cancel]"); err == nil || !strings.Contains(err.Error(), "STRIPE_API_KEY") {
		t.Errorf("%v", err)
	}
	if last := r.Audit()[len(r.Audit())-1]; last.Outcome != "failed" || last.Time.Before(before.Add(-time.Minute)) {
		t.Errorf("%+v", last)
	}
}
