package when

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/meter"
	"github.com/kgents/kgents/trace"
)

// listed is how many of the newest events are names.
const listed = 50

func (w *view) trace() *tree.Node {
	params := []tree.Param{
		{Key: "source", Line: "only the event of this source; ids are unique within one"},
		{Key: "since", Line: "how far back to look, 30 days at most", Kind: tree.Time, Default: "3d"},
	}
	return &tree.Node{
		Name: "trace",
		Line: "the way of an event through every stage, by its id",
		Doc: "Where an event has been and how far it has come: received, in the stream, delivered to the meter, metered, or a dead letter, with the times between. " +
			"The newest 50 events that the meter lists are named here; any other can be named too, with the id that its sender gave it. " +
			"It is looked for in the stream of 30 days, among the dead letters and in the meter, from GET /api/v1/trace/{id}; nothing is changed and nothing of its data is shown.",
		Synonyms: []string{
			"track", "follow", "event path", "event tracking", "where is my event", "lost event", "missing event", "journey", "lookup by id", "request id", "event id", "tracing", "pipeline stages", "status of an event", "delivery status",
		},
		Affords: []tree.Affordance{{
			Aspect: agentese.Manifest, Line: "the way of the event with an id, or without one the newest events",
			Asks: []string{
				"trace an event", "track an event by id", "look up an event id", "where did my event go", "event got lost", "find a usage event", "i sent an event and it never showed up",
				"how do i follow an event", "which events can i trace", "check whether an event was billed", "event was acknowledged but isn't counted", "newest event ids", "support ticket with an event id",
			},
			Params: append([]tree.Param{{Key: "id", Line: "the event's id"}}, params...),
			Examples: []tree.Example{
				{Expr: "time.trace.manifest", Line: "the newest events, each with where to look"},
				{Expr: "time.trace.manifest[id=evt_1]", Line: "the way of the event evt_1"},
				{Expr: "world.openmeter.events.manifest[first=1] >> time.trace.manifest", Line: "the way of the newest event"},
			},
			Takes: "rows with a column id: the way of the first",
			See:   w.seeTraces,
		}},
		Live: &tree.Live{
			Open: true,
			List: w.newest,
			Node: &tree.Node{
				Name: "event",
				Line: "one event by its id: every stage of its way, and the time between them",
				Doc: "The way of one event, stage by stage: received, in the stream, delivered, metered, or a dead letter, each with its time and how long it took since the one before. " +
					"State is ok when it is metered or on its way, degraded when it is a dead letter or stored without being counted, and an error when the meter has lost it: reconcile then. " +
					"Two sources may use one id; each is told apart. Notes say how far was looked, so that not found means no more than it says. " +
					"An event waits in the stream while the meter is away, and comes by itself.",
				Synonyms: []string{"one event", "event by id", "evt", "request", "this event", "single event", "event status", "way of an event", "path of a request", "usage event"},
				Affords: []tree.Affordance{{
					Aspect: agentese.Manifest, Line: "every stage with its time, and what came of it",
					Asks: []string{
						"trace this event", "how far did it come", "which stage is it in", "was it metered", "has this been counted", "where does it hang", "why is this event not billed",
						"did it become a dead letter", "when was it received", "how long did it take to be metered", "is it still in the queue", "did it arrive at all", "what became of this event", "follow it through the pipeline",
					},
					Params:   params,
					Examples: []tree.Example{{Expr: "time.trace.evt_1.manifest", Line: "the way of the event evt_1"}},
					See: func(ctx context.Context, c *tree.Call) (tree.Value, error) {
						return w.follow(ctx, c, c.Name("event"))
					},
				}},
			},
		},
	}
}

// head is what a list shows of an event.
type head struct {
	ID, Source, Type, Subject string

	Time time.Time
}

