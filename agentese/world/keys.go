package world

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/api/client"
	"github.com/kgents/kgents/customer"
)

// keys are the API keys of all customers in one list.
func keys(from *living.Sources) *tree.Node {
	return &tree.Node{
		Name: "keys", Line: "the API keys of all customers: age, last use, scopes, expiry", Operator: true,
		Doc: `Every API key that was made for a customer, and the operator's own: whose it is, its prefix, its scopes, how old it is, when it was last used, and when it ends, the oldest first. ` +
			`Secrets are kept as hashes alone and are never shown. Its age is that of the key: giving it a new secret leaves it. ` +
			`It comes from GET /v1/keys?all=true. To make, rotate or revoke one, go to the keys of its customer; keys of API_KEYS stand in the program's configuration and not here.`,
		Synonyms: []string{
			"all api keys", "every key", "keys of everybody", "key inventory", "key audit", "old keys", "stale keys", "unused keys", "key hygiene", "access review", "who has access", "credentials of all customers", "key expiry",
		},
		Affords: []tree.Affordance{{
			Aspect: agentese.Manifest, Line: "all keys, or the old, the unused, those that end soon",
			Asks: []string{
				"list everybody who has an api key", "which keys are older than 90 days", "all api keys of all customers", "which api keys were never used", "keys that nobody has used for a month", "stale api keys",
				"which keys expire soon", "expired keys of any customer", "who has an admin key", "keys with the scope admin", "inventory of api keys", "access review", "how many api keys exist",
				"which customers have a key", "oldest api key", "which keys should we rotate", "list every key with its last use", "operator keys", "whose key is this prefix", "audit of all keys",
			},
			// Only older is a Duration: of words that name a time every such clause is filled in.
			Params: []tree.Param{
				{Key: "customer", Line: "only this customer's", Of: "world.customers"},
				{Key: "older", Line: "only keys made longer ago, for example 90d", Kind: tree.Duration},
				{Key: "unused", Line: "only keys that were not used for so long, for example 30d"},
				{Key: "ends", Line: "only keys that have ended, or end within this time, for example 14d"},
				{Key: "scope", Line: "only keys that have this scope", Values: []string{"ingest", "read", "admin"}},
			},
			Examples: []tree.Example{
				{Expr: "world.keys.manifest", Line: "every key, the oldest first"},
				{Expr: "world.keys.manifest[older=90d]", Line: "keys older than 90 days"},
				{Expr: "world.keys.manifest[unused=30d][scope=admin]", Line: "admin keys that were not used for a month"},
			},
			See: func(ctx context.Context, c *tree.Call) (tree.Value, error) { return seeAllKeys(ctx, from, c) },
		}},
	}
}

// allKeys are those of everybody, or of one customer; tree.MaxRows at most.
func allKeys(ctx context.Context, api *client.Client, of string) (all []customer.KeyView, more bool, err error) {
	query := url.Values{"limit": {strconv.Itoa(customer.MaxPage)}, "all": {"true"}}
	if of != "" {
		query.Del("all")
		query.Set("customer", of)
	}
	for {
		var page customer.KeyPage
		if err := api.Get(ctx, "/v1/keys", query, &page); err != nil {
			return nil, false, living.Away("the list of keys", err)
		}
		all = append(all, page.Keys...)
		if page.Next == "" || len(all) >= tree.MaxRows {
			return all[:min(len(all), tree.MaxRows)], page.Next != "", nil
		}
		query.Set("after", page.Next)
	}
}

// choice is which keys the clauses leave; 0 leaves all.
type choice struct {
	older, unused, ends time.Duration
	scope               kgents.Scope
}

func choiceOf(c *tree.Call) (choice, error) {
	out := choice{scope: kgents.Scope(c.Args.Get("scope"))}
	for key, into := range map[string]*time.Duration{"older": &out.older, "unused": &out.unused, "ends": &out.ends} {
		v := c.Args.Get(key)
		if v == "" {
			continue
		}
		d, err := tree.ParseDuration(v)
		if err != nil {
			return out, &agentese.Error{Kind: agentese.KindClause, What: "[" + key + "=" + v + "]: " + err.Error()}
		}
		*into = d
	}
	return out, nil
}

func (o choice) leaves(k customer.KeyView, now time.Time) bool {
	used := k.LastUsed
	if used.IsZero() {
		used = k.Created // never used since then
	}
	return (o.older == 0 || now.Sub(k.Created) > o.older) && (o.unused == 0 || now.Sub(used) > o.unused) &&
		(o.ends == 0 || !k.Expires.IsZero() && k.Expires.Sub(now) <= o.ends) &&
		(o.scope == "" || slices.Contains(k.Scopes, o.scope))
}

func seeAllKeys(ctx context.Context, from *living.Sources, c *tree.Call) (tree.Value, error) {
	choice, err := choiceOf(c)
	if err != nil {
		return tree.Value{}, err
	}
	all, more, err := allKeys(ctx, from.For(c), c.Args.Get("customer"))
	if err != nil {
		return tree.Value{}, err
	}
	slices.SortStableFunc(all, func(a, b customer.KeyView) int { return a.Created.Compare(b.Created) })
	v := tree.Value{Title: "API keys", State: tree.Well, Table: &tree.Table{Columns: []tree.Column{
		{Name: "key"}, {Name: "customer", Link: "world.customers.{}.keys"}, {Name: "name"}, {Name: "scopes"}, {Name: "age"}, {Name: "created"}, {Name: "last_used"}, {Name: "expires"}, {Name: "old_secret_until"}, {Name: "by"}, {Name: "state"},
	}}}
	now := c.Now()
	owners, unused, ended, admin, first := map[string]bool{}, 0, 0, 0, ""
	for _, k := range all {
		if !choice.leaves(k, now) {
			continue
		}
		state := tree.Well
		if !k.Expires.IsZero() && !k.Expires.After(now) {
			state = tree.Bad
			ended++
		}
		if k.LastUsed.IsZero() {
			unused++
		}
		if slices.Contains(k.Scopes, kgents.ScopeAdmin) {
			admin++
		}
		owner := k.Customer
		if k.Operator {
			owner = "(the operator)"
		} else {
			owners[owner] = true
			if first == "" {
				first = owner
			}
		}
		overlap := any("")
		if k.Overlap.After(now) {
			overlap = k.Overlap
		}
		v.Table.Rows = append(v.Table.Rows, []any{k.Prefix, owner, k.Name, scopesOf(k.Scopes), tree.Ago(k.Created, now), k.Created, timeOr(k.LastUsed), timeOr(k.Expires), overlap, k.By, state})
	}
	v.Add("keys", len(v.Table.Rows), "").Add("of all", len(all), "").Add("customers", len(owners), "").Add("never used", unused, "").Add("ended", ended, "").Add("may administrate", admin, "")
	if more {
		v.Note(fmt.Sprintf("There are more keys than the first %d, which alone were looked at: [customer] looks at one customer's.", len(all)))
	}
	v.Note("A key's use is noted within some minutes. A key that has ended opens nothing.")
	if first != "" {
		v.Then("world.customers."+agentese.QuoteName(first)+".keys.manifest", "the keys of the first, to rotate or revoke one")
	}
	return v, nil
}
