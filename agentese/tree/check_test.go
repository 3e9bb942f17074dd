package tree

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/kgents/kgents/agentese"
)

// What is not documented, or contradicts itself, is no tree; each mistake is told.
func TestNew(t *testing.T) {
	afford := func(change func(a *Affordance)) *Node {
		n := place("world", Affordance{Aspect: agentese.Manifest, See: see(Value{})})
		change(&n.Affords[0])
		return n
	}
	param := func(p Param) *Node { return afford(func(a *Affordance) { a.Params = []Param{p} }) }
	node := func(change func(n *Node)) *Node {
		n := place("world")
		change(n)
		return n
	}
	for _, test := range []struct {
		what string
		node *Node
		want string // empty: it is taken
	}{
		{"all well", afford(func(*Affordance) {}), ""},
		{"a phase of its own", param(Param{Key: "phase", Line: "x"}), ""},
		{"no line", node(func(n *Node) { n.Line = "" }), "world has no line, or one that ends with a full stop"},
		{"a full stop", node(func(n *Node) { n.Line = "The world." }), "world has no line, or one that ends with a full stop"},
		{"no paragraph", node(func(n *Node) { n.Doc = "The world." }), "world has no paragraph"},
		{"no synonyms", node(func(n *Node) { n.Synonyms = nil }), "world has no synonyms"},
		{"an aspect as a child", node(func(n *Node) { n.Children = []*Node{place("define")} }), "world has a child with the name of an aspect that it has: define"},
		{"twice", node(func(n *Node) { n.Children = []*Node{place("a"), place("a")} }), "world.a is there twice; world has two children a"},
		{"upper case", node(func(n *Node) { n.Children = []*Node{place("NATS")} }), `world has a child "NATS", which is not lower case or needs quotes`},
		{"quotes", node(func(n *Node) { n.Children = []*Node{place("a b")} }), `world has a child "a b", which is not lower case or needs quotes`},
		{"below a live name, too", node(func(n *Node) { n.Live = &Live{Node: &Node{Name: "x"}} }), "world.{x} has no line, or one that ends with a full stop; world.{x} has no paragraph; world.{x} has no synonyms"},
		{"an aspect that is none", afford(func(a *Affordance) { a.Aspect = "dance" }), "world has an unknown or repeated aspect dance"},
		{"neither sees nor changes", afford(func(a *Affordance) { a.See = nil }), "world manifest must either see or change, or say by its clauses which"},
		{"sees and changes", afford(func(a *Affordance) {
			a.Change = func(context.Context, *Call) (*Change, error) { return nil, nil }
		}), "world manifest must either see or change, or say by its clauses which"},
		{"says which, and has only one", afford(func(a *Affordance) { a.Changes = func(Args) bool { return true } }), "world manifest must either see or change, or say by its clauses which"},
		{"an aspect without a line", afford(func(a *Affordance) { a.Line = "" }), "world manifest has no line"},
		{"no example", afford(func(a *Affordance) { a.Examples = nil }), "world manifest has no example"},
		{"an example that doesn't parse", afford(func(a *Affordance) { a.Examples = []Example{{Expr: "world"}} }), "world manifest has an example that does not parse: syntax: the path has no aspect: a path ends with what is to be done, as in world.manifest; try world.manifest"},
		{"an example that is written otherwise", afford(func(a *Affordance) { a.Examples = []Example{{Expr: `world."a".manifest`}} }), "world manifest has an example that is not in its canonical form, which is world.a.manifest"},
		{"a common parameter", param(Param{Key: "first", Line: "x"}), "world.manifest has a parameter first twice, or it is one that all have"},
		{"a parameter twice", afford(func(a *Affordance) { a.Params = []Param{{Key: "a", Line: "x"}, {Key: "a", Line: "x"}} }), "world.manifest has a parameter a twice, or it is one that all have"},
		{"a parameter without a line", param(Param{Key: "a"}), "world.manifest has a parameter a without a line"},
		{"a parameter of upper case", param(Param{Key: "A", Line: "x"}), `world.manifest has a parameter "A", which is not lower case or needs quotes`},
		{"a wrong default", param(Param{Key: "a", Line: "x", Kind: Number, Default: "many"}), "world.manifest has a parameter a whose default is wrong: this is no number"},
	} {
		tree, err := New(test.node)
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%s: %v", test.what, err)
		case test.want != "" && (err == nil || strings.TrimPrefix(err.Error(), "tree: ") != test.want):
			t.Errorf("%s: %v, want %s", test.what, err, test.want)
		case err != nil && tree != nil:
			t.Errorf("%s: a tree all the same", test.what)
		}
	}
	// Clauses of a change are taken for who changes something only.
	a := Affordance{Aspect: agentese.Refine, Params: []Param{{Key: "yes", Line: "x"}}, Change: (&plant{}).nothing}
	if _, err := New(place("world", a)); err == nil {
		t.Error("a change has a yes of its own")
	}
	if _, err := New(place("world", Affordance{Aspect: agentese.Manifest, Params: []Param{{Key: "yes", Line: "x"}}, See: see(Value{})})); err != nil {
		t.Error(err)
	}
}