// heads are the newest events that the meter lists, each id once.
func (w *view) heads(ctx context.Context, c *tree.Call) ([]head, error) {
	var stored []meter.StoredEvent
	if err := w.For(c).Get(ctx, "/api/v1/events", url.Values{"limit": {strconv.Itoa(listed)}}, &stored); err != nil {
		return nil, living.Away("the meter", err)
	}
	var out []head
	seen := map[string]bool{}
	for _, one := range stored {
		var h head
		if json.Unmarshal(one.Event, &h) != nil || h.ID == "" || seen[h.ID] || len(out) == listed {
			continue
		}
		seen[h.ID] = true
		out = append(out, h)
	}
	return out, nil
}

func (w *view) newest(ctx context.Context, c *tree.Call) ([]tree.Entry, error) {
	all, err := w.heads(ctx, c)
	var out []tree.Entry
	for _, h := range all {
		out = append(out, tree.Entry{Name: h.ID, Line: h.Type + " of " + h.Subject})
	}
	return out, err
}

// seeTraces follows what is named or piped in, or lists what can be.
func (w *view) seeTraces(ctx context.Context, c *tree.Call) (tree.Value, error) {
	id := c.Args.Get("id")
	if id == "" && c.Input != nil {
		if id = firstID(c.Input); id == "" {
			return tree.Value{}, &agentese.Error{Kind: agentese.KindFailed, What: "what is piped in has no event's id", Why: "it takes rows with a column id, as world.openmeter.events.manifest has it", Try: []string{"time.trace.manifest[id=…]"}}
		}
	}
	if id != "" {
		return w.follow(ctx, c, id)
	}
	all, err := w.heads(ctx, c)
	if err != nil {
		return tree.Value{}, err
	}
	v := tree.Value{Title: "The newest events that the meter lists", Table: &tree.Table{Columns: []tree.Column{
		{Name: "id", Link: "time.trace.{}"}, {Name: "type"}, {Name: "customer", Link: "world.customers.{}"}, {Name: "source"}, {Name: "time"},
	}}}
	for _, h := range all {
		v.Table.Rows = append(v.Table.Rows, []any{h.ID, h.Type, text(h.Subject), h.Source, moment(h.Time)})
	}
	v.Note("Any other event can be named, too: time.trace.ID.manifest. One that was not metered is in no list of the meter's.")
	for _, h := range all[:min(len(all), 1)] {
		v.Then(agentese.JoinPath("time", "trace", h.ID)+".manifest", "the way of the newest")
	}
	v.Then("world.deadletter.manifest", "what the meter has refused")
	return v, nil
}

// firstID is the first row's id, or that of a field.
func firstID(v *tree.Value) string {
	if t := v.Table; t != nil && len(t.Rows) > 0 {
		for i, col := range t.Columns {
			if col.Name == "id" && i < len(t.Rows[0]) {
				id, _ := t.Rows[0][i].(string)
				return id
			}
		}
	}
	for _, f := range v.Fields {
		if f.Name == "id" {
			id, _ := f.Value.(string)
			return id
		}
	}
	return ""
}

