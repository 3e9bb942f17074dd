package world

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/api/client"
	"github.com/kgents/kgents/town"
	"github.com/kgents/kgents/town/host"
)

// towns is Agent Town: all towns that the key may see.
func towns(sources *living.Sources) *tree.Node {
	from := &settled{Sources: sources, of: map[string]string{}}
	return &tree.Node{
		Name: "town", Line: "Agent Town: towns of agents that live by themselves or when told",
		Doc: `Agent Town: towns in which agents live through the phases of a day. Each town is a customer's, everything that happens in it is metered once, and the plan limits how many towns there are, how many citizens each has, and what they use. ` +
			`The list comes from GET /v1/town: the operator's key sees the towns of all customers, a customer's key its own. ` +
			`A town with a pace lives by itself, one without only when it is stepped. limited says why the plan did not allow what was wanted last: such a town lives on without spending. ` +
			`refine founds one, if the plan of its customer allows one more of that size.`,
		Synonyms: []string{
			"agent town", "towns", "simulation", "village", "agents", "worlds", "sandbox", "agent simulation", "settlements", "where the agents live", "places", "demo", "multi agent",
		},
		Affords: []tree.Affordance{{
			Aspect: agentese.Manifest, Line: "all towns: whose, how they live, and what they have used",
			Asks: []string{
				"list all towns", "which towns exist", "show agent town", "how many towns are there", "which towns live by themselves", "towns of acme", "who has a town",
				"which town uses the most tokens", "are any towns stuck at their limit", "what are the agents doing", "how are the simulations", "which town is the oldest",
			},
			Params: []tree.Param{
				{Key: "customer", Line: "only this customer's towns", Of: "world.customers"},
				{Key: "limit", Line: "how many are looked at", Kind: tree.Number, Min: 1, Max: maxTowns, Default: "1000"},
			},
			Examples: []tree.Example{
				{Expr: "world.town.manifest", Line: "all towns"},
				{Expr: "world.town.manifest[customer=acme]", Line: "acme's"},
			},
			See: func(ctx context.Context, c *tree.Call) (tree.Value, error) { return seeTowns(ctx, from, c) },
		}, foundTowns(from)},
		Live: &tree.Live{
			Node: oneTown(from),
			List: func(ctx context.Context, c *tree.Call) ([]tree.Entry, error) {
				all, _, err := from.all(ctx, from.For(c), "", knownHere, nil)
				if err != nil {
					return nil, err
				}
				out := make([]tree.Entry, len(all))
				for i, t := range all {
					out[i] = tree.Entry{Name: t.ID, Line: strings.TrimPrefix(fmt.Sprintf("%s, of %s, day %d, %s", t.Name, t.Customer, t.Day, t.Phase), ", ")}
				}
				return out, nil
			},
		},
	}
}

// Each town that is listed is read from NATS: these bound how many are looked at, for a
// name that is looked for, and for the names that are known beforehand.
const (
	maxTowns  = 10_000
	pageTowns = 100
	knownHere = 1_000
)

// settled is the sources with whose the towns are, as far as that has been seen: an
// operator's key can't ask for a town without. It is safe for concurrent use.
type settled struct {
	*living.Sources

	mu sync.Mutex
	of map[string]string // customers by towns, maxTowns at most
}

func (f *settled) owner(town string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.of[town]
}

func (f *settled) learn(towns []host.Town) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.of) > maxTowns {
		clear(f.of)
	}
	for _, t := range towns {
		f.of[t.ID] = t.Customer
	}
}

