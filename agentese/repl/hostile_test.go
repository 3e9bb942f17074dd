package repl

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/tree"
)

// JSON on a terminal moves no cursor either, and means what it meant.
func TestJSONMovesNoCursor(t *testing.T) {
	r := newRig(t, func(o *Options) { o.JSON = true })
	const odd = "a\u009b2Jb\u202ec\x7fd\x1be ü"
	if err := writeJSON(&r.out, map[string]string{"text": odd}); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(r.out.String(), "\u009b\u202e\x7f\x1b") {
		t.Errorf("%q", r.out.String())
	}
	var back map[string]string
	if err := json.Unmarshal(r.out.Bytes(), &back); err != nil || back["text"] != odd {
		t.Errorf("%q, %v", back, err)
	}
}

// A change that is interrupted is told with what was done, and is in the session as one
// that changed something.
func TestInterruptedChangeIsTold(t *testing.T) {
	r := newRig(t, nil).attended("y")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, n := range r.tree.Contexts[0].Children {
		for i := range n.Affords {
			if a := &n.Affords[i]; n.Name == "deadletter" && a.Change != nil {
				a.Change = func(context.Context, *tree.Call) (*tree.Change, error) {
					return &tree.Change{Does: []string{"it"}, Undo: func(context.Context) error { return nil }, Do: func(ctx context.Context) (tree.Value, error) {
						cancel()
						return *new(tree.Value).Add("replayed", int64(250), ""), ctx.Err()
					}}, nil
				}
			}
		}
	}
	r.session.Observer = tree.Admin
	_, err := r.Run(ctx, "world.deadletter.refine[do=replay]")
	e, ok := errors.AsType[*agentese.Error](err)
	if !ok || e.Kind != agentese.KindFailed || !strings.Contains(r.out.String(), "250") {
		t.Errorf("%v\n%s", err, r.out.String())
	}
	if c := r.ran(); !c[len(c)-1].Changed {
		t.Errorf("%+v", c)
	}
}
