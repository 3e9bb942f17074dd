package tree

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/kgents/kgents/agentese"
)

// What runs, and what it says.
func TestRun(t *testing.T) {
	tree, _ := small(t)
	for _, test := range []struct{ in, title, path string }{
		{"world.manifest", "world", "world.manifest"},
		{"World.TOWN.Springfield.Manifest", "world.town.Springfield", "World.TOWN.Springfield.Manifest"},
		{`world.town."a.b".citizens."\u001b x".manifest`, "a.b/\x1b x", `world.town."a.b".citizens."\u001b x".manifest`},
		{"world.town.citizens.manifest", "world.town.citizens", "world.town.citizens.manifest"}, // a town of that name
		{"world.define", "world: the world", "world.define"},
		{"world.town.springfield.define", "world.town.springfield: the town", "world.town.springfield.define"},
		{"concept.define >> concept.identity.manifest", "concept: the concept", "concept.define"},
		{"concept.identity.manifest >> world.manifest", "world", "world.manifest"},
		{"world.customers.manifest >> world.counter.manifest", "rows", "world.counter.manifest"},
	} {
		v, err := tree.Run(t.Context(), parse(t, test.in), admin())
		if err != nil {
			t.Errorf("%s: %v", test.in, err)
			continue
		}
		if v.Title != test.title || v.Path != test.path {
			t.Errorf("%s gave %q of %s, want %q of %s", test.in, v.Title, v.Path, test.title, test.path)
		}
	}
}

