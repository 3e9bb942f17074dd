package when

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
)

// What there is to foresee.
const (
	ofDisk    = "disk"
	ofStream  = "stream"
	ofSpool   = "spool"
	ofBacklog = "backlog"
	ofLimits  = "limits"
)

func (w *view) future() *tree.Node {
	return &tree.Node{
		Name: "future",
		Line: "when the disk, the stream, the spool or a customer's limit will be reached, by trend",
		Doc: "A straight line through the last hours (least squares), and where it leads: when the disk is full, when the stream or the spool reaches its limit, whether the backlog shrinks and when it is gone, and when a customer reaches a limit of its plan in this period. " +
			"Each row says over how much of the past and how well the line fits; never at this rate stands where it is flat or leads away. With fewer than 5 points, or less than 2 minutes of them, nothing is said. " +
			"State is degraded when it is within 7 days and an error within a day; of the stream and the spool by when their alerts (StreamNearlyFull, SpoolNearlyFull) would fire. " +
			"A stream stops growing when its oldest events reach their age of 30 days, which a line doesn't know.",
		Synonyms: []string{
			"forecast", "prediction", "projection", "extrapolation", "capacity planning", "running out", "will be full", "time left", "growth", "at this rate", "next week", "run out of space", "trend", "headroom", "eta",
		},
		Operator: true,
		Affords: []tree.Affordance{{
			Aspect: agentese.Manifest, Line: "when each of them will be full or gone, at the rate of the last hours",
			Asks: []string{
				"when will we run out of space", "how long will the disk last", "when does the stream reach its limit", "when is the queue worked off", "is the backlog shrinking", "will a customer exceed the plan",
				"capacity forecast", "do we need a bigger disk", "how many days until it is full", "when does the quota run out", "who will run into a limit this month", "how long can we survive without nats",
				"how fast does it grow", "what fills up first", "time until the customer is refused",
			},
			Params: []tree.Param{
				{Key: "of", Line: "only this", Values: []string{ofDisk, ofStream, ofSpool, ofBacklog, ofLimits}},
				{Key: "customer", Line: "limits of this customer; without it, of those that have used half of one", Of: "world.customers"},
				{Key: "over", Line: "how much of the past the line is drawn through", Kind: tree.Duration, Default: "6h", Longest: 30 * 24 * time.Hour},
			},
			Examples: []tree.Example{
				{Expr: "time.future.manifest", Line: "all of them"},
				{Expr: "time.future.manifest[of=disk]", Line: "when the disk is full"},
				{Expr: "time.future.manifest[of=limits][customer=acme]", Line: "when acme reaches its limits"},
			},
			See: w.seeFuture,
		}},
	}
}

const day = 24 * time.Hour

// urgency is how bad it is that something happens so soon.
func urgency(left time.Duration) tree.State {
	switch {
	case left <= day:
		return tree.Bad
	case left <= 7*day:
		return tree.Warn
	}
	return tree.Well
}

// outlook is what is foreseen of one thing.
type outlook struct {
	what       string
	now, limit any
	unit       string
	verdict    string
	reached    time.Time
	line       trend
	drawn      bool // there is a line
	silent     bool // nothing can be said of it
	state      tree.State
}

// outlooks are a table of them.
var outlookColumns = []tree.Column{
	{Name: "what"}, {Name: "state"}, {Name: "verdict"}, {Name: "reached"}, {Name: "now"}, {Name: "limit"}, {Name: "per hour"}, {Name: "unit"}, {Name: "fit", Unit: "percent"}, {Name: "over"}, {Name: "points"},
}

func (o outlook) row() []any {
	var rate, fit, over, points any
	if o.drawn {
		rate, fit, over, points = o.line.rate*3600, o.line.fit*100, o.line.span, int64(o.line.points)
	}
	state := o.state
	if state == "" {
		state = tree.Unknown
	}
	return []any{o.what, string(state), o.verdict, moment(o.reached), o.now, o.limit, rate, o.unit, fit, over, points}
}

func (w *view) seeFuture(ctx context.Context, c *tree.Call) (tree.Value, error) {
	of, whole := c.Args.Get("of"), c.Args.Duration("over")
	if c.Args.Has("customer") {
		if of != "" && of != ofLimits {
			return tree.Value{}, &agentese.Error{Kind: agentese.KindClause, What: "a customer has limits, and no " + of, Try: []string{"time.future.manifest[of=limits][customer=" + agentese.QuoteName(c.Args.Get("customer")) + "]"}}
		}
		of = ofLimits
	}
	v := tree.Value{Title: "What will be reached at the rate of the last " + tree.Human(whole, "", time.Time{}), Table: &tree.Table{Columns: outlookColumns}}
	var all []outlook
	var failed error
	if of != ofLimits {
		had, err := w.foresee(ctx, c, &v, of, whole)
		if failed = err; err != nil && of != "" {
			return v, err
		}
		living.Missing(&v, "Disk, stream, spool and backlog", err)
		all = had
	}
	if of == "" || of == ofLimits {
		had, err := w.foreseeLimits(ctx, c, &v, whole)
		if err != nil && (of != "" || failed != nil) {
			return v, err
		}
		living.Missing(&v, "Limits of customers", err)
		all = append(all, had...)
	}
	first := outlook{}
	var silent []string
	for _, o := range all {
		if o.silent {
			silent = append(silent, o.what)
		}
		v.State = living.Worse(v.State, o.state)
		v.Table.Rows = append(v.Table.Rows, o.row())
		if !o.reached.IsZero() && o.limit != nil && (first.what == "" || o.reached.Before(first.reached)) {
			first = o
		}
	}
	if first.what != "" {
		v.Fields = append(v.Fields, tree.Field{Name: "first", Value: first.what, State: first.state, Note: first.verdict}, tree.Field{Name: "at", Value: first.reached})
	} else if len(all) > 0 && len(silent) == len(all) {
		v.Add("first", nil, "")
	} else {
		v.Add("first", "nothing at this rate", "")
	}
	if len(silent) > 0 {
		v.Note("Too little is known yet of " + strings.Join(silent, ", ") + " to say anything of it.")
	}
	v.Note(fmt.Sprintf("A straight line through the points (least squares); fit is how much of their variance it explains. Nothing is said with fewer than %d points, or less than %s of them.", leastPoints, leastSpan))
	v.Then("world.nats.stream.witness", "how the stream has grown")
	v.Then("world.customers.lens", "customers by what they use")
	return v, nil
}

// unsaid is the outlook where no line can be drawn.
func (o outlook) unsaid(points []living.Point) outlook {
	o.silent, o.verdict = true, "nothing is known of the past"
	if len(points) > 0 {
		span := points[len(points)-1].Time.Sub(points[0].Time)
		o.verdict = fmt.Sprintf("not said: too few points, %d over %s", len(points), span.Round(time.Second))
	}
	return o
}
