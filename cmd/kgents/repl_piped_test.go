package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What is piped in is a script; nothing, or /dev/null, is none, and gets one look.
func TestReplPiped(t *testing.T) {
	alone(t)
	for _, test := range []struct {
		name, lines string
		code        int
		out, errs   string
	}{
		{"lines", "world.nats\n# a comment\n?\n", 0, "consumer", ""},
		{"the first that fails ends it", "nowhere.manifest\nhelp\n", 1, "path not found", "standard input:1 failed"},
		{"nothing", "", 1, "away", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "lines")
			if err := os.WriteFile(file, []byte(test.lines), 0o600); err != nil {
				t.Fatal(err)
			}
			in, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			before := os.Stdin
			defer func() { os.Stdin = before }()
			os.Stdin = in
			code, out, errs := kgents(t, "repl", "--url", "http://127.0.0.1:1", "--state", t.TempDir())
			if code != test.code || !strings.Contains(out, test.out) || !strings.Contains(errs, test.errs) || strings.Contains(out, "AGENTESE") {
				t.Errorf("code %d, want %d; out %q; stderr %q", code, test.code, out, errs)
			}
		})
	}
}

// A file of a key that isn't there is told by the flag that named it.
func TestKeyFileIsNotThere(t *testing.T) {
	alone(t)
	code, _, errs := kgents(t, "repl", "--key-file", filepath.Join(t.TempDir(), "nothing"), "-c", "help")
	if code != 2 || !strings.Contains(errs, "--key-file: there is no such file") {
		t.Errorf("code %d: %s", code, errs)
	}
}
