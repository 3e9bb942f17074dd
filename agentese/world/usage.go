package world

import (
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/meter"
)

// mostMeters is how many meters one look asks.
const mostMeters = 50

func (w *world) usage() *tree.Node {
	return &tree.Node{
		Name: "usage",
		Line: "what the meter has counted, by meter and customer",
		Doc: "The meter's own numbers, from GET /api/v1/meters/{slug}/query: what invoices and limits go by. Without clauses it is this calendar month in UTC, of all meters, a row for each customer. " +
			"An event shows here some seconds after it was accepted; if one doesn't, look whether it waits (world.nats.consumer), was refused (world.deadletter) or was of a type that no meter counts. " +
			"There is no good or bad here: to see who nears a limit, look at world.customers.lens.",
		Synonyms: []string{"consumption", "counted usage", "usage totals", "tokens used", "metered usage", "usage report", "how much was used", "billing data", "units", "meter values", "spend"},
		Affords: []tree.Affordance{{
			Aspect: agentese.Manifest, Line: "totals by meter and customer, of a time, all at once or by hour or day",
			Asks: []string{
				"how much was used this month", "usage per customer", "how many tokens did we bill", "who uses the most", "total usage today", "usage by day", "top customers by usage",
				"what did the meter count", "how many interactions this month", "show consumption per hour", "usage report", "how much usage will be invoiced",
			},
			Params: []tree.Param{
				{Key: "customer", Line: "only this one", Of: "world.customers"},
				{Key: "meter", Line: "only this meter, by its slug"},
				{Key: "from", Line: "from when on; without it the beginning of the month", Kind: tree.Time},
				{Key: "to", Line: "until when; without it now", Kind: tree.Time},
				{Key: "window", Line: "a row for each of these", Values: []string{"day", "hour"}},
			},
			Examples: []tree.Example{
				{Expr: "world.openmeter.usage.manifest", Line: "this month, by meter and customer"},
				{Expr: "world.openmeter.usage.manifest[from=2d][window=day]", Line: "day by day"},
				{Expr: "world.openmeter.usage.manifest[sort=-value][first=10]", Line: "who has used the most"},
			},
			See: w.seeUsage,
		}},
	}
}

func (w *world) seeUsage(ctx context.Context, c *tree.Call) (tree.Value, error) {
	now := c.Now().UTC()
	from, to := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC), now
	if c.Args.Has("from") {
		from = c.Args.Time("from")
	}
	if c.Args.Has("to") {
		to = c.Args.Time("to")
	}
	// Meters count by the minute, and this one hasn't ended.
	from, to = from.UTC().Truncate(time.Minute), to.UTC().Truncate(time.Minute).Add(time.Minute)
	if !from.Before(to) {
		return tree.Value{}, &agentese.Error{Kind: agentese.KindClause, What: "[from=…] must be before [to=…]"}
	}
	api := w.For(c)
	var meters []meter.Meter
	if err := api.Get(ctx, "/api/v1/meters", nil, &meters); err != nil {
		return tree.Value{}, living.Away("the meter", err)
	}
	v := tree.Value{Title: "Usage from " + from.Format("2006-01-02 15:04") + " to " + to.Format("2006-01-02 15:04 MST")}
	v.Table = &tree.Table{Columns: []tree.Column{{Name: "meter"}, {Name: "customer", Link: "world.customers.{}"}, {Name: "from"}, {Name: "value"}}}
	window := c.Args.Get("window")
	asked := 0
	var known []string
	for _, m := range meters {
		known = append(known, m.Slug)
		if want := c.Args.Get("meter"); want != "" && !strings.EqualFold(m.Slug, want) {
			continue
		}
		if asked++; asked > mostMeters {
			v.Note("Only the first 50 meters were asked: name one with [meter=…].")
			break
		}
		query := url.Values{"from": {from.Format(time.RFC3339)}, "to": {to.Format(time.RFC3339)}, "groupBy": {"subject"}}
		if window != "" {
			query.Set("windowSize", strings.ToUpper(window))
		}
		if customer := c.Args.Get("customer"); customer != "" {
			query.Set("subject", customer)
		}
		var result meter.Result
		if err := api.Get(ctx, "/api/v1/meters/"+url.PathEscape(m.Slug)+"/query", query, &result); err != nil {
			return tree.Value{}, living.Away("the meter "+m.Slug, err)
		}
		for _, row := range result.Data {
			if len(v.Table.Rows) == tree.MaxRows {
				v.Table.Total = tree.MaxRows + 1
				v.Note("There is more than these 10,000 rows: narrow it down.")
				return v, nil
			}
			customer := any(nil)
			if row.Subject != nil {
				customer = *row.Subject
			}
			v.Table.Rows = append(v.Table.Rows, []any{m.Slug, customer, row.WindowStart, row.Value})
		}
	}
	if asked == 0 && len(meters) > 0 {
		return tree.Value{}, &agentese.Error{Kind: agentese.KindNotFound, What: "there is no meter " + agentese.QuoteName(c.Args.Get("meter")), Why: "there are " + strings.Join(known, ", ")}
	}
	if len(v.Table.Rows) == 0 {
		v.Note("Nothing was counted in this time.")
		v.Then("world.nats.consumer.manifest", "whether events wait")
		v.Then("world.deadletter.manifest", "whether events were refused")
	}
	v.Then("world.openmeter.events.manifest", "the newest events")
	v.Then("world.customers.lens", "who is near a limit")
	return v, nil
}
