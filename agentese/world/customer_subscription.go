package world

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/api/client"
	"github.com/kgents/kgents/billing"
)

func customerSubscription(from *living.Sources) *tree.Node {
	return &tree.Node{
		Name: "subscription", Line: "one customer's subscription at Stripe: status, period, and what ends when",
		Doc: `The subscription that counts for one customer, as Stripe's webhooks have told: its status, its period, its seats, and when a trial, a grace or the subscription itself ends. ` +
			`Changing it goes to Stripe at once by /v1/billing; what the customer may do changes when Stripe's webhook has arrived, some seconds later. ` +
			`A larger plan is paid for at once by the days that are left, a smaller one is credited on the next invoice. A cancellation at the period's end can be taken back until then; one at once can't. ` +
			`A change rests on what Stripe had when its preview was made: if somebody has changed status, plan, interval, seats or end since, it is refused and says what there is now. Without Stripe's key in the program, a change is refused and says so.`,
		Synonyms: []string{
			"plan change", "upgrade", "downgrade", "cancel", "cancellation", "renewal", "stripe subscription", "billing status", "trial", "grace period", "payment failed", "past due", "unsubscribe", "seats", "churn",
		},
		Affords: []tree.Affordance{
			{
				Aspect: agentese.Manifest, Line: "status, period, seats, and what ends when",
				Asks: []string{
					"subscription of acme", "when does acme renew", "is the subscription canceled", "when does the trial end", "did the payment fail", "how long is the grace", "status at stripe",
					"how many seats has acme", "when will they be charged next", "is acme still subscribed", "which stripe subscription is it", "when does access end",
				},
				Examples: []tree.Example{{Expr: "world.customers.acme.subscription.manifest", Line: "acme's subscription"}},
				See:      func(ctx context.Context, c *tree.Call) (tree.Value, error) { return seeSubscription(ctx, from, c) },
			},
			{
				Aspect: agentese.Refine, Needs: tree.Admin, Line: "change the plan, cancel, or take a cancellation back",
				Asks: []string{
					"upgrade acme to pro", "downgrade the customer", "change the plan of acme", "cancel the subscription", "customer wants to quit", "stop billing acme", "reactivate the subscription",
					"undo the cancellation", "switch them to yearly", "add seats", "move acme to teams", "end the subscription now", "put them on a bigger plan",
				},
				Params: []tree.Param{
					{Key: "do", Line: "what is to be done", Values: []string{"change", "cancel", "reactivate"}, Required: true},
					{Key: "plan", Line: "the plan to change to", Of: "world.plans"},
					{Key: "interval", Line: "how often it is to be paid", Values: []string{"month", "year"}},
					{Key: "seats", Line: "how many of the plan", Kind: tree.Number, Min: 1, Max: 100_000},
					{Key: "now", Line: "cancel at once, and not at the end of the period", Kind: tree.Flag},
				},
				Examples: []tree.Example{
					{Expr: "world.customers.acme.subscription.refine[do=change][plan=teams][dry_run]", Line: "what a change to teams would do"},
					{Expr: "world.customers.acme.subscription.refine[do=cancel]", Line: "let it end with its period"},
					{Expr: "world.customers.acme.subscription.refine[do=reactivate]", Line: "take that back"},
				},
				Change: func(ctx context.Context, c *tree.Call) (*tree.Change, error) { return changeSubscription(ctx, from, c) },
			},
		},
	}
}

func seeSubscription(ctx context.Context, from *living.Sources, c *tree.Call) (tree.Value, error) {
	one, err := getCustomer(ctx, from.For(c), c.Name("customer"))
	if err != nil {
		return tree.Value{}, err
	}
	s := one.Standing
	v := tree.Value{Title: "The subscription of " + one.ID, State: standingState(s.Status)}
	addStanding(&v, s)
	v.Add("stripe", one.Stripe, "")
	if one.Override != "" {
		v.Note("The operator has set the plan " + one.Override + ", whatever is paid.")
	}
	if s.Subscription == "" {
		v.Note("There never was a subscription: it begins with a checkout (POST /v1/billing/checkout).")
	}
	v.Then("world.customers."+agentese.QuoteName(one.ID)+".witness", "what Stripe has told, event by event")
	return v, nil
}

// bill makes a request under /v1/billing, once however often it is repeated below, and only
// if the subscription is as it was at a revision; empty for any.
func bill(ctx context.Context, api *client.Client, route, revision string, body any) (s billing.SubscriptionView, err error) {
	once := *api
	once.Header = api.Header.Clone()
	once.Header.Set("Idempotency-Key", rand.Text())
	if revision != "" {
		once.Header.Set("If-Match", strconv.Quote(revision))
	}
	err = once.Do(ctx, http.MethodPost, "/v1/billing/"+route, nil, body, &s)
	return s, living.Away("the subscription", err)
}

