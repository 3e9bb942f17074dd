package repl

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/agentese/match"
	"github.com/kgents/kgents/agentese/search"
	"github.com/kgents/kgents/agentese/tree"
)

// A script goes to places, has comments, stops at its first mistake with the line's
// number, and is never corrected.
func TestScript(t *testing.T) {
	for _, test := range []struct {
		name, script string
		keepGoing    bool
		failed       bool
		wrote        []string
		errs         []string
		not          string
	}{
		{name: "all well", script: "# morning\n\nworld.nats\nmanifest # look\n..\nredis.manifest\n", wrote: []string{"NATS", "Redis"}},
		{name: "windows", script: "world.nats.manifest\r\n", wrote: []string{"NATS"}},
		{name: "from an editor that marks the order of bytes", script: "\ufeffworld.nats.manifest\n", wrote: []string{"NATS"}},
		{name: "a line without an end", script: "world.nats.manifest\n" + strings.Repeat("a", 100_000) + "\n", failed: true, wrote: []string{"NATS"}, errs: []string{"script.txt:2 can't be read: a line has at most 10000 characters"}},
		{name: "a # in quotes", script: `world.customers.manifest[where="a # b=c"]`, failed: true, errs: []string{"script.txt:1 failed"}},
		{name: "stops", script: "world.nats.manifest\n\nworld.ciruit.manifest\nworld.redis.manifest\n", failed: true, wrote: []string{"NATS", "near", "world.nats.circuit.manifest"}, errs: []string{"script.txt:3 failed: world.ciruit.manifest"}, not: "Redis"},
		{name: "goes on", script: "world.ciruit.manifest\nworld.redis.manifest\n", keepGoing: true, failed: true, wrote: []string{"Redis"}, errs: []string{"script.txt:1"}},
		{name: "a change needs yes", script: "/observer admin\nworld.deadletter.refine[do=drop]\n", failed: true, wrote: []string{"[yes]"}},
		{name: "a change with yes", script: "/observer admin\nworld.deadletter.refine[do=drop][yes]\n", wrote: []string{"Done: drop"}},
		{name: "ends", script: "exit\nworld.nats.manifest\n", not: "NATS"},
		{name: "words", script: "where are keys kept\n", failed: true, wrote: []string{"world.redis.manifest"}, not: "Redis"},
		{name: "needs a terminal", script: "watch world.nats\n", failed: true, wrote: []string{"needs a terminal"}},
		{name: "nothing", script: "\n# nothing\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, nil)
			r.canned.corrections = map[string]match.Correction{"world.ciruit.manifest": {Verdict: match.Sure, Candidates: []match.Candidate{{Expr: "world.nats.circuit.manifest"}}}}
			r.canned.found = map[string][]search.Suggestion{"where are keys kept": {{Expr: "world.redis.manifest", Confident: true}}}
			err := r.Script(t.Context(), strings.NewReader(test.script), "script.txt", test.keepGoing)
			if errors.Is(err, ErrFailed) != test.failed {
				t.Errorf("the error is %v", err)
			}
			for _, w := range test.wrote {
				if !strings.Contains(r.out.String(), w) {
					t.Errorf("nothing of %q in:\n%s", w, r.out.String())
				}
			}
			for _, w := range test.errs {
				if !strings.Contains(r.errs.String(), w) {
					t.Errorf("nothing of %q in:\n%s", w, r.errs.String())
				}
			}
			if test.not != "" && strings.Contains(r.out.String(), test.not) {
				t.Errorf("%q is in:\n%s", test.not, r.out.String())
			}
		})
	}
}

// With --output json each command is a document, mistakes, too.
func TestJSON(t *testing.T) {
	r := newRig(t, func(o *Options) { o.JSON = true })
	err := r.Script(t.Context(), strings.NewReader("world.nats\nmanifest\nmanfest\n?\nworld.gone.manifest\nexit\n"), "-", true)
	if !errors.Is(err, ErrFailed) {
		t.Errorf("the error is %v", err)
	}
	type short struct {
		Line              int
		Input, Expr       string
		Place, Title      string
		Kind              string
		Pos, End          int
		HasValue, HasNote bool
	}
	var got []short
	for line := range strings.Lines(r.out.String()) {
		var d struct { // rows are objects by column there
			Line              int
			Input, Expression string
			Place             string
			Value             *struct{ Title string }
			Error             *Problem
		}
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		s := short{Line: d.Line, Input: d.Input, Expr: d.Expression, Place: d.Place, HasValue: d.Value != nil}
		if d.Value != nil {
			s.Title = d.Value.Title
		}
		if d.Error != nil {
			s.Kind, s.Pos, s.End = d.Error.Kind, d.Error.Pos, d.Error.End
		}
		got = append(got, s)
	}
	want := []short{
		{Line: 1, Input: "world.nats", Place: "world.nats"},
		{Line: 2, Input: "manifest", Expr: "world.nats.manifest", Place: "world.nats", Title: "NATS", HasValue: true},
		{Line: 3, Input: "manfest", Place: "world.nats", Kind: "path not found", Pos: 0, End: 7},
		{Line: 4, Input: "?", Place: "world.nats", Title: "world.nats: where events wait", HasValue: true},
		{Line: 5, Input: "world.gone.manifest", Expr: "world.gone.manifest", Place: "world.nats", Kind: "away", End: 19},
		{Line: 6, Input: "exit", Place: "world.nats"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// What is no terminal gets one look; what is away makes it fail.
func TestSnapshot(t *testing.T) {
	r := newRig(t, nil)
	if err := r.Snapshot(t.Context()); err != nil {
		t.Error(err)
	}
	if got := r.out.String(); !strings.Contains(got, "The system") || !strings.Contains(got, "Status") {
		t.Errorf("wrote %q", got)
	}
}

func TestCommands(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Observer = tree.Default })
	if err := r.Commands(t.Context(), []string{"world.nats", "manifest"}, false); err != nil {
		t.Error(err)
	}
	if err := r.Commands(t.Context(), []string{"nowhere", "world.redis.manifest"}, false); !errors.Is(err, ErrFailed) {
		t.Errorf("the error is %v", err)
	}
	if strings.Contains(r.out.String(), "Redis") {
		t.Error("it went on behind a mistake")
	}
}

// The document's table of commands is the shell's own.
func TestDocument(t *testing.T) {
	b, err := os.ReadFile("../../docs/shell.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range commandTable() {
		row := "| `" + strings.ReplaceAll(c.use, "|", `\|`) + "` | " + c.line + " |"
		if !strings.Contains(string(b), row) {
			t.Errorf("docs/shell.md has no line %s", row)
		}
	}
}
