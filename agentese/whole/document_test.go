package whole_test

import (
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/agentese/whole"
)

const document = "../../docs/agentese.md"

var update = flag.Bool("update", false, "write the list of all paths into docs/agentese.md")

// The list of all paths in the document is the tree's; -update writes it.
func TestDocumentedPaths(t *testing.T) {
	all, err := whole.Tree(&living.Sources{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begins := strings.Cut(string(b), "<!-- tree -->\n")
	got, behind, ends := strings.Cut(rest, "<!-- /tree -->")
	if !begins || !ends {
		t.Fatal("the document has no section tree")
	}
	want := paths(all)
	if *update {
		if err := os.WriteFile(document, []byte(before+"<!-- tree -->\n"+want+"<!-- /tree -->"+behind), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("the list is another; go test ./agentese/whole -run TestDocumentedPaths -update writes it (-want +got):\n%s", d)
	}
}

// Every expression in the document is one of the tree's: its paths are there, and its
// clauses mean something.
func TestDocumentedExpressionsResolve(t *testing.T) {
	all, err := whole.Tree(&living.Sources{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	text, _, _ := strings.Cut(string(b), "<!-- tree -->")
	found := 0
	for _, m := range regexp.MustCompile("(?m)^((?:world|self|concept|void|time)\\.[^\n]+)$|`((?:world|self|concept|void|time)\\.[^`\n]+)`").FindAllStringSubmatch(text, -1) {
		e, err := agentese.Parse(m[1] + m[2])
		if err != nil {
			t.Errorf("%s%s: %v", m[1], m[2], err)
			continue
		}
		for _, step := range e.Steps {
			found++
			if _, there := all.At(step.Names[0].Text); !there {
				continue // nothing of this context is in the tree yet
			}
			if _, _, err := all.Resolve(step, &tree.Session{Observer: tree.Admin}); err != nil {
				t.Errorf("%s: %v", step, err)
			}
		}
	}
	if found < 15 {
		t.Errorf("only %d steps found", found)
	}
}

// paths is the table of the tree, with the clauses that are each node's own. Define and
// affordances, which all have, are left out.
func paths(t *tree.Tree) string {
	var b strings.Builder
	b.WriteString("| path | aspects, and their clauses | what it is |\n|---|---|---|\n")
	for _, p := range t.Places() {
		var aspects []string
		for _, a := range p.Node.Affords {
			text := "`" + string(a.Aspect) + "`"
			for _, q := range a.Params {
				text += " `[" + q.Key + "]`"
			}
			if least := a.Least(); least > tree.Default {
				text += " (" + least.String() + ")"
			}
			aspects = append(aspects, text)
		}
		b.WriteString("| `" + p.Pattern + "` | " + strings.Join(aspects, "; ") + " | " + strings.ReplaceAll(p.Node.Line, "|", `\|`) + " |\n")
	}
	return b.String()
}
