package concept

import (
	"bufio"
	"bytes"
	"context"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/alerts"
	"github.com/kgents/kgents/docs/saas"
)

func (v *view) metricsNode() *tree.Node {
	return &tree.Node{
		Name: "metrics",
		Line: "every metric: what it means, its type and labels, and its value now",
		Doc: "What GET /metrics says, as docs/saas/metrics.md explains it, with the value now, as this process has it. A metric that isn't known is absent, never 0 and never old: then its dependency is away, or nothing has happened yet. " +
			"Of a histogram the mean since the start is shown. In a cluster each process has its own figures; what Prometheus adds up is in world and time.",
		Synonyms: []string{"measurements", "counters", "gauges", "histograms", "prometheus metrics", "telemetry", "instrumentation", "series", "kpis", "stats", "monitoring data", "/metrics"},
		Affords: []tree.Affordance{{
			Aspect: agentese.Manifest, Line: "all metrics with meaning and value now",
			Asks: []string{
				"which metrics are there", "what do we measure", "list all metrics", "show the counters", "is there a metric for the backlog", "what does /metrics say", "find a metric about stripe",
				"which gauge shows the circuit", "what is the value of a metric now", "prometheus metric names", "what metrics do we export", "how do we measure latency", "what can i put on a dashboard",
			},
			Examples: []tree.Example{
				{Expr: "concept.metrics.manifest", Line: "all metrics"},
				{Expr: "concept.metrics.manifest[like=spool]", Line: "those with this word"},
			},
			Params: []tree.Param{
				{Key: "like", Line: "only where name or meaning has this word", Kind: tree.Text},
				{Key: "type", Line: "only this type", Values: []string{"counter", "gauge", "histogram", "summary"}},
			},
			See: v.listMetrics,
		}},
		Live: &tree.Live{
			List: func(context.Context, *tree.Call) ([]tree.Entry, error) {
				var out []tree.Entry
				for _, m := range Metrics() {
					out = append(out, tree.Entry{Name: m.Name, Line: m.Meaning})
				}
				return out, nil
			},
			Text: func(string) string { return "" }, // the line says it all
			Node: &tree.Node{
				Name: "metric",
				Line: "one metric: meaning, type, unit, labels, and its value now",
				Doc: "What one metric means, which roles of the program have it, its labels, its value now for each of them, and which alerts look at it. " +
					"A value that is absent is not 0: what it is read from is away, or nothing has happened yet.",
				Synonyms: []string{"measurement", "counter", "gauge", "histogram", "series", "figure", "number", "stat"},
				Affords: []tree.Affordance{{
					Aspect: agentese.Manifest, Line: "meaning, type, labels, value now, and the alerts on it",
					Asks: []string{
						"what does this metric mean", "what is the value of kgents_backlog_messages", "explain kgents_nats_circuit_state", "current value of a gauge", "which alerts use this metric", "which labels does it have",
						"what unit is this metric in", "is it a counter or a gauge", "why is this metric absent", "which process exports it", "what is kgents_deadletters_waiting", "how high is the counter now",
					},
					Examples: []tree.Example{{Expr: "concept.metrics.kgents_backlog_messages.manifest", Line: "one metric"}},
					See:      v.oneMetric,
				}},
			},
		},
	}
}

// Metric is what docs/saas/metrics.md says of one.
type Metric struct {
	Name, Type, Labels, Unit, Roles, Meaning string
}

// Metrics are all of the page: the program's own first, then the runtime's. They are
// shared: don't change them.
func Metrics() []Metric { return readMetrics() }

var readMetrics = sync.OnceValue(func() []Metric {
	var out []Metric
	for _, part := range []string{"metrics", "runtime"} {
		for i, row := range saas.Table(saas.Within(saas.Metrics, part)) {
			if i > 0 && len(row) == 6 {
				out = append(out, Metric{strings.Trim(row[0], "`"), row[1], row[2], row[3], row[4], saas.Plain(row[5])})
			}
		}
	}
	return out
})

// sample is a line of the text format.
type sample struct {
	labels string
	value  float64
}