// follow is the way of one event.
func (w *view) follow(ctx context.Context, c *tree.Call, id string) (tree.Value, error) {
	begin := since(c, trace.DefaultSince)
	v := tree.Value{Title: "The way of the event " + id}
	// A second less than what is kept, since the program's clock is a little ahead.
	if oldest := c.Now().Add(time.Second - trace.MaxSince); begin.Before(oldest) {
		begin = oldest
		v.Note("The stream keeps 30 days, so that is how far it was looked for.")
	}
	query := url.Values{"since": {begin.UTC().Format(time.RFC3339Nano)}}
	if s := c.Args.Get("source"); s != "" {
		query.Set("source", s)
	}
	var a trace.Answer
	if err := w.For(c).Get(ctx, "/api/v1/trace/"+url.PathEscape(id), query, &a); err != nil {
		return v, living.Away("the way of the event "+agentese.QuoteName(id), err)
	}
	if len(a.Events) == 0 {
		return v, &agentese.Error{
			Kind: agentese.KindNotFound, What: "there is no trace of an event " + agentese.QuoteName(id) + ": " + a.Verdict,
			Why: strings.TrimSuffix(looked(a.Looked), "."), Try: []string{"time.trace.manifest"},
		}
	}
	v.Table = &tree.Table{Columns: []tree.Column{{Name: "stage"}, {Name: "state"}, {Name: "at"}, {Name: "after"}, {Name: "what"}, {Name: "source"}}}
	backwards := false
	for _, e := range a.Events {
		state := living.Traced(e.Verdict)
		v.State = living.Worse(v.State, state)
		took, back := stages(v.Table, e)
		backwards = backwards || back
		if len(a.Events) > 1 {
			v.Fields = append(v.Fields, tree.Field{Name: e.Source, Value: e.Verdict, State: state, Note: strings.TrimSpace(e.Type + " " + e.Subject)})
			continue
		}
		v.Fields = append(v.Fields, tree.Field{Name: "where", Value: e.Verdict, State: state})
		v.Add("type", text(e.Type), "").Add("customer", text(e.Subject), "").Add("source", text(e.Source), "").Add("its own time", moment(e.Time), "").Add("took", took, "")
	}
	if len(a.Events) > 1 {
		v.Note(fmt.Sprintf("%d sources use this id: name one with [source=…].", len(a.Events)))
	}
	if backwards {
		v.Note("A stage seems to be before the one that it follows: the servers' clocks differ, or tell whole seconds.")
	}
	v.Note(looked(a.Looked))
	for _, e := range a.Events[:min(len(a.Events), 5)] {
		onward(&v, id, e)
	}
	return v, nil
}

// stages adds an event's, and gives how long it took from the first to the last that has
// a time; nil with only one.
func stages(t *tree.Table, e trace.Event) (took any, backwards bool) {
	var first, last time.Time
	for _, s := range e.Stages {
		after := any(nil)
		if !s.At.IsZero() {
			if first.IsZero() {
				first = s.At
			} else {
				d := s.At.Sub(last)
				backwards = backwards || d < 0
				after, took = d, s.At.Sub(first)
			}
			last = s.At
		}
		if s.Name == trace.DeadLetter && s.State == trace.Absent {
			continue // it is none, as it should be
		}
		t.Rows = append(t.Rows, []any{string(s.Name), string(s.State), moment(s.At), after, s.Words(), e.Source})
	}
	return took, backwards
}

// looked says how far was looked.
func looked(l trace.Looked) string {
	words := "Looked at " + count(l.Messages, "message") + " of the stream"
	if !l.From.IsZero() {
		words += " since " + stamp(l.From)
	}
	words += " and " + count(l.Letters, "dead letter")
	if l.Whole {
		words += ", which is all there is"
	} else {
		words += ", which is not all"
	}
	if l.Meter {
		words += "; the meter has answered."
	} else {
		words += "; the meter has not answered."
	}
	if l.Spooled > 0 {
		words += " Local disk is not looked at, where " + count(l.Spooled, "event") + " may wait."
	}
	return words
}

// count is a number of things.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// onward is where to look from an event.
func onward(v *tree.Value, id string, e trace.Event) {
	for _, s := range e.Stages {
		if seq, ok := s.Detail["seq"].(float64); ok && s.Name == trace.DeadLetter && s.State == trace.Done {
			v.Then("world.deadletter."+strconv.FormatFloat(seq, 'f', -1, 64)+".manifest", "the dead letter, with the meter's words")
		}
	}
	if e.Verdict == trace.IsMissing {
		v.Then("world.openmeter.reconciliation.refine", "send again what is missing")
	}
	if e.Source == kgents.SourceStripe && strings.HasPrefix(id, "evt_") {
		v.Then(agentese.JoinPath("world", "stripe", "events", id)+".manifest", "what Stripe has said in it")
	}
	if e.Subject != "" {
		v.Then(agentese.JoinPath("world", "customers", e.Subject)+".manifest", "whose it is")
	}
}
