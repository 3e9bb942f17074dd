package repl

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/match"
	"github.com/kgents/kgents/agentese/search"
	"github.com/kgents/kgents/agentese/tree"
)

// Places are gone to by name, dotted, spaced, slashed and mixed, whatever the case.
func TestMoving(t *testing.T) {
	for _, test := range []struct{ from, line, want string }{
		{"", "world", "world"},
		{"", "WORLD", "world"},
		{"", "world.nats", "world.nats"},
		{"", "world nats circuit", "world.nats.circuit"},
		{"", "world/nats.circuit", "world.nats.circuit"},
		{"", "World nats/Circuit", "world.nats.circuit"},
		{"", "/world/nats", "world.nats"},
		{"", "world.", "world"},
		{"world", "nats", "world.nats"},
		{"world", "nats.circuit", "world.nats.circuit"},
		{"world.nats", "..", "world"},
		{"world.nats", "../..", ""},
		{"world.nats", ".. ..", ""},
		{"world.nats", "../redis", "world.redis"},
		{"world.nats", ".. redis", "world.redis"},
		{"world.nats", ".", "world.nats"},
		{"world.nats", "./circuit", "world.nats.circuit"},
		{"world.nats", "/", ""},
		{"world.nats", "self.status", "self.status"},
		{"", "..", ""},
		{"world", "customers.acme", "world.customers.acme"},
		{"world", "customers.ACME.usage", "world.customers.acme.usage"},
		{"world.customers", "globex", "world.customers.globex"},
	} {
		r := newRig(t, nil)
		if test.from != "" {
			r.move(strings.Split(test.from, "."))
		}
		if _, err := r.Run(t.Context(), test.line); err != nil {
			t.Errorf("%q at %q: %v", test.line, test.from, err)
		}
		if got := strings.Join(r.Place(), "."); got != test.want {
			t.Errorf("%q at %q leads to %q, want %q", test.line, test.from, got, test.want)
		}
	}
}

// What is not there is not gone to, and is told at its exact place.
func TestMovingWrongly(t *testing.T) {
	for _, test := range []struct {
		from, line string
		at         string // what is underlined
	}{
		{"", "wrold", "wrold"},
		{"world", "  ciruit", "ciruit"},
		{"world.nats", "../nowhere", "nowhere"},
		{"world", "customers nobody", ""},
		{"world", "nats..circuit", "."},
		{"world", "nats manfest", "manfest"},
		{"world.nats", "manifest[x=1]", "[x=1]"},
		{"", "world.nats.manifest[first=none]", "none]"},
		{"", "world nats manifest >> self.status.manifst", "manifst"},
	} {
		r := newRig(t, nil)
		if test.from != "" {
			r.move(strings.Split(test.from, "."))
		}
		_, err := r.Run(t.Context(), test.line)
		e, ok := errors.AsType[*agentese.Error](err)
		if !ok {
			t.Errorf("%q at %q is taken", test.line, test.from)
			continue
		}
		if got := test.line[e.Pos:e.End]; got != test.at {
			t.Errorf("%q at %q points at %q (%d to %d), want %q: %v", test.line, test.from, got, e.Pos, e.End, test.at, e)
		}
		if got := strings.Join(r.Place(), "."); got != test.from {
			t.Errorf("%q at %q leads to %q", test.line, test.from, got)
		}
	}
}

