package customer_test

import (
	"testing"
	"time"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/customer"
)

// TestNATSAwayAtStart: the store opens, knows nothing and says that it can't tell; when
// NATS is there it fills.
func TestNATSAwayAtStart(t *testing.T) {
	b := newBed(t)
	_, token, err := b.store().CreateKey(t.Context(), customer.Key{Scopes: read})
	if err != nil {
		t.Fatal(err)
	}
	b.stop()
	s := b.open()
	_, err = s.Find(token)
	wantCode(t, "a good key that isn't known", err, kgents.CodeUnavailable, token)
	_, err = s.Find("no key at all")
	wantCode(t, "what is no key", err, kgents.CodeUnauthorized)
	_, err = s.Create(t.Context(), customer.Customer{ID: "acme"})
	wantCode(t, "a change", err, kgents.CodeUnavailable)
	if list := s.List("", 10); len(list) != 0 {
		t.Errorf("there are %v", list)
	}
	b.start()
	eventually(t, 20*time.Second, "the key is found", func() bool { _, err := s.Find(token); return err == nil })
	finds(t, s, "another secret", token[:len(token)-2]+"aa", false)
}

// TestOutage: while NATS is away known keys go on to work and unknown ones are in doubt;
// what another replica did before this one was back is not missed.
func TestOutage(t *testing.T) {
	b := newBed(t)
	s, other := b.store(), b.store()
	ctx := t.Context()
	must[customer.Customer](t)(s.Create(ctx, customer.Customer{ID: "acme"}))
	var tokens, prefixes []string
	for range 3 {
		k, token, err := s.CreateKey(ctx, customer.Key{Customer: "acme", Scopes: read})
		if err != nil {
			t.Fatal(err)
		}
		tokens, prefixes = append(tokens, token), append(prefixes, k.Prefix)
	}
	for round := range 3 {
		eventually(t, 20*time.Second, "both are current", func() bool { return s.Current() && other.Current() })
		token := tokens[round]
		eventually(t, time.Second, "the other replica knows the key", func() bool { _, err := other.Find(token); return err == nil })
		b.stop()
		eventually(t, 20*time.Second, "the outage is noticed", func() bool { return !s.Current() && !other.Current() })
		for _, s := range []*customer.Store{s, other} {
			finds(t, s, "a known key", token, true)
			_, err := s.Find(token[:len(token)-2] + "aa")
			wantCode(t, "an unknown secret", err, kgents.CodeUnavailable)
		}
		_, err := s.Update(ctx, "acme", 0, func(*customer.Customer) error { return nil })
		wantCode(t, "a change", err, kgents.CodeUnavailable)
		b.start()
		// A client that comes back before the replicas do.
		first := b.kv()
		if err := first.Delete(ctx, "key."+prefixes[round]); err != nil {
			t.Fatal(err)
		}
		for _, s := range []*customer.Store{s, other} {
			eventually(t, 20*time.Second, "the revocation is known", func() bool {
				_, err := s.Find(token)
				return kgents.ErrorCode(err) == kgents.CodeUnauthorized
			})
		}
	}
}

// TestRestoredBucket: a bucket that was deleted and made again from a backup is read
// anew, though its revisions are lower.
func TestRestoredBucket(t *testing.T) {
	b := newBed(t)
	s := b.store()
	ctx := t.Context()
	must[customer.Customer](t)(s.Create(ctx, customer.Customer{ID: "kept"}))
	kept := b.entry("customer.kept")
	must[customer.Customer](t)(s.Create(ctx, customer.Customer{ID: "late"}))
	js := b.js()
	if err := js.DeleteStream(ctx, "KV_events-accounts"); err != nil {
		t.Fatal(err)
	}
	b.store() // whoever comes first makes it again
	b.putEntry("customer.kept", kept)
	eventually(t, 30*time.Second, "the memory is that of the new bucket", func() bool {
		_, late := s.Get("late")
		_, there := s.Get("kept")
		return there && !late
	})
	must[customer.Customer](t)(s.Update(ctx, "kept", 0, func(c *customer.Customer) error { c.Name = "K"; return nil }))
}

// TestStrangeEntries are left out, and one that was a key opens nothing.
func TestStrangeEntries(t *testing.T) {
	b := newBed(t)
	s := b.store()
	k, token, err := s.CreateKey(t.Context(), customer.Key{Scopes: read})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"key." + k.Prefix, "customer.x", "customer.a.b", "use.x", "stripe.cus_1", "other", "customer._"} {
		for _, value := range []string{"", "{", "[]", `{"created":"2026-01-01T00:00:00Z","subscriptions":7}`, `{"scopes":["root"],"secrets":[]}`, "-1"} {
			b.putEntry(name, []byte(value))
		}
	}
	for _, s := range []*customer.Store{s, b.store()} {
		eventually(t, time.Second, "the key that makes no sense opens nothing", func() bool {
			_, err := s.Find(token)
			return kgents.ErrorCode(err) == kgents.CodeUnauthorized
		})
		if list := s.List("", 10); len(list) != 0 {
			t.Errorf("there are %+v", list)
		}
	}
	if err := s.RevokeKey(t.Context(), k.Prefix, 0); err != nil {
		t.Errorf("a key that makes no sense can't be revoked: %v", err)
	}
}

// TestLastUse: it is written in rounds, once by all replicas for a while, and survives.
func TestLastUse(t *testing.T) {
	b := newBed(t)
	s, other := b.store(), b.store()
	k, token, err := s.CreateKey(t.Context(), customer.Key{Scopes: read})
	if err != nil {
		t.Fatal(err)
	}
	used := func(s *customer.Store) time.Time { k, _ := s.GetKey(k.Prefix); return k.LastUsed }
	if at := used(s); !at.IsZero() {
		t.Errorf("used at %s before it was", at)
	}
	eventually(t, time.Second, "the other replica knows the key", func() bool { _, ok := other.GetKey(k.Prefix); return ok })
	for _, s := range []*customer.Store{s, other} {
		finds(t, s, "the key", token, true)
	}
	s.WriteUses(customer.UseEvery)
	first := b.revision("use." + k.Prefix)
	eventually(t, time.Second, "the other replica knows the use", func() bool { return other.KnownUse(k.Prefix) != 0 })
	other.WriteUses(customer.UseEvery) // the use is known
	s.WriteUses(customer.UseEvery)
	if now := b.revision("use." + k.Prefix); now != first {
		t.Errorf("the use was written again, as %d after %d", now, first)
	}
	if at := used(b.store()); time.Since(at) > time.Minute {
		t.Errorf("read again it was used at %s", at)
	}
	if err := s.RevokeKey(t.Context(), k.Prefix, 0); err != nil {
		t.Fatal(err)
	}
	s.WriteUses(customer.UseEvery)
	if now := b.revision("use." + k.Prefix); now != 0 {
		t.Error("the use of a key that is gone is still there")
	}
}
