package docs_test

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/secrets"
)

// The page's first table has every secret that the program knows, with the period that
// the program holds it to.
func TestSecretsHaveTheirPeriods(t *testing.T) {
	ages, err := secrets.ReadAges([]byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{}
	for _, a := range ages {
		want[a.Name] = int(a.Period / (24 * time.Hour))
	}
	_, text, _ := strings.Cut(read(t, "secrets.md"), "\n## The secrets\n")
	table, _, _ := strings.Cut(text, "\nBesides,")
	got := map[string]int{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\|.*\\| (\\d+) days[^|]*\\|$").FindAllStringSubmatch(table, -1) {
		if got[m[1]], err = strconv.Atoi(m[2]); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("periods in days (-program +page):\n%s", diff)
	}
}
