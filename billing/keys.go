package billing

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// derived is a text for Stripe that is the same for the same parts, and says nothing of
// them: an idempotency key, or the identifier of a meter event, which have at most 255
// and 100 bytes.
func derived(what string, parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return "kgents-" + what + "-" + hex.EncodeToString(sum[:20])
}

// requestKey is the idempotency key of a request's step: the same for a request that is
// repeated with its Idempotency-Key, and a new one for a request without.
func requestKey(route, customer, header string) string {
	if header == "" {
		return "kgents-" + route + "-" + rand.Text()
	}
	return derived(route, customer, header)
}
