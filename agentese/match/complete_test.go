package match_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/agentese/match"
	"github.com/kgents/kgents/agentese/match/matchtest"
	"github.com/kgents/kgents/agentese/tree"
)

// apply is the line with a completion taken.
func apply(line string, c match.Completion) string { return line[:c.From] + c.Text + line[c.To:] }

func TestComplete(t *testing.T) {
	m, _ := fresh(10_000)
	for _, test := range []struct {
		line, place string // | is the cursor
		want        string // the lines with the first completions taken
		kind        string
	}{
		{"|", "", "world self concept void time", match.KindContext},
		{"w|", "", "world", match.KindContext},
		{"W|", "", "world", match.KindContext},
		{"slef|", "", "self", match.KindContext},
		{"world.n|", "", "world.nats", match.KindHolon},
		{"world.nats.|", "", "world.nats.stream world.nats.consumer world.nats.circuit world.nats.manifest world.nats.witness world.nats.define world.nats.affordances", ""},
		{"world.nats.w|", "", "world.nats.witness", match.KindAspect},
		{"world nats ci|", "", "world nats circuit", match.KindHolon},
		{"world/nats/ci|", "", "world/nats/circuit", match.KindHolon},
		{"world.nats.cicr|", "", "world.nats.circuit", match.KindHolon},
		{"wrld.nats.ci|", "", "world.nats.circuit", match.KindHolon},
		{"world.nts.ci|", "", "world.nats.circuit", match.KindHolon},
		{"circ|", "", "world.nats.circuit", match.KindHolon},
		{"acm|", "", "world.customers.acme", match.KindLive},
		{"world.customers.acm|", "", "world.customers.acme", match.KindLive},
		{"world.customers.acme.l|", "", "world.customers.acme.limits", match.KindHolon},
		{"world.town.springfield.citizens.|", "", "world.town.springfield.citizens.Alice world.town.springfield.citizens.Bruno world.town.springfield.citizens.Clara", match.KindLive},
		{"world.town.springfield.citizens.al|", "", "world.town.springfield.citizens.Alice", match.KindLive},

		// In the middle of a line.
		{"world.na|.manifest", "", "world.nats.manifest", match.KindHolon},
		{"world.na|xx.manifest", "", "world.nats.manifest", match.KindHolon},
		{"wor| >> concept.identity.manifest", "", "world >> concept.identity.manifest", match.KindContext},
		{"world.nats.manifest >> conc|", "", "world.nats.manifest >> concept", match.KindContext},
		{"world.nats.manifest >> concept.id|", "", "world.nats.manifest >> concept.identity", match.KindHolon},
		{"world.nats.manifest >> |", "", "world.nats.manifest >> world", match.KindContext},

		// Clauses.
		{"world.deadletter.manifest[rea|", "", "world.deadletter.manifest[reason=", match.KindClause},
		{"world.deadletter.manifest[raeson|", "", "world.deadletter.manifest[reason=", match.KindClause},
		{"world.deadletter.manifest[rea|=refused]", "", "world.deadletter.manifest[reason=refused]", match.KindClause},
		{"world.deadletter.manifest|", "", "world.deadletter.manifest world.deadletter.manifest[reason=", ""},
		{"world.deadletter.manifest[reason=refused][ty|", "", "world.deadletter.manifest[reason=refused][type=", match.KindClause},
		{"world.deadletter.manifest[reason=|", "", "world.deadletter.manifest[reason=refused] world.deadletter.manifest[reason=malformed] world.deadletter.manifest[reason=invalid]", match.KindValue},
		{"world.deadletter.manifest[reason=m|]", "", "world.deadletter.manifest[reason=malformed]", match.KindValue},
		{"world.deadletter.manifest[reason=rfeused|]", "", "world.deadletter.manifest[reason=refused]", match.KindValue},
		{"world.deadletter.manifest[customer=glob|", "", "world.deadletter.manifest[customer=globex]", match.KindValue},
		{"world.deadletter[reason=|", "", "world.deadletter[reason=refused]", match.KindValue},
		{"time.witness.manifest[of=world.nats.c|", "", "time.witness.manifest[of=world.nats.consumer] time.witness.manifest[of=world.nats.circuit]", match.KindValue},
		{"time.witness.manifest[of=circ|", "", "time.witness.manifest[of=world.nats.circuit]", match.KindValue},
		{"time.incident.manifest[since=|", "", "time.incident.manifest[since=15m] time.incident.manifest[since=1h]", match.KindValue},
		{"concept.checklist.manifest[op|", "", "concept.checklist.manifest[open]", match.KindClause},
		{"concept.checklist.manifest[open=|", "", "concept.checklist.manifest[open=true] concept.checklist.manifest[open=false]", match.KindValue},
		{"world.nats.manifest@sp|", "", "world.nats.manifest@span=", match.KindClause},

		// From where the shell is.
		{"ci|", "world.nats", "circuit", match.KindHolon},
		{"|", "world.nats.circuit", "manifest", match.KindAspect},
		{"con|", "world.nats", "consumer concept", ""},
		{"world.re|", "world.nats", "world.redis", match.KindHolon},
		{"li|", "world.customers.acme", "limits", match.KindHolon},
		{"glob|", "world.customers", "globex", match.KindLive},
		{"manifest[rea|", "world.deadletter", "manifest[reason=", match.KindClause},
	} {
		t.Run(test.place+">"+test.line, func(t *testing.T) {
			cursor := strings.IndexByte(test.line, '|')
			line := test.line[:cursor] + test.line[cursor+1:]
			got := m.Complete(line, cursor, split(test.place), tree.Admin)
			want := []string{test.want}
			if !strings.Contains(line, " ") {
				want = strings.Fields(test.want)
			}
			if len(got) < len(want) {
				t.Fatalf("got %v", got)
			}
			var lines []string
			for _, c := range got[:len(want)] {
				lines = append(lines, apply(line, c))
				if test.kind != "" && c.Kind != test.kind {
					t.Errorf("%s is a %s, want %s", c.Text, c.Kind, test.kind)
				}
				if c.Line == "" {
					t.Errorf("%s has no line", c.Text)
				}
			}
			if d := cmp.Diff(want, lines); d != "" {
				t.Error(d)
			}
		})
	}
}