// all are the towns of a customer, or all that the key may see, most of them at most,
// until enough says so, which may be nil.
func (f *settled) all(ctx context.Context, api *client.Client, customer string, most int, enough func(host.Town) bool) (all []host.Town, more bool, err error) {
	query := url.Values{"limit": {strconv.Itoa(min(most, pageTowns))}}
	if customer != "" {
		query.Set("customer", customer)
	}
	for {
		var page struct {
			Towns []host.Town
			Next  string
		}
		if err := api.Get(ctx, "/v1/town", query, &page); err != nil {
			return nil, false, living.Away("the list of towns", err)
		}
		f.learn(page.Towns)
		all = append(all, page.Towns...)
		if page.Next == "" || len(all) >= most || enough != nil && slices.ContainsFunc(page.Towns, enough) {
			return all, page.Next != "", nil
		}
		query.Set("after", page.Next)
	}
}

// find is the town with its address, and the query that names its customer.
func (f *settled) find(ctx context.Context, api *client.Client, id string) (t host.Town, path string, query url.Values, err error) {
	at, err := segment("town", id)
	if err != nil {
		return t, "", nil, err
	}
	path = "/v1/town/" + at
	if owner := f.owner(id); owner != "" {
		query = url.Values{"customer": {owner}}
		err := api.Get(ctx, path, query, &t)
		if client.Status(err) != http.StatusNotFound { // else it may be another's by now
			return t, path, query, living.Away("the town "+agentese.QuoteName(id), err)
		}
	}
	is := func(t host.Town) bool { return t.ID == id }
	all, _, err := f.all(ctx, api, "", maxTowns, is)
	if err != nil {
		return t, "", nil, err
	}
	if i := slices.IndexFunc(all, is); i >= 0 {
		return all[i], path, url.Values{"customer": {all[i].Customer}}, nil
	}
	return t, "", nil, &agentese.Error{Kind: agentese.KindNotFound, What: "there is no town " + agentese.QuoteName(id), Try: []string{"world.town.manifest"}}
}

func seeTowns(ctx context.Context, from *settled, c *tree.Call) (tree.Value, error) {
	all, more, err := from.all(ctx, from.For(c), c.Args.Get("customer"), c.Args.Int("limit"), nil)
	if err != nil {
		return tree.Value{}, err
	}
	v := tree.Value{Title: "Agent Town", State: tree.Well, Table: &tree.Table{Columns: []tree.Column{
		{Name: "town", Link: "world.town.{}"}, {Name: "name"}, {Name: "customer", Link: "world.customers.{}"}, {Name: "citizens"}, {Name: "day"}, {Name: "phase"}, {Name: "pace", Unit: "seconds"}, {Name: "stepped"}, {Name: "interactions"}, {Name: "tokens"}, {Name: "state"}, {Name: "limited"},
	}}}
	alive, limited, tokens := 0, 0, int64(0)
	for _, t := range all {
		state := tree.Well
		if t.Limited != "" {
			state, v.State = tree.Warn, tree.Warn
			limited++
		}
		if t.Pace > 0 {
			alive++
		}
		tokens += t.Tokens
		v.Table.Rows = append(v.Table.Rows, []any{t.ID, t.Name, t.Customer, t.Citizens, t.Day, t.Phase, paceOf(t.Pace), timeOr(t.Stepped), t.Interactions, t.Tokens, state, t.Limited})
	}
	v.Add("towns", len(all), "").Add("that live by themselves", alive, "").Add("limited by their plan", limited, "").Add("tokens", tokens, "")
	if more {
		v.Note(fmt.Sprintf("There are more than these %d: [limit=] looks at more.", len(all)))
	}
	if len(all) == 0 {
		v.Note("There is no town: world.town.refine[customer=…], kgents town new or POST /v1/town founds one.")
	}
	return v, nil
}

// paceOf is seconds from phase to phase, or when told.
func paceOf(pace float64) any {
	if pace == 0 {
		return "when told"
	}
	return pace
}

