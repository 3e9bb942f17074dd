package saas_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/alerts"
	"github.com/kgents/kgents/docs/saas"
)

// Every document is the page itself, and each of its sections can be found.
func TestDocuments(t *testing.T) {
	for _, name := range saas.Documents() {
		page, err := os.ReadFile(filepath.Join(".", name))
		if err != nil {
			t.Fatal(err)
		}
		if saas.Text(name) != string(page) {
			t.Errorf("%s is not the page", name)
		}
		sections := saas.Sections(name)
		if len(sections) < 2 {
			t.Errorf("%s has %d sections", name, len(sections))
		}
		for _, s := range sections {
			if got, ok := saas.Find(name, s.Anchor()); !ok || got.Title != s.Title {
				t.Errorf("%s#%s leads to %q, not to %q", name, s.Anchor(), got.Title, s.Title)
			}
			if !strings.Contains(string(page), s.Body) {
				t.Errorf("the text of %s#%s is not in the page", name, s.Anchor())
			}
		}
	}
	if saas.Text("../../go.mod") != "" || saas.Sections("none.md") != nil {
		t.Error("there is more than the documents")
	}
}

// The runbook's anchors are those that the alerts know, and every alert leads to a
// section whose commands are whole.
func TestRunbook(t *testing.T) {
	have := map[string]bool{}
	for _, s := range saas.Sections(saas.Runbook) {
		for _, a := range s.Anchors {
			have[a] = true
		}
		if strings.Count(s.Body, "```")%2 != 0 {
			t.Errorf("%s has half a block of commands", s.Anchor())
		}
	}
	if diff := cmp.Diff(alerts.Sections(), have); diff != "" {
		t.Errorf("anchors (-alerts +sections):\n%s", diff)
	}
	rules, err := alerts.Rules()
	if err != nil {
		t.Fatal(err)
	}
	for r := range rules.Alerts() {
		s, ok := saas.Find(saas.Runbook, r.Anchor())
		if !ok || s.Title != r.Alert || !slices.Contains(s.Anchors, strings.ToLower(r.Alert)) {
			t.Errorf("%s leads to %q (%v)", r.Alert, s.Title, s.Anchors)
		}
	}
}

func TestTable(t *testing.T) {
	got := saas.Table("Words.\n\n| a | b |\n|---|:-:|\n| `x \\| y` | 2 |\n|  | [z](q.md) |\n\n| other |\n|---|\n")
	want := [][]string{{"a", "b"}, {"`x | y`", "2"}, {"", "[z](q.md)"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	metrics := saas.Table(saas.Within(saas.Metrics, "metrics"))
	if len(metrics) < 100 || metrics[0][0] != "metric" {
		t.Errorf("the page of metrics has %d rows, the first is %q", len(metrics), metrics[0])
	}
	for _, row := range metrics {
		if len(row) != len(metrics[0]) {
			t.Errorf("%q has %d cells", row, len(row))
		}
	}
	if got := saas.Within(saas.Metrics, "nothing"); got != "" {
		t.Errorf("what isn't there is %q", got)
	}
}

func TestPlain(t *testing.T) {
	if got := saas.Plain("See **the** [runbook](a.md#b),\n`kgents`  it says."); got != "See the runbook, kgents it says." {
		t.Errorf("got %q", got)
	}
	want := []saas.Link{{Text: "a", To: "b.md"}, {Text: "c", To: "d/e.go"}}
	if diff := cmp.Diff(want, saas.Links("[a](b.md) and [c](d/e.go)")); diff != "" {
		t.Error(diff)
	}
}
