package failpoint_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/failpoint"
)

// marks are a place in the code: Hit itself, and what a town calls it by.
var marks = regexp.MustCompile(`(?:failpoint\.Hit|\bh\.at)\("([a-z.]+)"\)`)

// The list is that of the code.
func TestPlaces(t *testing.T) {
	var found []string
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range marks.FindAllSubmatch(text, -1) {
			found = append(found, string(m[1]))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	if diff := cmp.Diff(slices.Compact(found), slices.Sorted(slices.Values(failpoint.Places()))); diff != "" {
		t.Errorf("places (-code +list):\n%s", diff)
	}
}