func oneTown(from *settled) *tree.Node {
	return &tree.Node{
		Name: "town", Line: "one town: its day, its phase, who is where",
		Doc: `One town of Agent Town: the day and phase of its calendar, its regions with who is there and who rests, what it has used, and how its citizens get on: tension is the variance of what they think of each other, cooperation the sum of what they think well. ` +
			`It comes from GET /v1/town/{id}. witness tells what happened, the newest last; history is kept for 30 days. refine lets it live: step by some phases, at a pace by itself, or no more. ` +
			`If it says that it is limited, its customer's plan does not allow more: look at that customer's limits.`,
		Synonyms: []string{"simulation", "village", "one town", "town state", "agents of a town", "regions", "day and phase", "what happens in town", "who is where", "world state", "inhabitants"},
		Affords: []tree.Affordance{
			{
				Aspect: agentese.Manifest, Line: "its day and phase, who is where, and what it has used",
				Asks: []string{
					"how is the town", "what day is it in town", "who is where", "is the town alive", "why does the town stand still", "how many tokens has the town used", "show the town",
					"what phase is it", "is the town limited by its plan", "how do the agents get along", "whose town is this", "where are the citizens now",
				},
				Examples: []tree.Example{{Expr: "world.town.springfield.manifest", Line: "the town springfield"}},
				See:      func(ctx context.Context, c *tree.Call) (tree.Value, error) { return seeTown(ctx, from, c) },
			},
			{
				Aspect: agentese.Witness, Line: "what happened there, the newest last",
				Asks: []string{
					"what happened in town", "what did the agents do", "events of the town", "history of the town", "who talked to whom", "what did the citizens say", "recent interactions",
					"what went on yesterday in town", "did anything fail in town", "which actions were refused", "story of the town",
				},
				Params: []tree.Param{
					{Key: "after", Line: "the number of the last event that is known; without it the newest are shown", Kind: tree.Number},
					{Key: "limit", Line: "how many at most", Kind: tree.Number, Min: 1, Max: 1000, Default: "50"},
				},
				Examples: []tree.Example{
					{Expr: "world.town.springfield.witness", Line: "the newest 50 events"},
					{Expr: "world.town.springfield.witness[where=tokens>0]", Line: "those that cost something"},
				},
				See: func(ctx context.Context, c *tree.Call) (tree.Value, error) { return seeTownEvents(ctx, from, c) },
			},
			{
				Aspect: agentese.Refine, Needs: tree.Developer, Line: "let it live: step by step, at a pace, or no more",
				Asks: []string{
					"step the town", "let the town live", "run the simulation", "advance the town by a day", "let it run by itself", "stop the town", "pause the simulation", "make the town faster",
					"slow the town down", "simulate ten phases", "go on with the town", "the town should stand still", "set the pace of a town",
				},
				Params: []tree.Param{
					{Key: "do", Line: "what is to be done", Values: []string{"step", "pace", "stop"}, Required: true},
					{Key: "steps", Line: "phases of the day, for step", Kind: tree.Number, Min: 1, Max: host.MaxPhases, Default: "1"},
					{Key: "seconds", Line: "from phase to phase, for pace", Kind: tree.Number, Min: 1, Max: 86_400},
				},
				Examples: []tree.Example{
					{Expr: "world.town.springfield.refine[do=step][steps=4]", Line: "let it live for four phases"},
					{Expr: "world.town.springfield.refine[do=pace][seconds=60]", Line: "by itself, a phase a minute"},
					{Expr: "world.town.springfield.refine[do=stop]", Line: "no more by itself"},
				},
				Change: func(ctx context.Context, c *tree.Call) (*tree.Change, error) { return changeTown(ctx, from, c) },
			},
		},
		Children: []*tree.Node{citizens(from)},
	}
}

