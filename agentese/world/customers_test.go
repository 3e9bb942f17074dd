package world_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/customer"
)

// A customer's life by expressions: made, seen, given keys, near a limit, past it.
func TestCustomers(t *testing.T) {
	s := newShop(t)
	s.customer("acme")

	// Made by an expression, refused the second time, and gone with its undoing.
	v := s.Must("world.customers.refine[do=create][id=globex][name=Globex Inc][plan=pro]")
	if figure(v, "plan") != "pro" || figure(v, "override") != "pro" || !v.Changed {
		t.Errorf("%+v", v)
	}
	if _, err := s.Run("world.customers.refine[id=globex]"); kindOf(err) != agentese.KindFailed {
		t.Errorf("a second one of that id: %v", err)
	}
	for _, bad := range []string{"[id=-x]", "[id=a/b]", `[id="a b"]`, "[id=x][plan=gold]"} {
		if _, err := s.Run("world.customers.refine" + bad); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
	v = s.Must("world.customers.manifest")
	if diff := cmp.Diff([]any{"acme", "globex"}, listed(v, "customer")); diff != "" || figure(v, "customers") != 2 || figure(v, "on free") != 1 {
		t.Errorf("%s %+v", diff, v.Fields)
	}
	for clause, want := range map[string][]any{"[plan=free]": {"acme"}, "[plan=PRO]": {"globex"}, "[status=past_due]": nil, "[limit=1]": {"acme"}} {
		v := s.Must("world.customers.manifest" + clause)
		if diff := cmp.Diff(want, listed(v, "customer")); diff != "" {
			t.Errorf("%s: %s", clause, diff)
		}
		if clause == "[limit=1]" && v.Table.Total != 2 {
			t.Errorf("of two one is shown, and the total is %d", v.Table.Total)
		}
	}

	// What it uses shows, brings it near its limit, and past it.
	s.use("1", "acme", 8_500)
	s.Eventually("acme is near its limit", func() bool {
		return cmp.Equal([]any{"acme"}, listed(s.Must("world.customers.lens[near=80]"), "customer"))
	})
	if v := s.Must("world.customers.lens[near=90]"); len(v.Table.Rows) != 0 || v.State != tree.Well {
		t.Errorf("%+v", v)
	}
	v = s.Must("world.customers.lens")
	if v.State != tree.Warn || !cmp.Equal([]any{85.0}, listed(v, "percent")) || figure(v, "refused now") != 0 {
		t.Errorf("%+v", v)
	}
	s.use("2", "acme", 1_500)
	s.Eventually("acme is at its limit", func() bool { return s.Must("world.customers.lens[near=100]").State == tree.Bad })
	v = s.Must("world.customers.acme.limits.manifest[feature=tokens]")
	if v.State != tree.Bad || !cmp.Equal([]any{int64(10_000)}, listed(v, "used")) || len(v.Next) == 0 || !strings.Contains(v.Next[0].Expr, "[plan=pro]") {
		t.Errorf("%+v", v)
	}
	v = s.Must("world.customers.acme.limits.manifest")
	if left := listed(v, "left"); len(left) != 6 || left[0] == nil || left[3] != nil {
		t.Errorf("left: %v; what exists, such as towns, isn't counted here", left)
	}
	if figure(v, "requests a minute") != int64(60) || len(v.Table.Rows) != 6 {
		t.Errorf("%+v", v)
	}
	s.Eventually("the meter has counted it", func() bool {
		return figure(s.Must("world.customers.acme.usage.manifest"), "agent_tokens") == 10_000.0
	})
	if v := s.Must("world.customers.acme.usage.manifest[from=2d][by=day][meter=agent_tokens]"); len(v.Table.Rows) != 1 {
		t.Errorf("%+v", v.Table)
	}
	v = s.Must("world.customers.acme.invoice.manifest")
	if figure(v, "total") != int64(0) || figure(v, "plan") != "free" || !cmp.Equal(listed(v, "quantity")[1], any(int64(10_000))) ||
		!cmp.Equal(listed(v, "limit_per"), []any{"", "period", "period", "day"}) {
		t.Errorf("%+v", v)
	}
	if v := s.Must("world.customers.acme.alerts.manifest"); v.Table == nil || v.State == "" {
		t.Errorf("%+v", v)
	}

	// Nobody is told apart from nothing.
	for _, path := range []string{"manifest", "witness", "usage.manifest", "limits.manifest", "keys.manifest", "invoice.manifest", "subscription.manifest"} {
		if _, err := s.Run("world.customers.nobody." + path); kindOf(err) != agentese.KindNotFound {
			t.Errorf("%s of nobody: %v", path, err)
		}
		if _, err := s.Run(`world.customers."..".` + path); kindOf(err) != agentese.KindNotFound && kindOf(err) != agentese.KindFailed {
			t.Errorf("%s of ..: %v", path, err)
		}
	}
}

// The plans are those in force, and an unknown one says which there are.
func TestPlans(t *testing.T) {
	s := newShop(t)
	v := s.Must("world.plans.manifest")
	if diff := cmp.Diff([]any{"free", "pro", "teams"}, listed(v, "plan")); diff != "" || figure(v, "currency") != "usd" || !cmp.Equal([]any{int64(0), int64(1900), int64(9900)}, listed(v, "month")) {
		t.Errorf("%s %+v", diff, v)
	}
	v = s.Must("world.plans.PRO.manifest")
	if figure(v, "a month") != int64(1900) || figure(v, "requests a minute") != int64(1000) || !strings.Contains(v.Text, "E-mail support") {
		t.Errorf("%+v", v)
	}
	_, err := s.Run("world.plans.gold.manifest")
	if e, ok := errors.AsType[*agentese.Error](err); !ok || e.Kind != agentese.KindNotFound || !strings.Contains(e.Why, "free, pro, teams") {
		t.Errorf("%v", err)
	}
}

// A key's secret is shown once, and is in no audit line, no note and nothing else that
// is kept; it opens what it should, until it is rotated or revoked.
func TestKeys(t *testing.T) {
	s := newShop(t)
	s.customer("globex")
	s.Must("world.customers.refine[id=acme][plan=teams]") // whose rate is enough for what follows
	v := s.Must("world.customers.acme.keys.refine[do=create][scopes=ingest,read][name=laptop]@span=onboarding")
	secret, _ := figure(v, "secret").(string)
	prefix, _ := figure(v, "key").(string)
	if !strings.HasPrefix(secret, "kg_"+prefix) || prefix == "" {
		t.Fatalf("%+v", v)
	}
	alone := v
	alone.Fields = nil
	if text := fmt.Sprintf("%+v", alone); strings.Contains(text, secret) {
		t.Error("the secret is not in its figure alone")
	}

	// With it what is below its own customer opens, and nothing else.
	own := s.as(secret)
	for _, open := range []string{
		"world.customers.acme.manifest", "world.customers.acme.witness", "world.customers.acme.limits.manifest", "world.customers.acme.usage.manifest",
		"world.customers.acme.invoice.manifest", "world.customers.acme.subscription.manifest", "world.plans.manifest", "world.town.manifest", "world.customers.manifest",
	} {
		if _, err := s.runIn(own, open); err != nil {
			t.Errorf("%s with acme's key: %v", open, err)
		}
	}
	if v, err := s.runIn(own, "world.customers.manifest"); err != nil || !cmp.Equal([]any{"acme"}, listed(v, "customer")) {
		t.Errorf("%v %+v", err, v)
	}
	for _, shut := range []string{
		"world.customers.globex.manifest", "world.customers.globex.limits.manifest", "world.customers.globex.usage.manifest", "world.customers.globex.invoice.manifest",
		"world.customers.lens", "world.customers.acme.alerts.manifest", "world.customers.acme.keys.manifest", "world.customers.refine[id=mine]",
		"world.customers.globex.keys.refine[do=create]", "world.customers.globex.subscription.refine[do=cancel]", "world.town.manifest[customer=globex]",
	} {
		if v, err := s.runIn(own, shut); kindOf(err) != agentese.KindDenied && kindOf(err) != agentese.KindNotFound {
			t.Errorf("%s with acme's key: %v, %+v", shut, err, v)
		}
	}

	before := s.Must("world.customers.acme.keys.manifest")
	if !cmp.Equal([]any{prefix}, listed(before, "key")) || !cmp.Equal([]any{"laptop"}, listed(before, "name")) {
		t.Errorf("%+v", before)
	}
	v = s.Must("world.customers.acme.keys.refine[do=rotate][key=" + prefix + "][overlap=0s]")
	second, _ := figure(v, "secret").(string)
	if second == secret || !strings.HasPrefix(second, "kg_"+prefix) {
		t.Errorf("%+v", v)
	}
	s.Eventually("the old secret opens nothing", func() bool {
		_, err := s.runIn(own, "world.customers.acme.manifest")
		return kindOf(err) == agentese.KindDenied
	})
	for _, bad := range []string{"[do=rotate]", "[do=revoke][key=nothing111]", "[do=rotate][key=" + prefix + "][overlap=721h]", "[do=create][scopes=all]", "[do=revoke][key=..]", "[do=rotate][key=" + prefix + "][rollback]"} {
		if _, err := s.Run("world.customers.acme.keys.refine" + bad); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
	// A key of another customer's isn't reached by acme's path.
	if _, err := s.Run("world.customers.globex.keys.refine[do=revoke][key=" + prefix + "]"); kindOf(err) != agentese.KindNotFound {
		t.Errorf("%v", err)
	}
	s.Must("world.customers.acme.keys.refine[do=revoke][key=" + prefix + "]")
	if v := s.Must("world.customers.acme.keys.manifest"); len(v.Table.Rows) != 0 || v.State != tree.Warn {
		t.Errorf("%+v", v)
	}

	lines, err := json.Marshal(s.Audit())
	if err != nil || len(s.Audit()) != 8 {
		t.Errorf("%d lines, %v: %s", len(s.Audit()), err, lines)
	}
	for _, text := range []string{secret, second} {
		if strings.Contains(string(lines), strings.TrimPrefix(text, "kg_"+prefix+"_")) {
			t.Error("the audit has a secret")
		}
	}
}

// Who may not, may not: by the least observer of each change.
func TestObserversOfChanges(t *testing.T) {
	s := newShop(t)
	s.customer("acme")
	s.Session.Observer = tree.Developer
	for _, text := range []string{"world.customers.refine[id=x]", "world.kubernetes.deployments.kgents-api.refine[replicas=3]"} {
		if _, err := s.Run(text); kindOf(err) != agentese.KindDenied {
			t.Errorf("%s by a developer: %v", text, err)
		}
	}
	s.Session.Observer = tree.Architect
	for _, text := range []string{"world.customers.acme.keys.refine[do=create]", "world.customers.acme.subscription.refine[do=cancel]"} {
		if _, err := s.Run(text); kindOf(err) != agentese.KindDenied {
			t.Errorf("%s by an architect: %v", text, err)
		}
	}
	if got := s.Audit(); len(got) > 0 {
		t.Errorf("%+v", got)
	}
}

// All keys are in one list, the oldest first, by age, use, end and scope, and without a
// secret; a customer's key doesn't see it.
func TestAllKeys(t *testing.T) {
	s := newShop(t)
	s.customer("acme")
	s.customer("globex")
	give := func(owner, scopes, name string) (prefix, secret string) {
		t.Helper()
		v := s.Must("world.customers." + owner + ".keys.refine[do=create][scopes=" + scopes + "][name=" + name + "]")
		return figure(v, "key").(string), figure(v, "secret").(string)
	}
	first, own := give("acme", "ingest", "first")
	second, _ := give("globex", "admin", "second")
	third, _ := give("acme", "admin", "third")
	// One that ends, and one of the operator's.
	post := func(body map[string]any) (k customer.KeyView) {
		t.Helper()
		if err := s.Client.Do(t.Context(), http.MethodPost, "/v1/keys", nil, body, &k); err != nil {
			t.Fatal(err)
		}
		return k
	}
	fourth := post(map[string]any{"customer": "globex", "scopes": []string{"read"}, "expires": time.Now().Add(10 * 24 * time.Hour)}).Prefix
	fifth := post(map[string]any{"operator": true, "scopes": []string{"read"}}).Prefix
	now := time.Now()
	for _, tt := range []struct {
		clauses string
		later   time.Duration // when it is looked at
		want    []any
	}{
		{"", 0, []any{first, second, third, fourth, fifth}},
		{"[customer=acme]", 0, []any{first, third}},
		{"[scope=admin]", 0, []any{second, third}},
		{"[older=90d]", 0, nil},
		{"[older=90d]", 91 * 24 * time.Hour, []any{first, second, third, fourth, fifth}},
		{"[unused=30d][customer=globex]", 31 * 24 * time.Hour, []any{second, fourth}},
		{"[unused=30d]", 29 * 24 * time.Hour, nil},
		{"[ends=14d]", 0, []any{fourth}},
		{"[ends=1d]", 0, nil},
		{"[ends=1d]", 20 * 24 * time.Hour, []any{fourth}},
		{"[where=customer=(the operator)]", 0, []any{fifth}},
	} {
		s.Session.Clock = func() time.Time { return now.Add(tt.later) }
		v := s.Must("world.keys.manifest" + tt.clauses)
		if diff := cmp.Diff(tt.want, listed(v, "key")); diff != "" {
			t.Errorf("%s: %s", tt.clauses, diff)
		}
		if raw, err := json.Marshal(v); err != nil || strings.Contains(string(raw), own) {
			t.Errorf("%s shows a secret, or %v", tt.clauses, err)
		}
		if ended := slices.Contains(listed(v, "state"), any(tree.Bad)); ended != (tt.later > 10*24*time.Hour && slices.Contains(tt.want, any(fourth))) {
			t.Errorf("%s: %v", tt.clauses, listed(v, "state"))
		}
	}
	if _, err := s.Run("world.keys.manifest[customer=nobody]"); kindOf(err) != agentese.KindNotFound {
		t.Errorf("%v", err)
	}
	if _, err := s.Run("world.keys.manifest[unused=soon]"); kindOf(err) != agentese.KindClause {
		t.Errorf("%v", err)
	}
	_, admin := give("acme", "admin", "theirs")
	if v, err := s.runIn(s.as(admin), "world.keys.manifest"); kindOf(err) != agentese.KindDenied {
		t.Errorf("a customer's key sees %+v, %v", v, err)
	}
}
