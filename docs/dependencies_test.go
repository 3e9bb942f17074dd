package docs_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the table of dependencies into the documentation")

const (
	dependencies = "saas/dependencies.md"
	tableBegin   = "<!-- modules -->\n"
	tableEnd     = "<!-- /modules -->\n"
)

// permitted are the licences under which a module may be in the binary: none of them
// asks more of whoever passes the binary on than to pass the licence on too, and, for
// MPL-2.0, changes of the module's own files.
var permitted = []string{"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MPL-2.0", "SQLite", "Unlicense"}

// aside are licence files of what is no part of the binary.
var aside = map[string]string{"modernc.org/memory": "LICENSE-LOGO"} // the address of a picture

// phrases tell licences apart. The first whose phrases all stand in a text, whatever
// its line breaks, is the text's.
var phrases = []struct {
	licence string
	all     []string
}{
	{"", []string{"gnu", "general public license", "version", "everyone is permitted to copy"}}, // none of the permitted
	{"MPL-2.0", []string{"mozilla public license version 2.0"}},
	{"Apache-2.0", []string{"apache license version 2.0", "terms and conditions for use, reproduction, and distribution"}},
	{"BSD-3-Clause", []string{"redistributions of source code must retain", "redistributions in binary form must reproduce", "endorse or promote products"}},
	{"BSD-2-Clause", []string{"redistributions of source code must retain", "redistributions in binary form must reproduce"}},
	{"Unlicense", []string{"this is free and unencumbered software released into the public domain"}},
	{"SQLite", []string{"sqlite is public domain", "has been dedicated to the public domain by the authors"}},
	{"MIT", []string{"permission is hereby granted, free of charge", "the above copyright notice and this permission notice"}},
	{"ISC", []string{"permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby granted, provided that"}},
	{"ISC", []string{"permission to use, copy, modify, and distribute this software for any purpose with or without fee is hereby granted, provided that"}},
	{"0BSD", []string{"permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby granted."}},
}

func licenceOf(text string) string {
	text = strings.ToLower(strings.Join(strings.Fields(text), " "))
	for _, p := range phrases {
		found := true
		for _, phrase := range p.all {
			found = found && strings.Contains(text, phrase)
		}
		if found {
			return p.licence
		}
	}
	return ""
}

// module is one that has a package in the binary.
type module struct{ Path, Dir string }

// inBinary returns the modules of every package of the program, on every platform
// that it is built for.
func inBinary(t *testing.T) []module {
	t.Helper()
	all := map[string]module{}
	for _, platform := range []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64"} {
		system, arch, _ := strings.Cut(platform, "/")
		cmd := exec.Command("go", "list", "-deps", "-json=Module", "./cmd/kgents")
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "GOOS="+system, "GOARCH="+arch, "CGO_ENABLED=0")
		out, err := cmd.Output()
		if err != nil {
			if exit, ok := errors.AsType[*exec.ExitError](err); ok {
				t.Fatalf("go list: %v\n%s", err, exit.Stderr)
			}
			t.Fatal(err)
		}
		for d := json.NewDecoder(bytes.NewReader(out)); ; {
			var p struct {
				Module *struct {
					module
					Main    bool
					Replace *module
				}
			}
			if err := d.Decode(&p); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			if m := p.Module; m != nil && !m.Main { // the standard library has none
				if m.Replace != nil {
					t.Errorf("%s is replaced by %s: its licence can't be told", m.Path, m.Replace.Path)
				}
				all[m.Path] = m.module
			}
		}
	}
	return slices.Collect(func(yield func(module) bool) {
		for _, path := range slices.Sorted(maps.Keys(all)) {
			if !yield(all[path]) {
				return
			}
		}
	})
}

