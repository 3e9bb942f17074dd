package agentese_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/tree"
)

const document = "../docs/agentese.md"

var update = flag.Bool("update", false, "write the tables of docs/agentese.md that are made from the code")

func read(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// section is what stands between the marks of this name.
func section(t *testing.T, text, name string) string {
	t.Helper()
	_, rest, begins := strings.Cut(text, "<!-- "+name+" -->\n")
	inside, _, ends := strings.Cut(rest, "<!-- /"+name+" -->")
	if !begins || !ends {
		t.Fatalf("%s has no section %s", document, name)
	}
	return inside
}

// rows are a table's cells, without the titles.
func rows(table string) [][]string {
	var out [][]string
	for line := range strings.Lines(table) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "|") {
			cells := strings.Split(strings.Trim(line, "|"), " | ")
			for i := range cells {
				cells[i] = strings.Trim(strings.TrimSpace(cells[i]), "`")
			}
			out = append(out, cells)
		}
	}
	return out[min(2, len(out)):]
}

// Every expression in the document parses, and is written in its canonical form.
func TestDocumentedExpressions(t *testing.T) {
	text := read(t)
	known := 0
	check := func(expr string, canonical bool) {
		known++
		e, err := agentese.Parse(expr)
		if err != nil {
			t.Errorf("%s: %v", expr, err)
		} else if canonical && e.String() != expr {
			t.Errorf("%s is written %s", expr, e)
		}
	}
	for _, m := range regexp.MustCompile("(?s)```agentese\n(.*?)```").FindAllStringSubmatch(text, -1) {
		for line := range strings.Lines(m[1]) {
			check(strings.TrimSpace(line), true)
		}
	}
	table := regexp.MustCompile(`(?s)\| written \| canonical \|.*?\n\n`).FindString(text)
	for _, row := range rows(table) {
		check(row[0], false)
		check(row[1], true)
		if e, err := agentese.Parse(row[0]); err == nil && e.String() != row[1] {
			t.Errorf("%s is written %s, not %s", row[0], e, row[1])
		}
	}
	prose := strings.ReplaceAll(regexp.MustCompile("(?s)```.*?```").ReplaceAllString(text, ""), table, "")
	prose, _, _ = strings.Cut(prose, "<!-- tree -->")
	for _, m := range regexp.MustCompile("`((?:world|self|concept|void|time)\\.[^`]+)`").FindAllStringSubmatch(prose, -1) {
		check(m[1], true)
	}
	if known < 15 {
		t.Errorf("only %d expressions found", known)
	}
}

// The document shows a mistake as it is shown.
func TestDocumentedMistake(t *testing.T) {
	const input = "world.manifest | void.manifest"
	_, err := agentese.Parse(input)
	e, ok := errors.AsType[*agentese.Error](err)
	if !ok || !strings.Contains(read(t), "```text\n"+e.Show(input)+"```") {
		t.Errorf("it is not in the document as it is shown:\n%s", e.Show(input))
	}
}

// The tables whose words are the document's name what is in the code, in its order.
func TestDocumentedNames(t *testing.T) {
	text := read(t)
	var aspects, observers []string
	for _, a := range agentese.Aspects() {
		aspects = append(aspects, string(a))
	}
	for _, o := range tree.Observers() {
		observers = append(observers, o.String())
	}
	var kinds []string
	for _, k := range []agentese.Kind{
		agentese.KindSyntax, agentese.KindNotFound, agentese.KindClause, agentese.KindAnnotation, agentese.KindDenied,
		agentese.KindObserver, agentese.KindDeclined, agentese.KindAway, agentese.KindFailed,
	} {
		kinds = append(kinds, string(k))
	}
	for name, want := range map[string][]string{"contexts": agentese.Contexts(), "aspects": aspects, "observers": observers, "kinds": kinds} {
		var got []string
		for _, row := range rows(section(t, text, name)) {
			got = append(got, row[0])
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

// The tables that are made from the code are as it is now; -update writes them.
func TestDocumentedTables(t *testing.T) {
	text := read(t)
	for name, want := range map[string]string{
		"may": may(), "clauses": clauses(), "annotations": annotations(), "limits": limits(),
	} {
		inside := section(t, text, name)
		if *update {
			text = strings.Replace(text, "<!-- "+name+" -->\n"+inside, "<!-- "+name+" -->\n"+want, 1)
		} else if d := cmp.Diff(want, inside); d != "" {
			t.Errorf("%s is another; go test ./agentese -update writes it (-want +got):\n%s", name, d)
		}
	}
	if *update {
		if err := os.WriteFile(document, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func row(cells ...string) string { return "| " + strings.Join(cells, " | ") + " |\n" }

func head(titles ...string) string {
	return row(titles...) + strings.Repeat("|---", len(titles)) + "|\n"
}

// may is the table of who may do what.
func may() string {
	titles := []string{"aspect"}
	for _, o := range tree.Observers() {
		titles = append(titles, o.String())
	}
	out := head(titles...)
	for _, a := range agentese.Aspects() {
		cells := []string{"`" + string(a) + "`"}
		for _, o := range tree.Observers() {
			cells = append(cells, map[bool]string{true: "yes", false: "–"}[o.May(tree.Affordance{Aspect: a})])
		}
		out += row(cells...)
	}
	return out
}

func noChange(context.Context, *tree.Call) (*tree.Change, error) { return nil, nil }

// clauses is the table of those that many aspects understand, and which do.
func clauses() string {
	looks := tree.ParamsOf(&tree.Affordance{Aspect: agentese.Manifest})
	draws := tree.ParamsOf(&tree.Affordance{Aspect: agentese.Sip})
	changes := tree.ParamsOf(&tree.Affordance{Aspect: agentese.Refine, Change: noChange})
	knows := func(params []tree.Param, key string) bool {
		return slices.ContainsFunc(params, func(p tree.Param) bool { return p.Key == key })
	}
	out := head("clause", "of", "what it says")
	seen := map[string]bool{}
	for _, p := range slices.Concat(looks, changes) {
		if seen[p.Key] {
			continue
		}
		seen[p.Key] = true
		of := "what changes"
		switch see, draw, change := knows(looks, p.Key), knows(draws, p.Key), knows(changes, p.Key); {
		case see && change:
			of = "all"
		case see && draw:
			of = "what shows"
		case see:
			of = "what shows, but `sip` and `tithe`"
		}
		out += row("`"+p.Key+"`", of, p.Line)
	}
	return out
}

func annotations() string {
	out := head("annotation", "what it says")
	for _, p := range tree.Annotations() {
		out += row("`@"+p.Key+"=`", p.Line)
	}
	return out
}

func limits() string {
	out := head("what", "at most")
	for _, l := range []struct {
		what string
		most int
		of   string
	}{
		{"an input", agentese.MaxInput, "characters"},
		{"a path", agentese.MaxDepth, "names before its aspect"},
		{"a step", agentese.MaxClauses, "clauses, and as many annotations"},
		{"a pipeline", agentese.MaxSteps, "steps"},
		{"live names of one holon", tree.MaxNames, "names"},
		{"a table", tree.MaxRows, "rows"},
	} {
		out += row(l.what, fmt.Sprintf("%d %s", l.most, l.of))
	}
	return out
}
