package customer

import (
	"context"
	"net/http"
	"time"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/api"
)

// DefaultOverlap is how long the old secret of a rotated key is good unless the request
// says otherwise.
const DefaultOverlap = 24 * time.Hour

// KeyView is an API key as the API shows it: without its secret.
type KeyView struct {
	Prefix   string         `json:"prefix" doc:"What names the key"`
	Customer string         `json:"customer,omitempty" doc:"Whom it is bound to; absent for a key of the operator's"`
	Operator bool           `json:"operator,omitempty"`
	Name     string         `json:"name,omitempty"`
	Scopes   []kgents.Scope `json:"scopes" enum:"ingest,read,admin"`
	Created  time.Time      `json:"created"`
	By       string         `json:"created_by,omitempty" doc:"The key that has made it"`
	Expires  time.Time      `json:"expires,omitzero" doc:"Absent: never"`
	Overlap  time.Time      `json:"old_secret_until,omitzero" doc:"Until when a secret before the last rotation is good, or was"`
	LastUsed time.Time      `json:"last_used,omitzero" doc:"To some minutes; absent: never"`
	Revision uint64         `json:"revision" doc:"Changes with every change; what ETag has"`

	// Key is the whole key. It is there once, in the answer that makes it.
	Key string `json:"key,omitempty" doc:"The whole key. It is shown in this answer and never again"`
}

// KeyPage is a page of keys.
type KeyPage struct {
	Keys []KeyView `json:"keys"`
	Next string    `json:"next,omitempty" doc:"The next page's after; absent at the end"`
}

// NewKey is the body that makes a key.
type NewKey struct {
	Customer string         `json:"customer,omitempty" maxLength:"63" doc:"Whom it is bound to. A customer's key makes keys of its own customer only, and may leave it out"`
	Operator bool           `json:"operator,omitempty" doc:"True for a key of the operator's, who names no customer"`
	Name     string         `json:"name,omitempty" maxLength:"200" doc:"What it is for"`
	Scopes   []kgents.Scope `json:"scopes" minItems:"1" maxItems:"3" enum:"ingest,read,admin" doc:"admin implies the others"`
	Expires  time.Time      `json:"expires,omitzero" required:"false" doc:"When it ends; absent: never"`
}

// Rotation is the body that rotates a key.
type Rotation struct {
	Overlap string `json:"overlap,omitempty" maxLength:"32" doc:"How long the old secret is good, for example 90m or 24h, 720h at most. 0s ends every old secret at once. Absent: 24h"`
}

func (k Key) view(whole string) KeyView {
	return KeyView{
		Prefix: k.Prefix, Customer: k.Customer, Operator: k.Customer == "", Name: k.Name, Scopes: k.Scopes, Created: k.Created, By: k.By,
		Expires: k.Expires, Overlap: k.Overlap, LastUsed: k.LastUsed, Revision: k.Revision, Key: whole,
	}
}

type keyOut struct {
	ETag         string `header:"ETag"`
	CacheControl string `header:"Cache-Control"`
	Body         KeyView
}

func answerKey(k Key, whole string, err error) (*keyOut, error) {
	if err != nil {
		return nil, err
	}
	return &keyOut{etag(k.Revision), "no-store", k.view(whole)}, nil
}

// whose is the customer of whose keys a request is, "" for the operator's. A customer's
// key can't name another, nor the operator; an operator's has to name one of both.
func whose(caller kgents.Principal, customer string, operator bool) (string, error) {
	switch {
	case !operator:
		return caller.For(customer)
	case !caller.Operator():
		return "", kgents.Errorf(kgents.CodeForbidden, "this is for the operator's keys only")
	case customer != "":
		return "", kgents.Errorf(kgents.CodeInvalid, "a key is a customer's or the operator's: name one of both")
	}
	return "", nil
}

// ownKey returns a key that the caller may see. To a customer's key, another's is as one
// that isn't there.
func (s *Store) ownKey(caller kgents.Principal, prefix string) (Key, error) {
	k, ok := s.GetKey(prefix)
	if !ok || !caller.Operator() && k.Customer != caller.Customer {
		return Key{}, s.missing(errNoKey)
	}
	return k, nil
}

// OfKey is the path parameter of routes for one key.
type OfKey struct {
	Prefix string `path:"prefix" maxLength:"10"`
}

