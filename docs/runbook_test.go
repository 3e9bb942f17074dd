package docs_test

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/kgents/kgents/alerts"
)

// rules are those of Prometheus.
func rules(t *testing.T) alerts.File {
	t.Helper()
	f, err := alerts.Rules()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// read returns a document of docs/saas.
func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("saas", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// alertSections are the sections of alerts of the runbook, by their names.
func alertSections(t *testing.T) map[string]alertSection {
	t.Helper()
	_, text, ok := strings.Cut(read(t, "runbook.md"), "\n## Alerts\n")
	if !ok {
		t.Fatal("the runbook has no section of alerts")
	}
	heads := regexp.MustCompile(`(?m)^(?:<a id="([^"]+)"></a>\n\n)?###? (.+)$`).FindAllStringSubmatchIndex(text, -1)
	out := map[string]alertSection{}
	for i, h := range heads {
		end := len(text)
		if i+1 < len(heads) {
			end = heads[i+1][0]
		}
		s := alertSection{body: text[h[1]:end]}
		if h[2] >= 0 {
			s.anchor = text[h[2]:h[3]]
		}
		name := text[h[4]:h[5]]
		if _, twice := out[name]; twice {
			t.Errorf("the runbook has two sections %q", name)
		}
		out[name] = s
	}
	return out
}

type alertSection struct{ anchor, body string }

// parts are what a paged person needs, in the order of need.
var parts = []string{"Means", "Costs", "Confirm", "Mend", "Over when", "Prevent"}

// Every alert has a section, at the anchor of its runbook_url, with all that a paged
// person needs, and a row in the table that has its severities. No section is without
// an alert.
func TestEveryAlertHasARunbookSection(t *testing.T) {
	sections := alertSections(t)
	severities := map[string][]string{}
	for r := range rules(t).Alerts() {
		severities[r.Alert] = append(severities[r.Alert], r.Severity())
		page, anchor, _ := strings.Cut(r.Annotations["runbook_url"], "#")
		if !strings.HasSuffix(page, "/docs/saas/runbook.md") {
			t.Errorf("%s leads to %s, which isn't the runbook", r.Alert, page)
		}
		if s, ok := sections[r.Alert]; !ok {
			t.Errorf("the runbook has no section for %s", r.Alert)
		} else if s.anchor != anchor {
			t.Errorf("%s leads to #%s, its section's anchor is %q", r.Alert, anchor, s.anchor)
		}
	}
	if len(severities) < 19 {
		t.Fatalf("only %d alerts found", len(severities))
	}
	runbook := read(t, "runbook.md")
	for name, s := range sections {
		if severities[name] == nil {
			t.Errorf("the runbook has a section for %s, which is no alert", name)
			continue
		}
		at := -1
		for _, part := range parts {
			next := strings.Index(s.body, "**"+part+".**")
			if next <= at {
				t.Errorf("%s: %q is missing, or not in its place", name, part)
			}
			at = max(at, next)
		}
		_, confirm, _ := strings.Cut(s.body, "**Confirm.**")
		confirm, _, _ = strings.Cut(confirm, "**Mend.**")
		if !strings.Contains(confirm, "```sh") {
			t.Errorf("%s: there is no command to confirm it", name)
		}
		row := regexp.MustCompile(`(?m)^\| \[`+name+`\]\(#`+s.anchor+`\) \| ([a-z, ]+) \| .+ \|$`).FindAllStringSubmatch(runbook, -1)
		if len(row) != 1 {
			t.Errorf("%s has %d rows in the table, want one", name, len(row))
			continue
		}
		got, want := strings.Split(row[0][1], ", "), slices.Clone(severities[name])
		slices.Sort(got)
		slices.Sort(want)
		if want = slices.Compact(want); !slices.Equal(got, want) {
			t.Errorf("the table gives %s the severities %q, the rules %q", name, got, want)
		}
	}
}

// Each block of commands of the runbook says who runs it: the test in e2e those that
// need the program alone, those in e2e/staging and infra/k8s what needs a cluster.
func TestEveryRunbookBlockIsRunSomewhere(t *testing.T) {
	fences := regexp.MustCompile("(?m)^[ \t]*```(.*)$").FindAllStringSubmatch(read(t, "runbook.md"), -1)
	if len(fences) < 100 || len(fences)%2 != 0 {
		t.Fatalf("the runbook has %d fences", len(fences))
	}
	for i := 0; i < len(fences); i += 2 {
		if info := fences[i][1]; info != "sh" && info != "sh cluster" {
			t.Errorf("block %d of the runbook is %q, want 'sh' or 'sh cluster'", i/2+1, info)
		}
	}
}

var query = regexp.MustCompile("(?s)```promql\n(.*?)```")

// Prometheus understands every query of the documents.
func TestQueries(t *testing.T) {
	found := 0
	for path, text := range documents(t) {
		for _, m := range query.FindAllStringSubmatch(text, -1) {
			found++
			file := filepath.Join(t.TempDir(), "rules.yaml")
			rule := "groups:\n- name: query\n  rules:\n  - record: query\n    expr: |2\n      " + strings.ReplaceAll(m[1], "\n", "\n      ") + "\n"
			if err := os.WriteFile(file, []byte(rule), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.CommandContext(t.Context(), "promtool", "check", "rules", file).CombinedOutput(); err != nil {
				t.Errorf("%s: %s\n%v\n%s", path, m[1], err, out)
			}
		}
	}
	if found < 10 {
		t.Errorf("only %d queries found", found)
	}
}

// The budgets that the page names are what its aims leave, and the table of burns is
// that of the alerts.
func TestBurns(t *testing.T) {
	page := read(t, "slo.md")
	window := regexp.MustCompile(`ratio_rate(\w+) > (?:([\d.]+) \* )?0\.001`)
	words := strings.NewReplacer("m", " min", "h", " h", "1d", "1 day", "3d", "3 days")
	found := 0
	for r := range rules(t).Alerts() {
		if r.Alert != "APIErrorBudgetBurn" {
			continue
		}
		found++
		w := window.FindAllStringSubmatch(r.Expr, -1)
		if len(w) != 2 {
			t.Fatalf("%d windows in %s", len(w), r.Expr)
		}
		row := "| " + words.Replace(w[0][1]) + " and " + words.Replace(w[1][1]) + " | " + cmp.Or(w[0][2], "1") + " |"
		if !strings.Contains(page, row) {
			t.Errorf("slo.md has no row %q", row)
		}
	}
	if found != 4 {
		t.Errorf("%d pairs of windows, want 4", found)
	}
}
