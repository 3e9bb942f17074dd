package world

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/api/client"
	"github.com/kgents/kgents/town"
)

// closest is the level of detail that operators see: traits, relationships, surplus.
const closest = "4"

func citizens(from *settled) *tree.Node {
	return &tree.Node{
		Name: "citizens", Line: "who lives in a town",
		Doc: `The citizens of one town, each with its archetype, its mood, where it is now, and what it believes in. ` +
			`They come from GET /v1/town/{id}/citizens. A mood of lonely or uneasy is no fault: it is what the others think of that citizen. ` +
			`One citizen alone shows its traits, whom it likes, and what it did.`,
		Synonyms: []string{"agents", "inhabitants", "people", "residents", "population", "villagers", "characters", "personas", "npcs", "who lives there"},
		Affords: []tree.Affordance{{
			Aspect: agentese.Manifest, Line: "all of them with archetype, mood and place",
			Asks: []string{
				"who lives in the town", "list the citizens", "show the agents of a town", "which agents are there", "how do the citizens feel", "who is lonely", "how many people live there",
				"what archetypes are in town", "where is everybody", "who is resting", "names of the agents",
			},
			Examples: []tree.Example{{Expr: "world.town.springfield.citizens.manifest", Line: "who lives in springfield"}},
			See:      func(ctx context.Context, c *tree.Call) (tree.Value, error) { return seeCitizens(ctx, from, c) },
		}},
		Live: &tree.Live{
			Node: oneCitizen(from), Fold: true,
			List: func(ctx context.Context, c *tree.Call) ([]tree.Entry, error) {
				api := from.For(c)
				_, path, query, err := from.find(ctx, api, c.Name("town"))
				if err != nil {
					return nil, err
				}
				all, err := allCitizens(ctx, api, path, query)
				if err != nil {
					return nil, err
				}
				out := make([]tree.Entry, len(all))
				for i, one := range all {
					out[i] = tree.Entry{Name: one.Name, Line: one.Archetype + ", " + one.Mood + ", at " + one.Region}
				}
				return out, nil
			},
		},
	}
}

func allCitizens(ctx context.Context, api *client.Client, path string, query url.Values) ([]town.View, error) {
	var out struct{ Citizens []town.View }
	q := url.Values{"customer": query["customer"], "lod": {closest}}
	err := api.Get(ctx, path+"/citizens", q, &out)
	return out.Citizens, living.Away("the town's citizens", err)
}

func seeCitizens(ctx context.Context, from *settled, c *tree.Call) (tree.Value, error) {
	api := from.For(c)
	t, path, query, err := from.find(ctx, api, c.Name("town"))
	if err != nil {
		return tree.Value{}, err
	}
	all, err := allCitizens(ctx, api, path, query)
	if err != nil {
		return tree.Value{}, err
	}
	v := tree.Value{Title: "Who lives in " + t.ID, State: tree.Well, Table: &tree.Table{Columns: []tree.Column{
		{Name: "citizen", Link: "world.town." + agentese.QuoteName(t.ID) + ".citizens.{}"}, {Name: "archetype"}, {Name: "mood"}, {Name: "region"}, {Name: "surplus"}, {Name: "philosophy"},
	}}}
	for _, one := range all {
		surplus := any(nil)
		if one.Surplus != nil {
			surplus = *one.Surplus
		}
		v.Table.Rows = append(v.Table.Rows, []any{one.Name, one.Archetype, one.Mood, one.Region, surplus, one.Philosophy})
	}
	v.Add("citizens", len(all), "")
	return v, nil
}

func oneCitizen(from *settled) *tree.Node {
	return &tree.Node{
		Name: "citizen", Line: "one citizen of a town: traits, place, whom it likes, tokens",
		Doc: `One citizen of a town: its archetype with what it believes in, its traits from 0 to 1, its mood, where it is, and what it thinks of the others, from -1 to 1; who isn't named is a stranger. ` +
			`It comes from GET /v1/town/{id}/citizens/{name}. witness tells what it took part in, from the newest thousand events of its town, and what its own part cost in tokens. ` +
			`What a citizen is to itself can't be read from here.`,
		Synonyms: []string{"agent", "inhabitant", "resident", "person", "character", "persona", "npc", "traits", "relationships", "personality", "memories"},
		Affords: []tree.Affordance{
			{
				Aspect: agentese.Manifest, Line: "its traits, place, and whom it likes",
				Asks: []string{
					"who is alice", "tell me about an agent", "what are her traits", "where is alice now", "whom does alice like", "relationships of a citizen", "how does this agent feel",
					"personality of the citizen", "what does alice believe in", "who are her friends", "how many tokens did alice use",
				},
				Examples: []tree.Example{{Expr: "world.town.springfield.citizens.alice.manifest", Line: "Alice"}},
				See:      func(ctx context.Context, c *tree.Call) (tree.Value, error) { return seeCitizen(ctx, from, c) },
			},
			{
				Aspect: agentese.Witness, Line: "what it took part in, the newest last",
				Asks: []string{
					"what did alice do", "history of a citizen", "what does alice remember", "memories of the agent", "whom did alice meet", "what happened to alice", "conversations of an agent",
					"what has this agent been up to", "actions of the citizen", "what did she say",
				},
				Params: []tree.Param{{Key: "limit", Line: "how many at most", Kind: tree.Number, Min: 1, Max: 1000, Default: "50"}},
				Examples: []tree.Example{
					{Expr: "world.town.springfield.citizens.alice.witness", Line: "what Alice took part in"},
				},
				See: func(ctx context.Context, c *tree.Call) (tree.Value, error) { return seeCitizenEvents(ctx, from, c) },
			},
		},
	}
}

