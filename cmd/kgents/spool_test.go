package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	root "github.com/kgents/kgents"
	"github.com/kgents/kgents/publish/spool"
	"github.com/kgents/kgents/stream"
)

// spoolIn is an open spool with messages of the given numbers of events, as a
// program that runs has it.
func spoolIn(t *testing.T, dir string, messages ...int) *spool.Spool {
	t.Helper()
	s, err := spool.Open(spool.Config{Dir: dir, MaxBytes: 1 << 20, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	for i, n := range messages {
		var events []root.Event
		for j := range n {
			events = append(events, root.Event{Raw: fmt.Appendf(nil, `{"id":"%d-%d"}`, i, j)})
		}
		if err := s.Append(stream.Encode(events, time.Now())); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

const firstSegment = "0000000000000001.seg"

// The directory is the one named, else SPOOL_DIR's, else the data directory's.
func TestSpoolDirectory(t *testing.T) {
	alone(t)
	dirs := map[string]string{}
	for i, name := range []string{"flag", "environment", "data"} {
		dirs[name] = t.TempDir()
		dir := dirs[name]
		if name == "data" {
			dir = filepath.Join(dir, "spool")
		}
		spoolIn(t, dir, i+1) // the number of events tells them apart
	}
	for _, test := range []struct {
		args   []string
		env    string
		events int
	}{
		{[]string{"--dir", dirs["flag"], "--data", dirs["data"]}, dirs["environment"], 1},
		{[]string{"--data", dirs["data"]}, dirs["environment"], 2},
		{[]string{"--data", dirs["data"]}, "", 3},
		{nil, "", 0}, // the default data directory, where nothing is yet
	} {
		t.Setenv("SPOOL_DIR", test.env)
		code, out, stderr := kgents(t, append([]string{"spool", "list", "--output", "json"}, test.args...)...)
		var got spoolReport
		if err := json.Unmarshal([]byte(out), &got); err != nil || code != 0 {
			t.Fatalf("%q: code %d, %v, %s%s", test.args, code, err, out, stderr)
		}
		if got.Events != test.events || got.Segments == nil {
			t.Errorf("%q with SPOOL_DIR=%q: %d events of %s, want %d", test.args, test.env, got.Events, got.Dir, test.events)
		}
	}
}

func TestSpoolList(t *testing.T) {
	alone(t)
	dir := t.TempDir()
	if code, out, _ := kgents(t, "spool", "list", "--dir", dir); code != 0 || !strings.Contains(out, "is empty") {
		t.Errorf("of an empty spool: code %d, %q", code, out)
	}
	s := spoolIn(t, dir, 3, 4)
	code, out, stderr := kgents(t, "spool", "list", "--dir", dir) // while it is open
	if code != 0 || stderr != "" {
		t.Fatalf("code %d, %s", code, stderr)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 2 || strings.Join(strings.Fields(lines[0]), " ") != "FILE MESSAGES EVENTS BYTES OLDEST" {
		t.Fatalf("the table is\n%s", out)
	}
	st := s.Status()
	want := fmt.Sprint(firstSegment, " 2 7 ", st.Bytes, " ", st.Oldest.UTC().Format(time.RFC3339))
	if got := strings.Join(strings.Fields(lines[1]), " "); got != want {
		t.Errorf("the row is %q, want %q", got, want)
	}
}

// Damage is an exit code of 1 and a place; a torn tail was never acknowledged and
// is told, no more. Nothing is changed by looking.
func TestSpoolVerify(t *testing.T) {
	for _, test := range []struct {
		name  string
		spoil func(content []byte) []byte
		code  int
		said  []string
		sound bool
	}{
		{"sound", func(b []byte) []byte { return b }, 0, []string{"sound", "✓"}, true},
		{"a torn tail", func(b []byte) []byte { return b[:len(b)-5] }, 0, []string{"torn tail of", "✓"}, true},
		{"a flipped bit", func(b []byte) []byte { b[60] ^= 4; return b }, 1, []string{"damaged at byte 0, for", "✗"}, false},
		{"a flipped bit and a torn tail", func(b []byte) []byte { b[60] ^= 4; return b[:len(b)-5] }, 1, []string{"damaged at byte 0", "torn tail of"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			alone(t)
			dir := t.TempDir()
			spoolIn(t, dir, 1, 1, 1)
			path := filepath.Join(dir, firstSegment)
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			content = test.spoil(content)
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			code, out, stderr := kgents(t, "spool", "verify", "--dir", dir)
			if code != test.code || stderr != "" {
				t.Errorf("code %d, stderr %q, want code %d", code, stderr, test.code)
			}
			for _, part := range test.said {
				if !strings.Contains(out, part) {
					t.Errorf("the output lacks %q:\n%s", part, out)
				}
			}
			code, out, _ = kgents(t, "spool", "verify", "--dir", dir, "--output", "json")
			var got spoolReport
			if err := json.Unmarshal([]byte(out), &got); err != nil || code != test.code || got.Sound != test.sound {
				t.Errorf("JSON: code %d, %v, %s", code, err, out)
			}
			if after, err := os.ReadFile(path); err != nil || string(after) != string(content) {
				t.Errorf("looking changed the file: %v", err)
			}
		})
	}
}

func TestSpoolMistakes(t *testing.T) {
	alone(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for line, part := range map[string]string{
		"spool list --dir nowhere":       "there is no directory nowhere",
		"spool verify --dir " + file:     "is no directory",
		"spool verify --output xml":      `--output "xml" is no format`,
		"spool verfy":                    "did you mean 'verify'?",
		"spool list extra":               "takes no arguments",
		"spool list --dir= --output xml": "name a directory",
	} {
		code, out, stderr := kgents(t, strings.Fields(line)...)
		wantLine(t, code, out, stderr, part)
	}
}
