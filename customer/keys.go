package customer

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents"
)

// MaxOverlap is how long a secret can stay good after it was replaced.
const MaxOverlap = 30 * 24 * time.Hour

// CreateKey makes an API key and returns it with the whole key, which nobody can tell
// again. Customer, Name, Scopes, By and Expires are taken from k. Customer is empty for a
// key of the operator's; else it must be there. Past MaxKeys of one customer the error is
// CodeConflict; replicas that make keys at the same moment may pass it by as many.
func (s *Store) CreateKey(ctx context.Context, k Key) (Key, string, error) {
	now := s.now().UTC()
	if err := checkName(k.Name); err != nil {
		return Key{}, "", err
	}
	switch {
	case !validScopes(k.Scopes):
		return Key{}, "", kgents.Errorf(kgents.CodeInvalid, "a key's scopes are one or more of ingest, read and admin")
	case !k.Expires.IsZero() && !k.Expires.After(now):
		return Key{}, "", kgents.Errorf(kgents.CodeInvalid, "the key would have expired already")
	case k.Expires.Year() > 9999:
		return Key{}, "", kgents.Errorf(kgents.CodeInvalid, "the key would expire after the year 9999: leave it out for a key that never does")
	}
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	kv, err := s.bucket()
	if err != nil {
		return Key{}, "", err
	}
	d := keyDocument{Customer: k.Customer, Name: k.Name, Scopes: k.Scopes, Created: now, By: k.By, Expires: k.Expires.UTC()}
	if k.Customer != "" {
		if !ValidID(k.Customer) {
			return Key{}, "", errNoCustomer
		}
		owner, _, err := s.read(ctx, kv, k.Customer)
		if err != nil {
			return Key{}, "", err
		}
		if owner.Moved != "" {
			return Key{}, "", errNoCustomer
		}
		d.Epoch = owner.Created
	}
	if len(s.keysOf(k.Customer)) >= MaxKeys {
		return Key{}, "", kgents.Errorf(kgents.CodeConflict, "there are %d keys already, which is as many as there may be: revoke one first", MaxKeys)
	}
	for attempt := 0; ; attempt++ {
		prefix := random(prefixBytes)
		whole, kept := mint(prefix)
		d.Secrets = []secret{kept}
		revision, err := s.writeKey(ctx, kv, prefix, d, 0)
		if err == nil {
			return d.shown(prefix, revision), whole, nil
		}
		if !met(err) {
			return Key{}, "", away(err)
		}
		if err := again(ctx, attempt); err != nil {
			return Key{}, "", err
		}
	}
}

// writeKey writes a key over a revision, 0 for a new one.
func (s *Store) writeKey(ctx context.Context, kv jetstream.KeyValue, prefix string, d keyDocument, over uint64) (revision uint64, err error) {
	value, err := json.Marshal(d)
	if err != nil {
		return 0, err
	}
	name := kindKey + "." + prefix
	if over == 0 {
		revision, err = kv.Create(ctx, name, value)
	} else {
		revision, err = kv.Update(ctx, name, value, over)
	}
	if err == nil {
		s.put(name, revision, value)
	}
	return revision, err
}

func (d keyDocument) shown(prefix string, revision uint64) Key {
	return (&key{keyDocument: d, prefix: prefix, revision: revision}).shown(0)
}

// readKey returns a key from the bucket itself.
func (s *Store) readKey(ctx context.Context, kv jetstream.KeyValue, prefix string) (d keyDocument, revision uint64, err error) {
	if !ValidPrefix(prefix) {
		return d, 0, errNoKey
	}
	e, err := kv.Get(ctx, kindKey+"."+prefix)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return d, 0, errNoKey
	}
	if err != nil {
		return d, 0, away(err)
	}
	k, err := readKey(prefix, e.Revision(), e.Value())
	if err != nil {
		return d, 0, &kgents.Error{Code: kgents.CodeInternal, Message: "what the bucket holds of this key can't be read: revoke it", Err: err}
	}
	return k.keyDocument, e.Revision(), nil
}