// window is how many of a town's newest events a citizen's part is looked for in.
const window = 1000

// partOf are the events that a citizen took part in, and the tokens of its share.
func partOf(events []town.Event, name string) (part []town.Event, tokens int64) {
	for _, e := range events {
		if slices.Contains(e.Participants, name) {
			part = append(part, e)
		}
		for _, s := range e.Shares {
			if s.Citizen == name {
				tokens += s.In + s.Out
			}
		}
	}
	return part, tokens
}

// citizenAt is one citizen, its name without regard to case, with its town's newest events.
func citizenAt(ctx context.Context, from *settled, c *tree.Call) (one town.View, townID string, events []town.Event, err error) {
	api := from.For(c)
	t, path, query, err := from.find(ctx, api, c.Name("town"))
	if err != nil {
		return one, "", nil, err
	}
	all, err := allCitizens(ctx, api, path, query)
	if err != nil {
		return one, "", nil, err
	}
	i := slices.IndexFunc(all, func(v town.View) bool {
		return strings.EqualFold(v.Name, c.Name("citizen")) || v.ID == c.Name("citizen")
	})
	if i < 0 {
		return one, "", nil, &agentese.Error{Kind: agentese.KindNotFound, What: "nobody in " + t.ID + " is called " + agentese.QuoteName(c.Name("citizen")), Try: []string{"world.town." + agentese.QuoteName(t.ID) + ".citizens.manifest"}}
	}
	after := uint64(0)
	if t.Events > window {
		after = t.Events - window
	}
	events, err = townEvents(ctx, api, path, query, after, window)
	return all[i], t.ID, events, err
}

func seeCitizen(ctx context.Context, from *settled, c *tree.Call) (tree.Value, error) {
	one, in, events, err := citizenAt(ctx, from, c)
	if one.Name == "" {
		return tree.Value{}, err
	}
	v := tree.Value{Title: one.Name + ", " + one.Archetype, State: tree.Well}
	v.Add("town", in, "").Add("region", one.Region, "").Add("phase", one.Phase, "").Add("mood", one.Mood, "").Add("philosophy", one.Philosophy, "").Add("metaphor", one.Metaphor, "")
	if t := one.Traits; t != nil {
		v.Add("warmth", t.Warmth, "").Add("curiosity", t.Curiosity, "").Add("trust", t.Trust, "").Add("creativity", t.Creativity, "").
			Add("patience", t.Patience, "").Add("resilience", t.Resilience, "").Add("ambition", t.Ambition, "")
	}
	if one.Surplus != nil {
		v.Add("surplus", *one.Surplus, "")
	}
	if err == nil {
		part, tokens := partOf(events, one.Name)
		v.Fields = append(v.Fields, tree.Field{Name: "took part in", Value: len(part), Note: fmt.Sprintf("of the town's newest %d events", len(events))}, tree.Field{Name: "tokens", Value: tokens, Note: "of its share in those"})
	} else {
		v.Add("took part in", nil, "").Add("tokens", nil, "").Note("The town's history can't be read now.")
	}
	v.Table = &tree.Table{Columns: []tree.Column{{Name: "citizen", Link: "world.town." + agentese.QuoteName(in) + ".citizens.{}"}, {Name: "thinks of"}}}
	names := make([]string, 0, len(one.Relationships))
	for name := range one.Relationships {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		v.Table.Rows = append(v.Table.Rows, []any{name, one.Relationships[name]})
	}
	v.Then("world.town."+agentese.QuoteName(in)+".citizens."+agentese.QuoteName(one.Name)+".witness", "what it took part in")
	return v, nil
}

func seeCitizenEvents(ctx context.Context, from *settled, c *tree.Call) (tree.Value, error) {
	one, in, events, err := citizenAt(ctx, from, c)
	if err != nil {
		return tree.Value{}, err
	}
	part, tokens := partOf(events, one.Name)
	v := tree.Value{Title: "What " + one.Name + " of " + in + " took part in", State: tree.Well}
	v.Add("events", len(part), "").Add("tokens", tokens, "")
	v.Note(fmt.Sprintf("Of the town's newest %d events.", len(events)))
	if limit := c.Args.Int("limit"); len(part) > limit {
		v.Table = eventTable(part[len(part)-limit:])
		v.Table.Total = len(part)
	} else {
		v.Table = eventTable(part)
	}
	return v, nil
}
