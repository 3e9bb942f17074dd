package world

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/api/client"
	"github.com/kgents/kgents/customer"
	"github.com/kgents/kgents/entitle"
	"github.com/kgents/kgents/subscription"
)

// segment is a live name as it stands in an address. A name that would lead out of its
// place is refused before anything is asked.
func segment(what, name string) (string, error) {
	if name == "" || name == "." || name == ".." {
		return "", &agentese.Error{Kind: agentese.KindNotFound, What: "there is no " + what + " " + agentese.QuoteName(name)}
	}
	return url.PathEscape(name), nil
}

// allCustomers are those that the key may see, tree.MaxNames at most: all for the
// operator's key, its own for a customer's. more says that there are others.
func allCustomers(ctx context.Context, api *client.Client) (all []customer.CustomerView, more bool, err error) {
	query := url.Values{"limit": {strconv.Itoa(customer.MaxPage)}}
	for {
		var page customer.CustomerPage
		err := api.Get(ctx, "/v1/customers", query, &page)
		if client.Status(err) == http.StatusForbidden && len(all) == 0 {
			own, ownErr := ownCustomer(ctx, api)
			if ownErr != nil {
				return nil, false, living.Away("the list of customers", err)
			}
			return []customer.CustomerView{own}, false, nil
		}
		if err != nil {
			return nil, false, living.Away("the list of customers", err)
		}
		all = append(all, page.Customers...)
		if page.Next == "" || len(all) >= tree.MaxNames {
			return all, page.Next != "", nil
		}
		query.Set("after", page.Next)
	}
}

// ownCustomer is the customer whose key this is.
func ownCustomer(ctx context.Context, api *client.Client) (customer.CustomerView, error) {
	var out struct{ Entitlements []entitle.Entitlement }
	if err := api.Get(ctx, "/v1/entitlements", nil, &out); err != nil {
		return customer.CustomerView{}, err
	}
	if len(out.Entitlements) == 0 {
		return customer.CustomerView{}, errors.New("the plans limit nothing, so this key's customer is not said")
	}
	return getCustomer(ctx, api, out.Entitlements[0].Customer)
}

func getCustomer(ctx context.Context, api *client.Client, id string) (c customer.CustomerView, err error) {
	at, err := segment("customer", id)
	if err != nil {
		return c, err
	}
	err = api.Get(ctx, "/v1/customers/"+at, nil, &c)
	return c, living.Away("customer "+agentese.QuoteName(id), err)
}

// customerOf is the query that names the customer of a call.
func customerOf(c *tree.Call) url.Values { return url.Values{"customer": {c.Name("customer")}} }

// standingState says how well a customer pays.
func standingState(status string) tree.State {
	switch status {
	case subscription.StatusPastDue, subscription.StatusIncomplete, subscription.StatusPaused:
		return tree.Warn
	case subscription.StatusUnpaid:
		return tree.Bad
	}
	return tree.Well
}

// addStanding shows the plan, its period, and the ends that lie ahead.
func addStanding(v *tree.Value, s subscription.Standing) {
	v.Add("plan", s.Plan, "")
	v.Fields = append(v.Fields, tree.Field{Name: "status", Value: s.Status, State: standingState(s.Status)})
	if s.Subscription != "" {
		v.Add("subscription", s.Subscription, "")
	}
	v.Add("seats", s.Quantity, "").Add("period_start", s.PeriodStart, "").Add("period_end", s.PeriodEnd, "")
	if !s.TrialEnd.IsZero() {
		v.Add("trial_end", s.TrialEnd, "")
	}
	if !s.GraceEnd.IsZero() {
		v.Fields = append(v.Fields, tree.Field{Name: "grace_end", Value: s.GraceEnd, State: tree.Warn, Note: "the plan falls then for want of a payment, or fell"})
	}
	if !s.CancelAt.IsZero() {
		v.Fields = append(v.Fields, tree.Field{Name: "cancel_at", Value: s.CancelAt, State: tree.Warn, Note: "it was canceled"})
	}
}
