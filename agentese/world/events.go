package world

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"
	"time"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/meter"
)

// envelope is what an event says of itself.
type envelope struct {
	ID      string          `json:"id"`
	Source  string          `json:"source"`
	Type    string          `json:"type"`
	Subject string          `json:"subject"`
	Time    time.Time       `json:"time"`
	Data    json.RawMessage `json:"data"`
}

func (w *world) events() *tree.Node {
	return &tree.Node{
		Name: "events",
		Line: "the newest events that the meter lists",
		Doc: "The events as the meter keeps them, newest first, 100 at most at a time, from GET /api/v1/events: who, what, when, when the meter took it, and, if no meter counts it, why. " +
			"To find one, give a part of its id. What an event carries is shown to a developer and more, in the column data. " +
			"An event with an error here is stored and not counted (alert UncountedEvents): its type or its value is one that no meter knows.",
		Synonyms: []string{"usage events", "raw events", "latest events", "event list", "recent events", "ingested events", "cloudevents", "event log", "what came in", "incoming events"},
		Affords: []tree.Affordance{{
			Aspect: agentese.Manifest, Line: "newest events, of all or of one customer, by id or time",
			Asks: []string{
				"show me the latest events", "did my event arrive", "events of a customer", "find an event by id", "what came in the last hour", "is this event counted", "list recent usage events",
				"what did customer send", "which events are not counted", "show raw events", "last thing we metered", "has the event been ingested",
			},
			Params: []tree.Param{
				{Key: "customer", Line: "only this one's", Of: "world.customers"},
				{Key: "id", Line: "only events with this in their id"},
				{Key: "from", Line: "from when on", Kind: tree.Time},
				{Key: "to", Line: "until when", Kind: tree.Time},
				{Key: "limit", Line: "so many at most", Kind: tree.Number, Min: 1, Max: 100, Default: "20"},
			},
			Examples: []tree.Example{
				{Expr: "world.openmeter.events.manifest", Line: "the newest twenty"},
				{Expr: "world.openmeter.events.manifest[limit=100][where=error!=]", Line: "those that no meter counts"},
			},
			See: w.seeEvents,
		}},
	}
}

func (w *world) seeEvents(ctx context.Context, c *tree.Call) (tree.Value, error) {
	query := url.Values{"limit": {strconv.Itoa(c.Args.Int("limit"))}}
	for key, to := range map[string]string{"customer": "subject", "id": "id"} {
		if v := c.Args.Get(key); v != "" {
			query.Set(to, v)
		}
	}
	for _, key := range []string{"from", "to"} {
		if c.Args.Has(key) {
			query.Set(key, c.Args.Time(key).UTC().Format(time.RFC3339))
		}
	}
	stored, err := w.stored(ctx, c, query)
	if err != nil {
		return tree.Value{}, err
	}
	v := tree.Value{Title: "Newest events of the meter", Table: &tree.Table{Columns: []tree.Column{
		{Name: "time"}, {Name: "id", Link: "time.trace.{}"}, {Name: "type"}, {Name: "customer", Link: "world.customers.{}"}, {Name: "source"}, {Name: "ingested"}, {Name: "error"},
	}}}
	payload := c.Observer >= tree.Developer
	if payload {
		v.Table.Columns = append(v.Table.Columns, tree.Column{Name: "data"})
	} else {
		v.Note("What the events carry is shown to a developer and more.")
	}
	for _, one := range stored {
		var e envelope
		if err := json.Unmarshal(one.Event, &e); err != nil {
			v.Note("An event of the meter's could not be read.")
			continue
		}
		row := []any{moment(e.Time), e.ID, e.Type, e.Subject, e.Source, moment(one.IngestedAt), one.ValidationError}
		if payload {
			row = append(row, string(e.Data))
		}
		v.Table.Rows = append(v.Table.Rows, row)
	}
	if len(stored) == c.Args.Int("limit") {
		v.Note("There may be older ones: ask for up to 100 with [limit=…], or for another time with [from=…][to=…].")
	}
	v.Then("world.openmeter.usage.manifest", "what they add up to")
	v.Then("world.deadletter.manifest", "those that the meter has refused")
	return v, nil
}

// stored asks for events that the meter lists.
func (w *world) stored(ctx context.Context, c *tree.Call, query url.Values) (out []meter.StoredEvent, err error) {
	err = w.For(c).Get(ctx, "/api/v1/events", query, &out)
	return out, living.Away("the meter", err)
}
