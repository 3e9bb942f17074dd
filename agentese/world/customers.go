package world

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/customer"
	"github.com/kgents/kgents/entitle"
	"github.com/kgents/kgents/subscription"
)

// customers is who is billed: all of them, and what is below each.
func customers(from *living.Sources) *tree.Node {
	return &tree.Node{
		Name: "customers", Line: "who is billed: customers with their plans, limits, keys and invoices",
		Doc: `All customers that the program knows, with the plan and the status of the subscription that each has now. ` +
			`The list comes from GET /v1/customers, which every replica answers from memory; the operator's key sees all, a customer's key only its own. ` +
			`A status of active, trialing or none is well. past_due means that a payment failed and the grace runs: look at the customer's subscription and tell them. ` +
			`unpaid means that the grace is over and the plan has fallen. The lens shows who is over, or near, a limit of their plan.`,
		Synonyms: []string{
			"clients", "accounts", "tenants", "subscribers", "users", "buyers", "who pays", "organizations", "companies", "payers",
			"customer list", "customer base", "who is over quota", "signups", "billing accounts", "subjects",
		},
		Affords: []tree.Affordance{
			{
				Aspect: agentese.Manifest, Line: "all customers with plan and status, and how many of each",
				Asks: []string{
					"list customers", "list customers on the free plan", "who are our customers", "how many customers do we have", "which customers have not paid",
					"show everyone whose payment failed", "who is past due", "all accounts", "how many people pay us", "who is in a trial",
					"show me paying customers", "which companies use us", "find a customer", "who canceled", "customers on pro", "how many are on each plan",
				},
				Params: []tree.Param{
					{Key: "plan", Line: "only customers on this plan", Of: "world.plans"},
					{Key: "status", Line: "only those whose subscription has this status", Values: subscription.Statuses()},
					{Key: "limit", Line: "how many rows at most; all are counted", Kind: tree.Number, Min: 1, Max: tree.MaxRows, Default: "100"},
				},
				Examples: []tree.Example{
					{Expr: "world.customers.manifest", Line: "all customers"},
					{Expr: "world.customers.manifest[plan=free]", Line: "those on the free plan"},
					{Expr: "world.customers.manifest[status=past_due]", Line: "those whose payment failed"},
				},
				See: func(ctx context.Context, c *tree.Call) (tree.Value, error) { return seeCustomers(ctx, from, c) },
			},
			{
				Aspect: agentese.Lens, Line: "who is over, or near, a limit of their plan",
				Asks: []string{
					"who is over quota", "who is close to their limit", "which customers hit their limit", "who gets refused", "who gets 402 payment required",
					"who uses too much", "who should upgrade", "customers near 80 percent", "who has used up their tokens", "heaviest users against their plan",
					"who will run out soon", "which accounts exceeded the plan", "who is about to be blocked", "upsell candidates", "who pays overage",
				},
				Params: []tree.Param{
					{Key: "near", Line: "from how much of a limit on, in percent", Kind: tree.Percent, Min: 1, Max: 1000, Default: "80"},
					{Key: "limit", Line: "how many rows at most", Kind: tree.Number, Min: 1, Max: 1000, Default: "100"},
				},
				Examples: []tree.Example{
					{Expr: "world.customers.lens", Line: "who has used 80 % of a limit, or more"},
					{Expr: "world.customers.lens[near=100]", Line: "who is at a limit, or over it"},
				},
				See: func(ctx context.Context, c *tree.Call) (tree.Value, error) { return seeNear(ctx, from, c) },
			},
			{
				Aspect: agentese.Refine, Needs: tree.Architect, Line: "make a customer",
				Asks: []string{
					"create a customer", "add a new customer", "sign up a client", "onboard a company", "make an account", "register a new tenant",
					"new customer acme on pro", "set up a customer for testing", "add an account by hand", "open an account",
				},
				Params: []tree.Param{
					{Key: "do", Line: "what is to be done", Values: []string{"create"}, Default: "create"},
					{Key: "id", Line: "its id, the subject of its usage events: 1 to 63 letters, digits, - and _", Required: true},
					{Key: "name", Line: "its name, for people", Kind: tree.Text},
					{Key: "plan", Line: "a plan that it has whatever is paid", Of: "world.plans"},
				},
				Examples: []tree.Example{
					{Expr: "world.customers.refine[do=create][id=initech][name=Initech Inc]", Line: "a customer on the default plan"},
					{Expr: "world.customers.refine[id=initech][plan=pro][dry_run]", Line: "what making one on a plan would do"},
				},
				Change: func(ctx context.Context, c *tree.Call) (*tree.Change, error) { return makeCustomer(ctx, from, c) },
			},
		},
		Live: &tree.Live{
			Node: oneCustomer(from),
			List: func(ctx context.Context, c *tree.Call) ([]tree.Entry, error) {
				all, _, err := allCustomers(ctx, from.For(c))
				if err != nil {
					return nil, err
				}
				out := make([]tree.Entry, len(all))
				for i, one := range all {
					out[i] = tree.Entry{Name: one.ID, Line: strings.Join(slices.DeleteFunc([]string{one.Name, one.Standing.Plan, one.Standing.Status}, func(s string) bool { return s == "" }), ", ")}
				}
				return out, nil
			},
		},
	}
}

