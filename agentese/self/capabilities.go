package self

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/tree"
)

func capabilitiesNode() *tree.Node {
	return &tree.Node{
		Name: "capabilities",
		Line: "what this observer may do, and what another could",
		Doc: "Every path of the tree with what can be done there, the least observer who may, and whether that is you. It comes from the tree itself, so nothing is missing from it. " +
			"What says no needs another observer: switch with /observer NAME, or self.session.refine[observer=…]. Some paths also want an operator's API key: with a customer's key the server refuses them, whoever looks.",
		Synonyms: []string{"permissions", "rights", "abilities", "what can i do", "allowed", "access", "roles", "privileges", "commands", "affordances", "features", "menu", "help list"},
		Affords: []tree.Affordance{{
			Aspect: agentese.Manifest, Line: "all that can be done, who may, and whether that is open to you",
			Asks: []string{
				"what can i do", "what am i allowed to do", "which commands are there", "list everything i can run", "what are my permissions", "why am i not allowed",
				"what could an admin do", "who may replay dead letters", "what does architect add", "show all paths", "what rights do i have", "which observer do i need", "what can be changed here", "list all changes that are possible",
			},
			Examples: []tree.Example{
				{Expr: "self.capabilities.manifest", Line: "everything, and what is open to you"},
				{Expr: "self.capabilities.manifest[aspect=refine]", Line: "what can be changed, and by whom"},
				{Expr: "self.capabilities.manifest[observer=admin][like=customers]", Line: "what an admin could do with customers"},
			},
			Params: []tree.Param{
				{Key: "observer", Line: "as this observer rather than as you", Values: observerNames()},
				{Key: "aspect", Line: "only this aspect", Values: aspectNames()},
				{Key: "like", Line: "only where the path or what it does has this word", Kind: tree.Text},
				{Key: "open", Line: "true: only what is open; false: only what is not", Kind: tree.Flag},
			},
			See: capabilities,
		}},
	}
}

func observerNames() []string {
	var out []string
	for _, o := range tree.Observers() {
		out = append(out, o.String())
	}
	return out
}

func aspectNames() []string {
	var out []string
	for _, a := range agentese.Aspects() {
		out = append(out, string(a))
	}
	return out
}

func capabilities(_ context.Context, c *tree.Call) (tree.Value, error) {
	who := c.Observer
	if c.Args.Has("observer") {
		o, err := tree.ParseObserver(c.Args.Get("observer"))
		if err != nil {
			return tree.Value{}, err
		}
		who = o
	}
	t := &tree.Table{Columns: []tree.Column{{Name: "path"}, {Name: "aspect"}, {Name: "what"}, {Name: "observer"}, {Name: "open"}, {Name: "key"}}}
	open, all := 0, 0
	next := map[tree.Observer]int{}
	for _, p := range c.Tree.Places() {
		operator := p.Node.Operator || slices.ContainsFunc(p.Above, func(n *tree.Node) bool { return n.Operator })
		for _, a := range p.Node.Affords {
			all++
			may := who.May(a)
			if may {
				open++
			} else {
				next[a.Least()]++
			}
			if c.Args.Has("aspect") && c.Args.Get("aspect") != string(a.Aspect) || c.Args.Has("open") && c.Args.Flag("open") != may ||
				!strings.Contains(strings.ToLower(p.Pattern+" "+a.Line), strings.ToLower(c.Args.Get("like"))) {
				continue
			}
			key := "any"
			if operator {
				key = "operator"
			}
			t.Rows = append(t.Rows, []any{p.Pattern, string(a.Aspect), a.Line, a.Least().String(), may, key})
		}
	}
	v := tree.Value{Title: "What " + who.String() + " may do", Table: t}
	v.Add("observer", who.String(), "").Add("open", int64(open), "").Add("of", int64(all), "")
	for _, o := range tree.Observers() {
		if n := next[o]; n > 0 {
			v.Add("more as "+o.String(), int64(n), "")
		}
	}
	v.Note("Every path also has define and affordances, open to all.")
	if who < tree.Admin {
		v.Then(fmt.Sprintf("self.capabilities.manifest[observer=%s][open=false]", who), "what is not open to "+who.String())
	}
	v.Then("self.session.manifest", "who you are now")
	return v, nil
}