func TestFind(t *testing.T) {
	tree, _ := small(t)
	for _, test := range []struct {
		path, pattern, canonical string
		live                     map[string]string
	}{
		{"", "", "", nil},
		{"moon", "", "", nil},
		{"WORLD", "world", "world", nil},
		{"world.Town.X", "world.town.{town}", "world.town.X", map[string]string{"town": "X"}},
		{"world.town.X.CITIZENS.Y", "world.town.{town}.citizens.{citizen}", "world.town.X.citizens.Y", map[string]string{"town": "X", "citizen": "Y"}},
		{"world.town.X.citizens.Y.z", "world.town.{town}.citizens.{citizen}", "world.town.X.citizens.Y", map[string]string{"town": "X", "citizen": "Y"}},
		{"world.plant.x", "world.plant", "world.plant", nil},
		{"world.{town}", "world", "world", nil},
		{"world.town.{town}", "world.town.{town}", "world.town.{town}", map[string]string{"town": "{town}"}},
	} {
		var names []string
		if test.path != "" {
			names = strings.Split(test.path, ".")
		}
		p, live, canonical, depth := tree.Find(names)
		if test.live == nil {
			test.live = map[string]string{}
		}
		if p.Pattern != test.pattern || strings.Join(canonical, ".") != test.canonical || depth != len(canonical) {
			t.Errorf("%s is %s, %s, %d deep", test.path, p.Pattern, canonical, depth)
		}
		if d := cmp.Diff(test.live, live); d != "" {
			t.Errorf("%s (-want +got):\n%s", test.path, d)
		}
	}
	// A pattern leads to its node, everything is once in the list, what is above first.
	seen := map[string]bool{}
	for _, p := range tree.Places() {
		found, ok := tree.At(p.Pattern)
		if !ok || found.Node != p.Node || seen[p.Pattern] {
			t.Errorf("%s is not found, or twice", p.Pattern)
		}
		seen[p.Pattern] = true
		if i := strings.LastIndex(p.Pattern, "."); i > 0 && !seen[p.Pattern[:i]] {
			t.Errorf("%s comes before what is above it", p.Pattern)
		}
		if got := strings.Count(p.Pattern, "."); got != len(p.Above) {
			t.Errorf("%s has %d above", p.Pattern, len(p.Above))
		}
	}
	if _, ok := tree.At("world.town.springfield"); ok {
		t.Error("a live name is a pattern")
	}
	if d := cmp.Diff([]string{"citizens"}, tree.ChildNames([]string{"world", "town", "x"})); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if d := cmp.Diff([]string{"{town}"}, tree.ChildNames([]string{"world", "town"})); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if got := tree.ChildNames([]string{"world", "moon"}); got != nil {
		t.Errorf("below what is not there is %v", got)
	}
}
