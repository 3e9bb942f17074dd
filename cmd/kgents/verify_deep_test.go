package main

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/verify/deep"
)

func TestPrintDeep(t *testing.T) {
	var b bytes.Buffer
	long := strings.Repeat("a pod that is not ready; ", 8)
	printDeep(&b, deep.Report{Took: 2 * time.Second, Lines: []deep.Line{
		{Check: "nats synced writes", Verdict: deep.Pass, Evidence: "all 3 servers"},
		{Check: "api pods", Verdict: deep.Fail, Evidence: long, Next: "look\x1b[2J at " + long},
		{Check: "redis", Verdict: deep.Unknown, Evidence: "not set", Next: "set REDIS_URL"},
		{Check: "backlog", Verdict: deep.Unknown, Evidence: "not set", Next: "set REDIS_URL"},
	}})
	out := b.String()
	for line := range strings.Lines(out) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 100 {
			t.Errorf("a line of %d columns: %s", n, line)
		}
	}
	for _, part := range []string{"✓ pass     nats synced writes  all 3 servers\n", "✗ fail     api pods ", "? unknown  redis", "→ set REDIS_URL\n", "→ as above\n",
		"\n✗  1 pass, 1 fail, 2 unknown, in 2.00s: unknown is no pass\n"} {
		if !strings.Contains(out, part) {
			t.Errorf("lacks %q:\n%s", part, out)
		}
	}
	if strings.Contains(out, "\x1b") {
		t.Errorf("a control character of a server's came through: %q", out)
	}
	b.Reset()
	printDeep(&b, deep.Report{OK: true, Took: time.Second, Lines: []deep.Line{{Check: "redis", Verdict: deep.Pass, Evidence: "there"}}})
	if !strings.HasSuffix(b.String(), "\n✓  all 1 checks pass, in 1.00s\n") {
		t.Errorf("says %q", b.String())
	}
}

func TestWrap(t *testing.T) {
	for text, want := range map[string][]string{
		"":              nil,
		"one":           {"one"},
		"one two three": {"one two", "three"},
		"muchtoolong a": {"muchtoolong", "a"},
		"éé éé éé éé":   {"éé éé", "éé éé"},
	} {
		if diff := cmp.Diff(want, wrap(text, 7)); diff != "" {
			t.Errorf("%q, -want +got:\n%s", text, diff)
		}
	}
}

// With nothing there to check, every line is said, and none passes.
func TestVerifyDeepOfNothing(t *testing.T) {
	alone(t)
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	t.Setenv("KGENTS_NAMESPACE", "")
	code, out, stderr := kgents(t, "verify", "--deep", "--timeout", "1s", "--url", closed(t), "--output", "json")
	var r deep.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if code != 1 || stderr != "" || r.OK || len(r.Lines) != 10 {
		t.Errorf("code %d, stderr %q, %+v", code, stderr, r)
	}
	for _, line := range r.Lines {
		if line.Verdict != deep.Unknown || line.Next == "" {
			t.Errorf("the line is %+v", line)
		}
	}
}

func TestVerifyDeepWrongFlags(t *testing.T) {
	alone(t)
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	for line, part := range map[string]string{
		"verify --namespace a":          "add it",
		"verify --context a":            "go with --deep",
		"verify --deep --timeout 0":     "--timeout must be more than 0",
		"verify --deep --output table2": "--output",
	} {
		code, out, stderr := kgents(t, strings.Fields(line)...)
		wantLine(t, code, out, stderr, part)
	}
}
