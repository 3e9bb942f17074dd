package world

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/alerts"
)

// limit is an alert's threshold.
type limit struct {
	op       string
	value    float64
	severity string
}

// limits are the thresholds of alerts/rules.yaml by the alerts' names.
type limits map[string][]limit

// comparison is one with a number, which may be a product: < 3 * 86400.
var comparison = regexp.MustCompile(`(==|>=|<=|>|<)\s*([0-9.]+(?:\s*\*\s*[0-9.]+)*)`)

// readLimits reads the comparison by which each alert fires: the last one, or of
// alternatives (or) the first.
func readLimits() limits {
	out := limits{}
	file, err := alerts.Rules()
	if err != nil {
		return out // then nothing has a verdict
	}
	for r := range file.Alerts() {
		all := comparison.FindAllStringSubmatch(r.Expr, -1)
		if len(all) == 0 {
			continue
		}
		one := all[len(all)-1]
		if regexp.MustCompile(`\bor\b`).MatchString(r.Expr) {
			one = all[0]
		}
		v := 1.0
		for _, factor := range strings.Split(one[2], "*") {
			f, err := strconv.ParseFloat(strings.TrimSpace(factor), 64)
			if err != nil {
				continue
			}
			v *= f
		}
		out[r.Alert] = append(out[r.Alert], limit{one[1], v, r.Severity()})
	}
	return out
}

func (l limit) crossed(v float64) bool {
	switch l.op {
	case ">":
		return v > l.value
	case ">=":
		return v >= l.value
	case "<":
		return v < l.value
	case "<=":
		return v <= l.value
	}
	return v == l.value
}

// verdict is what an alert would say of a figure: Bad where a critical one would fire,
// Warn where a warning would, once its time has passed. It is nothing for a figure that
// isn't known or an alert that isn't there.
func (l limits) verdict(alert string, figure any) tree.State {
	v, ok := number(figure)
	if !ok || len(l[alert]) == 0 {
		return ""
	}
	state := tree.Well
	for _, one := range l[alert] {
		switch {
		case !one.crossed(v):
		case one.severity == "critical":
			return tree.Bad
		default:
			state = tree.Warn
		}
	}
	return state
}

func number(v any) (float64, bool) {
	switch n := v.(type) {
	case int64:
		return float64(n), true
	case float64:
		return n, true
	}
	return 0, false
}

// stateOf sorts a status of /health/saas as /health does.
func stateOf(status, mode string) tree.State {
	switch status {
	case "ok", "healthy":
		return tree.Well
	case "disconnected", "circuit_open":
		if mode == "fallback" {
			return tree.Warn // events are safe on local disk
		}
		return tree.Bad
	case "error":
		return tree.Bad
	case "degraded", "unhealthy", "fallback", "unconfigured":
		return tree.Warn
	case "":
		return tree.Unknown
	}
	return "" // disabled, starting
}

// worse is the worse of several; what isn't known is not worse than what is bad.
func worse(states ...tree.State) tree.State {
	rank := map[tree.State]int{"": 0, tree.Well: 1, tree.Unknown: 2, tree.Warn: 3, tree.Bad: 4}
	out := tree.State("")
	for _, s := range states {
		if rank[s] > rank[out] {
			out = s
		}
	}
	return out
}

// counted is a label's value with what was counted for it.
type counted struct {
	key   string
	value float64
}

// sorted has the most first.
func sorted(by map[string]float64) []counted {
	var out []counted
	for k, v := range by {
		out = append(out, counted{k, v})
	}
	slices.SortFunc(out, func(a, b counted) int { return cmp.Or(cmp.Compare(b.value, a.value), cmp.Compare(a.key, b.key)) })
	return out
}

// isOpening says whether an entry of the history is that the circuit opened.
func isOpening(what string) bool { return strings.HasSuffix(what, " is open") }