func showTown(t host.Town) tree.Value {
	title := t.ID
	if t.Name != "" {
		title += ": " + t.Name
	}
	v := tree.Value{Title: title, State: tree.Well}
	v.Add("customer", t.Customer, "").Add("day", t.Day, "").Add("phase", t.Phase, "").Add("citizens", t.Citizens, "").Add("pace", paceOf(t.Pace), "seconds").
		Add("stepped", timeOr(t.Stepped), "").Add("events", t.Events, "").Add("interactions", t.Interactions, "").Add("tokens", t.Tokens, "").
		Add("tension", t.Tension, "").Add("cooperation", t.Cooperation, "").Add("model", t.Model, "").Add("created", t.Created, "")
	if t.Limited != "" {
		v.State = tree.Warn
		v.Fields = append(v.Fields, tree.Field{Name: "limited", Value: t.Limited, State: tree.Warn})
		v.Then("world.customers."+agentese.QuoteName(t.Customer)+".limits.manifest", "what its plan allows")
	}
	v.Table = &tree.Table{Columns: []tree.Column{{Name: "region"}, {Name: "capacity"}, {Name: "citizens"}, {Name: "resting"}}}
	for _, p := range t.Places {
		v.Table.Rows = append(v.Table.Rows, []any{p.Name, p.Capacity, strings.Join(p.Citizens, ", "), strings.Join(p.Resting, ", ")})
	}
	v.Then("world.town."+agentese.QuoteName(t.ID)+".witness", "what happened")
	v.Then("world.town."+agentese.QuoteName(t.ID)+".citizens.manifest", "who lives there")
	return v
}

func seeTown(ctx context.Context, from *settled, c *tree.Call) (tree.Value, error) {
	api := from.For(c)
	t, _, _, err := from.find(ctx, api, c.Name("town"))
	if err != nil {
		return tree.Value{}, err
	}
	return showTown(t), nil
}

func seeTownEvents(ctx context.Context, from *settled, c *tree.Call) (tree.Value, error) {
	api := from.For(c)
	t, path, query, err := from.find(ctx, api, c.Name("town"))
	if err != nil {
		return tree.Value{}, err
	}
	limit := uint64(c.Args.Int("limit"))
	after := uint64(c.Args.Int("after"))
	if !c.Args.Has("after") && t.Events > limit {
		after = t.Events - limit
	}
	events, err := townEvents(ctx, api, path, query, after, int(limit))
	if err != nil {
		return tree.Value{}, err
	}
	v := tree.Value{Title: "What happened in " + t.ID, State: tree.Well, Table: eventTable(events)}
	v.Add("events", t.Events, "")
	if len(events) > 0 && events[len(events)-1].Seq < t.Events {
		v.Then(fmt.Sprintf("world.town.%s.witness[after=%d]", agentese.QuoteName(t.ID), events[len(events)-1].Seq), "what came after")
	}
	v.Note("History is kept for 30 days.")
	return v, nil
}

func townEvents(ctx context.Context, api *client.Client, path string, query url.Values, after uint64, limit int) ([]town.Event, error) {
	q := url.Values{"customer": query["customer"], "after": {strconv.FormatUint(after, 10)}, "limit": {strconv.Itoa(limit)}}
	var page struct{ Events []town.Event }
	err := api.Get(ctx, path+"/events", q, &page)
	return page.Events, living.Away("the town's history", err)
}

func eventTable(events []town.Event) *tree.Table {
	t := &tree.Table{Columns: []tree.Column{
		{Name: "number"}, {Name: "time"}, {Name: "day"}, {Name: "phase"}, {Name: "operation"}, {Name: "region"}, {Name: "who"}, {Name: "success"}, {Name: "tokens"}, {Name: "text"},
	}}
	for _, e := range events {
		t.Rows = append(t.Rows, []any{e.Seq, e.Time, e.Day, e.Phase, e.Operation, e.Region, strings.Join(e.Participants, ", "), e.Success, e.Tokens, e.Message})
	}
	return t
}