func TestAffordances(t *testing.T) {
	tree, _ := small(t)
	s := admin()
	s.Observer = Default
	v, err := tree.Run(t.Context(), parse(t, "world.plant.affordances"), s)
	if err != nil {
		t.Fatal(err)
	}
	want := [][]any{
		{"manifest", "does manifest", "default", true, "", ""},
		{"define", "what it is", "default", true, "", ""},
		{"affordances", "what can be done here, and by whom", "default", true, "", ""},
		{"refine", "does refine", "explorer", false, "replicas", "a table: it plans for its rows"},
	}
	if d := cmp.Diff(want, v.Table.Rows); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// Every refusal has its kind, and its place in what was written.
func TestRefusals(t *testing.T) {
	tree, _ := small(t)
	const word = "there are town, customers, counter, plant, broken, guarded, secret and args"
	for _, test := range []struct {
		in    string
		kind  agentese.Kind
		under string
		what  string
		why   string
	}{
		{"moon.manifest", agentese.KindNotFound, "moon", "there is no moon in the five contexts", "there are world, concept and void"},
		{"world.custos.manifest", agentese.KindNotFound, "custos", "there is no custos in world", word},
		{`world."a b".x.manifest`, agentese.KindNotFound, `"a b"`, `there is no "a b" in world`, word},
		{"world.town.springfield.mayor.manifest", agentese.KindNotFound, "mayor", "there is no mayor in world.town.springfield", "there are citizens"},
		{"world.plant.x.manifest", agentese.KindNotFound, "x", "there is no x in world.plant", "nothing is below it"},
		{`world."{town}".manifest`, agentese.KindNotFound, `"{town}"`, `there is no "{town}" in world`, word},
		{"world.town.sip", agentese.KindNotFound, "sip", "world.town.sip has no aspect", "a path ends with what is to be done"},
		{"world.plant.dance", agentese.KindNotFound, "dance", "world.plant has no aspect dance", "it has manifest, define, affordances and refine"},
		{"world.customers", agentese.KindNotFound, "customers", "world.customers has no aspect", "a path ends with what is to be done"},
		{"world.plant.manifest[colour=red]", agentese.KindClause, "[colour=red]", "world.plant.manifest knows no clause colour", "it knows where, sort, columns, first, law_check, minimal_output, entropy, span, phase"},
		{"world.plant.refine[law_check]", agentese.KindClause, "[law_check]", "world.plant.refine knows no clause law_check", "it knows replicas, dry_run, yes, rollback, minimal_output, entropy, span, phase"},
		{"void.entropy.sip[law_check]", agentese.KindClause, "[law_check]", "void.entropy.sip knows no clause law_check", "it knows where, sort, columns, first, minimal_output, entropy, span, phase"},
		{"world.manifest[first=2][FIRST=3]", agentese.KindClause, "[FIRST=3]", "the clause first is given twice", ""},
		{"world.customers.manifest[first=0]", agentese.KindClause, "0]", "[first=0]: use 1 to 10000", "only so many rows"},
		{"world.customers.manifest[first]", agentese.KindClause, "]", "[first]: this is no number", "only so many rows"},
		{"world.args.lens", agentese.KindClause, "before ", "the clause by is missing", "what by"},
		{"world.args.lens[first=1]@span=x", agentese.KindClause, "before [first=1]@span=x", "the clause by is missing", "what by"},
		{"world.manifest[first=1]", agentese.KindClause, "[first=1]", "[first=1]: it needs a table, and this gives none", ""},
		{"world.customers.manifest[sort=age]", agentese.KindClause, "[sort=age]", `[sort=age]: there is no column "age"`, "there are name, plan, used, since, idle and paid"},
		{"world.customers.manifest[where=free]", agentese.KindClause, "[where=free]", "[where=free]: this is no condition", "it is a column, one of = != ~ > < >= <=, and a value"},
		{"world.manifest[entropy=0]", agentese.KindClause, "0]", "[entropy=0]: use more than 0, and at most 0.01", always[1].Line},
		{"world.manifest[entropy=NaN]", agentese.KindClause, "NaN]", "[entropy=NaN]: use more than 0, and at most 0.01", always[1].Line},
		{"world.manifest[entropy=0.05]", agentese.KindClause, "0.05]", "[entropy=0.05]: one step may use at most 0.01 of the session's 0.10", always[1].Line},
		{"world.manifest[entropy=0.10]", agentese.KindClause, "0.10]", "[entropy=0.10]: one step may use at most 0.01 of the session's 0.10", always[1].Line},
		{"world.manifest[entropy=0.11]", agentese.KindClause, "0.11]", "[entropy=0.11]: use more than 0, and at most 0.01", always[1].Line},
		{"world.plant.refine[rollback=2h]", agentese.KindClause, "2h]", "[rollback=2h]: use true, false or a time up to 1h", ofChange[2].Line},
		{"world.plant.refine[rollback=soon]", agentese.KindClause, "soon]", "[rollback=soon]: use true, false or a time up to 1h", ofChange[2].Line},
		{"world.manifest@colour=red", agentese.KindAnnotation, "@colour=red", "there is no annotation @colour", "they are span, phase and note"},
		{"world.manifest@span=a@Span=b", agentese.KindAnnotation, "@Span=b", "the annotation @span is given twice", ""},
		{"world.manifest@span", agentese.KindAnnotation, "@span", "the annotation @span has no value", "it is written @span=…"},
		{"world.customers.manifest >> world.manifest", agentese.KindSyntax, "world.manifest", "world.manifest takes nothing, and something is piped into it", "what the step before gives would be lost"},
		{"concept.identity.manifest >> world.manifest >> world.plant.manifest", agentese.KindSyntax, "world.plant.manifest", "world.plant.manifest takes nothing, and something is piped into it", "what the step before gives would be lost"},
		{"world.broken.manifest", agentese.KindFailed, "world.broken.manifest", "world.broken can't be looked at", "it is broken"},
		{"world.manifest >> concept.identity.manifest >> world.counter.manifest >> world.broken.lens", agentese.KindSyntax, "world.broken.lens", "world.broken.lens takes nothing, and something is piped into it", "what the step before gives would be lost"},
		{"concept.identity.manifest >> world.broken.lens[phase=x]", agentese.KindAway, "world.broken.lens", "it is away", ""},
	} {
		_, err := tree.Run(t.Context(), parse(t, test.in), admin())
		if err == nil {
			t.Errorf("%s runs", test.in)
			continue
		}
		e := language(t, err)
		got := []string{string(e.Kind), under(test.in, e), e.What, e.Why}
		if d := cmp.Diff([]string{string(test.kind), test.under, test.what, test.why}, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", test.in, d)
		}
		for _, try := range e.Try { // what is offered as an expression is one
			if x, err := agentese.Parse(try); err == nil {
				if _, _, err := tree.Resolve(x.Steps[0], admin()); err != nil && test.in != "world.town.sip" {
					t.Errorf("%s: %s is offered: %v", test.in, try, err)
				}
			}
		}
	}
}

// Who may do what, in one table: each aspect and each observer.
func TestObservers(t *testing.T) {
	tree, _ := small(t)
	want := map[agentese.Aspect]Observer{
		agentese.Manifest: Default, agentese.Witness: Default, agentese.Lens: Default, agentese.Define: Default,
		agentese.Affordances: Default, agentese.Tithe: Default, agentese.Sip: Explorer, agentese.Refine: Explorer,
	}
	check := func(path string, a agentese.Aspect, least Observer) {
		for _, o := range Observers() {
			s := admin()
			s.Observer = o
			_, err := tree.Run(t.Context(), agentese.Expression{Steps: []agentese.Step{agentese.NewStep(a, strings.Split(path, ".")...)}}, s)
			if o >= least {
				if err != nil {
					t.Errorf("%s may not %s %s: %v", o, a, path, err)
				}
				continue
			}
			if err == nil {
				t.Errorf("%s may %s %s", o, a, path)
				continue
			}
			kind := agentese.KindDenied
			if o == Default {
				kind = agentese.KindObserver
			}
			e := language(t, err)
			if e.Kind != kind || !strings.Contains(e.Why, least.String()) || !slices.Equal(e.Try, []string{"/observer " + least.String()}) {
				t.Errorf("%s to %s %s: %+v", o, a, path, e)
			}
		}
	}
	for _, a := range agentese.Aspects() {
		least, ok := want[a]
		if !ok {
			t.Errorf("nobody has said who may %s", a)
		}
		check("world.guarded", a, least)
	}
	check("world.secret", agentese.Manifest, Developer)
	if got := (Affordance{Aspect: agentese.Refine, Needs: Default}).Least(); got != Explorer {
		t.Errorf("a node opens refine to %s", got)
	}
	for _, o := range Observers() {
		if got, err := ParseObserver(o.String()); got != o || err != nil {
			t.Errorf("%s is read as %s: %v", o, got, err)
		}
	}
	if _, err := ParseObserver("root"); err == nil {
		t.Error("root is an observer")
	}
	if got := Observer(9).String(); got != "observer(9)" {
		t.Errorf("the ninth is %s", got)
	}
}

// A refused step keeps the whole of a pipeline from being run.
func TestNothingRunsIfAStepIsRefused(t *testing.T) {
	for _, last := range []string{"world.moon.manifest", "world.counter.manifest[x=y]", "world.plant.manifest", "world.counter.dance", "world.counter.manifest@x=y"} {
		tree, p := small(t)
		s := admin()
		s.Yes = true
		if _, err := tree.Run(t.Context(), parse(t, "world.customers.manifest >> world.plant.refine >> "+last), s); err == nil {
			t.Errorf("%s runs", last)
		}
		if p.replicas != 1 || len(p.asked) != 0 {
			t.Errorf("with %s behind it, something has run: %v, %d replicas", last, p.asked, p.replicas)
		}
	}
}

func TestInterrupted(t *testing.T) {
	tree, p := small(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, text := range []string{"world.customers.manifest", "world.broken.witness", "world.plant.refine[yes]"} {
		if _, err := tree.Run(ctx, parse(t, text), admin()); err != context.Canceled {
			t.Errorf("%s: %v", text, err)
		}
	}
	if len(p.asked) != 0 {
		t.Errorf("%v were asked", p.asked)
	}
	// An interruption is told as one, whatever a source makes of it.
	ctx, cancel = context.WithCancel(t.Context())
	go cancel()
	if _, err := tree.Run(ctx, parse(t, "world.broken.witness"), admin()); err != context.Canceled {
		t.Errorf("interrupted: %v", err)
	}
}

// A node's own error is not written to.
func TestErrorsAreNotShared(t *testing.T) {
	own := &agentese.Error{Kind: agentese.KindAway, What: "away"}
	n := place("world", Affordance{Aspect: agentese.Manifest, See: func(context.Context, *Call) (Value, error) { return Value{}, own }})
	tree, err := New(n)
	if err != nil {
		t.Fatal(err)
	}
	_, err = tree.Run(t.Context(), parse(t, "world.manifest"), admin())
	if e := language(t, err); e.End != 14 || own.End != 0 {
		t.Errorf("the places are %d and %d", e.End, own.End)
	}
}

func TestTooManyRows(t *testing.T) {
	n := place("world", Affordance{Aspect: agentese.Manifest, See: see(Value{Table: &Table{Columns: []Column{{Name: "n"}}, Rows: make([][]any, MaxRows+5)}})})
	tree, err := New(n)
	if err != nil {
		t.Fatal(err)
	}
	v, err := tree.Run(t.Context(), parse(t, "world.manifest"), admin())
	if err != nil || len(v.Table.Rows) != MaxRows || v.Table.Total != MaxRows+5 {
		t.Errorf("%d rows of %d: %v", len(v.Table.Rows), v.Table.Total, err)
	}
}

// identity >> f = f = f >> identity, and (a >> b) >> c = a >> (b >> c): generated
// pipelines give the same however they are split.
func TestLaws(t *testing.T) {
	tree, _ := small(t)
	first := []string{"world.manifest", "world.customers.manifest", "world.customers.manifest[where=plan=free][sort=-used]", "world.town.springfield.manifest", "world.define", "world.affordances[columns=aspect]", "concept.identity.manifest", "world.args.manifest[word=x]"}
	later := []string{"world.counter.manifest", "world.counter.lens", "world.counter.lens[minimal_output]", "concept.identity.manifest"}
	id := parse(t, "concept.identity.manifest")
	run := func(e agentese.Expression, input *Value) Value {
		t.Helper()
		v, err := tree.RunWith(t.Context(), e, admin(), input)
		if err != nil {
			t.Fatalf("%s: %v", e, err)
		}
		return v
	}
	var split func(e agentese.Expression, input *Value, r *rand.Rand) Value
	split = func(e agentese.Expression, input *Value, r *rand.Rand) Value {
		if len(e.Steps) < 2 {
			return run(e, input)
		}
		at := r.IntN(len(e.Steps) + 1)
		if at == 0 || at == len(e.Steps) { // the empty expression is a unit, too
			v := run(agentese.Expression{Steps: e.Steps[:at]}, input)
			return run(agentese.Expression{Steps: e.Steps[at:]}, &v)
		}
		v := split(agentese.Expression{Steps: e.Steps[:at]}, input, r)
		return split(agentese.Expression{Steps: e.Steps[at:]}, &v, r)
	}
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 1))
		e := parse(t, first[r.IntN(len(first))])
		for range r.IntN(5) {
			e = e.Then(parse(t, later[r.IntN(len(later))]))
		}
		want := run(e, nil)
		for what, same := range map[string]Value{
			"identity >> f":       run(id.Then(e), nil),
			"f >> identity":       run(e.Then(id), nil),
			"identity before all": run(e, &Value{}),
			"split":               split(e, nil, r),
			"split once more":     split(id.Then(e).Then(id), nil, r),
		} {
			if d := cmp.Diff(want, same); d != "" {
				t.Fatalf("seed %d, %s: %s is another (-want +got):\n%s", seed, what, e, d)
			}
		}
	}
	if v := run(id, nil); !v.Empty() {
		t.Errorf("the identity of nothing is %+v", v)
	}
}

