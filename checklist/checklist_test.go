package checklist_test

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/checklist"
)

var update = flag.Bool("update", false, "write docs/saas/production-checklist.md anew")

const page = "../docs/saas/production-checklist.md"

func theList(t *testing.T) checklist.List {
	t.Helper()
	l, err := checklist.Default()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// What the issue and the seed ask for is on the list.
func TestDefault(t *testing.T) {
	l := theList(t)
	var categories []string
	for _, c := range l.Categories {
		categories = append(categories, c.ID)
	}
	for _, want := range []string{
		"secrets", "network", "load", "disaster-recovery", // the seed's
		"durability", "capacity", "observability", "billing", "security", "privacy", "release",
	} {
		if !slices.Contains(categories, want) {
			t.Errorf("there is no category %s", want)
		}
	}
	for _, id := range []string{ // the seed's rows
		"rotation-policy", "vault-decision", "nats-isolation", "ingress-rules",
		"nats-throughput-baseline", "openmeter-limits-known", "openmeter-rate-limit",
		"backup-fresh", "backup-restorable", "circuit-recovery",
	} {
		if _, ok := l.Item(id); !ok {
			t.Errorf("there is no item %s", id)
		}
	}
	automatic, phases := 0, map[checklist.Phase]int{}
	for _, i := range l.Items() {
		phases[i.Phase]++
		if i.Automatic {
			automatic++
		}
	}
	for _, p := range checklist.Phases() {
		if phases[p] == 0 {
			t.Errorf("nothing is to be done in %s", p)
		}
	}
	if automatic < 40 {
		t.Errorf("the program looks at %d items, want 40 at least", automatic)
	}
	if n := len(l.Automatic().Items()); n != automatic {
		t.Errorf("Automatic leaves %d of %d items", n, automatic)
	}
}

// The page is what the file says.
func TestPage(t *testing.T) {
	want := string(theList(t).Page())
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("the page is not what items.yaml says: go test ./checklist -update (-file +page)\n%s", diff)
	}
	for _, i := range theList(t).Items() {
		if !strings.Contains(want, `<a id="`+i.ID+`">`) {
			t.Errorf("the page has no row for %s", i.ID)
		}
		if !i.Automatic && !strings.Contains(want, "Keep: "+i.Keep) {
			t.Errorf("the page doesn't say what to keep of %s", i.ID)
		}
	}
	for _, text := range []string{"| **blocking** | platform engineer |", "| 14 days after launch |", "| 30 days after launch |"} {
		if !strings.Contains(want, text) {
			t.Errorf("the page does not have %q", text)
		}
	}
}

const one = `categories:
- id: a
  title: A
  what: What a is.
  phase: PLAN
  items:
  - id: x
    title: X holds
    why: Because.
    blocking: true
    owner: founder
    automatic: true
    link: runbook.md
`

func TestParse(t *testing.T) {
	if _, err := checklist.Parse([]byte(one)); err != nil {
		t.Fatalf("what the others are made of is refused: %v", err)
	}
	for name, test := range map[string]struct{ old, new, want string }{
		"unknown field":          {"automatic: true", "automatic: true\n    sevrity: high", "sevrity"},
		"its line":               {"automatic: true", "automatic: true\n    sevrity: high", "13"},
		"empty":                  {one, "categories: []\n", "no categories"},
		"no YAML":                {one, "categories: [", "can't be read"},
		"id":                     {"id: x", "id: X_1", "is no id"},
		"twice":                  {"id: x", "id: a", "a is there twice"},
		"owner":                  {"founder", "somebody", "owner must be one of"},
		"no why":                 {"why: Because.", "why: ''", "x: needs title and why"},
		"row of a table":         {"why: Because.", "why: 'a | b'", "without |"},
		"link":                   {"runbook.md", "https://example.com", "link must be a page"},
		"not blocking, no date":  {"blocking: true", "blocking: false", "needs a due date"},
		"not a date":             {"blocking: true", "blocking: false\n    due: soon", "due must be launch"},
		"blocking, after launch": {"blocking: true", "blocking: true\n    due: launch+7d", "can't be due after the launch"},
		"for nobody":             {"automatic: true", "automatic: false", "for a person, so it needs steps and keep"},
		"for both":               {"automatic: true", "automatic: true\n    keep: a note", "has no steps and nothing to keep"},
		"phase":                  {"phase: PLAN", "phase: SOON", "x: phase must be one of"},
		"no phase":               {"  phase: PLAN\n", "", "x: phase must be one of"},
		"phase of its own":       {"automatic: true", "automatic: true\n    phase: plan", "x: phase must be one of"},
		"target":                 {"automatic: true", "automatic: true\n    on: [moon]", "use local or kubernetes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := checklist.Parse([]byte(strings.Replace(one, test.old, test.new, 1)))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
}