// atStripe is the subscription that runs as Stripe has it; without a revision there is none.
func atStripe(ctx context.Context, api *client.Client, id string) (s billing.SubscriptionView, err error) {
	err = api.Get(ctx, "/v1/billing/subscription", url.Values{"customer": {id}}, &s)
	if client.Status(err) == http.StatusNotFound {
		err = nil
	}
	return s, living.Away("the subscription", err)
}

// intervalOf is month or year, by the length of a period that is paid.
func intervalOf(start, end time.Time) string {
	if end.Sub(start) > 45*24*time.Hour {
		return "year"
	}
	return "month"
}

func changeSubscription(ctx context.Context, from *living.Sources, c *tree.Call) (*tree.Change, error) {
	api, id := from.For(c), c.Name("customer")
	one, err := getCustomer(ctx, api, id)
	if err != nil {
		return nil, err
	}
	s, cancelAt := one.Standing, one.Standing.CancelAt
	interval := intervalOf(s.PeriodStart, s.PeriodEnd)
	now, away := atStripe(ctx, api, id)
	known := now.Revision != ""
	if known { // what is known here is what webhooks have told
		s.Subscription, s.Status, s.Plan, s.Quantity, s.PeriodEnd, interval, cancelAt = now.Subscription, now.Status, now.Plan, now.Quantity, now.PeriodEnd, now.Interval, now.CancelAt
	}
	change := &tree.Change{Affects: 1}
	revision, done := now.Revision, false // after Do, that of what it has left
	var as func(billing.SubscriptionView) bool
	// What Stripe was asked for counts here when its webhook has come.
	told := func(what string, is func(billing.SubscriptionView) bool) {
		as = is
		change.Holds = func(ctx context.Context) error {
			now, err := getCustomer(ctx, api, id)
			if err != nil {
				return err
			}
			if !is(billing.SubscriptionView{Plan: now.Standing.Plan, Quantity: now.Standing.Quantity, Status: now.Standing.Status, EndedAt: now.Standing.CancelAt}) {
				return fmt.Errorf("no webhook of Stripe's has told yet that %s", what)
			}
			return nil
		}
	}
	do := func(route string, body map[string]any) func(context.Context) (tree.Value, error) {
		body["customer"] = id
		return func(ctx context.Context) (tree.Value, error) {
			if away != nil { // whatever is there would be overwritten
				return tree.Value{}, away
			}
			after, err := bill(ctx, api, route, revision, body)
			if err != nil {
				return tree.Value{}, err
			}
			revision, done = after.Revision, true
			return showChanged(after), nil
		}
	}
	undo := func(route string, body map[string]any) {
		body["customer"] = id
		change.Undo = func(ctx context.Context) error {
			if away != nil {
				return nil // nothing was done
			}
			if !done { // there was no answer: it is as it was, or as it should be, or somebody else's
				now, err := atStripe(ctx, api, id)
				if err != nil || now.Revision == revision {
					return err
				}
				if now.EndedAt = now.CancelAt; as(now) {
					revision = now.Revision
				}
			}
			_, err := bill(ctx, api, route, revision, body)
			return err
		}
	}
	for _, key := range []string{"plan", "interval", "seats"} {
		if c.Args.Get("do") != "change" && c.Args.Has(key) {
			return nil, &agentese.Error{Kind: agentese.KindClause, What: "the clause " + key + " is for [do=change]"}
		}
	}
	if c.Args.Get("do") != "cancel" && c.Args.Has("now") {
		return nil, &agentese.Error{Kind: agentese.KindClause, What: "the clause now is for [do=cancel]"}
	}
	switch c.Args.Get("do") {
	case "reactivate":
		if cancelAt.IsZero() && s.Subscription != "" {
			return &tree.Change{Nothing: true, Does: []string{"The subscription of " + id + " is not canceled."}}, nil
		}
		change.Does = []string{"take the cancellation of " + id + "'s subscription back, so that it goes on past " + s.PeriodEnd.UTC().Format(time.DateOnly)}
		change.Do = do("reactivate", map[string]any{})
		undo("cancel", map[string]any{})
		told("it goes on", func(v billing.SubscriptionView) bool { return v.EndedAt.IsZero() })
	case "cancel":
		if c.Args.Flag("now") {
			change.Does = []string{fmt.Sprintf("end the subscription %s of %s (%s) at once", s.Subscription, id, s.Plan)}
			change.Warnings = []string{"The rest of the period, until " + s.PeriodEnd.UTC().Format(time.DateOnly) + ", is not paid back, and overage that was reported is billed at once."}
			change.Final = "a subscription that has ended begins anew with a checkout only"
			change.Do = do("cancel", map[string]any{"now": true})
			told("it has ended", func(v billing.SubscriptionView) bool { return v.Status == "canceled" })
			break
		}
		if cancelAt.After(c.Now()) {
			return &tree.Change{Nothing: true, Does: []string{"The subscription of " + id + " ends at " + cancelAt.UTC().Format(time.RFC3339) + " already."}}, nil
		}
		change.Does = []string{fmt.Sprintf("let the subscription %s of %s (%s) end with its period, at %s", s.Subscription, id, s.Plan, s.PeriodEnd.UTC().Format(time.DateOnly))}
		change.Do = do("cancel", map[string]any{})
		undo("reactivate", map[string]any{})
		told("it ends", func(v billing.SubscriptionView) bool { return !v.EndedAt.IsZero() })
	case "change":
		err := planChange(ctx, c, api, change, s.Plan, s.Quantity, interval, do, undo, told)
		if err != nil || change.Nothing {
			return change, err
		}
		if one.Override != "" {
			change.Warnings = append(change.Warnings, "The operator has set the plan "+one.Override+", which stays.")
		}
		if !known || now.Plan == "" {
			change.Undo, change.Final = nil, "what Stripe has now is not known here, so the way back isn't either"
		}
	}
	switch {
	case away != nil:
		change.Warnings = append(change.Warnings, "Stripe can't be asked what it has, so this would be refused: "+away.Error())
	case !known:
		change.Warnings = append(change.Warnings, "Stripe has no subscription of this customer that runs: it is asked anyhow.")
	}
	return change, nil
}

