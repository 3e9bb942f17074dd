package world

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/trace"
)

func (w *world) stripeEvents() *tree.Node {
	return &tree.Node{
		Name: "events",
		Line: "Stripe's events by their ids, those that the meter lists lately",
		Doc: "Each webhook of Stripe's has an event with an id (evt_…), by which Stripe's dashboard names it too. Those among the meter's newest hundred are listed here; any other can be named as well. " +
			"Look at one to see where it is now: counted, refused as a dead letter, or not known. An event that is skipped, since it doesn't count, is nowhere.",
		Synonyms: []string{"stripe event", "evt", "stripe event id", "webhook event", "payment event", "invoice event", "event by id", "stripe object"},
		Affords: []tree.Affordance{{
			Aspect: agentese.Manifest, Line: "those of Stripe's among the newest hundred events of the meter",
			Examples: []tree.Example{{Expr: "world.stripe.events.manifest", Line: "the newest of Stripe's events"}},
			See:      w.seeStripeEvents,
		}},
		Live: &tree.Live{
			Open: true,
			List: func(ctx context.Context, c *tree.Call) ([]tree.Entry, error) {
				stored, err := w.stored(ctx, c, url.Values{"limit": {"100"}})
				if err != nil {
					return nil, err
				}
				var out []tree.Entry
				for _, one := range stored {
					var e envelope
					if json.Unmarshal(one.Event, &e) == nil && e.Source == kgents.SourceStripe {
						out = append(out, tree.Entry{Name: e.ID, Line: e.Type + " of " + e.Subject})
					}
				}
				return out, nil
			},
			Node: &tree.Node{
				Name: "event",
				Line: "one Stripe event by its id: what it was, when it came, where it is now",
				Doc: "One event of Stripe's and its way, stage by stage with times, from GET /api/v1/trace/{id}: received, in the stream, delivered, metered, or a dead letter. State is ok when it is counted or on its way, degraded when the meter has refused it or can't count it, and an error when it is missing in the meter. " +
					"One of which there is no trace was skipped since it doesn't count, or never came: Stripe's dashboard says whether it was delivered. What it carries is shown to a developer and more.",
				Synonyms: []string{"evt id", "single stripe event", "one webhook", "this payment event", "stripe event details", "trace of a webhook"},
				Affords: []tree.Affordance{{
					Aspect: agentese.Manifest, Line: "what it was, when it came, and where it is now",
					Asks: []string{
						"what happened to evt", "did this stripe event arrive", "where is this webhook", "was this payment counted", "find stripe event", "show me the event from stripe", "look up evt id",
						"customer says they paid but nothing happened", "was the invoice event processed", "trace a stripe event",
					},
					Examples: []tree.Example{{Expr: "world.stripe.events.evt_1.manifest", Line: "where the event evt_1 is"}},
					See:      w.seeStripeEvent,
				}},
			},
		},
	}
}

func (w *world) seeStripeEvents(ctx context.Context, c *tree.Call) (tree.Value, error) {
	stored, err := w.stored(ctx, c, url.Values{"limit": {"100"}})
	if err != nil {
		return tree.Value{}, err
	}
	v := tree.Value{Title: "Stripe's newest events", Table: &tree.Table{Columns: []tree.Column{
		{Name: "time"}, {Name: "id", Link: "world.stripe.events.{}"}, {Name: "type"}, {Name: "customer"}, {Name: "ingested"}, {Name: "error"},
	}}}
	for _, one := range stored {
		var e envelope
		if json.Unmarshal(one.Event, &e) == nil && e.Source == kgents.SourceStripe {
			v.Table.Rows = append(v.Table.Rows, []any{moment(e.Time), e.ID, e.Type, e.Subject, moment(one.IngestedAt), one.ValidationError})
		}
	}
	v.Note(fmt.Sprintf("Stripe's among the newest %d events that the meter lists. Any other can be named: world.stripe.events.evt_….manifest.", len(stored)))
	v.Then("world.stripe.webhooks.manifest", "webhooks by type, and those that were refused")
	return v, nil
}

func (w *world) seeStripeEvent(ctx context.Context, c *tree.Call) (tree.Value, error) {
	id := c.Name("event")
	var a trace.Answer
	query := url.Values{"source": {kgents.SourceStripe}, "since": {trace.MaxSince.String()}}
	if err := w.For(c).Get(ctx, "/api/v1/trace/"+url.PathEscape(id), query, &a); err != nil {
		return tree.Value{}, living.Away("the way of the event "+agentese.QuoteName(id), err)
	}
	if len(a.Events) == 0 {
		e := &agentese.Error{Kind: agentese.KindNotFound, What: "there is no trace of an event " + agentese.QuoteName(id) + " of Stripe's: " + a.Verdict,
			Why: "it was skipped since it doesn't count, or never came", Try: []string{"world.stripe.webhooks.manifest"}}
		if !strings.HasPrefix(id, "evt_") {
			e.Why = "Stripe's events have ids that begin with evt_"
		}
		return tree.Value{}, e
	}
	one := a.Events[0]
	v := tree.Value{Title: "Stripe's event " + id, State: living.Traced(one.Verdict), Table: &tree.Table{Columns: []tree.Column{{Name: "stage"}, {Name: "state"}, {Name: "at"}, {Name: "detail"}}}}
	add(&v, "where", one.Verdict, "", v.State, "")
	v.Add("type", text(one.Type), "").Add("customer", text(one.Subject), "").Add("at Stripe", moment(one.Time), "")
	for _, stage := range one.Stages {
		v.Table.Rows = append(v.Table.Rows, []any{string(stage.Name), string(stage.State), moment(stage.At), stage.Words()})
	}
	if !a.Looked.Whole {
		v.Note(fmt.Sprintf("Not all of the stream and the dead letters was looked at: %d messages and %d letters.", a.Looked.Messages, a.Looked.Letters))
	}
	if a.Looked.Spooled > 0 {
		v.Note(fmt.Sprintf("%d events wait on local disk, which is not looked at.", a.Looked.Spooled))
	}
	w.payload(ctx, c, &v, id)
	v.Then(agentese.JoinPath("time", "trace", id)+".manifest", "its way through every stage")
	if one.Verdict == trace.IsDead {
		v.Then("world.deadletter.manifest", "the dead letters")
	}
	if one.Verdict == trace.IsMissing {
		v.Then("world.openmeter.reconciliation.refine", "send again what is missing")
	}
	return v, nil
}

// payload shows what the event carries, as the meter has it, to who may see that.
func (w *world) payload(ctx context.Context, c *tree.Call, v *tree.Value, id string) {
	if c.Observer < tree.Developer {
		v.Note("What it carries is shown to a developer and more.")
		return
	}
	stored, err := w.stored(ctx, c, url.Values{"id": {id}, "limit": {"100"}})
	unknown(v, "What it carries", err)
	for _, one := range stored {
		var e envelope
		if json.Unmarshal(one.Event, &e) == nil && e.ID == id && e.Source == kgents.SourceStripe { // the meter looks for a part of an id
			v.Text = pretty(e.Data)
		}
	}
}

// pretty is JSON with indents.
func pretty(b json.RawMessage) string {
	out, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return string(b)
	}
	return string(out)
}
