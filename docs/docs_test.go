// Package docs holds the documentation, and the tests that keep it true.
package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

// root is the project's, seen from this folder.
const root = ".."

// documents returns every Markdown file of the project.
func documents(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != root {
			return filepath.SkipDir
		}
		if filepath.Ext(path) != ".md" {
			return nil
		}
		b, err := os.ReadFile(path)
		out[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 5 {
		t.Fatalf("only %d documents found", len(out))
	}
	return out
}

var (
	fence   = regexp.MustCompile("(?s)```.*?```")
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	anchor  = regexp.MustCompile(`<a (?:id|name)="([^"]+)"`)
)

// slug is the anchor that a heading gets.
func slug(heading string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(heading) {
		switch {
		case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
			b.WriteRune(r)
		case r == ' ':
			b.WriteByte('-')
		}
	}
	return b.String()
}

func anchors(document string) map[string]bool {
	out := map[string]bool{}
	document = fence.ReplaceAllString(document, "")
	for _, m := range heading.FindAllStringSubmatch(document, -1) {
		out[slug(m[1])] = true
	}
	for _, m := range anchor.FindAllStringSubmatch(document, -1) {
		out[m[1]] = true
	}
	return out
}

// Every link within the project leads somewhere, its anchor included.
func TestLinks(t *testing.T) {
	docs := documents(t)
	checked := 0
	for path, text := range docs {
		for _, m := range link.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
			target, fragment, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			checked++
			to := path
			if target != "" {
				to = filepath.Join(filepath.Dir(path), target)
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s links to %s, which is not there", path, m[1])
				continue
			}
			if fragment != "" && !anchors(docs[to])[fragment] {
				t.Errorf("%s links to %s, which has no such heading", path, m[1])
			}
		}
	}
	if checked < 10 {
		t.Errorf("only %d links checked", checked)
	}
}

var makeCommand = regexp.MustCompile(`(?m)\bmake ([a-z][a-z0-9-]*)`)

// Every `make` target that a document names is in the Makefile.
func TestMakeTargets(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	targets := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^([a-z][a-z0-9-]*):`).FindAllStringSubmatch(string(b), -1) {
		targets[m[1]] = true
	}
	code := regexp.MustCompile("(?s)```sh.*?```|`[^`\n]+`")
	for path, text := range documents(t) {
		for _, block := range code.FindAllString(text, -1) {
			for _, m := range makeCommand.FindAllStringSubmatch(block, -1) {
				if !targets[m[1]] {
					t.Errorf("%s names 'make %s', which the Makefile doesn't have", path, m[1])
				}
			}
		}
	}
}

var metricName = regexp.MustCompile(`(?:[a-z]+:)?kgents_[a-z0-9_]+[a-z0-9](?::[a-z0-9_]+)?`)

// Every metric that a document names is one that the code makes, or the rules record.
func TestMetricNames(t *testing.T) {
	made := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		for _, m := range regexp.MustCompile(`"(kgents_[a-z0-9_]+)"`).FindAllStringSubmatch(string(b), -1) {
			made[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(made) < 20 {
		t.Fatalf("only %d metrics found in the code", len(made))
	}
	for r := range rules(t).All() {
		made[r.Record] = true
	}
	for path, text := range documents(t) {
		for _, name := range metricName.FindAllString(text, -1) {
			base := name
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				base = strings.TrimSuffix(base, suffix)
			}
			if !made[name] && !made[base] {
				t.Errorf("%s names the metric %s, which the code doesn't make", path, name)
			}
		}
	}
}
