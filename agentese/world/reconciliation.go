package world

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/api/client"
	"github.com/kgents/kgents/reconcile"
)

func (w *world) reconciliation() *tree.Node {
	since := tree.Param{Key: "since", Line: "how far back it compares; it compares now when this is given", Kind: tree.Duration, Longest: reconcile.MaxPeriod}
	settle := tree.Param{Key: "settle", Line: "how long ago the compared time ends: the meter lists an event some seconds after it took it", Kind: tree.Duration, Longest: time.Hour, Default: "1m"}
	back := since
	back.Line, back.Default = "how far back it compares", "24h"
	return &tree.Node{
		Name: "reconciliation",
		Line: "what was admitted and is not in the meter: money that is not counted",
		Doc: "The stream's events compared with those that the meter lists. The program does so on a schedule and mends what it finds; this shows what the last run of any replica has found, or, with [since=…] or before the first run, compares now without changing anything (POST /api/v1/reconcile; a day takes seconds to a minute). " +
			"Missing must be 0: anything else is the critical alert ReconcileMissingEvents. Surplus is in the meter and not in the stream, which is normal for events older than the stream's age. " +
			"When events are missing, send them again with refine: each counts once, however often it is sent.",
		Synonyms: []string{"reconcile", "missing events", "lost events", "lost money", "comparison", "audit of usage", "difference", "discrepancy", "revenue leakage", "uncounted usage", "balance"},
		Operator: true,
		Affords: []tree.Affordance{
			{
				Aspect: agentese.Manifest, Line: "the last comparison of stream and meter, or one now",
				Asks: []string{
					"are we losing money", "are events missing", "does the meter have everything", "is anything not billed", "last reconciliation", "compare stream and meter", "lost usage",
					"is the usage complete", "revenue leakage", "when did we last reconcile", "did openmeter lose events", "how many events are not counted",
				},
				Params: []tree.Param{since, settle},
				Examples: []tree.Example{
					{Expr: "world.openmeter.reconciliation.manifest", Line: "what the last run has found"},
					{Expr: "world.openmeter.reconciliation.manifest[since=24h]", Line: "a comparison of the last day, now"},
				},
				See: w.seeReconciliation,
			},
			{
				Aspect: agentese.Refine, Line: "send again what is missing in the meter", Needs: tree.Architect,
				Asks: []string{
					"send missing events again", "fix the missing usage", "reconcile now", "repair the meter", "mend lost events", "backfill missing usage", "make the meter complete", "resend what was lost",
					"fix revenue leakage", "run reconciliation with fix",
				},
				Params: []tree.Param{back, settle},
				Examples: []tree.Example{
					{Expr: "world.openmeter.reconciliation.refine[dry_run=true]", Line: "what would be sent again"},
					{Expr: "world.openmeter.reconciliation.refine[since=2d]", Line: "mend the last two days"},
				},
				Change: w.mend,
			},
		},
	}
}

// compare runs a reconciliation that changes nothing.
func (w *world) compare(ctx context.Context, c *tree.Call, since time.Duration) (r reconcile.Report, err error) {
	settle := c.Args.Duration("settle")
	if since <= settle {
		return r, &agentese.Error{Kind: agentese.KindClause, What: fmt.Sprintf("[since=…] must be more than [settle=%s]", length(settle)), Why: "an event shows in the meter some seconds after it was taken"}
	}
	return w.reconcile(ctx, c, url.Values{"since": {since.String()}, "settle": {settle.String()}})
}

// reconcile makes a run.
func (w *world) reconcile(ctx context.Context, c *tree.Call, query url.Values) (r reconcile.Report, err error) {
	err = w.For(c).Do(ctx, http.MethodPost, "/api/v1/reconcile", query, nil, &r)
	switch client.Status(err) {
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return r, living.Absent("a reconciliation at this address", "name 'kgents up' or a sink with --url: the API has no such route")
	}
	return r, living.Away("the reconciliation", err)
}

func (w *world) seeReconciliation(ctx context.Context, c *tree.Call) (tree.Value, error) {
	if c.Args.Has("since") {
		return w.compared(ctx, c, c.Args.Duration("since"))
	}
	r, err := w.report(ctx, c)
	if err != nil {
		return tree.Value{}, err
	}
	rec := r.Reconciliation
	if rec == nil {
		return tree.Value{}, living.Absent("reconciliation at a "+r.Role, "name 'kgents up' or a sink with --url")
	}
	if rec.Last.IsZero() || rec.Missing == nil {
		v, err := w.compared(ctx, c, reconcile.DefaultSince)
		v.Note("No scheduled run has ended yet, so this is a comparison of the last day, made now.")
		return v, err
	}
	v := tree.Value{Title: "The last reconciliation", State: w.limits.verdict("ReconcileMissingEvents", *rec.Missing)}
	add(&v, "missing", *rec.Missing, "", v.State, "alert ReconcileMissingEvents")
	v.Add("ended", rec.Last, "").Add("ago", r.Now.Sub(rec.Last), "")
	if rec.Interval > 0 {
		v.Add("every", seconds(rec.Interval), "")
	} else {
		add(&v, "every", nil, "", tree.Warn, "none is scheduled: set RECONCILE_INTERVAL")
	}
	v.Then("world.openmeter.reconciliation.manifest[since=24h]", "compare now")
	if *rec.Missing > 0 {
		v.Then("world.openmeter.reconciliation.refine[since=24h]", "send again what is missing")
	}
	return v, nil
}

