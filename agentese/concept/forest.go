package concept

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/checklist"
)

func (v *view) forestNode() *tree.Node {
	return &tree.Node{
		Name: "forest",
		Line: "the rollout plan: the checklist by phase, from PLAN to OPERATE, with what is open",
		Doc: "The production checklist as a plan: what is decided (PLAN), found out (RESEARCH), built (IMPLEMENT), looked over (QA), tried out (TEST), put in place (DEPLOY) and seen to as long as it runs (OPERATE). " +
			"A sprint is a piece of the plan: its tracks with what came of them, and its items of the checklist. With a phase or a sprint the items are listed; without, a line for each phase. " +
			"Open is what a person has to sign and hasn't; what a program looks at is not guessed here: kgents checklist looks.",
		Synonyms: []string{"rollout plan", "roadmap", "project plan", "sprint", "phases", "plan", "milestones", "progress", "backlog of work", "what is next", "work plan", "n-phase cycle", "timeline to launch"},
		Affords: []tree.Affordance{{
			Aspect: agentese.Manifest, Line: "each phase with what is open in it, or one phase or sprint in full",
			Asks: []string{
				"what is the plan", "where are we in the rollout", "which phase are we in", "what is left in the test phase", "what is next on the roadmap", "show the sprint", "what came of phase 5",
				"what do we have to do to deploy", "what is open in operate", "how far along are we", "what did the agent town sprint deliver", "what belongs to wave 3", "project status", "what remains before we ship",
			},
			Examples: []tree.Example{
				{Expr: "concept.forest.manifest", Line: "a line for each phase"},
				{Expr: "concept.forest.manifest[phase=PLAN][sprint=saas_phase5_operate]@span=saas_operate", Line: "what a sprint has to decide"},
				{Expr: "concept.forest.manifest[sprint=agent_town_saas]", Line: "a sprint with what came of it"},
				{Expr: "concept.forest.manifest[phase=OPERATE][open]", Line: "what is open in a phase"},
			},
			Params: []tree.Param{
				{Key: "phase", Line: "only this phase, with its items", Values: phaseNames()},
				{Key: "sprint", Line: "only what belongs to this sprint, with what came of it", Values: sprintNames()},
				{Key: "open", Line: "true: only what a person has to sign and hasn't; false: only what is signed", Kind: tree.Flag},
			},
			See: v.forest,
		}},
	}
}

func sprintNames() []string {
	var out []string
	for _, s := range sprints {
		out = append(out, s.id)
	}
	return out
}

// meanings say what is done in a phase.
var meanings = map[checklist.Phase]string{
	checklist.Plan:      "what is decided, and by whom",
	checklist.Research:  "what is found out before anything is built on it",
	checklist.Implement: "what is built and configured",
	checklist.QA:        "what is looked over",
	checklist.Test:      "what is tried out, failures included",
	checklist.Deploy:    "what is in place when it runs",
	checklist.Operate:   "what is seen to for as long as it runs",
}

func (v *view) forest(_ context.Context, c *tree.Call) (tree.Value, error) {
	l, err := v.items(c.Now())
	if err != nil {
		return tree.Value{}, err
	}
	i := slices.IndexFunc(sprints, func(s sprint) bool { return s.id == c.Args.Get("sprint") })
	chosen := slices.DeleteFunc(l.choose(c.Args), func(it checklist.Item) bool { return i >= 0 && !sprints[i].has(it) })
	out := tree.Value{Title: "Rollout by phase"}
	var names []string
	if c.Args.Has("phase") {
		p := checklist.Phase(c.Args.Get("phase"))
		names = append(names, string(p)+": "+meanings[p])
		out.Add("phase", string(p), "")
	}
	if i >= 0 {
		names = append(names, sprints[i].title)
		out.Add("sprint", sprints[i].id, "")
		out.Text = sprints[i].text(l, chosen)
	}
	out.Title = cmp.Or(strings.Join(names, " · "), out.Title)
	if len(names) == 0 && !c.Args.Has("open") {
		l.phases(&out, chosen)
	} else {
		out.Table = &tree.Table{Columns: itemColumns}
		l.fill(&out, chosen)
	}
	l.note(&out)
	if i >= 0 {
		seen := map[string]bool{}
		for _, t := range sprints[i].tracks {
			for _, expr := range t.see {
				if !seen[expr] {
					seen[expr] = true
					out.Then(expr, t.title)
				}
			}
		}
	} else {
		for _, name := range sprintNames() {
			out.Then("concept.forest.manifest[sprint="+name+"]", "a sprint with what came of it")
		}
	}
	out.Then("concept.checklist.manifest[blocking][open]", "what blocks the launch")
	return out, nil
}

// phases is a line for each phase.
func (l items) phases(v *tree.Value, all []checklist.Item) {
	v.Table = &tree.Table{Columns: []tree.Column{{Name: "phase"}, {Name: "is"}, {Name: "items"}, {Name: "blocking"}, {Name: "automatic"}, {Name: "signed"}, {Name: "open"}}}
	open := int64(0)
	for _, p := range checklist.Phases() {
		counts, blocking := map[string]int64{}, int64(0)
		for _, i := range all {
			if i.Phase != p {
				continue
			}
			state, _ := l.stand(i)
			counts[state]++
			counts["all"]++
			if i.Blocking {
				blocking++
			}
		}
		var stillOpen any = counts["open"]
		if l.unread != nil {
			stillOpen = nil
		}
		open += counts["open"]
		v.Table.Rows = append(v.Table.Rows, []any{string(p), meanings[p], counts["all"], blocking, counts["automatic"], counts["signed"], stillOpen})
	}
	v.Add("items", int64(len(all)), "")
	if l.unread == nil {
		v.Add("open", open, "")
	}
	v.Then("concept.forest.manifest[phase=PLAN]", "a phase with its items")
}

// text is what came of a sprint, track by track, and how many of the chosen items belong
// to each.
func (s sprint) text(l items, chosen []checklist.Item) string {
	var b strings.Builder
	for _, t := range s.tracks {
		weight := ""
		if t.weight > 0 {
			weight = fmt.Sprintf(" (%d %%)", t.weight)
		}
		fmt.Fprintf(&b, "- **%s**%s: %s", t.title, weight, strings.Join(t.made, ", "))
		count, open := 0, 0
		for _, i := range chosen {
			if t.has(i) {
				count++
				if state, _ := l.stand(i); state == "open" {
					open++
				}
			}
		}
		if count > 0 {
			fmt.Fprintf(&b, "; %d of its items are below, %d of them open", count, open)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// count is how many entries a holon of concept has; 0 where that says nothing.
func (v *view) count(name string) int {
	switch name {
	case "guarantees":
		return len(promises())
	case "alerts":
		entries, _ := v.alertsNode().Live.List(context.Background(), nil)
		return len(entries)
	case "runbook":
		return len(runbookSections())
	case "docs":
		return len(docPages())
	case "checklist":
		l, _ := list()
		return len(l.Items())
	case "forest":
		return len(checklist.Phases())
	case "metrics":
		return len(Metrics())
	case "plans":
		return len(defined)
	case "laws":
		return len(laws)
	}
	return 0
}
