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

func (w *view) past() *tree.Node {
	return &tree.Node{
		Name: "past",
		Line: "the figures of a time beside those of now",
		Doc: "How the system, or one part of it, stood at a time: each figure then, now, and the difference, and what happened shortly before. " +
			"Figures are from Prometheus where it is configured, else from the memory of the process that answers, which has six hours; what has happened is kept for 30 days. " +
			"A time that nobody has kept is said to be unknown, with since when something is known; nothing is worked out between.",
		Synonyms: []string{"back then", "earlier", "yesterday", "hours ago", "compare with before", "before and after", "snapshot", "rewind", "at that time", "previous state", "time travel", "last night", "difference"},
		Operator: true,
		Affords: []tree.Affordance{{
			Aspect: agentese.Manifest, Line: "figures at a time, now, and the difference",
			Asks: []string{
				"how was it an hour ago", "compare now with two hours ago", "what was different yesterday", "state of the system at a time", "what did it look like before", "was it slower this morning",
				"how many events waited at noon", "go back to three o'clock", "what were the numbers before the deploy", "rewind to last night", "is it better than an hour ago", "what has changed in the figures",
			},
			Params: []tree.Param{
				{Key: "at", Line: "when", Kind: tree.Time, Default: "1h"},
				{Key: "of", Line: "only of this holon and what is below it", Paths: true},
			},
			Examples: []tree.Example{
				{Expr: "time.past.manifest", Line: "an hour ago beside now"},
				{Expr: "time.past.manifest[at=2h][of=world.nats]", Line: "NATS two hours ago"},
			},
			See: w.seePast,
		}},
	}
}

// near is how far from a time a point may be that is taken for it: 90 seconds, and less
// where the time is only just past, so that now is not taken for then.
func near(at, now time.Time) time.Duration {
	return min(90*time.Second, max(15*time.Second, now.Sub(at)/2))
}

// before is how long before a time is looked for what happened, and most how much of it
// is shown.
const (
	before = 30 * time.Minute
	most   = 20
)

func (w *view) seePast(ctx context.Context, c *tree.Call) (tree.Value, error) {
	at := c.Args.Time("at")
	if at.After(c.Now()) {
		return tree.Value{}, &agentese.Error{Kind: agentese.KindClause, What: stamp(at) + " is not past", Try: []string{"time.future.manifest"}}
	}
	of := c.Args.Get("of")
	v := tree.Value{Title: "How it was at " + stamp(at), Table: &tree.Table{Columns: []tree.Column{
		{Name: "part"}, {Name: "figure"}, {Name: "then"}, {Name: "now"}, {Name: "difference"}, {Name: "unit"},
	}}}
	var err error
	about, path := "", ""
	if of == "" {
		err = w.compare(ctx, c, &v, at, figuresOf(""))
	} else {
		var step agentese.Step
		var place tree.Place
		if step, place, err = stepOf(c, of); err != nil {
			return v, err
		}
		about = step.Names[len(step.Names)-1].Text
		if path = step.Path(); strings.ContainsAny(path, "[]\"") {
			path = "" // it would have to be quoted twice
		}
		v.Title = "How " + step.Path() + " was at " + stamp(at)
		own, has := place.Node.Affordance(agentese.Witness)
		switch figures := figuresOf(place.Pattern); {
		case has && !c.Observer.May(*own):
			_, _, err = c.Tree.Resolve(step, c.Session)
			return v, unplaced(err)
		case len(figures) > 0:
			err = w.compare(ctx, c, &v, at, figures)
		case has:
			err = w.compareWitness(ctx, c, &v, at, step, own)
		default:
			v.Note(step.Path() + " has no figures that are kept.")
		}
	}
	living.Missing(&v, "Figures", err)
	shown := w.shortlyBefore(ctx, &v, at, about)
	if len(v.Table.Rows) == 0 && !shown && err != nil {
		return v, err
	}
	if path != "" {
		v.Then("time.witness.manifest[of="+path+"]", "all that lies between")
	}
	v.Then("time.incident.manifest", "what has happened since, in one list")
	return v, nil
}

