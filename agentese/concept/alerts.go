package concept

import (
	"cmp"
	"context"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/alerts"
	"github.com/kgents/kgents/docs/saas"
)

func (v *view) alertsNode() *tree.Node {
	return &tree.Node{
		Name: "alerts",
		Line: "the alert rules: what each watches, from when it fires, and how urgent it is",
		Doc: "The rules of alerts/rules.yaml, which is what Prometheus is given: expression, threshold, how long it must hold, severity and what a paged person reads. Critical wakes somebody, warning waits for the working day, none is for machines. " +
			"This says when alerts would fire; whether one fires now is world.alerts. The define aspect of one is its section of the runbook.",
		Synonyms: []string{"alarms", "alert rules", "alerting rules", "thresholds", "pages", "monitors", "warnings", "prometheus rules", "paging policy", "notifications", "severities", "triggers"},
		Affords: []tree.Affordance{{
			Aspect: agentese.Manifest, Line: "all alert rules with severity, time and meaning",
			Asks: []string{
				"which alerts exist", "what alerts do we have", "list the alert rules", "what would wake me up at night", "what is monitored", "which alerts are critical",
				"what are the thresholds", "when do we get paged", "is there an alert for the backlog", "do we have an alert for dead letters", "what do we alert on", "alarm definitions", "what triggers a page",
			},
			Examples: []tree.Example{
				{Expr: "concept.alerts.manifest", Line: "all rules"},
				{Expr: "concept.alerts.manifest[severity=critical]", Line: "what wakes somebody"},
			},
			Params: []tree.Param{
				{Key: "severity", Line: "only this severity", Values: []string{"critical", "warning", "none"}},
				{Key: "like", Line: "only where name, meaning or expression has this word", Kind: tree.Text},
			},
			See: listAlerts,
		}},
		Live: &tree.Live{
			List: func(context.Context, *tree.Call) ([]tree.Entry, error) {
				f, err := rules()
				if err != nil {
					return nil, err
				}
				var out []tree.Entry
				for _, name := range f.Names() {
					out = append(out, tree.Entry{Name: name, Line: meaning(name)})
				}
				return out, nil
			},
			Text: func(name string) string {
				s, _ := saas.Find(saas.Runbook, strings.ToLower(name))
				return s.Title
			},
			Fold: true,
			Node: v.alertNode(),
		},
	}
}

func (v *view) alertNode() *tree.Node {
	return &tree.Node{
		Name: "alert",
		Line: "one alert rule: what it watches, its threshold, and why",
		Doc: "The rule as Prometheus has it: the expression, the threshold in it, how long it must hold before it fires, its severity, and the words that a paged person gets. Some alerts have two rules, for a warning and for what is critical. " +
			"The define aspect gives its section of the runbook: what it means, what it costs, how to confirm and mend it.",
		Synonyms: []string{"alarm", "rule", "threshold", "trigger", "condition", "monitor", "page", "warning"},
		Affords: []tree.Affordance{
			{
				Aspect: agentese.Manifest, Line: "rule, threshold, time, severity and why",
				Asks: []string{
					"when does this alert fire", "what is the threshold of this alert", "why do we have this alert", "what does natscircuitopen watch", "show the expression of an alert", "how long until it pages",
					"how urgent is this alert", "is this alert critical", "what condition triggers it", "which metric does the alert use", "who is told when it fires", "what is deadlettersgrowing", "explain the rule",
				},
				Examples: []tree.Example{{Expr: "concept.alerts.NATSCircuitOpen.manifest", Line: "one rule"}},
				See:      oneAlert,
			},
			{
				Aspect: agentese.Define, Line: "its section of the runbook: what it means and what to do",
				Asks: []string{
					"what does this alert mean", "what do i do when this alert fires", "how do i mend this alert", "runbook of this alert", "i got paged for this alert", "what does natscircuitopen mean",
					"what does this alert cost us", "is money lost when this fires", "how do i confirm the alert", "when is it over", "explain pipelinestalled to me", "what to do about reconcilemissingevents", "help, this alert fires",
				},
				Examples: []tree.Example{{Expr: "concept.alerts.NATSCircuitOpen.define", Line: "what to do about it"}},
				See: func(_ context.Context, c *tree.Call) (tree.Value, error) {
					rules, err := rulesOf(c.Name("alert"))
					if err != nil {
						return tree.Value{}, err
					}
					s, err := runbookSection(rules[0].Anchor())
					if err != nil {
						return tree.Value{}, err
					}
					return sectionValue(s), nil
				},
			},
		},
	}
}

