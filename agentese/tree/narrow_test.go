package tree

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Which rows are left, in which order, by the first column.
func TestNarrow(t *testing.T) {
	tree, _ := small(t)
	for _, test := range []struct{ clauses, want string }{
		{"", "acme Globex initech umbrella"},
		{"[where=plan=free]", "acme initech"},
		{"[where=plan = FREE]", "acme initech"},
		{"[where=PLAN!=free]", "Globex umbrella"},
		{"[where=name~GLO]", "Globex"},
		{"[where=name~]", "acme Globex initech umbrella"},
		{"[where=name=nobody]", ""},
		{"[where=used>80]", "acme"},
		{"[where=used>=80]", "acme umbrella"},
		{"[where=used<80%]", "Globex"},
		{"[where=used<=80]", "Globex umbrella"},
		{"[where=used=7.5]", "Globex"},
		{"[where=used!=7.5]", "acme initech umbrella"},
		{"[where=used=]", "initech"}, // unknown
		{"[where=used!=]", "acme Globex umbrella"},
		{"[where=used~2]", "acme"},
		{"[where=used>many]", ""},
		{"[where=used<many]", ""},
		{"[where=name>g]", "Globex initech umbrella"},
		{"[where=idle>1m]", "acme Globex"},
		{"[where=idle=60s]", "umbrella"},
		{"[where=since>2h]", "acme"},
		{"[where=since>=yesterday]", "acme umbrella"},
		{"[where=since<2026-03-03]", "Globex initech"},
		{"[where=paid=yes]", "acme umbrella"},
		{"[where=paid=false]", "Globex"},
		{"[where=paid=maybe]", ""},
		{"[sort=name]", "acme Globex initech umbrella"},
		{"[sort=-name]", "umbrella initech Globex acme"},
		{"[sort=used]", "Globex umbrella acme initech"},
		{"[sort=-used]", "acme umbrella Globex initech"}, // unknown stays last
		{"[sort=idle]", "umbrella acme Globex initech"},
		{"[sort=plan]", "acme initech Globex umbrella"}, // stable
		{"[sort=-used][first=2]", "acme umbrella"},
		{"[first=2][sort=-used]", "acme umbrella"}, // not by how it is written
		{"[first=100]", "acme Globex initech umbrella"},
		{"[where=plan=free][columns=name,used]", "acme initech"},
	} {
		v, err := tree.Run(t.Context(), parse(t, "world.customers.manifest"+test.clauses), admin())
		if err != nil {
			t.Errorf("%s: %v", test.clauses, err)
			continue
		}
		var names []string
		for _, r := range v.Table.Rows {
			names = append(names, r[0].(string))
		}
		if got := strings.Join(names, " "); got != test.want {
			t.Errorf("%s: %s, want %s", test.clauses, got, test.want)
		}
	}
}

func TestColumns(t *testing.T) {
	tree, _ := small(t)
	v, err := tree.Run(t.Context(), parse(t, "world.customers.manifest[columns=USED, name][first=1]"), admin())
	want := &Table{Columns: []Column{{Name: "used", Unit: "percent"}, {Name: "name"}}, Rows: [][]any{{int64(120), "acme"}}, Total: 4}
	if d := cmp.Diff(want, v.Table); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
	for _, clause := range []string{"[columns=name,age]", "[columns=name,,used]", "[sort=-]", "[where==x]", "[where=name!x]", "[where=age=1]"} {
		if _, err := tree.Run(t.Context(), parse(t, "world.customers.manifest"+clause), admin()); err == nil {
			t.Errorf("%s is taken", clause)
		}
	}
}

// Whoever gave a table may keep it; what was cut before is told; a short row is unknown.
func TestNarrowLeavesTheRestAlone(t *testing.T) {
	given := &Table{Columns: []Column{{Name: "a"}, {Name: "b"}}, Rows: [][]any{{"z", int64(1)}, {"y"}, {}}, Total: 50}
	keep := &Table{Columns: []Column{{Name: "a"}, {Name: "b"}}, Rows: [][]any{{"z", int64(1)}, {"y"}, {}}, Total: 50}
	n := place("world", Affordance{Aspect: "manifest", See: see(Value{Table: given})})
	tree, err := New(n)
	if err != nil {
		t.Fatal(err)
	}
	v, err := tree.Run(t.Context(), parse(t, "world.manifest[sort=a][where=b!=2][columns=b][first=2]"), admin())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(keep, given); d != "" {
		t.Errorf("what was given has changed (-want +got):\n%s", d)
	}
	want := Value{
		Path:  "world.manifest[sort=a][where=b!=2][columns=b][first=2]",
		Table: &Table{Columns: []Column{{Name: "b"}}, Rows: [][]any{{nil}, {int64(1)}}, Total: 3},
		Notes: []string{"where looked at the 3 rows that are here, of 50"},
	}
	if d := cmp.Diff(want, v); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// The order is one, whatever is mixed: sorting can't be led astray.
func TestOrder(t *testing.T) {
	values := []any{int64(-3), 2.5, int64(10), time.Second, noon, true, "", "a", "B", "10", nil}
	for _, down := range []bool{false, true} {
		for _, a := range values {
			for _, b := range values {
				if order(a, b, down) != -order(b, a, down) {
					t.Errorf("%v and %v, down %t: %d and %d", a, b, down, order(a, b, down), order(b, a, down))
				}
				for _, c := range values {
					if order(a, b, down) <= 0 && order(b, c, down) <= 0 && order(a, c, down) > 0 {
						t.Errorf("%v ≤ %v ≤ %v, but not the first and the last, down %t", a, b, c, down)
					}
				}
			}
		}
	}
}