func seeCustomers(ctx context.Context, from *living.Sources, c *tree.Call) (tree.Value, error) {
	all, more, err := allCustomers(ctx, from.For(c))
	if err != nil {
		return tree.Value{}, err
	}
	v := tree.Value{Title: "Customers", State: tree.Well, Table: &tree.Table{Columns: []tree.Column{
		{Name: "customer", Link: "world.customers.{}"}, {Name: "name"}, {Name: "plan", Link: "world.plans.{}"}, {Name: "status"}, {Name: "period_end"}, {Name: "override"}, {Name: "stripe"},
	}}}
	plans, statuses, matching := map[string]int{}, map[string]int{}, 0
	for _, one := range all {
		s := one.Standing
		if want := c.Args.Get("plan"); want != "" && !strings.EqualFold(want, s.Plan) {
			continue
		}
		if want := c.Args.Get("status"); want != "" && want != s.Status {
			continue
		}
		matching++
		plans[s.Plan]++
		statuses[s.Status]++
		if standingState(s.Status) != tree.Well {
			v.State = tree.Warn
		}
		if len(v.Table.Rows) < c.Args.Int("limit") {
			v.Table.Rows = append(v.Table.Rows, []any{one.ID, one.Name, s.Plan, s.Status, s.PeriodEnd, one.Override, one.Stripe})
		}
	}
	v.Add("customers", matching, "")
	for _, p := range slices.Sorted(maps.Keys(plans)) {
		v.Add("on "+p, plans[p], "")
	}
	for _, s := range slices.Sorted(maps.Keys(statuses)) {
		v.Fields = append(v.Fields, tree.Field{Name: s, Value: statuses[s], State: standingState(s)})
	}
	if matching > len(v.Table.Rows) {
		v.Table.Total = matching
	}
	if more {
		v.Note(fmt.Sprintf("There are more customers than the first %d, which alone were looked at.", len(all)))
	}
	v.Then("world.customers.lens", "who is over, or near, a limit")
	if statuses[subscription.StatusPastDue] > 0 {
		v.Then("world.customers.manifest[status=past_due]", "whose payment failed")
	}
	return v, nil
}