// rules are those that this program was built with.
var rules = sync.OnceValues(alerts.Rules)

func listAlerts(_ context.Context, c *tree.Call) (tree.Value, error) {
	f, err := rules()
	if err != nil {
		return tree.Value{}, err
	}
	out := tree.Value{Title: "Alert rules", Table: &tree.Table{Columns: []tree.Column{{Name: "alert", Link: "concept.alerts.{}"}, {Name: "severity"}, {Name: "for"}, {Name: "component"}, {Name: "means"}}}}
	counts := map[string]int64{}
	like := strings.ToLower(c.Args.Get("like"))
	for r := range f.Alerts() {
		if c.Args.Has("severity") && r.Severity() != c.Args.Get("severity") || !strings.Contains(strings.ToLower(r.Alert+" "+meaning(r.Alert)+" "+r.Expr), like) {
			continue
		}
		counts[r.Severity()]++
		out.Table.Rows = append(out.Table.Rows, []any{r.Alert, r.Severity(), cmp.Or(r.For, "at once"), r.Labels["component"], meaning(r.Alert)})
	}
	out.Add("rules", int64(len(out.Table.Rows)), "").Add("critical", counts["critical"], "").Add("warning", counts["warning"], "")
	out.Then("world.alerts.manifest", "which of them fire now")
	out.Then("concept.alerts.{alert}.define", "what to do about one")
	return out, nil
}

// meaning is the first sentence of an alert's section of the runbook.
func meaning(alert string) string {
	s, ok := saas.Find(saas.Runbook, strings.ToLower(alert))
	if !ok {
		return ""
	}
	return begins(s.Body)
}

// rulesOf are the rules of an alert's name, with any case.
func rulesOf(name string) ([]alerts.Rule, error) {
	f, err := rules()
	if err != nil {
		return nil, err
	}
	rules := slices.DeleteFunc(slices.Collect(f.Alerts()), func(r alerts.Rule) bool { return !strings.EqualFold(r.Alert, name) })
	if len(rules) == 0 {
		return nil, &agentese.Error{Kind: agentese.KindNotFound, What: "there is no alert " + agentese.QuoteName(name), Try: []string{"concept.alerts.manifest"}}
	}
	return rules, nil
}

// threshold is what an expression compares with, of its last comparison.
var threshold = regexp.MustCompile(`(==|!=|>=|<=|>|<)\s*(?:bool\s+)?([-+0-9.e]+(?:\s*\*\s*[0-9.]+)*)`)

// inserted is what Prometheus puts a value into.
var inserted = regexp.MustCompile(`\{\{[^}]*\}\}`)

func oneAlert(_ context.Context, c *tree.Call) (tree.Value, error) {
	all, err := rulesOf(c.Name("alert"))
	if err != nil {
		return tree.Value{}, err
	}
	name := all[0].Alert
	out := tree.Value{Title: name, Table: &tree.Table{Columns: []tree.Column{{Name: "severity"}, {Name: "for"}, {Name: "threshold"}, {Name: "expression"}, {Name: "says"}}}}
	for _, r := range all {
		var limit any
		if found := threshold.FindAllStringSubmatch(r.Expr, -1); len(found) > 0 {
			last := found[len(found)-1]
			limit = last[1] + " " + last[2]
		}
		out.Table.Rows = append(out.Table.Rows, []any{r.Severity(), cmp.Or(r.For, "at once"), limit, strings.Join(strings.Fields(r.Expr), " "), inserted.ReplaceAllString(r.Annotations["summary"], "…")})
	}
	out.Text = inserted.ReplaceAllString(all[0].Annotations["description"], "…")
	out.Add("component", all[0].Labels["component"], "").Add("means", meaning(name), "")
	if s, ok := saas.Find(saas.Runbook, all[0].Anchor()); ok {
		out.Add("runbook", "docs/saas/"+saas.Runbook+"#"+s.Anchor(), "")
	}
	out.Then("concept.alerts."+agentese.QuoteName(name)+".define", "what it means and what to do")
	out.Then("world.alerts."+agentese.QuoteName(name)+".manifest", "whether it fires now")
	for _, m := range MetricNames(all...) {
		out.Then("concept.metrics."+agentese.QuoteName(m)+".manifest", "a metric that it looks at")
	}
	return out, nil
}