// legal returns a module's row, and what is wrong with its licence.
func legal(m module) (row string, wrong error) {
	entries, err := os.ReadDir(m.Dir)
	if err != nil {
		return "", err
	}
	var names []string
	hash, notice := sha256.New(), "—"
	for _, e := range entries {
		upper := strings.ToUpper(e.Name())
		isNotice := strings.HasPrefix(upper, "NOTICE")
		if e.IsDir() || filepath.Ext(upper) == ".GO" || !isNotice && !strings.HasPrefix(strings.TrimPrefix(upper, "UN"), "LICEN") && !strings.HasPrefix(upper, "COPYING") || aside[m.Path] == e.Name() {
			continue
		}
		text, err := os.ReadFile(filepath.Join(m.Dir, e.Name()))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(hash, "%s %d\n%s", e.Name(), len(text), text)
		if isNotice {
			notice = e.Name()
			continue
		}
		name := licenceOf(string(text))
		if !slices.Contains(permitted, name) {
			wrong = fmt.Errorf("%s: %s is none of the licences that we take: %s", m.Path, e.Name(), strings.Join(permitted, ", "))
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		wrong = fmt.Errorf("%s has no file with its licence", m.Path)
	}
	slices.Sort(names)
	return fmt.Sprintf("| `%s` | %s | %s | `%.12x` |\n", m.Path, strings.Join(names, ", "), notice, hash.Sum(nil)), wrong
}

// TestDependencies: every module in the binary stands in the reviewed table, with the
// licence that it still has. A module that is new, and a licence whose text changed,
// fail until somebody has looked and written the table anew.
func TestDependencies(t *testing.T) {
	var want strings.Builder
	want.WriteString("\n| module | licence | notice | text |\n|---|---|---|---|\n")
	for _, m := range inBinary(t) {
		row, err := legal(m)
		if err != nil {
			t.Error(err)
		}
		want.WriteString(row)
	}
	want.WriteString("\n")
	if t.Failed() {
		return // the table is not written with a module that may not be there
	}
	b, err := os.ReadFile(dependencies)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, hasBegin := strings.Cut(string(b), tableBegin)
	got, after, hasEnd := strings.Cut(rest, tableEnd)
	if !hasBegin || !hasEnd {
		t.Fatalf("%s lacks the lines %q and %q", dependencies, tableBegin, tableEnd)
	}
	if *update {
		if err := os.WriteFile(dependencies, []byte(before+tableBegin+want.String()+tableEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want.String(), got); diff != "" {
		t.Errorf("the modules in the binary are not those that were reviewed; look at what is new, then run 'go test ./docs -run TestDependencies -update' (-is +reviewed):\n%s", diff)
	}
}

// TestLicences: what a text is taken for, and that what is not known is not taken.
func TestLicences(t *testing.T) {
	const mit = "MIT License\n\nCopyright (c) 2026 A\n\nPermission is hereby granted, free of charge, to any person …\nThe above copyright\nnotice and this permission notice shall be included"
	for name, test := range map[string]struct {
		files map[string]string
		row   string // the licence
		wrong string
	}{
		"MIT":            {map[string]string{"LICENSE": mit}, "MIT", ""},
		"two":            {map[string]string{"LICENSE": mit, "LICENSE-ISC.txt": "Permission to use, copy, modify, and distribute this software for any purpose with or without fee is hereby granted, provided that"}, "ISC, MIT", ""},
		"none":           {map[string]string{"README": mit}, "", "no file"},
		"an unknown one": {map[string]string{"LICENSE": "All rights reserved."}, "", "none of the licences"},
		"one of two":     {map[string]string{"LICENSE": mit, "LICENSE.old": "Business Source License 1.1"}, "", "none of the licences"},
		"copyleft":       {map[string]string{"COPYING": "GNU AFFERO GENERAL PUBLIC LICENSE\nVersion 3\nEveryone is permitted to copy"}, "", "none of the licences"},
		"code is none":   {map[string]string{"license.go": mit}, "", "no file"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range test.files {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			row, err := legal(module{"example.com/m", dir})
			if test.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), test.wrong) {
					t.Fatalf("got %q and %v, want an error with %q", row, err, test.wrong)
				}
				return
			}
			if err != nil || !strings.HasPrefix(row, "| `example.com/m` | "+test.row+" | — | `") {
				t.Errorf("got %q and %v, want %s", row, err, test.row)
			}
		})
	}
	a, b := t.TempDir(), t.TempDir()
	for dir, text := range map[string]string{a: mit, b: mit + " and one thing more"} {
		if err := os.WriteFile(filepath.Join(dir, "LICENSE"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	first, _ := legal(module{"m", a})
	second, _ := legal(module{"m", b})
	if first == second {
		t.Error("a changed text has the same row")
	}
}
