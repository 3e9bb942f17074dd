package agentese

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// seed are the expressions of the document that the project was created from.
var seed = []string{
	"concept.forest.manifest[phase=PLAN][sprint=saas_phase5_operate]@span=saas_operate",
	"concept.forest.manifest[phase=PLAN][sprint=agent_town_saas]@span=agent_town_monetization",
	"concept.forest.manifest[phase=IMPLEMENT][sprint=agentese_repl_wave3]@span=repl_wave3",
	"void.gratitude.tithe",
}

func TestSeed(t *testing.T) {
	for _, text := range seed {
		e, err := Parse(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if got := e.String(); got != text {
			t.Errorf("printed %s, want %s", got, text)
		}
	}
}

// Everything has its position, quotes and brackets included.
func TestPositions(t *testing.T) {
	got, err := Parse(` world."é x".lens[ by = "a]b" ][flag]@span=s1@x >> a.b`)
	if err != nil {
		t.Fatal(err)
	}
	want := Expression{Steps: []Step{
		{
			Names:  []Name{{"world", 1, 6}, {"é x", 7, 13}},
			Aspect: Name{"lens", 14, 18},
			Clauses: []Clause{
				{Key: "by", Value: "a]b", Pos: 18, End: 32, ValuePos: 25},
				{Key: "flag", Bare: true, Pos: 32, End: 38, ValuePos: 37},
			},
			Annotations: []Annotation{
				{Key: "span", Value: "s1", Pos: 38, End: 46},
				{Key: "x", Bare: true, Pos: 46, End: 48},
			},
		},
		{Names: []Name{{"a", 52, 53}}, Aspect: Name{"b", 54, 55}},
	}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// What is taken, and how it is written: no blanks but around >>, quotes only where
// they are needed.
func TestCanonicalForm(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"world.manifest", "world.manifest"},
		{"\t world.manifest \n", "world.manifest"},
		{"WORLD.Manifest", "WORLD.Manifest"}, // case is the tree's
		{`"world"."nats"."manifest"`, "world.nats.manifest"},
		{`world.customers."acme inc.".manifest`, `world.customers."acme inc.".manifest`},
		{`world.deadletter.42.manifest`, `world.deadletter.42.manifest`},
		{"world.evt_1-a:b.manifest", "world.evt_1-a:b.manifest"},
		{"world.東京.नमस्ते.cafe\u0301.manifest", "world.東京.नमस्ते.cafe\u0301.manifest"},
		{`world."é".manifest`, "world.é.manifest"},
		{"a.b>>c.d", "a.b >> c.d"},
		{"a.b\n>>\n c.d", "a.b >> c.d"},
		{"a.b[c]", "a.b[c]"},
		{"a.b[ c ]", "a.b[c]"},
		{`a.b["c"]`, "a.b[c]"},
		{`a.b["c d"=e]`, `a.b["c d"=e]`},
		{"a.b[ c = d e ]", "a.b[c=d e]"},
		{`a.b[c="d e"]`, "a.b[c=d e]"},
		{`a.b[c=""]`, `a.b[c=""]`},
		{`a.b[c=" d"]`, `a.b[c=" d"]`},
		{"a.b[where=used>=100]", "a.b[where=used>=100]"},
		{"a.b[c=d=e@f.g>>h(i)|j#k]", "a.b[c=d=e@f.g>>h(i)|j#k]"},
		{`a.b[c="]"]`, `a.b[c="]"]`},
		{`a.b[c="\"\\\n\t\u00e9\U0001f680"]`, `a.b[c="\"\\\n\té🚀"]`},
		{`a.b[c="\u0000\u001b\u202e\U000e0001"]`, `a.b[c="\u0000\u001b\u202e\U000e0001"]`},
		{"a.b[c=\u00a0d]", "a.b[c=d]"},
		{"a.b@c", "a.b@c"},
		{`a.b@c=""`, `a.b@c=""`},
		{`a.b@"c"="d"`, "a.b@c=d"},
		{`a.b@c="d e"@f=g`, `a.b@c="d e"@f=g`},
		{"a.b@c=d.e=f,g>>h.i", "a.b@c=d.e=f,g >> h.i"},
	} {
		e, err := Parse(test.in)
		if err != nil {
			t.Errorf("%q: %v", test.in, err)
			continue
		}
		if got := e.String(); got != test.want {
			t.Errorf("%q is written %q, want %q", test.in, got, test.want)
		}
	}
}

// What programs make is written so that it can be read, whatever is in it.
func TestWrittenByPrograms(t *testing.T) {
	for _, test := range []struct {
		step Step
		want string
	}{
		{NewStep(Manifest, "world"), "world.manifest"},
		{NewStep(Manifest, "world", "customers", "a.b", "\x1b[2J"), `world.customers."a.b"."\u001b[2J".manifest`},
		{NewStep(Refine, "self", "memory").With("note", "a ] b").With("yes", "true"), `self.memory.refine[note="a ] b"][yes=true]`},
		{NewStep(Manifest, "a", "b\xffc"), `a."b�c".manifest`}, // what is no text can't be written
		{Step{Names: []Name{{Text: "world"}}}, "world"},
		{NewStep(Manifest), "manifest"},
	} {
		if got := test.step.String(); got != test.want {
			t.Errorf("written %s, want %s", got, test.want)
		}
	}
	// With leaves the step that it is asked of as it is.
	s := NewStep(Lens, "a").With("x", "1")
	s.With("y", "2")
	if got := s.With("z", "3").String(); got != "a.lens[x=1][z=3]" {
		t.Errorf("got %s", got)
	}
}

func TestLookUps(t *testing.T) {
	e, err := Parse("a.b[c=1][c=2][d]@e=3@e=4 >> f.g")
	if err != nil {
		t.Fatal(err)
	}
	s := e.Steps[0]
	if c, ok := s.Clause("c"); !ok || c.Value != "1" {
		t.Errorf("clause c is %v", c)
	}
	if a, ok := s.Annotation("e"); !ok || a.Value != "3" {
		t.Errorf("annotation e is %v", a)
	}
	if _, ok := s.Clause("e"); ok {
		t.Error("an annotation is a clause")
	}
	if _, ok := s.Annotation("c"); ok {
		t.Error("a clause is an annotation")
	}
	if got := e.Then(e).String(); got != e.String()+" >> "+e.String() {
		t.Errorf("then is %s", got)
	}
	for _, a := range Aspects() {
		if !a.Known() {
			t.Errorf("%s is not known", a)
		}
	}
	if Aspect("manifes").Known() || Aspect("").Known() {
		t.Error("what is no aspect is known")
	}
	Contexts()[0] = "mine"
	if got := Contexts()[0]; got != "world" {
		t.Errorf("the first context is %s", got)
	}
}

// anywhere is the expression without its positions.
func anywhere(e Expression) Expression {
	out := Expression{Steps: make([]Step, len(e.Steps))}
	for i, s := range e.Steps {
		t := Step{Aspect: Name{Text: s.Aspect.Text}}
		for _, n := range s.Names {
			t.Names = append(t.Names, Name{Text: n.Text})
		}
		for _, c := range s.Clauses {
			t.Clauses = append(t.Clauses, Clause{Key: c.Key, Value: c.Value, Bare: c.Bare})
		}
		for _, a := range s.Annotations {
			t.Annotations = append(t.Annotations, Annotation{Key: a.Key, Value: a.Value, Bare: a.Bare})
		}
		out.Steps[i] = t
	}
	return out
}

// generate makes an expression of whatever may stand in one.
func generate(r *rand.Rand) Expression {
	alphabet := []rune("ab1_-:. \t\n\"\\[]@=>#|(){}*'é東\u0301\u200d\u202e\x00\x1b\u00a0\ufffd🚀\U000e0001")
	text := func(least int) string {
		var b strings.Builder
		for range least + r.IntN(6) {
			if r.IntN(3) > 0 {
				b.WriteRune('a' + rune(r.IntN(26)))
			} else {
				b.WriteRune(alphabet[r.IntN(len(alphabet))])
			}
		}
		return b.String()
	}
	var e Expression
	for range 1 + r.IntN(4) {
		s := Step{Aspect: Name{Text: text(1)}}
		for range 1 + r.IntN(4) {
			s.Names = append(s.Names, Name{Text: text(1)})
		}
		for range r.IntN(4) {
			c := Clause{Key: text(1), Bare: r.IntN(4) == 0}
			if !c.Bare {
				c.Value = text(0)
			}
			s.Clauses = append(s.Clauses, c)
		}
		for range r.IntN(3) {
			a := Annotation{Key: text(1), Bare: r.IntN(4) == 0}
			if !a.Bare {
				a.Value = text(0)
			}
			s.Annotations = append(s.Annotations, a)
		}
		e.Steps = append(e.Steps, s)
	}
	return e
}

// Any expression is written so that it parses to the same.
func TestRoundTrip(t *testing.T) {
	for seed := range uint64(20_000) {
		want := generate(rand.New(rand.NewPCG(seed, 0)))
		text := want.String()
		got, err := Parse(text)
		if err != nil {
			t.Fatalf("seed %d: %q: %v", seed, text, err)
		}
		if !reflect.DeepEqual(want, anywhere(got)) { // cmp takes seconds to find nothing
			t.Fatalf("seed %d: %q (-want +got):\n%s", seed, text, cmp.Diff(want, anywhere(got)))
		}
	}
}

// Nothing makes Parse panic. What it takes has a canonical form that stays as it is and
// parses to the same; what it refuses is refused at a place of the input, what it
// offers instead parses, and what is shown moves no cursor.
func FuzzParse(f *testing.F) {
	for _, text := range append(seed, "", "world", `a."b c".d[e="f\n"][g]@h="i" >> j.k`, "a.b [c]", "a.b[c", "a . b", "a.\x1b", "\xff", "世.界[", "a.b | c.d", `a.b[c="\u00`) {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, input string) {
		e, err := Parse(input)
		if err != nil {
			mistake, ok := errors.AsType[*Error](err)
			if !ok {
				t.Fatalf("%q: an error of type %T", input, err)
			}
			if mistake.Kind != KindSyntax || mistake.What == "" {
				t.Fatalf("%q: %+v", input, mistake)
			}
			if mistake.Pos < 0 || mistake.Pos > mistake.End || mistake.End > len(input) {
				t.Fatalf("%q: the mistake is from %d to %d of %d", input, mistake.Pos, mistake.End, len(input))
			}
			if at := mistake.Pos; utf8.ValidString(input) && (!utf8.ValidString(input[:at]) || !utf8.ValidString(input[:mistake.End])) {
				t.Fatalf("%q: the mistake from %d to %d is within a character", input, at, mistake.End)
			}
			shown := mistake.Show(input)
			if !utf8.ValidString(shown) || strings.ContainsFunc(strings.ReplaceAll(shown, "\n", ""), func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 }) {
				t.Fatalf("%q: shown as %q", input, shown)
			}
			return
		}
		for _, s := range e.Steps {
			for _, n := range append(s.Names, s.Aspect) {
				if n.Pos < 0 || n.Pos >= n.End || n.End > len(input) || n.Text == "" {
					t.Fatalf("%q: the name %+v", input, n)
				}
			}
			for _, c := range s.Clauses {
				if input[c.Pos] != '[' || input[c.End-1] != ']' || c.ValuePos <= c.Pos || c.ValuePos >= c.End {
					t.Fatalf("%q: the clause %+v", input, c)
				}
			}
			for _, a := range s.Annotations {
				if input[a.Pos] != '@' || a.End > len(input) {
					t.Fatalf("%q: the annotation %+v", input, a)
				}
			}
		}
		text := e.String()
		if utf8.RuneCountInString(text) > MaxInput {
			return // a > b without blanks is shorter than it is written
		}
		again, err := Parse(text)
		if err != nil {
			t.Fatalf("%q is written %q: %v", input, text, err)
		}
		if !reflect.DeepEqual(anywhere(e), anywhere(again)) {
			t.Fatalf("%q is written %q (-first +again):\n%s", input, text, cmp.Diff(anywhere(e), anywhere(again)))
		}
		if got := again.String(); got != text {
			t.Fatalf("%q is written %q, and that %q", input, text, got)
		}
	})
}
