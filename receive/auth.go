package receive

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strconv"
	"strings"

	"github.com/kgents/kgents"
)

// Keyring finds whose key a token is, where the operator's configuration doesn't have
// it.
type Keyring interface {
	// Find asks nothing over the network, and takes a time that tells nothing about
	// the keys there are. The error is an *kgents.Error: CodeUnauthorized for what is
	// no key, CodeUnavailable for what may be one.
	Find(token string) (kgents.Principal, error)
}

// Keys are the API keys that are let in: those of the operator's configuration, kept as
// hashes, and those of a Keyring.
type Keys struct {
	sums    [][sha256.Size]byte
	callers []kgents.Principal // of each of sums
	ring    Keyring            // nil without
	senders *senders           // nil without limits
	limiter Limiter            // nil without
}

// Limiter bounds the requests of a customer by what it has paid for.
type Limiter interface {
	// Allow takes one request, and sets the headers of the answer that tell of the
	// limit. It takes 50 ms at most. The error is an *kgents.Error with
	// CodeRateLimited.
	Allow(ctx context.Context, customer string, h http.Header) error
}

// NewKeys returns a set of the operator's keys. An empty set lets nobody in.
func NewKeys(keys []string) Keys {
	var k Keys
	for i, key := range keys {
		k.sums = append(k.sums, sha256.Sum256([]byte(key)))
		k.callers = append(k.callers, kgents.Principal{Key: "API_KEYS " + strconv.Itoa(i+1), Scopes: kgents.Scopes()})
	}
	return k
}

// With returns the set with the keys of ring as well.
func (k Keys) With(ring Keyring) Keys {
	k.ring = ring
	return k
}

// find returns the position of key, or -1. It compares with every key, in a time
// that tells nothing about them.
func (k Keys) find(key string) int {
	sum := sha256.Sum256([]byte(key))
	found := -1
	for i := range k.sums {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(sum[:], k.sums[i][:]), i, found)
	}
	return found
}

// identify returns who has a token, and its position in the operator's keys, -1 for one
// of the ring's.
func (k Keys) identify(token string) (kgents.Principal, int, error) {
	i := k.find(token)
	switch {
	case i >= 0:
		return k.callers[i], i, nil
	case k.ring == nil:
		return kgents.Principal{}, i, errUnknownKey
	}
	caller, err := k.ring.Find(token)
	return caller, i, err
}

var (
	errNoKey      = kgents.Errorf(kgents.CodeUnauthorized, "an API key is needed: send it as 'Authorization: Bearer …'")
	errUnknownKey = kgents.Errorf(kgents.CodeUnauthorized, "this API key is not known")
)

// check returns who sends r by the key that it carries as a bearer token (RFC 6750), or
// an error if it is none of the keys or beyond its rate. H are the headers of the
// answer. The sender is nil without limits.
func (k Keys) check(h http.Header, r *http.Request) (kgents.Principal, *sender, error) {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return kgents.Principal{}, nil, errNoKey
	}
	caller, at, err := k.identify(strings.TrimSpace(token))
	if err != nil || k.senders == nil {
		return caller, nil, err
	}
	s := k.senders.of(caller, at)
	err = k.senders.take(h, s)
	if err == nil && k.limiter != nil && caller.Customer != "" {
		err = k.limiter.Allow(r.Context(), caller.Customer, h)
	}
	return caller, s, err
}

type callerKey struct{}

// Caller is who sends the request of ctx, as RequireKey has found. It is zero, and may
// do nothing, outside of one.
func Caller(ctx context.Context) kgents.Principal {
	p, _ := ctx.Value(callerKey{}).(kgents.Principal)
	return p
}

// RequireKey lets only requests with one of keys through to next.
func RequireKey(keys Keys, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, _, err := keys.check(w.Header(), r)
		if err != nil {
			WriteProblem(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, caller)))
	})
}

// RequireOperator lets only requests of the operator's keys through to next: those with
// the scope read to look, and with the scope admin for the rest. It goes within
// RequireKey.
func RequireOperator(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, scope := Caller(r.Context()), kgents.ScopeAdmin
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			scope = kgents.ScopeRead
		}
		err := caller.Require(scope)
		if !caller.Operator() {
			err = kgents.Errorf(kgents.CodeForbidden, "this is for the operator's keys only")
		}
		if err != nil {
			WriteProblem(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}