// RotateKey gives a key a new secret and returns it whole, which nobody can tell again.
// The secret that it had is good for overlap more, or as long as it was if that is
// shorter; with overlap 0 every older secret ends at once. Revision is what the decision
// rests on, 0 for whatever there is. The error is CodeConflict if it is another, or too
// many secrets are good still, or the key has expired.
func (s *Store) RotateKey(ctx context.Context, prefix string, revision uint64, overlap time.Duration) (Key, string, error) {
	if overlap < 0 || overlap > MaxOverlap {
		return Key{}, "", kgents.Errorf(kgents.CodeInvalid, "the overlap is from 0 to 30 days")
	}
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	kv, err := s.bucket()
	if err != nil {
		return Key{}, "", err
	}
	for attempt := 0; ; attempt++ {
		d, has, err := s.readKey(ctx, kv, prefix)
		if err != nil {
			return Key{}, "", err
		}
		if revision != 0 && revision != has {
			return Key{}, "", errChanged
		}
		whole, err := d.rotate(prefix, s.now().UTC(), overlap)
		if err != nil {
			return Key{}, "", err
		}
		has, err = s.writeKey(ctx, kv, prefix, d, has)
		switch {
		case err == nil:
			return d.shown(prefix, has), whole, nil
		case met(err) && revision != 0:
			return Key{}, "", errChanged
		case !met(err):
			return Key{}, "", away(err)
		}
		if err := again(ctx, attempt); err != nil {
			return Key{}, "", err
		}
	}
}

// rotate puts a new secret before those that are good still.
func (d *keyDocument) rotate(prefix string, now time.Time, overlap time.Duration) (whole string, err error) {
	if !d.Expires.IsZero() && !d.Expires.After(now) {
		return "", kgents.Errorf(kgents.CodeConflict, "the key has expired: make another")
	}
	whole, kept := mint(prefix)
	secrets := []secret{kept}
	if overlap > 0 {
		for _, s := range d.Secrets {
			if !s.Until.IsZero() && !s.Until.After(now) {
				continue
			}
			if end := now.Add(overlap); s.Until.IsZero() || s.Until.After(end) {
				s.Until = end
			}
			secrets = append(secrets, s)
		}
	}
	if len(secrets) > maxSecrets {
		return "", kgents.Errorf(kgents.CodeConflict, "%d secrets of this key are good still: wait until one ends, or rotate without overlap, which ends them at once", maxSecrets)
	}
	d.Secrets = secrets
	return whole, nil
}

// RevokeKey deletes a key. It opens nothing from then on: here at once, on other replicas
// as soon as they hear of it. Revision is as in RotateKey.
func (s *Store) RevokeKey(ctx context.Context, prefix string, revision uint64) error {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	kv, err := s.bucket()
	if err != nil {
		return err
	}
	if !ValidPrefix(prefix) {
		return errNoKey
	}
	name := kindKey + "." + prefix
	for attempt := 0; ; attempt++ {
		e, err := kv.Get(ctx, name) // one that can't be read can be revoked
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			return errNoKey
		}
		if err != nil {
			return away(err)
		}
		if revision != 0 && revision != e.Revision() {
			return errChanged
		}
		err = s.remove(ctx, kv, name, e.Revision())
		switch {
		case err == nil:
			return nil
		case !met(err):
			return away(err)
		case revision != 0:
			return errChanged
		}
		if err := again(ctx, attempt); err != nil {
			return err
		}
	}
}

// GetKey returns a key from memory. One whose customer is gone is none.
func (s *Store) GetKey(prefix string) (Key, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	k := s.mem.keys[prefix]
	if k == nil || !s.mem.bound(k) {
		return Key{}, false
	}
	return k.shown(s.mem.uses[prefix]), true
}

// ListKeys returns up to limit keys after a prefix, in the order of prefixes: those of a
// customer, or with customer "" the operator's.
func (s *Store) ListKeys(customer, after string, limit int) []Key {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []Key
	for _, prefix := range slices.Sorted(maps.Keys(s.mem.owned[customer])) { // MaxKeys at most
		if prefix <= after || len(out) >= limit {
			continue
		}
		if k := s.mem.keys[prefix]; s.mem.bound(k) {
			out = append(out, k.shown(s.mem.uses[prefix]))
		}
	}
	return out
}

// ListAllKeys is as ListKeys of every customer and of the operator.
func (s *Store) ListAllKeys(after string, limit int) []Key {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var behind []string
	for prefix := range s.mem.keys {
		if prefix > after {
			behind = append(behind, prefix)
		}
	}
	slices.Sort(behind)
	var out []Key
	for _, prefix := range behind {
		if len(out) >= limit {
			break
		}
		if k := s.mem.keys[prefix]; s.mem.bound(k) {
			out = append(out, k.shown(s.mem.uses[prefix]))
		}
	}
	return out
}

// bound tells whether a key's customer is there, and the one that it was made for.
func (m *memory) bound(k *key) bool {
	if k.Customer == "" {
		return true
	}
	owner, there := m.customers[k.Customer]
	return there && owner.Created.Equal(k.Epoch)
}

// keysOf are a customer's keys, also of one before with the same id.
func (s *Store) keysOf(customer string) []*key {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Collect(maps.Values(s.mem.owned[customer]))
}
