package customer_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/customer"
)

var read = []kgents.Scope{kgents.ScopeRead}

// finds checks whether a store finds whose key it is.
func finds(t *testing.T, s *customer.Store, what, token string, want bool) {
	t.Helper()
	p, err := s.Find(token)
	switch {
	case want && err != nil:
		t.Errorf("%s: %v", what, err)
	case !want:
		wantCode(t, what, err, kgents.CodeUnauthorized)
		if p.Key != "" || p.Customer != "" || p.Scopes != nil {
			t.Errorf("%s: a principal comes with the error: %+v", what, p)
		}
	}
}

func TestKeys(t *testing.T) {
	b := newBed(t)
	s := b.store()
	ctx := t.Context()
	must[customer.Customer](t)(s.Create(ctx, customer.Customer{ID: "acme"}))
	k, token, err := s.CreateKey(ctx, customer.Key{Customer: "acme", Name: "ci", Scopes: []kgents.Scope{kgents.ScopeIngest, kgents.ScopeRead}, By: "API_KEYS 1"})
	if err != nil {
		t.Fatal(err)
	}
	if want := "kg_" + k.Prefix + "_"; !strings.HasPrefix(token, want) || len(token) < len(want)+32 || !customer.ValidPrefix(k.Prefix) {
		t.Errorf("the key has the form %d %q", len(token), k.Prefix)
	}
	p, err := s.Find(token)
	if diff := cmp.Diff(kgents.Principal{Key: k.Prefix, Customer: "acme", Scopes: []kgents.Scope{kgents.ScopeIngest, kgents.ScopeRead}}, p); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	op, operators, err := s.CreateKey(ctx, customer.Key{Scopes: []kgents.Scope{kgents.ScopeAdmin}})
	if err != nil {
		t.Fatal(err)
	}
	if p, err := s.Find(operators); err != nil || !p.Operator() || !p.May(kgents.ScopeRead) {
		t.Errorf("an operator's key: %+v %v", p, err)
	}
	other := "a"
	if strings.HasSuffix(token, "a") {
		other = "b"
	}
	for name, token := range map[string]string{
		"nothing": "", "another secret": token[:len(token)-1] + other, "a shorter one": token[:len(token)-1], "a longer one": token + "a",
		"its prefix": "kg_" + k.Prefix, "its prefix with the secret of another": "kg_" + k.Prefix + operators[13:], "in capitals": strings.ToUpper(token),
		"an unknown prefix": "kg_aaaaaaaaaa" + token[13:], "its hash": hexSum(token), "another mark": "xx" + token[2:],
	} {
		finds(t, s, name, token, false)
	}
	for name, k := range map[string]customer.Key{
		"no scopes": {Customer: "acme"}, "an unknown scope": {Customer: "acme", Scopes: []kgents.Scope{"root"}},
		"a scope twice":     {Customer: "acme", Scopes: []kgents.Scope{"read", "read"}},
		"expired":           {Customer: "acme", Scopes: read, Expires: time.Now().Add(-time.Second)},
		"never ends":        {Customer: "acme", Scopes: read, Expires: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
		"a hostile name":    {Customer: "acme", Scopes: read, Name: "\x1b[2J"},
		"a name for a book": {Customer: "acme", Scopes: read, Name: strings.Repeat("a", 201)},
	} {
		_, _, err := s.CreateKey(ctx, k)
		wantCode(t, name, err, kgents.CodeInvalid)
	}
	for _, id := range []string{"nobody", "*", "acme.x"} {
		_, _, err := s.CreateKey(ctx, customer.Key{Customer: id, Scopes: read})
		wantCode(t, id, err, kgents.CodeNotFound)
	}
	if got := s.ListKeys("acme", "", 10); len(got) != 1 || got[0].Prefix != k.Prefix || got[0].By != "API_KEYS 1" {
		t.Errorf("acme's keys are %+v", got)
	}
	if got := s.ListKeys("", "", 10); len(got) != 1 || got[0].Prefix != op.Prefix {
		t.Errorf("the operator's keys are %+v", got)
	}
	wantCode(t, "revoke with a stale revision", s.RevokeKey(ctx, k.Prefix, k.Revision-1), kgents.CodeConflict)
	wantCode(t, "revoke nothing", s.RevokeKey(ctx, "aaaaaaaaaa", 0), kgents.CodeNotFound)
	wantCode(t, "revoke what is no prefix", s.RevokeKey(ctx, "*", 0), kgents.CodeNotFound)
	if err := s.RevokeKey(ctx, k.Prefix, k.Revision); err != nil {
		t.Fatal(err)
	}
	finds(t, s, "revoked", token, false)
	finds(t, s, "another's", operators, true)
	wantCode(t, "revoke again", s.RevokeKey(ctx, k.Prefix, 0), kgents.CodeNotFound)
	b.keepsSecret(token, operators, token[14:], operators[14:])
	b.keepsNothing(token[14:], operators[14:])
}

func hexSum(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

func TestTooManyKeys(t *testing.T) {
	s := newBed(t).store()
	must[customer.Customer](t)(s.Create(t.Context(), customer.Customer{ID: "acme"}))
	for range customer.MaxKeys {
		if _, _, err := s.CreateKey(t.Context(), customer.Key{Customer: "acme", Scopes: read}); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err := s.CreateKey(t.Context(), customer.Key{Customer: "acme", Scopes: read})
	wantCode(t, "one too many", err, kgents.CodeConflict)
	var prefixes []string
	for after := ""; ; after = prefixes[len(prefixes)-1] {
		page := s.ListKeys("acme", after, 30)
		if len(page) == 0 {
			break
		}
		for _, k := range page {
			prefixes = append(prefixes, k.Prefix)
		}
	}
	if len(prefixes) != customer.MaxKeys {
		t.Errorf("%d keys are listed", len(prefixes))
	}
}

func TestRotate(t *testing.T) {
	s := newBed(t).store()
	clock := time.Now()
	s.SetClock(func() time.Time { return clock })
	ctx := t.Context()
	must[customer.Customer](t)(s.Create(ctx, customer.Customer{ID: "acme"}))
	k, first, err := s.CreateKey(ctx, customer.Key{Customer: "acme", Scopes: read, Expires: clock.Add(1000 * time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	rotate := func(overlap time.Duration) string {
		t.Helper()
		rotated, token, err := s.RotateKey(ctx, k.Prefix, 0, overlap)
		if err != nil {
			t.Fatal(err)
		}
		if rotated.Prefix != k.Prefix || rotated.Customer != "acme" || !rotated.Expires.Equal(k.Expires.UTC()) {
			t.Errorf("rotated to %+v", rotated)
		}
		return token
	}
	wants := func(what string, want map[string]bool) {
		t.Helper()
		for token, good := range want {
			finds(t, s, what, token, good)
		}
	}
	second := rotate(time.Hour)
	wants("in the overlap", map[string]bool{first: true, second: true})
	third := rotate(24 * time.Hour) // which doesn't make the first one's longer
	wants("in both overlaps", map[string]bool{first: true, second: true, third: true})
	_, _, err = s.RotateKey(ctx, k.Prefix, 0, time.Hour)
	wantCode(t, "a fourth", err, kgents.CodeConflict)
	clock = clock.Add(time.Hour)
	wants("at the first one's end", map[string]bool{first: false, second: true, third: true})
	fourth := rotate(time.Hour)
	wants("in the overlap again", map[string]bool{first: false, second: true, third: true, fourth: true})
	fifth := rotate(0)
	wants("without overlap", map[string]bool{first: false, second: false, third: false, fourth: false, fifth: true})
	_, _, err = s.RotateKey(ctx, k.Prefix, k.Revision, time.Hour)
	wantCode(t, "a stale revision", err, kgents.CodeConflict)
	for _, overlap := range []time.Duration{-1, customer.MaxOverlap + 1} {
		_, _, err = s.RotateKey(ctx, k.Prefix, 0, overlap)
		wantCode(t, "the overlap", err, kgents.CodeInvalid)
	}
	_, _, err = s.RotateKey(ctx, "bbbbbbbbbb", 0, 0)
	wantCode(t, "no key", err, kgents.CodeNotFound)
	clock = clock.Add(999 * time.Hour)
	wants("expired", map[string]bool{fifth: false})
	_, _, err = s.RotateKey(ctx, k.Prefix, 0, 0)
	wantCode(t, "an expired one", err, kgents.CodeConflict)
}

// TestDeletedCustomersKeys open nothing, nor do they when a customer of the same id is
// made again.
func TestDeletedCustomersKeys(t *testing.T) {
	b := newBed(t)
	s, other := b.store(), b.store()
	ctx := t.Context()
	must[customer.Customer](t)(s.Create(ctx, customer.Customer{ID: "acme"}))
	var tokens []string
	for range 3 {
		_, token, err := s.CreateKey(ctx, customer.Key{Customer: "acme", Scopes: read})
		if err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, token)
	}
	k := s.ListKeys("acme", "", 1)[0]
	kept := b.entry("key." + k.Prefix)
	if err := s.Delete(ctx, "acme", 0); err != nil {
		t.Fatal(err)
	}
	b.putEntry("key."+k.Prefix, kept) // as if a crash had left it
	again := must[customer.Customer](t)(s.Create(ctx, customer.Customer{ID: "acme"}))
	eventually(t, time.Second, "the other replica has the new one", func() bool {
		c, _ := other.Get("acme")
		return c.Created.Equal(again.Created)
	})
	for _, s := range []*customer.Store{s, other, b.store()} {
		for i, token := range tokens {
			finds(t, s, fmt.Sprint("key ", i), token, false)
		}
		if keys := s.ListKeys("acme", "", 10); len(keys) != 0 {
			t.Errorf("the new customer has %+v", keys)
		}
	}
}

// TestRevokedEverywhere: four replicas refuse a key within a second after one has
// revoked it; and when its customer is deleted.
func TestRevokedEverywhere(t *testing.T) {
	b := newBed(t)
	stores := []*customer.Store{b.store(), b.store(), b.store(), b.store()}
	ctx := t.Context()
	must[customer.Customer](t)(stores[0].Create(ctx, customer.Customer{ID: "acme"}))
	for round, revoke := range []func(k customer.Key) error{
		func(k customer.Key) error { return stores[1].RevokeKey(ctx, k.Prefix, 0) },
		func(k customer.Key) error { _, _, err := stores[2].RotateKey(ctx, k.Prefix, 0, 0); return err },
		func(customer.Key) error { return stores[3].Delete(ctx, "acme", 0) },
	} {
		k, token, err := stores[0].CreateKey(ctx, customer.Key{Customer: "acme", Scopes: read})
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range stores {
			eventually(t, time.Second, fmt.Sprintf("round %d: replica %d knows the key", round, i), func() bool { _, err := s.Find(token); return err == nil })
		}
		if err := revoke(k); err != nil {
			t.Fatal(err)
		}
		for i, s := range stores {
			eventually(t, time.Second, fmt.Sprintf("round %d: replica %d refuses the key", round, i), func() bool {
				_, err := s.Find(token)
				return kgents.ErrorCode(err) == kgents.CodeUnauthorized
			})
		}
	}
}

// TestFindIsInMemory and allocates nothing, whether or not the prefix is there.
func TestFindAllocatesNothing(t *testing.T) {
	s := newBed(t).store()
	_, token, err := s.CreateKey(t.Context(), customer.Key{Scopes: read})
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{"good": token, "unknown": "kg_aaaaaaaaaa" + token[13:], "wrong": token[:len(token)-2] + "aa"} {
		if n := testing.AllocsPerRun(100, func() { _, _ = s.Find(token) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkFind(b *testing.B) {
	s, token := benchStore(b)
	for name, token := range map[string]string{"good": token, "unknown": "kg_aaaaaaaaaa" + token[13:], "wrong": token[:len(token)-1] + "1"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					_, _ = s.Find(token)
				}
			})
		})
	}
}