// What a line comes to: run, corrected, offered or refused.
func TestDecision(t *testing.T) {
	const circuit = "world.nats.circuit.manifest"
	sure := match.Correction{Verdict: match.Sure, Candidates: []match.Candidate{{Expr: circuit, Score: .9, Why: "ciruit → circuit"}}}
	near := match.Correction{Verdict: match.Ask, Candidates: []match.Candidate{{Expr: circuit, Score: .7}, {Expr: "world.nats.manifest", Score: .6}}}
	drop := match.Correction{Verdict: match.Sure, Changes: true, Candidates: []match.Candidate{{Expr: "world.deadletter.refine[do=drop][yes]", Score: .9}}}
	found := []search.Suggestion{{Expr: "world.redis.manifest", Why: "it asks for keys", Confident: true}, {Expr: circuit}}
	for _, test := range []struct {
		name, line string
		correction match.Correction
		found      []search.Suggestion
		answers    []string
		alone      bool // nobody is there
		auto       bool
		want       string // what was run
		said       string // is in what was written
		dropped    bool
		failed     bool
		learnt     bool
	}{
		{name: "exact", line: circuit, want: circuit},
		{name: "with blanks", line: "world nats circuit manifest", want: circuit},
		{name: "in capitals", line: "WORLD.NATS.circuit.manifest", want: "WORLD.NATS.circuit.manifest"},
		{name: "a pipe", line: "world.redis.manifest >> concept.identity.manifest", want: "world.redis.manifest >> concept.identity.manifest"},
		{name: "surely meant", line: "world.ciruit.manifest", correction: sure, want: circuit, said: "ciruit → circuit"},
		{name: "picked", line: "circit", correction: near, answers: []string{"2"}, want: "world.nats.manifest", said: "Did you mean"},
		{name: "not picked", line: "circit", correction: near, answers: []string{""}, said: "nothing was run"},
		{name: "picked by nonsense", line: "circit", correction: near, answers: []string{"7"}, said: "nothing was run"},
		{name: "left by Ctrl-C", line: "circit", correction: near, failed: true},
		{name: "nobody to ask", line: "circit", correction: near, alone: true, failed: true, said: circuit},
		{name: "surely a change is only offered", line: "drop them", correction: drop, answers: []string{""}, said: "changes something"},
		{name: "a picked change asks, whatever its clause says", line: "drop them", correction: drop, answers: []string{"1", ""}, failed: true, want: "world.deadletter.refine[do=drop]"},
		{name: "y is no word", line: "drop them", correction: drop, answers: []string{"1", "y"}, failed: true, want: "world.deadletter.refine[do=drop]"},
		{name: "a picked change is done when confirmed", line: "drop them", correction: drop, answers: []string{"1", "drop"}, dropped: true, want: "world.deadletter.refine[do=drop]"},
		{name: "words, Enter", line: "where are keys kept", found: found, answers: []string{""}, want: "world.redis.manifest", said: "it asks for keys", learnt: true},
		{name: "words, no", line: "where are keys kept", found: found, answers: []string{"n"}, said: "nothing was run"},
		{name: "words, second", line: "where are keys kept", found: found, answers: []string{"2"}, want: circuit, learnt: true},
		{name: "words, by themselves", line: "where are keys kept", found: found, auto: true, want: "world.redis.manifest", learnt: true},
		{name: "words that mean nothing", line: "colourless green ideas", failed: true},
		{name: "too long", line: strings.Repeat("x", agentese.MaxInput+1), failed: true},
		{name: "a control character", line: "world\x1b[2J", failed: true},
		{name: "not open", line: "world.slow.refine", failed: true},
		{name: "away", line: "world.gone.manifest", failed: true, said: "the meter can't be asked", want: "world.gone.manifest"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, func(o *Options) { o.Observer, o.Auto = tree.Admin, test.auto })
			r.canned.corrections = map[string]match.Correction{test.line: test.correction}
			r.canned.found = map[string][]search.Suggestion{test.line: test.found}
			if !test.alone {
				r.attended(test.answers...)
			}
			out := r.do(t.Context(), test.line)
			if err := r.show(test.line, 0, out); err != nil {
				t.Fatal(err)
			}
			if got := out.expr; got != test.want {
				t.Errorf("ran %q, want %q", got, test.want)
			}
			if !strings.Contains(r.out.String(), test.said) {
				t.Errorf("nothing of %q in:\n%s", test.said, r.out.String())
			}
			if (out.err != nil) != test.failed {
				t.Errorf("the error is %v", out.err)
			}
			if (len(r.system.dropped) > 0) != test.dropped {
				t.Errorf("dropped: %q", r.system.dropped)
			}
			if (len(r.canned.learnt) > 0) != test.learnt {
				t.Errorf("learnt: %q", r.canned.learnt)
			}
			if strings.ContainsAny(r.out.String(), "\x1b\u202e") {
				t.Errorf("what would move the cursor: %q", r.out.String())
			}
		})
	}
}

