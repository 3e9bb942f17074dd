package tree

import (
	"fmt"
	"slices"
	"strings"
	"time"

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
		if c.Name == "" || c.Name != strings.ToLower(c.Name) || agentese.QuoteName(c.Name) != c.Name {
			bad("has a child %q, which is not lower case or needs quotes", c.Name)
		}
		if slices.Contains(n.Aspects(), agentese.Aspect(c.Name)) {
			bad("has a child with the name of an aspect that it has: %s", c.Name)
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
		if either := (a.See == nil) != (a.Change == nil); either != (a.Changes == nil) || a.See == nil && a.Change == nil {
			bad("%s must either see or change, or say by its clauses which", a.Aspect)
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
		wrong = append(wrong, checkParams(p.Pattern, a)...)
	}
	return wrong
}

// own says that a node may have a parameter of its own instead of the common one: a
// node that knows phases says which there are.
func own(key string) bool { return key == "phase" }

// checkParams says what is wrong with an affordance's parameters.
func checkParams(pattern string, a Affordance) []string {
	var wrong []string
	bad := func(format string, args ...any) {
		wrong = append(wrong, fmt.Sprintf("%s.%s has a parameter ", pattern, a.Aspect)+fmt.Sprintf(format, args...))
	}
	taken := map[string]bool{}
	for _, q := range commonOf(&a) {
		taken[q.Key] = !own(q.Key)
	}
	for _, q := range a.Params {
		if taken[q.Key] {
			bad("%s twice, or it is one that all have", q.Key)
		}
		taken[q.Key] = true
		if q.Key == "" || q.Key != strings.ToLower(q.Key) || agentese.QuoteName(q.Key) != q.Key {
			bad("%q, which is not lower case or needs quotes", q.Key)
		}
		if q.Line == "" {
			bad("%s without a line", q.Key)
		}
		if q.Default != "" {
			if _, err := q.Check(q.Default, time.Unix(0, 0)); err != nil {
				bad("%s whose default is wrong: %v", q.Key, err)
			}
		}
	}
	return wrong
}
