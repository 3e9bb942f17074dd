package world

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/town/host"
)

// foundTowns founds a town.
func foundTowns(from *settled) tree.Affordance {
	return tree.Affordance{
		Aspect: agentese.Refine, Needs: tree.Developer, Line: "found a town of a customer's",
		Asks: []string{
			"create a town", "found a new town", "new town for acme", "make a town called springfield", "start a new simulation", "set up a village of agents", "add a town", "i want a town with 25 citizens",
			"give acme a town", "open a new settlement", "build a town for a customer", "create a sandbox of agents", "spin up an agent town", "make a demo town", "another town please", "new town that lives by itself",
		},
		Params: []tree.Param{
			{Key: "do", Line: "what is to be done", Values: []string{"create"}, Default: "create"},
			{Key: "customer", Line: "whose it is and who pays for it; a customer's key may leave it out", Of: "world.customers"},
			{Key: "name", Line: "its name, for people", Kind: tree.Text},
			{Key: "citizens", Line: "how many live in it", Values: []string{"3", "7", "10", "25"}, Default: "3"},
			{Key: "seconds", Line: "from phase to phase, so that it lives by itself; without it only when told", Kind: tree.Number, Min: 1, Max: 86_400},
			{Key: "model", Line: "let a language model decide, if the operator has one", Kind: tree.Flag},
		},
		Examples: []tree.Example{
			{Expr: "world.town.refine[do=create][customer=acme][name=Springfield][citizens=7]", Line: "a town of seven, which lives when told"},
			{Expr: "world.town.refine[customer=acme][seconds=60][dry_run]", Line: "what founding one that lives by itself would do"},
		},
		Change: func(ctx context.Context, c *tree.Call) (*tree.Change, error) { return foundTown(ctx, from, c) },
	}
}

// maxTownName is the longest name that the API takes.
const maxTownName = 80

func foundTown(ctx context.Context, from *settled, c *tree.Call) (*tree.Change, error) {
	api, owner, name := from.For(c), c.Args.Get("customer"), c.Args.Get("name")
	if len([]rune(name)) > maxTownName {
		return nil, &agentese.Error{Kind: agentese.KindClause, What: fmt.Sprintf("[name=…]: a town's name has %d characters at most", maxTownName)}
	}
	if owner == "" {
		own, err := ownCustomer(ctx, api)
		if err != nil {
			return nil, &agentese.Error{Kind: agentese.KindClause, What: "the clause customer is missing", Why: "it says whose the town is, and this key is no customer's", Try: []string{"world.town.refine[customer=acme]"}}
		}
		owner = own.ID
	} else if _, err := getCustomer(ctx, api, owner); err != nil {
		return nil, err
	}
	have, more, err := from.all(ctx, api, owner, pageTowns, nil)
	if err != nil {
		return nil, err
	}
	citizens, _ := strconv.Atoi(c.Args.Get("citizens"))
	body := map[string]any{"citizens": citizens}
	does := fmt.Sprintf("found a town of %d citizens for %s", citizens, owner)
	if name != "" {
		body["name"] = name
		does = fmt.Sprintf("found the town %s of %d citizens for %s", agentese.QuoteName(name), citizens, owner)
	}
	count := strconv.Itoa(len(have))
	if more {
		count = "more than " + count
	}
	does += ", who has " + count + "; it lives only when told"
	change := &tree.Change{Affects: 1}
	if pace := c.Args.Int("seconds"); pace > 0 {
		body["pace"] = pace
		does = does[:len(does)-len("only when told")] + "by itself, " + paceText(float64(pace))
		change.Warnings = append(change.Warnings, "What it uses from then on is metered, and billed to "+owner+".")
	}
	if c.Args.Flag("model") {
		body["model"] = true
		change.Warnings = append(change.Warnings, "A language model decides in it, as far as the operator has one: its tokens are metered.")
	}
	for _, t := range have {
		if name != "" && t.Name == name {
			change.Warnings = append(change.Warnings, owner+" has a town of that name already: "+t.ID+".")
			break
		}
	}
	change.Does = []string{does}
	query := url.Values{"customer": {owner}}
	var made host.Town
	change.Do = func(ctx context.Context) (tree.Value, error) {
		if err := api.Do(ctx, http.MethodPost, "/v1/town", query, body, &made); err != nil {
			return tree.Value{}, living.Away("a town of "+agentese.QuoteName(owner), err)
		}
		from.learn([]host.Town{made})
		v := showTown(made)
		v.Then("world.town."+agentese.QuoteName(made.ID)+".refine[do=step][steps=4]", "let it live for a day")
		return v, nil
	}
	change.Undo = func(ctx context.Context) error {
		if made.ID == "" { // it may be another's
			return fmt.Errorf("whether a town was founded is not known: see the towns of %s", owner)
		}
		return living.Away("the town "+made.ID, api.Do(ctx, http.MethodDelete, "/v1/town/"+url.PathEscape(made.ID), query, nil, nil))
	}
	return change, nil
}