// Names that need quotes get them, and may be begun with one.
func TestCompleteQuotes(t *testing.T) {
	m := match.New(matchtest.Tree())
	m.Update(&tree.Snapshot{Names: map[string][]tree.Entry{"world.customers": {{Name: "a b.c", Line: "x"}, {Name: "Zoë", Line: "x"}, {Name: "Acme Europe", Line: "x"}, {Name: "tab\there", Line: "x"}}}})
	for line, want := range map[string]string{
		`world.customers."a b`:                       `world.customers."a b.c"`,
		`world.customers."a b".`:                     `world.customers."a b.c".usage`,
		`world.customers.zo`:                         `world.customers.Zoë`,
		`world.customers.tab`:                        `world.customers."tab\there"`,
		`world.customers."a b.c".li`:                 `world.customers."a b.c".limits`,
		`world.deadletter.manifest[customer=a b`:     `world.deadletter.manifest[customer=a b.c]`,
		`world.deadletter.manifest[customer="a b`:    `world.deadletter.manifest[customer=a b.c]`,
		`world.deadletter.manifest[customer=tab`:     `world.deadletter.manifest[customer="tab\there"]`,
		`world.customers."a b.c".manifest >> concep`: `world.customers."a b.c".manifest >> concept`,
	} {
		got := m.Complete(line, len(line), nil, tree.Admin)
		if len(got) == 0 || apply(line, got[0]) != want {
			t.Errorf("%s: got %v, want %s", line, got, want)
		}
	}
	for in, want := range map[string]string{
		`world.customers."a b.c".limits.manifest`: `world.customers."a b.c".limits.manifest`,
		`acme europe limits`:                      `world.customers."Acme Europe".limits.manifest`,
		`wrold.customers."a bc".limits`:           `world.customers."a b.c".limits.manifest`,
		`world.customers.zoë`:                     `world.customers.Zoë.manifest`,
	} {
		c := m.Correct(in, nil, tree.Admin)
		if len(c.Candidates) == 0 || c.Candidates[0].Expr != want {
			t.Errorf("%s: %s %v", in, c.Verdict, c.Candidates)
		}
	}
}

