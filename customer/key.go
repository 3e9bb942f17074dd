package customer

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/kgents/kgents"
)

// A key is written kg_<prefix>_<secret>: the prefix names it and is shown, the secret is
// 200 random bits.
const (
	keyMark     = "kg_"
	prefixBytes = 10
	secretBytes = 40
	keyBytes    = len(keyMark) + prefixBytes + 1 + secretBytes

	// maxSecrets is how many secrets of a key are good at once: the newest, and older
	// ones whose overlap isn't over. One more rotation meanwhile is refused.
	maxSecrets = 3
)

// Key is an API key, without its secret.
type Key struct {
	Prefix   string         // 10 small letters and digits; what names the key
	Customer string         // whom it is bound to; empty for an operator's key
	Name     string         // what it is for, in the words of who made it
	Scopes   []kgents.Scope // at least one
	Created  time.Time
	By       string    // the key that has made it, by prefix or position in API_KEYS
	Expires  time.Time // zero: never
	Overlap  time.Time // until when a secret before the last rotation is good, or was; zero: none
	LastUsed time.Time // to some minutes; zero: never
	Revision uint64
}

var (
	prefixPattern = regexp.MustCompile(`^[a-z2-7]{10}$`)
	letters       = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
)

// ValidPrefix tells whether prefix can name a key.
func ValidPrefix(prefix string) bool { return prefixPattern.MatchString(prefix) }

// random returns n characters of 5 random bits each.
func random(n int) string {
	b := make([]byte, (n*5+7)/8)
	_, _ = rand.Read(b) // never fails
	return letters.EncodeToString(b)[:n]
}

// mint makes the whole key for a prefix, and what is kept of it.
func mint(prefix string) (whole string, kept secret) {
	whole = keyMark + prefix + "_" + random(secretBytes)
	return whole, secret{Sum: sha256.Sum256([]byte(whole))}
}

// secret is the hash of a whole key, and until when it is good.
type secret struct {
	Sum   hash      `json:"sha256"`
	Until time.Time `json:"until,omitzero"` // zero: as long as the key
}

// hash is written in hexadecimal.
type hash [sha256.Size]byte

// MarshalText writes the hash.
func (h hash) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h[:]), nil }

// UnmarshalText reads it.
func (h *hash) UnmarshalText(b []byte) error {
	if len(b) != hex.EncodedLen(len(h)) {
		return errors.New("this is no SHA-256")
	}
	_, err := hex.Decode(h[:], b)
	return err
}

// keyDocument is a key as the bucket has it.
type keyDocument struct {
	Customer string         `json:"customer,omitempty"`
	Epoch    time.Time      `json:"customer_created,omitzero"` // of whom it is bound to: one made later with the same id is another
	Name     string         `json:"name,omitempty"`
	Scopes   []kgents.Scope `json:"scopes"`
	Created  time.Time      `json:"created"`
	By       string         `json:"by,omitempty"`
	Expires  time.Time      `json:"expires,omitzero"`
	Secrets  []secret       `json:"secrets"` // the newest first
}

// key is a key in memory. Only used changes.
type key struct {
	keyDocument
	prefix    string
	revision  uint64
	principal kgents.Principal
	sums      [maxSecrets]hash  // those that are not used are hashes of nothing
	until     [maxSecrets]int64 // Unix nanoseconds from which each is good no more
	used      atomic.Int64      // Unix seconds, by this replica
}

const forever = math.MaxInt64

// readKey reads an entry of the bucket.
func readKey(prefix string, revision uint64, value []byte) (*key, error) {
	k := &key{prefix: prefix, revision: revision}
	if err := json.Unmarshal(value, &k.keyDocument); err != nil {
		return nil, err
	}
	if !ValidPrefix(prefix) || len(k.Secrets) == 0 || len(k.Secrets) > maxSecrets || !validScopes(k.Scopes) {
		return nil, errors.New("this is no key")
	}
	k.principal = kgents.Principal{Key: prefix, Customer: k.Customer, Scopes: slices.Clip(k.Scopes)}
	for i, s := range k.Secrets {
		k.sums[i], k.until[i] = s.Sum, forever
		if !s.Until.IsZero() {
			k.until[i] = s.Until.UnixNano()
		}
		if !k.Expires.IsZero() {
			k.until[i] = min(k.until[i], k.Expires.UnixNano())
		}
	}
	return k, nil
}

// shown is the key as it may be shown.
func (k *key) shown(used int64) Key {
	out := Key{
		Prefix: k.prefix, Customer: k.Customer, Name: k.Name, Scopes: slices.Clone(k.Scopes), Created: k.Created, By: k.By,
		Expires: k.Expires, Revision: k.revision,
	}
	for _, s := range k.Secrets[1:] {
		if s.Until.After(out.Overlap) {
			out.Overlap = s.Until
		}
	}
	if used = max(used, k.used.Load()); used > 0 {
		out.LastUsed = time.Unix(used, 0).UTC()
	}
	return out
}

// nobody is compared with where no key has the prefix, so that it takes as long.
var nobody = &key{}

// good tells, of the hash of what was sent, whether it is one of the key's secrets that
// is good at a time. It compares with each of them, whatever it has found.
func (k *key) good(sum hash, now int64) bool {
	found := 0
	for i := range k.sums {
		fresh := int(uint64(now-k.until[i]) >> 63)
		found |= subtle.ConstantTimeCompare(sum[:], k.sums[i][:]) & fresh
	}
	return found == 1
}

// prefixOf returns the prefix of what looks like a key.
func prefixOf(token string) (string, bool) {
	if len(token) != keyBytes || !strings.HasPrefix(token, keyMark) || token[len(keyMark)+prefixBytes] != '_' {
		return "", false
	}
	return token[len(keyMark) : len(keyMark)+prefixBytes], true
}

// Find returns whose key token is. It asks nobody, and takes as long for a prefix that
// is there as for one that isn't. The error is an *kgents.Error: CodeUnauthorized for
// what is no key, CodeUnavailable for what may be one that this replica hasn't heard of,
// because NATS is away or has just come back.
func (s *Store) Find(token string) (kgents.Principal, error) {
	prefix, ok := prefixOf(token)
	if !ok {
		return kgents.Principal{}, errUnknownKey
	}
	var whole [keyBytes]byte
	copy(whole[:], token)
	sum, now := hash(sha256.Sum256(whole[:])), s.now()
	s.mu.RLock()
	k, known := s.mem.keys[prefix]
	if !known {
		k = nobody
	}
	owner, there := s.mem.customers[k.Customer]
	s.mu.RUnlock()
	bound := k.Customer == "" || there && owner.Created.Equal(k.Epoch)
	if k.good(sum, now.UnixNano()) && known && bound {
		if at := now.Unix(); k.used.Load() != at { // one write a second at most
			k.used.Store(at)
		}
		return k.principal, nil
	}
	if !s.Current() { // it may be new, or have a new secret
		return kgents.Principal{}, errUnsure
	}
	return kgents.Principal{}, errUnknownKey
}

var (
	errUnknownKey = kgents.Errorf(kgents.CodeUnauthorized, "this API key is not known")
	errUnsure     = kgents.Unavailable(2*time.Second, "whether this API key is good can't be told now: send it again", nil)
)

// validScopes tells whether scopes are some, and each known and there once.
func validScopes(scopes []kgents.Scope) bool {
	for i, scope := range scopes {
		if !slices.Contains(kgents.Scopes(), scope) || slices.Contains(scopes[:i], scope) {
			return false
		}
	}
	return len(scopes) > 0
}
