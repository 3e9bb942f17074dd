package repl

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/agentese/tree"
)

// Two shells at once keep all of each other's lines, and the file is bounded.
func TestHistoryOfTwoShells(t *testing.T) {
	dir := t.TempDir()
	var shells sync.WaitGroup
	for shell := range 2 {
		k, err := openKeep(dir)
		if err != nil {
			t.Fatal(err)
		}
		shells.Go(func() {
			for i := range 300 {
				if err := k.remember(entry{time.Unix(int64(i), 0), fmt.Sprintf("shell %d line %d", shell, i)}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	shells.Wait()
	k, err := openKeep(dir)
	if err != nil {
		t.Fatal(err)
	}
	all, err := k.history()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, e := range all {
		seen[e.line] = true
	}
	if len(all) != 600 || len(seen) != 600 {
		t.Errorf("%d lines, %d different ones", len(all), len(seen))
	}
}

func TestHistoryIsBounded(t *testing.T) {
	k, err := openKeep(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for i := range maxHistory + 1000 {
		fmt.Fprintf(&b, "2026-01-01T00:00:00Z\tline %d %s\n", i, strings.Repeat("x", 100))
	}
	b.WriteString("no line of a history\n2026-01-01T00:00:00Z\twith\x1b[2J\n")
	if err := os.WriteFile(k.path("history"), []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := k.remember(entry{time.Now(), "the newest"}); err != nil {
		t.Fatal(err)
	}
	kept, err := os.ReadFile(k.path("history"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(kept), "\n"); n != maxHistory {
		t.Errorf("%d lines are kept", n)
	}
	if !strings.HasSuffix(string(kept), "\tthe newest\n") || strings.Contains(string(kept), "\x1b") {
		t.Error("the newest is not the last, or what is no line is there")
	}
	for _, name := range []string{"history", "lock"} {
		if info, err := os.Stat(k.path(name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
	if info, err := os.Stat(k.dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory: %v %v", info, err)
	}
}

// What looks like a key is in no file; what only names one is.
func TestMask(t *testing.T) {
	for _, line := range []string{
		"world.customers.acme.manifest", "world.stripe.events.evt_1NG8Du2eZvKYlo2CUI79vXWy.manifest",
		"time.trace.0192f0c1-2b7e-7c61-9b36-5f0c6f9d2a11.manifest", "world.customers.acme.keys.refine[do=revoke][key=abcdefghij]",
		"world.deadletter.manifest[since=2026-01-01T00:00:00Z]",
	} {
		if got := mask(line); got != line {
			t.Errorf("%s became %s", line, got)
		}
	}
	for _, secret := range []string{
		"kg_abcdefghij_" + strings.Repeat("k7", 20), "kg_local_0123456789abcdef", "sk_test_4eC39HqLyjWDarjtT1zdp7dc", "rk_live_abc123", "whsec_MfKQ9r8GKYqrTwjU",
		"Bearer abc.def-ghi_jkl", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc", "password=hunter2", "https://user:hunter2@example.com", "api_key: hunter2",
		strings.Repeat("0a", 32), "AGE-SECRET-KEY-1QQQQQQQQQQQQQQQQQQQQ",
	} {
		line := "self.memory.refine[note=\"" + secret + "\"]"
		got := mask(line)
		if strings.Contains(got, secret) || !strings.Contains(got, masked) || strings.Contains(got, "hunter2") {
			t.Errorf("%s became %s", line, got)
		}
		r := newRig(t, nil)
		r.remember(line)
		b, err := os.ReadFile(r.keep.path("history"))
		if err != nil || strings.Contains(string(b), secret) {
			t.Errorf("the history has %s: %v", b, err)
		}
		_, _ = r.Run(t.Context(), line)
		if c := r.ran(); strings.Contains(c[len(c)-1].Line+c[len(c)-1].Error, secret) {
			t.Errorf("the session has %+v", c)
		}
	}
}

// The audit is put away when it is full, and only so many of it are kept.
func TestAuditIsBounded(t *testing.T) {
	k, err := openKeep(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for range keepAudits + 2 {
		if err := k.audit(tree.AuditEntry{Text: "first", Outcome: "begun"}); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(k.path("audit.jsonl"), maxAudit); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.audit(tree.AuditEntry{Text: "x[note=\"password=hunter2\"]", Does: []string{"sets password=hunter2"}, Error: "password=hunter2"}); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(k.dir, "audit*"))
	if err != nil || len(files) != keepAudits+1 {
		t.Errorf("%q, %v", files, err)
	}
	b, err := os.ReadFile(k.path("audit.jsonl"))
	if err != nil || strings.Contains(string(b), "hunter2") {
		t.Errorf("%s, %v", b, err)
	}
}

// The last session is taken up as far as it holds.
func TestRestore(t *testing.T) {
	for _, test := range []struct {
		name, file string
		change     func(*Options)
		place      string
		observer   tree.Observer
		said       string
	}{
		{name: "none"},
		{name: "a place", file: `{"place":["world","nats"],"observer":"default"}`, place: "world.nats", said: "back at world.nats"},
		{name: "a live place", file: `{"place":["world","customers","acme"],"observer":"default"}`, place: "world.customers.acme"},
		{name: "a place that was", file: `{"place":["world","rabbitmq"],"observer":"default"}`, said: "not there any more"},
		{name: "a higher observer", file: `{"place":[],"observer":"admin"}`, said: "/observer admin"},
		{name: "a higher observer, asked for", file: `{"place":[],"observer":"admin"}`, change: func(o *Options) { o.Restore = true }, observer: tree.Admin},
		{name: "another was named", file: `{"place":[],"observer":"admin"}`, change: func(o *Options) { o.Restore, o.Chosen, o.Observer = true, true, tree.Explorer }, observer: tree.Explorer},
		{name: "no observer", file: `{"place":[],"observer":"root"}`, said: "unknown"},
		{name: "corrupt", file: `{"place":`, said: "fresh"},
		{name: "of another shape", file: `["world"]`, said: "fresh"},
		{name: "hostile", file: `{"place":["world","\u001b[2J"],"observer":"default"}`, said: "not there any more"},
		{name: "too deep", file: `{"place":[` + strings.Repeat(`"a",`, 200) + `"a"],"observer":"default"}`, said: "too deep"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, test.change)
			if test.file != "" {
				if err := os.WriteFile(r.keep.path("session.json"), []byte(test.file), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			said := strings.Join(r.restore(), "\n")
			if got := strings.Join(r.Place(), "."); got != test.place {
				t.Errorf("the place is %q, want %q", got, test.place)
			}
			if r.Observer() != test.observer {
				t.Errorf("the observer is %s, want %s", r.Observer(), test.observer)
			}
			if !strings.Contains(said, test.said) || test.said == "" && strings.Contains(said, "not") {
				t.Errorf("said %q, want %q", said, test.said)
			}
		})
	}
}

// What was kept is found by the next shell.
func TestSessionIsKept(t *testing.T) {
	dir := t.TempDir()
	r := newRig(t, func(o *Options) { o.State = dir }).attended()
	for _, line := range []string{"world.nats", "/observer explorer"} {
		r.remember(line)
		if _, err := r.Run(t.Context(), line); err != nil {
			t.Fatal(err)
		}
	}
	next := newRig(t, func(o *Options) { o.State, o.Restore = dir, true })
	next.restore()
	if diff := cmp.Diff([]string{"world", "nats"}, next.Place()); diff != "" {
		t.Error(diff)
	}
	if next.Observer() != tree.Explorer {
		t.Errorf("the observer is %s", next.Observer())
	}
	if _, err := next.Run(t.Context(), "history nats"); err != nil || !strings.Contains(next.out.String(), "world.nats") || strings.Contains(next.out.String(), "explorer") {
		t.Errorf("%v, wrote:\n%s", err, next.out.String())
	}
}

// What others have named stands in the audit so that it moves no cursor of who reads it.
func TestAuditMovesNoCursor(t *testing.T) {
	k, err := openKeep(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	const odd = "drop bad\u202e[0].x\u009b2J <x>"
	if err := k.audit(tree.AuditEntry{Text: "x", Does: []string{odd}}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(k.path("audit.jsonl"))
	if err != nil || strings.ContainsAny(string(b), "\u202e\u009b") || strings.Count(string(b), "\n") != 1 {
		t.Errorf("the audit has %q, %v", b, err)
	}
	var back tree.AuditEntry
	if err := json.Unmarshal(b, &back); err != nil || back.Does[0] != odd {
		t.Errorf("it reads %+v, %v", back, err)
	}
}