// A change is shown and asked about: by y when it can be undone, else by its word; both
// times the audit has it.
func TestConfirmation(t *testing.T) {
	for _, test := range []struct {
		line   string
		answer string
		yes    bool
		done   string
		audit  []string
	}{
		{"world.deadletter.refine[do=replay]", "y", false, "replay", []string{"begun", "done"}},
		{"world.deadletter.refine[do=replay]", "", false, "", []string{"declined"}},
		{"world.deadletter.refine[do=replay]", "n", false, "", []string{"declined"}},
		{"world.deadletter.refine[do=drop]", "y", false, "", []string{"declined"}},
		{"world.deadletter.refine[do=drop]", "drop", false, "drop", []string{"begun", "done"}},
		{"world.deadletter.refine[do=drop][yes]", "", false, "drop", []string{"begun", "done"}},
		{"world.deadletter.refine[do=drop]", "", true, "drop", []string{"begun", "done"}},
		{"world.deadletter.refine[do=drop][dry_run=true]", "", false, "", nil},
	} {
		r := newRig(t, func(o *Options) { o.Observer, o.Yes = tree.Architect, test.yes }).attended(test.answer)
		_, _ = r.Run(t.Context(), test.line)
		if got := strings.Join(r.system.dropped, " "); got != test.done {
			t.Errorf("%s, %q: did %q, want %q", test.line, test.answer, got, test.done)
		}
		if diff := cmp.Diff(test.audit, auditOf(t, r.keep.dir)); diff != "" {
			t.Errorf("%s, %q: audit, -want +got:\n%s", test.line, test.answer, diff)
		}
	}
}

func auditOf(t *testing.T, dir string) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "audit.jsonl"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for line := range strings.Lines(string(b)) {
		var e tree.AuditEntry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		out = append(out, e.Outcome)
	}
	return out
}

// Without a directory for the audit nothing is changed.
func TestNoAuditNoChange(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, func(o *Options) { o.Observer, o.Yes, o.State = tree.Admin, true, filepath.Join(file, "state") })
	if _, err := r.Run(t.Context(), "world.deadletter.refine[do=drop]"); err == nil || len(r.system.dropped) > 0 {
		t.Errorf("changed without an audit: %v", err)
	}
	if _, err := r.Run(t.Context(), "world.nats.manifest"); err != nil {
		t.Errorf("looking needs no directory: %v", err)
	}
}

// ? lists what is here, for this observer.
func TestHere(t *testing.T) {
	r := newRig(t, nil)
	for line, want := range map[string][]string{
		"?":                             {"world", "self", "concept"},
		"/world/deadletter":             nil,
		"help":                          {"history", "/observer", "watch", "ambient", "exit"},
		"help changing":                 {"dry_run"},
		"help world.nats":               {"where events wait", doc},
		"help refine":                   {"world.deadletter"},
		"help >>":                       {"identity"},
		"/observer":                     {"architect", "replay"},
		"help world.deadletter.refine ": {"[do=replay|drop]", "[dry_run="},
	} {
		r.out.Reset()
		r.move(nil)
		if _, err := r.Run(t.Context(), line); err != nil {
			t.Errorf("%s: %v", line, err)
		}
		for _, w := range want {
			if !strings.Contains(r.out.String(), w) {
				t.Errorf("%s doesn't say %q:\n%s", line, w, r.out.String())
			}
		}
	}
	r.move([]string{"world", "deadletter"})
	r.out.Reset()
	_, _ = r.Run(t.Context(), "?")
	if got := r.out.String(); !strings.Contains(got, "refine: for architect and more") {
		t.Errorf("a closed aspect is not told:\n%s", got)
	}
	_, _ = r.Run(t.Context(), "/observer architect")
	r.out.Reset()
	_, _ = r.Run(t.Context(), "?")
	if got := r.out.String(); !strings.Contains(got, "replay or drop them") {
		t.Errorf("an open aspect is not listed:\n%s", got)
	}
	if _, err := r.Run(t.Context(), "/observer root"); err == nil {
		t.Error("root is an observer")
	}
}

