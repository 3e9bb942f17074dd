package kgents

import "slices"

// Scope is what a key may be used for.
type Scope string

// The scopes of a key. None implies another, but for admin, which implies both.
const (
	ScopeIngest Scope = "ingest" // send usage, and do what makes it
	ScopeRead   Scope = "read"   // look
	ScopeAdmin  Scope = "admin"  // everything that the key's customer may do; of an operator's key everything
)

// Scopes lists them in the order in which they are shown.
func Scopes() []Scope { return []Scope{ScopeIngest, ScopeRead, ScopeAdmin} }

// Principal is who sends a request, as its verified key says. The zero value may do
// nothing.
type Principal struct {
	// Key names the key without being a secret: its prefix, or "API_KEYS 1" for the
	// first key of the operator's configuration.
	Key string

	// Customer is whom the key is bound to. Empty for an operator's key, which may
	// act for every customer.
	Customer string

	Scopes []Scope
}

// Operator tells whether the key belongs to who runs this, and not to a customer.
func (p Principal) Operator() bool { return p.Key != "" && p.Customer == "" }

// May tells whether the key has scope.
func (p Principal) May(scope Scope) bool {
	return slices.Contains(p.Scopes, scope) || slices.Contains(p.Scopes, ScopeAdmin)
}

// Require is nil if the key has scope, else an *Error with CodeForbidden.
func (p Principal) Require(scope Scope) error {
	if p.May(scope) {
		return nil
	}
	return Errorf(CodeForbidden, "this API key lacks the scope %q: use one that has it", scope)
}

// For is the customer that a request is about: asked is whom the request names, empty
// if it names nobody. A customer's key can't name another (CodeForbidden, whether or
// not that one exists), an operator's key has to name one (CodeInvalid).
func (p Principal) For(asked string) (string, error) {
	switch {
	case p.Key == "":
		return "", Errorf(CodeForbidden, "this needs an API key")
	case p.Customer == "" && asked == "":
		return "", Errorf(CodeInvalid, "name the customer: this is an operator's key, which is nobody's in particular")
	case p.Customer == "":
		return asked, nil
	case asked == "" || asked == p.Customer:
		return p.Customer, nil
	}
	return "", Errorf(CodeForbidden, "this API key belongs to another customer")
}