var sampleLine = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{.*\})? ([^ ]+)`)

// now reads the program's metrics, by name.
func (v *view) now(ctx context.Context, c *tree.Call) (map[string][]sample, error) {
	text, err := v.from.For(c).Bytes(ctx, http.MethodGet, "/metrics", nil, nil)
	if err != nil {
		return nil, err
	}
	out := map[string][]sample{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		m := sampleLine.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		if f, err := strconv.ParseFloat(m[3], 64); err == nil {
			out[m[1]] = append(out[m[1]], sample{strings.Trim(m[2], "{}"), f})
		}
	}
	return out, lines.Err()
}

// value is a metric's in one figure: a counter's over its labels, a histogram's mean,
// a gauge's only one. It is nil where that says nothing.
func (m Metric) value(now map[string][]sample) any {
	sum := func(name string) (total float64, n int) {
		for _, s := range now[name] {
			total += s.value
		}
		return total, len(now[name])
	}
	switch m.Type {
	case "histogram", "summary":
		total, n := sum(m.Name + "_sum")
		count, _ := sum(m.Name + "_count")
		if n == 0 || count == 0 {
			return nil
		}
		return total / count
	case "counter":
		if total, n := sum(m.Name); n > 0 {
			return total
		}
	default:
		if all := now[m.Name]; len(all) == 1 {
			return all[0].value
		}
	}
	return nil
}

func (v *view) listMetrics(ctx context.Context, c *tree.Call) (tree.Value, error) {
	out := tree.Value{Title: "Metrics", Table: &tree.Table{Columns: []tree.Column{{Name: "metric", Link: "concept.metrics.{}"}, {Name: "type"}, {Name: "value"}, {Name: "unit"}, {Name: "labels"}, {Name: "means"}}}}
	now, err := v.now(ctx, c)
	if err != nil {
		out.Note("The values now are missing: " + living.Away("/metrics", err).Error())
	}
	like := strings.ToLower(c.Args.Get("like"))
	several := false
	for _, m := range Metrics() {
		if c.Args.Has("type") && c.Args.Get("type") != m.Type || !strings.Contains(strings.ToLower(m.Name+" "+m.Meaning), like) {
			continue
		}
		value := m.value(now)
		several = several || value == nil && len(now[m.Name]) > 1
		out.Table.Rows = append(out.Table.Rows, []any{m.Name, m.Type, value, m.Unit, m.Labels, m.Meaning})
	}
	out.Add("metrics", int64(len(out.Table.Rows)), "")
	out.Note("A counter's value is over all its labels, a histogram's the mean since the start of the process that answered.")
	if several {
		out.Note("A gauge with several labels has a value for each: concept.metrics.{metric}.manifest shows them.")
	}
	out.Then("void.shadow.manifest[of=metrics]", "metrics that no alert, recording or dashboard uses")
	return out, nil
}

func (v *view) oneMetric(ctx context.Context, c *tree.Call) (tree.Value, error) {
	all := Metrics()
	i := slices.IndexFunc(all, func(m Metric) bool { return strings.EqualFold(m.Name, c.Name("metric")) })
	if i < 0 {
		return tree.Value{}, &agentese.Error{Kind: agentese.KindNotFound, What: "there is no metric " + agentese.QuoteName(c.Name("metric")), Try: []string{"concept.metrics.manifest[like=" + agentese.QuoteName(c.Name("metric")) + "]"}}
	}
	m := all[i]
	out := tree.Value{Title: m.Name, Text: m.Meaning}
	now, err := v.now(ctx, c)
	if err != nil {
		out.Add("value", nil, m.Unit)
		out.Note("The value now is missing: " + living.Away("/metrics", err).Error())
	} else {
		out.Add("value", m.value(now), m.Unit)
		if m.Type == "histogram" {
			if count := now[m.Name+"_count"]; len(count) > 0 {
				total := 0.0
				for _, s := range count {
					total += s.value
				}
				out.Add("observations", int64(total), "")
			}
			out.Note("The value of a histogram is the mean since the process was started.")
		}
		if samples := now[m.Name]; len(samples) > 1 || len(samples) == 1 && samples[0].labels != "" {
			out.Table = &tree.Table{Columns: []tree.Column{{Name: "labels"}, {Name: "value"}}}
			for _, s := range samples {
				out.Table.Rows = append(out.Table.Rows, []any{s.labels, s.value})
			}
		} else if len(samples) == 0 && m.Type != "histogram" && m.Type != "summary" {
			out.Note("It is absent now: what it is read from is away or not set up, or nothing has happened yet.")
		}
	}
	out.Add("type", m.Type, "").Add("unit", m.Unit, "").Add("labels", m.Labels, "").Add("roles", m.Roles, "")
	used := alertsOn(m.Name)
	out.Add("alerts", strings.Join(used, ", "), "")
	for _, name := range used {
		out.Then("concept.alerts."+agentese.QuoteName(name)+".manifest", "an alert that looks at it")
	}
	return out, nil
}

var (
	named    = regexp.MustCompile(`\b(?:kgents|process|go)_[a-z0-9_]+\b`)
	recorded = regexp.MustCompile(`\b[a-z]+:[a-z0-9_]+:[a-z0-9_]+\b`)
)

// MetricNames are the program's metrics that rules look at, by the recordings that they
// use, too; each once, sorted.
func MetricNames(of ...alerts.Rule) []string {
	f, err := rules()
	if err != nil {
		return nil
	}
	records := map[string]string{}
	for r := range f.All() {
		if r.Record != "" {
			records[r.Record] = r.Expr
		}
	}
	found, seen := map[string]bool{}, map[string]bool{}
	var look func(expr string)
	look = func(expr string) {
		for _, record := range recorded.FindAllString(expr, -1) {
			if !seen[record] {
				seen[record] = true
				look(records[record])
			}
			expr = strings.ReplaceAll(expr, record, " ")
		}
		for _, name := range named.FindAllString(expr, -1) {
			if inner, ok := records[name]; ok && !seen[name] {
				seen[name] = true
				look(inner)
				continue
			}
			found[name] = true
		}
	}
	for _, r := range of {
		look(r.Expr)
	}
	var out []string
	for _, m := range Metrics() {
		if found[m.Name] || found[m.Name+"_bucket"] || found[m.Name+"_count"] || found[m.Name+"_sum"] {
			out = append(out, m.Name)
		}
	}
	return out
}

// alertsOn are the alerts that look at a metric.
func alertsOn(name string) []string {
	f, err := rules()
	if err != nil {
		return nil
	}
	var out []string
	for r := range f.Alerts() {
		if !slices.Contains(out, r.Alert) && slices.Contains(MetricNames(r), name) {
			out = append(out, r.Alert)
		}
	}
	return out
}
