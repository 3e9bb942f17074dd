package concept

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/docs/saas"
)

func guaranteesNode() *tree.Node {
	return &tree.Node{
		Name: "guarantees",
		Line: "what is promised, what each promise rests on, where it ends, and which tests show it",
		Doc: "The promises of docs/saas/guarantees.md in its own words: a 2xx is a receipt, each event counts once, nothing vanishes, it degrades and says so, tenants are apart, the invoice is what happened. " +
			"Each says what it rests on, where it ends, and which tests hold it. The faults aspect, [of=faults], is the table of what was broken on purpose, with how many events were lost or doubled: 0 of either.",
		Synonyms: []string{"promises", "guarantee", "exactly once", "durability", "reliability", "sla", "commitments", "assurances", "what we promise", "proofs", "no data loss", "delivery semantics"},
		Affords: []tree.Affordance{{
			Aspect: agentese.Manifest, Line: "the promises with what they rest on and the tests that show them",
			Asks: []string{
				"what do we guarantee", "can an event be lost", "can an event be counted twice", "is it really exactly once", "what happens if nats dies", "what if redis is down", "how do we know that nothing is lost",
				"which tests prove it", "what do we promise our customers", "are tenants isolated", "what survives a crash", "where do the promises end", "which faults were tested", "is a 200 a receipt",
			},
			Examples: []tree.Example{
				{Expr: "concept.guarantees.manifest", Line: "all promises"},
				{Expr: "concept.guarantees.manifest[number=2]", Line: "the second in full"},
				{Expr: "concept.guarantees.manifest[of=faults]", Line: "what was broken on purpose, and what came of it"},
			},
			Params: []tree.Param{
				{Key: "number", Line: "only this promise, in full", Kind: tree.Number, Min: 1, Max: 99},
				{Key: "of", Line: "the promises, or the faults by which they were tried", Values: []string{"promises", "faults"}, Default: "promises"},
			},
			See: guarantees,
		}},
	}
}

// promise is a section of the page whose title has a number.
type promise struct {
	number int64
	title  string
	saas.Section
}

func promises() []promise {
	var out []promise
	for _, s := range saas.Sections(saas.Guarantees) {
		number, title, ok := strings.Cut(s.Title, ". ")
		if n, err := strconv.ParseInt(number, 10, 64); ok && err == nil {
			out = append(out, promise{n, title, s})
		}
	}
	return out
}

// point is the text of one of a promise's points: Rests on, Ends where, Tested by.
func (p promise) point(name string) string {
	_, rest, ok := strings.Cut(p.Body, "- **"+name+":**")
	if !ok {
		return ""
	}
	text, _, _ := strings.Cut(rest, "\n- **")
	text, _, _ = strings.Cut(text, "\n\n")
	return strings.TrimSpace(text)
}

// tests are the files and folders that a promise names as its tests.
func (p promise) tests() []string {
	var out []string
	for _, l := range saas.Links(p.point("Tested by")) {
		if path, ok := strings.CutPrefix(l.To, "../../"); ok {
			out = append(out, path)
		}
	}
	return out
}

func guarantees(_ context.Context, c *tree.Call) (tree.Value, error) {
	if c.Args.Get("of") == "faults" {
		return faults(), nil
	}
	all := promises()
	if n := int64(c.Args.Int("number")); n > 0 {
		for _, p := range all {
			if p.number == n {
				v := tree.Value{Title: p.title, Text: p.Body}
				v.Add("page", "docs/saas/"+saas.Guarantees+"#"+p.Anchor(), "")
				v.Then("concept.guarantees.manifest[of=faults]", "what was broken on purpose")
				return v, nil
			}
		}
		return tree.Value{}, &agentese.Error{Kind: agentese.KindClause, What: fmt.Sprintf("there are %d promises", len(all)), Try: []string{"concept.guarantees.manifest[number=1]"}}
	}
	v := tree.Value{Title: "What is promised", Table: &tree.Table{Columns: []tree.Column{{Name: "number"}, {Name: "promise"}, {Name: "says"}, {Name: "rests on"}, {Name: "ends where"}, {Name: "tests"}}}}
	for _, p := range all {
		says, _, _ := strings.Cut(p.Body, "\n\n")
		tests := strings.Join(p.tests(), ", ")
		if strings.Contains(p.point("Tested by"), "every row") {
			tests = strings.TrimSuffix("chaos (every fault), "+tests, ", ")
		} else if p.point("Tested by") == "" {
			tests = "chaos (every fault that has a sign in health)"
		}
		v.Table.Rows = append(v.Table.Rows, []any{p.number, p.title, saas.Plain(says), saas.Plain(p.point("Rests on")), saas.Plain(p.point("Ends where")), tests})
	}
	v.Add("promises", int64(len(all)), "")
	v.Add("page", "docs/saas/"+saas.Guarantees, "")
	v.Then("concept.guarantees.manifest[of=faults]", "what was broken on purpose, and what came of it")
	v.Then("void.shadow.manifest", "what no test and no alert covers")
	return v, nil
}

// faults is the page's table of what was tried, as `make chaos` has written it.
func faults() tree.Value {
	v := tree.Value{Title: "What was broken on purpose", State: tree.Well, Table: &tree.Table{}}
	rows := saas.Table(saas.Within(saas.Guarantees, "chaos"))
	for i, row := range rows {
		if i == 0 {
			for _, name := range row {
				v.Table.Columns = append(v.Table.Columns, tree.Column{Name: name})
			}
			continue
		}
		cells := make([]any, len(row))
		for j, cell := range row {
			cells[j] = strings.Trim(cell, "*")
			if n, err := strconv.ParseInt(cells[j].(string), 10, 64); err == nil {
				cells[j] = n
			}
		}
		if cells[0] == "all" { // the sum, which is no fault
			for j, name := range rows[0] {
				if name == "acknowledged" || name == "counted" || name == "lost" || name == "doubled" {
					v.Add(name, cells[j], "events")
					if (name == "lost" || name == "doubled") && cells[j] != int64(0) {
						v.State = tree.Bad
					}
				}
			}
			continue
		}
		v.Table.Rows = append(v.Table.Rows, cells)
	}
	v.Add("faults", int64(len(v.Table.Rows)), "")
	v.Note("Written by make chaos; this program was built with the page as it stood then.")
	return v
}
