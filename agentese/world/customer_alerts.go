package world

import (
	"context"
	"fmt"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/notify"
)

func customerAlerts(from *living.Sources) *tree.Node {
	return &tree.Node{
		Name: "alerts", Line: "usage alerts about one customer: sent, waiting, or dead", Operator: true,
		Doc: `What USAGE_ALERT_URL was told, or is about to be told, of one customer: that it has reached 50, 80 or 100 percent of a limit of its plan. ` +
			`Each stands with its state: pending is tried again by a schedule, delivered was taken, merged was told with a higher percent at once, dead was given up after all tries. ` +
			`They come from GET /v1/alerts, for the operator's key. A dead one is sent again with POST /v1/alerts/{id}/replay once its receiver is well.`,
		Synonyms: []string{
			"notifications", "usage alerts", "quota warnings", "80 percent mail", "limit warnings", "usage emails", "alert webhooks", "threshold alerts", "customer was not told", "warned",
		},
		Affords: []tree.Affordance{{
			Aspect: agentese.Manifest, Line: "what was told of it, the newest first",
			Asks: []string{
				"was acme warned", "did we tell the customer they are near the limit", "usage alerts of acme", "did the 80 percent alert go out", "which notifications failed",
				"customer says nobody told them", "was the limit mail sent", "dead usage alerts", "alerts waiting to be delivered", "why did the notification not arrive", "what did we notify about acme",
			},
			Params: []tree.Param{
				{Key: "status", Line: "only those in this state", Values: []string{"pending", "delivered", "dead", "merged"}},
				{Key: "limit", Line: "how many at most", Kind: tree.Number, Min: 1, Max: 1000, Default: "100"},
			},
			Examples: []tree.Example{
				{Expr: "world.customers.acme.alerts.manifest", Line: "what was told of acme"},
				{Expr: "world.customers.acme.alerts.manifest[status=dead]", Line: "what could not be told"},
			},
			See: func(ctx context.Context, c *tree.Call) (tree.Value, error) { return seeUsageAlerts(ctx, from, c) },
		}},
	}
}

func seeUsageAlerts(ctx context.Context, from *living.Sources, c *tree.Call) (tree.Value, error) {
	query, id := customerOf(c), c.Name("customer")
	query.Set("limit", c.Args.Get("limit"))
	if s := c.Args.Get("status"); s != "" {
		query.Set("state", s)
	}
	var out struct {
		Alerts []notify.AlertView
		More   bool
	}
	if err := from.For(c).Get(ctx, "/v1/alerts", query, &out); err != nil {
		return tree.Value{}, living.Away("the usage alerts of "+agentese.QuoteName(id), err)
	}
	v := tree.Value{Title: "Usage alerts about " + id, State: tree.Well, Table: &tree.Table{Columns: []tree.Column{
		{Name: "at"}, {Name: "feature"}, {Name: "percent", Unit: "percent"}, {Name: "used"}, {Name: "limit"}, {Name: "state"}, {Name: "attempts"}, {Name: "next"}, {Name: "last_status"}, {Name: "last_error"}, {Name: "id"},
	}}}
	counts := map[notify.State]int{}
	for _, a := range out.Alerts {
		counts[a.State]++
		next := any("")
		if a.Next != nil {
			next = *a.Next
		}
		status := any("")
		if a.LastStatus != 0 {
			status = a.LastStatus
		}
		v.Table.Rows = append(v.Table.Rows, []any{a.At, a.Feature, a.Percent, a.Used, limitOf(a.Limit.Limit), string(a.State), a.Attempts, next, status, a.LastError, a.ID})
	}
	v.Add("delivered", counts[notify.Delivered], "").Add("waiting", counts[notify.Pending], "")
	v.Fields = append(v.Fields, tree.Field{Name: "dead", Value: counts[notify.Dead]})
	if counts[notify.Dead] > 0 {
		v.State, v.Fields[2].State = tree.Bad, tree.Bad
		v.Note("What is dead was given up after all tries: when the receiver is well, POST /v1/alerts/{id}/replay sends it again.")
	}
	if out.More {
		v.Note(fmt.Sprintf("There are more than these %d.", len(out.Alerts)))
	}
	return v, nil
}
