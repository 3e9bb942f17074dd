package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// command finds `kgents …` in code of the documents.
var (
	code    = regexp.MustCompile("(?s)```(?:sh|console).*?```|`[^`\n]+`")
	command = regexp.MustCompile(`(?m)(?:^|[\s;(/$]|` + "`" + `)kgents((?: [a-zA-Z0-9_.,/:=%-]+)+)`)
)

// Every command that a document or a help text names is there, with the flags it
// is given.
func TestDocumentedCommands(t *testing.T) {
	texts := map[string]string{}
	for _, pattern := range []string{"../../*.md", "../../docs/*.md", "../../docs/*/*.md"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			texts[file] = strings.Join(code.FindAllString(string(b), -1), "\n")
		}
	}
	root := newRoot()
	for _, c := range root.Commands() {
		texts["kgents "+c.Name()+" --help"] = c.Example
		for _, sub := range c.Commands() {
			texts["kgents "+c.Name()+" "+sub.Name()+" --help"] = sub.Example
		}
	}
	checked := 0
	for where, text := range texts {
		for _, m := range command.FindAllStringSubmatch(text, -1) {
			words := strings.Fields(m[1])
			checked++
			if words[0] == "completion" || words[0] == "--help" || words[0] == "--version" {
				continue
			}
			found, rest, err := newRoot().Find(words)
			if err != nil || found == found.Root() {
				t.Errorf("%s names 'kgents%s', which is no command", where, m[1])
				continue
			}
			found.InitDefaultHelpFlag()
			for _, word := range rest {
				name, ok := strings.CutPrefix(word, "--")
				if !ok {
					continue
				}
				name, _, _ = strings.Cut(name, "=")
				var flag *pflag.Flag
				if flag = found.Flags().Lookup(name); flag == nil {
					t.Errorf("%s: 'kgents %s' has no flag --%s", where, found.Name(), name)
				}
			}
		}
	}
	if checked < 20 {
		t.Errorf("only %d commands checked", checked)
	}
}