// compare adds a row for each figure.
func (w *view) compare(ctx context.Context, c *tree.Call, v *tree.Value, at time.Time, figures []figure) error {
	asks := make([]living.Ask, len(figures))
	for i, f := range figures {
		asks[i] = living.Ask{Name: f.name, Rate: f.rate}
	}
	now := c.Now()
	then, err := w.around(ctx, at, now, asks)
	if err != nil {
		return err
	}
	last := then
	if w.PrometheusURL != "" {
		if last, err = w.around(ctx, now, now, asks); err != nil {
			return err
		}
	}
	known, reach, newest := 0, near(at, now), near(now.Add(-time.Hour), now)
	for i, f := range figures {
		a, b := nearest(then.Series[i].Points, at, reach), nearest(last.Series[i].Points, now, newest)
		if a != nil {
			known++
		}
		v.Table.Rows = append(v.Table.Rows, []any{f.part, f.what, a, b, difference(a, b), f.unit})
	}
	v.Note("Figures are from " + then.From + ", within " + span(reach) + " of the time.")
	switch {
	case then.Since.Sub(at) > reach:
		v.Note("Nothing older than " + stamp(then.Since) + " is kept there, so how it was then is not known.")
	case known == 0:
		v.Note("It has no figure of that time.")
	}
	return nil
}

// around asks for figures at a time; of the program, whose answers always end now, for
// all since then.
func (w *view) around(ctx context.Context, at, now time.Time, asks []living.Ask) (living.Past, error) {
	reach := near(at, now)
	if w.PrometheusURL == "" {
		step := time.Minute
		if now.Sub(at) < time.Hour {
			step = 10 * time.Second
		}
		return w.Series(ctx, at.Add(-reach), now, step, asks...)
	}
	end := at.Add(reach)
	if end.After(now) {
		end = now
	}
	return w.Series(ctx, at.Add(-reach), end, 10*time.Second, asks...)
}

// nearest is the value nearest to a time, nil if none is that close.
func nearest(points []living.Point, at time.Time, reach time.Duration) any {
	best, value := reach+1, any(nil)
	for _, p := range points {
		if d := p.Time.Sub(at).Abs(); d < best {
			best, value = d, p.Value
		}
	}
	return value
}

// difference is that of two figures; nil without one of them.
func difference(then, now any) any {
	a, okA := then.(float64)
	b, okB := now.(float64)
	if !okA || !okB {
		return nil
	}
	return b - a
}

// compareWitness takes the figures out of a holon's own history.
func (w *view) compareWitness(ctx context.Context, c *tree.Call, v *tree.Value, at time.Time, step agentese.Step, own *tree.Affordance) error {
	for _, p := range own.Params {
		switch p.Key {
		case "since":
			step = step.With("since", stamp(at.Add(-near(at, c.Now()))))
		case "step":
			step = step.With("step", max(c.Now().Sub(at)/360, time.Minute).Round(time.Second).String())
		}
	}
	had, err := c.Tree.Run(ctx, agentese.Expression{Steps: []agentese.Step{step}}, c.Session)
	if err != nil {
		return unplaced(err)
	}
	v.Notes = append(v.Notes, had.Notes...)
	if had.Table == nil || len(had.Table.Columns) == 0 || had.Table.Columns[0].Name != "time" {
		v.Note("Its history has no figures by time.")
		return nil
	}
	for i, col := range had.Table.Columns[1:] {
		var points []living.Point
		for _, row := range had.Table.Rows {
			t, isTime := row[0].(time.Time)
			n, isFigure := row[i+1].(float64)
			if isTime && isFigure {
				points = append(points, living.Point{Time: t, Value: n})
			}
		}
		if len(points) > 0 {
			a, b := nearest(points, at, near(at, c.Now())), nearest(points, c.Now(), 90*time.Second)
			v.Table.Rows = append(v.Table.Rows, []any{step.Path(), col.Name, a, b, difference(a, b), col.Unit})
		}
	}
	if len(v.Table.Rows) == 0 {
		v.Note("Its history has no figures, only what has happened.")
	}
	return nil
}

// shortlyBefore tells what happened in the half hour before a time, to one part or to
// all, and says whether something is known of it.
func (w *view) shortlyBefore(ctx context.Context, v *tree.Value, at time.Time, about string) bool {
	entries, note, err := w.Entries(ctx, at.Add(-before))
	if err != nil {
		living.Missing(v, "What happened before", err)
		return false
	}
	var b strings.Builder
	n := 0
	for _, e := range entries {
		if e.Time.After(at) || about != "" && !mentions(e.What, about) && !mentions(e.Detail, about) {
			continue
		}
		if n++; n > most {
			break
		}
		fmt.Fprintf(&b, "%s  %s", stamp(e.Time), e.What)
		if e.Detail != "" {
			b.WriteString(" (" + e.Detail + ")")
		}
		b.WriteByte('\n')
	}
	if v.Text = b.String(); n == 0 {
		v.Note("Nothing is noted in the 30 minutes before.")
	}
	if note != "" {
		v.Note(note)
	}
	return true
}