// compared is a comparison now.
func (w *world) compared(ctx context.Context, c *tree.Call, since time.Duration) (tree.Value, error) {
	r, err := w.compare(ctx, c, since)
	if err != nil {
		return tree.Value{}, err
	}
	return w.outcome(r), nil
}

// outcome shows a report.
func (w *world) outcome(r reconcile.Report) tree.Value {
	v := tree.Value{Title: fmt.Sprintf("Stream and meter from %s to %s", r.Since.UTC().Format(time.DateTime), r.Until.UTC().Format(time.DateTime+" MST"))}
	v.State = w.limits.verdict("ReconcileMissingEvents", r.Total.Lost())
	add(&v, "missing", r.Total.Lost(), "", v.State, "alert ReconcileMissingEvents")
	v.Add("mended", r.Total.Mended, "").Add("in stream", r.Total.InStream, "").Add("in meter", r.Total.InMeter, "")
	v.Add("surplus", r.Total.Surplus, "").Add("different", r.Total.Different, "").Add("dead letters", r.Total.DeadLetters, "")
	v.Add("not looked up", r.Total.Unchecked, "").Add("messages under way", r.InFlight, "").Add("took", seconds(r.Seconds), "")
	v.Table = &tree.Table{Columns: []tree.Column{
		{Name: "type"}, {Name: "customer", Link: "world.customers.{}"}, {Name: "missing"}, {Name: "mended"}, {Name: "surplus"}, {Name: "different"}, {Name: "in stream"}, {Name: "in meter"},
	}}
	for _, row := range r.Rows[:min(len(r.Rows), tree.MaxRows)] {
		v.Table.Rows = append(v.Table.Rows, []any{row.Type, row.Customer, row.Missing, row.Mended, row.Surplus, row.Different, row.InStream, row.InMeter})
	}
	for _, f := range r.Examples[:min(len(r.Examples), 10)] {
		v.Text += fmt.Sprintf("- %s: source %s, id %s\n", f.Kind, f.Source, f.ID)
	}
	if r.Total.Lost() > 0 {
		v.Then("world.openmeter.reconciliation.refine", "send again what is missing")
	}
	if r.Total.DeadLetters > 0 {
		v.Then("world.deadletter.manifest", "the dead letters")
	}
	return v
}

// mend sends what its preview has found: of the same messages, and no more events.
func (w *world) mend(ctx context.Context, c *tree.Call) (*tree.Change, error) {
	since := c.Args.Duration("since")
	r, err := w.compare(ctx, c, since)
	if err != nil {
		return nil, err
	}
	lost := r.Total.Lost()
	if lost == 0 {
		return &tree.Change{Nothing: true, Does: []string{fmt.Sprintf("Nothing is missing: all %d events of the last %s are in the meter, under way or dead letters.", r.Total.InStream, length(since))}}, nil
	}
	plan := &tree.Change{
		Does: []string{
			fmt.Sprintf("send %d missing events of the last %s to the meter again", lost, length(since)),
			fmt.Sprintf("of what was stored from %s to %s, and no more of them", r.Since.UTC().Format(time.DateTime), r.Until.UTC().Format(time.DateTime+" MST")),
		},
		Affects: int(lost),
		Final:   "what the meter has counted is not taken out of it again; each event counts once",
		Do: func(ctx context.Context) (tree.Value, error) {
			if c.Session.Progress != nil {
				c.Session.Progress("comparing and sending again; this takes as long as the comparison did")
			}
			fixed, err := w.reconcile(ctx, c, url.Values{
				"since": {r.Since.Format(time.RFC3339Nano)}, "until": {r.Until.Format(time.RFC3339Nano)}, "last": {strconv.FormatUint(r.Last, 10)},
				"fix": {"true"}, "most": {strconv.FormatInt(lost, 10)},
			})
			if err != nil {
				return tree.Value{}, err
			}
			v := w.outcome(fixed)
			if less := lost - fixed.Total.Missing; less > 0 {
				v.Note(fmt.Sprintf("%d of the %d were no longer missing and were not sent.", less, lost))
			}
			// A comparison takes long, so it is the person who asks for another.
			v.Then("world.openmeter.reconciliation.manifest[since="+c.Args.Get("since")+"]", "whether the meter lists them by now")
			if left := fixed.Total.Lost(); left > 0 {
				return v, fmt.Errorf("%d events are missing still: look at the sink's log and at the meter's", left)
			}
			return v, nil
		},
	}
	shown := 0
	for _, row := range r.Rows {
		if row.Lost() == 0 {
			continue
		}
		if shown++; shown > 10 {
			plan.Does = append(plan.Does, "and those of more types and customers")
			break
		}
		plan.Does = append(plan.Does, fmt.Sprintf("of them %d of type %s of customer %s", row.Lost(), row.Type, row.Customer))
	}
	if r.Total.DeadLetters > 0 {
		plan.Warnings = append(plan.Warnings, fmt.Sprintf("%d dead letters stay as they are: see world.deadletter", r.Total.DeadLetters))
	}
	return plan, nil
}
