package town

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// The tables of docs/saas/agent-town.md are the code's.
func TestDocumented(t *testing.T) {
	const file = "../docs/saas/agent-town.md"
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"towns": townsTable(), "citizens": citizensHead + citizensTable(), "archetypes": archetypesHead + archetypesTable(), "day": dayHead + dayTable(), "operations": operationsHead + operationsTable(),
	} {
		_, rest, ok := strings.Cut(string(b), "<!-- "+name+" -->\n")
		got, _, closed := strings.Cut(rest, "<!-- /"+name+" -->")
		if !ok || !closed || got != want {
			t.Errorf("%s, between the markers of %q, must have\n%s", file, name, want)
		}
	}
	for _, number := range []string{
		fmt.Sprintf("%v × the town's tension + %v ×", quarrelTension, quarrelDislike), fmt.Sprintf("probability (%v +", quarrelBase),
		fmt.Sprintf("(**teach**) with the probability %v;", teachChance), fmt.Sprintf("is due with the probability %v when surplus", feastChance),
		fmt.Sprintf("probability %v + %v ×", moveBase, moveCuriosity), fmt.Sprintf("sum of surplus above %d,", surplusBound),
		fmt.Sprintf("at most %d options", MaxOptions), fmt.Sprintf("at most\n%d KiB", MaxSnapshotBytes>>10),
	} {
		if !strings.Contains(string(b), number) {
			t.Errorf("%s doesn't say %q", file, number)
		}
	}
}

// The heads of the tables.
const (
	citizensHead   = "| citizen | archetype | home |\n|---|---|---|\n"
	archetypesHead = "| archetype | traits other than 0.5 |\n|---|---|\n"
	dayHead        = "| phase | operations | greet / gossip / trade / solo | at its start | at its end |\n|---|---|---|---|---|\n"
	operationsHead = "| operation | tokens | drama | needs | effect |\n|---|---|---|---|---|\n"
)

func townsTable() string {
	out := "| citizens | regions, and how many each holds |\n|---|---|\n"
	for _, n := range []int{3, 7, 10, 25} {
		var regions []string
		for _, r := range places[n] {
			regions = append(regions, fmt.Sprintf("%s %d", r.name, r.capacity))
		}
		out += fmt.Sprintf("| %d | %s |\n", n, strings.Join(regions, ", "))
	}
	return out
}

func citizensTable() string {
	out := ""
	for i, c := range cast {
		if n := map[int]int{0: 3, 3: 7, 7: 10, 10: 25}[i]; n > 0 {
			out += fmt.Sprintf("| *in towns of %d and more* | | |\n", n)
		}
		out += fmt.Sprintf("| %s | %s | %s |\n", c.name, c.archetype, c.home)
	}
	return out
}

func archetypesTable() string {
	var rows []string
	for name, a := range archetypes {
		var traits []string
		v := reflect.ValueOf(a.traits)
		for i := range v.NumField() {
			if x := v.Field(i).Float(); x != .5 {
				traits = append(traits, fmt.Sprintf("%s %v", strings.ToLower(v.Type().Field(i).Name), x))
			}
		}
		rows = append(rows, fmt.Sprintf("| %s | %s |\n", name, strings.Join(traits, ", ")))
	}
	slices.Sort(rows)
	return strings.Join(rows, "")
}

func dayTable() string {
	out := ""
	for _, p := range phases {
		start, end := "", ""
		if p.wakes {
			start = "all wake"
		}
		if p.rest > 0 {
			end = fmt.Sprintf("each rests with p = %v", p.rest)
		}
		out += fmt.Sprintf("| %s | %d–%d | %v / %v / %v / %v | %s | %s |\n", p.name, p.least, p.most, p.greet, p.gossip, p.trade, p.solo, start, end)
	}
	return out
}

// told is what the code can't tell in words.
var told = map[string][2]string{
	Greet:     {"two in one region", "both relationships + 0.1 × mean warmth"},
	Gossip:    {"two, and a third whom the speaker has a view of", "the listener's view of the third moves by half the speaker's; drama × 1.5 if that is negative"},
	Trade:     {"two, neither with a view of the other below −0.5", "both relationships + 0.2 × mean trust; surplus 0.1 × tokens, split evenly"},
	Solo:      {"one", "surplus 0.05 × tokens"},
	Dispute:   {"two", "each view loses 0.7 × (1 − mean patience) of what it is above −1"},
	Celebrate: {"two or more", "everybody's views of the others + 0.1 × own warmth"},
	Mourn:     {"two or more", "everybody's negative views of the others shrink by own resilience"},
	Teach:     {"a sage and another", "the pupil's view + 0.2 × the sage's patience, the sage's + 0.05; the pupil's curiosity and creativity + 0.01"},
}

func operationsTable() string {
	out := ""
	for _, name := range []string{Greet, Gossip, Trade, Solo, Dispute, Celebrate, Mourn, Teach} {
		op := operations[name]
		tokens := fmt.Sprint(op.tokens)
		if op.each {
			tokens += " each"
		}
		out += fmt.Sprintf("| %s | %s | %v | %s | %s |\n", name, tokens, op.drama, told[name][0], told[name][1])
	}
	return out
}