// What a terminal would take for an order reaches nobody as it is.
func TestHostileNames(t *testing.T) {
	m := match.New(matchtest.Tree())
	m.Update(&tree.Snapshot{Names: map[string][]tree.Entry{"world.customers": {{Name: "evil\x1b[2Jcorp", Line: "a\x07b\nc"}}}})
	var texts []string
	for _, in := range []string{"world.customers.evil[2Jcor", "world.customers.\"evil\x1b[2Jcrop\".limits", "world.customers.evil2Jcorp\x1b]0;x.limits"} {
		for _, c := range m.Correct(in, nil, tree.Admin).Candidates {
			texts = append(texts, c.Expr, c.Why)
		}
		for _, c := range m.Complete("world.customers.ev", 18, nil, tree.Admin) {
			texts = append(texts, c.Text, c.Line)
		}
	}
	if len(texts) < 6 {
		t.Errorf("only %q", texts)
	}
	for _, s := range texts {
		if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 {
			t.Errorf("%q is not printable", s)
		}
	}
}

// What the observer may do comes first; what needs another says so.
func TestCompleteObserver(t *testing.T) {
	m, _ := fresh(10)
	order := func(o tree.Observer) (out []string) {
		for _, c := range m.Complete("world.deadletter.", 17, nil, o) {
			if c.Kind == match.KindAspect {
				out = append(out, c.Text+strings.TrimSuffix(": "+c.Line[:min(6, len(c.Line))], ": what i"))
			}
		}
		return out
	}
	got := order(tree.Default)
	if i := slices.IndexFunc(got, func(s string) bool { return strings.HasPrefix(s, "refine: needs") }); i != len(got)-1 {
		t.Errorf("for the default observer refine is not the last: %v", got)
	}
	if i := slices.IndexFunc(order(tree.Admin), func(s string) bool { return strings.Contains(s, "needs") }); i >= 0 {
		t.Errorf("for an admin something needs another: %v", order(tree.Admin))
	}
}

// No clause is offered twice, and never more than MaxCompletions of anything.
func TestCompleteBounds(t *testing.T) {
	m, _ := fresh(10_000)
	for _, c := range m.Complete("world.deadletter.manifest[reason=refused][", 42, nil, tree.Admin) {
		if strings.HasPrefix(c.Text, "reason") {
			t.Error("reason is given already")
		}
	}
	got := m.Complete("world.customers.", 16, nil, tree.Admin)
	if len(got) != match.MaxCompletions {
		t.Errorf("%d completions", len(got))
	}
	for _, aspect := range []string{"manifest", "refine"} { // names never crowd them out
		if !slices.ContainsFunc(got, func(c match.Completion) bool { return c.Text == aspect }) {
			t.Errorf("no %s among %d completions", aspect, len(got))
		}
	}
	if again := m.Complete("world.customers.", 16, nil, tree.Admin); cmp.Diff(got, again) != "" {
		t.Error("the order is not the same twice")
	}
	for at := -1; at < 40; at++ {
		m.Complete("wörld.cüstomers.\"ä b\"[x=\"é]\" >> y", at, []string{"world"}, tree.Default)
	}
	if got := m.Complete(strings.Repeat("a.", 5000)+"w", 10_001, nil, tree.Admin); len(got) != 0 {
		t.Errorf("a line that is too long is completed: %v", got)
	}
}

func ExampleMatcher_Correct() {
	m := match.New(matchtest.Tree())
	m.Update(matchtest.Snapshot(100))
	for _, in := range []string{"wrold.nats.ciruit", "replay deadletter 41", "plans"} {
		c := m.Correct(in, nil, tree.Architect)
		fmt.Printf("%s: %s (%s)\n", c.Verdict, c.Candidates[0].Expr, c.Candidates[0].Why)
	}
	// Output:
	// sure: world.nats.circuit.manifest (wrold → world, ciruit → circuit)
	// ask: world.deadletter.41.refine[do=replay] (added world, replay → refine[do=replay])
	// ask: world.plans.manifest (added world)
}
