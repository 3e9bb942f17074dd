package repl

import (
	"strings"
	"testing"

	"github.com/kgents/kgents/agentese/agentesetest"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
)

// The live view's figures are ones that a real program has; the shell's own session
// and observer are context self's.
func TestAgainstAProgram(t *testing.T) {
	program := agentesetest.Start(t, agentesetest.Options{})
	r := newRig(t, func(o *Options) {
		o.Tree = nil
		o.Sources = &living.Sources{API: program.Client, HTTP: program.Client.HTTP}
	})
	r.attended("y")
	for _, x := range vitals {
		out := r.do(t.Context(), x.path+".manifest")
		if _, ok := fieldOf(out.value, x.field); !ok {
			t.Errorf("%s has no %q: %v", x.path, x.field, out.err)
		}
	}
	v := newView(r.Shell)
	v.look(t.Context(), 100, watchEvery)
	lines := strings.Join(v.look(t.Context(), 100, watchEvery), "\n")
	for _, want := range []string{"nats", "requests", "backlog", "q leaves"} {
		if !strings.Contains(lines, want) {
			t.Errorf("the live view has no %q:\n%s", want, lines)
		}
	}
	if h := r.look(t.Context()); h.state != "ok" || h.parts["nats"] != "healthy" {
		t.Errorf("the system is %+v", h)
	}
	for _, line := range []string{"/observer explorer", "self.session.refine[observer=developer]", "self.session.witness", "world.customers", "?"} {
		if _, err := r.Run(t.Context(), line); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	if r.Observer() != tree.Developer {
		t.Errorf("the observer is %s", r.Observer())
	}
	if !strings.Contains(r.out.String(), "/observer explorer") {
		t.Errorf("the session's history has no command:\n%s", r.out.String())
	}
}
