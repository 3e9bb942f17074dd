package world

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/api/client"
	"github.com/kgents/kgents/customer"
)

func customerKeys(from *living.Sources) *tree.Node {
	return &tree.Node{
		Name: "keys", Line: "the API keys of one customer",
		Doc: `The API keys by which one customer's programs send events and ask: the prefix that names each, its scopes, when it was made and by whom, when it was last used, and until when an old secret is good after a rotation. ` +
			`Secrets are kept as hashes alone and can't be shown; what is made or rotated here is shown once, in that answer, and is in no audit, history or note. ` +
			`They come from GET /v1/keys. A key that was never used, or not for months, is one to revoke; a key that has leaked is revoked at once: it opens nothing from then on.`,
		Synonyms: []string{
			"api keys", "credentials", "tokens for the api", "secrets", "access keys", "authentication", "auth", "key rotation", "leaked key", "bearer token", "401", "unauthorized",
		},
		Affords: []tree.Affordance{
			{
				Aspect: agentese.Manifest, Line: "its keys, without their secrets",
				Asks: []string{
					"which api keys has acme", "list keys of a customer", "when was the key last used", "does acme have a key", "is their key expired", "unused api keys",
					"who made this key", "what may this key do", "customer gets 401 unauthorized", "key prefix of acme", "is the old secret still good",
				},
				Examples: []tree.Example{{Expr: "world.customers.acme.keys.manifest", Line: "acme's keys"}},
				See:      func(ctx context.Context, c *tree.Call) (tree.Value, error) { return seeKeys(ctx, from, c) },
			},
			{
				Aspect: agentese.Refine, Needs: tree.Admin, Line: "make a key, give one a new secret, or revoke one",
				Asks: []string{
					"create an api key for acme", "make a new key", "rotate the key of acme", "the key was leaked", "revoke an api key", "disable a key", "customer lost their api key",
					"give acme access", "change the secret of a key", "delete a key", "new credentials for a customer", "lock out a stolen key", "issue a token",
				},
				Params: []tree.Param{
					{Key: "do", Line: "what is to be done", Values: []string{"create", "rotate", "revoke"}, Required: true},
					{Key: "key", Line: "the prefix of the key to rotate or revoke"},
					{Key: "scopes", Line: "what a new key may do: ingest, read, admin, separated by commas", Default: "ingest,read"},
					{Key: "name", Line: "what a new key is for", Kind: tree.Text},
					{Key: "overlap", Line: "how long the old secret is good after a rotation: 90m, 24h, 720h at most, or 0s to end it at once", Default: "24h"},
				},
				Examples: []tree.Example{
					{Expr: "world.customers.acme.keys.refine[do=create][scopes=ingest]", Line: "a key that may send events"},
					{Expr: "world.customers.acme.keys.refine[do=rotate][key=k7d2m9xq4w][overlap=1h]", Line: "a new secret; the old one is good for an hour"},
					{Expr: "world.customers.acme.keys.refine[do=revoke][key=k7d2m9xq4w][dry_run]", Line: "what revoking would do"},
				},
				Change: func(ctx context.Context, c *tree.Call) (*tree.Change, error) { return changeKeys(ctx, from, c) },
			},
		},
	}
}

// listKeys are all keys of a customer, customer.MaxKeys at most.
func listKeys(ctx context.Context, api *client.Client, id string) ([]customer.KeyView, error) {
	query := url.Values{"customer": {id}, "limit": {strconv.Itoa(customer.MaxPage)}}
	var page customer.KeyPage
	err := api.Get(ctx, "/v1/keys", query, &page)
	return page.Keys, living.Away("the keys of "+agentese.QuoteName(id), err)
}

func scopesOf(scopes []kgents.Scope) string {
	out := make([]string, len(scopes))
	for i, s := range scopes {
		out[i] = string(s)
	}
	return strings.Join(out, ",")
}

// timeOr is a time, or never.
func timeOr(t time.Time) any {
	if t.IsZero() {
		return "never"
	}
	return t
}

