package config_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/config"
)

var update = flag.Bool("update", false, "write the table of variables into the documentation")

const (
	page       = "../docs/saas/environment.md"
	tableBegin = "<!-- variables -->\n"
	tableEnd   = "<!-- /variables -->\n"
)

// table is the documentation of every variable, in Markdown.
func table() string {
	var b strings.Builder
	b.WriteString("\n| variable | flag | default | meaning |\n|---|---|---|---|\n")
	for _, v := range config.Variables() {
		name, flag, meaning := code(v.Name), code("--"+v.Flag()), v.Help
		if v.Secret {
			name += ", " + code(v.Name+"_FILE")
			flag += ", " + code("--"+v.Flag()+"-file")
			meaning = "**Secret.** " + meaning
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", name, flag, defaults(v), strings.ReplaceAll(meaning, "|", `\|`))
	}
	return b.String() + "\n"
}

func code(s string) string { return "`" + s + "`" }

// defaults is v's default, and behind it the roles that have another.
func defaults(v config.Variable) string {
	show := func(s string) string {
		if s == "" {
			return "none"
		}
		return code(s)
	}
	common := v.Default("") // of a role that has no default of its own
	out := show(common)
	if common == "" {
		out = ""
	}
	for _, role := range []config.Role{config.RoleUp, config.RoleAPI, config.RoleSink, config.RoleMeter} {
		if d := v.Default(role); d != common {
			out += fmt.Sprintf("; %s with %s", show(d), code("kgents "+string(role)))
		}
	}
	return strings.TrimPrefix(out, "; ")
}

// TestDocumentedVariables: the page's table is made from the variables themselves.
func TestDocumentedVariables(t *testing.T) {
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, hasBegin := strings.Cut(string(b), tableBegin)
	got, after, hasEnd := strings.Cut(rest, tableEnd)
	if !hasBegin || !hasEnd {
		t.Fatalf("%s lacks the lines %q and %q", page, tableBegin, tableEnd)
	}
	if *update {
		if err := os.WriteFile(page, []byte(before+tableBegin+table()+tableEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(table(), got); diff != "" {
		t.Errorf("%s is not up to date, run 'go test ./config -update' (-want +got):\n%s", page, diff)
	}
}

// Variables that commands read by themselves are in no table: the page names them.
func TestDocumentedClientVariables(t *testing.T) {
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	sources, err := filepath.Glob("../cmd/kgents/*.go")
	if err != nil || len(sources) == 0 {
		t.Fatalf("no sources: %v", err)
	}
	found := map[string]bool{}
	for _, file := range sources {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`os\.(?:Getenv|LookupEnv)\("(KGENTS_[A-Z_]+)"\)`).FindAllStringSubmatch(string(source), -1) {
			found[m[1]] = true
			if !strings.Contains(string(b), code(m[1])) {
				t.Errorf("%s reads %s, which %s doesn't name", file, m[1], page)
			}
		}
	}
	if !found["KGENTS_NAMESPACE"] || !found["KGENTS_URL"] {
		t.Errorf("found %v in the sources: is this test's pattern out of date?", found)
	}
}
