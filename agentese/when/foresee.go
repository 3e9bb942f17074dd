package when

import (
	"context"
	"fmt"
	"time"

	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
)

const never = "never at this rate"

// foresee looks ahead at what the program itself fills.
func (w *view) foresee(ctx context.Context, c *tree.Call, v *tree.Value, of string, whole time.Duration) ([]outlook, error) {
	spool := living.Ask{Name: "kgents_nats_fallback_queue_bytes"}
	if w.PrometheusURL != "" {
		spool.Name = "namespace:kgents_nats_fallback_fill:ratio" // each replica has its own disk: the fullest
	}
	asks := []living.Ask{
		{Name: "kgents_disk_free_bytes"}, {Name: "kgents_disk_size_bytes"},
		{Name: `kgents_nats_stream_bytes{stream="events"}`}, {Name: `kgents_nats_stream_limit_bytes{stream="events"}`},
		spool, {Name: "kgents_backlog_messages"}, {Name: "kgents_backlog_oldest_age_seconds"},
	}
	now := c.Now()
	had, err := w.Series(ctx, now.Add(-whole), now, 0, asks...)
	if err != nil {
		return nil, err
	}
	v.Note("Figures are from " + had.From + ", every " + span(had.Step) + ".")
	if had.Since.Sub(now.Add(-whole)) > time.Minute {
		v.Note("Nothing older than " + stamp(had.Since) + " is kept.")
	}
	points := func(i int) []living.Point { return had.Series[i].Points }
	var out []outlook
	if of == "" || of == ofDisk {
		out = append(out, disk(points(0), latest(points(1)), now))
	}
	if of == "" || of == ofStream {
		out = append(out, w.fills(ofStream, points(2), latest(points(3)), "StreamNearlyFull", now))
	}
	if of == "" || of == ofSpool {
		limit := any(nil)
		r, err := w.report(ctx, c)
		living.Missing(v, "The spool's limit", err)
		if r.Spool != nil && r.Spool.Limit > 0 {
			limit = float64(r.Spool.Limit)
			if w.PrometheusURL != "" {
				for i := range points(4) {
					points(4)[i].Value *= float64(r.Spool.Limit)
				}
			}
		}
		if err == nil && r.Spool == nil {
			v.Note("The role " + r.Role + " has no spool.")
		} else {
			out = append(out, w.fills(ofSpool, points(4), limit, "SpoolNearlyFull", now))
		}
	}
	if of == "" || of == ofBacklog {
		out = append(out, w.backlog(points(5), latest(points(6)), now))
	}
	return out, nil
}

// latest is the newest value, nil without one.
func latest(points []living.Point) any {
	if len(points) == 0 {
		return nil
	}
	return points[len(points)-1].Value
}

// disk is when nothing is free any more. It has no alert.
func disk(free []living.Point, size any, now time.Time) outlook {
	o := outlook{what: ofDisk, unit: "bytes"}
	left, ok := latest(free).(float64)
	if whole, known := size.(float64); known && ok {
		o.limit, o.now = whole, whole-left
	}
	line, drawn := lineThrough(free)
	if !ok || !drawn {
		return o.unsaid(free)
	}
	o.line, o.drawn, o.state, o.verdict = line, true, tree.Well, never
	if in, reaches := line.until(left, 0, false); reaches {
		o.reached, o.state = now.Add(in), urgency(in)
		o.verdict = "full in " + span(in)
	}
	o.line.rate = -o.line.rate // of what is used
	return o
}

// fills is when something reaches its limit, and before that the fill at which its alert
// fires, by which it is judged.
func (w *view) fills(what string, points []living.Point, limit any, alert string, now time.Time) outlook {
	o := outlook{what: what, unit: "bytes", now: latest(points), limit: limit}
	line, drawn := lineThrough(points)
	is, ok := o.now.(float64)
	most, known := limit.(float64)
	if ok && known && most > 0 {
		o.state = w.limits.Verdict(alert, is/most)
	}
	switch {
	case !ok || !drawn:
		return o.unsaid(points)
	case !known || most <= 0:
		o.line, o.drawn, o.state, o.verdict = line, true, "", "it has no limit, or none that is known"
		return o
	}
	o.line, o.drawn, o.verdict = line, true, never
	o.state = living.Worse(o.state, tree.Well)
	if in, reaches := line.until(is, most, true); reaches {
		o.reached, o.verdict = now.Add(in), "full in "+span(in)
		o.state = living.Worse(o.state, urgency(in))
	}
	for _, t := range w.limits[alert] {
		in, reaches := line.until(is, most*t.Value, true)
		switch {
		case !reaches:
		case in == 0:
			o.verdict += fmt.Sprintf("; past the %.0f %% of %s", t.Value*100, alert)
		default:
			o.verdict += fmt.Sprintf("; %s (%s, %.0f %%) in %s", alert, t.Severity, t.Value*100, span(in))
			if t.Severity == "critical" {
				o.state = living.Worse(o.state, urgency(in))
			}
		}
	}
	return o
}

// backlog is when all that is durable is metered, too.
func (w *view) backlog(points []living.Point, oldest any, now time.Time) outlook {
	o := outlook{what: ofBacklog, unit: "messages", now: latest(points)}
	stalled := w.limits.Verdict("PipelineStalled", oldest)
	is, ok := o.now.(float64)
	line, drawn := lineThrough(points)
	if ok && is == 0 {
		o.verdict, o.state, o.line, o.drawn = "it is empty", living.Worse(stalled, tree.Well), line, drawn
		return o
	}
	if !ok || !drawn {
		o.state = stalled
		return o.unsaid(points)
	}
	o.line, o.drawn, o.state = line, true, living.Worse(stalled, tree.Well)
	in, reaches := line.until(is, 0, false)
	switch {
	case reaches:
		o.reached, o.verdict = now.Add(in), "empty in "+span(in)
	case line.rate > 0 && line.fit > 0.5:
		o.verdict, o.state = "it grows; empty: "+never, living.Worse(o.state, tree.Warn)
	default:
		o.verdict = "it doesn't shrink; empty: " + never
	}
	if stalled == tree.Bad {
		o.verdict += "; its oldest is past PipelineStalled"
	}
	return o
}

// span is a length of time within a sentence.
func span(d time.Duration) string { return tree.Human(d, "", time.Time{}) }
