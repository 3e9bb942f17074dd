package world_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/town/host"
)

// found founds a town of a customer's and gives its id.
func (s *shop) found(customer, name string) string {
	s.t.Helper()
	var t host.Town
	s.Eventually("a town is founded", func() bool {
		err := s.Client.Do(s.t.Context(), http.MethodPost, "/v1/town", url.Values{"customer": {customer}}, map[string]any{"name": name, "citizens": 3, "seed": "7"}, &t)
		return err == nil
	})
	return t.ID
}

// A town lives by expressions: stepped, at a pace, stopped; and is seen meanwhile.
func TestTown(t *testing.T) {
	s := newShop(t)
	s.customer("acme")
	s.customer("globex")
	id, other := s.found("acme", "Springfield"), s.found("globex", "Shelbyville")
	at := "world.town." + agentese.QuoteName(id)

	v := s.Must("world.town.manifest")
	if diff := cmp.Diff([]any{id, other}, listed(v, "town")); diff != "" || !cmp.Equal([]any{"acme", "globex"}, listed(v, "customer")) {
		t.Errorf("%s %+v", diff, v.Table)
	}
	if v := s.Must("world.town.manifest[customer=globex]"); !cmp.Equal([]any{other}, listed(v, "town")) {
		t.Errorf("%+v", v.Table)
	}
	v = s.Must(at + ".manifest")
	if figure(v, "day") != 1 || figure(v, "customer") != "acme" || figure(v, "citizens") != 3 || figure(v, "pace") != "when told" {
		t.Errorf("%+v", v.Fields)
	}

	s.Session.Observer = tree.Explorer
	if _, err := s.Run(at + ".refine[do=step]"); kindOf(err) != agentese.KindDenied {
		t.Errorf("an explorer: %v", err)
	}
	s.Session.Observer = tree.Developer
	v = s.Must(at + ".refine[do=step][steps=4]")
	if figure(v, "phases lived") != 4 || figure(v, "day") != 2 || len(v.Table.Rows) == 0 {
		t.Errorf("%+v", v.Fields)
	}
	all := s.Must(at + ".witness[limit=1000]")
	if n, _ := figure(all, "events").(uint64); n == 0 || len(all.Table.Rows) != int(n) {
		t.Errorf("%d events, %d rows", n, len(all.Table.Rows))
	}
	if newest := s.Must(at + ".witness[limit=2]"); !cmp.Equal(listed(all, "number")[len(all.Table.Rows)-2:], listed(newest, "number")) {
		t.Errorf("%v", listed(newest, "number"))
	}
	if from := s.Must(at + ".witness[after=3][limit=1]"); !cmp.Equal([]any{uint64(4)}, listed(from, "number")) {
		t.Errorf("%v", listed(from, "number"))
	}

	people := s.Must(at + ".citizens.manifest")
	if len(people.Table.Rows) != 3 {
		t.Fatalf("%+v", people.Table)
	}
	name := listed(people, "citizen")[0].(string)
	one := at + ".citizens." + agentese.QuoteName(strings.ToUpper(name))
	v = s.Must(one + ".manifest")
	if !strings.HasPrefix(v.Title, name) || figure(v, "warmth") == nil || figure(v, "tokens") == nil {
		t.Errorf("%+v", v)
	}
	for _, who := range listed(s.Must(one+".witness"), "who") {
		if !strings.Contains(who.(string), name) {
			t.Errorf("%s was not there: %s", name, who)
		}
	}
	if _, err := s.Run(at + ".citizens.nobody.manifest"); kindOf(err) != agentese.KindNotFound {
		t.Errorf("%v", err)
	}

	// The pace holds, is taken back with what came before it, and ends.
	s.Must(at + ".refine[do=pace][seconds=3600][rollback=5s]")
	if v := s.Must(at + ".manifest"); figure(v, "pace") != 3600.0 {
		t.Errorf("%+v", v.Fields)
	}
	if v := s.Must(at + ".refine[do=pace][seconds=3600]"); v.Title != "Nothing to do" {
		t.Errorf("%+v", v)
	}
	s.Must(at + ".refine[do=stop]")
	if v := s.Must(at + ".manifest"); figure(v, "pace") != "when told" {
		t.Errorf("%+v", v.Fields)
	}
	for _, bad := range []string{"[do=pace]", "[do=step][seconds=3]", "[do=stop][steps=2]", "[do=step][steps=101]", "[do=pace][seconds=0]", "[do=step][rollback]"} {
		if _, err := s.Run(at + ".refine" + bad); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
	for _, none := range []string{"world.town.nowhere.manifest", `world.town."..".manifest`, "world.town.nowhere.refine[do=step]"} {
		if _, err := s.Run(none); kindOf(err) != agentese.KindNotFound {
			t.Errorf("%s: %v", none, err)
		}
	}
}

// A town is founded by an expression, as its customer's plan allows.
func TestFoundTown(t *testing.T) {
	s := newShop(t)
	s.customer("acme")
	for _, tt := range []struct{ clauses, says string }{
		{"[customer=acme]", "found a town of 3 citizens for acme, who has 0; it lives only when told"},
		{"[customer=acme][name=Spring Field][citizens=7][seconds=90]", `found the town "Spring Field" of 7 citizens for acme, who has 0; it lives by itself, a phase every 1m30s`},
		{"[customer=acme][seconds=90]", "billed to acme"},
		{"[customer=acme][model]", "A language model decides"},
	} {
		v := s.Must("world.town.refine" + tt.clauses + "[dry_run]")
		if said := v.Text + strings.Join(v.Notes, "\n"); !strings.Contains(said, tt.says) {
			t.Errorf("%s says %s", tt.clauses, said)
		}
	}
	for clauses, kind := range map[string]agentese.Kind{
		"":                            agentese.KindClause, // whose?
		"[customer=nobody]":           agentese.KindNotFound,
		"[customer=acme][citizens=5]": agentese.KindClause,
		"[customer=acme][seconds=0]":  agentese.KindClause,
		"[customer=acme][name=" + strings.Repeat("x", 81) + "]": agentese.KindClause,
	} {
		if _, err := s.Run("world.town.refine" + clauses); kindOf(err) != kind {
			t.Errorf("%s: %v", clauses, err)
		}
	}
	if v := s.Must("world.town.manifest"); len(v.Table.Rows) != 0 {
		t.Errorf("there is a town: %+v", v.Table)
	}
	s.Session.Observer = tree.Explorer
	if _, err := s.Run("world.town.refine[customer=acme]"); kindOf(err) != agentese.KindDenied {
		t.Errorf("an explorer: %v", err)
	}
	s.Session.Observer = tree.Developer
	v := s.Must("world.town.refine[do=create][customer=acme][name=Springfield]")
	if !v.Changed || figure(v, "customer") != "acme" || figure(v, "citizens") != 3 || figure(v, "pace") != "when told" || !strings.HasSuffix(v.Title, ": Springfield") {
		t.Errorf("%+v", v)
	}
	if v := s.Must("world.town.manifest"); !cmp.Equal([]any{"Springfield"}, listed(v, "name")) {
		t.Errorf("%+v", v.Table)
	}
	if v := s.Must("world.town.refine[customer=acme][name=Springfield][dry_run]"); !strings.Contains(strings.Join(v.Notes, " "), "a town of that name already") {
		t.Errorf("%+v", v)
	}
	// The plan has the last word.
	for range 10 {
		if _, err := s.Run("world.town.refine[customer=acme]"); err != nil {
			if !strings.Contains(err.Error()+errorWhy(err), "plan") {
				t.Errorf("%v", err)
			}
			return
		}
	}
	t.Error("the plan free lets acme have ten towns")
}
