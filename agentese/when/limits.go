package when

import (
	"context"
	"net/url"
	"slices"
	"time"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/entitle"
	"github.com/kgents/kgents/invoice"
	"github.com/kgents/kgents/plan"
)

const (
	mostCustomers = 20 // whose limits are foreseen without a name
	nearPercent   = "50"

	// leastUsage is the least time through which usage is looked at: the meter's windows
	// are hours, and a line wants five points.
	leastUsage = 24 * time.Hour
)

// foreseeLimits is when customers reach the limits of what meters count.
func (w *view) foreseeLimits(ctx context.Context, c *tree.Call, v *tree.Value, whole time.Duration) ([]outlook, error) {
	api := w.For(c)
	var plans plan.View
	if err := api.Get(ctx, "/v1/plans", nil, &plans); err != nil {
		return nil, living.Away("the plans", err)
	}
	features := map[string]plan.FeatureView{}
	for _, f := range plans.Features {
		features[f.ID] = f
	}
	customers := []string{c.Args.Get("customer")}
	if customers[0] == "" {
		var page struct {
			Near  []entitle.Entitlement
			Total int
		}
		if err := api.Get(ctx, "/v1/entitlements/near", url.Values{"percent": {nearPercent}, "limit": {"100"}}, &page); err != nil {
			return nil, living.Away("who is near a limit", err)
		}
		customers = nil
		for _, e := range page.Near {
			if !slices.Contains(customers, e.Customer) {
				customers = append(customers, e.Customer)
			}
		}
		if len(customers) > mostCustomers {
			v.Note("Only the 20 customers that are nearest to a limit are looked at: name another with [customer=…].")
			customers = customers[:mostCustomers]
		}
		if len(customers) == 0 {
			v.Note("No customer has used half of a limit: name one with [customer=…].")
		}
	}
	var out []outlook
	for _, id := range customers {
		had, err := w.limitsOf(ctx, c, id, features, max(whole, leastUsage))
		if err != nil && len(customers) == 1 {
			return nil, err
		}
		living.Missing(v, "Limits of "+agentese.QuoteName(id), err)
		out = append(out, had...)
		if len(v.Next) < 3 {
			v.Then(agentese.JoinPath("world", "customers", id, "limits")+".manifest", "what "+id+" has used of what it may")
		}
	}
	if len(customers) > 0 {
		v.Note("Limits are foreseen from what the meter counted hour by hour in " + span(max(whole, leastUsage)) + ", since the first use in it.")
	}
	return out, nil
}

// limitsOf is that of one customer.
func (w *view) limitsOf(ctx context.Context, c *tree.Call, id string, features map[string]plan.FeatureView, whole time.Duration) ([]outlook, error) {
	api, now := w.For(c), c.Now()
	var has struct{ Entitlements []entitle.Entitlement }
	if err := api.Get(ctx, "/v1/entitlements", url.Values{"customer": {id}}, &has); err != nil {
		return nil, living.Away("the limits of "+agentese.QuoteName(id), err)
	}
	var used invoice.Usage
	query := url.Values{"customer": {id}, "by": {"hour"}, "from": {stamp(now.Add(-whole).Truncate(time.Hour))}}
	if err := api.Get(ctx, "/v1/usage", query, &used); err != nil {
		return nil, living.Away("the usage of "+agentese.QuoteName(id), err)
	}
	var out []outlook
	for _, e := range has.Entitlements {
		f := features[e.Feature]
		if f.Meter == "" || e.Limit.Unlimited() || e.Reason == string(entitle.ReasonPlan) {
			continue
		}
		points := soFar(used.Rows, f.Meter, now)
		out = append(out, limit(id+" "+e.Feature, e, f.Unit, points, now))
	}
	return out, nil
}

// soFar adds usage up, hour by hour, from the first that has some.
func soFar(rows []invoice.UsageRow, meter string, now time.Time) []living.Point {
	by := map[int64]float64{}
	first := time.Time{}
	for _, r := range rows {
		if r.Meter != meter {
			continue
		}
		from := r.From.UTC().Truncate(time.Hour)
		by[from.Unix()] += r.Value
		if first.IsZero() || from.Before(first) {
			first = from
		}
	}
	if first.IsZero() {
		return nil
	}
	out := []living.Point{{Time: first}}
	sum := 0.0
	for at := first; at.Before(now); at = at.Add(time.Hour) {
		sum += by[at.Unix()]
		end := at.Add(time.Hour)
		if end.After(now) {
			end = now
		}
		out = append(out, living.Point{Time: end, Value: sum})
	}
	return out
}

// limit is when a customer reaches one.
func limit(what string, e entitle.Entitlement, unit string, points []living.Point, now time.Time) outlook {
	o := outlook{what: what, unit: unit + "s", now: float64(e.Used), limit: float64(e.Limit.N())}
	billed := e.Over == string(kgents.OverBill)
	worst := tree.Bad
	if billed {
		worst = tree.Well // it costs, and nothing is refused
	}
	line, drawn := lineThrough(points)
	o.line, o.drawn = line, drawn
	past := "then it is refused"
	if billed {
		past = "from then on it is billed as overage"
	}
	switch {
	case e.Used >= e.Limit.N():
		o.reached, o.state, o.verdict = now, worst, "reached"
		if e.ResetsAt != nil {
			o.verdict += ", until " + stamp(*e.ResetsAt)
		}
		return o
	case len(points) == 0:
		o.state, o.verdict = tree.Well, never+": nothing was used"
		return o
	case !drawn:
		return o.unsaid(points)
	}
	in, reaches := line.until(float64(e.Used), float64(e.Limit.N()), true)
	at := now.Add(in)
	switch {
	case !reaches:
		o.state, o.verdict = tree.Well, never
	case e.ResetsAt != nil && at.After(*e.ResetsAt):
		o.state, o.verdict = tree.Well, "not before it begins anew at "+stamp(*e.ResetsAt)
	default:
		o.reached, o.state, o.verdict = at, urgency(in), "reached in "+span(in)+"; "+past
		if billed {
			o.state = tree.Well
		}
	}
	return o
}