// [law_check] really looks again, and says what came of it.
func TestLawCheck(t *testing.T) {
	verdicts := func(text string) string {
		t.Helper()
		tree, _ := small(t)
		v, err := tree.Run(t.Context(), parse(t, text), admin())
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		var out []string
		for _, l := range v.Laws {
			out = append(out, string(l.Verdict))
		}
		return strings.Join(out, ", ")
	}
	for _, test := range []struct{ in, want string }{
		{"world.manifest", ""},
		{"world.manifest[law_check=false]", ""},
		{"world.manifest[law_check]", "held, held, held"},
		{"world.customers.manifest[LAW_CHECK][first=2][minimal_output]", "held, held, held"},
		{"world.customers.manifest >> world.counter.manifest[law_check]", "held, held, held"},
		{"concept.identity.manifest[law_check]", "held, held, held"},
		{"world.counter.witness[law_check]", "moved, moved, moved"},
		{"world.counter.define[law_check]", "broken, broken, broken"},
		{"world.customers.manifest[law_check] >> concept.identity.manifest", "held, held, held"},
	} {
		if got := verdicts(test.in); got != test.want {
			t.Errorf("%s: %s, want %s", test.in, got, test.want)
		}
	}
	tree, p := small(t)
	if _, err := tree.Run(t.Context(), parse(t, "world.customers.manifest[law_check]"), admin()); err != nil {
		t.Fatal(err)
	}
	if got := p.asked["customers"]; got != 4 {
		t.Errorf("looked %d times, want 4: as written, on each side of the identity, and in the other split", got)
	}
	// Without the identity, and when it can't be looked at again, nothing is claimed.
	looks := 0
	alone, err := New(place("world", Affordance{Aspect: agentese.Manifest, See: see(Value{Title: "w"})}))
	if err != nil {
		t.Fatal(err)
	}
	v, err := alone.Run(t.Context(), parse(t, "world.manifest[law_check]"), admin())
	if err != nil || len(v.Laws) != 3 || v.Laws[0].Verdict != Unchecked || v.Laws[0].Why != "there is no concept.identity" {
		t.Errorf("%+v, %v", v.Laws, err)
	}
	once := place("once", Affordance{Aspect: agentese.Manifest, See: func(context.Context, *Call) (Value, error) {
		if looks++; looks > 1 {
			return Value{}, errors.New("gone")
		}
		return Value{Title: "here"}, nil
	}})
	world := place("world")
	world.Children = []*Node{once}
	concept := place("concept")
	concept.Children = []*Node{place("identity", Affordance{Aspect: agentese.Manifest, Takes: "anything", See: see(Value{})})}
	tree, err = New(world, concept)
	if err != nil {
		t.Fatal(err)
	}
	v, err = tree.Run(t.Context(), parse(t, "world.once.manifest[law_check]"), admin())
	if err != nil || v.Title != "here" || len(v.Laws) != 3 || v.Laws[2].Verdict != Unchecked || !strings.Contains(v.Laws[2].Why, "gone") {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestMinimalOutput(t *testing.T) {
	tree, _ := small(t)
	v, err := tree.Run(t.Context(), parse(t, "world.customers.manifest[minimal_output]"), admin())
	if err != nil || v.Notes != nil || v.Next != nil || v.Table == nil {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestSpan(t *testing.T) {
	tree, _ := small(t)
	for text, want := range map[string]string{"world.manifest": "", "world.manifest[span=a]": "a", "world.manifest@span=b": "b", "world.manifest[span=a]@SPAN=b": "b"} {
		c, _, err := tree.Resolve(parse(t, text).Steps[0], admin())
		if err != nil || c.Span != want {
			t.Errorf("%s has the span %q, want %q: %v", text, c.Span, want, err)
		}
	}
}

// A step draws what it may, and all of them what the session may.
func TestEntropy(t *testing.T) {
	tree, _ := small(t)
	drawn := func(text string, s *Session) string {
		t.Helper()
		v, err := tree.Run(t.Context(), parse(t, text), s)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, f := range v.Fields {
			out = append(out, fmt.Sprint(f.Value))
		}
		return strings.Join(out, " ")
	}
	s := admin()
	for _, test := range []struct{ in, want string }{
		{"void.entropy.sip", "true true false"}, // 0.008 of 0.01
		{"void.entropy.sip[entropy=0.004]", "true false false"},
		{"void.entropy.sip[entropy=0.001]", "false false false"},
	} {
		if got := drawn(test.in, s); got != test.want {
			t.Errorf("%s: %s, want %s", test.in, got, test.want)
		}
	}
	if spent, left, _ := s.Budget.State(); fmt.Sprintf("%.3f %.3f", spent, left) != "0.012 0.088" {
		t.Errorf("spent %v, left %v", spent, left)
	}
	if got := drawn("void.entropy.tithe", s); got[:5] != "0.088" {
		t.Errorf("given back: %s", got)
	}
	if got := drawn("void.entropy.sip", s); got != "false false false" {
		t.Errorf("drawn from what was given back: %s", got)
	}
	s.Budget = nil
	c, _, err := tree.Resolve(parse(t, "void.entropy.sip").Steps[0], s)
	if err != nil || c.Draw(0.001) {
		t.Errorf("drawn without a budget: %v", err)
	}
}

func TestBudget(t *testing.T) {
	b := NewBudget()
	for _, amount := range []float64{0, -1, CallEntropy * 1.01, SessionEntropy, nan} {
		if b.Draw(amount) {
			t.Errorf("%v is drawn", amount)
		}
	}
	for i := range 10 {
		if !b.Draw(CallEntropy) {
			t.Errorf("the %dth hundredth is refused", i+1)
		}
	}
	if b.Draw(0.0001) {
		t.Error("more than the budget is drawn")
	}
	if spent, left, given := b.State(); fmt.Sprintf("%.2f %.2f %.2f", spent, left, given) != "0.10 0.00 0.00" {
		t.Errorf("%v %v %v", spent, left, given)
	}
}
