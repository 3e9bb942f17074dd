package load

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The document's profile is one, and its tables have every metric, fault and profile.
func TestDocument(t *testing.T) {
	b, err := os.ReadFile("../docs/saas/load-testing.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(text, -1)
	if len(blocks) != 1 {
		t.Fatalf("%d profiles in the document", len(blocks))
	}
	p, err := Parse("load-testing.md", []byte(blocks[0][1]))
	if err != nil {
		t.Fatal(err)
	}
	// The values that are said to be the defaults are.
	plain, err := Parse("plain", []byte("name: plain\nphases: [{name: a, for: 1s, rate: 1}]"))
	if err != nil {
		t.Fatal(err)
	}
	type defaults struct {
		Arrivals                 string
		Seed                     uint64
		InFlight, Retries, Bytes int
		Timeout, Drain           Duration
	}
	of := func(p Profile) defaults {
		return defaults{p.Arrivals, p.Seed, p.InFlight, p.Retries, p.Events.Bytes, p.Timeout, p.Drain}
	}
	if diff := cmp.Diff(of(plain), of(p)); diff != "" {
		t.Errorf("what is said to be left out is not the default: %s", diff)
	}
	var want []string
	all, err := Profiles()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		want = append(want, p.Name)
	}
	for _, m := range metrics {
		want = append(want, m.name)
	}
	for _, name := range append(want, Faults...) {
		if !regexp.MustCompile("(?m)^\\|[^|]*`" + name + "`").MatchString(text) {
			t.Errorf("no table has a row of %s", name)
		}
	}
	if !strings.Contains(text, ScratchStream) {
		t.Errorf("the document doesn't name %s", ScratchStream)
	}
}