// planChange fills in a change of plan, interval or seats, and the way back.
func planChange(ctx context.Context, c *tree.Call, api *client.Client, change *tree.Change, plan string, seats int64, interval string,
	do func(string, map[string]any) func(context.Context) (tree.Value, error), undo func(string, map[string]any), told func(string, func(billing.SubscriptionView) bool),
) error {
	body, before, does := map[string]any{}, map[string]any{}, ""
	wantPlan, wantSeats := plan, seats
	if to := c.Args.Get("plan"); to != "" {
		p, err := findPlan(ctx, api, to)
		if err != nil {
			return err
		}
		if p.ID != plan {
			body["plan"], before["plan"], wantPlan = p.ID, plan, p.ID
			does += fmt.Sprintf(", the plan %s → %s", plan, p.ID)
		}
	}
	if to := c.Args.Get("interval"); to != "" && to != interval {
		body["interval"], before["interval"] = to, interval
		does += fmt.Sprintf(", paid by the %s → %s", interval, to)
	}
	if to := int64(c.Args.Int("seats")); to != 0 && to != seats {
		body["quantity"], before["quantity"], wantSeats = to, seats, to
		does += fmt.Sprintf(", seats %s → %s", strconv.FormatInt(seats, 10), strconv.FormatInt(to, 10))
	}
	if len(body) == 0 {
		if !c.Args.Has("plan") && !c.Args.Has("interval") && !c.Args.Has("seats") {
			return &agentese.Error{Kind: agentese.KindClause, What: "name what is to change", Why: "there are plan, interval and seats", Try: []string{c.Path + ".refine[do=change][plan=pro]"}}
		}
		change.Nothing, change.Does = true, []string{"The subscription of " + c.Name("customer") + " is so already."}
		return nil
	}
	change.Does = []string{"change the subscription of " + c.Name("customer") + ": " + does[2:]}
	change.Warnings = []string{"A larger plan is paid for at once by the days that are left; a smaller one is credited on the next invoice, and can make overage of what was used before."}
	change.Do = do("change", body)
	undo("change", before)
	told("the change is done", func(v billing.SubscriptionView) bool { return v.Plan == wantPlan && v.Quantity == wantSeats })
	return nil
}

func showChanged(s billing.SubscriptionView) tree.Value {
	v := tree.Value{Title: "The subscription of " + s.Customer + ", as Stripe has it now", State: standingState(s.Status)}
	v.Add("subscription", s.Subscription, "").Add("status", s.Status, "").Add("plan", s.Plan, "").Add("interval", s.Interval, "").Add("seats", s.Quantity, "").
		Add("cancel_at_period_end", s.CancelAtPeriodEnd, "")
	if !s.PeriodEnd.IsZero() {
		v.Add("period_end", s.PeriodEnd, "")
	}
	if !s.EndedAt.IsZero() {
		v.Add("ended_at", s.EndedAt, "")
	}
	v.Note("What the customer may do changes when Stripe's webhook has arrived, some seconds later.")
	v.Then("world.customers."+agentese.QuoteName(s.Customer)+".subscription.manifest", "what is known here")
	return v
}
