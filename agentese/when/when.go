// Package when is the context time of the tree: what was, what is planned, and what will
// be, if things go on as they do.
//
// It promises that looking changes nothing, that a figure of the past is one that was
// kept (by Prometheus where it is configured, else by the program, for six hours) and
// never one that was worked out, and that what is said about the future says from how
// much of the past it is drawn and how well a straight line fits that. With fewer than
// five points, or less than two minutes of them, nothing is said.
//
// When a source is away, what the others know is shown, with a note on what is missing.
package when

import (
	"context"
	"time"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/api/client"
	"github.com/kgents/kgents/system"
)

// view is what the nodes look at.
type view struct {
	*living.Sources
	limits living.Thresholds
}

// Context is the tree's part.
func Context(from *living.Sources) *tree.Node {
	v := &view{from, living.ReadThresholds()}
	return &tree.Node{
		Name: "time",
		Line: "what was, what is planned, and what will be",
		Doc: "The system over time: the way of one event (trace), the history of any holon (witness), what has to be done regularly and whether it was (schedule), " +
			"what went wrong and what was changed (incident), how it was at a time (past), and when something will be full (future). " +
			"Figures of the past are from Prometheus where it is configured, else from the memory of the one process that answers, which has six hours; what has happened is kept for 30 days. " +
			"After something broke, begin with time.incident.manifest.",
		Synonyms: []string{"when", "history", "past and future", "chronology", "timeline", "back then", "over time", "memory of the system", "forecast", "log of events", "before and after", "record"},
		Affords: []tree.Affordance{{
			Aspect: agentese.Manifest, Line: "how far back is known, from whom, and what can be looked at",
			Asks: []string{
				"how far back can i look", "how long is history kept", "what do you remember", "what can i see about the past", "retention of metrics", "since when do we have data",
				"where does the history come from", "which views over time are there", "oldest data we have", "time related commands", "is prometheus used for history",
			},
			Examples: []tree.Example{{Expr: "time.manifest", Line: "how far back is known"}},
			See:      v.see,
		}},
		Children: []*tree.Node{v.trace(), v.witness(), v.schedule(), v.incident(), v.past(), v.future()},
	}
}

func (w *view) see(ctx context.Context, c *tree.Call) (tree.Value, error) {
	v := tree.Value{Title: "What is known over time"}
	now := c.Now()
	had, err := w.Series(ctx, now.AddDate(0, 0, -7), now, 0, living.Ask{Name: "kgents_nats_connected"})
	switch {
	case err != nil:
		v.Add("figures from", nil, "").Add("figures since", nil, "")
		living.Missing(&v, "Figures", err)
	default:
		v.Add("figures from", had.From, "")
		if points := had.Series[0].Points; len(points) > 0 {
			v.Add("figures since", points[0].Time, "")
			if had.From == "Prometheus" {
				v.Fields[1].Note = "as far as the last seven days go"
			}
		} else {
			v.Add("figures since", nil, "")
		}
	}
	entries, note, err := w.Entries(ctx, now.AddDate(0, -1, 0))
	if err != nil {
		v.Add("what has happened since", nil, "")
		living.Missing(&v, "What has happened", err)
	} else if len(entries) > 0 {
		v.Add("what has happened since", entries[len(entries)-1].Time, "")
	}
	if note != "" {
		v.Note(note)
	}
	v.Table = &tree.Table{Columns: []tree.Column{{Name: "look at", Link: "time.{}"}, {Name: "what"}}}
	here, _ := c.Tree.At("time")
	for _, n := range here.Node.Children {
		v.Table.Rows = append(v.Table.Rows, []any{n.Name, n.Line})
	}
	v.Then("time.incident.manifest", "what has happened lately")
	v.Then("time.future.manifest", "what will be full, and when")
	return v, nil
}

// report is GET /api/v1/system.
func (w *view) report(ctx context.Context, c *tree.Call) (r system.Report, err error) {
	err = w.For(c).Get(ctx, system.Path, nil, &r)
	if client.Status(err) == 404 {
		return r, living.Away("the program", system.ErrOld)
	}
	return r, living.Away("the program", err)
}

// moment is a time; nil for the zero time.
func moment(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC()
}

// text is a value, or nil for an empty one.
func text(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// stamp is a time within a sentence.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// since is the begin that a step asks for, never in the future.
func since(c *tree.Call, without time.Duration) time.Time {
	at := c.Args.Time("since")
	if at.IsZero() || !at.Before(c.Now()) {
		at = c.Now().Add(-without)
	}
	return at
}
