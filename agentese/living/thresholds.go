package living

import (
	"context"
	"errors"
	"regexp"
	"strconv"
	"strings"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/alerts"
	"github.com/kgents/kgents/trace"
)

// Threshold is the comparison by which an alert fires.
type Threshold struct {
	Op       string // >, >=, <, <= or ==
	Value    float64
	Severity string
}

// Thresholds are those of alerts/rules.yaml, by the alerts' names.
type Thresholds map[string][]Threshold

// comparison is one with a number, which may be a product: < 3 * 86400.
var comparison = regexp.MustCompile(`(==|>=|<=|>|<)\s*([0-9.]+(?:\s*\*\s*[0-9.]+)*)`)

// ReadThresholds reads them out of the rules that this program was built with.
func ReadThresholds() Thresholds {
	out := Thresholds{}
	file, err := alerts.Rules()
	if err != nil {
		return out // then nothing has a verdict
	}
	for r := range file.Alerts() {
		at := deciding(r.Expr)
		if at == nil {
			continue
		}
		v := 1.0
		for _, factor := range strings.Split(r.Expr[at[4]:at[5]], "*") {
			f, err := strconv.ParseFloat(strings.TrimSpace(factor), 64)
			if err != nil {
				continue
			}
			v *= f
		}
		out[r.Alert] = append(out[r.Alert], Threshold{r.Expr[at[2]:at[3]], v, r.Severity()})
	}
	return out
}

// deciding is the comparison by which an alert fires: the last one, or of alternatives
// (an or outside of all parentheses) the first. nil without one.
func deciding(expr string) []int {
	all := comparison.FindAllStringSubmatchIndex(expr, -1)
	if len(all) == 0 {
		return nil
	}
	for _, m := range either.FindAllStringIndex(expr, -1) {
		if strings.Count(expr[:m[0]], "(") == strings.Count(expr[:m[0]], ")") {
			return all[0]
		}
	}
	return all[len(all)-1]
}

var either = regexp.MustCompile(`\bor\b`)

// Crossed says whether a figure is past the threshold.
func (t Threshold) Crossed(v float64) bool {
	switch t.Op {
	case ">":
		return v > t.Value
	case ">=":
		return v >= t.Value
	case "<":
		return v < t.Value
	case "<=":
		return v <= t.Value
	}
	return v == t.Value
}

// Verdict is what an alert would say of a figure, an int64 or a float64: Bad where a
// critical one would fire, Warn where a warning would, once its time has passed. It is
// nothing for a figure that isn't known or an alert that isn't there.
func (t Thresholds) Verdict(alert string, figure any) tree.State {
	var v float64
	switch n := figure.(type) {
	case int64:
		v = float64(n)
	case float64:
		v = n
	default:
		return ""
	}
	if len(t[alert]) == 0 {
		return ""
	}
	state := tree.Well
	for _, one := range t[alert] {
		switch {
		case !one.Crossed(v):
		case one.Severity == "critical":
			return tree.Bad
		default:
			state = tree.Warn
		}
	}
	return state
}

// Worse is the worse of several; what isn't known is not worse than what is bad.
func Worse(states ...tree.State) tree.State {
	rank := map[tree.State]int{"": 0, tree.Well: 1, tree.Unknown: 2, tree.Warn: 3, tree.Bad: 4}
	out := tree.State("")
	for _, s := range states {
		if rank[s] > rank[out] {
			out = s
		}
	}
	return out
}

// traced are the states that an event's way can have come to. One that is on its way is
// as it should be.
var traced = map[string]tree.State{
	trace.IsMetered: tree.Well, trace.IsWaiting: tree.Well, trace.IsNotCounted: tree.Warn, trace.IsDead: tree.Warn, trace.IsMissing: tree.Bad, trace.IsUnknown: tree.Unknown,
}

// Traced is the state of an event with a verdict of package trace.
func Traced(verdict string) tree.State { return traced[verdict] }

// Missing notes what could not be had, and why. It does nothing without an error, and
// where it is only that nobody waits any more.
func Missing(v *tree.Value, what string, err error) {
	if err == nil || errors.Is(err, context.Canceled) {
		return
	}
	why := err.Error()
	if e, ok := errors.AsType[*agentese.Error](err); ok {
		why = e.What
		if e.Why != "" {
			why += ": " + e.Why
		}
		if len(e.Try) > 0 {
			why += " (" + e.Try[0] + ")"
		}
	}
	v.Note(what + ": unknown, " + why + ".")
}