func changeTown(ctx context.Context, from *settled, c *tree.Call) (*tree.Change, error) {
	api := from.For(c)
	t, path, query, err := from.find(ctx, api, c.Name("town"))
	if err != nil {
		return nil, err
	}
	if do := c.Args.Get("do"); do != "step" && c.Args.Has("steps") || do != "pace" && c.Args.Has("seconds") {
		return nil, &agentese.Error{Kind: agentese.KindClause, What: "steps is for [do=step], seconds for [do=pace]"}
	}
	if c.Args.Get("do") == "step" {
		return stepTown(c, api, t, path, query), nil
	}
	pace := 0.0
	if c.Args.Get("do") == "pace" {
		if !c.Args.Has("seconds") {
			return nil, &agentese.Error{Kind: agentese.KindClause, What: "the clause seconds is missing", Why: "it says how long it is from phase to phase", Try: []string{c.Path + ".refine[do=pace][seconds=60]"}}
		}
		pace = float64(c.Args.Int("seconds"))
	}
	if pace == t.Pace {
		return &tree.Change{Nothing: true, Does: []string{"The pace of " + t.ID + " is so already."}}, nil
	}
	set := func(ctx context.Context, pace float64) (now host.Town, err error) {
		err = api.Do(ctx, http.MethodPatch, path, query, map[string]float64{"pace": pace}, &now)
		return now, living.Away("the town", err)
	}
	change := &tree.Change{Affects: 1, Does: []string{fmt.Sprintf("have %s, of %s, live %s instead of %s", t.ID, t.Customer, paceText(pace), paceText(t.Pace))}}
	if pace > 0 {
		change.Warnings = append(change.Warnings, "What it uses from then on is metered, and billed to "+t.Customer+".")
	}
	change.Do = func(ctx context.Context) (tree.Value, error) {
		now, err := set(ctx, pace)
		if err != nil {
			return tree.Value{}, err
		}
		return showTown(now), nil
	}
	change.Undo = func(ctx context.Context) error {
		var now host.Town
		if err := api.Get(ctx, path, query, &now); err != nil {
			return living.Away("the town", err)
		}
		switch now.Pace {
		case t.Pace:
			return nil
		case pace:
			_, err := set(ctx, t.Pace)
			return err
		}
		return fmt.Errorf("its pace was set to %s meanwhile, and is left so", paceText(now.Pace))
	}
	change.Holds = func(ctx context.Context) error {
		var now host.Town
		if err := api.Get(ctx, path, query, &now); err != nil {
			return living.Away("the town", err)
		}
		if now.Pace != pace {
			return fmt.Errorf("its pace is %s", paceText(now.Pace))
		}
		return nil
	}
	return change, nil
}

func paceText(pace float64) string {
	if pace == 0 {
		return "only when told"
	}
	return "a phase every " + (time.Duration(pace*1000) * time.Millisecond).String()
}

func stepTown(c *tree.Call, api *client.Client, t host.Town, path string, query url.Values) *tree.Change {
	steps := c.Args.Int("steps")
	return &tree.Change{
		Does:     []string{fmt.Sprintf("let %s, of %s, live for %d phases from day %d, %s on", t.ID, t.Customer, steps, t.Day, t.Phase)},
		Warnings: []string{"What it uses is metered, and billed to " + t.Customer + "."},
		Affects:  1, Final: "what was lived stands, and what it used is billed",
		Do: func(ctx context.Context) (tree.Value, error) {
			var s host.Stepped
			q := url.Values{"customer": query["customer"], "cycles": {strconv.Itoa(steps)}}
			if err := api.Do(ctx, http.MethodPost, path+"/step", q, nil, &s); err != nil {
				return tree.Value{}, living.Away("the town", err)
			}
			v := showTown(s.Town)
			v.Fields = append([]tree.Field{{Name: "phases lived", Value: s.Phases}, {Name: "events now", Value: len(s.Events)}}, v.Fields...)
			v.Table = eventTable(s.Events)
			if s.Phases < steps {
				v.Note(fmt.Sprintf("It has lived for %d of %d phases: time ran out.", s.Phases, steps))
			}
			return v, nil
		},
	}
}