func makeCustomer(ctx context.Context, from *living.Sources, c *tree.Call) (*tree.Change, error) {
	api, id, plan := from.For(c), c.Args.Get("id"), c.Args.Get("plan")
	if !customer.ValidID(id) {
		return nil, &agentese.Error{Kind: agentese.KindClause, What: "[id=" + id + "] can't be a customer's id", Why: "it has 1 to 63 letters, digits, - and _, and begins with a letter or a digit"}
	}
	if _, err := getCustomer(ctx, api, id); err == nil {
		return nil, &agentese.Error{Kind: agentese.KindFailed, What: "there is a customer " + id + " already", Try: []string{"world.customers." + id + ".manifest"}}
	} else if e := living.Away("", err).(*agentese.Error); e.Kind != agentese.KindNotFound {
		return nil, err
	}
	does := "make the customer " + id
	if name := c.Args.Get("name"); name != "" {
		does += ", " + name
	}
	change, known := &tree.Change{Affects: 1}, false
	if plan != "" {
		if _, err := findPlan(ctx, api, plan); err != nil {
			return nil, err
		}
		does += ", on the plan " + plan + " whatever it pays"
		change.Warnings = append(change.Warnings, "A plan that the operator sets is not paid for by anybody, until it is taken away again.")
	}
	change.Does = []string{does}
	change.Do = func(ctx context.Context) (tree.Value, error) {
		var made customer.CustomerView
		body := customer.NewCustomer{ID: id, Name: c.Args.Get("name"), Override: plan}
		if err := api.Do(ctx, http.MethodPost, "/v1/customers", nil, body, &made); err != nil {
			return tree.Value{}, living.Away("customer "+id, err)
		}
		known = true
		v := showCustomer(made)
		v.Then("world.customers."+agentese.QuoteName(id)+".keys.refine[do=create][scopes=\"ingest,read\"]", "a key to send events with")
		return v, nil
	}
	change.Undo = func(ctx context.Context) error {
		if !known { // it may be another's
			return fmt.Errorf("whether the customer %s was made is not known, so it was not deleted", id)
		}
		return living.Away("customer "+id, api.Do(ctx, http.MethodDelete, "/v1/customers/"+url.PathEscape(id), nil, nil, nil))
	}
	return change, nil
}

func seeNear(ctx context.Context, from *living.Sources, c *tree.Call) (tree.Value, error) {
	percent := c.Args.Int("near")
	var page entitle.NearPage
	query := url.Values{"percent": {strconv.Itoa(percent)}, "limit": {strconv.Itoa(c.Args.Int("limit"))}}
	if err := from.For(c).Get(ctx, "/v1/entitlements/near", query, &page); err != nil {
		return tree.Value{}, living.Away("who is near a limit", err)
	}
	v := tree.Value{Title: fmt.Sprintf("Who has used %d %% of a limit, or more", percent), State: tree.Well, Table: &tree.Table{Columns: []tree.Column{
		{Name: "customer", Link: "world.customers.{}"}, {Name: "plan", Link: "world.plans.{}"}, {Name: "feature"}, {Name: "used"}, {Name: "limit"}, {Name: "percent", Unit: "percent"}, {Name: "over"}, {Name: "resets_at"}, {Name: "state"},
	}}}
	refused := 0
	for _, e := range page.Near {
		state := tree.Well
		switch {
		case !e.Allowed:
			state = tree.Bad
			refused++
		case e.Over != "bill":
			state = tree.Warn
		}
		v.State = worse(v.State, state)
		var resets any
		if e.ResetsAt != nil {
			resets = *e.ResetsAt
		}
		v.Table.Rows = append(v.Table.Rows, []any{e.Customer, e.Plan, e.Feature, e.Used, limitOf(e.Limit.Limit), percentOf(e.Used, e.Limit.Limit), e.Over, resets, state})
	}
	v.Add("near or over", page.Total, "").Add("refused now", refused, "").Add("customers looked at", page.Looked, "")
	if page.Total > len(page.Near) {
		v.Table.Total = page.Total
	}
	if page.Stale {
		v.Note("The meter or the stream could not be asked for a while: what was used may be more.")
	}
	v.Note("Of features that a meter counts. Towns, citizens and members, which exist rather than are used, are not in it: see a customer's limits.")
	if len(page.Near) > 0 {
		v.Then("world.customers."+agentese.QuoteName(page.Near[0].Customer)+".limits.manifest", "all limits of the first")
	}
	return v, nil
}