// registerKeys adds the routes of keys.
func (s *Store) registerKeys(a *api.API) {
	route := func(method, path, id, summary, detail string, status int) api.Route {
		return api.Route{
			Method: method, Path: path, Scope: kgents.ScopeAdmin, Tag: tagKeys, ID: id, Summary: summary, Status: status,
			Detail: detail + "\n\nA customer's key sees and changes the keys of its own customer only.",
		}
	}
	const all, one = "/v1/keys", "/v1/keys/{prefix}"
	api.Handle(a, route(http.MethodPost, all, "create-key", "Make an API key", "The answer has the whole key, which is kept nowhere and can't be shown again. A customer has 100 keys at most (409).", http.StatusCreated),
		func(ctx context.Context, caller kgents.Principal, in *struct{ Body NewKey }) (*keyOut, error) {
			customer, err := whose(caller, in.Body.Customer, in.Body.Operator)
			if err == nil {
				err = s.often.Allow(caller)
			}
			if err != nil {
				return nil, err
			}
			return answerKey(s.CreateKey(ctx, Key{
				Customer: customer, Name: in.Body.Name, Scopes: in.Body.Scopes, By: caller.Key, Expires: in.Body.Expires,
			}))
		})
	api.Handle(a, route(http.MethodGet, all, "list-keys", "List API keys", "Those of a customer, the operator's, or all, in the order of their prefixes.", 0), s.serveKeys)
	api.Handle(a, route(http.MethodGet, one, "get-key", "One API key", "Without its secret.", 0),
		func(_ context.Context, caller kgents.Principal, in *OfKey) (*keyOut, error) {
			k, err := s.ownKey(caller, in.Prefix)
			return answerKey(k, "", err)
		})
	api.Handle(a, route(http.MethodPost, one+"/rotate", "rotate-key", "Give an API key a new secret", "The prefix stays. The old secret is good for the overlap, so that nothing fails while the new one is spread.", 0),
		func(ctx context.Context, caller kgents.Principal, in *struct {
			OfKey
			Match
			Body *Rotation
		},
		) (*keyOut, error) {
			revision, err := in.revision()
			if err != nil {
				return nil, err
			}
			if _, err := s.ownKey(caller, in.Prefix); err != nil {
				return nil, err
			}
			overlap := DefaultOverlap
			if in.Body != nil && in.Body.Overlap != "" {
				if overlap, err = time.ParseDuration(in.Body.Overlap); err != nil {
					return nil, kgents.Errorf(kgents.CodeInvalid, "the overlap is a time such as 90m or 24h")
				}
			}
			return answerKey(s.RotateKey(ctx, in.Prefix, revision, overlap))
		})
	api.Handle(a, route(http.MethodDelete, one, "revoke-key", "Revoke an API key", "It opens nothing from then on: on every replica within a second.", 0),
		func(ctx context.Context, caller kgents.Principal, in *struct {
			OfKey
			Match
		},
		) (*struct{}, error) {
			revision, err := in.revision()
			if err != nil {
				return nil, err
			}
			if !caller.Operator() { // an operator can revoke what nobody can read
				if _, err := s.ownKey(caller, in.Prefix); err != nil {
					return nil, err
				}
			}
			return nil, s.RevokeKey(ctx, in.Prefix, revision)
		})
}

type keysIn struct {
	Customer string `query:"customer" maxLength:"63" doc:"Whose keys; a customer's key lists its own"`
	Operator bool   `query:"operator" doc:"The operator's keys"`
	All      bool   `query:"all" doc:"Those of all customers and the operator's, for an operator's key"`
	After    string `query:"after" maxLength:"10" doc:"The prefix after which the page begins"`
	Limit    int    `query:"limit" minimum:"1" maximum:"500" default:"100"`
}

type keysOut struct{ Body KeyPage }

func (s *Store) serveKeys(_ context.Context, caller kgents.Principal, in *keysIn) (*keysOut, error) {
	var list func(after string, limit int) []Key
	switch {
	case !in.All:
		customer, err := whose(caller, in.Customer, in.Operator)
		if err != nil {
			return nil, err
		}
		if customer != "" {
			if _, err := s.own(caller, customer); err != nil {
				return nil, err
			}
		}
		list = func(after string, limit int) []Key { return s.ListKeys(customer, after, limit) }
	case !caller.Operator():
		return nil, kgents.Errorf(kgents.CodeForbidden, "this is for the operator's keys only")
	case in.Customer != "" || in.Operator:
		return nil, kgents.Errorf(kgents.CodeInvalid, "all keys are asked for, or a customer's, or the operator's: name one of them")
	default:
		list = s.ListAllKeys
	}
	if !s.Current() {
		return nil, s.missing(nil)
	}
	out := &keysOut{KeyPage{Keys: []KeyView{}}}
	for _, k := range list(in.After, in.Limit+1) {
		if len(out.Body.Keys) == in.Limit {
			out.Body.Next = out.Body.Keys[in.Limit-1].Prefix
			break
		}
		out.Body.Keys = append(out.Body.Keys, k.view(""))
	}
	return out, nil
}
