package alerts_test

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/alerts"
)

var (
	runbookFence   = regexp.MustCompile("(?s)```.*?```")
	runbookHeading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	runbookAnchor  = regexp.MustCompile(`<a (?:id|name)="([^"]+)"`)
)

// The program knows the runbook's sections. Made anew by go test ./alerts -update.
func TestSections(t *testing.T) {
	text, err := os.ReadFile("../docs/saas/runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	runbook := runbookFence.ReplaceAllString(string(text), "")
	want := map[string]bool{}
	for _, m := range runbookAnchor.FindAllStringSubmatch(runbook, -1) {
		want[m[1]] = true
	}
	for _, m := range runbookHeading.FindAllStringSubmatch(runbook, -1) {
		want[strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			}
			return -1
		}, m[1])] = true
	}
	if *update {
		list := strings.Join(slices.Sorted(maps.Keys(want)), "\n") + "\n"
		if err := os.WriteFile("sections.txt", []byte(list), 0o644); err != nil {
			t.Fatal(err)
		}
		return // what is embedded is from before
	}
	if diff := cmp.Diff(want, alerts.Sections()); diff != "" {
		t.Errorf("sections.txt is not of this runbook, make it anew with 'go test ./alerts -update' (-want +got):\n%s", diff)
	}
}