func seeKeys(ctx context.Context, from *living.Sources, c *tree.Call) (tree.Value, error) {
	id := c.Name("customer")
	keys, err := listKeys(ctx, from.For(c), id)
	if err != nil {
		return tree.Value{}, err
	}
	v := tree.Value{Title: "API keys of " + id, State: tree.Well, Table: &tree.Table{Columns: []tree.Column{
		{Name: "key"}, {Name: "name"}, {Name: "scopes"}, {Name: "created"}, {Name: "by"}, {Name: "expires"}, {Name: "last_used"}, {Name: "old_secret_until"}, {Name: "state"},
	}}}
	now := c.Now()
	for _, k := range keys {
		state := tree.Well
		if !k.Expires.IsZero() && !k.Expires.After(now) {
			state = tree.Bad
		}
		overlap := any("")
		if k.Overlap.After(now) {
			overlap = k.Overlap
		}
		v.Table.Rows = append(v.Table.Rows, []any{k.Prefix, k.Name, scopesOf(k.Scopes), k.Created, k.By, timeOr(k.Expires), timeOr(k.LastUsed), overlap, state})
	}
	v.Add("keys", len(keys), "")
	if len(keys) == 0 {
		v.State = tree.Warn
		v.Note("Without a key this customer can neither send events nor ask.")
		v.Then("world.customers."+agentese.QuoteName(id)+".keys.refine[do=create]", "make one")
	}
	v.Note("A key's use is noted within some minutes. An expired key opens nothing.")
	return v, nil
}

func changeKeys(ctx context.Context, from *living.Sources, c *tree.Call) (*tree.Change, error) {
	api, id := from.For(c), c.Name("customer")
	keys, err := listKeys(ctx, api, id)
	if err != nil {
		return nil, err
	}
	if c.Args.Get("do") == "create" {
		return createKey(c, api, id, len(keys))
	}
	prefix := c.Args.Get("key")
	if prefix == "" {
		return nil, &agentese.Error{Kind: agentese.KindClause, What: "the clause key is missing", Why: "it names the key to " + c.Args.Get("do"), Try: []string{"world.customers." + agentese.QuoteName(id) + ".keys.manifest"}}
	}
	i := slices.IndexFunc(keys, func(k customer.KeyView) bool { return k.Prefix == prefix })
	if i < 0 {
		return nil, &agentese.Error{Kind: agentese.KindNotFound, What: "there is no key " + agentese.QuoteName(prefix) + " of " + id, Try: []string{"world.customers." + agentese.QuoteName(id) + ".keys.manifest"}}
	}
	key := keys[i]
	at, err := segment("key", prefix)
	if err != nil {
		return nil, err
	}
	api.Header.Set("If-Match", `"`+strconv.FormatUint(key.Revision, 10)+`"`)
	what := "the key " + key.Prefix
	if key.Name != "" {
		what += " (" + key.Name + ")"
	}
	what += " of " + id + ", " + lastUse(key, c.Now())
	if c.Args.Get("do") == "revoke" {
		change := &tree.Change{
			Does: []string{"revoke " + what}, Affects: 1, Final: "a key that is revoked opens nothing any more; a new one can be made",
			Do: func(ctx context.Context) (tree.Value, error) {
				if err := api.Do(ctx, http.MethodDelete, "/v1/keys/"+at, nil, nil, nil); err != nil {
					return tree.Value{}, living.Away("key "+prefix, err)
				}
				return tree.Value{Title: "The key " + prefix + " is revoked", State: tree.Well, Notes: []string{"It opens nothing any more: on every replica within a second."}}, nil
			},
		}
		if len(keys) == 1 {
			change.Warnings = append(change.Warnings, "It is the customer's only key: its programs get 401 from then on.")
		}
		return change, nil
	}
	overlap, err := time.ParseDuration(c.Args.Get("overlap"))
	if d, longErr := tree.ParseDuration(c.Args.Get("overlap")); err != nil && longErr == nil {
		overlap, err = d, nil
	}
	if err != nil || overlap < 0 || overlap > 720*time.Hour {
		return nil, &agentese.Error{Kind: agentese.KindClause, What: "[overlap=" + c.Args.Get("overlap") + "]: use a time such as 90m or 24h, 720h at most, or 0s"}
	}
	change := &tree.Change{
		Does:    []string{"give a new secret to " + what, fmt.Sprintf("let the old secret be good for %s more", overlap)},
		Affects: 1, Final: "the old secret can't be had back; it is good until the overlap ends",
		Do: func(ctx context.Context) (tree.Value, error) {
			var k customer.KeyView
			if err := api.Do(ctx, http.MethodPost, "/v1/keys/"+at+"/rotate", nil, customer.Rotation{Overlap: overlap.String()}, &k); err != nil {
				return tree.Value{}, living.Away("key "+prefix, err)
			}
			return showSecret("The key "+k.Prefix+" has a new secret", k), nil
		},
	}
	if overlap == 0 {
		change.Does[1] = "end every old secret at once"
		change.Warnings = append(change.Warnings, "Programs that have the old secret get 401 from that moment on.")
	}
	return change, nil
}

