package void

import (
	"context"
	"regexp"
	"strings"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/concept"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/alerts"
	"github.com/kgents/kgents/alerts/dashboard"
	"github.com/kgents/kgents/checklist"
	"github.com/kgents/kgents/docs/saas"
	"github.com/kgents/kgents/failpoint"
)

func shadowNode() *tree.Node {
	return &tree.Node{
		Name: "shadow",
		Line: "what is neither tested nor covered by an alert",
		Doc: "What would go wrong unseen, worked out from what this program was built with: metrics that no alert, no recording and no panel of the dashboard looks at; alerts that no fire drill has made fire, each with the reason; " +
			"items of the checklist that no program looks at; places where a crash was never tried; error codes that no document names. A short shadow is good. What stands here by choice has its reason beside it; what has none is worth a test or an alert.",
		Synonyms: []string{"blind spots", "gaps", "coverage", "untested", "unmonitored", "what we miss", "unknown unknowns", "holes", "weak spots", "risk", "uncovered", "missing tests", "missing alerts"},
		Affords: []tree.Affordance{{
			Aspect: agentese.Manifest, Line: "metrics, alerts, checks, faults and codes that nothing covers",
			Asks: []string{
				"what are our blind spots", "what is not tested", "what is not monitored", "which metrics have no alert", "which alerts were never tried", "where are the gaps in our monitoring",
				"what would we not notice", "what is not covered", "which checks are manual only", "test coverage of alerts", "what could go wrong unseen", "where are we flying blind", "what did we forget", "risks before launch",
			},
			Examples: []tree.Example{
				{Expr: "void.shadow.manifest", Line: "all of it"},
				{Expr: "void.shadow.manifest[of=metrics]", Line: "metrics that nothing looks at"},
				{Expr: "void.shadow.manifest[of=alerts]", Line: "alerts that were never made to fire"},
			},
			Params: []tree.Param{{Key: "of", Line: "tests: checks by hand, crashes never tried, codes not explained; alerts: those never made to fire; metrics: those that nothing looks at", Values: []string{"tests", "alerts", "metrics"}}},
			See:    shadow,
		}},
	}
}

// dark is something in the shadow.
type dark struct {
	of    string // tests, alerts or metrics
	what  string
	lacks string
	why   string // the reason that is written down; empty without one
}

func shadow(_ context.Context, c *tree.Call) (tree.Value, error) {
	all, err := shadows()
	if err != nil {
		return tree.Value{}, err
	}
	out := tree.Value{Title: "What is neither tested nor covered", State: tree.Well, Table: &tree.Table{Columns: []tree.Column{{Name: "of"}, {Name: "what"}, {Name: "lacks"}, {Name: "why"}}}}
	counts, unexplained := map[string]int64{}, int64(0)
	for _, d := range all {
		if c.Args.Has("of") && c.Args.Get("of") != d.of {
			continue
		}
		counts[d.of]++
		var why any = d.why
		if d.why == "" {
			unexplained++
			why = nil
		}
		out.Table.Rows = append(out.Table.Rows, []any{d.of, d.what, d.lacks, why})
	}
	if unexplained > 0 {
		out.State = tree.Warn
	}
	for _, of := range []string{"tests", "alerts", "metrics"} {
		if !c.Args.Has("of") || c.Args.Get("of") == of {
			out.Add(of, counts[of], "")
		}
	}
	out.Add("without a reason", unexplained, "")
	out.Note("Worked out from the rules, the dashboard, the documents and the checklist that this program was built with. It knows no tests of packages: the project's own run those.")
	out.Then("concept.guarantees.manifest[of=faults]", "which faults were tried")
	out.Then("concept.alerts.manifest", "which alerts there are")
	return out, nil
}

// shadows is all of it: tests, then alerts, then metrics.
func shadows() ([]dark, error) {
	rules, err := alerts.Rules()
	if err != nil {
		return nil, err
	}
	list, err := checklist.Default()
	if err != nil {
		return nil, err
	}
	panels, err := dashboard.Make()
	if err != nil {
		return nil, err
	}
	out := byHand(list)
	out = append(out, untriedCrashes()...)
	out = append(out, unnamedCodes()...)
	out = append(out, undrilled(rules)...)
	return append(out, unseenMetrics(rules, string(panels))...), nil
}

// byHand are the items of the checklist that no program looks at.
func byHand(l checklist.List) []dark {
	var out []dark
	for _, i := range l.Items() {
		if !i.Automatic {
			out = append(out, dark{"tests", i.ID + ": " + i.Title, "a check by the program", "a person signs for it, and keeps: " + i.Keep})
		}
	}
	return out
}

// untriedCrashes are the places where a crash can be made, and no row of the table of
// faults has made one.
func untriedCrashes() []dark {
	table := saas.Within(saas.Guarantees, "chaos")
	var out []dark
	for _, place := range failpoint.Places() {
		if !regexp.MustCompile(`\b` + regexp.QuoteMeta(place) + `\b`).MatchString(table) {
			out = append(out, dark{"tests", "a crash at " + place, "a row in the table of faults", ""})
		}
	}
	return out
}

// unnamedCodes are the codes of errors that no document names.
func unnamedCodes() []dark {
	var out []dark
	for _, code := range kgents.Codes() {
		named := false
		for _, page := range saas.Documents() {
			named = named || strings.Contains(saas.Text(page), "`"+string(code)+"`")
		}
		if !named {
			out = append(out, dark{"tests", "the error code " + string(code), "a document that names it", ""})
		}
	}
	return out
}

// undrilled are the alerts that no fire drill has made fire, with the reason that the
// page of alerts gives.
func undrilled(rules alerts.File) []dark {
	fired := map[string]bool{}
	for _, row := range saas.Table(saas.Within(saas.Alerts, "firedrill")) {
		fired[row[0]] = true
	}
	reasons := map[string]string{}
	_, rest, _ := strings.Cut(saas.Text(saas.Alerts), "<!-- /firedrill -->")
	for point := range strings.SplitSeq(rest, "\n- ") {
		names, reason, ok := strings.Cut(point, "`: ")
		if !ok {
			continue
		}
		for _, name := range rules.Names() {
			if strings.Contains(names+"`", "`"+name+"`") {
				reason, _, _ := strings.Cut(reason, "\n\n")
				reasons[name] = saas.Plain(reason)
			}
		}
	}
	var out []dark
	for _, name := range rules.Names() {
		if !fired[name] {
			out = append(out, dark{"alerts", name, "a scene of the fire drill", reasons[name]})
		}
	}
	return out
}

// unseenMetrics are the program's own that no rule and no panel looks at. The Go
// runtime's are there for whoever looks into a process.
func unseenMetrics(rules alerts.File, panels string) []dark {
	seen := map[string]bool{}
	var all []alerts.Rule
	for r := range rules.All() {
		all = append(all, r)
	}
	for _, name := range concept.MetricNames(all...) {
		seen[name] = true
	}
	for _, name := range concept.MetricNames(alerts.Rule{Expr: panels}) {
		seen[name] = true
	}
	var out []dark
	for _, m := range concept.Metrics() {
		if strings.HasPrefix(m.Name, "kgents_") && !seen[m.Name] {
			out = append(out, dark{"metrics", m.Name, "an alert, a recording or a panel", ""})
		}
	}
	return out
}
