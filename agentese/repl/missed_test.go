package repl

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/match"
)

// A live name that is mistyped in an expression which is one otherwise is mended like any
// other mistake, in the path and as the value of a clause; in a script it is only told.
func TestMistypedLiveNames(t *testing.T) {
	for _, test := range []struct {
		line    string
		script  bool
		answers []string
		run     string   // what was run in the end; empty if nothing was
		said    []string // what was written, in this order
		never   string   // what wasn't
		near    string   // what a mistake has beside it
	}{
		{line: "world.customers.globx.manifest", run: "world.customers.globex.manifest", said: []string{"globx → globex", "Customer globex"}},
		{line: "world.customers.GLOBEX.manifest", run: "world.customers.globex.manifest", said: []string{"Customer globex"}},
		{line: "world.customers.globex.manifest", run: "world.customers.globex.manifest", said: []string{"Customer globex"}, never: "→ globex"},
		{line: "world.customers.acme-3.manifest", answers: []string{"1"}, run: "world.customers.acme-1.manifest", said: []string{"Did you mean", "acme-1"}},
		{line: "world.customers.acme-3.manifest", answers: []string{""}, said: []string{"Did you mean", "nothing was run"}},
		{line: "world.customers.zzzzzz.manifest", said: []string{"there is no customer zzzzzz"}},
		{line: "world.deadletter.manifest[customer=globx]", run: "world.deadletter.manifest[customer=globex]", said: []string{"globx → globex", "Dead letters"}},
		{line: "world.deadletter.manifest[customer=acme-3]", run: "world.deadletter.manifest[customer=acme-3]",
			said: []string{"Dead letters", "name that is not there", "world.deadletter.manifest[customer=acme-1]"}},
		{line: "world.deadletter.manifest[customer=globex][where=customer=x]", run: "world.deadletter.manifest[customer=globex][where=customer=x]", never: "not there"},
		{line: "world.deadletter.manifest[where=customer=x]", run: "world.deadletter.manifest[where=customer=x]", never: "not there"},
		{script: true, line: "world.customers.globx.manifest", said: []string{"there is no customer globx"}, near: "world.customers.globex.manifest"},
		{script: true, line: "world.deadletter.refien[do=drop][yes]", near: "world.deadletter.refine[do=drop]"},
		{script: true, line: "world.deadletter.manifest[customer=globx]", run: "world.deadletter.manifest[customer=globx]",
			said: []string{"Dead letters", "globx → globex", "world.deadletter.manifest[customer=globex]"}},
	} {
		r := newRig(t, nil)
		r.system.customers = []string{"globex", "acme-1"}
		r.match = match.New(r.tree)
		if r.strict = test.script; !r.strict {
			r.attended(test.answers...)
		}
		out := r.do(t.Context(), test.line)
		if err := r.show(test.line, 0, out); err != nil {
			t.Fatal(err)
		}
		wrote := r.out.String() + r.errs.String()
		ran := out.expr
		if out.err != nil || out.none {
			ran = ""
		}
		if ran != test.run {
			t.Errorf("%s has run %q, want %q:\n%s", test.line, ran, test.run, wrote)
		}
		rest := wrote
		for _, want := range test.said {
			_, behind, ok := strings.Cut(rest, want)
			if !ok {
				t.Errorf("%s doesn't say %q:\n%s", test.line, want, wrote)
			}
			rest = behind
		}
		if test.never != "" && strings.Contains(wrote, test.never) {
			t.Errorf("%s says %q:\n%s", test.line, test.never, wrote)
		}
		if test.near != "" {
			if e, ok := errors.AsType[*agentese.Error](out.err); !ok || !slices.Contains(e.Related, test.near) {
				t.Errorf("%s: %v has not %s near", test.line, out.err, test.near)
			}
		}
	}
}
