package config_test

import (
	"flag"
	"fmt"
	"os"
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
