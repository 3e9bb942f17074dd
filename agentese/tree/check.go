package tree

import (
	"fmt"
	"strings"

	"github.com/kgents/kgents/agentese"
)

// check says what is wrong with a node.
func (t *Tree) check(p Place) []string {
	var wrong []string
	bad := func(format string, args ...any) { wrong = append(wrong, p.Pattern+" "+fmt.Sprintf(format, args...)) }
	n := p.Node
	if n.Line == "" || strings.HasSuffix(n.Line, ".") {
		bad("has no line, or one that ends with a full stop")
	}
	if len(n.Doc) < 40 {
		bad("has no paragraph")
	}
	if len(n.Synonyms) == 0 {
		bad("has no synonyms")
	}
	names := map[string]bool{}
	for _, c := range n.Children {
		if agentese.Aspect(c.Name).Known() {
			bad("has a child with an aspect's name: %s", c.Name)
		}
		if names[c.Name] {
			bad("has two children %s", c.Name)
		}
		names[c.Name] = true
	}
	seen := map[agentese.Aspect]bool{}
	for _, a := range n.Affords {
		if !a.Aspect.Known() || seen[a.Aspect] {
			bad("has an unknown or repeated aspect %s", a.Aspect)
		}
		seen[a.Aspect] = true
		if (a.See == nil) == (a.Change == nil) {
			bad("%s must either see or change", a.Aspect)
		}
		if a.Line == "" {
			bad("%s has no line", a.Aspect)
		}
		if len(a.Examples) == 0 {
			bad("%s has no example", a.Aspect)
		}
		for _, e := range a.Examples {
			x, err := agentese.Parse(e.Expr)
			if err != nil {
				bad("%s has an example that does not parse: %v", a.Aspect, err)
			} else if x.String() != e.Expr {
				bad("%s has an example that is not in its canonical form, which is %s", a.Aspect, x)
			}
		}
		keys := map[string]bool{}
		for _, q := range append(append([]Param(nil), a.Params...), common...) {
			if keys[q.Key] {
				bad("%s has the parameter %s twice, or it is one that all have", a.Aspect, q.Key)
			}
			keys[q.Key] = true
			if q.Line == "" {
				bad("%s has a parameter %s without a line", a.Aspect, q.Key)
			}
		}
	}
	return wrong
}
