package world

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/consume/deadletter"
)

func (w *world) stripeEvents() *tree.Node {
	return &tree.Node{
		Name: "events",
		Line: "Stripe's events by their ids, those that the meter lists lately",
		Doc: "Each webhook of Stripe's has an event with an id (evt_…), by which Stripe's dashboard names it too. Those among the meter's newest hundred are listed here; any other can be named as well. " +
			"Look at one to see where it is now: counted, refused as a dead letter, or not known. An event that is skipped, since it doesn't count, is nowhere.",
		Synonyms: []string{"stripe event", "evt", "stripe event id", "webhook event", "payment event", "invoice event", "event by id", "stripe object"},
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
				Doc: "One event of Stripe's, looked for where it can be: in the meter's list, and among the dead letters. State is ok when it is counted, and degraded when the meter has refused it or lists it with an error. " +
					"One that is in neither place may be under way (world.nats.consumer), was skipped since it doesn't count, or never came: Stripe's dashboard says whether it was delivered. What it carries is shown to a developer and more.",
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

func (w *world) seeStripeEvent(ctx context.Context, c *tree.Call) (tree.Value, error) {
	id := c.Name("event")
	v := tree.Value{Title: "Stripe's event " + id, State: tree.Unknown}
	stored, err := w.stored(ctx, c, url.Values{"id": {id}, "limit": {"100"}})
	unknown(&v, "Whether the meter has it", err)
	for _, one := range stored {
		var e envelope
		if json.Unmarshal(one.Event, &e) != nil || e.ID != id {
			continue // the meter looks for a part of an id
		}
		v.State = tree.Well
		where := "counted by the meter"
		if one.ValidationError != "" {
			v.State, where = tree.Warn, "in the meter, and not counted: "+one.ValidationError
		}
		add(&v, "where", where, "", v.State, "")
		v.Add("type", e.Type, "").Add("customer", e.Subject, "").Add("source", e.Source, "").Add("at Stripe", moment(e.Time), "").Add("ingested", moment(one.IngestedAt), "")
		if c.Observer >= tree.Developer {
			v.Text = pretty(e.Data)
		} else {
			v.Note("What it carries is shown to a developer and more.")
		}
	}
	letters, _, failed := w.letters(ctx, c, url.Values{}, deadletter.MaxPage)
	unknown(&v, "Whether it is a dead letter", failed)
	for _, l := range letters {
		if l.ID != id {
			continue
		}
		v.State = tree.Warn
		add(&v, "where", "a dead letter: "+l.Detail, "", tree.Warn, "")
		v.Add("dead letter", int64(l.Seq), "").Add("type", l.Type, "").Add("customer", l.Subject, "").Add("buried", l.Buried, "")
		v.Then(agentese.JoinPath("world", "deadletter", seqName(l.Seq))+".manifest", "the letter")
	}
	if len(v.Fields) == 0 {
		if err != nil || failed != nil {
			return tree.Value{}, living.Away("the meter and the dead letters", firstError(err, failed))
		}
		e := &agentese.Error{Kind: agentese.KindNotFound, What: "neither the meter nor the dead letters have an event " + agentese.QuoteName(id),
			Why: "it is under way, was skipped since it doesn't count, or never came", Try: []string{"world.nats.consumer.manifest", "world.stripe.webhooks.manifest"}}
		if !strings.HasPrefix(id, "evt_") {
			e.Why = "Stripe's events have ids that begin with evt_"
		}
		return tree.Value{}, e
	}
	v.Then(agentese.JoinPath("time", "trace", id)+".manifest", "its way through every stage")
	return v, nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// pretty is JSON with indents.
func pretty(b json.RawMessage) string {
	out, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return string(b)
	}
	return string(out)
}
