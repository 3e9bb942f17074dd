package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const security = "saas/security.md"

// namedTest is a test as the page names one: the package's folder, a dot, the name.
var namedTest = regexp.MustCompile("`([a-z0-9/]+)\\.((?:Test|Fuzz)[A-Z][A-Za-z0-9]*)`")

// hasTest says whether a package's folder has a test of a name.
func hasTest(t *testing.T, folder, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), "\nfunc "+name+"(") {
			return true
		}
	}
	return false
}

// rows returns the rows of the table under a heading of the page, as cells.
func rows(t *testing.T, page, heading string) (all [][]string) {
	t.Helper()
	_, section, found := strings.Cut(page, "\n## "+heading+"\n")
	if !found {
		t.Fatalf("%s has no heading %q", security, heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	for line := range strings.Lines(section) {
		if strings.HasPrefix(line, "| ") {
			all = append(all, strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | "))
		}
	}
	return all[1:] // without the names of columns
}

// TestThreatsHaveTests: every test that the threat model names is there, and every
// threat and every bound names one, or says that it is accepted or where to look.
func TestThreatsHaveTests(t *testing.T) {
	b, err := os.ReadFile(security)
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	named := map[string]bool{}
	for _, m := range namedTest.FindAllStringSubmatch(page, -1) {
		named[m[0]] = true
		if !hasTest(t, m[1], m[2]) {
			t.Errorf("%s names %s.%s, which is not there", security, m[1], m[2])
		}
	}
	if len(named) < 50 {
		t.Errorf("only %d tests are named", len(named))
	}
	for heading, most := range map[string]int{"Threats": 3, "Bounds": 4} {
		all := rows(t, page, heading)
		if len(all) < 15 {
			t.Errorf("%s has only %d rows", heading, len(all))
		}
		for _, cells := range all {
			if len(cells) != most {
				t.Errorf("%s: the row of %q has %d cells, want %d", heading, cells[0], len(cells), most)
				continue
			}
			proof := cells[most-1]
			if !namedTest.MatchString(proof) && !strings.HasPrefix(strings.TrimSpace(proof), "accepted") && strings.TrimSpace(proof) != "see there" {
				t.Errorf("%s: %q is proved by %q", heading, cells[0], proof)
			}
		}
	}
	if hasTest(t, "docs", "TestThatIsNotThere") {
		t.Error("a test that is not there is found")
	}
}