// Ctrl-C stops what runs, and not the shell.
func TestStopped(t *testing.T) {
	r := newRig(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(time.Millisecond, cancel)
	if leave, err := r.Run(ctx, "world.slow.manifest"); leave || !errors.Is(err, context.Canceled) {
		t.Errorf("leave %t, %v", leave, err)
	}
	if !strings.Contains(r.out.String(), "stopped") {
		t.Errorf("wrote %q", r.out.String())
	}
	if got := r.ran(); len(got) != 1 || got[0].Outcome != "stopped" {
		t.Errorf("the session has %+v", got)
	}
}

// What the system says moves no cursor.
func TestHostile(t *testing.T) {
	r := newRig(t, nil)
	if _, err := r.Run(t.Context(), "world.hostile.manifest"); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(r.out.String(), "\x1b\u202e") {
		t.Errorf("wrote %q", r.out.String())
	}
}

// What was pasted together ends at a line for which nothing of what is offered was picked:
// the next may be a change that rests on it.
func TestNothingPickedEndsAPaste(t *testing.T) {
	r := newRig(t, nil)
	r.canned.corrections = map[string]match.Correction{"circit": {
		Verdict: match.Ask, Candidates: []match.Candidate{{Expr: "world.nats.circuit.manifest", Score: .7}, {Expr: "world.nats.manifest", Score: .6}},
	}}
	r.attended("n", "1")
	if leave, err := r.Run(t.Context(), "circit"); leave || !errors.Is(err, errNone) {
		t.Errorf("without a pick: %t, %v", leave, err)
	}
	if _, err := r.Run(t.Context(), "circit"); err != nil {
		t.Errorf("with one: %v", err)
	}
}

// Help on what is mistyped, or on a part of a path, is help: nothing is looked at for it.
func TestHelpNear(t *testing.T) {
	circuit := []match.Candidate{{Expr: "world.nats.circuit.manifest", Score: .9}, {Expr: "world.nats.manifest", Score: .8}}
	for _, test := range []struct {
		line    string
		c       match.Correction
		found   []search.Suggestion
		said    string // of what there is help
		near    []string
		refused bool
	}{
		{line: "help ciruit", c: match.Correction{Verdict: match.Sure, Candidates: circuit}, said: "world.nats.circuit: the circuit breaker"},
		{line: "help ciruit", c: match.Correction{Verdict: match.Ask, Candidates: circuit}, near: []string{"help world.nats", "help world.nats.circuit"}, refused: true},
		{line: "help letters", c: match.Correction{Verdict: match.Sure, Candidates: []match.Candidate{{Expr: "world.deadletter.refine[do=drop]"}}}, said: "world.deadletter: dead letters"},
		{line: "help me", found: []search.Suggestion{{Expr: "world.redis.manifest"}}, near: []string{"help world.redis"}, refused: true},
		{line: "help me", refused: true},
	} {
		r := newRig(t, nil).attended()
		about := strings.TrimPrefix(test.line, "help ")
		r.canned.corrections = map[string]match.Correction{about: test.c}
		r.canned.found = map[string][]search.Suggestion{about: test.found}
		_, err := r.Run(t.Context(), test.line)
		e, refused := errors.AsType[*agentese.Error](err)
		if refused != test.refused || !strings.Contains(r.out.String(), test.said) || len(r.asked) > 0 || strings.Contains(r.out.String(), "messages") {
			t.Errorf("%s: %v, asked %q:\n%s", test.line, err, r.asked, &r.out)
		}
		if refused && !slices.Equal(e.Related, test.near) {
			t.Errorf("%s: near are %q, want %q", test.line, e.Related, test.near)
		}
	}
}