func lastUse(k customer.KeyView, now time.Time) string {
	if k.LastUsed.IsZero() {
		return "never used"
	}
	return "last used " + max(0, now.Sub(k.LastUsed)).Truncate(time.Minute).String() + " ago"
}

// showSecret is the one answer that has a key's secret: as the figure named secret,
// which nothing keeps.
func showSecret(title string, k customer.KeyView) tree.Value {
	v := tree.Value{Title: title, State: tree.Well}
	v.Add("key", k.Prefix, "").Add("secret", k.Key, "").Add("scopes", scopesOf(k.Scopes), "")
	if !k.Overlap.IsZero() {
		v.Add("old_secret_until", k.Overlap, "")
	}
	v.Note("The secret is shown here and never again: put it where it belongs now.")
	return v
}

func createKey(c *tree.Call, api *client.Client, id string, have int) (*tree.Change, error) {
	body := customer.NewKey{Customer: id, Name: c.Args.Get("name")}
	for s := range strings.SplitSeq(c.Args.Get("scopes"), ",") {
		scope := kgents.Scope(strings.ToLower(strings.TrimSpace(s)))
		if scope != kgents.ScopeIngest && scope != kgents.ScopeRead && scope != kgents.ScopeAdmin {
			return nil, &agentese.Error{Kind: agentese.KindClause, What: "[scopes=" + c.Args.Get("scopes") + "]: " + agentese.QuoteName(s) + " is no scope", Why: "there are ingest, read and admin, separated by commas"}
		}
		if !slices.Contains(body.Scopes, scope) {
			body.Scopes = append(body.Scopes, scope)
		}
	}
	var made customer.KeyView
	change := &tree.Change{
		Does: []string{fmt.Sprintf("make an API key of %s, which has %d, that may %s", id, have, scopesOf(body.Scopes))}, Affects: 1,
		Do: func(ctx context.Context) (tree.Value, error) {
			if err := api.Do(ctx, http.MethodPost, "/v1/keys", nil, body, &made); err != nil {
				return tree.Value{}, living.Away("a key of "+id, err)
			}
			v := showSecret("The key "+made.Prefix+" of "+id, made)
			made.Key = ""
			return v, nil
		},
		Undo: func(ctx context.Context) error {
			if made.Prefix == "" {
				return fmt.Errorf("whether a key was made is not known: see the keys of %s", id)
			}
			return living.Away("key "+made.Prefix, api.Do(ctx, http.MethodDelete, "/v1/keys/"+url.PathEscape(made.Prefix), nil, nil, nil))
		},
	}
	if slices.Contains(body.Scopes, kgents.ScopeAdmin) {
		change.Warnings = append(change.Warnings, "A key with admin makes and revokes keys of its customer, and changes its subscription.")
	}
	return change, nil
}
