package receive

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"

	"github.com/kgents/kgents"
)

// Keys are the API keys that are let in, kept as hashes.
type Keys struct{ sums [][sha256.Size]byte }

// NewKeys returns a set of keys. An empty set lets nobody in.
func NewKeys(keys []string) Keys {
	var k Keys
	for _, key := range keys {
		k.sums = append(k.sums, sha256.Sum256([]byte(key)))
	}
	return k
}

// has compares with every key, in a time that tells nothing about them.
func (k Keys) has(key string) bool {
	sum := sha256.Sum256([]byte(key))
	found := 0
	for i := range k.sums {
		found |= subtle.ConstantTimeCompare(sum[:], k.sums[i][:])
	}
	return found == 1
}

// check returns an error unless r carries one of the keys as a bearer token
// (RFC 6750).
func (k Keys) check(r *http.Request) error {
	scheme, key, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return kgents.Errorf(kgents.CodeUnauthorized, "an API key is needed: send it as 'Authorization: Bearer …'")
	}
	if !k.has(strings.TrimSpace(key)) {
		return kgents.Errorf(kgents.CodeUnauthorized, "this API key is not known")
	}
	return nil
}

// RequireKey lets only requests with one of keys through to next.
func RequireKey(keys Keys, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := keys.check(r); err != nil {
			WriteProblem(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}
