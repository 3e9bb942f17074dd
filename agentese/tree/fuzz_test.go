package tree

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/term"
)

// Whatever is written runs or is refused at its place; what it gives can be shown and
// printed as JSON, and nothing is changed that was not agreed to.
func FuzzRun(f *testing.F) {
	for _, text := range []string{
		"world.customers.manifest[where=used>80][sort=-since][columns=name,used][first=2][law_check]",
		"world.customers.manifest[where=since>=yesterday] >> world.counter.lens >> concept.identity.manifest[minimal_output]",
		"world.customers.manifest >> world.plant.refine[replicas=3][rollback=1h][dry_run=false]@span=x",
		`world.town."a.b".citizens."\u001b[2J".affordances`, "world.args.manifest[for=1h30m][since=2026-01-31T08:00Z][percent=80%][phase=plan]",
		"void.entropy.sip[entropy=0.001] >> world.counter.manifest", "world.args.lens[by=type]", "world.moon.manifest", "world.customers.manifest[where=idle=1m]",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, input string) {
		e, err := agentese.Parse(input)
		if err != nil {
			return
		}
		tree, p := small(t)
		s := admin()
		s.Confirm = nil
		for _, step := range e.Steps {
			if strings.Contains(strings.ToLower(step.Path()), "broken") {
				return // waits for an interruption
			}
			for _, c := range step.Clauses {
				if strings.EqualFold(c.Key, "yes") {
					return // agreed to
				}
			}
		}
		v, err := tree.Run(t.Context(), e, s)
		if p.replicas != 1 {
			t.Fatalf("%q has changed something", input)
		}
		if err != nil {
			mistake, ok := errors.AsType[*agentese.Error](err)
			if !ok || mistake.Pos < 0 || mistake.Pos > mistake.End || mistake.End > len(input) || mistake.End == 0 {
				t.Fatalf("%q: %+v", input, err)
			}
			moveless(t, mistake.Show(input))
			return
		}
		if _, err := json.Marshal(v); err != nil {
			t.Fatalf("%q: %v", input, err)
		}
		moveless(t, rendered(t, v, term.Plain(), 40))
	})
}

// moveless fails if a terminal would obey something in a text.
func moveless(t *testing.T, text string) {
	t.Helper()
	if strings.ContainsFunc(strings.ReplaceAll(text, "\n", ""), func(r rune) bool {
		return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)
	}) {
		t.Fatalf("%q", text)
	}
}
