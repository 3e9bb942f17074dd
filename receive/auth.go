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

// Keys are the API keys that are let in, kept as hashes.
type Keys struct {
	sums   [][sha256.Size]byte
	limits *limits // nil without
}

// NewKeys returns a set of keys. An empty set lets nobody in.
func NewKeys(keys []string) Keys {
	var k Keys
	for _, key := range keys {
		k.sums = append(k.sums, sha256.Sum256([]byte(key)))
	}
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

// check returns the position of the key that r carries as a bearer token (RFC 6750),
// or an error if it is none of the keys or beyond its rate. H are the headers of the
// answer.
func (k Keys) check(h http.Header, r *http.Request) (int, error) {
	scheme, key, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return 0, kgents.Errorf(kgents.CodeUnauthorized, "an API key is needed: send it as 'Authorization: Bearer …'")
	}
	i := k.find(strings.TrimSpace(key))
	if i < 0 {
		return 0, kgents.Errorf(kgents.CodeUnauthorized, "this API key is not known")
	}
	if k.limits == nil {
		return i, nil
	}
	return i, k.limits.take(h, i)
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
		i, err := keys.check(w.Header(), r)
		if err != nil {
			WriteProblem(w, r, err)
			return
		}
		caller := kgents.Principal{Key: "API_KEYS " + strconv.Itoa(i+1), Scopes: kgents.Scopes()}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, caller)))
	})
}
